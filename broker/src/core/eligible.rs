//! Who could do what at all? Kinds of work against kinds of agents.
//!
//! ```text
//!   class    = (queue, needs, labels, resources)          what tasks ask for
//!   profile  = (queues, capabilities, labels, capacity)   what agents have
//! ```
//!
//! There are few kinds of each, however many tasks and agents there are. Whether a profile fits a
//! class is found out once, when the younger of the two appears, and kept as a bit on both sides.

use std::sync::Arc;

use hashbrown::HashMap;

use super::bits::Bits;
use super::command::{LabelOp, LabelTest, Name, Preference, Resource, Spec};

/// A kind of work.
pub(super) type ClassId = u32;

/// A kind of agent.
pub(super) type ProfileId = u32;

/// What tasks of a class ask for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Demand {
    queue: Name,
    needs: Arc<[Name]>,
    labels: Arc<[LabelTest]>,
    resources: Arc<[Resource]>,
}

/// What agents of a profile have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Profile {
    /// Sorted.
    pub(super) capabilities: Vec<Name>,
    /// Sorted by label.
    pub(super) labels: Vec<(Name, Arc<str>)>,
    /// Sorted by name.
    pub(super) capacity: Vec<Resource>,
    /// Where its agents take work from; empty means everywhere.
    pub(super) queues: Vec<Name>,
}

/// Classes without work that are kept, because work of the same kind is likely to come again.
const SPARE_CLASSES_MAX: usize = 1_024;

/// Every class and every profile, and which fit.
#[derive(Debug, Default)]
pub(super) struct Eligible {
    classes: Kinds<Demand>,
    profiles: Kinds<Profile>,
    /// By class: the profiles that fit.
    fitting_profiles: Vec<Bits>,
    /// By profile: the classes that it fits.
    fitting_classes: Vec<Bits>,
    /// Classes that nobody uses at the moment, oldest first; some may be in use again.
    spare: std::collections::VecDeque<ClassId>,
}

impl Eligible {
    /// The class of tasks with this spec, for one more user.
    pub(super) fn add_class(&mut self, spec: &Spec) -> ClassId {
        let (queue, needs, labels) = (spec.queue.clone(), spec.needs.clone(), spec.labels.clone());
        let placement = spec.placement.as_ref();
        let resources = placement.map(|placement| placement.resources.clone()).unwrap_or_default();
        let demand = Demand { queue, needs, labels, resources };
        let (class, is_new) = self.classes.add(demand);
        if is_new {
            let mut profiles = Bits::default();
            for (profile, kind) in self.profiles.iter() {
                let fits = kind.fits(self.classes.get(class));
                profiles.set(profile, fits);
                self.fitting_classes[profile as usize].set(class, fits);
            }
            put(&mut self.fitting_profiles, class, profiles);
        }
        class
    }

    /// One user less.
    pub(super) fn drop_class(&mut self, class: ClassId) {
        if !self.classes.release(class) {
            return;
        }
        self.spare.push_back(class);
        while self.spare.len() > SPARE_CLASSES_MAX {
            let oldest = self.spare.pop_front().expect("there are too many");
            if self.classes.remove_unused(oldest) {
                for classes in &mut self.fitting_classes {
                    classes.set(oldest, false);
                }
            }
        }
    }

    /// The profile of agents that have all this, for one more agent.
    pub(super) fn add_profile(&mut self, profile: Profile) -> ProfileId {
        let (profile, is_new) = self.profiles.add(profile);
        if is_new {
            let mut classes = Bits::default();
            for (class, demand) in self.classes.iter() {
                let fits = self.profiles.get(profile).fits(demand);
                classes.set(class, fits);
                self.fitting_profiles[class as usize].set(profile, fits);
            }
            put(&mut self.fitting_classes, profile, classes);
        }
        profile
    }

    /// One agent less.
    pub(super) fn drop_profile(&mut self, profile: ProfileId) {
        if self.profiles.release(profile) && self.profiles.remove_unused(profile) {
            for profiles in &mut self.fitting_profiles {
                profiles.set(profile, false);
            }
            self.fitting_classes[profile as usize] = Bits::default();
        }
    }

    /// The profiles that fit a class.
    pub(super) fn profiles(&self, class: ClassId) -> &Bits {
        &self.fitting_profiles[class as usize]
    }

    /// What agents of a profile have.
    pub(super) fn profile(&self, profile: ProfileId) -> &Profile {
        self.profiles.get(profile)
    }

    /// How well agents of a profile suit a task that prefers some.
    pub(super) fn score(&self, profile: ProfileId, spec: &Spec) -> u64 {
        let placement = spec.placement.as_ref();
        placement.map_or(0, |placement| self.profile(profile).score(&placement.prefer))
    }

    /// The classes that a profile fits.
    pub(super) fn classes(&self, profile: ProfileId) -> &Bits {
        &self.fitting_classes[profile as usize]
    }
}

fn put(table: &mut Vec<Bits>, id: u32, bits: Bits) {
    if table.len() <= id as usize {
        table.resize_with(id as usize + 1, Bits::default);
    }
    table[id as usize] = bits;
}

impl Profile {
    fn fits(&self, demand: &Demand) -> bool {
        let has = |need| self.capabilities.binary_search(need).is_ok();
        (self.queues.is_empty() || self.queues.contains(&demand.queue))
            && demand.needs.iter().all(has)
            && demand.labels.iter().all(|test| self.passes(test))
            && demand.resources.iter().all(|used| self.capacity_of(&used.name) >= used.amount)
    }

    /// How much its agents have of something.
    pub(super) fn capacity_of(&self, resource: &Name) -> u32 {
        let found = self.capacity.binary_search_by(|own| own.name.cmp(resource));
        found.map_or(0, |position| self.capacity[position].amount)
    }

    /// How well its agents suit a task that prefers some.
    fn score(&self, prefer: &[Preference]) -> u64 {
        let passed = prefer.iter().filter(|preference| self.passes(&preference.test));
        passed.map(|preference| u64::from(preference.weight)).sum()
    }

    fn passes(&self, test: &LabelTest) -> bool {
        let found = self.labels.binary_search_by(|(label, _)| label.cmp(&test.label));
        let Ok(position) = found else { return test.op == LabelOp::NotEqual };
        let (value, wanted) = (&*self.labels[position].1, &*test.value);
        let order = match (value.parse::<i64>(), wanted.parse::<i64>()) {
            (Ok(value), Ok(wanted)) => value.cmp(&wanted),
            _ => value.cmp(wanted),
        };
        match test.op {
            LabelOp::Equal => order.is_eq(),
            LabelOp::NotEqual => order.is_ne(),
            LabelOp::Less => order.is_lt(),
            LabelOp::AtMost => order.is_le(),
            LabelOp::Greater => order.is_gt(),
            LabelOp::AtLeast => order.is_ge(),
            LabelOp::Exists => true,
        }
    }
}

/// Equal values under one small number, which is used again when nobody uses the value any more.
#[derive(Debug)]
struct Kinds<K> {
    ids: HashMap<K, u32>,
    slots: Vec<Option<(K, usize)>>,
    free: Vec<u32>,
}

impl<K> Default for Kinds<K> {
    fn default() -> Kinds<K> {
        Kinds { ids: HashMap::new(), slots: Vec::new(), free: Vec::new() }
    }
}

impl<K: Clone + Eq + std::hash::Hash> Kinds<K> {
    /// The number of a value, for one more user, and whether it is new.
    fn add(&mut self, kind: K) -> (u32, bool) {
        if let Some(&id) = self.ids.get(&kind) {
            self.slot(id).1 += 1;
            return (id, false);
        }
        let id = self.free.pop().unwrap_or(self.slots.len() as u32);
        if self.slots.len() <= id as usize {
            self.slots.push(None);
        }
        self.slots[id as usize] = Some((kind.clone(), 1));
        self.ids.insert(kind, id);
        (id, true)
    }

    /// One user less; gives whether nobody is left.
    fn release(&mut self, id: u32) -> bool {
        let (_, users) = self.slot(id);
        *users -= 1;
        *users == 0
    }

    /// Forget a value if nobody uses it.
    fn remove_unused(&mut self, id: u32) -> bool {
        let slot = &mut self.slots[id as usize];
        if slot.as_ref().is_none_or(|(_, users)| *users != 0) {
            return false;
        }
        let (kind, _) = slot.take().expect("looked at above");
        self.ids.remove(&kind);
        self.free.push(id);
        true
    }

    fn get(&self, id: u32) -> &K {
        &self.slots[id as usize].as_ref().expect("a number in use has a value").0
    }

    fn slot(&mut self, id: u32) -> &mut (K, usize) {
        self.slots[id as usize].as_mut().expect("a number in use has a value")
    }

    fn iter(&self) -> impl Iterator<Item = (u32, &K)> {
        (0..).zip(&self.slots).filter_map(|(id, slot)| Some((id, &slot.as_ref()?.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::task::tests::spec;
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn profile(capabilities: &[&str], queues: &[&str]) -> Profile {
        let names = |texts: &[&str]| texts.iter().map(|text| name(text)).collect();
        let (capabilities, queues) = (names(capabilities), names(queues));
        Profile { capabilities, queues, ..Profile::default() }
    }

    fn work(queue: &str, needs: &[&str]) -> Spec {
        let needs = needs.iter().map(|text| name(text)).collect();
        Spec { needs, ..(*spec(queue, 0)).clone() }
    }

    #[test]
    fn whoever_comes_second_finds_what_fits() {
        let mut eligible = Eligible::default();
        let gpu = eligible.add_class(&work("q", &["gpu"]));
        let strong = eligible.add_profile(profile(&["cpu", "gpu"], &[]));
        let weak = eligible.add_profile(profile(&["cpu"], &[]));
        let elsewhere = eligible.add_profile(profile(&["gpu"], &["r"]));
        let any = eligible.add_class(&work("q", &[]));
        let fitting = |class| {
            [strong, weak, elsewhere].map(|profile| {
                let fits = eligible.profiles(class).has(profile);
                assert_eq!(eligible.classes(profile).has(class), fits, "both sides agree");
                fits
            })
        };
        assert_eq!(fitting(gpu), [true, false, false]);
        assert_eq!(fitting(any), [true, true, false]);
    }

    #[test]
    fn equal_kinds_are_one_until_nobody_is_left() {
        let mut eligible = Eligible::default();
        let one = eligible.add_profile(profile(&["gpu"], &[]));
        assert_eq!(eligible.add_profile(profile(&["gpu"], &[])), one);
        eligible.drop_profile(one);
        let class = eligible.add_class(&work("q", &["gpu"]));
        assert!(eligible.profiles(class).has(one));
        eligible.drop_profile(one);
        assert!(!eligible.profiles(class).has(one));
        let other = eligible.add_profile(profile(&[], &[]));
        assert_eq!(other, one, "the number is used again");
        assert!(!eligible.profiles(class).has(other) && !eligible.classes(other).has(class));
    }

    #[test]
    fn classes_without_work_are_kept_for_a_while_and_not_for_ever() {
        let mut eligible = Eligible::default();
        let profile = eligible.add_profile(profile(&[], &[]));
        let first = eligible.add_class(&work("first", &[]));
        eligible.drop_class(first);
        assert_eq!(eligible.add_class(&work("first", &[])), first);
        eligible.drop_class(first);
        for number in 0..3 * SPARE_CLASSES_MAX {
            let class = eligible.add_class(&work(&format!("q{number}"), &[]));
            assert!(eligible.classes(profile).has(class));
            eligible.drop_class(class);
        }
        assert!(eligible.classes.slots.len() <= SPARE_CLASSES_MAX + 2);
    }

    #[test]
    fn labels_are_compared_as_numbers_where_they_are_numbers() {
        let labels = vec![(name("mem"), "16".into()), (name("os"), "linux".into())];
        let profile = Profile { labels, ..Profile::default() };
        let passes = |label, op, value: &str| {
            profile.passes(&LabelTest { label: name(label), op, value: value.into() })
        };
        assert!(passes("mem", LabelOp::AtLeast, "9") && passes("mem", LabelOp::Less, "100"));
        assert!(!passes("mem", LabelOp::Greater, "16") && passes("mem", LabelOp::AtMost, "16"));
        assert!(passes("os", LabelOp::Equal, "linux") && !passes("os", LabelOp::NotEqual, "linux"));
        assert!(passes("gpu", LabelOp::NotEqual, "yes") && !passes("gpu", LabelOp::Exists, ""));
    }
}
