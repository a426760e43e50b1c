//! The way back: a core out of what the store kept.
//!
//! A restart must not cost anybody work. Tasks are where the last synced record left them; leases
//! keep their holder and their generation, so an agent that reconnects goes on. No agent is
//! connected yet, and how much of a lease was left is not on disk, because a heart-beat writes
//! nothing; so each lease gets its full length again, and at least the restart grace.
//!
//! Nothing is logged here. A crash during a restart is the same restart once more.

use super::command::{Now, TaskId, Tick};
use super::limits::CoreConfig;
use super::queue::band_offset_ms;
use super::record::{Holder, Phase, Record, TaskRow};
use super::task::Task;
use super::{Core, Timer};

impl Core {
    /// A core that goes on where the stored records end. `load` is called once and must call its
    /// argument with every record of the store's scan, in any order; rows of tasks that are over
    /// are skipped.
    ///
    /// # Errors
    /// Whatever `load` failed with; nothing of the core is left then.
    pub fn restore<E>(
        config: CoreConfig,
        now: Now,
        load: impl FnOnce(&mut dyn FnMut(Record)) -> Result<(), E>,
    ) -> Result<Core, E> {
        let mut core = Core::new(config);
        load(&mut |record| match record {
            Record::Task(row) => core.restore_task(*row, now),
            Record::TaskIdBound(bound) => core.skip_ids(bound),
            Record::Body { .. } => {}
        })?;
        core.task_id_bound = core.next_task;
        // Whatever becomes eligible from now on has to stand behind what was eligible before.
        core.virtual_start_ms = core.virtual_start_ms.saturating_sub(now.tick.0);
        core.filled.clear();
        Ok(core)
    }

    fn restore_task(&mut self, row: TaskRow, now: Now) {
        let id = row.task;
        self.skip_ids(TaskId(id.0 + 1));
        if row.is_terminal() {
            return;
        }
        let eligible_ms = row.place_ms.saturating_sub(band_offset_ms(row.band));
        self.virtual_start_ms = self.virtual_start_ms.max(eligible_ms + 1);
        self.backlog.count_opened(&row.queue);
        let task = self.tasks.entry(id).insert(Box::new(Task::open(row))).into_mut();
        match task.row.phase.clone() {
            Phase::Ready => {
                self.backlog.push(&task.row);
            }
            Phase::Scheduled { delay_ms, anchor_ms } => {
                let waited_ms = now.wall_ms.saturating_sub(anchor_ms);
                let due = Tick(now.tick.0.saturating_add(delay_ms.saturating_sub(waited_ms)));
                task.timer = Some(due);
                self.deadlines.set(due, Timer::Due(id));
            }
            Phase::Offered(holder) => {
                self.restore_lease(id, &holder, self.config.offer_ms, now);
                let patience_ms = self.config.offer_ms.max(self.config.restart_grace_ms);
                self.start_offer(id, now.tick.0 + patience_ms);
            }
            Phase::Running(holder) => {
                let lease_ms = task.row.lease_ms;
                self.restore_lease(id, &holder, lease_ms, now);
            }
            Phase::Completed { .. } | Phase::Dead { .. } => {}
        }
    }

    fn restore_lease(&mut self, id: TaskId, holder: &Holder, length_ms: u64, now: Now) {
        let grace = Tick(now.tick.0 + self.config.restart_grace_ms);
        let until = Tick(now.tick.0.saturating_add(length_ms)).max(grace);
        if let Some(task) = self.tasks.get_mut(&id) {
            task.lease_floor = grace;
        }
        self.agents.adopt(holder, id, now.tick, until);
        self.watch(&holder.agent, until);
    }

    fn skip_ids(&mut self, bound: TaskId) {
        self.next_task = self.next_task.max(bound);
    }
}
