//! `CONNECT`: what a client wants and who it is.

use serde::{Deserialize, Deserializer, Serialize};

/// The JSON of `CONNECT`. Unknown fields are ignored, whatever their type, and a null is an absent
/// field; the defaults are those of NATS, which has `verbose` and `pedantic` on for a person who types.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Connect {
    /// Answer `+OK` to each operation.
    #[serde(deserialize_with = "or_true")]
    pub verbose: bool,
    /// Report publish subjects that no one should use.
    #[serde(deserialize_with = "or_true")]
    pub pedantic: bool,
    /// Own messages come back to own subscriptions.
    #[serde(deserialize_with = "or_true")]
    pub echo: bool,
    /// 1: INFO may come at any time.
    #[serde(deserialize_with = "or_default")]
    pub protocol: i64,
    /// Headers are understood.
    #[serde(deserialize_with = "or_default")]
    pub headers: bool,
    /// Answer a request that nobody takes with status 503; needs `headers`.
    #[serde(deserialize_with = "or_default")]
    pub no_responders: bool,
    /// Credentials: user name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Credentials: password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pass: Option<String>,
    /// Credentials: token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_token: Option<String>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The client's language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lang: Option<String>,
    /// The client's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Historical; any value is an authorization violation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<serde_json::Value>,
    /// The binary framing asked for, one of those in INFO.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame: Option<String>,
}

impl Default for Connect {
    fn default() -> Connect {
        Connect {
            verbose: true,
            pedantic: true,
            echo: true,
            protocol: 0,
            headers: false,
            no_responders: false,
            user: None,
            pass: None,
            auth_token: None,
            name: None,
            lang: None,
            version: None,
            account: None,
            frame: None,
        }
    }
}

fn or_true<'de, D: Deserializer<'de>>(json: D) -> Result<bool, D::Error> {
    Ok(Option::deserialize(json)?.unwrap_or(true))
}

fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    json: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(json)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: Option<Connect>) {
        assert_eq!(serde_json::from_str(json).ok(), expected, "{json}");
    }

    #[test]
    fn absent_fields_and_nulls_mean_the_defaults() {
        check("{}", Some(Connect::default()));
        check(
            r#"{"verbose":null,"pedantic":null,"echo":null,"protocol":null,"headers":null,
                "no_responders":null,"user":null,"pass":null,"auth_token":null,"name":null,
                "lang":null,"version":null,"account":null,"frame":null}"#,
            Some(Connect::default()),
        );
    }

    #[test]
    fn unknown_fields_are_ignored_whatever_their_type() {
        let quiet = Connect { verbose: false, ..Connect::default() };
        check(r#"{"verbose":false,"x":{"y":[1,null]},"nkey":"","tls_required":1}"#, Some(quiet));
    }

    #[test]
    fn a_field_of_the_wrong_type_is_no_connect() {
        for json in ["", "{", r#"{"verbose":"no"}"#, r#"{"protocol":"1"}"#, r#"{"user":1}"#] {
            check(json, None);
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let connect = Connect {
            protocol: 1,
            headers: true,
            user: Some("a".to_owned()),
            account: Some(serde_json::json!({"b": 1})),
            ..Connect::default()
        };
        check(&serde_json::to_string(&connect).expect("JSON"), Some(connect));
    }
}
