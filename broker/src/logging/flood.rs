//! So that a fault which is met a thousand times a second does not fill the disk with lines that
//! say the same: of every place in the code, so many lines are written in a while.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::callsite::Identifier;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Lines of one place that are written in a row. 20: enough to see what they have in common.
const LINES_MAX: u32 = 20;

/// After which the next ones are written. Ten seconds: who looks at a log sees that it goes on.
const WINDOW: Duration = Duration::from_secs(10);

/// Lines that were left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Which part of the broker they come from.
    pub module: &'static str,
    /// Where in it.
    pub line: u32,
    /// How many.
    pub lines: u64,
}

/// What was written and left out of late. Bounded by the number of places in the code.
#[derive(Clone, Default)]
pub(super) struct Flood {
    places: Arc<Mutex<HashMap<Identifier, Place>>>,
}

struct Place {
    metadata: &'static Metadata<'static>,
    since: Instant,
    written: u32,
    left_out: u64,
}

impl Flood {
    /// Whether another line of the place with `metadata` is written at `now`. Whoever asks for
    /// `debug` wants to see everything.
    fn admits(&self, metadata: &'static Metadata<'static>, now: Instant) -> bool {
        if *metadata.level() > Level::INFO {
            return true;
        }
        let mut places = self.places.lock();
        let new = || Place { metadata, since: now, written: 0, left_out: 0 };
        let place = places.entry(metadata.callsite()).or_insert_with(new);
        if now.saturating_duration_since(place.since) >= WINDOW {
            (place.since, place.written) = (now, 0);
        }
        let is_written = place.written < LINES_MAX;
        if is_written {
            place.written += 1;
        } else {
            place.left_out += 1;
        }
        is_written
    }

    /// What was left out since this was asked last.
    pub(super) fn left_out(&self) -> Vec<LeftOut> {
        let mut places = self.places.lock();
        let taken = places.values_mut().filter_map(|place| {
            let lines = std::mem::take(&mut place.left_out);
            let (module, line) = (place.metadata.target(), place.metadata.line().unwrap_or(0));
            (lines > 0).then_some(LeftOut { module, line, lines })
        });
        let mut taken: Vec<LeftOut> = taken.collect();
        taken.sort_by_key(|left| (left.module, left.line));
        taken
    }
}

impl<S: Subscriber> Layer<S> for Flood {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.admits(event.metadata(), Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The metadata of two places, and of a third for whoever looks closely.
    fn places() -> [&'static Metadata<'static>; 3] {
        struct Catch(Arc<Mutex<Vec<&'static Metadata<'static>>>>);
        impl<S: Subscriber> Layer<S> for Catch {
            fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
                self.0.lock().push(event.metadata());
            }
        }
        use tracing_subscriber::layer::SubscriberExt as _;
        let caught = Arc::new(Mutex::new(Vec::new()));
        let registry = tracing_subscriber::registry().with(Catch(Arc::clone(&caught)));
        tracing::subscriber::with_default(registry, || {
            tracing::warn!("one");
            tracing::error!("two");
            tracing::debug!("three");
        });
        let caught = caught.lock().clone();
        caught.try_into().expect("three places")
    }

    #[test]
    fn of_each_place_so_many_lines_are_written_in_a_while() {
        let ([one, two, close], flood, start) = (places(), Flood::default(), Instant::now());
        let written = |place, now| (0..100).filter(|_| flood.admits(place, now)).count();
        assert_eq!(written(one, start), 20);
        assert_eq!(written(one, start + WINDOW - Duration::from_millis(1)), 0);
        assert_eq!(written(two, start), 20, "another place has lines of its own");
        assert_eq!(written(close, start), 100, "who looks closely sees all");
        assert_eq!(written(one, start + WINDOW), 20);
        let left = flood.left_out();
        let counts: Vec<u64> = left.iter().map(|left| left.lines).collect();
        assert_eq!(counts, [260, 80]);
        assert!(left[0].module.ends_with("flood::tests"), "{left:?}");
        assert_eq!(flood.left_out(), [], "it is said once");
    }
}
