//! Rounds: what is looked at again and again while the broker runs. How many tasks wait, once a
//! minute, and whether anything is wrong, as often as the thresholds say; and which log lines were
//! too many.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::board::Levels;
use crate::core::command::{Command, Reply, UpkeepCommand, UpkeepReply};
use crate::durable::Durable;
use crate::logging::{LeftOut, Log};
use crate::routing::{Dispatch, EVENT_PREFIX};
use crate::session::Context;
use crate::settings::{self, LimitSettings};
use crate::translate::alert;
use crate::translate::setting::ALERT_THRESHOLDS;

const SAMPLE_EVERY: Duration = Duration::from_secs(60);
/// What is set is looked at again, in case it could not be read before.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Checks are not closer together, and not further apart.
const CHECK_EVERY_MIN: Duration = Duration::from_millis(100);
const CHECK_EVERY_MAX: Duration = Duration::from_secs(3_600);

/// Go round for ever. What an alert does is published under `$AC.EVENT.ALERT`.
pub async fn go(context: Arc<Context>, log: Log) {
    let durable = &context.durable;
    let mut dispatch = Dispatch::new(Arc::clone(&context.router));
    let mut limits = LimitSettings::default();
    let mut changes = durable.settings();
    let (mut sampled, mut checked) = (Instant::now(), Instant::now());
    loop {
        // What cannot be read now is read after the next change, or the next look.
        let _ = limits.take_over(durable, &context.accounts).await;
        let set = settings::get(durable, ALERT_THRESHOLDS).await;
        let thresholds = alert::thresholds(&set.unwrap_or_default());
        let interval = Duration::from_millis(thresholds.check_interval_ms);
        let check_at = checked + interval.clamp(CHECK_EVERY_MIN, CHECK_EVERY_MAX);
        let sample_at = sampled + SAMPLE_EVERY;
        let look_at = check_at.min(sample_at).min(Instant::now() + LOOK_EVERY);
        // Whatever ends it: a change that came before the settings were read counts twice.
        let _ = timeout_at(look_at, changes.changed()).await;
        let now = Instant::now();
        if now >= sample_at {
            sampled = now;
            let queued = durable.figures().queued.iter().sum();
            durable.lookout().look(|board| board.sample(queued));
            for LeftOut { module, line, lines } in log.left_out() {
                tracing::warn!(
                    of = module,
                    at = line,
                    lines,
                    "log lines were left out because there were many like them"
                );
            }
        }
        if now >= check_at {
            checked = now;
            for change in durable.lookout().check(levels(durable).await, &thresholds) {
                let event = alert::change(&change, &|task| task.0.into());
                tracing::warn!(alert = %event, "an alert fired or is over");
                let subject = format!("{EVENT_PREFIX}ALERT");
                dispatch.announce(&subject, event.to_string().as_bytes());
            }
            dispatch.flush();
        }
    }
}

/// What no event tells of.
async fn levels(durable: &Durable) -> Levels {
    let figures = durable.figures();
    let mut levels = Levels {
        queued: figures.queued.iter().sum(),
        dead: figures.tasks_dead,
        disk: durable.disk(),
        ..Levels::default()
    };
    let store = durable.call(Command::Upkeep(UpkeepCommand::ShowStore)).await;
    if let Ok(Reply::Upkeep(answer)) = store
        && let UpkeepReply::Store(view) = *answer
    {
        let sizes = view.tables.iter().map(|table| (table.size.table, table.size.bytes));
        levels.largest_table = sizes.max_by_key(|(_, bytes)| *bytes);
        let started_ms = durable.lookout().look(|board| board.started_ms());
        levels.backup_due_from_ms = Some(view.backup_ms.unwrap_or(0).max(started_ms));
    }
    levels
}
