//! What can only be done while nothing runs: the broker stops its services, does it, and starts them
//! again in the same process. New connections wait meanwhile; those that there were come again, as
//! after any restart.

use tokio::sync::{mpsc, oneshot};

use crate::config::Config;
use crate::core::command::Name;
use crate::store::record::Table;
use crate::upkeep::{self, Archive, BackupError, Restored};

/// What to do.
#[derive(Debug)]
pub enum Errand {
    /// Nothing but to start anew.
    Reset,
    /// Put a backup in place of what is kept.
    Restore {
        /// Which backup.
        backup: Name,
        /// Only these tables of it.
        tables: Option<&'static [Table]>,
        /// Who waits for it.
        answer: oneshot::Sender<Result<Restored, BackupError>>,
    },
}

/// Where errands are handed in. One at a time: whoever comes second is told so.
pub type Errands = mpsc::Sender<Errand>;

impl Errand {
    /// Do it. Nobody has the store open.
    pub fn run(self, config: &Config, now_ms: u64) {
        match self {
            Errand::Reset => {}
            Errand::Restore { backup, tables, answer } => {
                let archive = Archive::new(config.upkeep().backups);
                let data_dir = &config.data_dir;
                let restored =
                    upkeep::restore(&archive, &backup, tables, data_dir, now_ms, &mut |_| true);
                match &restored {
                    Ok(restored) => tracing::warn!(
                        %backup,
                        records = restored.backup.records,
                        replaced = ?restored.replaced,
                        "a backup was restored"
                    ),
                    Err(error) => tracing::error!(%backup, %error, "a backup was not restored"),
                }
                // Whoever waited may be gone.
                let _ = answer.send(restored);
            }
        }
    }
}
