//! Agents are let in. The half of [`Core`] that issues tokens, takes them back, and says whose a
//! token is.

use super::Core;
use super::command::{
    Effect, Issue, IssueToken, Name, Now, Rejection, Reply, TokenDigest, TokenView,
};
use super::limits::{AGENT_TOKENS_MAX, TOKENS_MAX};
use super::record::{Record, TokenRow};

impl Core {
    /// Keep a new token.
    pub(super) fn issue_token(&mut self, token: IssueToken, now: Now) -> Result<Reply, Rejection> {
        let IssueToken { agent, digest, prefix, issue } = token;
        let known = self.tokens.of(&agent).len();
        match issue {
            Issue::First if known > 0 => return Err(Rejection::AgentExists { agent }),
            Issue::InPlaceOfAll if known == 0 => return Err(Rejection::NoAgent { agent }),
            Issue::Another if known >= AGENT_TOKENS_MAX => {
                let what = "the number of tokens of an agent";
                return Err(Rejection::LimitReached { what, max: AGENT_TOKENS_MAX as u64 });
            }
            _ => {}
        }
        if self.tokens.find(&digest).is_some() {
            return Err(Rejection::TokenInUse);
        }
        if issue != Issue::InPlaceOfAll && self.tokens.len() >= TOKENS_MAX {
            let what = "the number of tokens";
            return Err(Rejection::LimitReached { what, max: TOKENS_MAX as u64 });
        }
        if issue == Issue::InPlaceOfAll {
            self.drop_tokens(&agent);
        }
        let issued_ms = now.wall_ms;
        let row = TokenRow { digest, agent: agent.clone(), prefix: prefix.clone(), issued_ms };
        self.persist(Record::Token(Box::new(row.clone())));
        self.effects.push_back(Effect::TokenIssued { digest, agent: agent.clone() });
        self.tokens.insert(row);
        Ok(Reply::Token(TokenView { agent, prefix, issued_ms }))
    }

    /// Take all tokens of an agent away, if it has any. Who came in with one stays in.
    pub(super) fn revoke_tokens(&mut self, agent: Name) -> Reply {
        let tokens = self.drop_tokens(&agent);
        Reply::Revoked { agent, tokens }
    }

    /// Whose token it is.
    pub(super) fn identify(&self, digest: &TokenDigest) -> Result<Reply, Rejection> {
        let row = self.tokens.find(digest).ok_or(Rejection::NoToken)?;
        Ok(Reply::Identified { agent: row.agent.clone() })
    }

    /// All tokens, agent by agent, oldest first.
    pub(super) fn list_tokens(&self) -> Reply {
        let view = |row: &TokenRow| TokenView {
            agent: row.agent.clone(),
            prefix: row.prefix.clone(),
            issued_ms: row.issued_ms,
        };
        let mut rows: Vec<&TokenRow> = self.tokens.iter().collect();
        rows.sort_by_key(|row| (&row.agent, row.issued_ms, row.digest));
        Reply::Tokens(rows.into_iter().map(view).collect())
    }

    fn drop_tokens(&mut self, agent: &Name) -> usize {
        let digests = self.tokens.remove_of(agent);
        for digest in &digests {
            self.persist(Record::TokenRevoked { digest: *digest });
            self.effects.push_back(Effect::TokenRevoked { digest: *digest });
        }
        digests.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::command::{Command, Request, RequestId, Tick};
    use super::super::limits::CoreConfig;
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    /// What is kept, and what is answered.
    fn ask(core: &mut Core, command: Command) -> (Vec<Record>, Result<Reply, Rejection>) {
        let now = Now { tick: Tick(0), wall_ms: 7 };
        core.handle(Request { id: RequestId(1), command }, Vec::new(), now);
        let (mut records, mut answer) = (Vec::new(), None);
        while let Some(effect) = core.poll_effect() {
            match effect {
                Effect::Persist(record) => {
                    assert!(answer.is_none(), "what is kept is kept before the answer");
                    records.push(record);
                }
                Effect::Reply { outcome, .. } => answer = Some(outcome),
                Effect::TokenIssued { .. } | Effect::TokenRevoked { .. } => {
                    assert!(answer.is_none(), "the doors know before the answer");
                }
                other => panic!("{other:?}"),
            }
        }
        (records, answer.expect("an answer"))
    }

    fn issue(core: &mut Core, agent: &str, byte: u8, issue: Issue) -> Result<usize, Rejection> {
        let (agent, digest) = (name(agent), TokenDigest([byte; 32]));
        let token = IssueToken { agent, digest, prefix: "2feecf6e".into(), issue };
        let (records, answer) = ask(core, Command::IssueToken(Box::new(token)));
        assert_eq!(answer.is_err(), records.is_empty(), "a refusal changes nothing");
        answer.map(|_| records.len())
    }

    fn whose(core: &mut Core, byte: u8) -> Option<String> {
        let digest = TokenDigest([byte; 32]);
        match ask(core, Command::Identify { digest }) {
            (records, Ok(Reply::Identified { agent })) if records.is_empty() => {
                Some(agent.to_string())
            }
            (records, Err(Rejection::NoToken)) if records.is_empty() => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_agent_may_have_several_tokens_and_loses_all_at_once() {
        let mut core = Core::new(CoreConfig::default());
        issue(&mut core, "alice", 1, Issue::First).unwrap();
        issue(&mut core, "alice", 2, Issue::Another).unwrap();
        issue(&mut core, "bob", 3, Issue::Another).unwrap();
        let owners = [1, 2, 3, 4].map(|byte| whose(&mut core, byte));
        assert_eq!(owners.map(|owner| owner.unwrap_or_default()), ["alice", "alice", "bob", ""]);
        let (records, answer) = ask(&mut core, Command::RevokeTokens { agent: name("alice") });
        assert_eq!(answer, Ok(Reply::Revoked { agent: name("alice"), tokens: 2 }));
        assert_eq!(records.len(), 2);
        assert_eq!([1, 2, 3].map(|byte| whose(&mut core, byte).is_some()), [false, false, true]);
        // Whom nobody knows has nothing to lose.
        let (records, answer) = ask(&mut core, Command::RevokeTokens { agent: name("alice") });
        assert_eq!((records.len(), answer.is_ok()), (0, true));
    }

    #[test]
    fn a_first_token_is_the_first_and_one_in_place_of_all_is_the_only_one() {
        let mut core = Core::new(CoreConfig::default());
        let agent = name("alice");
        let unknown = issue(&mut core, "alice", 1, Issue::InPlaceOfAll);
        assert_eq!(unknown, Err(Rejection::NoAgent { agent: agent.clone() }));
        issue(&mut core, "alice", 1, Issue::First).unwrap();
        let again = issue(&mut core, "alice", 2, Issue::First);
        assert_eq!(again, Err(Rejection::AgentExists { agent }));
        issue(&mut core, "alice", 2, Issue::Another).unwrap();
        assert_eq!(issue(&mut core, "alice", 3, Issue::InPlaceOfAll), Ok(3), "two go, one comes");
        assert_eq!([1, 2, 3].map(|byte| whose(&mut core, byte).is_some()), [false, false, true]);
        assert_eq!(issue(&mut core, "bob", 3, Issue::Another), Err(Rejection::TokenInUse));
    }

    #[test]
    fn tokens_are_bounded_for_each_agent() {
        let mut core = Core::new(CoreConfig::default());
        for byte in 0..AGENT_TOKENS_MAX {
            issue(&mut core, "alice", byte as u8, Issue::Another).unwrap();
        }
        let refused = issue(&mut core, "alice", 200, Issue::Another).unwrap_err();
        assert_eq!(refused.code(), "limit_reached");
        issue(&mut core, "alice", 200, Issue::InPlaceOfAll).unwrap();
    }

    #[test]
    fn a_restart_knows_what_was_kept() {
        let mut core = Core::new(CoreConfig::default());
        let mut kept = Vec::new();
        for (byte, agent) in [(1, "alice"), (2, "bob")] {
            let (agent, digest) = (name(agent), TokenDigest([byte; 32]));
            let token = IssueToken { agent, digest, prefix: "p".into(), issue: Issue::First };
            kept.extend(ask(&mut core, Command::IssueToken(Box::new(token))).0);
        }
        let load = |each: &mut dyn FnMut(Record)| {
            kept.drain(..).for_each(each);
            Ok::<(), ()>(())
        };
        let now = Now { tick: Tick(0), wall_ms: 9 };
        let mut core = Core::restore(CoreConfig::default(), now, load).unwrap();
        let owners = [1, 2, 3].map(|byte| whose(&mut core, byte));
        assert_eq!(owners.map(|owner| owner.unwrap_or_default()), ["alice", "bob", ""]);
    }
}
