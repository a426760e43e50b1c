//! Where a server is: `host`, `host:port`, `nats://user:password@host:port`.

use std::fmt;
use std::str::FromStr;

use crate::error::{ConnectError, ConnectErrorKind};

/// The port that a server listens on unless told otherwise.
const PORT_DEFAULT: u16 = 4222;

/// One server's address, with the credentials that were written into it.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerAddr {
    host: String,
    port: u16,
    user: Option<String>,
    password: Option<String>,
}

impl ServerAddr {
    /// Host name or IP address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// User name, or token where there is no password.
    pub(crate) fn credentials(&self) -> Option<(&str, Option<&str>)> {
        self.user.as_deref().map(|user| (user, self.password.as_deref()))
    }
}

impl FromStr for ServerAddr {
    type Err = ConnectError;

    fn from_str(text: &str) -> Result<ServerAddr, ConnectError> {
        let refused = || {
            let expected = "expected host, host:port or nats://user:password@host:port";
            ConnectError::with_source(
                ConnectErrorKind::ServerParse,
                format!("{text:?}: {expected}"),
            )
        };
        let address = match text.trim().split_once("://") {
            Some(("nats" | "tcp", rest)) => rest,
            Some(("tls", _)) => return Err(ConnectErrorKind::Tls.into()),
            Some(_) => return Err(refused()),
            None => text.trim(),
        };
        let address = address.trim_end_matches('/');
        let (credentials, address) = match address.rsplit_once('@') {
            Some((credentials, address)) => (Some(credentials), address),
            None => (None, address),
        };
        let (host, port) = split_port(address).ok_or_else(refused)?;
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '/') {
            return Err(refused());
        }
        let (user, password) = match credentials.map(|text| text.split_once(':')) {
            Some(Some((user, password))) => (Some(user.to_owned()), Some(password.to_owned())),
            Some(None) => (credentials.map(str::to_owned), None),
            None => (None, None),
        };
        Ok(ServerAddr { host: host.to_owned(), port, user, password })
    }
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`.
fn split_port(address: &str) -> Option<(&str, u16)> {
    if let Some(rest) = address.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        let port =
            if rest.is_empty() { PORT_DEFAULT } else { rest.strip_prefix(':')?.parse().ok()? };
        return Some((host, port));
    }
    match address.split_once(':') {
        Some((host, port)) => Some((host, port.parse().ok()?)),
        None => Some((address, PORT_DEFAULT)),
    }
}

impl fmt::Display for ServerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Credentials stay out of logs.
impl fmt::Debug for ServerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What [`crate::connect`] takes: one address, several with commas, or a list.
pub trait ToServerAddrs {
    /// The addresses, in the order in which they are tried.
    ///
    /// # Errors
    /// [`ConnectErrorKind::ServerParse`] when one is malformed.
    fn to_server_addrs(&self) -> Result<Vec<ServerAddr>, ConnectError>;
}

impl ToServerAddrs for str {
    fn to_server_addrs(&self) -> Result<Vec<ServerAddr>, ConnectError> {
        self.split(',').map(str::parse).collect()
    }
}

impl ToServerAddrs for String {
    fn to_server_addrs(&self) -> Result<Vec<ServerAddr>, ConnectError> {
        self.as_str().to_server_addrs()
    }
}

impl ToServerAddrs for ServerAddr {
    fn to_server_addrs(&self) -> Result<Vec<ServerAddr>, ConnectError> {
        Ok(vec![self.clone()])
    }
}

impl ToServerAddrs for std::net::SocketAddr {
    fn to_server_addrs(&self) -> Result<Vec<ServerAddr>, ConnectError> {
        self.to_string().to_server_addrs()
    }
}

impl<A: ToServerAddrs> ToServerAddrs for [A] {
    fn to_server_addrs(&self) -> Result<Vec<ServerAddr>, ConnectError> {
        let lists: Result<Vec<_>, _> = self.iter().map(A::to_server_addrs).collect();
        Ok(lists?.into_iter().flatten().collect())
    }
}

impl<A: ToServerAddrs> ToServerAddrs for Vec<A> {
    fn to_server_addrs(&self) -> Result<Vec<ServerAddr>, ConnectError> {
        self.as_slice().to_server_addrs()
    }
}

impl<A: ToServerAddrs + ?Sized> ToServerAddrs for &A {
    fn to_server_addrs(&self) -> Result<Vec<ServerAddr>, ConnectError> {
        (**self).to_server_addrs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let address: ServerAddr = text.parse().expect("an address");
        assert_eq!(address.to_string(), expected, "{text}");
    }

    #[test]
    fn an_address_may_leave_out_what_it_likes_but_the_host() {
        check("localhost", "localhost:4222");
        check("127.0.0.1:1", "127.0.0.1:1");
        check("nats://u:p@h:7/", "h:7");
        check("[::1]", "[::1]:4222");
        check("[::1]:9", "[::1]:9");
        for text in ["", ":4222", "h:x", "h:70000", "http://h", "a b", "h/x"] {
            assert!(text.parse::<ServerAddr>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn credentials_are_read_and_not_shown() {
        let address: ServerAddr = "nats://u:p:q@h".parse().expect("an address");
        assert_eq!(address.credentials(), Some(("u", Some("p:q"))));
        assert_eq!(format!("{address:?}"), "h:4222");
        let token: ServerAddr = "nats://t@h".parse().expect("an address");
        assert_eq!(token.credentials(), Some(("t", None)));
    }

    #[test]
    fn commas_and_lists_give_several() {
        assert_eq!("a,b:1".to_server_addrs().expect("two").len(), 2);
        assert_eq!(["a", "b"].to_server_addrs().expect("two").len(), 2);
    }
}
