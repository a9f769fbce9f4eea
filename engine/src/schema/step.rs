//! The steps from one schema to another.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use super::{Endpoints, Index, Property, PropertyType, Schema, TypeDef};
use crate::ids::{TableKey, TypeKind};

/// One step from a schema to the next.
///
/// Steps are taken in their order: types are dropped, renamed and added first. So a step names a table by
/// the name it has by then: the old one in `DropType` and `RenameType::from`, the new one everywhere else. Steps are
/// the logical plan of a `SchemaApply` and stand in its sidecar.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// The graph gets another name, or none.
    SetName {
        /// The new name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
    },
    /// A type goes, with all its rows.
    DropType {
        /// The type's table.
        table: TableKey,
    },
    /// A type gets another name. Its path stays.
    RenameType {
        /// The name it had.
        from: TableKey,
        /// The name it gets, of the same kind.
        to: TableKey,
    },
    /// A new type, without rows.
    AddType {
        /// The type's table.
        table: TableKey,
        /// What it holds, settled.
        def: TypeDef,
    },
    /// An index is no longer declared. The table keeps it, and it is kept up like any other.
    DropIndex {
        /// The table.
        table: TableKey,
        /// The index's name.
        index: String,
    },
    /// A property goes, with all its values.
    DropProperty {
        /// The table.
        table: TableKey,
        /// The property.
        property: String,
    },
    /// A property gets another name.
    RenameProperty {
        /// The table.
        table: TableKey,
        /// The name it had.
        from: String,
        /// The name it gets.
        to: String,
    },
    /// A new nullable property, null in every row. It comes after the others.
    AddProperty {
        /// The table.
        table: TableKey,
        /// The property, settled.
        property: Property,
    },
    /// A property's values become values of a wider type: the column is rewritten.
    WidenCast {
        /// The table.
        table: TableKey,
        /// The property.
        property: String,
        /// The type it had.
        from: PropertyType,
        /// The type it gets; [`PropertyType::widens_to`] holds.
        to: PropertyType,
    },
    /// A property may be null from now on.
    MakeNullable {
        /// The table.
        table: TableKey,
        /// The property.
        property: String,
    },
    /// A property must not be null from now on. Staging reads the column first: a row
    /// without a value fails the operation.
    MakeRequired {
        /// The table.
        table: TableKey,
        /// The property.
        property: String,
    },
    /// Other columns hold the end points of an edge, or they hold keys of other nodes.
    SetEndpoints {
        /// The edge's table.
        table: TableKey,
        /// The end points from now on.
        endpoints: Option<Endpoints>,
    },
    /// A type without a key gets its first one. Staging reads the columns first: two rows
    /// with one key fail the operation.
    SetKey {
        /// The table.
        table: TableKey,
        /// The key.
        key: Vec<String>,
    },
    /// An index is declared; the daemon builds it.
    AddIndex {
        /// The table.
        table: TableKey,
        /// The index.
        index: Index,
    },
}

/// What a step costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cost {
    /// Only metadata is written, whatever the number of rows.
    Metadata,
    /// A column of every row is written anew.
    Rewrite,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Metadata => "metadata only",
            Self::Rewrite => "rewrites the column",
        })
    }
}

impl Step {
    /// What the step costs. Only a widening cast rewrites.
    pub const fn cost(&self) -> Cost {
        match self {
            Self::WidenCast { .. } => Cost::Rewrite,
            _ => Cost::Metadata,
        }
    }

    /// What the step costs as one of `steps`. Where a column of the table is cast, the others can neither change whether
    /// they may be null nor take over a name without being rewritten as well: Lance commits such a change no other way.
    pub fn cost_among(&self, steps: &[Self]) -> Cost {
        let beside = || steps.iter().filter(|step| step.table() == self.table());
        let gives_up = |name: &String| {
            beside().any(|step| match step {
                Self::RenameProperty { from, .. } => from == name,
                Self::DropProperty { property, .. } => property == name,
                _ => false,
            })
        };
        let bound_anew = match self {
            Self::MakeNullable { .. } | Self::MakeRequired { .. } => true,
            Self::RenameProperty { to: name, .. } => gives_up(name),
            Self::AddProperty { property, .. } => gives_up(&property.name),
            _ => false,
        };
        if bound_anew && beside().any(|step| step.cost() == Cost::Rewrite) {
            Cost::Rewrite
        } else {
            self.cost()
        }
    }

    /// Whether rows or values cannot be reached after the step. (An index can be built again.)
    pub const fn destroys(&self) -> bool {
        matches!(self, Self::DropType { .. } | Self::DropProperty { .. })
    }

    /// Whether the step changes the table's columns, and not only what the manifest says about it.
    pub const fn alters_columns(&self) -> bool {
        matches!(
            self,
            Self::DropProperty { .. }
                | Self::RenameProperty { .. }
                | Self::AddProperty { .. }
                | Self::WidenCast { .. }
                | Self::MakeNullable { .. }
                | Self::MakeRequired { .. }
        )
    }

    /// The table the step is about, by the name it has after the step; none for the graph itself.
    pub const fn table(&self) -> Option<&TableKey> {
        match self {
            Self::SetName { .. } => None,
            Self::RenameType { to: table, .. }
            | Self::DropType { table }
            | Self::AddType { table, .. }
            | Self::DropIndex { table, .. }
            | Self::DropProperty { table, .. }
            | Self::RenameProperty { table, .. }
            | Self::AddProperty { table, .. }
            | Self::WidenCast { table, .. }
            | Self::MakeNullable { table, .. }
            | Self::MakeRequired { table, .. }
            | Self::SetEndpoints { table, .. }
            | Self::SetKey { table, .. }
            | Self::AddIndex { table, .. } => Some(table),
        }
    }

    const fn endpoints(&self) -> Option<&Endpoints> {
        match self {
            Self::AddType { def, .. } => def.endpoints.as_ref(),
            Self::SetEndpoints { endpoints, .. } => endpoints.as_ref(),
            _ => None,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetName { to: Some(name) } => write!(f, "name the graph `{name}`"),
            Self::SetName { to: None } => f.write_str("take the graph's name away"),
            Self::DropType { table } => write!(f, "drop {table} with all its rows"),
            Self::RenameType { from, to } => write!(f, "rename {from} to {to}"),
            Self::AddType { table, def } => {
                let plural = if def.properties.len() == 1 {
                    "property"
                } else {
                    "properties"
                };
                write!(f, "add {table} with {} {plural}", def.properties.len())
            }
            Self::DropIndex { table, index } => write!(f, "{table}: drop index `{index}`"),
            Self::DropProperty { table, property } => {
                write!(f, "{table}: drop property `{property}` with all its values")
            }
            Self::RenameProperty { table, from, to } => {
                write!(f, "{table}: rename property `{from}` to `{to}`")
            }
            Self::AddProperty { table, property } => {
                write!(
                    f,
                    "{table}: add property `{}` of type {}",
                    property.name, property.data_type
                )
            }
            Self::WidenCast {
                table,
                property,
                from,
                to,
            } => {
                write!(
                    f,
                    "{table}: widen property `{property}` from {from} to {to} ({})",
                    self.cost()
                )
            }
            Self::MakeNullable { table, property } => {
                write!(f, "{table}: let property `{property}` be null")
            }
            Self::MakeRequired { table, property } => {
                write!(f, "{table}: make property `{property}` required")
            }
            Self::SetEndpoints {
                table,
                endpoints: Some(Endpoints { from, to }),
            } => write!(
                f,
                "{table}: lead from `{}` ({}) to `{}` ({})",
                from.property, from.node, to.property, to.node
            ),
            Self::SetEndpoints {
                table,
                endpoints: None,
            } => {
                write!(f, "{table}: take the end points away")
            }
            Self::SetKey { table, key } => write!(f, "{table}: set the key to {}", key.join(", ")),
            Self::AddIndex { table, index } => write!(
                f,
                "{table}: declare {} index `{}` on `{}`",
                index.kind, index.name, index.property
            ),
        }
    }
}

/// The types that the steps rename: by the key they had, the key they get.
pub fn renamed(steps: &[Step]) -> BTreeMap<TableKey, TableKey> {
    let renames = steps.iter().filter_map(|step| match step {
        Step::RenameType { from, to } => Some((from.clone(), to.clone())),
        _ => None,
    });
    renames.collect()
}

/// The tables that the steps write, of an operation that goes from `old`: step 1 of the protocol's operation,
/// *classify*. Rewritten ∪ rename sources and targets ∪ dropped ∪ added names, derived without a snapshot.
///
/// An edge at the end of which a node type is renamed is written too: its definition changes.
pub fn touched(old: &Schema, steps: &[Step]) -> BTreeSet<TableKey> {
    let mut tables: BTreeSet<_> = steps.iter().filter_map(Step::table).cloned().collect();
    for step in steps {
        if let Step::RenameType { from, .. } = step {
            tables.insert(from.clone());
            tables.extend(edges_at(old, from).cloned());
        }
    }
    tables
}

/// The tables that the steps only read: the nodes at the ends of edges that are added or led elsewhere. So
/// no other operation drops such a node, or changes its key's type, before the edge is published.
pub fn reads(old: &Schema, steps: &[Step]) -> BTreeSet<TableKey> {
    let written = touched(old, steps);
    let ends = steps
        .iter()
        .filter_map(Step::endpoints)
        .flat_map(|ends| [&ends.from, &ends.to]);
    ends.filter_map(|end| TableKey::new(TypeKind::Node, end.node.clone()).ok())
        .filter(|node| !written.contains(node))
        .collect()
}

/// The edge types that begin or end at a node type.
fn edges_at<'s>(schema: &'s Schema, node: &TableKey) -> impl Iterator<Item = &'s TableKey> {
    let name = (node.kind() == Some(TypeKind::Node)).then(|| node.name().to_owned());
    schema.types.iter().filter_map(move |(key, def)| {
        let (ends, name) = (def.endpoints.as_ref()?, name.as_ref()?);
        (ends.from.node == *name || ends.to.node == *name).then_some(key)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> TableKey {
        text.parse().unwrap()
    }

    fn keys(texts: &[&str]) -> BTreeSet<TableKey> {
        texts.iter().map(|text| key(text)).collect()
    }

    fn flights() -> Schema {
        Schema::parse(
            r#"
            [node.Airport]
            key = ["faa"]
            properties = { faa = "string" }
            [edge.Flight]
            from = { node = "Airport", property = "origin" }
            to = { node = "Airport", property = "dest" }
            properties = { origin = "string", dest = "string" }
            [node.Other]
            key = ["id"]
            properties = { id = "string" }
            "#,
            "f.toml",
        )
        .unwrap()
    }

    fn widen() -> Step {
        Step::WidenCast {
            table: key("node:Other"),
            property: "n".into(),
            from: "int8".parse().unwrap(),
            to: "int16".parse().unwrap(),
        }
    }

    #[test]
    fn only_a_widening_cast_rewrites_and_only_drops_destroy() {
        let drop_type = Step::DropType {
            table: key("node:Other"),
        };
        let drop_index = Step::DropIndex {
            table: key("node:Other"),
            index: "i".into(),
        };
        assert_eq!((widen().cost(), widen().destroys()), (Cost::Rewrite, false));
        assert_eq!(
            (drop_type.cost(), drop_type.destroys()),
            (Cost::Metadata, true)
        );
        assert_eq!(
            (drop_index.cost(), drop_index.destroys()),
            (Cost::Metadata, false)
        );
    }

    #[test]
    fn a_rename_touches_source_target_and_the_edges_that_end_there() {
        let steps = [Step::RenameType {
            from: key("node:Airport"),
            to: key("node:Field"),
        }];
        let expected = keys(&["node:Airport", "node:Field", "edge:Flight"]);
        assert_eq!(touched(&flights(), &steps), expected);
    }

    #[test]
    fn only_the_tables_of_the_steps_are_touched() {
        assert_eq!(touched(&flights(), &[widen()]), keys(&["node:Other"]));
        assert_eq!(
            touched(&flights(), &[Step::SetName { to: None }]),
            keys(&[])
        );
    }

    #[test]
    fn an_added_edge_reads_the_nodes_it_ends_at() {
        let flights = flights();
        let def = flights.types[&key("edge:Flight")].clone();
        let add = Step::AddType {
            table: key("edge:Cargo"),
            def,
        };
        assert_eq!(
            touched(&flights, std::slice::from_ref(&add)),
            keys(&["edge:Cargo"])
        );
        assert_eq!(reads(&flights, &[add]), keys(&["node:Airport"]));
    }

    #[test]
    fn a_step_is_read_by_a_person_and_by_a_healer() {
        assert_eq!(
            widen().to_string(),
            "node:Other: widen property `n` from int8 to int16 (rewrites the column)"
        );
        let json = serde_json::to_string(&widen()).unwrap();
        assert_eq!(serde_json::from_str::<Step>(&json).unwrap(), widen());
    }
}
