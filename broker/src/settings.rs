//! Shared settings that the broker itself goes by: what somebody sets counts, whichever door it came
//! through.

use serde_json::Value;
use tracing::warn;

use crate::core::command::{Command, ConfigCommand, Name, Rejection, Reply};
use crate::durable::Durable;
use crate::quota::Accounts;
use crate::translate::setting::{QUOTAS, RATE_DEFAULTS, RATE_OVERRIDES, RATE_WHITELIST};
use crate::translate::{quota, rates};

/// What limits identities.
const LIMITS: [&str; 4] = [QUOTAS, RATE_DEFAULTS, RATE_OVERRIDES, RATE_WHITELIST];

/// What was set; null if nothing was.
///
/// # Errors
/// [`Rejection`] if it cannot be had now.
pub async fn get(durable: &Durable, key: &str) -> Result<Value, Rejection> {
    let key = Name::parse(key).expect("a constant of ours is a name");
    match durable.call(Command::Config(ConfigCommand::Get { key })).await? {
        Reply::Config(views) => {
            let set = views.first().and_then(|view| serde_json::from_slice(&view.value).ok());
            Ok(set.unwrap_or_default())
        }
        other => unreachable!("settings answered {other:?}"),
    }
}

/// Takes over what is set about limits.
#[derive(Debug, Default)]
pub struct LimitSettings {
    /// What made no sense when it was looked at last, and was complained of.
    complained: [Value; LIMITS.len()],
}

impl LimitSettings {
    /// Limit everybody as it is set now. What makes no sense leaves what counted before.
    ///
    /// # Errors
    /// [`Rejection`] if the settings cannot be had now.
    pub async fn take_over(
        &mut self,
        durable: &Durable,
        accounts: &Accounts,
    ) -> Result<(), Rejection> {
        // What was read first must not be taken over last.
        let _changing = accounts.changing().await;
        for (key, complained) in LIMITS.into_iter().zip(&mut self.complained) {
            let set = get(durable, key).await?;
            match take_over(key, &set, accounts) {
                Err(sentence) if set != *complained => {
                    warn!(setting = key, %sentence, "a shared setting makes no sense; what it said before counts");
                    *complained = set;
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}

fn take_over(key: &str, set: &Value, accounts: &Accounts) -> Result<(), String> {
    match key {
        QUOTAS => {
            let own = quota::own(set, accounts.defaults());
            let own = own.map_err(|errors| {
                let (field, sentence) = &errors[0];
                format!("{field} {sentence}")
            })?;
            accounts.set_own(own);
        }
        RATE_DEFAULTS => accounts.set_rates(rates::defaults(set)?),
        RATE_OVERRIDES => accounts.set_overrides(rates::overrides(set)?),
        _ => accounts.set_exempt(rates::whitelist(set)?),
    }
    Ok(())
}
