//! What was imported, line by line, so that a run that was stopped goes on where it was.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use serde_json::{Map, Value};

/// Each thing that was imported, and what it is called here.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    done: HashMap<String, String>,
    names: HashSet<String>,
}

impl Journal {
    /// The journal in a file, which is made if it is not there.
    pub(super) fn open(path: &Path) -> Result<Journal, String> {
        let read = || -> io::Result<Journal> {
            let file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
            let mut done = HashMap::new();
            for line in BufReader::new(&file).lines() {
                // A last line that was torn says nothing: its thing is tried again.
                if let Ok(entry) = serde_json::from_str::<Map<String, Value>>(&line?) {
                    for (key, value) in entry {
                        done.insert(key, value.as_str().unwrap_or_default().to_owned());
                    }
                }
            }
            let names = done.values().cloned().collect();
            Ok(Journal { file, done, names })
        };
        read().map_err(|error| format!("cannot use the journal {}: {error}", path.display()))
    }

    /// What a thing is called here, if it was imported.
    pub(super) fn find(&self, key: &str) -> Option<&str> {
        self.done.get(key).map(String::as_str)
    }

    /// Whether something that was imported is called so here.
    pub(super) fn has_name(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// A thing was imported.
    pub(super) fn note(&mut self, key: String, name: &str) -> Result<(), String> {
        let entry = Map::from_iter([(key.clone(), name.into())]);
        let line = format!("{}\n", Value::Object(entry));
        self.file
            .write_all(line.as_bytes())
            .map_err(|error| format!("cannot write the journal: {error}"))?;
        self.names.insert(name.to_owned());
        self.done.insert(key, name.to_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_goes_on_behind_a_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = Journal::open(&path).unwrap();
        journal.note("task:1".to_owned(), "7").unwrap();
        journal.file.write_all(b"{\"task:2\":\"8").unwrap();
        let mut journal = Journal::open(&path).unwrap();
        assert_eq!((journal.find("task:1"), journal.find("task:2")), (Some("7"), None));
        assert_eq!((journal.has_name("7"), journal.has_name("8")), (true, false));
        journal.note("task:3".to_owned(), "9").unwrap();
        let journal = Journal::open(&path).unwrap();
        assert_eq!(journal.find("task:1"), Some("7"));
    }
}
