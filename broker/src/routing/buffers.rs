//! Bytes on their way to receivers, gathered by one thread: one buffer per receiver, handed over
//! together.

use std::sync::Arc;
use std::time::Duration;

use crate::net::{Letter, Outbox, Outlet};

/// What is to be handed over, by receiver.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    /// By outlet index: its buffer's place plus one, or 0.
    places: Vec<u32>,
    buffers: Vec<Buffer>,
    /// The first so many of `buffers` are in use.
    used: usize,
    /// Most that were in use since idle ones were last given up.
    used_max: usize,
    flushes: u32,
    /// One for each worker that something was left to.
    posts: Vec<Post>,
    /// Memory for letters.
    spare: Vec<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Buffer {
    outlet: Option<Arc<Outlet>>,
    bytes: Vec<u8>,
    /// Answers to requests among them.
    answers: u32,
}

#[derive(Debug)]
struct Post {
    outbox: Arc<Outbox>,
    letters: Vec<Letter>,
}

/// One buffer is handed over before the end of the turn when it holds this much: a write of this
/// size costs little more per byte than any larger one, and the receiver can start.
const BUFFER_BYTES_MAX: usize = 256 * 1024;
/// Buffers that no turn used for so many are given up.
const FLUSHES_BETWEEN_TRIMS: u32 = 1024;
/// Buffers keep their memory between turns up to this much in all, per thread.
const KEPT_BYTES_MAX: usize = 16 * 1024 * 1024;

impl Buffers {
    /// The buffer of `outlet`.
    #[inline]
    pub(super) fn of(&mut self, outlet: &Arc<Outlet>) -> &mut Vec<u8> {
        let index = outlet.index();
        let place = self.places.get(index).copied().unwrap_or(0) as usize;
        if place > 0 {
            let buffer = &self.buffers[place - 1];
            let is_same = buffer.outlet.as_ref().is_some_and(|found| Arc::ptr_eq(found, outlet));
            if is_same && buffer.bytes.len() < BUFFER_BYTES_MAX {
                return &mut self.buffers[place - 1].bytes;
            }
            self.hand_over(place - 1);
            self.buffers[place - 1].outlet = Some(Arc::clone(outlet));
            return &mut self.buffers[place - 1].bytes;
        }
        self.first_use(outlet)
    }

    fn first_use(&mut self, outlet: &Arc<Outlet>) -> &mut Vec<u8> {
        let index = outlet.index();
        if self.places.len() <= index {
            self.places.resize(index + 1, 0);
        }
        if self.used == self.buffers.len() {
            self.buffers.push(Buffer::default());
        }
        let place = self.used;
        self.used += 1;
        self.places[index] = u32::try_from(self.used).expect("connections are limited below 2^32");
        let buffer = &mut self.buffers[place];
        buffer.outlet = Some(Arc::clone(outlet));
        &mut buffer.bytes
    }

    fn hand_over(&mut self, place: usize) {
        let Buffer { outlet, bytes, answers } = &mut self.buffers[place];
        let answers = std::mem::take(answers);
        if let Some(outlet) = outlet.take() {
            if !self.posts.is_empty() {
                // What was left to the worker comes first.
                outlet.outbox().send_all();
            }
            outlet.send_answers(bytes, answers);
        }
        bytes.clear();
    }

    /// What was put into the buffer of `outlet` last is an answer to a request.
    pub(super) fn note_answer(&mut self, outlet: &Outlet) {
        match self.places.get(outlet.index()).and_then(|place| place.checked_sub(1)) {
            Some(place) => self.buffers[place as usize].answers += 1,
            // It was handed over already.
            None => outlet.note_answers(1),
        }
    }

    /// Leave everything to the workers whose connections they are.
    pub(super) fn post(&mut self) {
        for buffer in &mut self.buffers[..self.used] {
            let Some(outlet) = buffer.outlet.take() else { continue };
            self.places[outlet.index()] = 0;
            let outbox = outlet.outbox();
            let place = self.posts.iter().position(|post| Arc::ptr_eq(&post.outbox, outbox));
            let place = place.unwrap_or_else(|| {
                self.posts.push(Post { outbox: Arc::clone(outbox), letters: Vec::new() });
                self.posts.len() - 1
            });
            let bytes = std::mem::replace(&mut buffer.bytes, self.spare.pop().unwrap_or_default());
            let answers = std::mem::take(&mut buffer.answers);
            self.posts[place].letters.push(Letter { outlet, bytes, answers });
        }
        for Post { outbox, letters } in &mut self.posts {
            if !letters.is_empty() {
                outbox.post(letters, &mut self.spare);
            }
        }
        self.reset();
    }

    /// Processor time that it took so far to send what was left to workers.
    pub(super) fn sending(&self) -> Duration {
        self.posts.iter().map(|post| post.outbox.sending()).sum()
    }

    /// Hand everything over, and what was left to workers before it.
    pub(super) fn flush(&mut self) {
        self.posts.iter().for_each(|post| post.outbox.send_all());
        let mut kept = 0;
        for place in 0..self.used {
            if let Some(outlet) = &self.buffers[place].outlet {
                self.places[outlet.index()] = 0;
            }
            self.hand_over(place);
            let bytes = &mut self.buffers[place].bytes;
            kept += bytes.capacity();
            if kept > KEPT_BYTES_MAX {
                *bytes = Vec::new();
            }
        }
        self.reset();
    }

    /// All buffers are empty.
    fn reset(&mut self) {
        self.used_max = self.used_max.max(self.used);
        self.used = 0;
        self.flushes += 1;
        if self.flushes >= FLUSHES_BETWEEN_TRIMS {
            self.buffers.truncate(self.used_max);
            self.used_max = 0;
            self.flushes = 0;
        }
    }
}
