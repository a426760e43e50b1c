//! A disk that is small enough to be filled: a file system in memory, in a mount namespace of its
//! own, which needs no privileges where the kernel lets users make one.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A small disk. It is gone when this is dropped.
#[derive(Debug)]
pub struct SmallDisk {
    folder: TempDir,
    /// Who holds the namespace.
    holder: Child,
}

const FILLER: &str = "filler";

impl SmallDisk {
    /// A disk of so many bytes; `None`, and a word of why, where the kernel does not let us.
    pub fn mount(bytes: u64) -> Option<Self> {
        let folder = TempDir::new().expect("a temporary folder");
        let script =
            format!("mount -t tmpfs -o size={bytes} none \"$0\" && echo mounted && exec cat");
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]);
        command.arg(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().ok()?;
        let mut line = String::new();
        let said = BufReader::new(holder.stdout.take()?).read_line(&mut line);
        if said.is_ok() && line == "mounted\n" {
            return Some(Self { folder, holder });
        }
        eprintln!("skipped: no file system can be mounted here");
        let _ = holder.kill();
        let _ = holder.wait();
        None
    }

    /// Its folder, as a process in its namespace knows it.
    pub(crate) fn inner(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// The same, as everybody else does.
    pub fn path(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.folder.path().strip_prefix("/").expect("an absolute path"))
    }

    /// What to put in front of a command that is to see it.
    pub(crate) fn enter(&self) -> [String; 5] {
        let target = format!("--target={}", self.holder.id());
        let flags = ["--user", "--mount", "--preserve-credentials"];
        let [user, mount, keep] = flags.map(str::to_owned);
        ["nsenter".to_owned(), target, user, mount, keep]
    }

    /// Fill it to the last byte.
    pub fn fill(&self) {
        let mut filler = File::options();
        let filler = filler.create(true).append(true).open(self.path().join(FILLER));
        let mut filler = filler.expect("a file to fill the disk with");
        for size in [1 << 20, 4096, 1] {
            let zeros = vec![0; size];
            while filler.write_all(&zeros).is_ok() {}
        }
    }

    /// Remove what it was filled with.
    pub fn clear(&self) {
        fs::remove_file(self.path().join(FILLER)).expect("remove the filler");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Whoever is in the namespace still keeps it until it ends.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
