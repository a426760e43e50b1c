//! The TOML file: walks the document with the places of its keys, so that every complaint can
//! name a line.

use std::collections::BTreeSet;
use std::path::Path;

use agentcom_protocol::Filter;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::auth::{Permissions, Secret, User};
use super::error::{ConfigError, Fault};
use super::nearest::instead;
use super::origin::Origin;
use super::setting::Raw;
use super::{Loading, SECTIONS, find};

/// Read `text`, which stands in the file `path`, into `loading`. Faults of single keys are noted
/// there; only what is not TOML at all ends the reading.
pub(super) fn read(path: &Path, text: &str, loading: &mut Loading) -> Result<(), ConfigError> {
    let file = File { path, text };
    let document = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let message = error.message().replace('\n', "; ");
        ConfigError::Syntax { origin: file.origin(at), message }
    })?;
    for (key, value) in document.get_ref() {
        let name: &str = key.get_ref();
        match value.get_ref() {
            DeValue::Table(table) if SECTIONS.contains(&name) => {
                file.section(name, table, loading);
            }
            _ => file.setting("", key, value, loading),
        }
    }
    Ok(())
}

type Key<'a> = Spanned<std::borrow::Cow<'a, str>>;

struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    fn section(&self, section: &str, table: &DeTable<'_>, loading: &mut Loading) {
        for (key, value) in table {
            if section == "auth" && key.get_ref() == "users" {
                self.users(value, loading);
            } else {
                self.setting(section, key, value, loading);
            }
        }
    }

    fn setting(
        &self,
        section: &str,
        key: &Key<'_>,
        value: &Spanned<DeValue<'_>>,
        loading: &mut Loading,
    ) {
        let origin = self.origin(key.span().start);
        let full = match section {
            "" => key.get_ref().to_string(),
            section => format!("{section}.{}", key.get_ref()),
        };
        match find(&full) {
            Ok(setting) => loading.set(setting, &self.raw(value), origin),
            Err(instead) => loading.faults.push(Fault::Unknown { origin, key: full, instead }),
        }
    }

    fn users(&self, value: &Spanned<DeValue<'_>>, loading: &mut Loading) {
        let mut names = BTreeSet::new();
        let tables = value.get_ref().as_array();
        let Some(tables) = tables.filter(|list| list.iter().all(|user| user.get_ref().is_table()))
        else {
            let accepted = "one [[auth.users]] table for each user";
            return self.refuse("auth.users", value, accepted, loading);
        };
        for table in tables {
            let Some(user) = self.user(table, loading) else { continue };
            if names.insert(user.user.clone()) {
                loading.config.auth.users.push(user);
            } else {
                let found = format!("{:?} for a second time", user.user);
                self.complain("auth.users.user", table, found, "each name once", loading);
            }
        }
    }

    /// One user; `None` if something is wrong, which is noted then.
    fn user(&self, table: &Spanned<DeValue<'_>>, loading: &mut Loading) -> Option<User> {
        const KEYS: [&str; 4] = ["user", "password", "publish", "subscribe"];
        let (mut name, mut password) = (None, None);
        let (mut publish, mut subscribe) = (Permissions::default(), Permissions::default());
        let before = loading.faults.len();
        for (key, value) in table.get_ref().as_table()? {
            let full = format!("auth.users.{}", key.get_ref());
            match key.get_ref().as_ref() {
                "user" => match value.get_ref().as_str() {
                    Some(text) if !text.is_empty() => name = Some(text.to_owned()),
                    _ => self.refuse(&full, value, "a name that is not empty", loading),
                },
                "password" => {
                    match Secret::parse(value.get_ref().as_str().unwrap_or_default()) {
                        Ok(secret) => password = Some(secret),
                        // The value itself is not repeated: it may be half of a secret.
                        Err(accepted) => {
                            self.complain(&full, value, "not usable".into(), &accepted, loading);
                        }
                    }
                }
                "publish" => publish = self.permissions(&full, value, loading),
                "subscribe" => subscribe = self.permissions(&full, value, loading),
                unknown => loading.faults.push(Fault::Unknown {
                    origin: self.origin(key.span().start),
                    instead: instead(unknown, KEYS.into_iter()),
                    key: full,
                }),
            }
        }
        for (key, missing) in [("user", name.is_none()), ("password", password.is_none())] {
            if missing && loading.faults.len() == before {
                let full = format!("auth.users.{key}");
                self.complain(&full, table, "missing".into(), "one for each user", loading);
            }
        }
        Some(User { user: name?, password: password?, publish, subscribe })
    }

    fn permissions(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        loading: &mut Loading,
    ) -> Permissions {
        let mut permissions = Permissions::default();
        let Some(table) = value.get_ref().as_table() else {
            self.refuse(key, value, "{ allow = [..], deny = [..] }", loading);
            return permissions;
        };
        for (list, value) in table {
            let full = format!("{key}.{}", list.get_ref());
            match list.get_ref().as_ref() {
                "allow" => permissions.allow = self.filters(&full, value, loading),
                "deny" => permissions.deny = self.filters(&full, value, loading),
                unknown => loading.faults.push(Fault::Unknown {
                    origin: self.origin(list.span().start),
                    instead: instead(unknown, ["allow", "deny"].into_iter()),
                    key: full,
                }),
            }
        }
        permissions
    }

    fn filters(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        loading: &mut Loading,
    ) -> Vec<String> {
        let accepted = r#"a list of subjects, such as ["orders.*", "metrics.>"]"#;
        let Some(list) = value.get_ref().as_array() else {
            self.refuse(key, value, accepted, loading);
            return Vec::new();
        };
        let mut filters = Vec::new();
        for item in list {
            match item.get_ref().as_str().map(|text| (text, Filter::parse(text.as_bytes()))) {
                Some((text, Ok(_))) => filters.push(text.to_owned()),
                Some((text, Err(error))) => {
                    let found = format!("{text:?}, which {error}");
                    self.complain(key, item, found, accepted, loading);
                }
                None => self.refuse(key, item, accepted, loading),
            }
        }
        filters
    }

    /// Note that `value` is not what `key` accepts.
    fn refuse(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        accepted: &str,
        loading: &mut Loading,
    ) {
        self.complain(key, value, self.raw(value).found(), accepted, loading);
    }

    /// Note a fault of `key` at the line of `at`.
    fn complain(
        &self,
        key: &str,
        at: &Spanned<DeValue<'_>>,
        found: String,
        accepted: &str,
        loading: &mut Loading,
    ) {
        loading.faults.push(Fault::Value {
            origin: self.origin(at.span().start),
            key: key.to_owned(),
            found,
            accepted: accepted.to_owned(),
        });
    }

    fn raw(&self, value: &Spanned<DeValue<'_>>) -> Raw {
        match value.get_ref() {
            DeValue::String(text) => Raw::Text(text.to_string()),
            DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| self.other(value), Raw::Number),
            _ => self.other(value),
        }
    }

    fn other(&self, value: &Spanned<DeValue<'_>>) -> Raw {
        let source = self.text.get(value.span()).unwrap_or_default();
        Raw::Other(source.lines().next().unwrap_or_default().to_owned())
    }

    fn origin(&self, at: usize) -> Origin {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        Origin::File { path: self.path.to_owned(), line }
    }
}
