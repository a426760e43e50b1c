//! One copy of every [`Spec`] in use, however many tasks share it.

use std::sync::Arc;

use hashbrown::HashMap;

use super::command::Spec;

/// Every spec that an open task has, and how many have it.
#[derive(Debug, Default)]
pub(super) struct Specs {
    users: HashMap<Arc<Spec>, usize>,
}

impl Specs {
    /// The one copy of `spec`, for one more task. Equal specs give the same copy.
    pub(super) fn share(&mut self, spec: Spec) -> Arc<Spec> {
        if let Some((shared, _)) = self.users.get_key_value(&spec) {
            let shared = shared.clone();
            *self.users.get_mut(&spec).expect("found above") += 1;
            return shared;
        }
        let shared = Arc::new(spec);
        self.users.insert(shared.clone(), 1);
        shared
    }

    /// One task less has it.
    pub(super) fn release(&mut self, spec: &Spec) {
        let users = self.users.get_mut(spec).expect("a task in memory has a shared spec");
        *users -= 1;
        if *users == 0 {
            self.users.remove(spec);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::task::tests::spec;
    use super::*;

    #[test]
    fn equal_specs_are_one_copy_until_nobody_has_it() {
        let mut specs = Specs::default();
        let one = specs.share((*spec("q", 1)).clone());
        let other = specs.share((*spec("q", 1)).clone());
        assert!(Arc::ptr_eq(&one, &other));
        specs.release(&one);
        assert!(Arc::ptr_eq(&one, &specs.share((*one).clone())));
        specs.release(&one);
        specs.release(&one);
        assert!(specs.users.is_empty());
    }
}
