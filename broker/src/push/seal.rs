//! Sealing a message so that only one browser can read it: RFC 8291, with `aes128gcm` of RFC 8188.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::error::Unspecified;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{aead, hkdf};

/// A point of the curve P-256, not compressed.
const POINT_BYTES: usize = 65;
const AUTH_BYTES: usize = 16;
const SALT_BYTES: usize = 16;
/// Every push service takes a body of 4,096 bytes (RFC 8030), and one record is all of it.
const RECORD_BYTES: u32 = 4_096;
/// The padding behind the text: the mark of the last record, and nothing else.
const LAST_RECORD: u8 = 2;

/// Longest message, in bytes: what a record has room for beside its header, mark and tag.
pub const MESSAGE_BYTES_MAX: usize =
    RECORD_BYTES as usize - SALT_BYTES - 4 - 1 - POINT_BYTES - 1 - 16;

/// The keys of a browser: whom a message is sealed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    public: [u8; POINT_BYTES],
    auth: [u8; AUTH_BYTES],
}

/// Which key of a subscription cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// `p256dh`
    #[error("must be a point of the curve P-256: 65 bytes in base64url")]
    Public,
    /// `auth`
    #[error("must be 16 bytes in base64url")]
    Auth,
}

impl Recipient {
    /// The recipient with these keys, as a browser writes them.
    ///
    /// # Errors
    /// [`KeyError`]; nothing could ever be sealed for it.
    pub fn parse(p256dh: &str, auth: &str) -> Result<Recipient, KeyError> {
        let public = decode(p256dh).ok_or(KeyError::Public)?;
        let recipient = Recipient { public, auth: decode(auth).ok_or(KeyError::Auth)? };
        // A point that is not on the curve is noticed only when it is used.
        recipient.seal(b"").map_err(|Unspecified| KeyError::Public)?;
        Ok(recipient)
    }

    /// The keys as a browser writes them: `p256dh` and `auth`.
    #[must_use]
    pub fn keys(&self) -> (String, String) {
        (URL_SAFE_NO_PAD.encode(self.public), URL_SAFE_NO_PAD.encode(self.auth))
    }

    /// The body of a request that says `message`, which has at most [`MESSAGE_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// If the system has no randomness to give.
    pub fn seal(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let random = SystemRandom::new();
        let mut salt = [0; SALT_BYTES];
        random.fill(&mut salt)?;
        let private = EphemeralPrivateKey::generate(&ECDH_P256, &random)?;
        let sender = private.compute_public_key()?;
        let theirs = UnparsedPublicKey::new(&ECDH_P256, &self.public);
        agree_ephemeral(private, &theirs, |secret| {
            self.seal_with(secret, sender.as_ref(), salt, message)
        })?
    }

    /// [`Recipient::seal`] with the secret that `sender` and the recipient have in common.
    fn seal_with(
        &self,
        secret: &[u8],
        sender: &[u8],
        salt: [u8; SALT_BYTES],
        message: &[u8],
    ) -> Result<Vec<u8>, Unspecified> {
        let of_both = hkdf::Salt::new(hkdf::HKDF_SHA256, &self.auth).extract(secret);
        let mut input: [u8; 32] = [0; 32];
        expand(&of_both, &[b"WebPush: info\0", &self.public, sender], &mut input)?;
        let of_message = hkdf::Salt::new(hkdf::HKDF_SHA256, &salt).extract(&input);
        let (mut key, mut nonce) = ([0; 16], [0; aead::NONCE_LEN]);
        expand(&of_message, &[b"Content-Encoding: aes128gcm\0"], &mut key)?;
        expand(&of_message, &[b"Content-Encoding: nonce\0"], &mut nonce)?;

        let mut text = Vec::with_capacity(message.len() + 1 + aead::AES_128_GCM.tag_len());
        text.extend_from_slice(message);
        text.push(LAST_RECORD);
        let key = aead::LessSafeKey::new(aead::UnboundKey::new(&aead::AES_128_GCM, &key)?);
        let nonce = aead::Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(nonce, aead::Aad::empty(), &mut text)?;

        let mut body = Vec::with_capacity(SALT_BYTES + 5 + POINT_BYTES + text.len());
        body.extend_from_slice(&salt);
        body.extend_from_slice(&RECORD_BYTES.to_be_bytes());
        body.push(POINT_BYTES as u8);
        body.extend_from_slice(sender);
        body.extend_from_slice(&text);
        Ok(body)
    }
}

/// As many bytes as `into` has.
fn expand(from: &hkdf::Prk, info: &[&[u8]], into: &mut [u8]) -> Result<(), Unspecified> {
    struct Length(usize);
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    from.expand(info, Length(into.len()))?.fill(into)
}

/// Bytes from base64url. Browsers leave the padding away; who puts it is understood.
fn decode<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 8291: the recipient of its section 5 and the values of its appendix A.
    const PUBLIC: &str =
        "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
    const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";

    fn bytes(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    #[test]
    fn the_example_of_the_rfc_is_sealed_as_there() {
        let recipient = Recipient::parse(PUBLIC, AUTH).unwrap();
        let sender = bytes(
            "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8",
        );
        let secret = bytes("kyrL1jIIOHEzg3sM2ZWRHDRB62YACZhhSlknJ672kSs");
        let salt = decode("DGv6ra1nlYgDCS1FRnbzlw").unwrap();
        let message = b"When I grow up, I want to be a watermelon";
        let body = recipient.seal_with(&secret, &sender, salt, message).unwrap();
        let expected = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27ml\
            mlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPT\
            pK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";
        assert_eq!(URL_SAFE_NO_PAD.encode(body), expected);
    }

    #[test]
    fn the_longest_message_fills_the_body_that_push_services_take() {
        let recipient = Recipient::parse(PUBLIC, AUTH).unwrap();
        assert_eq!(recipient.seal(&[b'x'; MESSAGE_BYTES_MAX]).unwrap().len(), 4_096);
    }

    #[test]
    fn no_message_is_sealed_twice_alike() {
        let recipient = Recipient::parse(PUBLIC, AUTH).unwrap();
        assert_ne!(recipient.seal(b"x").unwrap(), recipient.seal(b"x").unwrap());
    }

    #[test]
    fn keys_are_read_as_browsers_write_them_and_nothing_else_is() {
        let recipient = Recipient::parse(&format!("{PUBLIC}="), &format!("{AUTH}==")).unwrap();
        assert_eq!(recipient.keys(), (PUBLIC.to_owned(), AUTH.to_owned()));
        let off_curve = URL_SAFE_NO_PAD.encode([&[4_u8][..], &[1; 64]].concat());
        for public in ["", "x", &PUBLIC[1..], &PUBLIC.replace('_', "/"), &off_curve] {
            assert_eq!(Recipient::parse(public, AUTH), Err(KeyError::Public), "{public}");
        }
        for auth in ["", "é", &AUTH[2..]] {
            assert_eq!(Recipient::parse(PUBLIC, auth), Err(KeyError::Auth), "{auth}");
        }
    }
}
