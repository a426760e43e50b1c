//! The body of a message or task: an argument, or stdin.

use std::io::{self, IsTerminal as _, Read as _};

use bytes::Bytes;

/// The bytes of `argument`, or all of stdin where it is absent or `-`.
pub(crate) fn read(argument: Option<&str>) -> io::Result<Bytes> {
    match argument {
        Some(text) if text != "-" => Ok(Bytes::copy_from_slice(text.as_bytes())),
        _ => {
            if io::stdin().is_terminal() {
                super::complain("reading the body from the terminal; end it with Ctrl-D");
            }
            let mut body = Vec::new();
            io::stdin().lock().read_to_end(&mut body)?;
            Ok(Bytes::from(body))
        }
    }
}
