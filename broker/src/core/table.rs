//! Every open task by its id.
//!
//! Ids are given out one after the other, so most tasks stand close together: a page holds some of
//! them, and only pages are looked up by a hash. That is half of what a hash table of tasks needs,
//! and it never has to move a million of them at once when it grows.

use hashbrown::HashMap;

use super::command::TaskId;
use super::task::Task;

/// Places in a page. 14: that many fill a kilobyte, which is what a task keeps alive that outlives
/// its neighbours.
const PAGE: u64 = 14;

/// Open tasks.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    pages: HashMap<u64, Box<Page>>,
}

#[derive(Debug, Default)]
struct Page {
    places: [Option<Task>; PAGE as usize],
    taken: u32,
}

impl Tasks {
    /// One task.
    pub(super) fn get(&self, id: TaskId) -> Option<&Task> {
        self.pages.get(&(id.0 / PAGE))?.places[(id.0 % PAGE) as usize].as_ref()
    }

    /// One task, to change.
    pub(super) fn get_mut(&mut self, id: TaskId) -> Option<&mut Task> {
        self.pages.get_mut(&(id.0 / PAGE))?.places[(id.0 % PAGE) as usize].as_mut()
    }

    /// Whether a task is open.
    pub(super) fn has(&self, id: TaskId) -> bool {
        self.get(id).is_some()
    }

    /// All of them, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Task> {
        self.pages.values().flat_map(|page| page.places.iter().flatten())
    }

    /// Take a task in, under its own id.
    pub(super) fn insert(&mut self, task: Task) {
        let id = task.row.task;
        let page = self.pages.entry(id.0 / PAGE).or_default();
        let former = page.places[(id.0 % PAGE) as usize].replace(task);
        page.taken += u32::from(former.is_none());
    }

    /// Let a task go.
    pub(super) fn remove(&mut self, id: TaskId) -> Option<Task> {
        let number = id.0 / PAGE;
        let page = self.pages.get_mut(&number)?;
        let task = page.places[(id.0 % PAGE) as usize].take()?;
        page.taken -= 1;
        if page.taken == 0 {
            self.pages.remove(&number);
        }
        Some(task)
    }
}

impl std::ops::Index<TaskId> for Tasks {
    type Output = Task;

    fn index(&self, id: TaskId) -> &Task {
        self.get(id).expect("an open task is in memory")
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Phase;
    use super::super::task::tests::{row, spec};
    use super::*;

    #[test]
    fn a_page_fills_a_kilobyte() {
        assert_eq!(size_of::<Page>().next_multiple_of(16), 1024);
    }

    #[test]
    fn tasks_are_found_until_they_are_let_go_and_pages_go_with_the_last() {
        let spec = spec("q", 0);
        let mut tasks = Tasks::default();
        for id in [1, PAGE - 1, PAGE, 1_000_000] {
            tasks.insert(Task::open(row(id, &spec, Phase::Ready)));
        }
        assert_eq!(tasks.pages.len(), 3);
        assert!(tasks.has(TaskId(PAGE)) && !tasks.has(TaskId(PAGE + 1)) && !tasks.has(TaskId(2)));
        let last = TaskId(PAGE - 1);
        assert_eq!(tasks.remove(last).map(|task| task.row.task), Some(last));
        assert!(tasks.remove(last).is_none());
        assert!(tasks.has(TaskId(1)));
        for id in [1, PAGE, 1_000_000] {
            tasks.remove(TaskId(id));
        }
        assert!(tasks.pages.is_empty());
    }
}
