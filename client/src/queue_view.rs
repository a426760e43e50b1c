//! Everything worth showing about one queue, as the broker shows it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::operation_error::Trouble;

/// A queue as it was when the broker answered.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct QueueView {
    /// Its name.
    pub queue: String,
    /// Nothing is given out; everything else goes on.
    pub paused: bool,
    /// Most tasks that may be held at once; `None` means no limit.
    pub leases_max: Option<u64>,
    /// Most tasks that are given out in any `rate_ms`; `None` means no limit.
    pub rate_max: Option<u32>,
    /// The period of `rate_max`, in milliseconds.
    pub rate_ms: Option<u64>,
    /// `deadline`: by priority and arrival; `fair`: every key gets its share.
    pub order: String,
    /// Shares of keys in a fair queue; a key that is not here has 1.
    #[serde(default)]
    pub weights: BTreeMap<String, u32>,
    /// How long completed and cancelled tasks are kept, in milliseconds.
    pub keep_ms: u64,
    /// How long dead tasks are kept, in milliseconds; 0 means for ever.
    pub keep_dead_ms: u64,
    /// Tasks that wait for other tasks.
    pub held: u64,
    /// Tasks that wait for a time.
    pub scheduled: u64,
    /// Tasks that wait for an agent.
    pub ready: u64,
    /// Tasks that are offered to an agent.
    pub offered: u64,
    /// Tasks that an agent works on, or a consumer holds.
    pub running: u64,
    /// Tasks that their agents set aside.
    #[serde(default)]
    pub parked: u64,
    /// Tasks that were given up.
    pub dead: u64,
}

/// Changes to the settings of a queue; what is not said stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "settings change when they are handed to `Queue::set`"]
pub struct QueueSettings {
    pub(crate) leases_max: Option<u64>,
    pub(crate) rate: Option<(u32, Duration)>,
    pub(crate) is_fair: Option<bool>,
    pub(crate) weights: Option<BTreeMap<String, u32>>,
    pub(crate) keep: Option<Duration>,
    pub(crate) keep_dead: Option<Duration>,
}

impl QueueSettings {
    /// Nothing changes yet.
    pub fn new() -> QueueSettings {
        QueueSettings::default()
    }

    /// Most tasks that may be held at once, at most a million; 0 takes the limit away. Default of
    /// a new queue: no limit.
    pub fn leases_max(mut self, leases: u64) -> QueueSettings {
        self.leases_max = Some(leases);
        self
    }

    /// Most tasks that are given out in any stretch of time of this length: at most 10,000 in at
    /// most an hour; none takes the limit away. Default of a new queue: no limit.
    pub fn rate(mut self, tasks: u32, period: Duration) -> QueueSettings {
        self.rate = Some((tasks, period));
        self
    }

    /// Whether every key gets its share of the queue while it has work, whatever the others have.
    /// Default of a new queue: no, by priority and arrival.
    pub fn fair(mut self, is_fair: bool) -> QueueSettings {
        self.is_fair = Some(is_fair);
        self
    }

    /// Shares of keys in a fair queue, from 1 to 1000, in place of all that were set; at most 64.
    /// A key that is not named has 1.
    pub fn weights<K: Into<String>>(
        mut self,
        weights: impl IntoIterator<Item = (K, u32)>,
    ) -> QueueSettings {
        let weights = weights.into_iter().map(|(key, weight)| (key.into(), weight));
        self.weights = Some(weights.collect());
        self
    }

    /// How long completed and cancelled tasks are kept, at most a year. Default of a new queue:
    /// 7 days.
    pub fn keep(mut self, keep: Duration) -> QueueSettings {
        self.keep = Some(keep);
        self
    }

    /// How long dead tasks are kept, at most a year; nothing means for ever, the default of a new
    /// queue.
    pub fn keep_dead(mut self, keep: Duration) -> QueueSettings {
        self.keep_dead = Some(keep);
        self
    }
}

/// What [`crate::Queue::purge`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Purged {
    /// So many tasks were forgotten.
    pub tasks: u64,
    /// So many that could have been are left.
    pub left: u64,
}

/// What shows several queues.
#[derive(Deserialize)]
struct Several {
    queues: Vec<QueueView>,
}

impl QueueView {
    pub(crate) fn parse(json: &[u8]) -> Result<QueueView, Trouble> {
        serde_json::from_slice(json).map_err(Trouble::protocol)
    }

    pub(crate) fn parse_several(json: &[u8]) -> Result<Vec<QueueView>, Trouble> {
        let several: Several = serde_json::from_slice(json).map_err(Trouble::protocol)?;
        Ok(several.queues)
    }

    /// Tasks that are not over.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.held + self.scheduled + self.ready + self.offered + self.running + self.parked
    }
}
