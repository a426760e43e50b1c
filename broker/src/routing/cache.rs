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
}

/// Room for routes, in targets: about 40 MB if every route has one target and a subject of 30
/// bytes. A hundred thousand hot subjects must fit; beyond it the cache starts anew.
const WEIGHT_MAX: usize = 262_144;

impl RouteCache {
    /// The route of `subject`, worked out by `router` if it is new or stale.
    #[inline]
    pub(super) fn find(&mut self, router: &Router, subject: &[u8]) -> &Route {
        let place = match self.places.get(subject).copied() {
            Some(place) if router.is_current(self.routes[place as usize].stamp()) => place,
            stale => self.renew(router, subject, stale),
        };
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
        if self.weight + route.weight() > WEIGHT_MAX {
            *self = RouteCache::default();
        }
        self.weight += route.weight();
        let place = u32::try_from(self.routes.len()).expect("routes are limited by their weight");
        self.routes.push(route);
        self.places.insert(subject.into(), place);
        place
    }
}
