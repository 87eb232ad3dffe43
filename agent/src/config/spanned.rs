use std::{any::TypeId, borrow::Cow};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use serde_saphyr::{Location, Spanned as Saphyr};

/// A value with the place where it stands. That of the YAML reader, which JSON Schema knows nothing of.
#[derive(Clone, Debug)]
pub(super) struct Spanned<T> {
    /// The value.
    pub(super) value: T,
    /// Where it stands, or the alias that stands for it.
    pub(super) referenced: Location,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Spanned<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Saphyr { value, referenced, .. } = Saphyr::deserialize(deserializer)?;
        Ok(Self { value, referenced })
    }
}

impl<T: JsonSchema + 'static> JsonSchema for Spanned<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    /// A text in YAML need not be quoted: `burst: 2000` is one.
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        if TypeId::of::<T>() == TypeId::of::<String>() {
            json_schema!({ "type": ["string", "number"] })
        } else {
            T::json_schema(generator)
        }
    }
}
