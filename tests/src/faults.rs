//! A disk whose syncs fail when a test says so.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// What is put between a broker and its disk.
const SOURCE: &str = include_str!("../faults/sync.c");

/// Makes syncs of a broker fail while it is broken.
#[derive(Debug)]
pub struct SyncFault {
    folder: TempDir,
}

impl SyncFault {
    /// A disk that works.
    ///
    /// # Panics
    /// If there is no C compiler; whoever can link Rust has one.
    #[must_use]
    pub fn new() -> SyncFault {
        let fault = SyncFault { folder: TempDir::new().expect("a temporary folder") };
        let source = fault.folder.path().join("sync.c");
        fs::write(&source, SOURCE).expect("write the source of the fault");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(fault.library()).arg(source);
        let compiled = compiler.arg("-ldl").output().expect("run cc");
        assert!(compiled.status.success(), "{compiled:?}");
        fault
    }

    /// Every sync fails from now on, or works again.
    pub fn set_broken(&self, is_broken: bool) {
        let marker = self.marker();
        let done = if is_broken { fs::write(&marker, "") } else { fs::remove_file(&marker) };
        done.expect("mark it");
    }

    /// Have `command` meet the fault.
    pub(crate) fn apply(&self, command: &mut Command) {
        command.env("LD_PRELOAD", self.library()).env("SYNC_FAULT", self.marker());
    }

    fn library(&self) -> PathBuf {
        self.folder.path().join("sync.so")
    }

    fn marker(&self) -> PathBuf {
        self.folder.path().join("broken")
    }
}

impl Default for SyncFault {
    fn default() -> Self {
        SyncFault::new()
    }
}
