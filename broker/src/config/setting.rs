//! One key of the configuration: its name, its documentation, and how a value gets in and out.
//!
//! The [`settings!`] macro defines a section: the struct that the broker reads, its defaults, and
//! the table that the file, the environment, the command line and `--print-config` all go by. So
//! a key is written down once, and its doc comment is the one that operators read.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::Config;

/// One key, with everything that can be done with it.
pub(super) struct Setting {
    /// The full name: `limits.payload_bytes_max`.
    pub(super) key: &'static str,
    /// The doc comment, line by line.
    pub(super) about: &'static [&'static str],
    /// Put a value in. `Err` says what would be accepted instead.
    pub(super) write: fn(&mut Config, &Raw) -> Result<(), String>,
    /// Whether the value must not be shown.
    pub(super) secret: bool,
    /// The value as TOML, secrets as stars; `None` if it is not set.
    pub(super) read: fn(&Config) -> Option<String>,
}

impl Setting {
    /// The environment variable that sets it: `AGENTCOM_LIMITS_PAYLOAD_BYTES_MAX`.
    pub(super) fn variable(&self) -> String {
        format!("AGENTCOM_{}", self.key.replace('.', "_").to_uppercase())
    }

    /// The section it stands in, `""` for those above the first section, and its name there.
    pub(super) fn section_and_name(&self) -> (&'static str, &'static str) {
        self.key.split_once('.').unwrap_or(("", self.key))
    }
}

/// A value before it has been judged. Flags and the environment know only text.
#[derive(Clone, Debug)]
pub(super) enum Raw {
    /// An integer of the file that fits.
    Number(u64),
    /// A string of the file, a flag or a variable.
    Text(String),
    /// Anything else the file may say, as it stands there.
    Other(String),
}

impl Raw {
    /// As it was written, for complaints.
    pub(super) fn found(&self) -> String {
        match self {
            Raw::Number(number) => number.to_string(),
            Raw::Text(text) => format!("{text:?}"),
            Raw::Other(source) => source.clone(),
        }
    }

    fn number(&self, range: &RangeInclusive<u64>) -> Option<u64> {
        let number = match self {
            Raw::Number(number) => *number,
            Raw::Text(text) => text.parse().ok()?,
            Raw::Other(_) => return None,
        };
        range.contains(&number).then_some(number)
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Raw::Text(text) => Some(text),
            Raw::Number(_) | Raw::Other(_) => None,
        }
    }
}

/// A type that a setting can have. `range` means something to numbers only.
pub(super) trait Value: Sized {
    /// Whether the value must not be shown.
    const SECRET: bool = false;

    /// The value, or what would have been accepted.
    fn parse(raw: &Raw, range: RangeInclusive<u64>) -> Result<Self, String>;

    /// As TOML; `None` for "not set".
    fn to_toml(&self) -> Option<String>;
}

impl Value for usize {
    fn parse(raw: &Raw, range: RangeInclusive<u64>) -> Result<Self, String> {
        raw.number(&range)
            .and_then(|number| number.try_into().ok())
            .ok_or_else(|| format!("a whole number from {} to {}", range.start(), range.end()))
    }

    fn to_toml(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Value for bool {
    fn parse(raw: &Raw, _: RangeInclusive<u64>) -> Result<Self, String> {
        match raw {
            Raw::Text(text) | Raw::Other(text) if text == "true" => Ok(true),
            Raw::Text(text) | Raw::Other(text) if text == "false" => Ok(false),
            _ => Err("true or false".to_owned()),
        }
    }

    fn to_toml(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Value for Duration {
    fn parse(raw: &Raw, range: RangeInclusive<u64>) -> Result<Self, String> {
        raw.number(&range).map(Duration::from_millis).ok_or_else(|| {
            format!("a whole number of milliseconds from {} to {}", range.start(), range.end())
        })
    }

    fn to_toml(&self) -> Option<String> {
        Some(self.as_millis().to_string())
    }
}

impl Value for SocketAddr {
    fn parse(raw: &Raw, _: RangeInclusive<u64>) -> Result<Self, String> {
        raw.text().and_then(|text| text.parse().ok()).ok_or_else(|| {
            r#"an IP address and a port, such as "127.0.0.1:4222" or "[::1]:0" (0: any free port)"#
                .to_owned()
        })
    }

    fn to_toml(&self) -> Option<String> {
        self.to_string().to_toml()
    }
}

impl Value for PathBuf {
    fn parse(raw: &Raw, _: RangeInclusive<u64>) -> Result<Self, String> {
        let text = raw.text().filter(|text| !text.is_empty());
        text.map(PathBuf::from).ok_or_else(|| "the path of a file or a folder".to_owned())
    }

    fn to_toml(&self) -> Option<String> {
        self.to_string_lossy().into_owned().to_toml()
    }
}

impl Value for String {
    fn parse(raw: &Raw, _: RangeInclusive<u64>) -> Result<Self, String> {
        raw.text().map(str::to_owned).ok_or_else(|| "a string".to_owned())
    }

    fn to_toml(&self) -> Option<String> {
        Some(toml::Value::String(self.clone()).to_string())
    }
}

impl<T: Value> Value for Option<T> {
    const SECRET: bool = T::SECRET;

    fn parse(raw: &Raw, range: RangeInclusive<u64>) -> Result<Self, String> {
        T::parse(raw, range).map(Some)
    }

    fn to_toml(&self) -> Option<String> {
        self.as_ref().and_then(Value::to_toml)
    }
}

/// Defines a section: `"key" field: Type = default, in range;` under its doc comment. The first
/// line says where the section lives in a [`Config`], the second how its keys begin.
macro_rules! settings {
    (
        $config:ident => $place:expr, keys $prefix:literal;
        $(#[$outer:meta])*
        pub struct $name:ident {
            $(
                $(#[doc = $about:literal])+
                $key:literal $field:ident: $type:ty = $default:expr $(, in $range:expr)?;
            )+
            $(then { $( $(#[$also_meta:meta])* $also:ident: $also_type:ty, )+ })?
        }
    ) => {
        $(#[$outer])*
        pub struct $name {
            $( $(#[doc = $about])+ pub $field: $type, )+
            $($( $(#[$also_meta])* pub $also: $also_type, )+)?
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $( $field: $default, )+
                    $($( $also: Default::default(), )+)?
                }
            }
        }

        impl $name {
            /// Every key of this section, in the order of the file.
            pub(in crate::config) const SETTINGS: &[$crate::config::setting::Setting] = &[$(
                $crate::config::setting::Setting {
                    key: concat!($prefix, $key),
                    about: &[$($about),+],
                    write: |$config, raw| {
                        let range = $crate::config::setting::settings!(@range $($range)?);
                        $place.$field = $crate::config::setting::Value::parse(raw, range)?;
                        Ok(())
                    },
                    secret: <$type as $crate::config::setting::Value>::SECRET,
                    read: |$config| $crate::config::setting::Value::to_toml(&$place.$field),
                },
            )+];
        }
    };
    (@range $range:expr) => { $range };
    (@range) => { 0..=u64::MAX };
}
pub(super) use settings;
