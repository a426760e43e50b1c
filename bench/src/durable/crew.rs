//! Connections that keep a fixed number of tasks on their way, and count what comes of it.
//!
//! ```text
//!  course    a round of one task, from its beginning to its end
//!  Submit    submit ----------------------> it is acknowledged
//!  Cycle     submit -> take -> complete --> that is acknowledged
//!  Drain               take -> complete --> that is acknowledged
//! ```
//!
//! Each connection carries a number of rounds at once, and begins one for each that ends, so the
//! server always has as much to do, and never more. A server that pushes tasks is not asked for
//! them; its connections complete whatever comes. One thread serves all: a read, the answers to
//! everything in it, a write.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::body::Bodies;
use super::dialect::{Client, Dialect, Language, Reply};
use crate::link::{self, SILENCE_MAX};

/// Bytes of one read: all replies that a connection can have waiting, still inside the cache.
const SCRATCH_BYTES: usize = 256 * 1024;
/// Events taken from one poll: over the number of connections of any scenario.
const EVENTS_MAX: usize = 1024;

/// How many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Connections.
    pub connections: usize,
    /// Rounds that each of them carries at once.
    pub rounds: u64,
}

/// What a round is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// Submit a task.
    Submit,
    /// Submit a task, take one, complete it.
    Cycle,
    /// Take a task that waits, complete it.
    Drain,
}

/// What was heard so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tasks acknowledged.
    pub submitted: u64,
    /// Tasks received.
    pub taken: u64,
    /// Completions acknowledged.
    pub completed: u64,
}

impl Counts {
    fn add(&mut self, more: Counts) {
        self.submitted += more.submitted;
        self.taken += more.taken;
        self.completed += more.completed;
    }

    /// Whether every task is over.
    pub fn is_settled(&self) -> bool {
        self.submitted == self.completed
    }

    /// Rounds that have ended.
    pub fn ended(&self, course: Course) -> u64 {
        match course {
            Course::Submit => self.submitted,
            Course::Cycle | Course::Drain => self.completed,
        }
    }
}

/// Connections that are driven together.
#[derive(Debug)]
pub struct Crew {
    poll: Poll,
    events: Events,
    scratch: Vec<u8>,
    members: Vec<Member>,
    bodies: Arc<Bodies>,
    bodies_used: usize,
    course: Course,
    size: Size,
    /// How long to sleep for an event; zero to spin.
    patience: Duration,
    counts: Counts,
    rounds_left: u64,
    /// Rounds begun that have not ended.
    under_way: u64,
    last_heard: Instant,
    /// How long rounds took; only where a connection carries one at a time.
    latencies_us: Vec<f64>,
}

impl Crew {
    /// Connect `size` of them to the server at `address`, for rounds of `course`; none is begun. Payloads have
    /// `body_bytes`.
    pub fn open(
        address: SocketAddr,
        language: Language,
        size: Size,
        course: Course,
        body_bytes: usize,
    ) -> Result<Self> {
        let poll = Poll::new()?;
        let credit = if course == Course::Submit { 0 } else { size.rounds };
        let bodies = Arc::new(Bodies::of(body_bytes));
        let member = |place| {
            let client = Client { number: place, credit, bodies: Arc::clone(&bodies) };
            let mut member = Member::open(address, language.dialect(client))?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut member.socket, Token(place), interest)?;
            Ok(member)
        };
        let members: Vec<Member> = (0..size.connections).map(member).collect::<Result<_>>()?;
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            scratch: vec![0; SCRATCH_BYTES],
            members,
            bodies,
            bodies_used: 0,
            course,
            size,
            patience: Duration::from_millis(100),
            counts: Counts::default(),
            rounds_left: 0,
            under_way: 0,
            last_heard: Instant::now(),
            latencies_us: Vec::new(),
        })
    }

    /// Spin for events instead of sleeping, so that a latency is the server's alone.
    pub fn spin(&mut self) {
        self.patience = Duration::ZERO;
    }

    /// What a round is.
    pub fn course(&self) -> Course {
        self.course
    }

    /// What was heard so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Rounds that have ended.
    pub fn ended(&self) -> u64 {
        self.counts.ended(self.course)
    }

    /// How long the rounds took that ended since the last call, in microseconds.
    pub fn take_latencies(&mut self) -> Vec<f64> {
        std::mem::take(&mut self.latencies_us)
    }

    /// Begin as many rounds as the connections carry, and `most` in the end.
    pub fn begin(&mut self, most: u64) -> Result<()> {
        self.rounds_left = most;
        for place in 0..self.members.len() {
            let count = self.size.rounds.min(self.rounds_left);
            self.begin_rounds(place, count);
            self.members[place].write()?;
        }
        Ok(())
    }

    /// Serve the connections for `length`.
    pub fn run_for(&mut self, length: Duration) -> Result<()> {
        let started = Instant::now();
        self.last_heard = started;
        while started.elapsed() < length {
            self.turn()?;
        }
        Ok(())
    }

    /// Serve the connections until `done`. Fails when the server has been silent for
    /// [`SILENCE_MAX`].
    pub fn run_until(&mut self, done: impl Fn(&Counts) -> bool) -> Result<()> {
        self.last_heard = Instant::now();
        while !done(&self.counts) {
            self.turn()?;
        }
        Ok(())
    }

    /// Serve the connections until one more round has ended.
    pub fn run_until_next(&mut self) -> Result<()> {
        let (course, ended) = (self.course, self.ended());
        self.run_until(|counts| counts.ended(course) > ended)
    }

    /// Begin no more rounds, and wait until all that were begun have ended.
    pub fn finish(&mut self) -> Result<()> {
        self.rounds_left = 0;
        self.last_heard = Instant::now();
        while self.under_way > 0 {
            self.turn()?;
        }
        Ok(())
    }

    /// Move bytes once.
    fn turn(&mut self) -> Result<()> {
        let is_ready = self.members.iter().any(|member| member.readable);
        let patience = if is_ready { Duration::ZERO } else { self.patience };
        self.poll.poll(&mut self.events, Some(patience)).context("polling")?;
        for event in &self.events {
            let member = &mut self.members[event.token().0];
            member.readable |= event.is_readable() || event.is_read_closed();
            member.writable |= event.is_writable();
        }
        let mut heard = false;
        for place in 0..self.members.len() {
            if self.members[place].readable {
                heard |= self.serve(place)?;
            }
            self.members[place].write()?;
        }
        if heard {
            self.last_heard = Instant::now();
        }
        let counts = self.counts;
        ensure!(
            self.last_heard.elapsed() < SILENCE_MAX,
            "the server fell silent after {counts:?}, with {} rounds under way",
            self.under_way
        );
        Ok(())
    }

    /// Read once from a connection and put the answers to what was read into its output. Whether
    /// it said anything.
    fn serve(&mut self, place: usize) -> Result<bool> {
        let member = &mut self.members[place];
        let Heard { counts, nothing, is_anything } = member.read(&mut self.scratch)?;
        self.counts.add(counts);
        if self.course == Course::Cycle && counts.submitted > 0 {
            member.take(counts.submitted);
        }
        if nothing > 0 {
            member.take(nothing);
        }
        let ended = counts.ended(self.course);
        if ended > 0 {
            if self.size.rounds == 1 {
                let now = Instant::now();
                self.latencies_us.push((now - member.began).as_secs_f64() * 1e6);
            }
            // Beside a backlog, a server that pushes goes on after the last round.
            self.under_way = self.under_way.saturating_sub(ended);
            let next = ended.min(self.rounds_left);
            self.begin_rounds(place, next);
        }
        Ok(is_anything)
    }

    fn begin_rounds(&mut self, place: usize, count: u64) {
        let member = &mut self.members[place];
        self.rounds_left -= count;
        self.under_way += count;
        match self.course {
            Course::Submit | Course::Cycle => {
                for _ in 0..count {
                    let body = self.bodies.body(self.bodies_used);
                    self.bodies_used += 1;
                    member.dialect.submit(body, &mut member.output);
                }
            }
            Course::Drain if count > 0 => member.take(count),
            Course::Drain => {}
        }
        if self.size.rounds == 1 {
            member.began = Instant::now();
        }
    }
}

/// What one read brought.
#[derive(Debug, Default)]
struct Heard {
    counts: Counts,
    /// Requests for a task that were answered that there is none.
    nothing: u64,
    is_anything: bool,
}

/// One connection.
#[derive(Debug)]
struct Member {
    socket: TcpStream,
    dialect: Box<dyn Dialect>,
    /// The start of a reply that has not come whole.
    partial: Vec<u8>,
    output: Vec<u8>,
    /// How much of `output` has been written.
    written: usize,
    /// The last read filled the buffer, or the socket has become readable since.
    readable: bool,
    /// The last write was taken whole, or the socket has become writable since.
    writable: bool,
    /// When its present round began.
    began: Instant,
}

impl Member {
    fn open(address: SocketAddr, dialect: Box<dyn Dialect>) -> Result<Self> {
        let socket = link::connect(address)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: TcpStream::from_std(socket),
            output: dialect.greeting().to_vec(),
            dialect,
            partial: Vec::new(),
            written: 0,
            readable: true,
            writable: true,
            began: Instant::now(),
        })
    }

    fn take(&mut self, count: u64) {
        self.dialect.take(count, &mut self.output);
    }

    /// Read once, and complete every task that came.
    fn read(&mut self, scratch: &mut [u8]) -> Result<Heard> {
        let kept = self.partial.len();
        ensure!(kept < scratch.len(), "a reply has more than {} bytes", scratch.len());
        scratch[..kept].copy_from_slice(&self.partial);
        let length = match self.socket.read(&mut scratch[kept..]) {
            Ok(0) => bail!("the server closed a connection"),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error).context("reading from the server"),
        };
        // A short read has emptied the socket: asking again would be a wasted call.
        self.readable = kept + length == scratch.len();
        if length == 0 {
            return Ok(Heard::default());
        }
        let input = &scratch[..kept + length];
        let mut heard = Heard { is_anything: true, ..Heard::default() };
        let mut at = 0;
        while let Some((taken, reply)) = self.dialect.reply(&input[at..])? {
            at += taken;
            match reply {
                Reply::Submitted => heard.counts.submitted += 1,
                Reply::Task(handle) => {
                    heard.counts.taken += 1;
                    self.dialect.complete(handle, &mut self.output);
                }
                Reply::Completed => heard.counts.completed += 1,
                Reply::Nothing => heard.nothing += 1,
                Reply::Ping => self.output.extend_from_slice(b"PONG\r\n"),
                Reply::Other => {}
            }
        }
        self.partial.clear();
        self.partial.extend_from_slice(&input[at..]);
        Ok(heard)
    }

    /// Write what waits, once, if the socket takes any.
    fn write(&mut self) -> Result<()> {
        if !self.writable || self.written == self.output.len() {
            return Ok(());
        }
        match self.socket.write(&self.output[self.written..]) {
            Ok(taken) => self.written += taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
            Err(error) => return Err(error).context("writing to the server"),
        }
        if self.written == self.output.len() {
            self.output.clear();
            self.written = 0;
        } else {
            self.writable = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;
    use std::sync::Mutex;

    use super::*;

    /// The tasks that wait, and how many did at most.
    #[derive(Default)]
    struct Queue {
        bodies: VecDeque<Vec<u8>>,
        most: usize,
    }

    /// A server that speaks the words of beanstalkd with as many connections as `size` has.
    fn serve(size: Size) -> (SocketAddr, Arc<Mutex<Queue>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let queue = Arc::new(Mutex::new(Queue::default()));
        let theirs = Arc::clone(&queue);
        std::thread::spawn(move || {
            for _ in 0..size.connections {
                let (socket, _) = listener.accept().expect("a connection");
                let queue = Arc::clone(&theirs);
                std::thread::spawn(move || converse(socket, &queue));
            }
        });
        (address, queue)
    }

    fn converse(mut socket: std::net::TcpStream, queue: &Mutex<Queue>) {
        let mut reader = BufReader::new(socket.try_clone().expect("a second handle"));
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|length| length > 0) {
            let mut queue = queue.lock().expect("nobody panicked");
            let answer = match line.split_ascii_whitespace().next() {
                Some("put") => {
                    let size = line.trim_end().rsplit(' ').next().expect("a size");
                    let mut body = vec![0; size.parse::<usize>().expect("a size") + 2];
                    reader.read_exact(&mut body).expect("a payload");
                    queue.bodies.push_back(body);
                    queue.most = queue.most.max(queue.bodies.len());
                    b"INSERTED 1\r\n".to_vec()
                }
                Some("reserve") => {
                    let body = queue.bodies.pop_front().expect("a task for whoever submitted one");
                    [format!("RESERVED 1 {}\r\n", body.len() - 2).as_bytes(), &body].concat()
                }
                _ => b"DELETED\r\n".to_vec(),
            };
            if socket.write_all(&answer).is_err() {
                return;
            }
            line.clear();
        }
    }

    #[test]
    fn as_many_rounds_are_carried_out_as_were_asked_for_and_no_more_at_once_than_allowed() {
        let size = Size { connections: 3, rounds: 4 };
        let (address, queue) = serve(size);
        let mut crew = Crew::open(address, Language::Beanstalkd, size, Course::Cycle, 20)
            .expect("a server that listens");
        crew.begin(100).expect("room to write");
        crew.run_until(|counts| counts.completed == 100).expect("all rounds end");
        let hundred = Counts { submitted: 100, taken: 100, completed: 100 };
        assert_eq!(crew.counts(), hundred);
        crew.finish().expect("nothing is under way");
        let Queue { bodies, most } = &*queue.lock().expect("nobody panicked");
        assert!(bodies.is_empty() && *most <= 12, "{} left, {most} at most", bodies.len());
    }

    #[test]
    fn rounds_under_way_end_before_a_crew_is_finished() {
        let size = Size { connections: 2, rounds: 8 };
        let (address, queue) = serve(size);
        let mut crew = Crew::open(address, Language::Beanstalkd, size, Course::Submit, 20)
            .expect("a server that listens");
        crew.begin(u64::MAX).expect("room to write");
        crew.run_until(|counts| counts.submitted >= 50).expect("rounds end");
        crew.finish().expect("rounds end");
        assert_eq!(crew.ended(), queue.lock().expect("nobody panicked").bodies.len() as u64);
    }
}
