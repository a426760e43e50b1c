//! `[rates]`: how often agents may ask through the doors of the AgentCom v2 hub.

use std::collections::BTreeMap;

use super::setting::settings;
use crate::quota::{Action, Rate, Tier};

/// Upper edge: a million a minute is no limit any more.
const ACTS: u64 = 1_000_000;

settings! {
    config => config.rates, keys "rates.";
    /// How often an agent may do something over HTTP, and over its WebSocket; each door counts
    /// apart. A number is how many a minute, and in a row; 0 is no limit. The operator has none.
    /// They are those of the hub and of its hardening.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Rates {
        /// Whether anybody is limited at all.
        "enabled" enabled: bool = true;
        /// What only looks.
        "light" light: usize = 120, in 0..=ACTS;
        /// What changes something.
        "normal" normal: usize = 60, in 0..=ACTS;
        /// What costs much.
        "heavy" heavy: usize = 10, in 0..=ACTS;
        /// Messages to agents and to all.
        "message" message: usize = 100, in 0..=ACTS;
        /// New tasks.
        "task_submit" task_submit: usize = 20, in 0..=ACTS;
        /// Messages to channels.
        "channel_publish" channel_publish: usize = 50, in 0..=ACTS;
        /// Looks into a mailbox. 120: a client that polls each second must not hit it.
        "mailbox_poll" mailbox_poll: usize = 120, in 0..=ACTS;
        /// New channels.
        "channel_create" channel_create: usize = 5, in 0..=ACTS;
        /// Frames of any kind over a WebSocket, beside the limits of each kind.
        "ws_message" ws_message: usize = 200, in 0..=ACTS;
        /// Registrations from one address, in five minutes instead of one.
        "onboard" onboard: usize = 3, in 0..=ACTS;
    }
}

/// Minutes that registrations are counted over.
const ONBOARD_MINUTES: u64 = 5;

impl Rates {
    /// The rate of every action that is limited.
    #[must_use]
    pub fn rates(&self) -> BTreeMap<Action, Rate> {
        if !self.enabled {
            return BTreeMap::new();
        }
        let rate = |action| {
            let acts = match action {
                Action::Other(Tier::Light) => self.light,
                Action::Other(Tier::Normal) => self.normal,
                Action::Other(Tier::Heavy) => self.heavy,
                Action::Message => self.message,
                Action::TaskSubmit => self.task_submit,
                Action::ChannelPublish => self.channel_publish,
                Action::MailboxPoll => self.mailbox_poll,
                Action::ChannelCreate => self.channel_create,
                Action::WsMessage => self.ws_message,
                Action::Onboard => return Rate::of(self.onboard as u64, ONBOARD_MINUTES),
            };
            Rate::a_minute(acts as u64)
        };
        Action::ALL.into_iter().filter_map(|action| Some((action, rate(action)?))).collect()
    }
}
