//! Effects as lines.

use std::fmt::Write as _;

use agentcom_broker::core::command::{
    AfterEnd, Answer, Continued, Effect, Name, Offer, Push, QueueView, Rejection, Reply,
    ScheduleView, State, Stopped, Submitted, TaskEvent, TaskView,
};
use agentcom_broker::core::limits::Order;
use agentcom_broker::core::record::{BodyKind, Ending, Phase, Record, Shelf, TaskRow, Wait};

/// An effect as one line.
pub(crate) fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Persist(record) => format!("persist {}", persisted(record)),
        Effect::Reply { outcome, .. } => format!("reply {}", outcome_text(outcome)),
        Effect::Deliver { session, push } => {
            format!("deliver session={} {}", session.0, push_text(push))
        }
        Effect::Tell { .. }
        | Effect::Posted { .. }
        | Effect::Presence(_)
        | Effect::Configured(_)
        | Effect::TokenIssued { .. }
        | Effect::TokenRevoked { .. } => {
            unreachable!("no scenario sends messages")
        }
        Effect::Event(event) => format!("event {}", event_text(event)),
        Effect::Retire { .. } => unreachable!("the stage answers it"),
    }
}

fn persisted(record: &Record) -> String {
    match record {
        Record::Task(row) => format!("task {}", row_text(row)),
        Record::Body { task, kind, bytes } => {
            let kind = match kind {
                BodyKind::Payload => "payload",
                BodyKind::Result => "result",
                BodyKind::Checkpoint => "checkpoint",
                BodyKind::Headers => "headers",
            };
            format!("{kind} {} \"{}\"", task.0, text(bytes))
        }
        Record::Forget { task, shelf, .. } => {
            let shelf = match shelf {
                Shelf::Open => "open",
                Shelf::Done => "done",
                Shelf::Dead => "dead",
            };
            format!("forgotten {} from={shelf}", task.0)
        }
        Record::LeftDead { task, .. } => format!("left_dead {}", task.0),
        Record::TaskIdBound(bound) => format!("ids below {}", bound.0),
        Record::EpochBound(bound) => format!("epochs below {}", bound.0),
        Record::Dedup(row) => {
            let ended =
                row.ended.map_or(String::new(), |(state, _)| format!(" ended={}", state.as_str()));
            format!("dedup {} {} task={}{ended}", row.queue, row.key, row.task.0)
        }
        Record::DedupFreed { queue, key } => format!("dedup {queue} {key} freed"),
        Record::Schedule(row) => {
            let last = row.last_task.map_or(String::new(), |task| format!(" last={}", task.0));
            format!("schedule {} fired={}{last}", row.schedule.name, row.fired)
        }
        Record::ScheduleRemoved { name } => format!("schedule {name} removed"),
        Record::Token(row) => format!("token {}... of {}", row.prefix, row.agent),
        Record::Config(_)
        | Record::Message(_)
        | Record::MessageDropped { .. }
        | Record::MessageIdBound(_)
        | Record::Mail { .. }
        | Record::MailDropped { .. }
        | Record::Channel(_)
        | Record::Subscribed { .. }
        | Record::Unsubscribed { .. } => unreachable!("no scenario sends messages"),
        Record::TokenRevoked { digest } => format!("revoked {digest:?}"),
        Record::Queue { queue, settings } => {
            let mut out = format!("queue {queue} paused={}", settings.paused);
            if let Some(max) = settings.leases_max {
                write!(out, " leases={max}").unwrap();
            }
            if let Some(rate) = settings.rate {
                write!(out, " rate={}/{}ms", rate.grants, rate.period_ms).unwrap();
            }
            if settings.order != Order::Deadline {
                write!(out, " order={}", settings.order.as_str()).unwrap();
            }
            write!(out, " keep={}ms", settings.keep_ms).unwrap();
            if let Some(keep_ms) = settings.keep_dead_ms {
                write!(out, " keep_dead={keep_ms}ms").unwrap();
            }
            out
        }
    }
}

fn row_text(row: &TaskRow) -> String {
    let mut out = format!("{} {} gen={}", row.task.0, row.state().as_str(), row.generation.0);
    match &row.phase {
        Phase::Scheduled(wait) => match &**wait {
            Wait::Until { wall_ms } => write!(out, " until={wall_ms}"),
            Wait::For { delay_ms, keeps_place, .. } => {
                let place = if *keeps_place { " in_place" } else { "" };
                write!(out, " wait={delay_ms}ms{place}")
            }
        },
        Phase::Held | Phase::Ready | Phase::Parked => Ok(()),
        Phase::Offered(holder) | Phase::Running(holder) => {
            let fixed = holder.fixed_ms.map_or(String::new(), |ms| format!(" fixed={ms}ms"));
            write!(out, " by={}{fixed}", holder.agent)
        }
        Phase::Over(end) => {
            match &end.how {
                Ending::Completed => {}
                Ending::Dead(reason) => write!(out, " reason={}", reason.as_str()).unwrap(),
                Ending::Cancelled(reason) => write!(out, " \"{reason}\"").unwrap(),
            }
            end.by.as_ref().map_or(Ok(()), |by| write!(out, " by={by}"))
        }
    }
    .unwrap();
    details_text(row, &mut out);
    out
}

fn details_text(row: &TaskRow, out: &mut String) {
    let details = row.details();
    for (key, count) in [
        ("attempts", u64::from(details.attempts)),
        ("lost", details.lost.into()),
        ("offers_expired", details.offers_expired.into()),
        ("declines", details.declines.into()),
        ("releases", details.releases.into()),
        ("redrives", details.redrives.into()),
        ("progress_seq", details.progress_seq),
        ("checkpoint_seq", details.checkpoint_seq.unwrap_or(0)),
    ] {
        if count > 0 {
            write!(out, " {key}={count}").unwrap();
        }
    }
    if !details.excluded.is_empty() {
        write!(out, " excluded={}", joined(&details.excluded)).unwrap();
    }
    if let Some(window) = &details.window {
        write!(out, " only={}", window.agent).unwrap();
        if let Some(span) = window.span {
            write!(out, "/{}ms", span.length_ms).unwrap();
        }
    }
    if let Some(former) = &details.former {
        write!(out, " former={former}").unwrap();
    }
    if row.spec.has_headers {
        write!(out, " headers").unwrap();
    }
    if details.version > 0 {
        write!(out, " version={}", details.version).unwrap();
    }
    if let Some(parent) = details.parent {
        write!(out, " parent={}", parent.task.0).unwrap();
    }
    for asked in &details.questions {
        let answer = asked.answer.as_ref().map_or("?".to_owned(), |bytes| text(bytes));
        write!(out, " {}={answer}", asked.key).unwrap();
    }
    if details.parking.is_some() && row.holder().is_some() {
        out.push_str(" waiting");
    }
    if details.cancelling.is_some() {
        out.push_str(" cancelling");
    }
    if !details.after.is_empty() {
        let edges =
            details.after.iter().map(|edge| edge_text(edge.task.0, edge.on, edge.is_blocked));
        write!(out, " after={}", edges.collect::<Vec<_>>().join(",")).unwrap();
    }
}

fn edge_text(task: u64, on: AfterEnd, is_blocked: bool) -> String {
    let on = match on {
        AfterEnd::Any => ":any",
        AfterEnd::SuccessElseBlock => "",
        AfterEnd::SuccessElseCancel => ":cancel",
        AfterEnd::SuccessElseFail => ":fail",
    };
    format!("{task}{on}{}", if is_blocked { "(blocked)" } else { "" })
}

/// A request's answer.
pub(crate) fn outcome_text(outcome: &Result<Reply, Rejection>) -> String {
    match outcome {
        Err(rejection) => format!("{}: {rejection}", rejection.code()),
        Ok(
            Reply::Token(_)
            | Reply::Tokens(_)
            | Reply::Identified { .. }
            | Reply::Revoked { .. }
            | Reply::Config(_)
            | Reply::Upkeep(_)
            | Reply::Holding(_)
            | Reply::Message(_),
        ) => {
            unreachable!("no scenario asks for tokens or messages")
        }
        Ok(Reply::Submitted(kept)) => format!("submitted {}", submitted(kept)),
        Ok(Reply::SubmittedBatch(kept)) => {
            let kept = kept.iter().map(submitted).collect::<Vec<_>>();
            format!("submitted {}", kept.join(", "))
        }
        Ok(Reply::Attached { continued, stopped, .. }) => attached(continued, stopped),
        Ok(Reply::Noted) => "noted".to_owned(),
        Ok(Reply::Done { task, state, duplicate }) => {
            let again = if *duplicate { " duplicate" } else { "" };
            format!("done {} {}{again}", task.0, state.as_str())
        }
        Ok(Reply::Numbered { task, seq, duplicate }) => {
            let again = if *duplicate { " duplicate" } else { "" };
            format!("numbered {} seq={seq}{again}", task.0)
        }
        Ok(Reply::Taken(offers)) if offers.is_empty() => "taken nothing".to_owned(),
        Ok(Reply::Taken(offers)) => {
            let offers = offers.iter().map(offer_text).collect::<Vec<_>>();
            format!("taken {}", offers.join(", "))
        }
        Ok(Reply::Task(view)) => format!("task {}", view_text(view)),
        Ok(Reply::Queue(view)) => format!("queue {}", queue_text(view)),
        Ok(Reply::Queues(views)) => {
            format!("queues {}", views.iter().map(queue_text).collect::<Vec<_>>().join(", "))
        }
        Ok(Reply::Tasks(views)) => {
            format!("tasks {}", views.iter().map(view_text).collect::<Vec<_>>().join(", "))
        }
        Ok(Reply::Listed { .. }) => unreachable!("lists are read beside the core"),
        Ok(Reply::Why { task, reasons, .. }) => {
            let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
            format!("why {}: {}", task.0, reasons.join("; "))
        }
        Ok(Reply::Parked { task, state, answers }) => {
            format!("parked {} {}{}", task.0, state.as_str(), answers_text(answers))
        }
        Ok(Reply::Schedule(view)) => format!("schedule {}", schedule_text(view)),
        Ok(Reply::Schedules(views)) => {
            let views: Vec<String> = views.iter().map(schedule_text).collect();
            format!("schedules {}", views.join(", "))
        }
        Ok(Reply::Purged { tasks, left }) => format!("purged {tasks} left={left}"),
    }
}

fn answers_text(answers: &[Answer]) -> String {
    let answer = |answer: &Answer| format!(" {}=\"{}\"", answer.key, text(&answer.value));
    answers.iter().map(answer).collect()
}

fn schedule_text(view: &ScheduleView) -> String {
    let mut out = view.schedule.name.to_string();
    if let Some(next_ms) = view.next_ms {
        write!(out, " next={next_ms}").unwrap();
    }
    if let Some(task) = view.last_task {
        write!(out, " last={}", task.0).unwrap();
    }
    write!(out, " fired={} skipped={}", view.fired, view.skipped).unwrap();
    out
}

fn submitted(kept: &Submitted) -> String {
    let mut out = kept.task.0.to_string();
    if kept.state != State::Ready {
        write!(out, " {}", kept.state.as_str()).unwrap();
    }
    if kept.generation.0 > 0 {
        write!(out, " gen={}", kept.generation.0).unwrap();
    }
    if kept.existing {
        out.push_str(" existing");
    }
    out
}

fn attached(continued: &[Continued], stopped: &[Stopped]) -> String {
    let mut out = "attached".to_owned();
    for lease in continued {
        write!(out, " continued={}:{}", lease.task.0, lease.generation.0).unwrap();
        if lease.is_cancelling {
            out.push_str("(cancelling)");
        }
    }
    for lease in stopped {
        let state = lease.state.map_or("over", State::as_str);
        write!(out, " stopped={}:{}({state})", lease.task.0, lease.generation.0).unwrap();
    }
    out
}

fn view_text(view: &TaskView) -> String {
    let mut out = format!("{} {}", view.task.0, view.state.as_str());
    write!(out, " gen={} attempts={}", view.generation.0, view.attempts).unwrap();
    for (key, value) in [
        ("by", view.agent.as_ref().map(Name::to_string)),
        ("progress", view.progress.as_ref().map(|bytes| text(bytes))),
        ("result", view.result.as_ref().map(|bytes| text(bytes))),
        ("error", view.errors.last().map(|failure| failure.error.to_string())),
        ("dead", view.dead.map(|reason| reason.as_str().to_owned())),
        ("cancelled", view.cancelled.as_ref().map(ToString::to_string)),
        ("cancelling", view.is_cancelling.then(|| "true".to_owned())),
        ("due", view.due_ms.map(|ms| ms.to_string())),
    ] {
        if let Some(value) = value {
            write!(out, " {key}={value}").unwrap();
        }
    }
    if !view.after.is_empty() {
        let edges = view.after.iter().map(|edge| edge_text(edge.task.0, edge.on, edge.is_blocked));
        write!(out, " after={}", edges.collect::<Vec<_>>().join(",")).unwrap();
    }
    out
}

fn queue_text(view: &QueueView) -> String {
    let mut out = view.queue.to_string();
    if view.settings.paused {
        out.push_str(" paused");
    }
    let counts = &view.counts;
    for (key, count) in [
        ("leases", view.settings.leases_max.unwrap_or(0)),
        ("held", counts.held),
        ("scheduled", counts.scheduled),
        ("ready", counts.ready),
        ("offered", counts.offered),
        ("running", counts.running),
        ("parked", counts.parked),
        ("dead", counts.dead),
    ] {
        if count > 0 {
            write!(out, " {key}={count}").unwrap();
        }
    }
    out
}

fn push_text(push: &Push) -> String {
    match push {
        Push::Offer(offer) => format!("offer {}", offer_text(offer)),
        Push::Revoked { task, generation, state } => {
            format!("revoked {} gen={} now={}", task.0, generation.0, state.as_str())
        }
        Push::Cancel { task, generation, grace_ms, reason } => {
            format!("cancel {} gen={} grace={grace_ms}ms \"{reason}\"", task.0, generation.0)
        }
        Push::Answered { task, generation, answers } => {
            format!("answered {} gen={}{}", task.0, generation.0, answers_text(answers))
        }
        Push::Replaced => "replaced".to_owned(),
        Push::Event { event, .. } => format!("event seq={} {}", event.seq, event_text(event)),
    }
}

fn offer_text(offer: &Offer) -> String {
    let mut out = format!("{} gen={} attempt={}", offer.task.0, offer.generation.0, offer.attempt);
    if offer.progress_seq > 0 {
        write!(out, " progress_seq={}", offer.progress_seq).unwrap();
    }
    if let Some(seq) = offer.checkpoint_seq {
        write!(out, " checkpoint_seq={seq}").unwrap();
    }
    if let Some(headers) = &offer.headers {
        write!(out, " headers={}", text(headers)).unwrap();
    }
    out + &answers_text(&offer.answers)
}

fn event_text(event: &TaskEvent) -> String {
    let (task, generation) = (event.task.0, event.generation.0);
    let mut out = format!("{task} {} gen={generation}", event.state.as_str());
    if let Some(agent) = &event.agent {
        write!(out, " by={agent}").unwrap();
    }
    if let Some(progress) = &event.progress {
        write!(out, " progress={} \"{}\"", progress.seq, text(&progress.data)).unwrap();
    }
    if let Some(blocked_by) = event.blocked_by {
        write!(out, " blocked_by={}", blocked_by.0).unwrap();
    }
    if event.is_escalated {
        write!(out, " escalated").unwrap();
    }
    out
}

fn joined(names: &[Name]) -> String {
    names.iter().map(Name::as_str).collect::<Vec<_>>().join(",")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
