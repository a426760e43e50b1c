//! `[timeouts]`: how long the broker waits for whom. Milliseconds, on the monotone clock.

use std::time::Duration;

use super::setting::settings;

/// Upper edge of every time-out: a day. A longer one is a mistake in the unit.
const DAY: u64 = 24 * 60 * 60 * 1000;

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

settings! {
    config => config.timeouts, keys "timeouts.";
    /// How long the broker waits for whom.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Timeouts {
        /// From accepting a TCP connection to a valid CONNECT, however it dribbles in. 2 s: two
        /// round trips on the worst link, and a silent stranger does not stay.
        "auth_ms" auth: Duration = ms(2_000), in 1..=DAY;
        /// Between two PINGs to a client that says nothing. 10 s: with `ping_max` 2, a peer that
        /// vanished is noticed within 30 s, which is what its leases wait for.
        "ping_interval_ms" ping_interval: Duration = ms(10_000), in 10..=DAY;
        /// PINGs that may go unanswered before the connection is stale. 2: one may be lost.
        "ping_max" ping_max: usize = 2, in 1..=1_000;
        /// From the first byte of a message to its last. 30 s: the largest one, at 35 kB/s.
        "half_frame_ms" half_frame: Duration = ms(30_000), in 1..=DAY;
        /// How long output may wait for a client that takes none of it. 10 s: the system reports
        /// progress only when a third of its own buffer (up to 4 MB) has been read, so this is
        /// what a reader of 150 kB/s needs; a fast flood meets `pending_bytes_max` long before.
        "write_ms" write: Duration = ms(10_000), in 1..=DAY;
        /// How long clients have to move elsewhere after SIGUSR2. 10 s: NATS clients reconnect
        /// in 2 s, with some jitter.
        "lame_duck_ms" lame_duck: Duration = ms(10_000), in 1..=DAY;
        /// How long a clean stop may take. 5 s: half of what supervisors commonly grant before
        /// they kill; what is not finished by then is cut.
        "shutdown_ms" shutdown: Duration = ms(5_000), in 1..=DAY;
        /// From the first byte of an HTTP request (or the connection's start) to the end of its
        /// headers. 5 s: they fit in one packet.
        "http_header_ms" http_header: Duration = ms(5_000), in 1..=DAY;
        /// For the body of an HTTP request to arrive, and again for the response to be read.
        /// 30 s: the largest body, at 270 kB/s.
        "http_body_ms" http_body: Duration = ms(30_000), in 1..=DAY;
        /// How long an idle HTTP connection stays open. 75 s: the legacy `add-agent.js` comes
        /// back on its connection after an install step and fails below 60 s.
        "http_idle_ms" http_idle: Duration = ms(75_000), in 1..=DAY;
    }
}
