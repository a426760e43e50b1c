//! What a person sees when the broker has started: where it is, what it promises, what to try.
//!
//! At most eight lines, on standard output. A new token is shown to a person at a terminal and to
//! nobody else: output that is caught ends up in logs, and tokens do not belong there.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::Path;

use crate::config::Auth;
use crate::operator;

/// Most lines a banner has: it must not push what a person just did off the screen.
#[cfg(test)]
const LINES_MAX: usize = 8;

/// What there is to say.
#[derive(Clone, Debug)]
pub struct Banner<'a> {
    /// Where agents connect.
    pub tcp: SocketAddr,
    /// Where HTTP is served.
    pub http: SocketAddr,
    /// Where everything is kept.
    pub data_dir: &'a Path,
    /// Who may connect.
    pub auth: &'a Auth,
    /// The operator's token, if it was made just now.
    pub new_token: Option<&'a str>,
}

impl Banner<'_> {
    /// Say it on standard output. That nobody listens there is not a reason to stop.
    pub fn show(&self) {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
        let text = Text { banner: self, terminal, colour };
        let _ = write!(stdout.lock(), "{text}");
    }
}

/// A banner as it looks at one place.
struct Text<'a> {
    banner: &'a Banner<'a>,
    terminal: bool,
    colour: bool,
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Banner { tcp, http, data_dir, auth, new_token } = self.banner;
        let (bold, plain) = if self.colour { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        writeln!(f, "{bold}AgentCom {}{plain}", env!("CARGO_PKG_VERSION"))?;
        writeln!(f, "  agents    {tcp} (NATS protocol), http://{http}")?;
        writeln!(f, "  data      {}", data_dir.display().to_string().escape_debug())?;
        writeln!(f, "  durable   acknowledged means on disk: one fsync per batch")?;
        match (auth.token.is_some(), auth.users.len()) {
            (false, 0) if auth.agents => writeln!(f, "  login     by the tokens of agents")?,
            (false, 0) => writeln!(f, "  login     none needed, this machine only")?,
            (true, 0) => writeln!(f, "  login     by token")?,
            (false, users) => writeln!(f, "  login     by password, {users} known")?,
            (true, users) => writeln!(f, "  login     by token or password, {users} known")?,
        }
        match new_token {
            Some(token) if self.terminal => {
                writeln!(f, "  operator  {token} (shown once, kept in {})", operator::FILE)?;
            }
            Some(_) => writeln!(f, "  operator  new token in {}", operator::FILE)?,
            None => {}
        }
        if auth.is_required() {
            writeln!(f, "  try       curl http://{http}/health")
        } else {
            writeln!(f, "  try       printf 'HELP\\r\\n' | nc -w 1 {} {}", tcp.ip(), tcp.port())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn check(terminal: bool, colour: bool, auth: &Auth, new_token: Option<&str>) -> String {
        let banner = Banner {
            tcp: "127.0.0.1:4222".parse().unwrap(),
            http: "127.0.0.1:4000".parse().unwrap(),
            data_dir: Path::new("/var/lib/agentcom"),
            auth,
            new_token,
        };
        let text = Text { banner: &banner, terminal, colour }.to_string();
        assert!(text.lines().count() <= LINES_MAX, "{text}");
        assert_eq!(text.contains('\x1b'), colour, "{text}");
        text
    }

    #[test]
    fn a_first_start_says_everything() {
        let text = check(true, false, &Auth::default(), Some("c0ffee"));
        for part in [
            env!("CARGO_PKG_VERSION"),
            "127.0.0.1:4222",
            "http://127.0.0.1:4000",
            "/var/lib/agentcom",
            "acknowledged means on disk: one fsync per batch",
            "none needed",
            "c0ffee",
            "printf 'HELP\\r\\n' | nc -w 1 127.0.0.1 4222",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn a_later_start_says_nothing_of_the_operator() {
        assert!(!check(true, true, &Auth::default(), None).contains("operator"));
    }

    #[test]
    fn output_that_is_caught_names_the_file_instead_of_the_token() {
        let text = check(false, false, &Auth::default(), Some("c0ffee"));
        assert!(!text.contains("c0ffee"), "{text}");
        assert!(text.contains("new token in operator.token"), "{text}");
    }

    #[test]
    fn a_configured_login_is_named_but_not_shown() {
        let auth = Auth { token: Some(Secret::of("hunter2")), ..Auth::default() };
        let text = check(true, false, &auth, None);
        assert!(text.contains("login     by token\n"), "{text}");
        assert!(text.contains("try       curl http://127.0.0.1:4000/health\n"), "{text}");
    }
}
