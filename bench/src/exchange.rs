//! Messages whose time on the way matters: requests with replies, and a paced stream.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::figure::{Figure, Spread};
use crate::fleet::Fleet;
use crate::frame::{INBOX, Message, SUBJECT, subscribe};
use crate::link::{Link, SILENCE_MAX};
use crate::scenario::Plan;
use crate::server::Server;

/// Payload of a request, a reply, and a paced message.
const PAYLOAD_BYTES: usize = 16;

/// Send requests, `in_flight` at a time, to one responder: processor time of a round trip, and
/// the latency in the middle. The generator sleeps between events, as a client would.
pub fn run(server: &Server, in_flight: u64, plan: &Plan) -> Result<Vec<Figure>> {
    let request = Message { reply: Some(INBOX), ..Message::plain(PAYLOAD_BYTES) };
    let reply = Message { subject: INBOX, ..Message::plain(PAYLOAD_BYTES) };
    let (inbox, subject) = (subscribe(INBOX, None), subscribe(SUBJECT, None));
    let address = server.address();
    let mut fleet = Fleet::new(vec![
        Link::open(address, &inbox, &reply.delivered(), &request.published())?,
        Link::open(address, &subject, &request.delivered(), &reply.published())?,
    ])?;
    let course = Course { end: 0, patience: Duration::from_millis(100) };
    let allow = |links: &mut [Link], _: Duration, most: u64| {
        let (replied, asked) = (links[0].inbound.messages(), links[1].inbound.messages());
        links[0].outbound.allow((replied + in_flight).min(most));
        links[1].outbound.allow(asked);
    };
    course.drive(&mut fleet, plan.warmup, None, allow)?;
    let before = server.cpu()?;
    let outcome = course.drive(&mut fleet, plan.measured, plan.messages, allow)?;
    let cpu_ns = server.cpu()?.since(&before).as_nanos() as f64;
    Ok(vec![
        Figure::cost("server cpu, ns/round trip", cpu_ns / outcome.count),
        Figure::gain("round trips/s", outcome.count / outcome.seconds),
        Figure::cost("latency p50, us", outcome.latency_us),
    ])
}

/// Publish `rate` messages a second to one receiver, spinning in between: processor time of a
/// message when nothing can be batched, and the latency in the middle.
pub fn run_paced(server: &Server, rate: u32, plan: &Plan) -> Result<Vec<Figure>> {
    let message = Message::plain(PAYLOAD_BYTES);
    let subject = subscribe(SUBJECT, None);
    let address = server.address();
    let mut fleet = Fleet::new(vec![
        Link::open(address, "", &[], &message.published())?,
        Link::open(address, &subject, &message.delivered(), &[])?,
    ])?;
    let course = Course { end: 1, patience: Duration::ZERO };
    let mut drive = |length, most| {
        let sent = fleet.links()[0].outbound.messages();
        course.drive(&mut fleet, length, most, |links, elapsed, most| {
            let due = (elapsed.as_secs_f64() * f64::from(rate)) as u64;
            links[0].outbound.allow((sent + due).min(most));
        })
    };
    drive(plan.warmup, None)?;
    let before = server.cpu()?;
    let outcome = drive(plan.measured, plan.messages)?;
    let cpu_ns = server.cpu()?.since(&before).as_nanos() as f64;
    Ok(vec![
        Figure::cost("server cpu, ns/message", cpu_ns / outcome.count),
        Figure::cost("latency p50, us", outcome.latency_us),
        Figure::remark("messages/s", outcome.count / outcome.seconds),
    ])
}

/// What a course found.
#[derive(Debug)]
struct Outcome {
    /// Messages that came to their end.
    count: f64,
    seconds: f64,
    /// Half of the messages took less.
    latency_us: f64,
}

/// The way of messages from where they are sent, always connection 0, to where they end.
#[derive(Debug)]
struct Course {
    /// The connection whose deliveries are the end of the way.
    end: usize,
    /// How long to sleep for an event; zero to spin.
    patience: Duration,
}

impl Course {
    /// Send for `length`, or `messages` if given, and wait until the last has come to its end.
    /// Every turn `allow` is told the time since the start and the most messages that connection
    /// 0 may have sent in its life, and raises the allowances.
    fn drive(
        &self,
        fleet: &mut Fleet,
        length: Duration,
        messages: Option<u64>,
        mut allow: impl FnMut(&mut [Link], Duration, u64),
    ) -> Result<Outcome> {
        let mut sent = fleet.links()[0].outbound.messages();
        let mut ended = fleet.links()[self.end].inbound.messages();
        ensure!(sent == ended, "{ended} messages came to their end of {sent} sent");
        let ended_before = ended;
        let mut most = messages.map_or(u64::MAX, |messages| sent + messages);
        let mut on_their_way = VecDeque::new();
        let mut latencies_us = Vec::new();
        let started = Instant::now();
        let mut last_ended = started;
        while ended < most {
            let now = Instant::now();
            if messages.is_none() && now - started >= length {
                most = most.min(fleet.links()[0].outbound.messages_begun());
            }
            allow(fleet.links_mut(), now - started, most);
            fleet.write()?;
            let written = fleet.links()[0].outbound.messages();
            on_their_way.extend((sent..written).map(|_| now));
            sent = written;
            fleet.read(self.patience)?;
            let now = Instant::now();
            while ended < fleet.links()[self.end].inbound.messages() {
                let start = on_their_way.pop_front();
                let start = start.ok_or_else(|| anyhow::anyhow!("a message came twice"))?;
                latencies_us.push((now - start).as_secs_f64() * 1e6);
                ended += 1;
                last_ended = now;
            }
            ensure!(now - last_ended < SILENCE_MAX, "{ended} of {sent} messages came to their end");
        }
        let seconds = started.elapsed().as_secs_f64();
        fleet.barrier(0..fleet.links().len())?;
        let found = fleet.links()[self.end].inbound.messages();
        ensure!(found == sent, "{found} messages came to their end of {sent} sent");
        let latency_us = Spread::over(latencies_us).map_or(f64::NAN, |spread| spread.median);
        Ok(Outcome { count: (ended - ended_before) as f64, seconds, latency_us })
    }
}
