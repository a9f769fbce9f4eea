//! Values with a unit or a range: durations, sizes, counts, fractions.
//!
//! Each visitor says what it expects in two forms: as a text for users, and in the alternate form (`{:#}`) as JSON schema.
//! So the schema for editors (`schema.rs`) comes from the code that reads the values.

use std::fmt;
use std::time::Duration;

use bytesize::ByteSize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde_json::{Value, json};

use crate::error::Refusal;
use crate::values;

/// The range a value must lie in, and the reasons for its ends.
pub(crate) struct Bounds<T> {
    pub(crate) least: T,
    pub(crate) too_small: &'static str,
    pub(crate) most: T,
    pub(crate) too_large: &'static str,
}

impl<T: PartialOrd> Bounds<T> {
    fn admit(&self, value: T, show: impl Fn(&T) -> String) -> Result<T, Refusal> {
        let (limit, side, reason, way) = if value < self.least {
            (&self.least, "below the least", self.too_small, "more")
        } else if value > self.most {
            (&self.most, "above the most", self.too_large, "less")
        } else {
            return Ok(value);
        };
        let limit = show(limit);
        Err(Refusal::new(
            format!("{} is {side}, {limit}: {reason}", show(&value)),
            format!("set it to {limit} or {way}"),
        ))
    }
}

/// Reads a duration such as `30s`.
pub(crate) fn duration<'de, D: Deserializer<'de>>(
    deserializer: D,
    bounds: &Bounds<Duration>,
) -> Result<Option<Duration>, D::Error> {
    const FORM: &str = "a duration such as \"30s\" or \"5m\"";
    patterned(deserializer, FORM, DURATION, |text| {
        not_negative(text)?;
        let value =
            humantime::parse_duration(text).map_err(|fault| unreadable(text, fault, FORM))?;
        bounds.admit(value, |value| {
            humantime::format_duration(*value).to_string()
        })
    })
}

/// Reads a size such as `256MiB`, in bytes. The unit is required: a bare number is more often a
/// mistake than a number of bytes.
pub(crate) fn size<'de, D: Deserializer<'de>>(
    deserializer: D,
    bounds: &Bounds<u64>,
) -> Result<Option<u64>, D::Error> {
    patterned(deserializer, SIZE, BYTES, |text| parse_size(text, bounds))
}

/// Reads a size, or `off`.
pub(crate) fn size_or_off<'de, D: Deserializer<'de>>(
    deserializer: D,
    bounds: &Bounds<u64>,
) -> Result<Option<Option<u64>>, D::Error> {
    const FORM: &str = "a size such as \"256MiB\", or \"off\"";
    patterned(deserializer, FORM, BYTES_OR_OFF, |text| match text {
        "off" => Ok(None),
        size => parse_size(size, bounds).map(Some),
    })
}

/// How the texts look, for editors; whether they can be read is found by reading them.
const DURATION: &str = "^ *[0-9].*[a-zA-Zµ] *$";
const BYTES: &str = "^ *[0-9].*[a-zA-Z] *$";
const BYTES_OR_OFF: &str = "^(off| *[0-9].*[a-zA-Z] *)$";

const SIZE: &str = "a size such as \"256MiB\" or \"1 GB\"";

fn parse_size(text: &str, bounds: &Bounds<u64>) -> Result<u64, Refusal> {
    not_negative(text)?;
    if !text
        .trim_end()
        .ends_with(|last: char| last.is_ascii_alphabetic())
    {
        return Err(unreadable(text, "it has no unit", SIZE));
    }
    let value: ByteSize = text
        .parse()
        .map_err(|_| unreadable(text, "not a number and a unit", SIZE))?;
    bounds.admit(value.as_u64(), |value| ByteSize(*value).to_string())
}

/// Reads a whole number.
pub(crate) fn count<'de, D: Deserializer<'de>>(
    deserializer: D,
    bounds: &Bounds<usize>,
) -> Result<Option<usize>, D::Error> {
    struct Whole<'a>(&'a Bounds<usize>);

    impl Visitor<'_> for Whole<'_> {
        type Value = usize;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let schema =
                || json!({"type": "integer", "minimum": self.0.least, "maximum": self.0.most});
            expects(f, "a whole number", schema)
        }

        fn visit_i64<E: Error>(self, value: i64) -> Result<usize, E> {
            match u64::try_from(value) {
                Ok(value) => self.visit_u64(value),
                Err(_) => Err(E::custom(negative(value))),
            }
        }

        fn visit_u64<E: Error>(self, value: u64) -> Result<usize, E> {
            let value = usize::try_from(value).unwrap_or(usize::MAX);
            self.0.admit(value, usize::to_string).map_err(E::custom)
        }
    }

    deserializer.deserialize_any(Whole(bounds)).map(Some)
}

/// Reads a number between 0 and 1.
pub(crate) fn fraction<'de, D: Deserializer<'de>>(
    deserializer: D,
    bounds: &Bounds<f64>,
) -> Result<Option<f64>, D::Error> {
    struct Number<'a>(&'a Bounds<f64>);

    impl Visitor<'_> for Number<'_> {
        type Value = f64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let schema =
                || json!({"type": "number", "minimum": self.0.least, "maximum": self.0.most});
            expects(f, "a fraction such as 0.1", schema)
        }

        fn visit_f64<E: Error>(self, value: f64) -> Result<f64, E> {
            if value.is_nan() {
                return Err(E::custom(Refusal::new(
                    "it is not a number",
                    "write a fraction such as 0.1",
                )));
            }
            self.0.admit(value, f64::to_string).map_err(E::custom)
        }

        fn visit_i64<E: Error>(self, value: i64) -> Result<f64, E> {
            self.visit_f64(value as f64)
        }

        fn visit_u64<E: Error>(self, value: u64) -> Result<f64, E> {
            self.visit_f64(value as f64)
        }
    }

    deserializer.deserialize_any(Number(bounds)).map(Some)
}

/// Reads a text and makes something of it. `form` says what is expected, for anything but a text.
pub(crate) fn text<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    form: &'static str,
    parse: impl Fn(&str) -> Result<T, Refusal>,
) -> Result<Option<T>, D::Error> {
    formed(deserializer, form, || json!({"type": "string"}), parse)
}

/// The same, for a text that looks like `pattern`.
fn patterned<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    form: &'static str,
    pattern: &'static str,
    parse: impl Fn(&str) -> Result<T, Refusal>,
) -> Result<Option<T>, D::Error> {
    let schema = || json!({"type": "string", "pattern": pattern});
    formed(deserializer, form, schema, parse)
}

/// Reads one of a few words. `form` names them.
pub(crate) fn word<'de, D: Deserializer<'de>, T: Copy>(
    deserializer: D,
    form: &'static str,
    words: &[(&'static str, T)],
) -> Result<Option<T>, D::Error> {
    let schema = || {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        json!({"enum": words})
    };
    formed(deserializer, form, schema, |text| {
        values::one_of(text, words)
    })
}

fn formed<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    form: &'static str,
    schema: impl Fn() -> Value,
    parse: impl Fn(&str) -> Result<T, Refusal>,
) -> Result<Option<T>, D::Error> {
    struct Text<S, P> {
        form: &'static str,
        schema: S,
        parse: P,
    }

    impl<T, S: Fn() -> Value, P: Fn(&str) -> Result<T, Refusal>> Visitor<'_> for Text<S, P> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            expects(f, self.form, &self.schema)
        }

        fn visit_str<E: Error>(self, value: &str) -> Result<T, E> {
            (self.parse)(value).map_err(E::custom)
        }
    }

    let text = Text {
        form,
        schema,
        parse,
    };
    deserializer.deserialize_any(text).map(Some)
}

/// Says what a visitor expects: to a user, or in the alternate form as JSON schema.
fn expects(f: &mut fmt::Formatter<'_>, form: &str, schema: impl FnOnce() -> Value) -> fmt::Result {
    if f.alternate() {
        write!(f, "{}", schema())
    } else {
        f.write_str(form)
    }
}

/// Reads a list of texts and makes something of each; one text alone is a list of one. `form` says what is
/// expected, for anything else.
pub(crate) fn texts<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    form: &'static str,
    parse: impl Fn(&str) -> Result<T, Refusal>,
) -> Result<Option<Vec<T>>, D::Error> {
    struct Texts<P>(&'static str, P);

    impl<'de, T, P: Fn(&str) -> Result<T, Refusal>> Visitor<'de> for Texts<P> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let schema = || {
                let text = json!({"type": "string"});
                json!({"anyOf": [text, {"type": "array", "items": text}]})
            };
            expects(f, self.0, schema)
        }

        fn visit_str<E: Error>(self, value: &str) -> Result<Vec<T>, E> {
            Ok(vec![(self.1)(value).map_err(E::custom)?])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while let Some(text) = items.next_element::<String>()? {
                all.push((self.1)(&text).map_err(A::Error::custom)?);
            }
            Ok(all)
        }
    }

    deserializer.deserialize_any(Texts(form, parse)).map(Some)
}

fn not_negative(text: &str) -> Result<(), Refusal> {
    if text.trim_start().starts_with('-') {
        return Err(negative(text));
    }
    Ok(())
}

fn negative(value: impl fmt::Display) -> Refusal {
    Refusal::new(
        format!("{value} is negative"),
        "write it without the minus sign",
    )
}

fn unreadable(text: &str, fault: impl fmt::Display, form: &str) -> Refusal {
    Refusal::new(
        format!("cannot read {text:?}: {fault}"),
        format!("write {form}"),
    )
}
