//! Asking the types that read settings what they read: the names of their fields, and what each may be. So there is no
//! other list of keys, for messages or for editors, that could be forgotten.

use std::iter;

use serde::de::value::{Error as AskedOnly, MapDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error as _, Expected, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Value, json};

/// The names of the fields of a struct, as it tells them to whoever deserialises it.
pub(crate) fn names_of<T: DeserializeOwned>() -> &'static [&'static str] {
    struct Listener<'a>(&'a mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for Listener<'_> {
        type Error = AskedOnly;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, AskedOnly> {
            Err(AskedOnly::custom("not a struct"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, AskedOnly> {
            *self.0 = fields;
            Err(AskedOnly::custom("the names are all that is wanted"))
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
            option unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier
            ignored_any
        }
    }

    let mut names: &'static [&'static str] = &[];
    // Always an error: nothing is read.
    let _ = T::deserialize(Listener(&mut names));
    names
}

/// What the value of a field of a struct may be, as JSON schema; anything, where the field does not tell.
pub(crate) fn schema_of<T: DeserializeOwned>(field: &'static str) -> Value {
    let mut answer = None;
    let asker = Asker(&mut answer);
    // Always an error: nothing is read.
    let _ = T::deserialize(MapDeserializer::new(iter::once((field, asker))));
    answer.unwrap_or(Value::Bool(true))
}

/// Stands for a value, and hears what is expected of it.
struct Asker<'a>(&'a mut Option<Value>);

impl Asker<'_> {
    fn hear<T>(self, schema: Value) -> Result<T, AskedOnly> {
        *self.0 = Some(schema);
        Err(AskedOnly::custom("what it may be is all that is wanted"))
    }
}

macro_rules! hear {
    ($($method:ident)* => $type:literal) => {
        $(fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, AskedOnly> {
            self.hear(json!({"type": $type}))
        })*
    };
}

impl<'de> Deserializer<'de> for Asker<'_> {
    type Error = AskedOnly;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, AskedOnly> {
        let told = format!("{:#}", &visitor as &dyn Expected);
        match serde_json::from_str(&told) {
            Ok(schema) => self.hear(schema),
            Err(_) => self.hear(Value::Bool(true)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, AskedOnly> {
        visitor.visit_some(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, AskedOnly> {
        self.hear(json!({"enum": variants}))
    }

    hear! { deserialize_bool => "boolean" }
    hear! { deserialize_str deserialize_string => "string" }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, AskedOnly> for Asker<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}
