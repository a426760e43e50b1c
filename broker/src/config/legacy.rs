//! `[legacy]`: what the doors for clients of the AgentCom v2 hub are to be like.

use std::time::Duration;

use crate::core::command::Name;

use super::setting::{Raw, Value, settings};

/// Upper edge: a year, as for every task.
const YEAR: u64 = 365 * 24 * 60 * 60 * 1000;

settings! {
    config => config.legacy, keys "legacy.";
    /// What the doors for clients of the AgentCom v2 hub are to be like.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Legacy {
        /// Agents whose tokens open what is for the operator, too, joined by commas. The variable
        /// ADMIN_AGENTS of the hub counts where this is not set. None: the operator has a token.
        "admin_agents" admin_agents: Agents = Agents(Vec::new());
        /// Whether every token opens what is for the operator, as in the hub. Off: an agent that is
        /// taken over must not take over the others. For the time of a migration only.
        "any_token_is_admin" any_token_is_admin: bool = false;
        /// How long a task that came over HTTP may wait for an agent before it is a dead letter
        /// (ttl_expired). 10 minutes, as in the hub, but for trivial tasks and those that wait for
        /// others; whoever retries it gives it the same time again. 0: for ever.
        "task_ttl_ms" task_ttl: Duration = Duration::from_millis(600_000), in 0..=YEAR;
    }
}

/// Names of agents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agents(pub Vec<Name>);

impl Value for Agents {
    fn parse(raw: &Raw, _: std::ops::RangeInclusive<u64>) -> Result<Self, String> {
        let accepted = || r#"names of agents joined by commas, such as "alice,bob""#.to_owned();
        let text = raw.text().ok_or_else(accepted)?;
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.map(Name::parse).collect::<Result<_, _>>().map(Agents).map_err(|_| accepted())
    }

    fn to_toml(&self) -> Option<String> {
        let names: Vec<&str> = self.0.iter().map(Name::as_str).collect();
        names.join(",").to_toml()
    }
}
