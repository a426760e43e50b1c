//! Both ends of the commit loop, tapped: what it appends, and what it lets out.

use std::sync::Arc;

use agentcom_broker::commit::turn::Voice;
use agentcom_broker::core::command::{
    Effect, Message, MessageId, Push, Rejection, Reply, RequestId, SessionId, TaskEvent, TaskId,
};
use agentcom_broker::core::record::{BodyKind, Record, TaskRow};
use agentcom_broker::store::memory::MemoryStore;
use agentcom_broker::store::{Expired, Reader, Store, StoreError};
use parking_lot::Mutex;

/// What left the commit loop before the process died.
#[derive(Clone, Default)]
pub(crate) struct Outside {
    released: Arc<Mutex<Vec<Effect>>>,
    /// Releases until the process dies.
    left: Arc<Mutex<Option<u64>>>,
}

impl Outside {
    pub(crate) fn die_after(&self, releases: Option<u64>) {
        *self.left.lock() = releases;
    }

    pub(crate) fn drain(&self) -> Vec<Effect> {
        std::mem::take(&mut *self.released.lock())
    }

    fn release(&self, effect: Effect) {
        match &mut *self.left.lock() {
            Some(0) => return,
            Some(left) => *left -= 1,
            None => {}
        }
        self.released.lock().push(effect);
    }
}

impl Voice for Outside {
    fn reply(&mut self, request: RequestId, outcome: Result<Reply, Rejection>) {
        self.release(Effect::Reply { request, outcome });
    }
    fn deliver(&mut self, session: SessionId, push: Push) {
        self.release(Effect::Deliver { session, push });
    }
    fn event(&mut self, event: TaskEvent) {
        self.release(Effect::Event(event));
    }
    fn flush(&mut self) {}
}

/// The store that forgets, with a note of everything that was appended.
#[derive(Clone, Default)]
pub(crate) struct Tapped {
    pub(crate) store: MemoryStore,
    appended: Arc<Mutex<Vec<Record>>>,
}

impl Tapped {
    pub(crate) fn drain(&self) -> Vec<Record> {
        std::mem::take(&mut *self.appended.lock())
    }
}

impl Store for Tapped {
    fn append<'a>(
        &mut self,
        records: impl IntoIterator<Item = &'a Record>,
    ) -> Result<(), StoreError> {
        let records: Vec<Record> = records.into_iter().cloned().collect();
        self.store.append(&records)?;
        self.appended.lock().extend(records);
        Ok(())
    }
    fn sync(&mut self) -> Result<(), StoreError> {
        self.store.sync()
    }
    fn row(&self, task: TaskId) -> Result<Option<TaskRow>, StoreError> {
        self.store.row(task)
    }
    fn body(&self, task: TaskId, kind: BodyKind) -> Result<Option<Arc<[u8]>>, StoreError> {
        Store::body(&self.store, task, kind)
    }
    fn message(&self, id: MessageId) -> Result<Option<Message>, StoreError> {
        self.store.message(id)
    }
    fn scan(&self, each: &mut dyn FnMut(Record)) -> Result<(), StoreError> {
        self.store.scan(each)
    }
    fn reader(&self) -> Arc<dyn Reader> {
        self.store.reader()
    }
    fn damaged_rows(&self) -> u64 {
        self.store.damaged_rows()
    }
    fn expired(&mut self, until_ms: u64, limit: usize) -> Result<Expired, StoreError> {
        self.store.expired(until_ms, limit)
    }
}
