//! Publishers at full speed, held to a window by their slowest receiver.
//!
//! The window is what a careful set of clients would do: nobody publishes so far ahead that the
//! server has to cut a receiver off. The generator alternates one read of every receiver with one
//! write of every publisher, so the server always has work and never an unbounded backlog.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::figure::Figure;
use crate::fleet::Fleet;
use crate::frame::{Message, SUBJECT, subscribe};
use crate::link::Link;
use crate::process::CpuReading;
use crate::scenario::{Plan, Shape, Sharing};
use crate::server::Server;

/// Bytes on their way to all receivers together: 32 KiB to each of 1000, which nats-server still
/// delivers within two seconds, so that draining the window does not outlast the run.
const WINDOW_BYTES_TOTAL: u64 = 32 * 1024 * 1024;
/// Messages that may always be on their way, so that a window of few bytes still moves.
const WINDOW_MESSAGES_MIN: u64 = 16;

/// Run `shape` against `server`: processor time per message and per delivery, and the rate.
pub fn run(server: &Server, shape: Shape, plan: &Plan) -> Result<Vec<Figure>> {
    measure(server, Flow::open(server, shape, plan.window_bytes)?, plan)
}

/// Run `flow`: processor time per message and per delivery, and the rate.
pub fn measure(server: &Server, mut flow: Flow, plan: &Plan) -> Result<Vec<Figure>> {
    flow.pump(Until::Elapsed(plan.warmup))?;
    let generator = std::process::id();
    let before = (server.cpu()?, CpuReading::of(generator)?, flow.published(), flow.delivered());
    let started = Instant::now();
    flow.pump(match plan.messages {
        Some(messages) => Until::Published(before.2 + messages),
        None => Until::Elapsed(plan.measured),
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let cpu_ns = server.cpu()?.since(&before.0).as_nanos() as f64;
    let generator_ns = CpuReading::of(generator)?.since(&before.1).as_nanos() as f64;
    let published = (flow.published() - before.2) as f64;
    let delivered = (flow.delivered() - before.3) as f64;

    let mut figures = vec![
        Figure::cost("server cpu, ns/message", cpu_ns / published),
        Figure::gain("messages/s", published / seconds),
    ];
    if delivered > published {
        figures.push(Figure::cost("server cpu, ns/delivery", cpu_ns / delivered));
        figures.push(Figure::gain("deliveries/s", delivered / seconds));
    }
    let peak_mib = server.memory()?.peak_bytes as f64 / f64::from(1 << 20);
    figures.extend([
        Figure::cost("server peak memory, MiB", peak_mib),
        Figure::remark("measured interval, s", seconds),
        Figure::remark("server busy, % of a core", cpu_ns / seconds / 1e7),
        Figure::remark("generator busy, % of a core", generator_ns / seconds / 1e7),
    ]);
    Ok(figures)
}

/// When publishers stop.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After this long.
    Elapsed(Duration),
    /// At this many messages in total since the connections were opened.
    Published(u64),
}

/// The connections of one shape: publishers first, then receivers.
#[derive(Debug)]
pub struct Flow {
    fleet: Fleet,
    shape: Shape,
    window_messages: u64,
}

impl Flow {
    /// Connect everybody and subscribe the receivers.
    pub fn open(server: &Server, shape: Shape, window_bytes: u64) -> Result<Self> {
        let message = Message { headers: shape.headers, ..Message::plain(shape.payload_bytes) };
        let (published, delivered) = (message.published(), message.delivered());
        let group = (shape.sharing == Sharing::One).then_some("workers");
        let subscription = subscribe(SUBJECT, group);
        let publisher = |_| Link::open(server.address(), "", &[], &published);
        let receiver = |_| Link::open(server.address(), &subscription, &delivered, &[]);
        let mut links: Vec<Link> = (0..shape.publishers).map(publisher).collect::<Result<_>>()?;
        links.extend((0..shape.receivers).map(receiver).collect::<Result<Vec<_>>>()?);
        Self::of(links, shape, window_bytes, delivered.len())
    }

    /// Take over the links of `shape`, publishers first; a delivery has `delivered_bytes`.
    pub fn of(
        links: Vec<Link>,
        shape: Shape,
        window_bytes: u64,
        delivered_bytes: usize,
    ) -> Result<Self> {
        let each = window_bytes.min(WINDOW_BYTES_TOTAL / shape.receivers.max(1) as u64);
        let window_messages = (each / delivered_bytes as u64).max(WINDOW_MESSAGES_MIN);
        Ok(Self { fleet: Fleet::new(links)?, shape, window_messages })
    }

    /// Messages written whole.
    pub fn published(&self) -> u64 {
        self.publishers().iter().map(|link| link.outbound.messages()).sum()
    }

    /// Messages read by all receivers together.
    pub fn delivered(&self) -> u64 {
        self.receivers().iter().map(|link| link.inbound.messages()).sum()
    }

    /// Publish until `until`, then wait until the server has taken in and delivered everything.
    /// Fails if a delivery is wrong, missing or too many.
    pub fn pump(&mut self, until: Until) -> Result<()> {
        let started = Instant::now();
        loop {
            match until {
                Until::Elapsed(most) if started.elapsed() >= most => break,
                Until::Published(most) if self.published() >= most => break,
                Until::Elapsed(_) => self.turn(u64::MAX)?,
                Until::Published(most) => self.turn(most)?,
            }
        }
        self.settle()
    }

    /// One turn of all connections, with `most` messages published in total.
    pub fn turn(&mut self, most: u64) -> Result<()> {
        let begun: u64 = self.publishers().iter().map(|link| link.outbound.messages_begun()).sum();
        let ahead = self.acknowledged().map_or(u64::MAX, |seen| seen + self.window_messages);
        let room = ahead.min(most).saturating_sub(begun);
        let publishers = self.shape.publishers as u64;
        for (place, link) in self.fleet.links_mut().iter_mut().enumerate().take(publishers as usize)
        {
            // The remainder goes to the first, so that the last few messages go out too.
            let share = room / publishers + if place == 0 { room % publishers } else { 0 };
            let begun = link.outbound.messages_begun();
            link.outbound.allow(begun.saturating_add(share).min(u64::from(u32::MAX) << 8));
        }
        self.fleet.write()?;
        self.fleet.read(Duration::from_millis(100))?;
        Ok(())
    }

    /// Stop publishing, and wait until everything published has been delivered.
    pub fn settle(&mut self) -> Result<()> {
        let publishers = self.shape.publishers;
        for link in &mut self.fleet.links_mut()[..publishers] {
            let begun = link.outbound.messages_begun();
            link.outbound.allow(begun);
        }
        self.fleet.barrier(0..publishers)?;
        let wanted = self.published() * self.copies();
        let outcome = self.fleet.until("deliveries", |links| {
            links[publishers..].iter().map(|link| link.inbound.messages()).sum::<u64>() >= wanted
        });
        // Whatever was sent twice would arrive before the answers to these.
        let everybody = 0..self.fleet.links().len();
        let outcome = outcome.and_then(|()| self.fleet.barrier(everybody));
        let (found, missing) = (self.delivered(), wanted.abs_diff(self.delivered()));
        outcome.with_context(|| format!("{found} of {wanted} deliveries came"))?;
        anyhow::ensure!(missing == 0, "{found} deliveries came instead of {wanted}");
        Ok(())
    }

    fn publishers(&self) -> &[Link] {
        &self.fleet.links()[..self.shape.publishers]
    }

    fn receivers(&self) -> &[Link] {
        &self.fleet.links()[self.shape.publishers..]
    }

    /// Deliveries of one published message.
    fn copies(&self) -> u64 {
        match self.shape.sharing {
            Sharing::All => self.shape.receivers as u64,
            Sharing::One => 1,
        }
    }

    /// Messages that need not be waited for any more; `None` if nobody receives.
    fn acknowledged(&self) -> Option<u64> {
        let read = self.receivers().iter().map(|link| link.inbound.messages());
        match self.shape.sharing {
            Sharing::All => read.min(),
            Sharing::One => Some(read.sum()),
        }
    }
}
