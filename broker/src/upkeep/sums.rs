//! `SHA256SUMS`: the digest of every file of a backup, in the form that `sha256sum --check` reads,
//! so that a backup can be checked where there is no AgentCom.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::BackupError;

/// Its name.
pub(super) const FILE: &str = "SHA256SUMS";

/// Folders within folders. 8: a backup has two.
const DEPTH_MAX: usize = 8;

/// The longest `SHA256SUMS`. 64 MiB: those of half a million files.
const BYTES_MAX: u64 = 64 << 20;

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Every file under `folder` but the sums themselves: its path there, and its bytes, by path.
///
/// # Errors
/// [`BackupError::Damaged`] if something is there that is no file and no folder: a link could
/// lead anywhere.
pub(super) fn files(folder: &Path) -> Result<Vec<(String, u64)>, BackupError> {
    let mut files = Vec::new();
    collect(folder, folder, DEPTH_MAX, &mut files)?;
    files.sort();
    Ok(files)
}

fn collect(
    root: &Path,
    folder: &Path,
    depth: usize,
    files: &mut Vec<(String, u64)>,
) -> Result<(), BackupError> {
    let unreadable = BackupError::at(folder, "cannot be read");
    for entry in fs::read_dir(folder).map_err(&unreadable)? {
        let path = entry.map_err(&unreadable)?.path();
        let shown = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        let metadata = fs::symlink_metadata(&path).map_err(&unreadable)?;
        if metadata.is_dir() && depth > 0 {
            collect(root, &path, depth - 1, files)?;
        } else if !metadata.is_file() {
            return Err(BackupError::damaged(root, format!("{shown} is no regular file")));
        } else if shown != FILE {
            files.push((shown, metadata.len()));
        }
    }
    Ok(())
}

/// The sums of `files` under `folder`. `go_on` hears how many bytes were read, and may end it.
///
/// # Errors
/// [`BackupError`] if a file cannot be read, or [`BackupError::Stopped`].
pub(super) fn of(
    folder: &Path,
    files: &[(String, u64)],
    go_on: &mut dyn FnMut(u64) -> bool,
) -> Result<String, BackupError> {
    let mut sums = String::new();
    let mut done = 0;
    for (path, _) in files {
        let whole = folder.join(path);
        let mut file = File::open(&whole).map_err(BackupError::at(&whole, "cannot be read"))?;
        let sum = digest(&mut file, &mut |_| Ok(()), &mut |bytes| go_on(done + bytes));
        let (sum, bytes) = sum.map_err(|error| BackupError::or_stopped(&whole, error))?;
        done += bytes;
        sums.push_str(&format!("{sum}  {path}\n"));
    }
    Ok(sums)
}

/// The digest of everything that `from` gives, and how many bytes that were; they are handed to
/// `also` as well.
///
/// # Errors
/// What reading or `also` says; [`io::ErrorKind::Interrupted`] if `go_on` said no.
pub(super) fn digest(
    from: &mut dyn Read,
    also: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    go_on: &mut dyn FnMut(u64) -> bool,
) -> io::Result<(String, u64)> {
    let (mut hasher, mut chunk, mut bytes) = (Sha256::new(), vec![0; CHUNK_BYTES], 0);
    loop {
        let read = from.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        hasher.update(&chunk[..read]);
        also(&chunk[..read])?;
        bytes += read as u64;
        if !go_on(bytes) {
            return Err(io::ErrorKind::Interrupted.into());
        }
    }
    Ok((hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect(), bytes))
}

/// The sums that were kept.
///
/// # Errors
/// [`BackupError::Damaged`] if there are none.
pub(super) fn kept(folder: &Path) -> Result<String, BackupError> {
    text(&folder.join(FILE), BYTES_MAX)
        .map_err(|error| BackupError::damaged(folder, format!("{FILE} cannot be read: {error}")))
}

/// What stands in the file `path`, which should not be longer than `bytes_max`: a backup may come
/// from anywhere.
///
/// # Errors
/// What reading says; [`io::ErrorKind::FileTooLarge`] beyond `bytes_max`.
pub(super) fn text(path: &Path, bytes_max: u64) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(bytes_max + 1).read_to_string(&mut text)?;
    if text.len() as u64 > bytes_max {
        let reason = format!("it has more than {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    Ok(text)
}

/// The first difference between the sums that were `kept` and those that were `found`, as a
/// sentence; `None` if they are the same.
pub(super) fn difference(kept: &str, found: &str) -> Option<String> {
    if kept == found {
        return None;
    }
    let paths = |sums: &str| -> Vec<(PathBuf, String)> {
        let split = |line: &str| line.split_once("  ").map(|(sum, path)| (path.into(), sum.into()));
        sums.lines().filter_map(split).collect()
    };
    let (kept, found) = (paths(kept), paths(found));
    let other = found.iter().find(|entry| !kept.contains(entry));
    if let Some((path, _)) = other {
        let is_listed = kept.iter().any(|(listed, _)| listed == path);
        let how = if is_listed { "is not what was written" } else { "does not belong to it" };
        return Some(format!("{} {how}", path.display()));
    }
    let missing = kept.iter().find(|(path, _)| !found.iter().any(|(other, _)| other == path));
    Some(match missing {
        Some((path, _)) => format!("{} is missing", path.display()),
        None => format!("{FILE} is not what was written"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("in")).unwrap();
        fs::write(folder.path().join("b"), "abc").unwrap();
        fs::write(folder.path().join("in/a"), "").unwrap();
        folder
    }

    fn sums(folder: &Path) -> String {
        of(folder, &files(folder).unwrap(), &mut |_| true).unwrap()
    }

    #[test]
    fn the_form_is_that_of_sha256sum() {
        let folder = folder();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  b\n\
            e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  in/a\n";
        assert_eq!(sums(folder.path()), expected);
        fs::write(folder.path().join(FILE), "whatever").unwrap();
        assert_eq!(sums(folder.path()), expected);
    }

    #[test]
    fn every_difference_is_named() {
        let folder = folder();
        let kept = sums(folder.path());
        let check = |expected: Option<&str>| {
            let found = difference(&kept, &sums(folder.path()));
            assert_eq!(found.as_deref(), expected);
        };
        check(None);
        fs::write(folder.path().join("b"), "abd").unwrap();
        check(Some("b is not what was written"));
        fs::write(folder.path().join("b"), "abc").unwrap();
        fs::write(folder.path().join("c"), "").unwrap();
        check(Some("c does not belong to it"));
        fs::remove_file(folder.path().join("c")).unwrap();
        fs::remove_file(folder.path().join("in/a")).unwrap();
        check(Some("in/a is missing"));
        assert!(difference("nonsense", "").unwrap().contains(FILE));
    }

    #[test]
    fn no_more_is_read_than_is_allowed() {
        let folder = folder();
        let read = |bytes_max| text(&folder.path().join("b"), bytes_max);
        assert_eq!(read(3).unwrap(), "abc");
        assert_eq!(read(2).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_link_is_no_part_of_a_backup() {
        let folder = folder();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("in/link")).unwrap();
        let error = files(folder.path()).unwrap_err();
        assert!(error.to_string().contains("in/link is no regular file"), "{error}");
    }
}
