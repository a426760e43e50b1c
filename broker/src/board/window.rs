//! Counts of the last while, in buckets of equal width.

/// The newest `N` buckets of `WIDTH_MS` milliseconds, aligned to the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window<const N: usize, const WIDTH_MS: u64> {
    counts: [u64; N],
    /// Number of the newest bucket since the epoch.
    newest: u64,
}

/// 24 hours of UTC: the present one and those before it.
pub type Day = Window<24, 3_600_000>;

/// One hour in steps of five minutes, so that it ages without being exact to the second.
pub type Hour = Window<12, 300_000>;

/// One minute in steps of five seconds.
pub type Minute = Window<12, 5_000>;

impl<const N: usize, const WIDTH_MS: u64> Default for Window<N, WIDTH_MS> {
    fn default() -> Self {
        Window { counts: [0; N], newest: 0 }
    }
}

impl<const N: usize, const WIDTH_MS: u64> Window<N, WIDTH_MS> {
    /// Count `amount` at a time. What is older than the window is not counted.
    pub fn add(&mut self, at_ms: u64, amount: u64) {
        let bucket = at_ms / WIDTH_MS;
        for passed in (self.newest + 1..=bucket).rev().take(N) {
            self.counts[place::<N>(passed)] = 0;
        }
        self.newest = self.newest.max(bucket);
        if self.covers(bucket) {
            self.counts[place::<N>(bucket)] += amount;
        }
    }

    /// Count the milliseconds from one time to another, each in its bucket.
    pub fn add_span(&mut self, from_ms: u64, to_ms: u64) {
        let oldest_ms = (to_ms / WIDTH_MS + 1).saturating_sub(N as u64) * WIDTH_MS;
        let mut at_ms = from_ms.max(oldest_ms);
        while at_ms < to_ms {
            let end_ms = ((at_ms / WIDTH_MS + 1) * WIDTH_MS).min(to_ms);
            self.add(at_ms, end_ms - at_ms);
            at_ms = end_ms;
        }
    }

    /// Everything in the window that ends at a time.
    #[must_use]
    pub fn total(&self, now_ms: u64) -> u64 {
        self.buckets(now_ms).map(|(_, count)| count).sum()
    }

    /// What the bucket counts that a time is in.
    #[must_use]
    pub fn current(&self, now_ms: u64) -> u64 {
        self.count(now_ms / WIDTH_MS)
    }

    /// When each bucket of the window that ends at a time begins, and its count; oldest first.
    pub fn buckets(&self, now_ms: u64) -> impl Iterator<Item = (u64, u64)> {
        let end = now_ms / WIDTH_MS + 1;
        let start = end.saturating_sub(N as u64);
        (start..end).map(|bucket| (bucket * WIDTH_MS, self.count(bucket)))
    }

    fn covers(&self, bucket: u64) -> bool {
        bucket <= self.newest && bucket + N as u64 > self.newest
    }

    fn count(&self, bucket: u64) -> u64 {
        if self.covers(bucket) { self.counts[place::<N>(bucket)] } else { 0 }
    }
}

fn place<const N: usize>(bucket: u64) -> usize {
    usize::try_from(bucket % N as u64).expect("less than N")
}

#[cfg(test)]
mod tests {
    use super::*;

    type Three = Window<3, 10>;

    #[test]
    fn what_is_older_than_the_window_is_gone() {
        let mut window = Three::default();
        for (at, amount) in [(105, 1), (112, 2), (119, 4), (121, 8)] {
            window.add(at, amount);
        }
        assert_eq!(window.buckets(121).collect::<Vec<_>>(), [(100, 1), (110, 6), (120, 8)]);
        assert_eq!((window.total(121), window.current(121)), (15, 8));
        assert_eq!((window.total(130), window.current(130)), (14, 0));
        assert_eq!(window.total(150), 0);
        window.add(155, 16);
        assert_eq!(window.total(155), 16, "buckets that were skipped are empty");
        window.add(140, 1);
        window.add(129, 32);
        assert_eq!(window.total(155), 17, "late ones count where they belong, or not at all");
    }

    #[test]
    fn a_span_counts_in_every_bucket_that_it_touches() {
        let mut window = Three::default();
        window.add_span(107, 123);
        assert_eq!(window.buckets(123).collect::<Vec<_>>(), [(100, 3), (110, 10), (120, 3)]);
        window.add_span(0, 1_000_005);
        assert_eq!(window.total(1_000_005), 25, "only what is in the window");
        window.add_span(9, 9);
        window.add_span(9, 8);
        assert_eq!(window.total(1_000_005), 25);
    }
}
