//! What rows have in the way of a schema apply.

/// What rows have in the way of a step of a schema apply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// A property would be required.
    #[error(
        "property `{property}` cannot be required, because {rows} rows have no value for it: load values for them or delete them, then apply again"
    )]
    MissingValues {
        /// The property, by its new name.
        property: String,
        /// Rows without a value.
        rows: u64,
    },
    /// A type would get a key.
    #[error(
        "({}) cannot be the key, because {rows} rows repeat the key of another, for example {example}: delete them, then apply again", .key.join(", ")
    )]
    RepeatedKeys {
        /// The properties of the key, by their new names.
        key: Vec<String>,
        /// Rows whose key an earlier row has.
        rows: u64,
        /// One of the keys.
        example: String,
    },
}
