//! The types a property can have, as text and as Arrow types.

use std::{fmt, str::FromStr, sync::Arc};

use arrow_schema::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Field,
    TimeUnit::{self, Microsecond, Millisecond, Nanosecond, Second},
};
use serde::{Deserialize, Serialize};

use super::problem::nearest;

/// The type of a property: an Arrow type that has a text form.
///
/// The text is what stands in the schema file and in the manifest: `string`, `int64`,
/// `timestamp(us, UTC)`, `decimal(12, 2)`, `vector(768)`, `list(string)`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PropertyType(DataType);

/// Why a text or an Arrow type is no [`PropertyType`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TypeError {
    /// No type has this name.
    #[error("unknown type `{name}`: {hint}")]
    Unknown {
        /// What stands in the place of a type's name.
        name: String,
        /// What to write instead.
        hint: String,
    },
    /// The type is known, but what stands in its parentheses does not fit.
    #[error("`{text}` is no type: write {form}")]
    Arguments {
        /// The text.
        text: String,
        /// How the type is written.
        form: &'static str,
    },
    /// Lists of lists of lists.
    #[error("the type is nested too deep: at most {MAX_NESTING} parentheses can be open")]
    TooDeep,
    /// An Arrow type that no property can have.
    #[error(
        "a property cannot have the Arrow type {0}: cast the column to one of the schema's types"
    )]
    NotAProperty(DataType),
}

/// The types without arguments.
const PLAIN: [(&str, DataType); 18] = [
    ("bool", DataType::Boolean),
    ("int8", DataType::Int8),
    ("int16", DataType::Int16),
    ("int32", DataType::Int32),
    ("int64", DataType::Int64),
    ("uint8", DataType::UInt8),
    ("uint16", DataType::UInt16),
    ("uint32", DataType::UInt32),
    ("uint64", DataType::UInt64),
    ("float16", DataType::Float16),
    ("float32", DataType::Float32),
    ("float64", DataType::Float64),
    ("string", DataType::Utf8),
    ("large_string", DataType::LargeUtf8),
    ("binary", DataType::Binary),
    ("large_binary", DataType::LargeBinary),
    ("date32", DataType::Date32),
    ("date64", DataType::Date64),
];

/// The types with arguments, and how they are written.
const FORMS: [(&str, &str); 7] = [
    ("time32", "`time32(s)` or `time32(ms)`"),
    ("time64", "`time64(us)` or `time64(ns)`"),
    (
        "timestamp",
        "`timestamp(UNIT)` or `timestamp(UNIT, ZONE)`, UNIT one of s, ms, us, ns",
    ),
    ("duration", "`duration(UNIT)`, UNIT one of s, ms, us, ns"),
    (
        "decimal",
        "`decimal(PRECISION, SCALE)`, PRECISION from 1 to 76, SCALE from 0 to PRECISION",
    ),
    (
        "vector",
        "`vector(N)` or `vector(N, float16|float32|float64)`, N at least 1",
    ),
    ("list", "`list(TYPE)`"),
];

/// What these types are called elsewhere. The words only serve to propose the right one.
const ELSEWHERE: [(&str, &str); 14] = [
    ("str", "string"),
    ("text", "string"),
    ("utf8", "string"),
    ("varchar", "string"),
    ("boolean", "bool"),
    ("int", "int64"),
    ("integer", "int64"),
    ("long", "int64"),
    ("float", "float32"),
    ("double", "float64"),
    ("bytes", "binary"),
    ("date", "date32"),
    ("datetime", "timestamp(us, UTC)"),
    ("embedding", "vector(N)"),
];

/// How many parentheses can be open at once. Reading a type recurses, and a text must not exhaust the stack.
const MAX_NESTING: usize = 8;

impl PropertyType {
    /// The Arrow type of the column.
    pub fn to_arrow(&self) -> DataType {
        self.0.clone()
    }

    /// The property type of an Arrow column. The name and the nullability of a list's items are not
    /// part of the type: they become `item` and nullable.
    ///
    /// # Errors
    /// [`TypeError::NotAProperty`] for a type that has no text form, such as a struct or a dictionary;
    /// [`TypeError::TooDeep`].
    pub fn from_arrow(arrow: &DataType) -> Result<Self, TypeError> {
        let canonical = match arrow {
            DataType::List(item) => list(Self::from_arrow(item.data_type())?.0),
            DataType::FixedSizeList(item, n) if *n > 0 && item.data_type().is_floating() => {
                vector(*n, item.data_type().clone())
            }
            DataType::Decimal128(p, s) | DataType::Decimal256(p, s)
                if decimal(*p, *s).as_ref() == Some(arrow) =>
            {
                arrow.clone()
            }
            DataType::Timestamp(_, zone) if zone.as_deref().is_none_or(is_zone) => arrow.clone(),
            DataType::Time32(Second | Millisecond)
            | DataType::Time64(Microsecond | Nanosecond)
            | DataType::Duration(_) => arrow.clone(),
            plain if PLAIN.iter().any(|(_, known)| known == plain) => arrow.clone(),
            other => return Err(TypeError::NotAProperty(other.clone())),
        };
        if nesting(&canonical) > MAX_NESTING {
            return Err(TypeError::TooDeep);
        }
        Ok(Self(canonical))
    }

    /// Whether this is `vector(n)`, of any item type.
    pub const fn is_vector(&self) -> bool {
        matches!(self.0, DataType::FixedSizeList(..))
    }

    /// Whether this is `list(T)`. A vector is no list.
    pub const fn is_list(&self) -> bool {
        matches!(self.0, DataType::List(_))
    }

    /// Whether this is `string` or `large_string`.
    pub const fn is_string(&self) -> bool {
        matches!(self.0, DataType::Utf8 | DataType::LargeUtf8)
    }

    /// Whether a key can have this type: its values must be comparable beyond doubt, and short.
    pub fn can_be_key(&self) -> bool {
        let bytes = matches!(self.0, DataType::Binary | DataType::LargeBinary);
        !(self.0.is_floating() || bytes || self.is_list() || self.is_vector())
    }

    /// Whether every value of this type is, unchanged, a value of `wider`. Only then a cast is planned;
    /// a type does not widen to itself.
    pub fn widens_to(&self, wider: &Self) -> bool {
        widens(&self.0, &wider.0)
    }
}

fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType::{
        Binary, Date32, Date64, Decimal128, Decimal256, FixedSizeList, Float16, Float32, Float64,
        Int8, Int16, Int32, Int64, LargeBinary, LargeUtf8, List, Time32, Time64, UInt8, UInt16,
        UInt32, UInt64, Utf8,
    };
    match (from, to) {
        (Int8, Int16 | Int32 | Int64)
        | (Int16, Int32 | Int64)
        | (Int32, Int64)
        | (UInt8, UInt16 | UInt32 | UInt64 | Int16 | Int32 | Int64)
        | (UInt16, UInt32 | UInt64 | Int32 | Int64)
        | (UInt32, UInt64 | Int64)
        | (Float16, Float32 | Float64)
        | (Float32, Float64)
        | (Utf8, LargeUtf8)
        | (Binary, LargeBinary)
        | (Date32, Date64)
        | (Time32(Second), Time32(Millisecond))
        | (Time32(_), Time64(_))
        | (Time64(Microsecond), Time64(Nanosecond)) => true,
        // Timestamps and durations do not widen: a finer unit reaches less far.
        (Decimal128(p, s) | Decimal256(p, s), Decimal128(wp, ws) | Decimal256(wp, ws)) => {
            let digits = |p: u8, s: i8| i16::from(p) - i16::from(s);
            (p, s) != (wp, ws) && ws >= s && digits(*wp, *ws) >= digits(*p, *s)
        }
        (FixedSizeList(item, n), FixedSizeList(wide, m)) => {
            n == m && widens(item.data_type(), wide.data_type())
        }
        (List(item), List(wide)) => widens(item.data_type(), wide.data_type()),
        _ => false,
    }
}

fn vector(n: i32, item: DataType) -> DataType {
    DataType::FixedSizeList(Arc::new(Field::new("item", item, true)), n)
}

fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, true)))
}

/// The smallest Arrow decimal that holds the precision.
fn decimal(precision: u8, scale: i8) -> Option<DataType> {
    let scale_fits = u8::try_from(scale).is_ok_and(|s| s <= precision);
    match precision {
        _ if !scale_fits => None,
        1..=DECIMAL128_MAX_PRECISION => Some(DataType::Decimal128(precision, scale)),
        39..=DECIMAL256_MAX_PRECISION => Some(DataType::Decimal256(precision, scale)),
        _ => None,
    }
}

/// Whether `zone` looks like `UTC`, `Europe/Berlin` or `+02:00`. Which zones there are is not known here.
fn is_zone(zone: &str) -> bool {
    zone.chars().any(|c| c.is_ascii_alphanumeric())
        && zone
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "/_+-:".contains(c))
}

fn nesting(arrow: &DataType) -> usize {
    match arrow {
        DataType::List(item) => 1 + nesting(item.data_type()),
        plain if PLAIN.iter().any(|(_, known)| known == plain) => 0,
        _ => 1,
    }
}

const fn unit_name(unit: &TimeUnit) -> &'static str {
    match unit {
        Second => "s",
        Millisecond => "ms",
        Microsecond => "us",
        Nanosecond => "ns",
    }
}

fn unit(name: &str) -> Option<TimeUnit> {
    [Second, Millisecond, Microsecond, Nanosecond]
        .into_iter()
        .find(|u| unit_name(u) == name)
}

/// The Arrow type of `name(arguments)`, when they fit. Lists are read elsewhere.
fn build(name: &str, arguments: &str) -> Option<DataType> {
    let arguments: Vec<&str> = arguments.split(',').map(str::trim).collect();
    match (name, arguments.as_slice()) {
        ("time32", [u]) => match unit(u)? {
            u @ (Second | Millisecond) => Some(DataType::Time32(u)),
            _ => None,
        },
        ("time64", [u]) => match unit(u)? {
            u @ (Microsecond | Nanosecond) => Some(DataType::Time64(u)),
            _ => None,
        },
        ("duration", [u]) => Some(DataType::Duration(unit(u)?)),
        ("timestamp", [u]) => Some(DataType::Timestamp(unit(u)?, None)),
        ("timestamp", [u, zone]) => {
            let bare = zone
                .strip_prefix('"')
                .and_then(|z| z.strip_suffix('"'))
                .unwrap_or(zone);
            is_zone(bare).then_some(DataType::Timestamp(unit(u)?, Some(bare.into())))
        }
        ("decimal", [precision, scale]) => decimal(precision.parse().ok()?, scale.parse().ok()?),
        ("vector", [n, item @ ..]) => {
            let n = n.parse().ok().filter(|n| *n > 0)?;
            match item {
                [] | ["float32"] => Some(vector(n, DataType::Float32)),
                ["float16"] => Some(vector(n, DataType::Float16)),
                ["float64"] => Some(vector(n, DataType::Float64)),
                _ => None,
            }
        }
        _ => None,
    }
}

fn unknown(name: &str) -> TypeError {
    let names = || {
        PLAIN
            .iter()
            .map(|(n, _)| *n)
            .chain(FORMS.iter().map(|(n, _)| *n))
    };
    let word = name.to_ascii_lowercase();
    let meant = ELSEWHERE
        .iter()
        .find(|(there, _)| *there == word)
        .map(|(_, here)| *here);
    let hint = match meant.or_else(|| nearest(name, names())) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("write one of {}", names().collect::<Vec<_>>().join(", ")),
    };
    TypeError::Unknown {
        name: name.to_owned(),
        hint,
    }
}

impl FromStr for PropertyType {
    type Err = TypeError;

    fn from_str(text: &str) -> Result<Self, TypeError> {
        let text = text.trim();
        if text.matches('(').count() > MAX_NESTING {
            return Err(TypeError::TooDeep);
        }
        let (name, arguments) = match text.split_once('(') {
            Some((name, rest)) => (name.trim_end(), rest.strip_suffix(')')),
            None => (text, None),
        };
        let bare = name.len() == text.len();
        if let Some((plain, arrow)) = PLAIN.iter().find(|(plain, _)| *plain == name) {
            let refusal = || TypeError::Arguments {
                text: text.to_owned(),
                form: plain,
            };
            return if bare {
                Ok(Self(arrow.clone()))
            } else {
                Err(refusal())
            };
        }
        let Some((_, form)) = FORMS.iter().find(|(known, _)| *known == name) else {
            return Err(unknown(name));
        };
        if name == "list"
            && let Some(item) = arguments
        {
            return Ok(Self(list(item.parse::<Self>()?.0)));
        }
        arguments
            .and_then(|arguments| build(name, arguments))
            .map(Self)
            .ok_or_else(|| TypeError::Arguments {
                text: text.to_owned(),
                form,
            })
    }
}

impl fmt::Display for PropertyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_type(&self.0, f)
    }
}

fn write_type(arrow: &DataType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if let Some((name, _)) = PLAIN.iter().find(|(_, plain)| plain == arrow) {
        return f.write_str(name);
    }
    match arrow {
        DataType::Time32(u) => write!(f, "time32({})", unit_name(u)),
        DataType::Time64(u) => write!(f, "time64({})", unit_name(u)),
        DataType::Duration(u) => write!(f, "duration({})", unit_name(u)),
        DataType::Timestamp(u, None) => write!(f, "timestamp({})", unit_name(u)),
        DataType::Timestamp(u, Some(zone)) => write!(f, "timestamp({}, {zone})", unit_name(u)),
        DataType::Decimal128(p, s) | DataType::Decimal256(p, s) => write!(f, "decimal({p}, {s})"),
        DataType::FixedSizeList(item, n) if item.data_type() == &DataType::Float32 => {
            write!(f, "vector({n})")
        }
        DataType::FixedSizeList(item, n) => {
            write!(f, "vector({n}, ")?;
            write_type(item.data_type(), f)?;
            f.write_str(")")
        }
        DataType::List(item) => {
            f.write_str("list(")?;
            write_type(item.data_type(), f)?;
            f.write_str(")")
        }
        // No constructor lets another type in.
        other => write!(f, "{other}"),
    }
}

impl Serialize for PropertyType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PropertyType {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::schema::generate;

    fn parsed(text: &str) -> PropertyType {
        text.parse().unwrap()
    }

    fn refused(text: &str) -> String {
        text.parse::<PropertyType>().unwrap_err().to_string()
    }

    #[test]
    fn a_vector_is_a_fixed_size_list_of_nullable_items() {
        let arrow = |item| DataType::FixedSizeList(Arc::new(Field::new("item", item, true)), 3);
        assert_eq!(parsed("vector(3)").to_arrow(), arrow(DataType::Float32));
        assert_eq!(parsed("vector(3, float32)"), parsed("vector( 3 )"));
        assert_eq!(
            parsed("vector(3, float16)").to_arrow(),
            arrow(DataType::Float16)
        );
    }

    #[test]
    fn a_time_zone_may_stand_in_quotes() {
        let arrow = DataType::Timestamp(Microsecond, Some("UTC".into()));
        assert_eq!(parsed(r#"timestamp(us, "UTC")"#).to_arrow(), arrow);
        assert_eq!(parsed("timestamp(us,UTC)").to_arrow(), arrow);
        assert_eq!(
            parsed("timestamp(ns, +02:00)").to_string(),
            "timestamp(ns, +02:00)"
        );
    }

    #[test]
    fn an_unknown_type_is_told_with_the_one_that_was_meant() {
        assert!(
            refused("strng").ends_with("did you mean `string`?"),
            "{}",
            refused("strng")
        );
        assert!(refused("text").ends_with("did you mean `string`?"));
        assert!(refused("list(flaot32)").contains("`flaot32`: did you mean `float32`?"));
        assert!(refused("colour").contains("write one of bool, int8"));
    }

    #[test]
    fn arguments_that_do_not_fit_are_refused_with_the_right_form() {
        for text in [
            "vector(0)",
            "vector",
            "vector(-1)",
            "vector(2, int8)",
            "vector(99999999999)",
            "vector(3",
            "time32(us)",
            "time64(s)",
            "timestamp",
            "timestamp(h)",
            "timestamp(us, -)",
            "timestamp(us, U\"TC)",
            "decimal(0, 0)",
            "decimal(77, 1)",
            "decimal(3, 4)",
            "decimal(3, -1)",
            "decimal(3)",
            "list",
            "duration()",
            "string(3)",
        ] {
            assert!(refused(text).contains("write"), "{text}: {}", refused(text));
        }
    }

    #[test]
    fn a_text_cannot_exhaust_the_stack() {
        let text = format!("{}int8{}", "list(".repeat(100_000), ")".repeat(100_000));
        assert_eq!(text.parse::<PropertyType>(), Err(TypeError::TooDeep));
    }

    #[test]
    fn an_arrow_type_without_a_text_is_refused() {
        for arrow in [
            DataType::Null,
            DataType::Utf8View,
            DataType::FixedSizeBinary(4),
            DataType::Decimal256(5, 2),
            DataType::Time32(Nanosecond),
            DataType::Timestamp(Second, Some("-".into())),
            DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8)),
        ] {
            let refusal = PropertyType::from_arrow(&arrow);
            assert_eq!(refusal, Err(TypeError::NotAProperty(arrow)));
        }
    }

    #[test]
    fn the_name_and_nullability_of_items_are_not_part_of_a_type() {
        let item = Arc::new(Field::new("element", DataType::Int8, false));
        assert_eq!(
            PropertyType::from_arrow(&DataType::List(item)),
            Ok(parsed("list(int8)"))
        );
    }

    #[test]
    fn only_what_keeps_every_value_widens() {
        for (from, to) in [
            ("int8", "int64"),
            ("uint32", "int64"),
            ("float16", "float64"),
            ("string", "large_string"),
            ("date32", "date64"),
            ("time32(s)", "time64(ns)"),
            ("decimal(5, 2)", "decimal(40, 2)"),
            ("decimal(5, 2)", "decimal(6, 3)"),
            ("vector(3, float16)", "vector(3)"),
            ("list(int8)", "list(int16)"),
        ] {
            assert!(parsed(from).widens_to(&parsed(to)), "{from} to {to}");
            assert!(!parsed(to).widens_to(&parsed(from)), "{to} to {from}");
        }
        for (from, to) in [
            ("uint64", "int64"),
            ("int8", "uint64"),
            ("int32", "float64"),
            ("int64", "string"),
            ("vector(3)", "vector(4, float64)"),
            ("decimal(5, 2)", "decimal(5, 3)"),
            ("timestamp(s)", "timestamp(ns)"),
            ("int8", "int8"),
            ("decimal(5, 2)", "decimal(5, 2)"),
        ] {
            assert!(!parsed(from).widens_to(&parsed(to)), "{from} to {to}");
        }
    }

    #[test]
    fn a_key_can_be_compared_beyond_doubt() {
        for good in [
            "string",
            "int64",
            "bool",
            "date32",
            "decimal(3, 1)",
            "timestamp(us)",
        ] {
            assert!(parsed(good).can_be_key(), "{good}");
        }
        for bad in [
            "float16",
            "float64",
            "binary",
            "large_binary",
            "vector(2)",
            "list(int8)",
        ] {
            assert!(!parsed(bad).can_be_key(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_type_reads_back_as_it_is_written(t in generate::property_type()) {
            prop_assert_eq!(t.to_string().parse(), Ok(t.clone()));
            prop_assert_eq!(PropertyType::from_arrow(&t.to_arrow()), Ok(t));
        }

        #[test]
        fn widening_is_transitive(
            a in generate::property_type(), b in generate::property_type(), c in generate::property_type()
        ) {
            if a.widens_to(&b) && b.widens_to(&c) {
                prop_assert!(a.widens_to(&c));
            }
        }

        #[test]
        fn no_text_makes_reading_panic(text in "[a-z0-9(), \"]{0,24}") {
            let _ = text.parse::<PropertyType>();
        }
    }
}
