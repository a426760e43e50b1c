//! Answers and pushes to lines (docs/protocol.md, "Our own verbs").

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{message, upkeep, view};
use crate::core::command::{
    Continued, MessageReply, Offer, Push, Rejection, Reply, Stopped, TaskEvent,
};
use agentcom_protocol::encode;

/// The line that answers a request, with the items that stand before it.
pub fn answer(out: &mut Vec<u8>, tag: &str, outcome: &Result<Reply, Rejection>) {
    let reply = match outcome {
        Ok(reply) => reply,
        Err(rejection) => {
            return encode::declined(out, tag, rejection.code(), &rejection.to_string());
        }
    };
    let mut line = format!("OK {tag}");
    match reply {
        Reply::Submitted(kept) => {
            let (task, generation) = (kept.task.0, kept.generation.0);
            write(&mut line, &[("task", &task), ("state", &kept.state.as_str())]);
            write(&mut line, &[("generation", &generation)]);
            write_if(&mut line, "existing", kept.existing);
        }
        Reply::SubmittedBatch(kept) => {
            write_list(&mut line, "tasks", kept.iter().map(|kept| kept.task.0.to_string()));
        }
        Reply::Task(found) => return body(out, tag, &view::task(found)),
        Reply::Queue(found) => return body(out, tag, &view::queue(found)),
        Reply::Queues(found) => return body(out, tag, &view::queues(found)),
        Reply::Tasks(found) => return body(out, tag, &view::tasks(found)),
        Reply::Why { task, state, reasons } => {
            return body(out, tag, &view::why(*task, *state, reasons));
        }
        Reply::Parked { task, state, answers } => {
            return body(out, tag, &view::parked(*task, *state, answers));
        }
        Reply::Listed { tasks, next } => return body(out, tag, &view::listed(tasks, *next)),
        Reply::Schedule(found) => return body(out, tag, &view::schedule(found)),
        Reply::Schedules(found) => return body(out, tag, &view::schedules(found)),
        Reply::Attached { session, continued, stopped } => {
            write(&mut line, &[("agent", &session.agent), ("epoch", &session.epoch.0)]);
            write_leases(&mut line, continued, stopped);
        }
        Reply::Taken(offers) => {
            for offer in offers {
                work(out, format!("ITEM {tag}"), offer);
            }
            write(&mut line, &[("count", &offers.len())]);
        }
        Reply::Done { task, state, duplicate } => {
            write(&mut line, &[("task", &task.0), ("state", &state.as_str())]);
            write_if(&mut line, "duplicate", *duplicate);
        }
        Reply::Numbered { task, seq, duplicate } => {
            write(&mut line, &[("task", &task.0), ("seq", seq)]);
            write_if(&mut line, "duplicate", *duplicate);
        }
        Reply::Purged { tasks, left } => write(&mut line, &[("tasks", tasks), ("left", left)]),
        Reply::Token(found) => return body(out, tag, &view::token(found)),
        Reply::Tokens(found) => return body(out, tag, &view::tokens(found)),
        Reply::Message(found) => match &**found {
            MessageReply::Posted { id, channel_seq } => {
                write(&mut line, &[("id", id)]);
                if *channel_seq > 0 {
                    write(&mut line, &[("seq", channel_seq)]);
                }
            }
            MessageReply::Changed { is_new } => write(&mut line, &[("changed", is_new)]),
            found => return body(out, tag, &message::answer(found)),
        },
        Reply::Config(views) => return body(out, tag, &view::config(views)),
        Reply::Upkeep(found) => return body(out, tag, &upkeep::answer(found)),
        Reply::Holding(leases) => return body(out, tag, &view::holding(leases)),
        Reply::Identified { agent } => write(&mut line, &[("agent", agent)]),
        Reply::Revoked { agent, tokens } => {
            write(&mut line, &[("agent", agent), ("tokens", tokens)]);
        }
        Reply::Noted => {}
    }
    encode::words(out, &[&line], None);
}

/// The line that tells somebody something that was not asked for.
pub fn push(out: &mut Vec<u8>, push: &Push) {
    match push {
        Push::Offer(offer) => work(out, "OFFER".to_owned(), offer),
        Push::Revoked { task, generation, state } => {
            let line = format!("REVOKED {} {} state={}", task.0, generation.0, state.as_str());
            encode::words(out, &[&line], None);
        }
        Push::Cancel { task, generation, grace_ms, reason } => {
            let line = format!("CANCEL {} {} grace_ms={grace_ms}", task.0, generation.0);
            encode::words(out, &[&line], Some(reason.as_bytes()));
        }
        Push::Answered { task, generation, answers } => {
            let line = format!("ANSWERED {} {}", task.0, generation.0);
            let body = json!({ "answers": view::answers(answers) }).to_string();
            encode::words(out, &[&line], Some(body.as_bytes()));
        }
        Push::Replaced => out.extend_from_slice(encode::fixed::REPLACED),
        Push::Event { event, .. } => tell(out, event),
    }
}

/// `OFFER` or `ITEM`. Answers, then a checkpoint, then headers stand before the payload.
fn work(out: &mut Vec<u8>, mut line: String, offer: &Offer) {
    let _ = write!(line, " {} {}", offer.task.0, offer.generation.0);
    write(&mut line, &[("queue", &offer.queue), ("attempt", &offer.attempt)]);
    if offer.offer_ms > 0 {
        write(&mut line, &[("offer_ms", &offer.offer_ms)]);
    }
    write(&mut line, &[("lease_ms", &offer.lease_ms)]);
    if offer.progress_seq > 0 {
        write(&mut line, &[("progress_seq", &offer.progress_seq)]);
    }
    if let Some(seq) = offer.checkpoint_seq {
        write(&mut line, &[("checkpoint_seq", &seq)]);
    }
    let mut before = Vec::new();
    if !offer.answers.is_empty() {
        let answers = view::answers(&offer.answers).to_string();
        write(&mut line, &[("answers_bytes", &answers.len())]);
        before.extend_from_slice(answers.as_bytes());
    }
    if let Some(checkpoint) = &offer.checkpoint {
        write(&mut line, &[("checkpoint_bytes", &checkpoint.len())]);
        before.extend_from_slice(checkpoint);
    }
    if let Some(headers) = &offer.headers {
        write(&mut line, &[("headers_bytes", &headers.len())]);
        before.extend_from_slice(headers);
    }
    let mut body = Cow::Borrowed(&*offer.payload);
    if !before.is_empty() {
        before.extend_from_slice(&offer.payload);
        body = Cow::Owned(before);
    }
    encode::words(out, &[&line], Some(&body));
}

fn tell(out: &mut Vec<u8>, event: &TaskEvent) {
    let mut line = format!("EVENT {}", event.task.0);
    write(&mut line, &[("seq", &event.seq), ("at_ms", &event.at_ms)]);
    write(&mut line, &[("state", &event.state.as_str()), ("generation", &event.generation.0)]);
    if let Some(agent) = &event.agent {
        write(&mut line, &[("agent", agent)]);
    }
    if let Some(progress) = &event.progress {
        write(&mut line, &[("progress_seq", &progress.seq)]);
    }
    if let Some(blocked_by) = event.blocked_by {
        write(&mut line, &[("blocked_by", &blocked_by.0)]);
    }
    write_if(&mut line, "escalated", event.is_escalated);
    let report = event.progress.as_ref().map_or(&[][..], |progress| &progress.data);
    encode::words(out, &[&line], Some(report));
}

fn body(out: &mut Vec<u8>, tag: &str, value: &Value) {
    encode::words(out, &["OK", tag], Some(value.to_string().as_bytes()));
}

fn write(line: &mut String, fields: &[(&str, &dyn std::fmt::Display)]) {
    for (key, value) in fields {
        let _ = write!(line, " {key}={value}");
    }
}

fn write_if(line: &mut String, key: &str, is_so: bool) {
    if is_so {
        write(line, &[(key, &true)]);
    }
}

fn write_list(line: &mut String, key: &str, items: impl Iterator<Item = String>) {
    let items: Vec<String> = items.collect();
    write(line, &[(key, &items.join(","))]);
}

/// What became of the leases that a session named; lists without items are left out.
fn write_leases(line: &mut String, continued: &[Continued], stopped: &[Stopped]) {
    let lease = |task: u64, generation: u64| format!("{task}:{generation}");
    if !continued.is_empty() {
        let leases = continued.iter().map(|lease_| lease(lease_.task.0, lease_.generation.0));
        write_list(line, "continued", leases);
    }
    let cancelling = continued.iter().filter(|lease| lease.is_cancelling);
    if cancelling.clone().next().is_some() {
        write_list(line, "cancelling", cancelling.map(|lease| lease.task.0.to_string()));
    }
    if !stopped.is_empty() {
        let leases = stopped.iter().map(|lease_| lease(lease_.task.0, lease_.generation.0));
        write_list(line, "stopped", leases);
    }
}
