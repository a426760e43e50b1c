//! The shortest history that still fails, as far as leaving things out finds it.

use super::generator::Turn;

/// Leave out whatever the failure does not need: turns, then requests, then crashes, jumps and
/// time. Gives what `fails` said about the history that is left.
pub(crate) fn shrink(
    mut turns: Vec<Turn>,
    mut failure: String,
    fails: impl Fn(&[Turn]) -> Option<String>,
) -> (Vec<Turn>, String) {
    loop {
        let before = weight(&turns);
        let mut size = turns.len().div_ceil(2);
        while size > 0 {
            let mut start = 0;
            while start < turns.len() {
                let mut fewer = turns.clone();
                fewer.drain(start..(start + size).min(turns.len()));
                match fails(&fewer) {
                    Some(same) => (turns, failure) = (fewer, same),
                    None => start += size,
                }
            }
            size /= 2;
        }
        for at in 0..turns.len() {
            for simpler in simpler(&turns[at]) {
                let mut fewer = turns.clone();
                fewer[at] = simpler;
                if weight(&fewer) < weight(&turns)
                    && let Some(same) = fails(&fewer)
                {
                    (turns, failure) = (fewer, same);
                }
            }
        }
        if weight(&turns) == before {
            return (turns, failure);
        }
    }
}

fn simpler(turn: &Turn) -> Vec<Turn> {
    let mut simpler = vec![
        Turn { crash: None, ..turn.clone() },
        Turn { is_late: false, ..turn.clone() },
        Turn { jump_ms: 0, ..turn.clone() },
        Turn { wait_ms: 0, ..turn.clone() },
        Turn { wait_ms: turn.wait_ms / 2, ..turn.clone() },
    ];
    for at in 0..turn.steps.len() {
        let mut fewer = turn.clone();
        fewer.steps.remove(at);
        simpler.push(fewer);
    }
    simpler
}

fn weight(turns: &[Turn]) -> u64 {
    let weigh = |turn: &Turn| {
        let extras = [turn.crash.is_some(), turn.is_late, turn.jump_ms != 0];
        let extras = extras.into_iter().filter(|extra| *extra).count() as u64;
        1_000 + 1_000 * turn.steps.len() as u64 + 100 * extras + turn.wait_ms.min(99)
    };
    turns.iter().map(weigh).sum()
}
