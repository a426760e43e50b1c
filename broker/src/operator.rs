//! The operator's token: what opens the doors that need a token when nothing else is configured.
//!
//! 64 hex digits, made on the first start and kept in `<data_dir>/operator.token`, which only the
//! broker's own user may read. Whoever may read the broker's data is its operator anyway, so the
//! command line finds the token there and nobody has to type it. To change it, stop the broker,
//! delete the file and start again.
//!
//! The running broker keeps only a digest of it.

use std::env;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::config::Secret;
use crate::private_file::{self, Unusable};
use crate::token::{self, DIGITS};

/// Name of the file in the data folder.
pub const FILE: &str = "operator.token";

/// The variable that the command line looks at before it looks for the file.
pub const VARIABLE: &str = "AGENTCOM_TOKEN";

/// Who knows the operator's token.
#[derive(Clone, Debug)]
pub struct Operator {
    secret: Secret,
}

/// The token cannot be used. The broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// Other users of the machine have had access to it.
    #[error(
        "{} has mode {mode:03o}, so other users may know the operator's token; \
         delete it to get a new one, or run `chmod 600` on it if you are sure", path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Something else is in the file.
    #[error("{} holds {bytes} bytes that are not {DIGITS} hex digits; delete it to get a new token", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it holds, in bytes.
        bytes: usize,
    },
    /// The file system refused.
    #[error("{}: {doing}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What came of it.
        source: io::Error,
    },
}

impl Operator {
    /// The operator of the broker whose data is in `data_dir`, which is made if it is not there.
    /// On the first start the token is made too, and handed out beside: show it once.
    ///
    /// # Errors
    /// [`OperatorError`], a sentence for the operator.
    pub fn open(data_dir: &Path) -> Result<(Operator, Option<String>), OperatorError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(data_dir)
            .map_err(failed(data_dir, "the data folder cannot be made"))?;
        let path = data_dir.join(FILE);
        let (token, new) = match read(&path)? {
            Some(token) => (token, false),
            None => (make(&path)?, true),
        };
        Ok((Operator { secret: Secret::of(&token) }, new.then_some(token)))
    }

    /// Whether `presented` is the token. Takes the same time whatever the answer.
    #[must_use]
    pub fn admits(&self, presented: &str) -> bool {
        self.secret.matches(presented)
    }
}

/// The token for the command line: the variable `AGENTCOM_TOKEN` if it is set, else the file in
/// `data_dir` if there is one.
///
/// # Errors
/// [`OperatorError`] if the file is there and cannot be used.
pub fn find(data_dir: &Path) -> Result<Option<String>, OperatorError> {
    match env::var(VARIABLE) {
        Ok(token) if !token.is_empty() => Ok(Some(token)),
        _ => read(&data_dir.join(FILE)),
    }
}

fn read(path: &Path) -> Result<Option<String>, OperatorError> {
    let text = match private_file::read(path, 2 * DIGITS) {
        Ok(Some(text)) => text,
        Ok(None) => return Ok(None),
        Err(Unusable::Exposed(mode)) => {
            return Err(OperatorError::Exposed { path: path.to_owned(), mode });
        }
        Err(Unusable::Malformed(bytes)) => {
            return Err(OperatorError::Malformed { path: path.to_owned(), bytes });
        }
        Err(Unusable::Io(error)) => {
            return Err(failed(path, "the operator's token cannot be read")(error));
        }
    };
    let token = text.trim_end();
    if token.len() != DIGITS || !token.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(OperatorError::Malformed { path: path.to_owned(), bytes: text.len() });
    }
    Ok(Some(token.to_owned()))
}

/// Make a token and keep it in `path`.
fn make(path: &Path) -> Result<String, OperatorError> {
    let token = token::fresh().map_err(failed(path, "no randomness for a token"))?;
    let kept = private_file::write(path, &format!("{token}\n"));
    kept.map_err(failed(path, "the operator's token cannot be kept"))?;
    Ok(token)
}

fn failed(path: &Path, doing: &'static str) -> impl Fn(io::Error) -> OperatorError {
    let path = path.to_owned();
    move |source| OperatorError::Io { path: path.clone(), doing, source }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn the_first_start_makes_the_token_and_later_ones_keep_it() {
        let folder = folder();
        let data = folder.path().join("a/b");
        let (operator, new) = Operator::open(&data).unwrap();
        let token = new.expect("a new token");
        assert_eq!(token.len(), DIGITS);
        assert!(operator.admits(&token));
        assert!(!operator.admits(&token[1..]));
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&data.join(FILE)), 0o600);
        assert_eq!(mode(&data), 0o700);
        let (again, new) = Operator::open(&data).unwrap();
        assert_eq!(new, None);
        assert!(again.admits(&token));
        assert_eq!(fs::read_dir(&data).unwrap().count(), 1);
    }

    #[test]
    fn two_brokers_have_two_tokens() {
        let token = || Operator::open(folder().path()).unwrap().1.unwrap();
        assert_ne!(token(), token());
    }

    #[test]
    fn a_token_that_others_may_read_is_refused() {
        let folder = folder();
        Operator::open(folder.path()).unwrap();
        let path = folder.path().join(FILE);
        for mode in [0o640, 0o604, 0o660, 0o601] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = Operator::open(folder.path()).unwrap_err();
            assert!(error.to_string().contains(&format!("mode {mode:03o}")), "{error}");
        }
        fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        Operator::open(folder.path()).unwrap();
    }

    #[test]
    fn what_is_not_a_token_is_refused() {
        let folder = folder();
        Operator::open(folder.path()).unwrap();
        let path = folder.path().join(FILE);
        for text in ["", "abc", &"g".repeat(64), &"a".repeat(63), &"a".repeat(65)] {
            fs::write(&path, text).unwrap();
            let error = Operator::open(folder.path()).unwrap_err();
            assert!(matches!(error, OperatorError::Malformed { .. }), "{text}: {error}");
        }
        fs::write(&path, "a".repeat(64)).unwrap();
        Operator::open(folder.path()).unwrap();
    }

    #[test]
    fn half_a_token_left_by_a_crash_is_no_obstacle() {
        let folder = folder();
        fs::write(folder.path().join("operator.token.new"), "abc").unwrap();
        assert!(Operator::open(folder.path()).unwrap().1.is_some());
    }

    #[test]
    fn the_command_line_finds_the_token_in_the_data_folder() {
        let folder = folder();
        // The environment of a test run is nobody's to change; skip where it decides.
        if env::var_os(VARIABLE).is_none() {
            assert_eq!(find(folder.path()).unwrap(), None);
            let token = Operator::open(folder.path()).unwrap().1;
            assert_eq!(find(folder.path()).unwrap(), token);
        }
    }
}
