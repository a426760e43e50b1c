//! Who sends: the key pair by which push services know the broker (VAPID, RFC 8292).
//!
//! A browser subscribes for one public key, so the pair is kept: with another one, all have to
//! subscribe again.

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::json;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use super::PushError;
use crate::private_file::{self, Unusable};

/// Name of the file in the data folder.
pub const FILE: &str = "vapid.pem";

/// Much more than a key has.
const FILE_BYTES_MAX: usize = 4_096;
/// Characters of a line of PEM.
const LINE_CHARS: usize = 64;
/// How long a token is good. 12 hours: half of what is allowed, so that no clock is too wrong.
const TOKEN_S: u64 = 12 * 3_600;

/// The key pair of the broker.
pub struct Vapid {
    pair: EcdsaKeyPair,
    /// In base64url.
    public: String,
    random: SystemRandom,
}

impl Vapid {
    /// The pair in `data_dir`, which is made at the first start.
    ///
    /// # Errors
    /// [`PushError`], a sentence for the operator.
    pub fn open(data_dir: &Path) -> Result<Vapid, PushError> {
        let path = data_dir.join(FILE);
        let malformed = || PushError::Malformed { path: path.clone() };
        match private_file::read(&path, FILE_BYTES_MAX) {
            Ok(Some(text)) => {
                let key = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes());
                let key = key.map_err(|_| malformed())?;
                Vapid::of_pkcs8(key.secret_pkcs8_der()).ok_or_else(malformed)
            }
            Ok(None) => Vapid::make(&path),
            Err(Unusable::Exposed(mode)) => Err(PushError::Exposed { path, mode }),
            Err(Unusable::Malformed(_)) => Err(malformed()),
            Err(Unusable::Io(source)) => Err(PushError::Io { path, source }),
        }
    }

    /// The pair of two keys in base64url: 32 and 65 bytes. `None` if they are no pair.
    #[must_use]
    pub fn of_keys(private: &str, public: &str) -> Option<Vapid> {
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok();
        let (private, public) = (decode(private)?, decode(public)?);
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair =
            EcdsaKeyPair::from_private_key_and_public_key(algorithm, &private, &public, &random);
        Some(Vapid::of_pair(pair.ok()?, random))
    }

    /// What browsers subscribe for: a point of P-256 in base64url.
    #[must_use]
    pub fn public(&self) -> &str {
        &self.public
    }

    /// The header `Authorization` for a push service, at `now_s` seconds since 1970. `contact` is
    /// whom the service writes to if something is wrong.
    ///
    /// # Errors
    /// If the system has no randomness to give.
    pub fn authorization(
        &self,
        origin: &str,
        contact: &str,
        now_s: u64,
    ) -> Result<String, ring::error::Unspecified> {
        let header = json!({"typ": "JWT", "alg": "ES256"});
        let claims = json!({"aud": origin, "exp": now_s + TOKEN_S, "sub": contact});
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = self.pair.sign(&self.random, signed.as_bytes())?;
        let signature = URL_SAFE_NO_PAD.encode(signature);
        Ok(format!("vapid t={signed}.{signature}, k={}", self.public))
    }

    fn make(path: &Path) -> Result<Vapid, PushError> {
        let failed = |source| PushError::Io { path: PathBuf::from(path), source };
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
        let key = key.map_err(|_| failed(std::io::Error::other("no randomness for a key")))?;
        let digits = STANDARD.encode(&key);
        let lines: Vec<&str> = digits
            .as_bytes()
            .chunks(LINE_CHARS)
            .map(|line| std::str::from_utf8(line).expect("base64 is ASCII"))
            .collect();
        let lines = lines.join("\n");
        let text = format!("-----BEGIN PRIVATE KEY-----\n{lines}\n-----END PRIVATE KEY-----\n");
        private_file::write(path, &text).map_err(failed)?;
        Ok(Vapid::of_pkcs8(key.as_ref()).expect("a key that was just made"))
    }

    fn of_pkcs8(key: &[u8]) -> Option<Vapid> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key, &random).ok()?;
        Some(Vapid::of_pair(pair, random))
    }

    fn of_pair(pair: EcdsaKeyPair, random: SystemRandom) -> Vapid {
        let public = URL_SAFE_NO_PAD.encode(pair.public_key());
        Vapid { pair, public, random }
    }
}

impl fmt::Debug for Vapid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vapid").field("public", &self.public).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    /// The private key of the application server in RFC 8291, and its public one.
    const PRIVATE: &str = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw";
    const PUBLIC: &str =
        "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8";

    #[test]
    fn the_first_start_makes_the_pair_and_later_ones_keep_it() {
        let folder = tempfile::tempdir().unwrap();
        let first = Vapid::open(folder.path()).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.decode(first.public()).unwrap().len(), 65);
        assert_eq!(Vapid::open(folder.path()).unwrap().public(), first.public());
        let path = folder.path().join(FILE);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = Vapid::open(folder.path()).unwrap_err();
        assert!(error.to_string().contains("mode 640"), "{error}");
        fs::remove_file(&path).unwrap();
        assert_ne!(Vapid::open(folder.path()).unwrap().public(), first.public());
    }

    #[test]
    fn what_is_not_a_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "x", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            private_file::write(&folder.path().join(FILE), text).unwrap();
            let error = Vapid::open(folder.path()).unwrap_err();
            assert!(matches!(error, PushError::Malformed { .. }), "{text}: {error}");
        }
    }

    #[test]
    fn keys_of_the_environment_must_be_a_pair() {
        assert_eq!(Vapid::of_keys(PRIVATE, PUBLIC).unwrap().public(), PUBLIC);
        let other = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
        for (private, public) in [(PRIVATE, other), ("", PUBLIC), (PRIVATE, ""), (PUBLIC, PRIVATE)]
        {
            assert!(Vapid::of_keys(private, public).is_none(), "{private} {public}");
        }
    }

    #[test]
    fn a_push_service_can_verify_who_sends_and_for_whom() {
        let vapid = Vapid::of_keys(PRIVATE, PUBLIC).unwrap();
        let header = vapid.authorization("https://push.example", "mailto:a@b.example", 7).unwrap();
        let token = header.strip_prefix("vapid t=").unwrap();
        let (token, public) = token.split_once(", k=").unwrap();
        assert_eq!(public, PUBLIC);
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let key = URL_SAFE_NO_PAD.decode(public).unwrap();
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key);
        key.verify(signed.as_bytes(), &signature).unwrap();
        let part = |text: &str| -> serde_json::Value {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
        };
        let (header, claims) = signed.split_once('.').unwrap();
        assert_eq!(part(header), json!({"typ": "JWT", "alg": "ES256"}));
        let expected =
            json!({"aud": "https://push.example", "exp": 43_207, "sub": "mailto:a@b.example"});
        assert_eq!(part(claims), expected);
    }
}
