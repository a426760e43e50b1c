//! The disk itself: what one flush takes, and what a folder holds.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::figure::Spread;

/// Bytes of one append: a small task with its head.
const APPEND_BYTES: usize = 256;
/// Unit of the number of blocks in `stat`, whatever the file system.
const BLOCK_BYTES: u64 = 512;

/// Append to a file in `folder` and flush it, again and again for `length`, on `cpu` if there is
/// one; how long one took, in microseconds. It matters where: the core that the disk interrupts
/// has it sooner, so a server's flushes are to be held against those of its own core.
pub fn flush_us(folder: &Path, length: Duration, cpu: Option<usize>) -> Result<Spread> {
    // A thread, because the affinity of this one is to stay as it is.
    let flushing = || {
        if let Some(cpu) = cpu {
            let mut cpus = CpuSet::new();
            cpus.set(cpu);
            sched_setaffinity(None, &cpus).context("pinning the thread that flushes")?;
        }
        flush_again_and_again(folder, length)
    };
    std::thread::scope(|scope| scope.spawn(flushing).join()).expect("flushing never panics")
}

fn flush_again_and_again(folder: &Path, length: Duration) -> Result<Spread> {
    let mut file = tempfile::tempfile_in(folder).context("creating a file to flush")?;
    let bytes = [b'x'; APPEND_BYTES];
    let mut spans_us = Vec::new();
    let started = Instant::now();
    while started.elapsed() < length || spans_us.is_empty() {
        let before = Instant::now();
        append(&mut file, &bytes)?;
        spans_us.push(before.elapsed().as_secs_f64() * 1e6);
    }
    Spread::over(spans_us).context("nothing was flushed")
}

fn append(file: &mut File, bytes: &[u8]) -> Result<()> {
    file.write_all(bytes).context("writing to the disk")?;
    file.sync_data().context("flushing the disk")
}

/// Bytes of the disk that the files below `folder` occupy.
pub fn occupied_bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            // A server deletes files as it pleases.
            let Ok(metadata) = entry.metadata() else { continue };
            // What our broker holds in reserve is room, not tasks.
            if entry.file_name() == "reserve" {
                continue;
            }
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                bytes += metadata.blocks() * BLOCK_BYTES;
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_in_folders_of_folders_are_counted() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let deep = folder.path().join("a/b");
        fs::create_dir_all(&deep).expect("folders");
        let mut file = File::create(deep.join("c")).expect("a file");
        append(&mut file, &[1; 100_000]).expect("room on the disk");
        let bytes = occupied_bytes(folder.path()).expect("a folder that can be read");
        assert!((100_000..200_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn a_flush_takes_some_time() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let spread = flush_us(folder.path(), Duration::ZERO, None).expect("a disk");
        assert!(spread.min > 0.0);
    }
}
