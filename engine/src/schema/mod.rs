//! The schema of a graph: node and edge types, their properties, keys and declared indexes.
//!
//! A schema is written as a TOML file ([`Schema::parse`], [`Schema::to_toml`]), kept in the manifest as
//! JSON, and changed only by the steps that [`plan()`] finds between two schemas. Everything here
//! is a pure function: a healer that plans again under a held ticket comes to the same steps.
//!
//! | file | what is in it |
//! |---|---|
//! | `parse` | reads a schema file |
//! | `reader` | reads TOML, and reports every problem with its place |
//! | `draft` | a schema as it was read, before it is checked |
//! | `check` | what a schema file must hold beyond the shape of its parts |
//! | `problem` | what is wrong with a schema file, and where |
//! | `render` | writes a schema as a file |
//! | `property_type` | the types of properties, as text and as Arrow types |
//! | `plan` | the steps from one schema to another, or why there are none |
//! | `alter` | the steps for one type |
//! | `rename` | which `renamed_from` hints call for a rename |
//! | `step` | the steps as such |
//! | `apply` | takes the steps |
//! | `refusal` | why a schema cannot be changed as asked |

mod alter;
mod apply;
mod check;
mod draft;
#[cfg(test)]
mod generate;
mod parse;
mod plan;
mod problem;
mod property_type;
mod reader;
mod refusal;
mod rename;
mod render;
mod step;

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

pub use apply::{Misfit, apply};
pub use plan::plan;
pub use problem::{Problem, SchemaError};
pub use property_type::{PropertyType, TypeError};
pub use refusal::{PlanError, Refusal};
pub use step::{Cost, Step, reads, renamed, touched};

use crate::ids::TableKey;

/// What the tables of a graph hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// The graph's name, for people; nothing is found by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The types by table key. No two names are the same when compared case-folded.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub types: BTreeMap<TableKey, TypeDef>,
}

/// A node or edge type: what one table holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeDef {
    /// The properties, in the order of the table's columns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub properties: Vec<Property>,
    /// The properties that tell one row from another. A node has at least one; an edge may have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<String>,
    /// Where an edge begins and ends. Nodes have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Endpoints>,
    /// The declared indexes. They are derived state: the daemon builds them, no logical operation does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<Index>,
    /// The name this type had before: a hint in the file, never in a manifest (see [`Schema::settled`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<String>,
}

/// One column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Property {
    /// The column's name.
    pub name: String,
    /// What its values are.
    #[serde(rename = "type")]
    pub data_type: PropertyType,
    /// Whether every row has a value. Properties of a key always are required.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// The name this property had before: a hint in the file, never in a manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<String>,
}

/// The two ends of an edge type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// Where the edge begins.
    pub from: Endpoint,
    /// Where the edge ends.
    pub to: Endpoint,
}

/// One end of an edge type: a column of the edge's table that holds keys of a node type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The node type's name.
    pub node: String,
    /// The edge's property that holds the node's key.
    pub property: String,
}

/// An index that a type declares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// The index's name, unique in its table.
    pub name: String,
    /// The property that is indexed.
    pub property: String,
    /// What kind of index it is.
    pub kind: IndexKind,
}

/// The kinds of index that can be declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IndexKind {
    /// Sorted values: equality and ranges.
    Btree,
    /// One set of rows per value: few distinct values.
    Bitmap,
    /// One set of rows per list item.
    LabelList,
    /// Full-text search.
    Inverted,
    /// Nearest neighbours.
    Vector,
}

impl IndexKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Btree,
        Self::Bitmap,
        Self::LabelList,
        Self::Inverted,
        Self::Vector,
    ];

    /// The kind as the schema file writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Btree => "btree",
            Self::Bitmap => "bitmap",
            Self::LabelList => "label_list",
            Self::Inverted => "inverted",
            Self::Vector => "vector",
        }
    }

    /// Whether a property of type `t` can have an index of this kind.
    pub fn suits(self, t: &PropertyType) -> bool {
        match self {
            Self::Btree | Self::Bitmap => !t.is_list() && !t.is_vector(),
            Self::LabelList => t.is_list(),
            Self::Inverted => t.is_string(),
            Self::Vector => t.is_vector(),
        }
    }

    /// The properties that [`Self::suits`] accepts, in words.
    const fn domain(self) -> &'static str {
        match self {
            Self::Btree | Self::Bitmap => "single values, neither lists nor vectors",
            Self::LabelList => "lists",
            Self::Inverted => "`string` and `large_string`",
            Self::Vector => "vectors",
        }
    }
}

impl fmt::Display for IndexKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no [`IndexKind`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no kind of index: write btree, bitmap, label_list, inverted or vector")]
pub struct UnknownIndexKind(String);

impl FromStr for IndexKind {
    type Err = UnknownIndexKind;

    fn from_str(text: &str) -> Result<Self, UnknownIndexKind> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| UnknownIndexKind(text.to_owned()))
    }
}

impl Index {
    /// The name of an index that is declared without one: `<property>_<kind>`.
    pub fn default_name(property: &str, kind: IndexKind) -> String {
        format!("{property}_{kind}")
    }
}

impl Property {
    /// The property as a column of an Arrow schema.
    pub fn arrow_field(&self) -> arrow_schema::Field {
        arrow_schema::Field::new(&self.name, self.data_type.to_arrow(), !self.required)
    }
}

impl TypeDef {
    /// The Arrow schema of the type's table. A required property is a column that is not nullable.
    pub fn arrow_schema(&self) -> arrow_schema::Schema {
        let fields: Vec<_> = self.properties.iter().map(Property::arrow_field).collect();
        arrow_schema::Schema::new(fields)
    }

    /// The property of that name.
    pub fn property(&self, name: &str) -> Option<&Property> {
        self.properties.iter().find(|p| p.name == name)
    }

    /// The type without its rename hints.
    pub fn settled(mut self) -> Self {
        self.renamed_from = None;
        for property in &mut self.properties {
            property.renamed_from = None;
        }
        self
    }
}

impl Schema {
    /// The schema as a manifest keeps it: without the hints that only the way there needed.
    pub fn settled(self) -> Self {
        let types = self
            .types
            .into_iter()
            .map(|(key, def)| (key, def.settled()))
            .collect();
        Self {
            name: self.name,
            types,
        }
    }
}

/// Names are compared case-folded everywhere: a store may not tell `Person` from `person`. Names are ASCII.
fn folded(name: &str) -> String {
    name.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn person() -> Schema {
        Schema::parse(
            r#"
            [node.Person]
            key = ["id"]
            renamed_from = "Human"
            [node.Person.properties]
            id = "int64"
            name = { type = "string", renamed_from = "title" }
            "#,
            "graph.toml",
        )
        .unwrap()
    }

    #[test]
    fn a_required_property_is_a_column_that_is_not_nullable() {
        let schema = person();
        let arrow = schema.types.values().next().unwrap().arrow_schema();
        let columns: Vec<_> = arrow
            .fields()
            .iter()
            .map(|f| (f.name(), f.is_nullable()))
            .collect();
        assert_eq!(
            columns,
            [(&"id".to_owned(), false), (&"name".to_owned(), true)]
        );
    }

    #[test]
    fn a_settled_schema_has_no_hints() {
        let settled = person().settled();
        assert!(
            !serde_json::to_string(&settled)
                .unwrap()
                .contains("renamed_from")
        );
        assert_eq!(settled.clone().settled(), settled);
    }

    #[test]
    fn the_json_says_nothing_that_is_a_default() {
        let json = serde_json::to_string(&person().settled()).unwrap();
        assert_eq!(
            json,
            r#"{"types":{"node:Person":{"properties":[{"name":"id","type":"int64","required":true},{"name":"name","type":"string"}],"key":["id"]}}}"#
        );
    }

    #[test]
    fn json_of_a_later_release_is_read_over_what_is_unknown() {
        let json = r#"{"types":{"edge:E":{"colour":"red","key":["a"]}},"later":1}"#;
        let schema: Schema = serde_json::from_str(json).unwrap();
        assert_eq!(schema.types.values().next().unwrap().key, ["a"]);
    }

    #[test]
    fn a_kind_of_index_reads_back_as_it_is_written() {
        for kind in IndexKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
        }
        assert!("ivf".parse::<IndexKind>().is_err());
    }

    proptest! {
        #[test]
        fn the_manifest_gives_back_the_schema_it_was_given(schema in generate::schema()) {
            let json = serde_json::to_string(&schema).unwrap();
            prop_assert_eq!(serde_json::from_str::<Schema>(&json).unwrap(), schema);
        }
    }
}
