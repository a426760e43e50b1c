//! Routes that one thread has seen. Found by one hash; used while their stamp is current.

use hashbrown::HashMap;

use super::route::Route;
use super::router::Router;

/// Subject to route.
#[derive(Debug, Default)]
pub(super) struct RouteCache {
    places: HashMap<Box<[u8]>, u32>,
    routes: Vec<Route>,
    weight: usize,
    /// The newest subject asked for, and its place: publishers repeat themselves.
    newest: (Vec<u8>, u32),
}

/// Memory for routes, in bytes. 64 MiB: a hundred thousand hot subjects with a receiver each must
/// fit into a thread's cache; beyond it the cache starts anew.
const WEIGHT_MAX: usize = 64 << 20;
/// What a place in the table costs beside the subject and the route.
const PLACE_BYTES: usize = 32;

impl RouteCache {
    /// The route of `subject`, worked out by `router` if it is new or stale.
    #[inline]
    pub(super) fn find(&mut self, router: &Router, subject: &[u8]) -> &Route {
        let newest = self.routes.get(self.newest.1 as usize);
        let is_newest = self.newest.0 == subject
            && newest.is_some_and(|route| router.is_current(route.stamp()));
        if is_newest {
            return &self.routes[self.newest.1 as usize];
        }
        let place = match self.places.get(subject).copied() {
            Some(place) if router.is_current(self.routes[place as usize].stamp()) => place,
            stale => self.renew(router, subject, stale),
        };
        self.newest.0.clear();
        self.newest.0.extend_from_slice(subject);
        self.newest.1 = place;
        &self.routes[place as usize]
    }

    #[cold]
    fn renew(&mut self, router: &Router, subject: &[u8], stale: Option<u32>) -> u32 {
        let route = router.route(subject);
        if let Some(place) = stale {
            let old = &mut self.routes[place as usize];
            self.weight = self.weight - old.weight() + route.weight();
            *old = route;
            return place;
        }
        let weight = route.weight() + subject.len() + PLACE_BYTES;
        if self.weight + weight > WEIGHT_MAX {
            *self = RouteCache::default();
        }
        self.weight += weight;
        let place = u32::try_from(self.routes.len()).expect("routes are limited by their weight");
        self.routes.push(route);
        self.places.insert(subject.into(), place);
        place
    }
}
