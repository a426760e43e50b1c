//! What `agentcom queue set` changes about a queue.

use std::time::Duration;

use agentcom_client::QueueSettings;

use super::duration;

/// Arguments of `queue set`; what is not named stays as it is.
#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// The queue, which need not be there yet
    pub(crate) queue: String,
    /// Most entries that may be held at once; 0 for no limit
    #[arg(long, value_name = "NUMBER")]
    leases_max: Option<u64>,
    /// Most entries that are given out in any stretch of time, such as 100/1m; or none
    #[arg(long, value_name = "NUMBER/TIME", value_parser = rate)]
    rate: Option<Rate>,
    /// Which entry goes next: by priority and arrival, or every key its share
    #[arg(long, value_enum)]
    order: Option<Order>,
    /// Shares of keys, if the order is fair, such as big=3,bigger=5; or none
    #[arg(long, value_name = "KEY=NUMBER,...", value_parser = weights)]
    weights: Option<Weights>,
    /// How long completed and cancelled entries are kept
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    keep: Option<Duration>,
    /// How long dead entries are kept, instead of for ever
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    keep_dead: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rate(u32, Duration);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Weights(Vec<(String, u32)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Order {
    Deadline,
    Fair,
}

impl Settings {
    /// The changes; `None` if there are none.
    pub(crate) fn changes(self) -> Option<QueueSettings> {
        let Settings { queue: _, leases_max, rate, order, weights, keep, keep_dead } = self;
        let mut changes = QueueSettings::new();
        if let Some(leases) = leases_max {
            changes = changes.leases_max(leases);
        }
        if let Some(Rate(entries, period)) = rate {
            changes = changes.rate(entries, period);
        }
        if let Some(order) = order {
            changes = changes.fair(order == Order::Fair);
        }
        if let Some(Weights(weights)) = weights {
            changes = changes.weights(weights);
        }
        if let Some(keep) = keep {
            changes = changes.keep(keep);
        }
        if let Some(keep) = keep_dead {
            changes = changes.keep_dead(keep);
        }
        (changes != QueueSettings::new()).then_some(changes)
    }
}

fn rate(text: &str) -> Result<Rate, String> {
    if text == "none" {
        return Ok(Rate(0, Duration::from_secs(1)));
    }
    let parts = text.split_once('/').and_then(|(entries, period)| {
        Some(Rate(entries.parse().ok()?, duration::parse(period).ok()?))
    });
    parts.ok_or_else(|| format!("{text:?} is no rate; write for example 100/1m, or none"))
}

fn weights(text: &str) -> Result<Weights, String> {
    if text == "none" {
        return Ok(Weights(Vec::new()));
    }
    let weight = |item: &str| {
        let (key, weight) = item.split_once('=')?;
        Some((key.to_owned(), weight.parse().ok()?))
    };
    let weights: Option<Vec<_>> = text.split(',').map(weight).collect();
    weights.map(Weights).ok_or_else(|| {
        format!("{text:?} are no weights; write for example big=3,bigger=5, or none")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_in_a_time() {
        assert_eq!(rate("100/1m"), Ok(Rate(100, Duration::from_secs(60))));
        assert_eq!(rate("none"), Ok(Rate(0, Duration::from_secs(1))));
        for text in ["", "100", "/1m", "100/", "x/1m", "-1/1m"] {
            assert!(rate(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn weights_are_keys_with_numbers() {
        assert_eq!(weights("a=3,b=1"), Ok(Weights(vec![("a".into(), 3), ("b".into(), 1)])));
        assert_eq!(weights("none"), Ok(Weights(vec![])));
        for text in ["", "a", "a=", "a=x", "a=1,,b=2"] {
            assert!(weights(text).is_err(), "{text:?}");
        }
    }
}
