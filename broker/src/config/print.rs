//! `--print-config`: every setting, its reason, its value and where that came from, as a TOML file
//! that can be used again once the secrets are put back.

use std::fmt::Write;

use super::auth::{Permissions, User};
use super::origin::Origin;
use super::setting::{Setting, Value};
use super::{Loaded, all};

const HEADER: &str = "\
# AgentCom: every setting, its value, and where the value came from.
# Also settable: by flag (--set limits.payload_bytes_max=65536) and by environment
# (AGENTCOM_LIMITS_PAYLOAD_BYTES_MAX=65536). Flags win over the environment, the environment
# over the file, the file over the defaults. Times are in milliseconds.
";

const NO_USERS: &str = "
# [[auth.users]]
# user = \"ann\"
# password = \"sha256:...\"
# publish = { allow = [\"orders.>\"], deny = [] }       # an empty `allow` allows everything
# subscribe = { allow = [\"_INBOX.>\"], deny = [] }
";

impl Loaded {
    /// The configuration as a commented TOML file. Secrets are stars.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text = HEADER.to_owned();
        let mut section = "";
        for setting in all() {
            if setting.section_and_name().0 != section {
                section = setting.section_and_name().0;
                text.push_str(&format!("\n[{section}]\n"));
            }
            self.setting(setting, &mut text);
        }
        if self.config.auth.users.is_empty() {
            text.push_str(NO_USERS);
        }
        for user in &self.config.auth.users {
            text.push_str(&user_to_toml(user));
        }
        text
    }

    fn setting(&self, setting: &Setting, text: &mut String) {
        text.push('\n');
        for line in setting.about {
            text.push_str(&format!("#{line}\n"));
        }
        let name = setting.section_and_name().1;
        let origin = self.origins.get(setting.key).unwrap_or(&Origin::Default);
        match (setting.read)(&self.config) {
            Some(value) => text.push_str(&format!("{name} = {value}  # {origin}\n")),
            None => text.push_str(&format!("# {name} =  # not set\n")),
        }
    }
}

fn user_to_toml(user: &User) -> String {
    let mut text = String::from("\n[[auth.users]]\n");
    for (key, value) in [("user", user.user.to_toml()), ("password", user.password.to_toml())] {
        let _ = writeln!(text, "{key} = {}", value.unwrap_or_default());
    }
    for (key, Permissions { allow, deny }) in
        [("publish", &user.publish), ("subscribe", &user.subscribe)]
    {
        let _ = writeln!(text, "{key} = {{ allow = {}, deny = {} }}", list(allow), list(deny));
    }
    text
}

fn list(filters: &[String]) -> String {
    let items: Vec<String> = filters.iter().filter_map(Value::to_toml).collect();
    format!("[{}]", items.join(", "))
}
