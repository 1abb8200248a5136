//! Values that gateway.yaml writes as text: times, sizes and file paths.

use std::fmt;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::secret;

/// A time with its unit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Duration(pub(super) std::time::Duration);

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WithUnit;

        impl Visitor<'_> for WithUnit {
            type Value = Duration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time with its unit, such as `60s` or `250ms`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
                humantime::parse_duration(text)
                    .map(Duration)
                    .map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(WithUnit)
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.as_secs(), self.0.subsec_nanos()) {
            (seconds, 0) => write!(f, "{seconds}s"),
            _ => humantime::format_duration(self.0).fmt(f),
        }
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A time with its unit, such as `60s` or `250ms`.",
            "type": "string",
            "pattern": r"^\s*[0-9]+\s*[a-zA-Z]+(\s*[0-9]+\s*[a-zA-Z]+)*\s*$|\$\{",
        })
    }
}

/// 1PiB: more than any limit can mean, and far from the numbers at which arithmetic saturates.
const LARGEST_SIZE: u64 = 1 << 50;

/// A number of bytes with its unit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size(pub(super) u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WithUnit;

        impl Visitor<'_> for WithUnit {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size with its unit, such as `16KiB` or `10MiB`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Size, E> {
                let size = text.parse::<bytesize::ByteSize>().ok().filter(|_| text.ends_with(['B', 'b']));
                let size = size.ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))?.as_u64();
                // The parser turns what does not fit into the largest number there is, which would mean no limit.
                if size > LARGEST_SIZE {
                    return Err(E::custom("the size is larger than 1PiB, which no machine has; write a smaller one"));
                }
                Ok(Size(size))
            }
        }

        deserializer.deserialize_any(WithUnit)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
            if self.0 >= unit && self.0.is_multiple_of(unit) {
                return write!(f, "{}{name}", self.0 / unit);
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Size {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number of bytes with its unit, such as `16KiB` or `10MiB`.",
            "type": "string",
            "pattern": r"^[0-9]+(\.[0-9]+)?\s*([kKmMgG][iI]?)?[bB]$|\$\{",
        })
    }
}

/// The path of a file, as written; relative to the configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FilePath(pub(super) PathBuf);

impl FilePath {
    /// The path that is written like this.
    pub(super) fn of<E: Error>(text: &str) -> Result<Self, E> {
        // A key that was written here by mistake must not appear in a log.
        if let Some(problem) = secret::misplaced(text) {
            return Err(E::custom(problem));
        }
        if text.is_empty() {
            return Err(E::custom("the path is empty; name a file or remove the key"));
        }
        Ok(Self(text.into()))
    }
}

impl<'de> Deserialize<'de> for FilePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Path;

        impl Visitor<'_> for Path {
            type Value = FilePath;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the path of a file")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<FilePath, E> {
                FilePath::of(text)
            }
        }

        deserializer.deserialize_any(Path)
    }
}

impl Serialize for FilePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.display())
    }
}

impl JsonSchema for FilePath {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FilePath".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The path of a file; relative to the configuration file.",
            "type": "string",
            "minLength": 1,
        })
    }
}
