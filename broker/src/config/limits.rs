//! `[limits]`: how much of everything one client, and all of them together, may use.

use super::setting::settings;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const GIB: usize = 1024 * MIB;

settings! {
    config => config.limits, keys "limits.";
    /// How much of everything one client, and all of them together, may use.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Limits {
        /// Largest message, headers included, in bytes. 1 MiB: what NATS clients expect; bigger
        /// things belong in a file store, with a message that says where.
        "payload_bytes_max" payload_bytes_max: usize = MIB, in 1..=64 * MIB as u64;
        /// Longest protocol line in bytes, so also the largest CONNECT. 4 KiB: ten times what
        /// clients send, and all that a stranger can make the broker keep before the login.
        "control_line_bytes_max" control_line_bytes_max: usize = 4 * KIB, in 64..=MIB as u64;
        /// Clients connected over TCP at once. 65,536: what one process can serve when the
        /// limit on open files allows it; the next one is told and closed.
        "connections_max" connections_max: usize = 65_536, in 1..=10_000_000;
        /// Subscriptions of one connection. 100,000: far above any sane client, low enough that
        /// one client that subscribes in a loop is stopped at some 20 MB.
        "subscriptions_max" subscriptions_max: usize = 100_000, in 1..=100_000_000;
        /// Numbers that one connection of the binary framing may give to subjects. 1,024: more than
        /// most clients publish to all the time; the rest is sent in full. Some 200 KB at most for
        /// usual subjects, counted in memory_bytes_max.
        "aliases_max" aliases_max: usize = 1024, in 0..=65_535;
        /// Tokens of one subject, counted when somebody subscribes. 1,024: NATS knows no limit, so
        /// this one must not be met by accident; the cost of matching grows with the depth.
        "subject_tokens_max" subject_tokens_max: usize = 1024, in 1..=2048;
        /// Bytes that may wait for one connection that reads too slowly. 8 MiB: a second of
        /// output at 64 Mbit/s; after that the client is told so and cut, and nobody waits for it.
        "pending_bytes_max" pending_bytes_max: usize = 8 * MIB, in KIB as u64..=4 * GIB as u64;
        /// Bytes that may wait in all connections together: input of which only a part has arrived,
        /// and output. 256 MiB: 32 clients at their own limit at once, and the broker still lives in
        /// half a gigabyte. Whoever holds most is cut first.
        "memory_bytes_max" memory_bytes_max: usize = 256 * MIB, in MIB as u64..=1024 * GIB as u64;
        /// HTTP connections at once. 1,000: people, dashboards and scripts; whoever is one too
        /// many waits in the system's queue until another leaves.
        "http_connections_max" http_connections_max: usize = 1_000, in 1..=100_000;
    }
}
