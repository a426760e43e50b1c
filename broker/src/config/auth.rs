//! `[auth]`: who may connect, and what they may publish and subscribe to.
//!
//! Secrets live here as SHA-256 digests only, whichever way they were written, and are compared
//! in constant time. An unknown user costs exactly what a wrong password costs, so an answer's
//! timing says nothing about which of the two it was.

use std::fmt;
use std::ops::RangeInclusive;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::setting::{Raw, Value, settings};

settings! {
    config => config.auth, keys "auth.";
    /// Who may connect. With neither a token nor users, everybody may do everything, and the
    /// broker listens on loopback addresses only.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Auth {
        /// Whoever knows it may do everything. Plain, or "sha256:" and the 64 hex digits of its
        /// digest (printf %s TOKEN | sha256sum).
        "token" token: Option<Secret> = None;
        /// Whether the tokens of agents open this door, too. Such a connection speaks for its agent
        /// alone, and does not change the settings that all share; else it may do everything. Off:
        /// whoever reaches the HTTP port can register as an agent.
        "agents" agents: bool = false;
        then {
            /// People and programs with names, passwords and permissions of their own.
            users: Vec<User>,
        }
    }
}

/// Somebody who connects with `user` and `pass`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name; unique.
    pub user: String,
    /// The password.
    pub password: Secret,
    /// Subjects to publish to.
    pub publish: Permissions,
    /// Subjects to subscribe to.
    pub subscribe: Permissions,
}

/// Valid filters (`orders.*`, `metrics.>`). What `deny` covers is refused, whatever `allow` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Empty: everything. To allow nothing at all, deny `>`.
    pub allow: Vec<String>,
    /// Exceptions.
    pub deny: Vec<String>,
}

impl Auth {
    /// Whether CONNECT must carry credentials.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.token.is_some() || !self.users.is_empty() || self.agents
    }

    /// Whether `presented` is the token. Never, if none is configured.
    #[must_use]
    pub fn admits_token(&self, presented: &str) -> bool {
        self.token.as_ref().is_some_and(|token| token.matches(presented))
    }

    /// The user of that name and password. Costs the same whether the name, the password, both or
    /// neither are right.
    #[must_use]
    pub fn admits_user(&self, user: &str, password: &str) -> Option<&User> {
        let (user, password) = (Secret::of(user), Secret::of(password));
        // One past the users means nobody.
        let mut found = self.users.len() as u64;
        for (index, known) in self.users.iter().enumerate() {
            let same = Secret::of(&known.user).is(&user) & known.password.is(&password);
            found.conditional_assign(&(index as u64), same);
        }
        self.users.get(usize::try_from(found).ok()?)
    }
}

/// A token or a password, kept as its digest.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    /// The secret that `plain` is.
    #[must_use]
    pub fn of(plain: &str) -> Secret {
        Secret(Sha256::digest(plain.as_bytes()).into())
    }

    /// As the configuration spells it: plain, or `sha256:` and 64 hex digits.
    pub(super) fn parse(text: &str) -> Result<Secret, String> {
        match text.strip_prefix("sha256:") {
            Some(hex) => digest(hex).map(Secret).ok_or_else(Self::accepted),
            None if text.is_empty() => Err(Self::accepted()),
            None => Ok(Secret::of(text)),
        }
    }

    fn accepted() -> String {
        "a text that is not empty, or \"sha256:\" and 64 hex digits".to_owned()
    }

    /// Whether `presented`, in plain, is this secret. Takes the same time whatever the answer.
    #[must_use]
    pub fn matches(&self, presented: &str) -> bool {
        self.is(&Secret::of(presented)).into()
    }

    fn is(&self, other: &Secret) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

/// A digest is not the secret, but it can be guessed at offline, so it stays out of logs too.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(********)")
    }
}

impl Value for Secret {
    const SECRET: bool = true;

    fn parse(raw: &Raw, _: RangeInclusive<u64>) -> Result<Self, String> {
        match raw {
            Raw::Text(text) => Secret::parse(text),
            Raw::Number(_) | Raw::Other(_) => Err(Self::accepted()),
        }
    }

    fn to_toml(&self) -> Option<String> {
        Some("\"********\"".to_owned())
    }
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    if hex.len() != 64 || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, password: &str) -> User {
        User {
            user: name.to_owned(),
            password: Secret::of(password),
            publish: Permissions::default(),
            subscribe: Permissions::default(),
        }
    }

    #[test]
    fn a_user_needs_the_right_name_and_the_right_password() {
        let auth = Auth {
            token: None,
            agents: false,
            users: vec![user("ann", "one"), user("bob", "two")],
        };
        let name = |user, password| auth.admits_user(user, password).map(|user| user.user.as_str());
        assert_eq!(name("ann", "one"), Some("ann"));
        assert_eq!(name("bob", "two"), Some("bob"));
        for (user, password) in [("ann", "two"), ("eve", "one"), ("", ""), ("ann", "one ")] {
            assert_eq!(name(user, password), None, "{user} {password}");
        }
    }

    #[test]
    fn no_token_admits_no_token() {
        assert!(!Auth::default().admits_token(""));
        let auth = Auth { token: Some(Secret::of("s3cret")), ..Auth::default() };
        assert!(auth.admits_token("s3cret"));
        assert!(!auth.admits_token("s3cre"));
        assert!(!auth.admits_token(""));
    }

    #[test]
    fn a_digest_stands_for_the_text_it_was_made_of() {
        // printf %s abc | sha256sum
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let secret = Secret::parse(&format!("sha256:{hex}")).unwrap();
        assert!(secret.matches("abc"));
        assert!(!secret.matches(hex), "the digest itself opens nothing");
        for wrong in [&hex[1..], &format!("{hex}0"), &hex.replace('b', "g"), ""] {
            assert!(Secret::parse(&format!("sha256:{wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_secret_prints_as_stars() {
        assert_eq!(format!("{:?}", Secret::of("abc")), "Secret(********)");
    }
}
