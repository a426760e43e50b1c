//! After a reconnect: which leases go on?
//!
//! The worker names what it still holds with its `WORKER START`; the broker answers with what
//! goes on, what of that is to be stopped, and what is over. What is not named, the broker takes
//! away at once.

use crate::answer::Granted;

/// Longest list of leases on the line of a `WORKER START`, in bytes. The broker's lines end at
/// 4 KiB by default, and the worker's capabilities, labels, capacity and queues have to fit in as well.
const HOLDING_BYTES_MAX: usize = 2048;

/// The broker's answer to what a worker says it holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Resumed {
    /// Task and generation.
    pub(crate) continued: Vec<(u64, u64)>,
    /// Tasks among those that are to be stopped.
    pub(crate) cancelling: Vec<u64>,
    /// Task and generation.
    pub(crate) stopped: Vec<(u64, u64)>,
}

impl Resumed {
    pub(crate) fn parse(granted: &Granted) -> Resumed {
        let list = |key: &str| granted.field(key).into_iter().flat_map(|list| list.split(','));
        Resumed {
            continued: list("continued").filter_map(lease).collect(),
            cancelling: list("cancelling").filter_map(|task| task.parse().ok()).collect(),
            stopped: list("stopped").filter_map(lease).collect(),
        }
    }
}

/// `leases` as an option of a `WORKER START`, and how many of them it names: as many as fit.
pub(crate) fn holding(leases: &[(u64, u64)]) -> (Option<String>, usize) {
    let mut list = String::new();
    let mut named = 0;
    for (task, generation) in leases {
        let lease = format!("{task}:{generation}");
        if list.len() + 1 + lease.len() > HOLDING_BYTES_MAX {
            break;
        }
        list.push_str(if named == 0 { "holding=" } else { "," });
        list.push_str(&lease);
        named += 1;
    }
    ((named > 0).then_some(list), named)
}

fn lease(word: &str) -> Option<(u64, u64)> {
    let (task, generation) = word.split_once(':')?;
    Some((task.parse().ok()?, generation.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_has_three_lists_and_each_may_be_missing() {
        let fields = [
            ("agent", "alice"),
            ("continued", "17:3,19:1"),
            ("cancelling", "19"),
            ("stopped", "18:1"),
        ];
        let own = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        let granted = |fields: &[(&str, &str)]| Granted {
            fields: fields.iter().copied().map(own).collect(),
            body: bytes::Bytes::new(),
        };
        let expected = Resumed {
            continued: vec![(17, 3), (19, 1)],
            cancelling: vec![19],
            stopped: vec![(18, 1)],
        };
        assert_eq!(Resumed::parse(&granted(&fields)), expected);
        assert_eq!(Resumed::parse(&granted(&fields[..1])), Resumed::default());
    }

    #[test]
    fn as_many_leases_are_named_as_fit_on_the_line() {
        assert_eq!(holding(&[]), (None, 0));
        assert_eq!(holding(&[(17, 3), (18, 1)]), (Some("holding=17:3,18:1".to_owned()), 2));
        let many: Vec<_> = (0..1_000).map(|task| (1_000_000 + task, 1)).collect();
        let (line, named) = holding(&many);
        let bytes = line.map_or(0, |line| line.len());
        assert!((HOLDING_BYTES_MAX - 10..=HOLDING_BYTES_MAX).contains(&bytes), "{bytes}");
        assert!(named > 200, "{named}");
    }
}
