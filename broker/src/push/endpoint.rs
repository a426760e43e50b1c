//! Where a push service takes messages for one browser. The address comes from whoever subscribes,
//! and the broker sends there: so it must not be one that only the broker can reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::http::Uri;
use axum::http::uri::Scheme;

/// Longest address of a push service, in bytes. 1,024: four times what browsers have.
pub const URL_BYTES_MAX: usize = 1_024;

/// The address of a push service for one browser. Whoever knows it could be taken for the broker,
/// so only its host is ever logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    url: Box<str>,
    host: Box<str>,
    port: u16,
    /// Path and query.
    target: Box<str>,
    is_https: bool,
}

/// Why nothing is sent to an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It is no URL.
    #[error("must be the URL of a push service, with at most {URL_BYTES_MAX} bytes")]
    NotUrl,
    /// It is not HTTPS.
    #[error("must begin with https://")]
    NotHttps,
    /// It is an address that not everybody can reach.
    #[error("must be a host that is reachable from the internet, not {0}")]
    NotPublic(IpAddr),
}

impl Endpoint {
    /// The endpoint with the address `url`. With `allow_loopback`, it may also be an address of this
    /// machine, over plain HTTP.
    ///
    /// # Errors
    /// [`EndpointError`]: what would be accepted.
    pub fn parse(url: &str, allow_loopback: bool) -> Result<Endpoint, EndpointError> {
        if url.len() > URL_BYTES_MAX {
            return Err(EndpointError::NotUrl);
        }
        let uri: Uri = url.parse().map_err(|_| EndpointError::NotUrl)?;
        let authority = uri.authority().ok_or(EndpointError::NotUrl)?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(EndpointError::NotUrl);
        }
        // `[::1]` stands in brackets.
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let literal = host.parse::<IpAddr>().ok();
        let is_here = allow_loopback && literal.is_some_and(|ip| ip.is_loopback());
        let is_https = uri.scheme() == Some(&Scheme::HTTPS);
        let is_plain_here = is_here && uri.scheme() == Some(&Scheme::HTTP);
        if !is_https && !is_plain_here {
            return Err(EndpointError::NotHttps);
        }
        if let Some(ip) = literal {
            reachable(ip, allow_loopback)?;
        }
        Ok(Endpoint {
            url: url.into(),
            host: host.into(),
            port: authority.port_u16().unwrap_or(if is_https { 443 } else { 80 }),
            target: uri.path_and_query().map_or("/", |target| target.as_str()).into(),
            is_https,
        })
    }

    /// As it was given.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its host: a name or an address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether its host is a name and not an address.
    #[must_use]
    pub fn is_name(&self) -> bool {
        self.host.parse::<IpAddr>().is_err()
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Whether what is sent there is encrypted on the way.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// The host with brackets and a port where they are needed, as in a URL.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.to_string()
        };
        match (self.is_https, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    /// Scheme and authority: what a push service compares the `aud` of a token with.
    #[must_use]
    pub fn origin(&self) -> String {
        let scheme = if self.is_https { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }
}

/// Whether something may be sent to `ip`.
///
/// # Errors
/// [`EndpointError::NotPublic`]
pub fn reachable(ip: IpAddr, allow_loopback: bool) -> Result<(), EndpointError> {
    let ip = ip.to_canonical();
    let is_public = match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    };
    let is_allowed = is_public || (allow_loopback && ip.is_loopback());
    is_allowed.then_some(()).ok_or(EndpointError::NotPublic(ip))
}

/// Not in a block of the special-purpose registry (RFC 6890) that is not globally reachable.
fn is_public_v4(ip: Ipv4Addr) -> bool {
    !matches!(
        ip.octets(),
        [0 | 10 | 127 | 224.., ..]
            | [100, 64..=127, ..]
            | [169, 254, ..]
            | [172, 16..=31, ..]
            | [192, 0, 0 | 2, _]
            | [192, 168, ..]
            | [198, 18 | 19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
    )
}

/// Global unicast, and where an address of version 4 is inside, that one counts.
fn is_public_v6(ip: Ipv6Addr) -> bool {
    match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            is_public_v4(Ipv4Addr::new(a, b, c, d))
        }
        // Protocol assignments, tunnels and documentation.
        [0x2001, 0..=0x01ff | 0x0db8, ..] | [0x2002, ..] | [0x3fff, 0..=0x0fff, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_taken_apart() {
        for (url, host, port, target, origin) in [
            ("https://push.example/a?b=c", "push.example", 443, "/a?b=c", "https://push.example"),
            ("https://push.example", "push.example", 443, "/", "https://push.example"),
            ("https://p.example:8443/x", "p.example", 8443, "/x", "https://p.example:8443"),
            ("https://[2606:4700::1]:444/", "2606:4700::1", 444, "/", "https://[2606:4700::1]:444"),
        ] {
            let endpoint = Endpoint::parse(url, false).unwrap();
            assert_eq!(
                (endpoint.host(), endpoint.port(), endpoint.target(), endpoint.origin().as_str()),
                (host, port, target, origin)
            );
            assert_eq!(endpoint.url(), url);
        }
    }

    #[test]
    fn what_is_not_an_address_of_a_push_service_is_refused() {
        let long = format!("https://push.example/{}", "x".repeat(URL_BYTES_MAX));
        for (url, error) in [
            ("", EndpointError::NotUrl),
            ("push.example", EndpointError::NotHttps),
            ("/a", EndpointError::NotUrl),
            ("https://", EndpointError::NotUrl),
            ("https://user@push.example/", EndpointError::NotUrl),
            ("https://push.example/\r\nx", EndpointError::NotUrl),
            (&long, EndpointError::NotUrl),
            ("http://push.example/", EndpointError::NotHttps),
            ("http://127.0.0.1/", EndpointError::NotHttps),
            ("ftp://push.example/", EndpointError::NotHttps),
        ] {
            assert_eq!(Endpoint::parse(url, false), Err(error), "{url}");
        }
    }

    #[test]
    fn only_addresses_that_everybody_can_reach_are_sent_to() {
        for ip in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            let address: IpAddr = ip.parse().unwrap();
            assert!(reachable(address, false).is_err(), "{ip}");
            let host = if address.is_ipv6() { format!("[{ip}]") } else { ip.to_owned() };
            let parsed = Endpoint::parse(&format!("https://{host}/"), false);
            assert!(matches!(parsed, Err(EndpointError::NotPublic(_))), "{ip}: {parsed:?}");
        }
        for ip in [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "223.255.255.255",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
            "2001:200::1",
            "2606:4700::1111",
        ] {
            assert_eq!(reachable(ip.parse().unwrap(), false), Ok(()), "{ip}");
        }
    }

    #[test]
    fn this_machine_is_sent_to_only_if_that_is_set() {
        for url in ["http://127.0.0.1:9/x", "http://[::1]:9/x", "https://127.0.0.1/"] {
            assert!(Endpoint::parse(url, false).is_err(), "{url}");
            assert!(Endpoint::parse(url, true).is_ok(), "{url}");
        }
        for url in ["http://push.example/", "https://10.0.0.1/", "http://localhost/"] {
            assert!(Endpoint::parse(url, true).is_err(), "{url}");
        }
    }
}
