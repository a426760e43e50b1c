//! Small files that only the broker's own user may read, such as its secrets.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Why a file cannot be used.
#[derive(Debug)]
pub enum Unusable {
    /// Other users of the machine have had access to it: its permission bits.
    Exposed(u32),
    /// It is too long or no text: what it holds, in bytes.
    Malformed(usize),
    /// The file system refused.
    Io(io::Error),
}

/// The text of the file `path`, of at most `bytes_max` bytes; `None` if there is none.
///
/// # Errors
/// [`Unusable`]
pub fn read(path: &Path, bytes_max: usize) -> Result<Option<String>, Unusable> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Unusable::Io(error)),
    };
    // Of the open file, so that it is the one that is read.
    let metadata = file.metadata().map_err(Unusable::Io)?;
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Unusable::Exposed(mode));
    }
    let bytes = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    let mut text = String::new();
    let read = file.take(bytes_max as u64 + 1).read_to_string(&mut text);
    match read {
        Ok(read) if read <= bytes_max => Ok(Some(text)),
        Ok(_) => Err(Unusable::Malformed(bytes)),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(Unusable::Malformed(bytes)),
        Err(error) => Err(Unusable::Io(error)),
    }
}

/// Put `text` into the file `path`, all of it or nothing whatever happens: under another name
/// first, and with its final mode from the first moment on. Returns when it is durable.
///
/// # Errors
/// What the file system says.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    let new = new_name(path);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    // The name is durable only once its folder is.
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

fn new_name(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}
