//! Who is here, and where can it be reached? Nothing of it outlives the process.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;

use super::command::{Join, Name, PresenceView, SessionId};

/// Every agent that said that it is here.
#[derive(Debug, Default)]
pub(super) struct Presence {
    members: BTreeMap<Name, Member>,
    by_session: HashMap<SessionId, Name>,
}

#[derive(Debug)]
struct Member {
    session: SessionId,
    view: PresenceView,
}

impl Presence {
    /// Where an agent can be reached, if it is here.
    pub(super) fn session(&self, agent: &Name) -> Option<SessionId> {
        self.members.get(agent).map(|member| member.session)
    }

    /// Which agent a session is.
    pub(super) fn agent(&self, session: SessionId) -> Option<&Name> {
        self.by_session.get(&session)
    }

    /// Everybody, by name, and where they can be reached.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&PresenceView, SessionId)> {
        self.members.values().map(|member| (&member.view, member.session))
    }

    /// Somebody came. Gives the session that it had until now, if that is another one.
    pub(super) fn join(&mut self, join: Join, wall_ms: u64) -> Option<SessionId> {
        let Join { session, agent, profile } = join;
        let view =
            PresenceView { agent: agent.clone(), profile, connected_ms: wall_ms, seen_ms: wall_ms };
        self.by_session.insert(session, agent.clone());
        let before = self.members.insert(agent, Member { session, view })?.session;
        if before == session {
            return None;
        }
        self.by_session.remove(&before);
        Some(before)
    }

    /// A session is over; gives the agent that is gone with it.
    pub(super) fn part(&mut self, session: SessionId) -> Option<Name> {
        let agent = self.by_session.remove(&session)?;
        self.members.remove(&agent);
        Some(agent)
    }

    /// Somebody was heard of.
    pub(super) fn see(&mut self, agent: &Name, wall_ms: u64) {
        if let Some(member) = self.members.get_mut(agent) {
            member.view.seen_ms = wall_ms;
        }
    }

    /// Somebody does something else; gives how it is seen now, if it is here.
    pub(super) fn set_status(&mut self, agent: &Name, status: Arc<str>) -> Option<PresenceView> {
        let member = self.members.get_mut(agent)?;
        member.view.profile.status = Some(status);
        Some(member.view.clone())
    }
}
