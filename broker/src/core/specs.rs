//! One copy of every [`Spec`] in use, however many tasks share it.

use std::sync::Arc;

use hashbrown::HashSet;

use super::command::Spec;

/// Every spec that an open task has, and some that were in use lately.
#[derive(Debug)]
pub(super) struct Specs {
    shared: HashSet<Arc<Spec>>,
    /// What was handed in lately, by where it is in memory, and the copy to use instead. Whoever
    /// hands in the same one again spares the comparison.
    lately: Box<[Option<Lately>; LATELY]>,
    /// Those that nobody uses are looked for when there are so many.
    sweep_at: usize,
}

#[derive(Debug)]
struct Lately {
    given: Arc<Spec>,
    shared: Arc<Spec>,
}

/// Specs that are recognised by where they are in memory. 1,024: each connection has its own, and
/// more than a few hundred seldom submit at once. 16 kB.
const LATELY: usize = 1024;
/// Fewer are not looked through.
const SWEEP_MIN: usize = 1024;

impl Default for Specs {
    fn default() -> Specs {
        let (shared, lately) = (HashSet::new(), Box::new([const { None }; LATELY]));
        Specs { shared, lately, sweep_at: SWEEP_MIN }
    }
}

impl Specs {
    /// The one copy of `spec`. Equal specs give the same copy for as long as anybody has it.
    pub(super) fn share(&mut self, spec: Arc<Spec>) -> Arc<Spec> {
        let place = Arc::as_ptr(&spec).addr() / size_of::<Spec>() % LATELY;
        if let Some(lately) = &self.lately[place]
            && Arc::ptr_eq(&lately.given, &spec)
        {
            return Arc::clone(&lately.shared);
        }
        let shared = match self.shared.get(&spec) {
            Some(shared) => Arc::clone(shared),
            None => self.add(Arc::clone(&spec)),
        };
        self.lately[place] = Some(Lately { given: spec, shared: Arc::clone(&shared) });
        shared
    }

    fn add(&mut self, spec: Arc<Spec>) -> Arc<Spec> {
        if self.shared.len() >= self.sweep_at {
            self.lately.fill_with(|| None);
            self.shared.retain(|shared| Arc::strong_count(shared) > 1);
            self.sweep_at = SWEEP_MIN.max(2 * self.shared.len());
        }
        self.shared.insert(Arc::clone(&spec));
        spec
    }
}

#[cfg(test)]
mod tests {
    use super::super::task::tests::spec;
    use super::*;

    fn copy(queue: &str) -> Arc<Spec> {
        Arc::new((*spec(queue, 1)).clone())
    }

    #[test]
    fn equal_specs_are_one_copy() {
        let mut specs = Specs::default();
        let one = specs.share(copy("q"));
        let given = copy("q");
        for _ in 0..2 {
            assert!(Arc::ptr_eq(&one, &specs.share(Arc::clone(&given))));
        }
        assert!(!Arc::ptr_eq(&one, &specs.share(copy("r"))));
    }

    #[test]
    fn what_is_handed_in_again_is_not_mistaken_for_what_stood_there_before() {
        let mut specs = Specs::default();
        for number in 0..10_000 {
            let queue = format!("q{}", number % 7);
            let (given, equal) = (copy(&queue), copy(&queue));
            assert_eq!(specs.share(given).queue, equal.queue);
        }
        assert_eq!(specs.shared.len(), 7);
    }

    #[test]
    fn what_nobody_uses_is_let_go() {
        let mut specs = Specs::default();
        let kept: Vec<_> =
            (0..100).map(|number| specs.share(copy(&format!("kept{number}")))).collect();
        for number in 0..100_000 {
            specs.share(copy(&format!("gone{number}")));
        }
        assert!(specs.shared.len() <= 2 * SWEEP_MIN, "{}", specs.shared.len());
        for spec in kept {
            assert!(Arc::ptr_eq(&spec, &specs.share(copy(spec.queue.as_str()))));
        }
    }
}
