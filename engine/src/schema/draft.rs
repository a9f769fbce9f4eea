//! A schema as it was read, before it is checked.

use super::{
    Endpoint, Endpoints, Index, IndexKind, Property, PropertyType, Schema, TypeDef, reader::At,
};
use crate::ids::{TableKey, TypeKind};

/// The schema as it was read, not yet known to make sense.
pub(super) struct Draft {
    pub(super) name: Option<String>,
    pub(super) types: Vec<DraftType>,
}

/// A type as it was read. What could not be read is missing.
pub(super) struct DraftType {
    pub(super) kind: TypeKind,
    pub(super) name: At<String>,
    pub(super) properties: Vec<DraftProperty>,
    pub(super) key: Vec<At<String>>,
    /// Whether the file has a `key` at all.
    pub(super) has_key: bool,
    pub(super) from: Option<DraftEndpoint>,
    pub(super) to: Option<DraftEndpoint>,
    pub(super) indexes: Vec<DraftIndex>,
    pub(super) renamed_from: Option<At<String>>,
}

pub(super) struct DraftProperty {
    pub(super) name: At<String>,
    pub(super) data_type: Option<PropertyType>,
    pub(super) required: Option<At<bool>>,
    pub(super) renamed_from: Option<At<String>>,
}

pub(super) struct DraftEndpoint {
    pub(super) node: At<String>,
    pub(super) property: At<String>,
}

pub(super) struct DraftIndex {
    pub(super) property: At<String>,
    pub(super) kind: At<IndexKind>,
    /// The name, and where it or the index stands.
    pub(super) name: At<String>,
}

impl Draft {
    /// The schema. The draft has been checked: nothing is missing and every name is one.
    pub(super) fn into_schema(self) -> Schema {
        let types = self.types.into_iter().filter_map(|t| {
            let key = TableKey::new(t.kind, t.name.value.clone()).ok()?;
            Some((key, t.into_def()))
        });
        Schema {
            name: self.name,
            types: types.collect(),
        }
    }
}

impl DraftType {
    fn into_def(self) -> TypeDef {
        let key: Vec<String> = self.key.into_iter().map(|column| column.value).collect();
        let properties = self.properties.into_iter().filter_map(|p| {
            Some(Property {
                required: p.required.is_some_and(|r| r.value) || key.contains(&p.name.value),
                name: p.name.value,
                data_type: p.data_type?,
                renamed_from: p.renamed_from.map(|r| r.value),
            })
        });
        let indexes = self.indexes.into_iter().map(|i| Index {
            name: i.name.value,
            property: i.property.value,
            kind: i.kind.value,
        });
        let end = |e: DraftEndpoint| Endpoint {
            node: e.node.value,
            property: e.property.value,
        };
        TypeDef {
            properties: properties.collect(),
            endpoints: self.from.zip(self.to).map(|(f, t)| Endpoints {
                from: end(f),
                to: end(t),
            }),
            indexes: indexes.collect(),
            renamed_from: self.renamed_from.map(|r| r.value),
            key,
        }
    }
}
