//! What a process has cost so far, read from `/proc`.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// One tick of `/proc/PID/stat`. `USER_HZ` is 100 on every architecture Linux runs on today.
const STAT_TICK: Duration = Duration::from_millis(10);

/// Processor time of a process, thread by thread, at one moment; by default before its start.
///
/// `schedstat` counts nanoseconds but forgets threads that have ended; `stat` remembers them but
/// counts in ticks. [`CpuReading::since`] uses the first unless the second contradicts it.
#[derive(Clone, Debug, Default)]
pub struct CpuReading {
    threads: HashMap<String, Duration>,
    ticks: Duration,
}

impl CpuReading {
    /// Processor time of `pid` up to now, user and system, of all its threads.
    pub fn of(pid: u32) -> Result<Self> {
        let mut threads = HashMap::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
            let entry = entry?;
            // A thread may end between listing and reading; `stat` still has its time.
            let Ok(text) = fs::read_to_string(entry.path().join("schedstat")) else { continue };
            let on_cpu = text.split_whitespace().next().and_then(|field| field.parse().ok());
            let on_cpu = Duration::from_nanos(on_cpu.context("schedstat without a number")?);
            threads.insert(entry.file_name().to_string_lossy().into_owned(), on_cpu);
        }
        Ok(Self { threads, ticks: stat_ticks(pid)? })
    }

    /// Processor time spent between `earlier` and this reading of the same process.
    pub fn since(&self, earlier: &Self) -> Duration {
        let spent = |(id, now): (&String, &Duration)| {
            now.saturating_sub(earlier.threads.get(id).copied().unwrap_or_default())
        };
        let exact: Duration = self.threads.iter().map(spent).sum();
        let coarse = self.ticks.saturating_sub(earlier.ticks);
        // Each end of the coarse span may be off by a tick.
        if coarse > exact + 2 * STAT_TICK { coarse } else { exact }
    }
}

/// `utime` + `stime` of all threads, the ended ones included.
fn stat_ticks(pid: u32) -> Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in brackets may hold spaces; fields are counted after it, and the first is no. 3.
    let (_, fields) = text.rsplit_once(") ").context("stat without a name")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |number: usize| -> Result<u32> {
        Ok(fields.get(number - 3).context("stat is too short")?.parse()?)
    };
    Ok(STAT_TICK * (ticks(14)? + ticks(15)?))
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Resident now.
    pub resident_bytes: u64,
    /// The most that was ever resident.
    pub peak_bytes: u64,
}

impl Memory {
    /// Memory of `pid` now.
    pub fn of(pid: u32) -> Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let field = |name: &str| -> Result<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|rest| rest.split_whitespace().next());
            Ok(kib.with_context(|| format!("status without {name}"))?.parse::<u64>()? * 1024)
        };
        Ok(Self { resident_bytes: field("VmRSS:")?, peak_bytes: field("VmHWM:")? })
    }
}

/// Whether `pid` itself holds the socket that listens on `port` of an IPv4 address.
pub fn listens_on(pid: u32, port: u16) -> Result<bool> {
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp"))?;
    let listening = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode
        let [_, local, _, state, _, _, _, _, _, inode, ..] = fields[..] else { return None };
        let is_ours = local.ends_with(&format!(":{port:04X}")) && state == "0A";
        is_ours.then(|| format!("socket:[{inode}]"))
    };
    let sockets: Vec<String> = table.lines().filter_map(listening).collect();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let Ok(target) = fs::read_link(entry?.path()) else { continue };
        if sockets.iter().any(|socket| target.as_os_str() == socket.as_str()) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::time::Instant;

    /// The kernel brings `schedstat` of a running thread up to date when it likes, and counts ticks
    /// by looking now and then: a reading may trail what was burnt, so the loop goes by the reading.
    #[test]
    fn own_processor_time_grows_and_memory_is_not_zero() {
        let pid = std::process::id();
        let before = CpuReading::of(pid).expect("own /proc is readable");
        let began = Instant::now();
        let mut spent = Duration::ZERO;
        let mut sum = 0u64;
        while spent < STAT_TICK && began.elapsed() < Duration::from_secs(60) {
            for _ in 0..100_000 {
                sum = std::hint::black_box(sum + 1);
            }
            spent = CpuReading::of(pid).expect("own /proc is readable").since(&before);
        }
        assert!(spent >= STAT_TICK, "{spent:?} of {:?} burnt", began.elapsed());
        assert!(Memory::of(pid).expect("own status is readable").resident_bytes > 0);
    }

    #[test]
    fn a_listener_is_traced_to_its_process() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        assert!(listens_on(std::process::id(), port).expect("own /proc is readable"));
        drop(listener);
        assert!(!listens_on(std::process::id(), port).expect("own /proc is readable"));
    }
}
