//! The way back: a core out of what the store kept.
//!
//! A restart must not cost anybody work. Tasks are where the last synced record left them; leases
//! keep their holder and their generation, so an agent that reconnects goes on. No agent is
//! connected yet, and how much of a lease was left is not on disk, because a heart-beat writes
//! nothing; so each lease gets its full length again, and at least the restart grace.
//!
//! Nothing is logged here. A crash during a restart is the same restart once more.

use super::Core;
use super::backlog::band_offset_ms;
use super::command::{Destination, Message, MessageId, Now, TaskId};
use super::limits::CoreConfig;
use super::live::Due;
use super::mailbox::Mail;
use super::post::Learnt;
use super::record::{Holder, Phase, Record, TaskRow};
use super::task::Task;
use super::timers::Timer;

impl Core {
    /// A core that goes on where the stored records end. `load` is called once and must call its
    /// argument with every record of the store's scan, in any order; rows of tasks that are over
    /// are counted and let go.
    ///
    /// # Errors
    /// Whatever `load` failed with; nothing of the core is left then.
    pub fn restore<E>(
        config: CoreConfig,
        now: Now,
        load: impl FnOnce(&mut dyn FnMut(Record)) -> Result<(), E>,
    ) -> Result<Core, E> {
        let mut core = Core::new(config);
        core.now = now;
        core.backlog.tell_time(now.tick);
        let mut learnt = Learnt::default();
        load(&mut |record| match record {
            Record::Task(row) => core.restore_task(*row, now),
            Record::TaskIdBound(bound) => core.skip_ids(bound),
            Record::EpochBound(bound) => core.next_epoch = core.next_epoch.max(bound),
            Record::Dedup(row) => core.learn_dedup(row, now),
            Record::Queue { queue, settings } => {
                core.backlog.set_order(&queue, &settings);
                core.queues.set(&queue, settings);
            }
            Record::Schedule(row) => core.learn_schedule(*row),
            Record::Token(row) => core.tokens.insert(*row),
            Record::Config(view) => core.learn_config(view),
            Record::Message(message) => core.learn_message(&message, &mut learnt),
            Record::MessageIdBound(bound) => core.next_message = core.next_message.max(bound),
            Record::Mail { agent, message, sent_ms } => {
                core.mailboxes.learn(&agent, Mail { message, sent_ms });
            }
            Record::Channel(row) => core.channels.insert(row.made, row.created_ms),
            Record::Subscribed { channel, agent, order } => {
                learnt.subscribers.push((channel, agent, order));
            }
            Record::Body { .. }
            | Record::MessageDropped { .. }
            | Record::MailDropped { .. }
            | Record::Unsubscribed { .. }
            | Record::ScheduleRemoved { .. }
            | Record::TokenRevoked { .. }
            | Record::Forget { .. }
            | Record::LeftDead { .. }
            | Record::DedupFreed { .. } => {}
        })?;
        core.task_id_bound = core.next_task;
        core.epoch_bound = core.next_epoch;
        core.settle_messages(learnt);
        // Whatever becomes eligible from now on has to stand behind what was eligible before.
        core.virtual_start_ms = core.virtual_start_ms.saturating_sub(now.tick.0);
        core.close_queues(now);
        if core.next_task > TaskId(1) {
            core.backlog.spend_rates();
        }
        core.filled.clear();
        // What is to be forgotten by now, and when the next time comes, is known to the store.
        core.retire_at(now.wall_ms);
        Ok(core)
    }

    fn learn_message(&mut self, message: &Message, learnt: &mut Learnt) {
        self.next_message = self.next_message.max(MessageId(message.id.0 + 1));
        if let Destination::Channel(channel) = &message.post.to {
            learnt.messages.push((channel.clone(), message.channel_seq, message.id));
        }
        self.messages.insert(message);
    }

    fn restore_task(&mut self, mut row: TaskRow, now: Now) {
        let id = row.task;
        let state = row.state();
        self.skip_ids(TaskId(id.0 + 1));
        self.queues.count(&row.spec.queue, id, None, Some(state), now.tick);
        self.queues.enqueue(&row);
        if state.is_terminal() {
            return;
        }
        let eligible_ms = row.place_ms.saturating_sub(band_offset_ms(row.spec.band));
        self.virtual_start_ms = self.virtual_start_ms.max(eligible_ms + 1);
        row.spec = self.specs.share(row.spec);
        for edge in &row.details().after {
            self.dependents.add(edge.task, id);
        }
        if let Some(parent) = row.details().parent {
            self.children.add(parent.task, id);
        }
        self.admit(Task::open(row));
        self.restore_timers(id, now);
        let task = self.tasks.get_mut(id).expect("admitted above");
        match task.row.phase.clone() {
            Phase::Ready => {
                self.backlog.push(&task.row, &mut self.eligible);
            }
            Phase::Offered(holder) => self.restore_lease(id, &holder, self.config.offer_ms, now),
            Phase::Running(holder) => {
                let lease_ms = task.row.spec.patience.lease_ms;
                self.restore_lease(id, &holder, lease_ms, now);
            }
            Phase::Held | Phase::Scheduled(_) | Phase::Parked | Phase::Over(_) => {}
        }
        self.arm(id);
    }

    fn restore_timers(&mut self, id: TaskId, now: Now) {
        let at = self.moment(now);
        let patience_ms = self.config.offer_ms.max(self.config.restart_grace_ms);
        let grace = now.tick.after(self.config.restart_grace_ms);
        let task = self.tasks.get_mut(id).expect("admitted by the caller");
        let details = task.row.details();
        let since_ms = details.redriven_ms.unwrap_or(task.row.submitted_ms);
        let was_accepted = details.was_accepted;
        let (cancelling, parking) = (details.cancelling.clone(), details.parking.clone());
        task.start_patience(now.tick, now.wall_ms.saturating_sub(since_ms));
        if was_accepted {
            task.clear(Due::Queue);
        }
        if let Some(span) = task.row.details().window.as_ref().and_then(|window| window.span) {
            let gone_ms = now.wall_ms.saturating_sub(span.anchor_ms);
            task.set(Due::Window, now.tick.after(span.length_ms.saturating_sub(gone_ms)));
        }
        match task.row.phase.clone() {
            Phase::Scheduled(_) => task.start_wait(at),
            Phase::Offered(_) => task.set(Due::Offer, now.tick.after(patience_ms)),
            Phase::Running(holder) => {
                // How much of the attempt was over is not known; it is counted anew.
                task.begin_attempt(now.tick);
                if let Some(parking) = parking {
                    task.clear(Due::Attempt);
                    task.clear(Due::Progress);
                    let gone_ms = now.wall_ms.saturating_sub(parking.anchor_ms);
                    let left_ms = parking.hold_ms.saturating_sub(gone_ms);
                    task.set(Due::Hold, now.tick.after(left_ms));
                }
                if let Some(fixed_ms) = holder.fixed_ms {
                    task.set(Due::Lease, now.tick.after(fixed_ms).max(grace));
                }
                if let Some(cancelling) = cancelling {
                    let gone_ms = now.wall_ms.saturating_sub(cancelling.anchor_ms);
                    let left_ms = cancelling.grace_ms.saturating_sub(gone_ms);
                    task.set(Due::Cancel, now.tick.after(left_ms));
                }
            }
            Phase::Parked => {
                if let Some(parking) = parking {
                    let gone_ms = now.wall_ms.saturating_sub(parking.anchor_ms);
                    let left_ms = parking.park_ms.saturating_sub(gone_ms);
                    task.set(Due::Park, now.tick.after(left_ms));
                }
            }
            Phase::Held | Phase::Ready | Phase::Over(_) => {}
        }
    }

    fn restore_lease(&mut self, id: TaskId, holder: &Holder, length_ms: u64, now: Now) {
        let spec = self.tasks[id].row.spec.clone();
        self.backlog.count_lease(&spec);
        let grace = now.tick.after(self.config.restart_grace_ms);
        let until = now.tick.after(length_ms).max(grace);
        if let Some(task) = self.tasks.get_mut(id) {
            task.live().lease_floor = grace;
        }
        self.agents.adopt(holder, id, spec.resources(), now.tick, until);
        self.watch_leases(&holder.agent, until);
    }

    fn close_queues(&mut self, now: Now) {
        for (queue, opens) in self.queues.close(now.tick) {
            self.backlog.close(&queue);
            if let Some(at) = opens {
                self.deadlines.set(at, Timer::Rate(queue));
            }
        }
    }

    fn skip_ids(&mut self, bound: TaskId) {
        self.next_task = self.next_task.max(bound);
    }
}
