//! All connections of a run, driven by one thread: one read and one write a turn for each.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mio::{Events, Interest, Poll, Token};

use crate::link::{Link, SILENCE_MAX};

/// Bytes of one read: what a receiver at full speed finds waiting, still inside the cache.
const SCRATCH_BYTES: usize = 256 * 1024;
/// Events taken from one poll: over the largest number of connections that carry traffic.
const EVENTS_MAX: usize = 1024;

/// Connections that are driven together.
#[derive(Debug)]
pub struct Fleet {
    poll: Poll,
    events: Events,
    scratch: Vec<u8>,
    links: Vec<Link>,
    last_heard: Instant,
}

impl Fleet {
    /// Take over `links`; they keep their places.
    pub fn new(mut links: Vec<Link>) -> Result<Self> {
        let poll = Poll::new()?;
        for (place, link) in links.iter_mut().enumerate() {
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut link.socket, Token(place), interest)?;
        }
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            scratch: vec![0; SCRATCH_BYTES],
            links,
            last_heard: Instant::now(),
        })
    }

    /// The connections, in the order they were given.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// The same, to raise allowances.
    pub fn links_mut(&mut self) -> &mut [Link] {
        &mut self.links
    }

    /// Wait until a connection can move bytes, at most for `patience`, then read once from each
    /// that has something. The bytes read.
    pub fn read(&mut self, patience: Duration) -> Result<usize> {
        let is_ready = self.links.iter().any(Link::is_ready);
        let patience = if is_ready { Duration::ZERO } else { patience };
        self.poll.poll(&mut self.events, Some(patience)).context("polling")?;
        for event in &self.events {
            let link = &mut self.links[event.token().0];
            link.readable |= event.is_readable() || event.is_read_closed();
            link.writable |= event.is_writable();
        }
        let mut read_bytes = 0;
        for link in self.links.iter_mut().filter(|link| link.readable) {
            read_bytes += link.read(&mut self.scratch)?;
        }
        if read_bytes > 0 {
            self.last_heard = Instant::now();
        }
        Ok(read_bytes)
    }

    /// Write once to each connection that has something to send and room for it.
    pub fn write(&mut self) -> Result<()> {
        let ready = |link: &&mut Link| link.writable && link.outbound.is_pending();
        for link in self.links.iter_mut().filter(ready) {
            link.write()?;
        }
        Ok(())
    }

    /// Send `PING` on the connections in `places` and wait for the answers, so that all they sent
    /// before has been taken in by the server.
    pub fn barrier(&mut self, places: std::ops::Range<usize>) -> Result<()> {
        let pongs = |links: &[Link]| links.iter().map(|link| link.inbound.pongs()).sum::<u64>();
        let wanted = pongs(&self.links[places.clone()]) + places.len() as u64;
        for link in &mut self.links[places.clone()] {
            link.outbound.push_line(link.framing.ping());
        }
        self.until("the answers to PING", |links| pongs(&links[places.clone()]) >= wanted)
    }

    /// Move bytes within the present allowances until `done`. Fails, naming `what` did not come,
    /// when the server has been silent for [`SILENCE_MAX`].
    pub fn until(&mut self, what: &str, done: impl Fn(&[Link]) -> bool) -> Result<()> {
        self.last_heard = Instant::now();
        while !done(&self.links) {
            self.write()?;
            self.read(Duration::from_millis(100))?;
            ensure!(self.last_heard.elapsed() < SILENCE_MAX, "waited in vain for {what}");
        }
        Ok(())
    }
}
