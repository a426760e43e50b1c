//! Who may come in, and what they may do once they are in.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::config;
use crate::core::command::Name;
use crate::keyring::Keyring;
use crate::operator::Operator;
use crate::quota;
use crate::routing::{Entry, Permissions, Rules};
use crate::translate::message::OPERATOR;
use agentcom_protocol::Connect;

/// The configured credentials, with permissions in the form that routing uses.
#[derive(Clone, Debug, Default)]
pub struct Auth {
    credentials: config::Auth,
    /// Opens this door too, once it is locked.
    operator: Option<Operator>,
    /// By user; who is not here may do everything.
    permissions: HashMap<String, Arc<Permissions>>,
    /// Whose the tokens of agents are.
    keyring: Arc<Keyring>,
    /// What agents may do, whom their tokens say.
    of_agents: Arc<Permissions>,
}

/// What the token of an agent does not open, as over HTTP: settings that all share are for the
/// operator to change, and copies and tables to look after.
const FOR_ADMINS: [&str; 3] = ["$AC.API.CONFIG.SET", "$AC.API.BACKUP.*", "$AC.API.STORE.*"];

/// Who nobody in particular is.
pub(super) const ANONYMOUS: &str = "anonymous";

/// Somebody who came in.
#[derive(Clone, Debug)]
pub struct Login {
    /// Guards the names of agents against strangers.
    pub identity: Arc<str>,
    /// `None`: everything is permitted.
    pub permissions: Option<Arc<Permissions>>,
    /// The agent whose token was shown: it speaks for no other.
    pub agent: Option<Name>,
}

impl Login {
    /// Somebody who needs no credentials.
    #[must_use]
    pub fn anonymous() -> Login {
        Login { identity: ANONYMOUS.into(), permissions: None, agent: None }
    }
}

impl Auth {
    /// Only the holders of these credentials may come in; if there are none, everybody may.
    #[must_use]
    pub fn new(credentials: config::Auth, operator: Operator, keyring: Arc<Keyring>) -> Auth {
        let restricted = credentials.users.iter().map(|user| {
            let permissions =
                Permissions { publish: rules(&user.publish), subscribe: rules(&user.subscribe) };
            (user.user.clone(), Arc::new(permissions))
        });
        let permissions = restricted.filter(|(_, permissions)| !permissions.is_unlimited());
        let permissions = permissions.collect();
        let of_agents = Arc::new(Permissions {
            publish: rules(&config::Permissions {
                allow: Vec::new(),
                deny: FOR_ADMINS.map(str::to_owned).to_vec(),
            }),
            subscribe: rules(&config::Permissions::default()),
        });
        Auth { permissions, credentials, operator: Some(operator), keyring, of_agents }
    }

    /// Whether credentials are needed.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.credentials.is_required()
    }

    /// Let a client in, or not.
    #[must_use]
    pub fn check(&self, connect: &Connect) -> Option<Login> {
        if connect.account.as_ref().is_some_and(|account| !account.is_null()) {
            return None;
        }
        if !self.is_required() {
            // Nobody has to say who they are; whoever does is taken at their word.
            let token = connect.auth_token.as_deref();
            let known =
                token.and_then(|token| self.operator_with(token).or(self.agent_with(token)));
            return Some(known.unwrap_or_else(Login::anonymous));
        }
        if let Some(user) = &connect.user {
            let password = connect.pass.as_deref().unwrap_or_default();
            let user = &self.credentials.admits_user(user, password)?.user;
            return Some(Login {
                identity: format!("user:{user}").into(),
                permissions: self.permissions.get(user).cloned(),
                agent: None,
            });
        }
        let token = connect.auth_token.as_deref()?;
        let operator = self.operator_with(token);
        let is_holder = self.credentials.admits_token(token);
        let holder = || Login { identity: "token".into(), permissions: None, agent: None };
        let agent = || self.agent_with(token).filter(|_| self.credentials.agents);
        operator.or(is_holder.then(holder)).or_else(agent)
    }

    fn operator_with(&self, token: &str) -> Option<Login> {
        let is_operator = self.operator.as_ref().is_some_and(|operator| operator.admits(token));
        is_operator.then(|| Login { identity: OPERATOR.into(), permissions: None, agent: None })
    }

    fn agent_with(&self, token: &str) -> Option<Login> {
        let agent = self.keyring.agent(token)?;
        let identity = quota::agent(agent.as_str()).into();
        let permissions = Some(Arc::clone(&self.of_agents));
        Some(Login { identity, permissions, agent: Some(agent) })
    }
}

fn rules(configured: &config::Permissions) -> Rules {
    let entries = |list: &[String]| {
        list.iter()
            .map(|text| Entry::parse(text).expect("the configuration holds checked filters"))
            .collect()
    };
    Rules { allow: entries(&configured.allow), deny: entries(&configured.deny) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Secret, User};

    fn connect(json: &str) -> Connect {
        serde_json::from_str(json).expect("a CONNECT")
    }

    #[test]
    fn credentials_of_one_kind_do_not_open_by_the_other() {
        let user = User {
            user: "alice".to_owned(),
            password: Secret::of("a"),
            publish: config::Permissions::default(),
            subscribe: config::Permissions::default(),
        };
        let folder = tempfile::tempdir().expect("a folder");
        let (operator, token) = Operator::open(folder.path()).expect("a token");
        let token = token.expect("it is new");
        let credentials =
            config::Auth { token: Some(Secret::of("t")), agents: false, users: vec![user] };
        let auth = Auth::new(credentials, operator, Arc::default());
        let identity = |json: &str| auth.check(&connect(json)).map(|login| login.identity);
        assert_eq!(identity(r#"{"user":"alice","pass":"a"}"#).as_deref(), Some("user:alice"));
        assert_eq!(identity(r#"{"auth_token":"t"}"#).as_deref(), Some("token"));
        let operators = format!(r#"{{"auth_token":"{token}"}}"#);
        assert_eq!(identity(&operators).as_deref(), Some("operator"));
        for refused in [
            "{}",
            r#"{"user":"alice"}"#,
            r#"{"user":"alice","pass":"t"}"#,
            r#"{"user":"carol","pass":"a"}"#,
            r#"{"auth_token":"a"}"#,
            r#"{"auth_token":""}"#,
            r#"{"user":"alice","pass":"a","account":"x"}"#,
        ] {
            assert!(identity(refused).is_none(), "{refused}");
        }
    }

    #[test]
    fn the_token_of_an_agent_names_it_and_opens_what_it_was_allowed_to() {
        let folder = tempfile::tempdir().expect("a folder");
        let (operator, _) = Operator::open(folder.path()).expect("a token");
        let keyring = Arc::new(Keyring::default());
        let (digest, alice) = (crate::token::digest("a1").unwrap(), Name::parse("alice").unwrap());
        keyring.insert(digest, alice);
        let who = |credentials: config::Auth, token: &str| {
            let auth = Auth::new(credentials, operator.clone(), Arc::clone(&keyring));
            let login = auth.check(&connect(&format!(r#"{{"auth_token":"{token}"}}"#)))?;
            Some((login.identity.to_string(), login.agent.map(|agent| agent.to_string())))
        };
        let alice = Some(("agent:alice".to_owned(), Some("alice".to_owned())));
        let token = || config::Auth { token: Some(Secret::of("t")), ..config::Auth::default() };
        assert_eq!(who(config::Auth::default(), "a1"), alice);
        assert_eq!(who(config::Auth::default(), "a2"), Some(("anonymous".to_owned(), None)));
        assert_eq!(who(token(), "a1"), None, "whoever can register could come in");
        assert_eq!(who(config::Auth { agents: true, ..token() }, "a1"), alice);
        assert_eq!(who(config::Auth { agents: true, ..config::Auth::default() }, "a2"), None);
        keyring.remove(&digest);
        assert_eq!(who(config::Auth { agents: true, ..token() }, "a1"), None);
    }
}
