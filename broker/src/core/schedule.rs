//! Work that comes again. The half of [`Core`] for schedules.
//!
//! A schedule follows the wall clock. Its times are *slots*; the newest slot that was handled is
//! in its row, and the row is written together with the task of that slot: so no slot fires
//! twice, whatever the clock does (I-22), and none is forgotten over a restart.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Core;
use super::command::{
    Missed, Name, Now, Overlap, Rejection, Reply, Schedule, ScheduleView, Start, Submit, When,
};
use super::limits::{SCHEDULE_BYTES_MAX, SCHEDULES_MAX};
use super::record::{Record, ScheduleRow};
use super::timers::WallTimer;

/// A slot that is later than this was missed. A minute: shorter than the distance of two slots of
/// cron, longer than any turn of the commit loop.
const LATE_MS: u64 = 60_000;

/// Slots that are looked at when many were missed; older ones are skipped.
const SLOTS_MAX: usize = 1_000;

/// Every schedule, by name.
#[derive(Debug, Default)]
pub(super) struct Schedules {
    by_name: BTreeMap<Name, ScheduleRow>,
}

impl Core {
    /// Keep a schedule, in place of one of the same name. What the former fired stays known.
    pub(super) fn set_schedule(
        &mut self,
        schedule: Schedule,
        now: Now,
    ) -> Result<Reply, Rejection> {
        if schedule.payload.len() > SCHEDULE_BYTES_MAX {
            let (what, max) = ("the size of a schedule's payload", SCHEDULE_BYTES_MAX as u64);
            return Err(Rejection::LimitReached { what, max });
        }
        let former = self.schedules.by_name.get(&schedule.name);
        if former.is_none() && self.schedules.by_name.len() >= SCHEDULES_MAX {
            let (what, max) = ("the number of schedules", SCHEDULES_MAX as u64);
            return Err(Rejection::LimitReached { what, max });
        }
        let row = ScheduleRow {
            // A new rhythm starts now; a changed payload does not move it.
            handled_ms: match former {
                Some(former) if former.schedule.when == schedule.when => former.handled_ms,
                _ => now.wall_ms,
            },
            last_task: former.and_then(|former| former.last_task),
            fired: former.map_or(0, |former| former.fired),
            skipped: former.map_or(0, |former| former.skipped),
            schedule: Arc::new(schedule),
        };
        let view = row.view();
        self.keep_schedule(row);
        Ok(Reply::Schedule(Box::new(view)))
    }

    pub(super) fn show_schedule(&self, name: Name) -> Result<Reply, Rejection> {
        match self.schedules.by_name.get(&name) {
            Some(row) => Ok(Reply::Schedule(Box::new(row.view()))),
            None => Err(Rejection::NoSchedule { name }),
        }
    }

    pub(super) fn list_schedules(&self, after: Option<&Name>, limit: usize) -> Reply {
        use std::ops::Bound::{Excluded, Unbounded};
        let start = after.map_or(Unbounded, Excluded);
        let range = self.schedules.by_name.range::<Name, _>((start, Unbounded));
        Reply::Schedules(range.take(limit).map(|(_, row)| row.view()).collect())
    }

    pub(super) fn remove_schedule(&mut self, name: Name) -> Result<Reply, Rejection> {
        if self.schedules.by_name.remove(&name).is_none() {
            return Err(Rejection::NoSchedule { name });
        }
        self.persist(Record::ScheduleRemoved { name });
        Ok(Reply::Noted)
    }

    /// A schedule that is in the store already.
    pub(super) fn learn_schedule(&mut self, row: ScheduleRow) {
        self.arm_schedule(&row);
        self.schedules.by_name.insert(row.schedule.name.clone(), row);
    }

    /// A slot may have come; the schedule may also have changed since the deadline was set.
    pub(super) fn handle_schedule(&mut self, name: &Name, now: Now) {
        let Some(row) = self.schedules.by_name.get(name) else { return };
        let schedule = row.schedule.clone();
        let mut row = row.clone();
        let mut slots = Vec::new();
        let mut slot = schedule.when.next_after(row.handled_ms);
        while let Some(at) = slot.filter(|at| *at <= now.wall_ms) {
            if slots.len() == SLOTS_MAX {
                slots.remove(0);
                row.skipped += 1;
            }
            slots.push(at);
            slot = schedule.when.next_after(at);
        }
        let Some(&newest) = slots.last() else { return self.arm_schedule(&row) };
        row.handled_ms = newest;
        let is_late = newest + LATE_MS < now.wall_ms;
        let fires = match schedule.missed {
            _ if schedule.is_paused => 0,
            Missed::Once => 1,
            Missed::Skip if is_late => 0,
            Missed::Skip => 1,
            Missed::All(most) => slots.len().min(most as usize),
        };
        row.skipped += (slots.len() - fires) as u64;
        for _ in 0..fires {
            self.fire(&schedule, &mut row, now);
        }
        self.keep_schedule(row);
    }

    fn fire(&mut self, schedule: &Schedule, row: &mut ScheduleRow, now: Now) {
        let open = row.last_task.filter(|&task| self.tasks.has(task));
        if open.is_some() && schedule.overlap == Overlap::Skip {
            row.skipped += 1;
            return;
        }
        let submit = Submit {
            headers: None,
            spec: Arc::new(schedule.spec.clone()),
            payload: schedule.payload.clone(),
            start: Start::Now,
            dedup: None,
            after: Vec::new(),
        };
        // Nothing but a full queue or disk can refuse it; that is counted, and the next slot tries again.
        match self.submit_all(vec![submit], None, &[], now) {
            Ok(kept) => {
                if let Some(former) = open.filter(|_| schedule.overlap == Overlap::Replace) {
                    let reason = format!("schedule {} is due again", schedule.name);
                    self.cancel_open(former, reason.into(), None, now);
                }
                row.last_task = Some(kept[0].task);
                row.fired += 1;
            }
            Err(_) => row.skipped += 1,
        }
    }

    fn keep_schedule(&mut self, row: ScheduleRow) {
        self.persist(Record::Schedule(Box::new(row.clone())));
        self.learn_schedule(row);
    }

    fn arm_schedule(&mut self, row: &ScheduleRow) {
        if let Some(at) = row.schedule.when.next_after(row.handled_ms) {
            self.wall_deadlines.set(at, WallTimer::Schedule(row.schedule.name.clone()));
        }
    }
}

impl When {
    /// The first slot after `wall_ms`.
    #[must_use]
    pub fn next_after(&self, wall_ms: u64) -> Option<u64> {
        match self {
            When::Cron(cron) => cron.next_after(wall_ms),
            When::Every { period_ms, offset_ms } => {
                let passed = wall_ms.checked_sub(*offset_ms).map_or(0, |ms| ms / period_ms + 1);
                Some(offset_ms.saturating_add(passed.saturating_mul(*period_ms)))
            }
        }
    }
}

impl ScheduleRow {
    fn view(&self) -> ScheduleView {
        ScheduleView {
            schedule: (*self.schedule).clone(),
            next_ms: self.schedule.when.next_after(self.handled_ms),
            last_task: self.last_task,
            fired: self.fired,
            skipped: self.skipped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_goes_on_from_its_offset() {
        let every = When::Every { period_ms: 100, offset_ms: 30 };
        let next: Vec<_> = [0, 29, 30, 129, 130].map(|at| every.next_after(at).unwrap()).into();
        assert_eq!(next, [30, 30, 130, 130, 230]);
    }
}
