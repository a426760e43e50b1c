//! Version 2 of a row, and of a dedup key. Field order is the byte order; never change it. What
//! came later stands behind it (`v3.rs`).

use std::sync::Arc;

use bincode::{BorrowDecode, Encode};

use super::{code, name, names, shared, texts, value};
use crate::core::command::{
    AfterEnd, DeadReason, DedupMode, Failure, Generation, LabelOp, LabelTest, LeaseLimit, Missed,
    Name, Overlap, ParkTimeout, Patience, Schedule, Spec, State, TaskId, When,
};
use crate::core::cron::Cron;
use crate::core::record::{
    Asked, Cancelling, DedupRow, Details, Edge, End, EndVerb, Ending, Holder, LeaseEnd, Parent,
    Parking, Phase, ScheduleRow, TaskRow, Wait,
};

/// A row.
#[derive(Encode, BorrowDecode)]
pub(super) struct RowV2<'a> {
    spec: SpecV2<'a>,
    phase: PhaseV2<'a>,
    generation: u64,
    place_ms: u64,
    submitted_ms: u64,
    details: Option<DetailsV2<'a>>,
}

#[derive(Encode, BorrowDecode)]
struct SpecV2<'a> {
    queue: &'a str,
    key: Option<&'a str>,
    needs: Vec<&'a str>,
    labels: Vec<LabelTestV2<'a>>,
    limits: Vec<(&'a str, u32)>,
    band: u8,
    attempts_max: u32,
    lease_ms: u64,
    attempt_ms: u64,
    progress_ms: Option<u64>,
    queue_ms: Option<u64>,
    total_ms: Option<u64>,
}

#[derive(Encode, BorrowDecode)]
pub(super) struct LabelTestV2<'a> {
    label: &'a str,
    op: u8,
    value: &'a str,
}

#[derive(Encode, BorrowDecode)]
enum PhaseV2<'a> {
    Held,
    Scheduled { wait: WaitV2 },
    Ready,
    Offered { holder: HolderV2<'a> },
    Running { holder: HolderV2<'a> },
    Parked,
    Completed { by: Option<&'a str>, expires_ms: Option<u64> },
    Dead { by: Option<&'a str>, expires_ms: Option<u64>, reason: u8 },
    Cancelled { by: Option<&'a str>, expires_ms: Option<u64>, reason: &'a str },
}

#[derive(Encode, BorrowDecode)]
enum WaitV2 {
    Until { wall_ms: u64 },
    For { delay_ms: u64, anchor_ms: u64, keeps_place: bool },
}

#[derive(Encode, BorrowDecode)]
struct HolderV2<'a> {
    agent: &'a str,
    identity: &'a str,
    fixed_ms: Option<u64>,
}

#[derive(Encode, BorrowDecode)]
struct DetailsV2<'a> {
    updated_ms: u64,
    event_seq: u64,
    progress_seq: u64,
    checkpoint_seq: Option<u64>,
    attempts: u32,
    lost: u32,
    offers_expired: u32,
    declines: u32,
    releases: u32,
    redrives: u32,
    excluded: Vec<&'a str>,
    last_end: Option<LeaseEndV2<'a>>,
    failures: Vec<FailureV2<'a>>,
    cancelling: Option<CancellingV2<'a>>,
    dedup: Option<&'a str>,
    after: Vec<EdgeV2>,
    start: Option<WaitV2>,
    version: u32,
    parent: Option<ParentV2>,
    questions: Vec<AskedV2<'a>>,
    parking: Option<ParkingV2<'a>>,
    redriven_ms: Option<u64>,
    has_result: bool,
    was_accepted: bool,
}

#[derive(Encode, BorrowDecode)]
struct LeaseEndV2<'a> {
    generation: u64,
    agent: &'a str,
    verb: u8,
    digest: u64,
    outcome: u8,
}

#[derive(Encode, BorrowDecode)]
struct FailureV2<'a> {
    generation: u64,
    agent: &'a str,
    at_ms: u64,
    error: &'a str,
}

#[derive(Encode, BorrowDecode)]
struct CancellingV2<'a> {
    reason: &'a str,
    is_deadline: bool,
    grace_ms: u64,
    anchor_ms: u64,
}

#[derive(Encode, BorrowDecode)]
struct EdgeV2 {
    task: u64,
    on: u8,
    is_blocked: bool,
}

#[derive(Encode, BorrowDecode)]
struct ParentV2 {
    task: u64,
    generation: u64,
    depth: u8,
    ends_with_parent: bool,
}

#[derive(Encode, BorrowDecode)]
struct AskedV2<'a> {
    key: &'a str,
    text: &'a [u8],
    default: Option<&'a [u8]>,
    answer: Option<&'a [u8]>,
}

#[derive(Encode, BorrowDecode)]
struct ParkingV2<'a> {
    keys: Vec<&'a str>,
    children: bool,
    hold_ms: u64,
    park_ms: u64,
    on_timeout: u8,
    anchor_ms: u64,
    attempt_left_ms: u64,
}

/// A dedup key.
#[derive(Encode, BorrowDecode)]
pub(super) struct DedupV2<'a> {
    queue: &'a str,
    key: &'a str,
    task: u64,
    mode: DedupModeV2,
    anchor_ms: u64,
    ended: Option<(u8, u64)>,
}

/// A schedule.
#[derive(Encode, BorrowDecode)]
pub(super) struct ScheduleV2<'a> {
    name: &'a str,
    when: WhenV2<'a>,
    spec: SpecV2<'a>,
    payload: &'a [u8],
    missed: MissedV2,
    overlap: u8,
    is_paused: bool,
    handled_ms: u64,
    last_task: Option<u64>,
    fired: u64,
    skipped: u64,
}

#[derive(Encode, BorrowDecode)]
enum WhenV2<'a> {
    Cron { text: &'a str },
    Every { period_ms: u64, offset_ms: u64 },
}

#[derive(Encode, BorrowDecode)]
enum MissedV2 {
    Once,
    Skip,
    All { most: u32 },
}

#[derive(Encode, BorrowDecode)]
enum DedupModeV2 {
    Return { window_ms: u64 },
    Reject { window_ms: u64 },
    Replace,
    Debounce { delay_ms: u64, max_ms: u64 },
    UntilDone,
    WhileRunning,
}

/// Codes of [`Overlap`], by position.
const OVERLAPS: [Overlap; 3] = [Overlap::Allow, Overlap::Skip, Overlap::Replace];

/// Codes of [`LabelOp`], by position.
const LABEL_OPS: [LabelOp; 7] = [
    LabelOp::Equal,
    LabelOp::NotEqual,
    LabelOp::Less,
    LabelOp::AtMost,
    LabelOp::Greater,
    LabelOp::AtLeast,
    LabelOp::Exists,
];

/// Codes of [`AfterEnd`], by position.
const AFTER_ENDS: [AfterEnd; 4] = [
    AfterEnd::Any,
    AfterEnd::SuccessElseBlock,
    AfterEnd::SuccessElseCancel,
    AfterEnd::SuccessElseFail,
];

/// Codes of [`DeadReason`], by position.
const DEAD_REASONS: [DeadReason; 9] = [
    DeadReason::Failed,
    DeadReason::NonRetryable,
    DeadReason::Timeout,
    DeadReason::Lost,
    DeadReason::Rejected,
    DeadReason::Expired,
    DeadReason::Deadline,
    DeadReason::DependencyFailed,
    DeadReason::ParkTimeout,
];

/// Codes of [`EndVerb`], by position.
const END_VERBS: [EndVerb; 6] = [
    EndVerb::Decline,
    EndVerb::Complete,
    EndVerb::Fail,
    EndVerb::Release,
    EndVerb::Park,
    EndVerb::CancelAck,
];

/// Codes of [`ParkTimeout`], by position.
const PARK_TIMEOUTS: [ParkTimeout; 4] = [
    ParkTimeout::Default,
    ParkTimeout::Fail,
    ParkTimeout::Cancel,
    // Since version 3 of a row.
    ParkTimeout::Escalate,
];

/// Codes of [`State`], by position; the same numbers as those of [`PhaseV2`].
const STATES: [State; 9] = [
    State::Held,
    State::Scheduled,
    State::Ready,
    State::Offered,
    State::Running,
    State::Parked,
    State::Completed,
    State::Dead,
    State::Cancelled,
];

impl<'a> RowV2<'a> {
    pub(super) fn of(row: &'a TaskRow) -> RowV2<'a> {
        RowV2 {
            spec: SpecV2::of(&row.spec),
            phase: PhaseV2::of(&row.phase),
            generation: row.generation.0,
            place_ms: row.place_ms,
            submitted_ms: row.submitted_ms,
            details: row.details.as_deref().map(DetailsV2::of),
        }
    }

    pub(super) fn into_row(self, task: TaskId) -> Result<TaskRow, String> {
        Ok(TaskRow {
            task,
            spec: Arc::new(self.spec.into_spec()?),
            phase: self.phase.into_phase()?,
            generation: Generation(self.generation),
            place_ms: self.place_ms,
            submitted_ms: self.submitted_ms,
            details: self
                .details
                .map(|details| details.into_details().map(Box::new))
                .transpose()?,
        })
    }
}

impl<'a> SpecV2<'a> {
    fn of(spec: &'a Spec) -> SpecV2<'a> {
        let patience = spec.patience;
        SpecV2 {
            queue: spec.queue.as_str(),
            key: spec.key.as_ref().map(Name::as_str),
            needs: texts(&spec.needs),
            labels: spec.labels.iter().map(LabelTestV2::of).collect(),
            limits: spec.limits.iter().map(|limit| (limit.name.as_str(), limit.max)).collect(),
            band: spec.band,
            attempts_max: spec.attempts_max,
            lease_ms: patience.lease_ms,
            attempt_ms: patience.attempt_ms,
            progress_ms: patience.progress_ms,
            queue_ms: patience.queue_ms,
            total_ms: patience.total_ms,
        }
    }

    fn into_spec(self) -> Result<Spec, String> {
        let labels = self.labels.into_iter().map(LabelTestV2::into_test);
        let labels = labels.collect::<Result<Vec<_>, _>>()?;
        let limit = |(text, max)| Ok::<_, String>(LeaseLimit { name: name(text)?, max });
        let limits = self.limits.into_iter().map(limit).collect::<Result<Vec<_>, _>>()?;
        Ok(Spec {
            rates: Arc::default(),
            placement: None,
            has_headers: false,
            queue: name(self.queue)?,
            key: self.key.map(name).transpose()?,
            needs: names(&self.needs)?,
            labels: shared(labels),
            limits: shared(limits),
            band: self.band,
            attempts_max: self.attempts_max,
            patience: Patience {
                lease_ms: self.lease_ms,
                attempt_ms: self.attempt_ms,
                progress_ms: self.progress_ms,
                queue_ms: self.queue_ms,
                total_ms: self.total_ms,
            },
        })
    }
}

impl<'a> LabelTestV2<'a> {
    pub(super) fn of(test: &'a LabelTest) -> LabelTestV2<'a> {
        let op = code(&LABEL_OPS, &test.op);
        LabelTestV2 { label: test.label.as_str(), op, value: &test.value }
    }

    pub(super) fn into_test(self) -> Result<LabelTest, String> {
        let op = value(&LABEL_OPS, self.op, "comparison")?;
        Ok(LabelTest { label: name(self.label)?, op, value: self.value.into() })
    }
}

impl<'a> PhaseV2<'a> {
    fn of(phase: &'a Phase) -> PhaseV2<'a> {
        match phase {
            Phase::Held => PhaseV2::Held,
            Phase::Scheduled(wait) => PhaseV2::Scheduled { wait: WaitV2::of(wait) },
            Phase::Ready => PhaseV2::Ready,
            Phase::Offered(holder) => PhaseV2::Offered { holder: HolderV2::of(holder) },
            Phase::Running(holder) => PhaseV2::Running { holder: HolderV2::of(holder) },
            Phase::Parked => PhaseV2::Parked,
            Phase::Over(end) => {
                let (by, expires_ms) = (end.by.as_ref().map(Name::as_str), end.expires_ms);
                match &end.how {
                    Ending::Completed => PhaseV2::Completed { by, expires_ms },
                    Ending::Dead(reason) => {
                        PhaseV2::Dead { by, expires_ms, reason: code(&DEAD_REASONS, reason) }
                    }
                    Ending::Cancelled(reason) => PhaseV2::Cancelled { by, expires_ms, reason },
                }
            }
        }
    }

    fn into_phase(self) -> Result<Phase, String> {
        let over = |how, by: Option<&str>, expires_ms| {
            let by = by.map(name).transpose()?;
            Ok::<_, String>(Phase::Over(Box::new(End { how, by, expires_ms })))
        };
        Ok(match self {
            PhaseV2::Held => Phase::Held,
            PhaseV2::Scheduled { wait } => Phase::Scheduled(Box::new(wait.into_wait())),
            PhaseV2::Ready => Phase::Ready,
            PhaseV2::Offered { holder } => Phase::Offered(Arc::new(holder.into_holder()?)),
            PhaseV2::Running { holder } => Phase::Running(Arc::new(holder.into_holder()?)),
            PhaseV2::Parked => Phase::Parked,
            PhaseV2::Completed { by, expires_ms } => over(Ending::Completed, by, expires_ms)?,
            PhaseV2::Dead { by, expires_ms, reason } => {
                over(Ending::Dead(value(&DEAD_REASONS, reason, "reason")?), by, expires_ms)?
            }
            PhaseV2::Cancelled { by, expires_ms, reason } => {
                over(Ending::Cancelled(reason.into()), by, expires_ms)?
            }
        })
    }
}

impl WaitV2 {
    fn of(wait: &Wait) -> WaitV2 {
        match *wait {
            Wait::Until { wall_ms } => WaitV2::Until { wall_ms },
            Wait::For { delay_ms, anchor_ms, keeps_place } => {
                WaitV2::For { delay_ms, anchor_ms, keeps_place }
            }
        }
    }

    fn into_wait(self) -> Wait {
        match self {
            WaitV2::Until { wall_ms } => Wait::Until { wall_ms },
            WaitV2::For { delay_ms, anchor_ms, keeps_place } => {
                Wait::For { delay_ms, anchor_ms, keeps_place }
            }
        }
    }
}

impl<'a> HolderV2<'a> {
    fn of(holder: &'a Holder) -> HolderV2<'a> {
        HolderV2 {
            agent: holder.agent.as_str(),
            identity: &holder.identity,
            fixed_ms: holder.fixed_ms,
        }
    }

    fn into_holder(self) -> Result<Holder, String> {
        let (agent, identity) = (name(self.agent)?, self.identity.into());
        Ok(Holder { agent, identity, fixed_ms: self.fixed_ms })
    }
}

impl<'a> DetailsV2<'a> {
    fn of(details: &'a Details) -> DetailsV2<'a> {
        let failure = |failure: &'a Failure| FailureV2 {
            generation: failure.generation.0,
            agent: failure.agent.as_str(),
            at_ms: failure.at_ms,
            error: &failure.error,
        };
        let edge = |edge: &Edge| EdgeV2 {
            task: edge.task.0,
            on: code(&AFTER_ENDS, &edge.on),
            is_blocked: edge.is_blocked,
        };
        DetailsV2 {
            updated_ms: details.updated_ms,
            event_seq: details.event_seq,
            progress_seq: details.progress_seq,
            checkpoint_seq: details.checkpoint_seq,
            attempts: details.attempts,
            lost: details.lost,
            offers_expired: details.offers_expired,
            declines: details.declines,
            releases: details.releases,
            redrives: details.redrives,
            excluded: texts(&details.excluded),
            last_end: details.last_end.as_deref().map(LeaseEndV2::of),
            failures: details.failures.iter().map(failure).collect(),
            cancelling: details.cancelling.as_deref().map(CancellingV2::of),
            dedup: details.dedup.as_ref().map(Name::as_str),
            after: details.after.iter().map(edge).collect(),
            start: details.start.as_ref().map(WaitV2::of),
            version: details.version,
            parent: details.parent.map(ParentV2::of),
            questions: details.questions.iter().map(AskedV2::of).collect(),
            parking: details.parking.as_deref().map(ParkingV2::of),
            redriven_ms: details.redriven_ms,
            has_result: details.has_result,
            was_accepted: details.was_accepted,
        }
    }

    fn into_details(self) -> Result<Details, String> {
        let failure = |failure: FailureV2<'_>| {
            Ok::<_, String>(Failure {
                generation: Generation(failure.generation),
                agent: name(failure.agent)?,
                at_ms: failure.at_ms,
                error: failure.error.into(),
            })
        };
        let edge = |edge: EdgeV2| {
            let on = value(&AFTER_ENDS, edge.on, "edge")?;
            Ok::<_, String>(Edge { task: TaskId(edge.task), on, is_blocked: edge.is_blocked })
        };
        Ok(Details {
            window: None,
            former: None,
            updated_ms: self.updated_ms,
            event_seq: self.event_seq,
            progress_seq: self.progress_seq,
            checkpoint_seq: self.checkpoint_seq,
            attempts: self.attempts,
            lost: self.lost,
            offers_expired: self.offers_expired,
            declines: self.declines,
            releases: self.releases,
            redrives: self.redrives,
            excluded: names(&self.excluded)?,
            last_end: self.last_end.map(|end| end.into_end().map(Box::new)).transpose()?,
            failures: self.failures.into_iter().map(failure).collect::<Result<_, _>>()?,
            cancelling: self.cancelling.map(|cancelling| Box::new(cancelling.into_cancelling())),
            dedup: self.dedup.map(name).transpose()?,
            after: self.after.into_iter().map(edge).collect::<Result<_, _>>()?,
            start: self.start.map(WaitV2::into_wait),
            version: self.version,
            parent: self.parent.map(ParentV2::into_parent),
            questions: self
                .questions
                .into_iter()
                .map(AskedV2::into_asked)
                .collect::<Result<_, _>>()?,
            parking: self.parking.map(|it| it.into_parking().map(Box::new)).transpose()?,
            redriven_ms: self.redriven_ms,
            has_result: self.has_result,
            was_accepted: self.was_accepted,
        })
    }
}

impl ParentV2 {
    fn of(parent: Parent) -> ParentV2 {
        let Parent { task, generation, depth, ends_with_parent } = parent;
        ParentV2 { task: task.0, generation: generation.0, depth, ends_with_parent }
    }

    fn into_parent(self) -> Parent {
        let ParentV2 { task, generation, depth, ends_with_parent } = self;
        Parent { task: TaskId(task), generation: Generation(generation), depth, ends_with_parent }
    }
}

impl<'a> AskedV2<'a> {
    fn of(asked: &'a Asked) -> AskedV2<'a> {
        AskedV2 {
            key: asked.key.as_str(),
            text: &asked.text,
            default: asked.default.as_deref(),
            answer: asked.answer.as_deref(),
        }
    }

    fn into_asked(self) -> Result<Asked, String> {
        Ok(Asked {
            key: name(self.key)?,
            text: self.text.into(),
            default: self.default.map(Arc::from),
            answer: self.answer.map(Arc::from),
        })
    }
}

impl<'a> ParkingV2<'a> {
    fn of(parking: &'a Parking) -> ParkingV2<'a> {
        ParkingV2 {
            keys: texts(&parking.keys),
            children: parking.children,
            hold_ms: parking.hold_ms,
            park_ms: parking.park_ms,
            on_timeout: code(&PARK_TIMEOUTS, &parking.on_timeout),
            anchor_ms: parking.anchor_ms,
            attempt_left_ms: parking.attempt_left_ms,
        }
    }

    fn into_parking(self) -> Result<Parking, String> {
        Ok(Parking {
            is_escalated: false,
            keys: names(&self.keys)?.to_vec(),
            children: self.children,
            hold_ms: self.hold_ms,
            park_ms: self.park_ms,
            on_timeout: value(&PARK_TIMEOUTS, self.on_timeout, "way out")?,
            anchor_ms: self.anchor_ms,
            attempt_left_ms: self.attempt_left_ms,
        })
    }
}

impl<'a> CancellingV2<'a> {
    fn of(cancelling: &'a Cancelling) -> CancellingV2<'a> {
        CancellingV2 {
            reason: &cancelling.reason,
            is_deadline: cancelling.is_deadline,
            grace_ms: cancelling.grace_ms,
            anchor_ms: cancelling.anchor_ms,
        }
    }

    fn into_cancelling(self) -> Cancelling {
        Cancelling {
            reason: self.reason.into(),
            is_deadline: self.is_deadline,
            grace_ms: self.grace_ms,
            anchor_ms: self.anchor_ms,
        }
    }
}

impl<'a> LeaseEndV2<'a> {
    fn of(end: &'a LeaseEnd) -> LeaseEndV2<'a> {
        LeaseEndV2 {
            generation: end.generation.0,
            agent: end.agent.as_str(),
            verb: code(&END_VERBS, &end.verb),
            digest: end.digest,
            outcome: code(&STATES, &end.outcome),
        }
    }

    fn into_end(self) -> Result<LeaseEnd, String> {
        Ok(LeaseEnd {
            generation: Generation(self.generation),
            agent: name(self.agent)?,
            verb: value(&END_VERBS, self.verb, "verb")?,
            digest: self.digest,
            outcome: value(&STATES, self.outcome, "state")?,
        })
    }
}

impl<'a> ScheduleV2<'a> {
    pub(super) fn of(row: &'a ScheduleRow) -> ScheduleV2<'a> {
        let schedule = &row.schedule;
        ScheduleV2 {
            name: schedule.name.as_str(),
            when: match &schedule.when {
                When::Cron(cron) => WhenV2::Cron { text: cron.as_str() },
                When::Every { period_ms, offset_ms } => {
                    WhenV2::Every { period_ms: *period_ms, offset_ms: *offset_ms }
                }
            },
            spec: SpecV2::of(&schedule.spec),
            payload: &schedule.payload,
            missed: match schedule.missed {
                Missed::Once => MissedV2::Once,
                Missed::Skip => MissedV2::Skip,
                Missed::All(most) => MissedV2::All { most },
            },
            overlap: code(&OVERLAPS, &schedule.overlap),
            is_paused: schedule.is_paused,
            handled_ms: row.handled_ms,
            last_task: row.last_task.map(|task| task.0),
            fired: row.fired,
            skipped: row.skipped,
        }
    }

    pub(super) fn into_row(self) -> Result<ScheduleRow, String> {
        let when = match self.when {
            WhenV2::Cron { text } => {
                When::Cron(Cron::parse(text).map_err(|error| format!("{text:?} {error}"))?)
            }
            WhenV2::Every { period_ms: 0, .. } => return Err("a period of 0".to_owned()),
            WhenV2::Every { period_ms, offset_ms } => When::Every { period_ms, offset_ms },
        };
        let schedule = Schedule {
            name: name(self.name)?,
            when,
            spec: self.spec.into_spec()?,
            payload: self.payload.into(),
            missed: match self.missed {
                MissedV2::Once => Missed::Once,
                MissedV2::Skip => Missed::Skip,
                MissedV2::All { most } => Missed::All(most),
            },
            overlap: value(&OVERLAPS, self.overlap, "overlap")?,
            is_paused: self.is_paused,
        };
        Ok(ScheduleRow {
            schedule: Arc::new(schedule),
            handled_ms: self.handled_ms,
            last_task: self.last_task.map(TaskId),
            fired: self.fired,
            skipped: self.skipped,
        })
    }
}

impl<'a> DedupV2<'a> {
    pub(super) fn of(row: &'a DedupRow) -> DedupV2<'a> {
        DedupV2 {
            queue: row.queue.as_str(),
            key: row.key.as_str(),
            task: row.task.0,
            mode: match row.mode {
                DedupMode::Return(window_ms) => DedupModeV2::Return { window_ms },
                DedupMode::Reject(window_ms) => DedupModeV2::Reject { window_ms },
                DedupMode::Replace => DedupModeV2::Replace,
                DedupMode::Debounce { delay_ms, max_ms } => {
                    DedupModeV2::Debounce { delay_ms, max_ms }
                }
                DedupMode::UntilDone => DedupModeV2::UntilDone,
                DedupMode::WhileRunning => DedupModeV2::WhileRunning,
            },
            anchor_ms: row.anchor_ms,
            ended: row.ended.map(|(state, generation)| (code(&STATES, &state), generation.0)),
        }
    }

    pub(super) fn into_row(self) -> Result<DedupRow, String> {
        let ended = self.ended.map(|(state, generation)| {
            Ok::<_, String>((value(&STATES, state, "state")?, Generation(generation)))
        });
        Ok(DedupRow {
            queue: name(self.queue)?,
            key: name(self.key)?,
            task: TaskId(self.task),
            mode: match self.mode {
                DedupModeV2::Return { window_ms } => DedupMode::Return(window_ms),
                DedupModeV2::Reject { window_ms } => DedupMode::Reject(window_ms),
                DedupModeV2::Replace => DedupMode::Replace,
                DedupModeV2::Debounce { delay_ms, max_ms } => {
                    DedupMode::Debounce { delay_ms, max_ms }
                }
                DedupModeV2::UntilDone => DedupMode::UntilDone,
                DedupModeV2::WhileRunning => DedupMode::WhileRunning,
            },
            anchor_ms: self.anchor_ms,
            ended: ended.transpose()?,
        })
    }
}
