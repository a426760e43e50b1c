//! Bytes on their way to receivers, gathered by one thread: one buffer per receiver, handed over
//! together.

use std::sync::Arc;

use crate::net::Outlet;

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
}

#[derive(Debug, Default)]
struct Buffer {
    outlet: Option<Arc<Outlet>>,
    bytes: Vec<u8>,
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
        let Buffer { outlet, bytes } = &mut self.buffers[place];
        if let Some(outlet) = outlet.take() {
            outlet.send(bytes);
        }
        bytes.clear();
    }

    /// Hand everything over.
    pub(super) fn flush(&mut self) {
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
