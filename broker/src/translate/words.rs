//! Answers and pushes to lines (docs/protocol.md, "Our own verbs").

use std::borrow::Cow;

use serde_json::{Value, json};

use super::{message, upkeep, view};
use crate::core::command::{
    Continued, Generation, MessageReply, Offer, Push, Rejection, Reply, Stopped, TaskEvent, TaskId,
};
use agentcom_protocol::encode::{self, Line};

/// The line that answers a request, with the items that stand before it.
pub fn answer(out: &mut Vec<u8>, tag: &str, outcome: &Result<Reply, Rejection>) {
    let reply = match outcome {
        Ok(reply) => reply,
        Err(rejection) => {
            return encode::declined(out, tag, rejection.code(), &rejection.to_string());
        }
    };
    if let Reply::Taken(offers) = reply {
        for offer in offers {
            let mut line = Line::begin(out, "ITEM");
            line.word(tag);
            work(line, offer);
        }
    }
    let mut line = Line::begin(out, "OK");
    line.word(tag);
    match reply {
        Reply::Submitted(kept) => {
            line.number("task", kept.task.0);
            line.field("state", kept.state.as_str());
            line.number("generation", kept.generation.0);
            mark(&mut line, "existing", kept.existing);
        }
        Reply::SubmittedBatch(kept) => {
            list(&mut line, "tasks", kept.iter().map(|kept| kept.task.0.to_string()));
        }
        Reply::Task(found) => return body(line, &view::task(found)),
        Reply::Queue(found) => return body(line, &view::queue(found)),
        Reply::Queues(found) => return body(line, &view::queues(found)),
        Reply::Tasks(found) => return body(line, &view::tasks(found)),
        Reply::Why { task, state, reasons } => {
            return body(line, &view::why(*task, *state, reasons));
        }
        Reply::Parked { task, state, answers } => {
            return body(line, &view::parked(*task, *state, answers));
        }
        Reply::Listed { tasks, next } => return body(line, &view::listed(tasks, *next)),
        Reply::Schedule(found) => return body(line, &view::schedule(found)),
        Reply::Schedules(found) => return body(line, &view::schedules(found)),
        Reply::Attached { session, continued, stopped } => {
            line.field("agent", session.agent.as_str());
            line.number("epoch", session.epoch.0);
            leases(&mut line, continued, stopped);
        }
        Reply::Taken(offers) => line.number("count", offers.len() as u64),
        Reply::Done { task, state, duplicate } => {
            line.number("task", task.0);
            line.field("state", state.as_str());
            mark(&mut line, "duplicate", *duplicate);
        }
        Reply::Numbered { task, seq, duplicate } => {
            line.number("task", task.0);
            line.number("seq", *seq);
            mark(&mut line, "duplicate", *duplicate);
        }
        Reply::Purged { tasks, left } => {
            line.number("tasks", *tasks);
            line.number("left", *left);
        }
        Reply::Token(found) => return body(line, &view::token(found)),
        Reply::Tokens(found) => return body(line, &view::tokens(found)),
        Reply::Message(found) => match &**found {
            MessageReply::Posted { id, channel_seq } => {
                line.field("id", &id.to_string());
                if *channel_seq > 0 {
                    line.number("seq", *channel_seq);
                }
            }
            MessageReply::Changed { is_new } => {
                line.field("changed", if *is_new { "true" } else { "false" });
            }
            found => return body(line, &message::answer(found)),
        },
        Reply::Config(views) => return body(line, &view::config(views)),
        Reply::Upkeep(found) => return body(line, &upkeep::answer(found)),
        Reply::Holding(leases) => return body(line, &view::holding(leases)),
        Reply::Identified { agent } => line.field("agent", agent.as_str()),
        Reply::Revoked { agent, tokens } => {
            line.field("agent", agent.as_str());
            line.number("tokens", *tokens as u64);
        }
        Reply::Noted => {}
    }
    line.end();
}

/// The line that tells somebody something that was not asked for.
pub fn push(out: &mut Vec<u8>, push: &Push) {
    match push {
        Push::Offer(offer) => work(Line::begin(out, "OFFER"), offer),
        Push::Revoked { task, generation, state } => {
            let mut line = lease(out, "REVOKED", *task, *generation);
            line.field("state", state.as_str());
            line.end();
        }
        Push::Cancel { task, generation, grace_ms, reason } => {
            let mut line = lease(out, "CANCEL", *task, *generation);
            line.number("grace_ms", *grace_ms);
            line.end_with(reason.as_bytes());
        }
        Push::Answered { task, generation, answers } => {
            let answers = json!({ "answers": view::answers(answers) });
            body(lease(out, "ANSWERED", *task, *generation), &answers);
        }
        Push::Replaced => out.extend_from_slice(encode::fixed::REPLACED),
        Push::Event { event, .. } => tell(out, event),
    }
}

/// The line that says `word` about a lease.
fn lease<'a>(out: &'a mut Vec<u8>, word: &str, task: TaskId, generation: Generation) -> Line<'a> {
    let mut line = Line::begin(out, word);
    line.decimal(task.0);
    line.decimal(generation.0);
    line
}

/// `OFFER` or `ITEM`. Answers, then a checkpoint, then headers stand before the payload.
fn work(mut line: Line<'_>, offer: &Offer) {
    line.decimal(offer.task.0);
    line.decimal(offer.generation.0);
    line.field("queue", offer.queue.as_str());
    line.number("attempt", offer.attempt.into());
    if offer.offer_ms > 0 {
        line.number("offer_ms", offer.offer_ms);
    }
    line.number("lease_ms", offer.lease_ms);
    if offer.progress_seq > 0 {
        line.number("progress_seq", offer.progress_seq);
    }
    if let Some(seq) = offer.checkpoint_seq {
        line.number("checkpoint_seq", seq);
    }
    let mut before = Vec::new();
    if !offer.answers.is_empty() {
        let answers = view::answers(&offer.answers).to_string();
        line.number("answers_bytes", answers.len() as u64);
        before.extend_from_slice(answers.as_bytes());
    }
    if let Some(checkpoint) = &offer.checkpoint {
        line.number("checkpoint_bytes", checkpoint.len() as u64);
        before.extend_from_slice(checkpoint);
    }
    if let Some(headers) = &offer.headers {
        line.number("headers_bytes", headers.len() as u64);
        before.extend_from_slice(headers);
    }
    let mut body = Cow::Borrowed(&*offer.payload);
    if !before.is_empty() {
        before.extend_from_slice(&offer.payload);
        body = Cow::Owned(before);
    }
    line.end_with(&body);
}

fn tell(out: &mut Vec<u8>, event: &TaskEvent) {
    let mut line = Line::begin(out, "EVENT");
    line.decimal(event.task.0);
    line.number("seq", event.seq);
    line.number("at_ms", event.at_ms);
    line.field("state", event.state.as_str());
    line.number("generation", event.generation.0);
    if let Some(agent) = &event.agent {
        line.field("agent", agent.as_str());
    }
    if let Some(progress) = &event.progress {
        line.number("progress_seq", progress.seq);
    }
    if let Some(blocked_by) = event.blocked_by {
        line.number("blocked_by", blocked_by.0);
    }
    mark(&mut line, "escalated", event.is_escalated);
    line.end_with(event.progress.as_ref().map_or(&[][..], |progress| &progress.data));
}

fn body(line: Line<'_>, value: &Value) {
    line.end_with(value.to_string().as_bytes());
}

/// `name=true`, or nothing.
fn mark(line: &mut Line<'_>, name: &str, is_so: bool) {
    if is_so {
        line.field(name, "true");
    }
}

fn list(line: &mut Line<'_>, name: &str, items: impl Iterator<Item = String>) {
    let items: Vec<String> = items.collect();
    line.field(name, &items.join(","));
}

/// What became of the leases that a session named; lists without items are left out.
fn leases(line: &mut Line<'_>, continued: &[Continued], stopped: &[Stopped]) {
    let lease = |task: u64, generation: u64| format!("{task}:{generation}");
    if !continued.is_empty() {
        let leases = continued.iter().map(|lease_| lease(lease_.task.0, lease_.generation.0));
        list(line, "continued", leases);
    }
    let cancelling = continued.iter().filter(|lease| lease.is_cancelling);
    if cancelling.clone().next().is_some() {
        list(line, "cancelling", cancelling.map(|lease| lease.task.0.to_string()));
    }
    if !stopped.is_empty() {
        let leases = stopped.iter().map(|lease_| lease(lease_.task.0, lease_.generation.0));
        list(line, "stopped", leases);
    }
}
