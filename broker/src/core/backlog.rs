//! Which task goes next? The ready tasks, in lanes, and the lanes by kind of work.
//!
//! ```text
//!   heads     12.0s:7  12.3s:9  611s:2        one place a class, soonest first
//!                |        |        |
//!   classes   (resize,  (resize,  (mail,      kinds of work: queue, needs, labels
//!              gpu)      -)        -)
//!                |        |        |    \
//!   lanes     [7 8 11]  [9 10]   [2 3]  [4 5 6]      spec, and who declined
//! ```
//!
//! All tasks of a lane suit exactly the same agents, and all lanes of a class suit the same ones
//! but for those that declined. So to find work for an agent it is enough to look at the heads of
//! the classes that its profile fits, and a task that nobody suits never stands in the way of one
//! that somebody does: the cost depends on the number of classes, not on how many tasks wait. The
//! lanes of a queue that is paused or full of leases, and those whose limit is reached, have no
//! heads at all.
//!
//! The *virtual deadline* is the time a task became eligible plus the offset of its band. Better
//! bands overtake, but only what became eligible within that offset: nothing starves.

use std::collections::BTreeSet;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::bits::Bits;
use super::command::{Name, Spec, TaskId};
use super::eligible::{ClassId, Eligible};
use super::lane::{Lane, Place};
use super::record::TaskRow;
use fair::FairQueues;
use gates::Limits;
use rates::Rates;

/// One lane, as long as it has tasks.
pub(super) type LaneId = u32;

/// How many of the soonest classes are looked at before all those are that fit: where many fit,
/// one of the first does, and where few do, they are found at once. As many are looked at for tasks
/// to keep room for.
const GLANCE: usize = 32;

/// How much later than an urgent task one of `band` is due, in milliseconds. The first four are
/// the bands of the legacy hub (urgent, high, normal, low): strict order between tasks of one
/// minute, no starvation beyond an hour. Each further band is an hour more patient.
pub(super) fn band_offset_ms(band: u8) -> u64 {
    const MINUTE_MS: u64 = 60_000;
    match band {
        0 => 0,
        1 => MINUTE_MS,
        2 => 10 * MINUTE_MS,
        further => u64::from(further - 2) * 60 * MINUTE_MS,
    }
}

/// What all tasks of a lane have in common. Specs are interned, so equal ones are the same one,
/// and its address stands for it; the lane keeps it alive.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct LaneKey {
    spec: usize,
    excluded: Arc<[Name]>,
    only: Option<Name>,
}

fn key_of(row: &TaskRow) -> LaneKey {
    let spec = Arc::as_ptr(&row.spec).addr();
    let details = row.details();
    let only = details.window.as_ref().map(|window| window.agent.clone());
    LaneKey { spec, excluded: details.excluded.clone(), only }
}

/// Somebody who could take a task of a class that fits.
pub(super) trait Taker {
    /// Who it is.
    fn name(&self) -> &Name;
    /// Whether it has enough left of what such a task uses.
    fn has_room(&self, spec: &Spec) -> bool;
    /// Whether it keeps its room for no other task that goes before this one.
    fn may_take(&self, place: Place, spec: &Spec) -> bool;
}

/// A kind of work that has lanes.
#[derive(Debug, Default)]
struct Class {
    /// Heads of its lanes of which something may be granted, by rank.
    heads: BTreeSet<(u64, Place, LaneId)>,
    /// Every lane of it.
    lanes: Vec<LaneId>,
}

impl Class {
    fn first(&self) -> Option<Place> {
        self.heads.first().map(|(_, place, _)| *place)
    }
}

/// All ready tasks.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    lanes: Vec<Option<Lane>>,
    free: Vec<LaneId>,
    by_key: HashMap<LaneKey, LaneId>,
    classes: Vec<Class>,
    /// Classes that have a head.
    active: Bits,
    heads: BTreeSet<(Place, ClassId)>,
    by_queue: HashMap<Name, Vec<ClassId>>,
    /// Queues of which nothing may be granted.
    closed: HashSet<Name>,
    limits: Limits,
    rates: Rates,
    fair: FairQueues,
}

/// What may be granted of a lane changes with every lease that is given or ends.
impl Backlog {
    /// A task of this kind was granted.
    pub(super) fn count_grant(&mut self, spec: &Spec) {
        self.charge_key(spec);
        self.count_rates(spec);
        self.review_limits(spec, |limits| limits.take(spec));
    }

    /// A lease of this kind was there before the restart.
    pub(super) fn count_lease(&mut self, spec: &Spec) {
        self.review_limits(spec, |limits| limits.take(spec));
    }

    /// A lease of this kind ended; gives the lanes of which something may be granted again.
    pub(super) fn count_end(&mut self, spec: &Spec) -> Vec<LaneId> {
        self.review_limits(spec, |limits| limits.give_back(spec))
    }
}

impl Backlog {
    /// Put a ready task in its place. Returns its lane if that was empty: only then can there be
    /// an idle agent for it, because nobody idles beside a lane that suits him.
    pub(super) fn push(&mut self, row: &TaskRow, eligible: &mut Eligible) -> Option<LaneId> {
        let key = key_of(row);
        let id = match self.by_key.get(&key) {
            Some(&id) => id,
            None => self.add_lane(key, row, eligible),
        };
        let was_empty = self.lane(id).first().is_none();
        self.change_shown(id, |lane| lane.insert(Place::of(row)));
        (was_empty && self.is_shown(id)).then_some(id)
    }

    /// Take a task out of its lane.
    pub(super) fn remove(&mut self, row: &TaskRow, eligible: &mut Eligible) {
        let Some(&id) = self.by_key.get(&key_of(row)) else { return };
        self.change_shown(id, |lane| lane.remove(Place::of(row)));
        if self.lane(id).first().is_none() {
            self.remove_lane(id, row, eligible);
        }
    }

    /// The task that goes first among those of one of `classes` that has room and in a lane that
    /// suits.
    pub(super) fn best(&self, classes: &Bits, taker: &impl Taker) -> Option<TaskId> {
        let suitable = |class: ClassId| self.first_suitable(class, taker);
        let mut is_certain = true;
        for (first, class) in self.heads.iter().take(GLANCE) {
            if !classes.has(*class) {
                continue;
            }
            match suitable(*class) {
                Some((place, _)) if place == *first => return Some(place.task),
                // The head was passed over, so a later class may have a better one.
                Some(_) => {
                    is_certain = false;
                    break;
                }
                None => {}
            }
        }
        if is_certain && self.heads.len() <= GLANCE {
            return None;
        }
        let mut best: Option<Place> = None;
        for class in classes.and(&self.active) {
            let first = self.classes[class as usize].first();
            if first.is_some_and(|first| best.is_none_or(|best| first < best))
                && let Some((place, _)) = suitable(class)
            {
                best = Some(best.map_or(place, |best| best.min(place)));
            }
        }
        best.map(|place| place.task)
    }

    /// The same among the lanes of one queue.
    pub(super) fn best_of(
        &self,
        queue: &Name,
        classes: &Bits,
        taker: &impl Taker,
    ) -> Option<TaskId> {
        let of_queue = self.by_queue.get(queue)?.iter().filter(|class| classes.has(**class));
        let heads = of_queue.filter_map(|class| self.first_ranked(*class, taker));
        heads.min().map(|(_, place, _)| place.task)
    }

    /// The first tasks of those of `classes` that have no room with this taker, one of each class,
    /// with their lanes. Of very many classes the soonest are looked at, and so with lanes.
    pub(super) fn without_room(&self, classes: &Bits, taker: &impl Taker) -> Vec<(Place, &Lane)> {
        let classes =
            self.heads.iter().map(|(_, class)| *class).filter(|&class| classes.has(class));
        let first = |class: ClassId| {
            let heads = self.classes[class as usize].heads.iter().take(GLANCE);
            let lanes = heads.map(|(_, place, lane)| (*place, self.lane(*lane)));
            let lanes = lanes.take_while(|(_, lane)| !taker.has_room(&lane.spec));
            lanes.filter(|(_, lane)| lane.admits(taker.name())).min_by_key(|(place, _)| *place)
        };
        classes.take(GLANCE).filter_map(first).collect()
    }

    fn first_suitable(&self, class: ClassId, taker: &impl Taker) -> Option<(Place, LaneId)> {
        self.first_ranked(class, taker).map(|(_, place, lane)| (place, lane))
    }

    /// All lanes of a class use the same, so its first one tells whether there is room.
    fn first_ranked(&self, class: ClassId, taker: &impl Taker) -> Option<(u64, Place, LaneId)> {
        let heads = &self.classes[class as usize].heads;
        let (_, _, first) = heads.first()?;
        if !taker.has_room(&self.lane(*first).spec) {
            return None;
        }
        let mut heads = heads.iter().map(|head| (head, self.lane(head.2)));
        let found = heads.find(|((_, place, _), lane)| {
            lane.admits(taker.name()) && taker.may_take(*place, &lane.spec)
        });
        found.map(|(head, _)| *head)
    }

    /// The lane in which a ready task stands.
    pub(super) fn lane_of(&self, row: &TaskRow) -> Option<&Lane> {
        self.by_key.get(&key_of(row)).map(|&id| self.lane(id))
    }

    /// How many leases there are under a limit.
    pub(super) fn leases_under(&self, limit: &Name) -> u32 {
        self.limits.leases(limit)
    }

    /// A lane, if something in it may be granted.
    pub(super) fn grantable(&self, id: LaneId) -> Option<&Lane> {
        let lane = self.lanes.get(id as usize)?.as_ref()?;
        self.is_shown(id).then_some(lane)
    }

    /// Grant nothing of this queue any more.
    pub(super) fn close(&mut self, queue: &Name) {
        if !self.closed.contains(queue) {
            self.hide_and_show(self.of_queue(queue), |backlog| {
                backlog.closed.insert(queue.clone());
            });
        }
    }

    /// Grant again; gives the lanes of the queue, soonest first.
    pub(super) fn open(&mut self, queue: &Name) -> Vec<LaneId> {
        if self.closed.is_empty() || !self.closed.contains(queue) {
            return Vec::new();
        }
        let mut opened = self.of_queue(queue);
        self.hide_and_show(opened.clone(), |backlog| {
            backlog.closed.remove(queue);
        });
        opened.retain(|&id| self.is_shown(id));
        opened.sort_by_key(|&id| self.lane(id).first());
        opened
    }

    /// The first tasks of a queue, in the order in which they go, whoever they suit.
    pub(super) fn first_of(&self, queue: &Name, limit: usize) -> Vec<TaskId> {
        let lanes = self.of_queue(queue);
        let mut first: Vec<Place> =
            lanes.iter().flat_map(|&id| self.lane(id).iter().take(limit)).collect();
        first.sort_unstable();
        first.truncate(limit);
        first.into_iter().map(|place| place.task).collect()
    }

    /// Every lane of a queue.
    fn of_queue(&self, queue: &Name) -> Vec<LaneId> {
        let classes = self.by_queue.get(queue).into_iter().flatten();
        classes.flat_map(|class| self.classes[*class as usize].lanes.iter().copied()).collect()
    }

    /// Whether something of a lane may be granted, if it has tasks.
    fn is_shown(&self, id: LaneId) -> bool {
        let lane = self.lane(id);
        !lane.is_blocked && !self.closed.contains(&lane.spec.queue)
    }

    fn lane(&self, id: LaneId) -> &Lane {
        self.lanes[id as usize].as_ref().expect("a lane with a number is there")
    }

    fn add_lane(&mut self, key: LaneKey, row: &TaskRow, eligible: &mut Eligible) -> LaneId {
        let class = eligible.add_class(&row.spec);
        let id = self.free.pop().unwrap_or(self.lanes.len() as LaneId);
        if self.lanes.len() <= id as usize {
            self.lanes.push(None);
        }
        let mut lane = Lane::new(row.spec.clone(), key.excluded.clone(), key.only.clone(), class);
        lane.is_blocked = self.blocks(&row.spec);
        lane.rank = self.fair.rank(&row.spec);
        self.lanes[id as usize] = Some(lane);
        self.limits.add_lane(&row.spec, id);
        self.rates.add_lane(&row.spec, id);
        self.fair.add_lane(&row.spec, id);
        self.by_key.insert(key, id);
        if self.classes.len() <= class as usize {
            self.classes.resize_with(class as usize + 1, Class::default);
        }
        let lanes = &mut self.classes[class as usize].lanes;
        if lanes.is_empty() {
            self.by_queue.entry(row.spec.queue.clone()).or_default().push(class);
        }
        lanes.push(id);
        id
    }

    fn remove_lane(&mut self, id: LaneId, row: &TaskRow, eligible: &mut Eligible) {
        let lane = self.lanes[id as usize].take().expect("an empty lane is there until now");
        self.by_key.remove(&key_of(row));
        self.limits.remove_lane(&row.spec, id);
        self.rates.remove_lane(&row.spec, id);
        self.fair.remove_lane(&row.spec, id);
        self.free.push(id);
        let lanes = &mut self.classes[lane.class as usize].lanes;
        lanes.retain(|other| *other != id);
        if lanes.is_empty()
            && let Some(classes) = self.by_queue.get_mut(&row.spec.queue)
        {
            classes.retain(|class| *class != lane.class);
            if classes.is_empty() {
                self.by_queue.remove(&row.spec.queue);
            }
        }
        eligible.drop_class(lane.class);
    }

    /// Change a lane, and its head among those of its class with it.
    fn change_shown(&mut self, id: LaneId, change: impl FnOnce(&mut Lane)) {
        let former = self.shown_head(id);
        change(self.lanes[id as usize].as_mut().expect("a lane with a number is there"));
        self.show_head(id, former);
    }

    /// Do something that may change which of these lanes are shown.
    fn hide_and_show(&mut self, lanes: Vec<LaneId>, change: impl FnOnce(&mut Backlog)) {
        let former: Vec<_> = lanes.iter().map(|&id| self.shown_head(id)).collect();
        change(self);
        for (id, former) in lanes.into_iter().zip(former) {
            self.show_head(id, former);
        }
    }

    fn shown_head(&self, id: LaneId) -> Option<(u64, Place, LaneId)> {
        let lane = self.lane(id);
        let head = lane.first().filter(|_| self.is_shown(id));
        head.map(|place| (lane.rank, place, id))
    }

    fn show_head(&mut self, id: LaneId, former: Option<(u64, Place, LaneId)>) {
        let head = self.shown_head(id);
        if head != former {
            self.show_class(self.lane(id).class, |class| {
                if let Some(former) = former {
                    class.heads.remove(&former);
                }
                class.heads.extend(head);
            });
        }
    }

    /// Change the heads of a class, and its own place among the classes with them.
    fn show_class(&mut self, id: ClassId, change: impl FnOnce(&mut Class)) {
        let class = &mut self.classes[id as usize];
        let former = class.first();
        change(class);
        let first = class.first();
        if first != former {
            if let Some(former) = former {
                self.heads.remove(&(former, id));
            }
            self.heads.extend(first.map(|first| (first, id)));
            self.active.set(id, first.is_some());
        }
    }
}

mod fair;
mod gates;
mod rates;

#[cfg(test)]
mod tests;
