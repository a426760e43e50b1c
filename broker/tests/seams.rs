//! What a compiler cannot check: who knows whom.

use std::fs;
use std::path::{Path, PathBuf};

/// Every source file under `folder`, with its text.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder)];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                sources.push((path, text));
            }
        }
    }
    assert!(!sources.is_empty(), "no sources in {folder}");
    sources
}

#[test]
fn the_core_has_no_clock_no_threads_and_no_disk() {
    let banned = [
        "tokio",
        "std::net",
        "std::fs",
        "std::io",
        "std::thread",
        "std::time",
        "Instant",
        "SystemTime",
        "Mutex",
        "rand::",
        "rocksdb",
        "crate::store",
        "crate::commit",
    ];
    for (path, text) in sources("core") {
        for banned in banned {
            assert!(!text.contains(banned), "{}: `{banned}` belongs in a shell", path.display());
        }
    }
}

#[test]
fn one_module_names_rocksdb_and_one_folder_names_bincode() {
    for (word, home) in [("rocksdb::", "store/rocks"), ("bincode::", "store/row/")] {
        for (path, text) in sources("") {
            let at_home = path.to_string_lossy().contains(home);
            assert!(at_home || !text.contains(word), "{}: `{word}`", path.display());
        }
    }
}
