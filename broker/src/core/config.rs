//! What was set for all? The half of [`Core`] that keeps shared settings, and the value behind it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Core;
use super::command::{ConfigCommand, ConfigView, Effect, Name, Rejection, Reply};
use super::limits::{CONFIG_KEYS_MAX, CONFIG_VALUE_BYTES_MAX, MAILBOX_KEEP_MS, MAILBOX_TTL_MS};
use super::record::Record;

/// Every shared setting.
pub(super) type Shared = BTreeMap<Name, (u64, Arc<[u8]>)>;

impl Core {
    /// Whatever is asked about shared settings.
    pub(super) fn config_command(&mut self, command: ConfigCommand) -> Result<Reply, Rejection> {
        match command {
            ConfigCommand::Get { key } => match self.shared.get(&key) {
                Some((version, value)) => {
                    let (version, value) = (*version, value.clone());
                    Ok(Reply::Config(vec![ConfigView { key, value, version }]))
                }
                None => Ok(Reply::Config(Vec::new())),
            },
            ConfigCommand::Set { key, value, version } => self.set_config(key, value, version),
            ConfigCommand::List => {
                let view = |(key, (version, value)): (&Name, &(u64, Arc<[u8]>))| ConfigView {
                    key: key.clone(),
                    value: value.clone(),
                    version: *version,
                };
                Ok(Reply::Config(self.shared.iter().map(view).collect()))
            }
        }
    }

    fn set_config(
        &mut self,
        key: Name,
        value: Arc<[u8]>,
        version: Option<u64>,
    ) -> Result<Reply, Rejection> {
        let found = self.shared.get(&key).map_or(0, |(version, _)| *version);
        if let Some(expected) = version.filter(|expected| *expected != found) {
            return Err(Rejection::OtherConfig { key, expected, found });
        }
        if found == 0 && self.shared.len() >= CONFIG_KEYS_MAX {
            let what = "the number of shared settings";
            return Err(Rejection::LimitReached { what, max: CONFIG_KEYS_MAX as u64 });
        }
        if value.len() > CONFIG_VALUE_BYTES_MAX {
            let what = "the bytes of a shared setting";
            return Err(Rejection::LimitReached { what, max: CONFIG_VALUE_BYTES_MAX as u64 });
        }
        let view = ConfigView { key, value, version: found + 1 };
        self.persist(Record::Config(view.clone()));
        self.learn_config(view.clone());
        self.effects.push_back(Effect::Configured(view.clone()));
        Ok(Reply::Config(vec![view]))
    }

    /// A shared setting, new or out of the store.
    pub(super) fn learn_config(&mut self, view: ConfigView) {
        let ConfigView { key, value, version } = view;
        if key.as_str() == MAILBOX_TTL_MS {
            // The one setting that the core itself goes by, in decimal digits.
            let number = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
            self.mailbox_keep_ms = number.unwrap_or(MAILBOX_KEEP_MS);
        }
        self.shared.insert(key, (version, value));
    }
}

#[cfg(test)]
mod tests {
    use super::super::command::{Command, Effect, Now, Request, RequestId};
    use super::super::limits::CoreConfig;
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    /// What is kept, and what is answered.
    fn ask(core: &mut Core, command: ConfigCommand) -> (Vec<Record>, Result<Reply, Rejection>) {
        let request = Request { id: RequestId(1), command: Command::Config(command) };
        core.handle(request, Vec::new(), Now::default());
        let (mut records, mut answer) = (Vec::new(), None);
        while let Some(effect) = core.poll_effect() {
            match effect {
                Effect::Persist(record) => records.push(record),
                Effect::Reply { outcome, .. } => answer = Some(outcome),
                Effect::Configured(view) => assert_eq!(records, [Record::Config(view)]),
                other => panic!("{other:?}"),
            }
        }
        (records, answer.unwrap())
    }

    fn set(core: &mut Core, key: &str, value: &str, version: Option<u64>) -> Result<u64, String> {
        let value = value.as_bytes().into();
        let (records, answer) = ask(core, ConfigCommand::Set { key: name(key), value, version });
        assert_eq!(records.is_empty(), answer.is_err(), "a refusal changes nothing");
        match answer {
            Ok(Reply::Config(views)) => Ok(views[0].version),
            Err(rejection) => Err(rejection.code().to_owned()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn whoever_was_faster_is_noticed() {
        let mut core = Core::new(CoreConfig::default());
        assert_eq!(set(&mut core, "a", "1", Some(0)), Ok(1));
        assert_eq!(set(&mut core, "a", "2", Some(0)), Err("other_version".into()));
        assert_eq!(set(&mut core, "a", "2", Some(1)), Ok(2));
        assert_eq!(set(&mut core, "a", "3", None), Ok(3));
        assert_eq!(set(&mut core, "b", "1", Some(7)), Err("other_version".into()));
        let (_, answer) = ask(&mut core, ConfigCommand::Get { key: name("a") });
        let value: Arc<[u8]> = b"3".as_slice().into();
        let view = ConfigView { key: name("a"), value, version: 3 };
        assert_eq!(answer, Ok(Reply::Config(vec![view])));
        let (_, answer) = ask(&mut core, ConfigCommand::Get { key: name("b") });
        assert_eq!(answer, Ok(Reply::Config(Vec::new())));
    }

    #[test]
    fn settings_are_bounded_in_number_and_in_size() {
        let mut core = Core::new(CoreConfig::default());
        for number in 0..CONFIG_KEYS_MAX {
            set(&mut core, &format!("k{number}"), "", None).unwrap();
        }
        assert_eq!(set(&mut core, "more", "", None), Err("limit_reached".into()));
        let large = "x".repeat(CONFIG_VALUE_BYTES_MAX);
        assert_eq!(set(&mut core, "k0", &large, None), Ok(2));
        assert_eq!(set(&mut core, "k0", &(large + "x"), None), Err("limit_reached".into()));
    }

    #[test]
    fn the_core_goes_by_the_retention_of_mailboxes() {
        let mut core = Core::new(CoreConfig::default());
        set(&mut core, MAILBOX_TTL_MS, "5", None).unwrap();
        assert_eq!(core.mailbox_keep_ms, 5);
        let (kept, _) = ask(&mut core, ConfigCommand::List);
        assert!(kept.is_empty());
        set(&mut core, MAILBOX_TTL_MS, "soon", None).unwrap();
        assert_eq!(core.mailbox_keep_ms, MAILBOX_KEEP_MS);
    }
}
