//! The shared settings that the broker itself goes by: what they are called, and whether a value
//! makes sense. All others are for agents, and hold whatever those put there.

use serde_json::Value;

use super::{Invalid, quota, rates};
use crate::core::command::Name;
use crate::core::limits::MAILBOX_TTL_MS;
use crate::quota::Quota;

/// Thresholds of alerts. Whatever makes no sense there counts as not set, as in the hub.
pub const ALERT_THRESHOLDS: &str = "alert_thresholds";
/// Quotas of single identities over TCP.
pub const QUOTAS: &str = "quotas";
/// How often everybody may ask the doors of the legacy hub.
pub const RATE_DEFAULTS: &str = "rate_limit_defaults";
/// How often some may.
pub const RATE_OVERRIDES: &str = "rate_limit_overrides";
/// Who may as often as it likes.
pub const RATE_WHITELIST: &str = "rate_limit_whitelist";

/// Whether `value` may stand under `key`.
///
/// # Errors
/// [`Invalid`], if the broker goes by that setting and could not understand it.
pub(super) fn check(key: &Name, value: &[u8]) -> Result<(), Invalid> {
    let check: fn(&Value) -> Result<(), String> = match key.as_str() {
        QUOTAS => |value| {
            let sentence = |errors: Vec<(String, String)>| {
                errors.first().map(|(field, what)| format!("{field}: {what}")).unwrap_or_default()
            };
            quota::own(value, Quota::default()).map(drop).map_err(sentence)
        },
        RATE_DEFAULTS => |value| rates::defaults(value).map(drop),
        RATE_OVERRIDES => |value| rates::overrides(value).map(drop),
        RATE_WHITELIST => |value| rates::whitelist(value).map(drop),
        MAILBOX_TTL_MS => |value| {
            let is_one = value.as_u64().is_some_and(|ms| ms > 0);
            is_one.then_some(()).ok_or_else(|| "it must be a positive integer".to_owned())
        },
        _ => return Ok(()),
    };
    let parsed = serde_json::from_slice(value).map_err(|_| "it must be JSON".to_owned());
    let checked = parsed.and_then(|value| check(&value));
    checked.map_err(|sentence| Invalid::Setting { key: key.clone(), sentence })
}
