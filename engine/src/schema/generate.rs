//! Schemas for property tests: valid, small, and with names from so small a pool that two of them have much in
//! common.

use proptest::{collection::vec, option, prelude::*, sample::subsequence, strategy::Union};

use super::{Endpoint, Endpoints, Index, IndexKind, Property, PropertyType, Schema, TypeDef};
use crate::ids::{TableKey, TypeKind};

const NODES: [&str; 3] = ["Person", "City", "Shop"];
const EDGES: [&str; 2] = ["Knows", "LivesIn"];
const PROPERTIES: [&str; 4] = ["a", "Bee", "c_3", "delta"];

fn type_of(text: &str) -> PropertyType {
    text.parse().unwrap()
}

/// Any type a property can have.
pub(super) fn property_type() -> impl Strategy<Value = PropertyType> {
    const PLAIN: [&str; 27] = [
        "bool",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "float16",
        "float32",
        "float64",
        "string",
        "large_string",
        "binary",
        "large_binary",
        "date32",
        "date64",
        "time32(s)",
        "time32(ms)",
        "time64(us)",
        "time64(ns)",
        "duration(ms)",
        "timestamp(s)",
        "timestamp(us, UTC)",
        "timestamp(ns, Europe/Berlin)",
        "timestamp(ms, +02:00)",
    ];
    let decimal = (1_u8..=76).prop_flat_map(|p| (Just(p), 0..=p));
    let item = prop_oneof![Just("float16"), Just("float32"), Just("float64")];
    let leaf = Union::new([
        proptest::sample::select(&PLAIN[..])
            .prop_map(type_of)
            .boxed(),
        decimal
            .prop_map(|(p, s)| type_of(&format!("decimal({p}, {s})")))
            .boxed(),
        (1_i32..2000, item)
            .prop_map(|(n, t)| type_of(&format!("vector({n}, {t})")))
            .boxed(),
    ]);
    leaf.prop_recursive(3, 3, 1, |inner| {
        inner.prop_map(|t| type_of(&format!("list({t})")))
    })
}

/// A valid schema of any types, with hints.
pub(super) fn schema() -> impl Strategy<Value = Schema> {
    schema_of(property_type().boxed(), true)
}

/// A valid schema that is likely to be reached from another one: few types, and no hints.
pub(super) fn likely_schema() -> impl Strategy<Value = Schema> {
    let few = prop_oneof![8 => Just("int32"), 1 => Just("int64")];
    schema_of(few.prop_map(type_of).boxed(), false)
}

/// A schema that is likely to be reached from another one by renames: its hints name what the other may have.
pub(super) fn renaming_schema() -> impl Strategy<Value = Schema> {
    (
        likely_schema(),
        vec(option::weighted(0.25, any::<usize>()), 24),
    )
        .prop_map(|(mut schema, picks)| {
            let mut picks = picks.into_iter();
            let mut former = |name: &str, pool: &[&str]| {
                let pick = picks.next().flatten()?;
                Some(pool[pick % pool.len()].to_owned()).filter(|former| former != name)
            };
            for (key, def) in &mut schema.types {
                let pool: &[&str] = if key.kind() == Some(TypeKind::Node) {
                    &NODES
                } else {
                    &EDGES
                };
                def.renamed_from = former(key.name(), pool);
                for property in &mut def.properties {
                    property.renamed_from = former(&property.name, &PROPERTIES);
                }
            }
            schema
        })
        .prop_filter("no file can say this", |schema| {
            Schema::parse(&schema.to_toml(), "f.toml").is_ok()
        })
}

fn schema_of(types: BoxedStrategy<PropertyType>, hints: bool) -> impl Strategy<Value = Schema> {
    let names = |pool: &'static [&'static str]| subsequence(pool, 0..=pool.len());
    let node = body(types.clone(), &["id"], hints);
    let edge = body(types, &["src", "dst"], hints);
    let nodes = names(&NODES);
    let edges = names(&EDGES);
    (
        option::of("[ -~]{0,8}x"),
        nodes,
        vec(node, 3),
        edges,
        vec((edge, any::<[u8; 2]>()), 2),
    )
        .prop_map(move |(name, nodes, node_defs, edges, edge_defs)| {
            let mut schema = Schema {
                name,
                ..Schema::default()
            };
            for (name, mut def) in nodes.iter().zip(node_defs) {
                def.key = vec!["id".to_owned()];
                def.properties[0].required = true;
                def.renamed_from = hints.then(|| format!("Old{name}"));
                schema
                    .types
                    .insert(TableKey::new(TypeKind::Node, *name).unwrap(), def);
            }
            for (name, (mut def, at)) in edges.iter().zip(edge_defs).filter(|_| !nodes.is_empty()) {
                let end = |i: usize, property: &str| Endpoint {
                    node: nodes[usize::from(at[i]) % nodes.len()].to_owned(),
                    property: property.to_owned(),
                };
                def.endpoints = Some(Endpoints {
                    from: end(0, "src"),
                    to: end(1, "dst"),
                });
                schema
                    .types
                    .insert(TableKey::new(TypeKind::Edge, *name).unwrap(), def);
            }
            schema
        })
}

/// A type with the properties `fixed`, all strings, and some more.
fn body(
    types: BoxedStrategy<PropertyType>,
    fixed: &'static [&'static str],
    hints: bool,
) -> impl Strategy<Value = TypeDef> {
    let details = (
        types,
        any::<bool>(),
        any::<bool>(),
        option::of("[a-z]{1,4}"),
        any::<bool>(),
    );
    (
        subsequence(&PROPERTIES[..], 0..=4).prop_shuffle(),
        vec(details, 4),
    )
        .prop_map(move |(names, details)| {
            let string = |name: &&str| Property {
                name: (*name).to_owned(),
                data_type: type_of("string"),
                required: false,
                renamed_from: None,
            };
            let mut def = TypeDef {
                properties: fixed.iter().map(string).collect(),
                ..TypeDef::default()
            };
            for (name, (data_type, required, former, index_name, indexed)) in
                names.iter().zip(details)
            {
                let kind = IndexKind::ALL
                    .into_iter()
                    .rev()
                    .find(|kind| kind.suits(&data_type));
                if let Some(kind) = kind.filter(|_| indexed) {
                    let default = || Index::default_name(name, kind);
                    let own = index_name.map_or_else(default, |n| format!("{n}_{name}"));
                    def.indexes.push(Index {
                        name: own,
                        property: (*name).to_owned(),
                        kind,
                    });
                }
                def.properties.push(Property {
                    name: (*name).to_owned(),
                    data_type,
                    required: hints && required,
                    renamed_from: (hints && former).then(|| format!("old_{name}")),
                });
            }
            def
        })
}
