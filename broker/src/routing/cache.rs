//! Routes that one thread has seen. Found by one hash; used while their stamp is current.

use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;

use super::route::Route;
use super::router::Router;

/// Subject to route.
#[derive(Debug)]
pub(super) struct RouteCache {
    /// Tells it from every other one, and from itself before it started anew.
    number: u64,
    places: HashMap<Box<[u8]>, u32>,
    routes: Vec<Route>,
    weight: usize,
    /// The newest subject asked for, and its place: publishers repeat themselves.
    newest: (Vec<u8>, u32),
}

/// Where a cache has the route of one subject, for whoever publishes to that subject again: then
/// nothing is looked up. Worth nothing in another cache, and harmless there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    /// 0: nowhere.
    cache: u64,
    at: u32,
}

/// Numbers of caches; 0 is none.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// Memory for routes, in bytes. 64 MiB: a hundred thousand hot subjects with a receiver each must
/// fit into a thread's cache; beyond it the cache starts anew.
const WEIGHT_MAX: usize = 64 << 20;
/// What a place in the table costs beside the subject and the route.
const PLACE_BYTES: usize = 32;

impl RouteCache {
    /// Nothing seen.
    pub(super) fn new() -> RouteCache {
        RouteCache {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            places: HashMap::new(),
            routes: Vec::new(),
            weight: 0,
            newest: (Vec::new(), 0),
        }
    }

    /// The route of `subject`, which is at `place` if it was ever asked for with it.
    #[inline]
    pub(super) fn find_at(&mut self, router: &Router, subject: &[u8], place: &mut Place) -> &Route {
        let is_there =
            place.cache == self.number && router.is_current(self.routes[place.at as usize].stamp());
        if !is_there {
            let at = self.place_of(router, subject);
            *place = Place { cache: self.number, at };
        }
        &self.routes[place.at as usize]
    }

    /// The route of `subject`, worked out by `router` if it is new or stale.
    #[inline]
    pub(super) fn find(&mut self, router: &Router, subject: &[u8]) -> &Route {
        let newest = self.routes.get(self.newest.1 as usize);
        let is_newest = self.newest.0 == subject
            && newest.is_some_and(|route| router.is_current(route.stamp()));
        if is_newest {
            return &self.routes[self.newest.1 as usize];
        }
        let place = self.place_of(router, subject);
        self.newest.0.clear();
        self.newest.0.extend_from_slice(subject);
        self.newest.1 = place;
        &self.routes[place as usize]
    }

    /// Where the current route of `subject` is from now on.
    fn place_of(&mut self, router: &Router, subject: &[u8]) -> u32 {
        match self.places.get(subject).copied() {
            Some(place) if router.is_current(self.routes[place as usize].stamp()) => place,
            stale => self.renew(router, subject, stale),
        }
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
            *self = RouteCache::new();
        }
        self.weight += weight;
        let place = u32::try_from(self.routes.len()).expect("routes are limited by their weight");
        self.routes.push(route);
        self.places.insert(subject.into(), place);
        place
    }
}
