//! Values with a unit or a range: durations, sizes, counts, fractions.

use std::fmt;
use std::time::Duration;

use bytesize::ByteSize;
use serde::de::{Deserializer, Error, Visitor};

use crate::error::Refusal;

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
    text(deserializer, FORM, |text| {
        not_negative(text)?;
        let value =
            humantime::parse_duration(text).map_err(|fault| unreadable(text, fault, FORM))?;
        bounds.admit(value, |value| {
            humantime::format_duration(*value).to_string()
        })
    })
}

/// Reads a size such as `256MiB`, in bytes. The unit is required: a bare number is more often a
/// slip than a number of bytes.
pub(crate) fn size<'de, D: Deserializer<'de>>(
    deserializer: D,
    bounds: &Bounds<u64>,
) -> Result<Option<u64>, D::Error> {
    const FORM: &str = "a size such as \"256MiB\" or \"1 GB\"";
    text(deserializer, FORM, |text| {
        not_negative(text)?;
        if text.ends_with(|last: char| last.is_ascii_digit()) {
            return Err(unreadable(text, "it has no unit", FORM));
        }
        let value: ByteSize = text
            .parse()
            .map_err(|_| unreadable(text, "not a number and a unit", FORM))?;
        bounds.admit(value.as_u64(), |value| ByteSize(*value).to_string())
    })
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
            f.write_str("a whole number")
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
            f.write_str("a fraction such as 0.1")
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
    struct Text<P>(&'static str, P);

    impl<T, P: Fn(&str) -> Result<T, Refusal>> Visitor<'_> for Text<P> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: Error>(self, value: &str) -> Result<T, E> {
            (self.1)(value).map_err(E::custom)
        }
    }

    deserializer.deserialize_any(Text(form, parse)).map(Some)
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
