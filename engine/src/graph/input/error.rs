//! What can be wrong with an input.

use std::{fmt, path::PathBuf};

use arrow::{datatypes::DataType, error::ArrowError};

use super::format::Format;

/// Where in an input a value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A row, counted from 1.
    Row(u64),
    /// A line of a text file, counted from 1; the header of a CSV file is a line too.
    Line(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row(n) => write!(f, "row {n}"),
            Self::Line(n) => write!(f, "line {n}"),
        }
    }
}

/// Why an input cannot be loaded, where, and what to do about it.
///
/// `origin` is the file, or whatever a caller who hands over batches in memory calls them. A column
/// inside a struct is written `outer.inner`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// There is no such file.
    #[error("{}: there is no such file; check the path", path.display())]
    NotFound {
        /// The path.
        path: PathBuf,
    },
    /// The path is a directory or something else that is not a plain file.
    #[error("{}: this is not a plain file; name one file to load", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file has no bytes.
    #[error("{}: the file is empty; write it again, even a table without rows has a header or a schema", path.display())]
    Empty {
        /// The path.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("{}: cannot be read: {source}; check its permissions and the disk", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// Neither an extension nor a name gives a known format.
    #[error("`{given}` tells no known format; name one of: {}", Format::known())]
    UnknownFormat {
        /// The path or name.
        given: String,
    },
    /// The null markers of a CSV file cannot be used.
    #[error("the null markers cannot be used: {detail}; give fewer or shorter ones")]
    BadNullMarkers {
        /// What is wrong.
        detail: String,
    },
    /// The bytes are not what the format says: damaged, cut short, or of another format.
    #[error("{}: {detail}; check the file's format, or write the file again", at(origin, *place))]
    Unreadable {
        /// The input.
        origin: String,
        /// Where, if that is known.
        place: Option<Place>,
        /// What is wrong.
        detail: String,
    },
    /// The first line of a CSV file names no column of the table.
    #[error(
        "{origin}, line 1: `{found}` names no column of the table; put a header first, with names from: {known}"
    )]
    NoHeader {
        /// The input.
        origin: String,
        /// The line's fields.
        found: String,
        /// The columns of the table.
        known: String,
    },
    /// Two columns of the input have one name.
    #[error("{origin}: there are two columns `{column}`; drop or rename one")]
    DuplicateColumn {
        /// The input.
        origin: String,
        /// The name.
        column: String,
    },
    /// The table has no such column.
    #[error(
        "{}: the table has no column `{column}`{}; rename it or leave it out, the columns are: {known}",
        at(origin, *place), hint(nearest.as_deref())
    )]
    UnknownColumn {
        /// The input.
        origin: String,
        /// Where, if not in every row.
        place: Option<Place>,
        /// The column of the input.
        column: String,
        /// The column of the table that is named most like it.
        nearest: Option<String>,
        /// The columns of the table.
        known: String,
    },
    /// The table needs a column that the input does not have.
    #[error(
        "{origin}: the required column `{column}` ({expected}) is missing; add it to the input"
    )]
    MissingColumn {
        /// The input.
        origin: String,
        /// The column of the table.
        column: String,
        /// Its type.
        expected: DataType,
    },
    /// No value of the input's type can stand in the column.
    #[error("{origin}: column `{column}` is {found}, the table has {expected}; {fix}")]
    WrongType {
        /// The input.
        origin: String,
        /// The column.
        column: String,
        /// Its type in the input.
        found: DataType,
        /// Its type in the table.
        expected: DataType,
        /// What to do.
        fix: String,
    },
    /// One value cannot stand in the column.
    #[error(
        "{origin}, {place}: column `{column}`: `{value}` {why}; correct the value, or change the column's type"
    )]
    BadValue {
        /// The input.
        origin: String,
        /// Where.
        place: Place,
        /// The column.
        column: String,
        /// The value, shortened.
        value: String,
        /// What is wrong with it; names the type that the table has.
        why: String,
    },
    /// A required column has no value.
    #[error(
        "{origin}, {place}: the required column `{column}` has no value; fill it in, or make the column nullable"
    )]
    MissingValue {
        /// The input.
        origin: String,
        /// Where.
        place: Place,
        /// The column.
        column: String,
    },
    /// Arrow refused for a reason that is no fault of a single value.
    #[error("{origin}: {source}; if the batch is very large, lower the number of rows per batch")]
    Arrow {
        /// The input.
        origin: String,
        /// What it said.
        source: ArrowError,
    },
}

impl InputError {
    /// The error that a [`super::Batches`] or [`super::ConformReader`] wrapped into `error`. Any other
    /// Arrow error becomes [`InputError::Arrow`].
    pub fn from_arrow(error: ArrowError) -> Self {
        let arrow = |source| Self::Arrow {
            origin: "input".to_owned(),
            source,
        };
        match error {
            ArrowError::ExternalError(inner) => match inner.downcast::<Self>() {
                Ok(own) => *own,
                Err(other) => arrow(ArrowError::ExternalError(other)),
            },
            other => arrow(other),
        }
    }

    /// Where the error stands, if it stands in one place.
    pub fn place(&self) -> Option<Place> {
        match self {
            Self::Unreadable { place, .. } | Self::UnknownColumn { place, .. } => *place,
            Self::BadValue { place, .. } | Self::MissingValue { place, .. } => Some(*place),
            Self::NoHeader { .. } => Some(Place::Line(1)),
            _ => None,
        }
    }

    /// The place, to be replaced by a better one.
    pub(super) fn place_mut(&mut self) -> Option<&mut Place> {
        match self {
            Self::BadValue { place, .. } | Self::MissingValue { place, .. } => Some(place),
            _ => None,
        }
    }
}

impl From<InputError> for ArrowError {
    fn from(error: InputError) -> Self {
        Self::ExternalError(Box::new(error))
    }
}

fn at(origin: &str, place: Option<Place>) -> String {
    place.map_or_else(|| origin.to_owned(), |place| format!("{origin}, {place}"))
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// How many characters of a value an error shows.
const SHOWN: usize = 60;

/// Cuts a value to a length that reads well.
pub(super) fn shorten(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(SHOWN) {
        text.truncate(end);
        text.push('…');
    }
    text
}
