//! Introspection of the types that read settings: the names of their fields, and what each may be. So there is no
//! other list of keys, for messages or for editors, that could be forgotten.

use std::iter;

use serde::de::value::{Error as NothingRead, MapDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error as _, Expected, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Value, json};

/// The names of the fields of a struct, as it gives them to a deserialiser.
pub(crate) fn names_of<T: DeserializeOwned>() -> &'static [&'static str] {
    struct FieldNames<'a>(&'a mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for FieldNames<'_> {
        type Error = NothingRead;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, NothingRead> {
            Err(NothingRead::custom("not a struct"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, NothingRead> {
            *self.0 = fields;
            Err(NothingRead::custom("the names are all that is wanted"))
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
            option unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier
            ignored_any
        }
    }

    let mut names: &'static [&'static str] = &[];
    // Always an error: nothing is read.
    let _ = T::deserialize(FieldNames(&mut names));
    names
}

/// The JSON schema of a field of a struct; anything, where the field does not give one.
pub(crate) fn schema_of<T: DeserializeOwned>(field: &'static str) -> Value {
    let mut schema = None;
    let probe = SchemaProbe(&mut schema);
    // Always an error: nothing is read.
    let _ = T::deserialize(MapDeserializer::new(iter::once((field, probe))));
    schema.unwrap_or(Value::Bool(true))
}

/// Stands for a value, and records what is expected of it.
struct SchemaProbe<'a>(&'a mut Option<Value>);

impl SchemaProbe<'_> {
    fn record<T>(self, schema: Value) -> Result<T, NothingRead> {
        *self.0 = Some(schema);
        Err(NothingRead::custom("what it may be is all that is wanted"))
    }
}

macro_rules! record {
    ($($method:ident)* => $type:literal) => {
        $(fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, NothingRead> {
            self.record(json!({"type": $type}))
        })*
    };
}

impl<'de> Deserializer<'de> for SchemaProbe<'_> {
    type Error = NothingRead;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NothingRead> {
        let expected = format!("{:#}", &visitor as &dyn Expected);
        match serde_json::from_str(&expected) {
            Ok(schema) => self.record(schema),
            Err(_) => self.record(Value::Bool(true)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NothingRead> {
        visitor.visit_some(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, NothingRead> {
        self.record(json!({"enum": variants}))
    }

    record! { deserialize_bool => "boolean" }
    record! { deserialize_str deserialize_string => "string" }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, NothingRead> for SchemaProbe<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}
