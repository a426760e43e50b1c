//! Where histories come from. A history is a list of turns in terms that make sense in any world,
//! so that it stays one when parts of it are taken out.

/// Turns of one history: long enough for a task to be lost, retried, dead and redriven.
const HISTORY_TURNS: usize = 60;

/// One turn of the commit loop.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    /// Time that passes before it, in milliseconds.
    pub(crate) wait_ms: u64,
    /// The loop oversleeps: the requests come before the timer that is due already.
    pub(crate) is_late: bool,
    /// The wall clock is set by so much before it, in milliseconds.
    pub(crate) jump_ms: i64,
    pub(crate) steps: Vec<Step>,
    pub(crate) crash: Option<Crash>,
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) kind: Kind,
    /// Which task, which agent, which words: the seed of further dice.
    pub(crate) pick: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Submit,
    Batch,
    Attach,
    Detach,
    Leave,
    Heartbeat,
    /// An agent asked too much of a door.
    Withhold,
    /// The holder of a task does what it should or could.
    Holder,
    /// Somebody does something to some task with some generation.
    Stray,
    /// A request sent before comes again, perhaps on another session.
    Again,
    Take,
    Cancel,
    Reclaim,
    Answer,
    Edit,
    Why,
    Redrive,
    Discard,
    Show,
    Await,
    Watch,
    Unwatch,
    SetQueue,
    ShowQueue,
    ListQueues,
    Peek,
    Purge,
    Tick,
}

/// Out of a hundred requests, so many are of a kind. Resending is a fifth: it is what finds holes
/// in the fence.
const WEIGHTS: [(Kind, u64); 28] = [
    (Kind::Submit, 12),
    (Kind::Batch, 4),
    (Kind::Attach, 8),
    (Kind::Detach, 3),
    (Kind::Leave, 1),
    (Kind::Heartbeat, 3),
    (Kind::Withhold, 1),
    (Kind::Holder, 22),
    (Kind::Stray, 3),
    (Kind::Again, 22),
    (Kind::Take, 4),
    (Kind::Cancel, 3),
    (Kind::Reclaim, 1),
    (Kind::Answer, 6),
    (Kind::Edit, 3),
    (Kind::Why, 1),
    (Kind::Redrive, 3),
    (Kind::Discard, 1),
    (Kind::Show, 1),
    (Kind::Await, 2),
    (Kind::Watch, 2),
    (Kind::Unwatch, 1),
    (Kind::SetQueue, 2),
    (Kind::ShowQueue, 1),
    (Kind::ListQueues, 1),
    (Kind::Peek, 1),
    (Kind::Purge, 1),
    (Kind::Tick, 1),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// Before the sync returned.
    Unsynced { kept: bool },
    /// After so many releases.
    Released(u64),
    /// With everything said and done.
    Restart,
}

/// SplitMix64, to need nothing else.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.bits() % sides
    }

    /// True once in so many times.
    pub(crate) fn is_one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }

    pub(crate) fn choose<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        let at = self.roll(from.len().max(1) as u64) as usize;
        from.get(at).cloned()
    }
}

pub(crate) fn history(seed: u64) -> Vec<Turn> {
    let mut dice = Dice::new(seed);
    (0..HISTORY_TURNS).map(|_| turn(&mut dice)).collect()
}

fn turn(dice: &mut Dice) -> Turn {
    let wait_ms = match dice.roll(100) {
        0..45 => 0,
        45..98 => 1 + dice.roll(4),
        // Suspicion and the offsets of bands are measured on another scale.
        98 => 10_000 + dice.roll(10),
        _ => 60_000,
    };
    let hours = 10_000_000;
    let jump_ms = match dice.roll(60) {
        0 => hours,
        1 => -hours,
        2 => dice.roll(9) as i64 - 4,
        3 => 3_000,
        _ => 0,
    };
    let crash = match dice.roll(100) {
        0..2 => Some(Crash::Unsynced { kept: false }),
        2..4 => Some(Crash::Unsynced { kept: true }),
        4..6 => Some(Crash::Released(dice.roll(6))),
        6 => Some(Crash::Restart),
        _ => None,
    };
    let steps = match dice.roll(8) {
        0..3 => 1,
        3..6 => 2,
        6 => 3,
        _ => 4,
    };
    let steps = (0..steps).map(|_| Step { kind: kind(dice), pick: dice.bits() }).collect();
    Turn { wait_ms, is_late: dice.is_one_in(4), jump_ms, steps, crash }
}

fn kind(dice: &mut Dice) -> Kind {
    let sum = WEIGHTS.iter().map(|(_, weight)| weight).sum();
    let mut roll = dice.roll(sum);
    for (kind, weight) in WEIGHTS {
        if roll < weight {
            return kind;
        }
        roll -= weight;
    }
    unreachable!("the roll is smaller than the sum of all weights")
}
