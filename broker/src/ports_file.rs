//! The ports file: how a script finds a broker that was told to listen on port 0.
//!
//! It appears whole or not at all, and only once clients can connect.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;

use serde::Serialize;

/// The addresses in use.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Ports {
    /// Where agents connect.
    pub tcp: SocketAddr,
    /// Where HTTP is served.
    pub http: SocketAddr,
}

/// Put `ports` into the file `path`, as one line of JSON.
///
/// # Errors
/// Whatever the file system says; then the old file, if any, is untouched.
pub fn write(path: &Path, ports: &Ports) -> io::Result<()> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    let mut file = File::create(&new)?;
    let written = serde_json::to_writer(&mut file, ports).map_err(io::Error::from);
    let written =
        written.and_then(|()| file.write_all(b"\n")).and_then(|()| fs::rename(&new, path));
    written.inspect_err(|_| drop(fs::remove_file(&new)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_replaces_the_old_one_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ports.json");
        for port in [4222, 4223] {
            let tcp = SocketAddr::from(([127, 0, 0, 1], port));
            write(&path, &Ports { tcp, http: "[::1]:4000".parse().unwrap() }).unwrap();
            let expected = format!("{{\"tcp\":\"127.0.0.1:{port}\",\"http\":\"[::1]:4000\"}}\n");
            assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let ports = Ports { tcp: "[::1]:1".parse().unwrap(), http: "[::1]:2".parse().unwrap() };
        assert!(write(&folder.path().join("no/ports.json"), &ports).is_err());
    }
}
