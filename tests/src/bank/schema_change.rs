//! Schema changes that move no money.

use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use squire_engine::{
    TableKey,
    schema::{Property, PropertyType, Schema, TypeDef},
};

use super::Till;

/// A type that comes and goes.
const DESK: &str = "node:Desk";
/// The two names of the type that is renamed.
const BRANCHES: [&str; 2] = ["node:Branch", "node:Office"];
/// The two names of the column of notes.
const NOTES: [&str; 2] = ["note", "memo"];

/// One or two changes of the schema, by seed: in words and as the schema that is wanted.
pub fn next(rng: &mut StdRng, now: &Schema) -> (String, Schema) {
    let mut wanted = now.clone();
    let number = rng.random_range(1..=2);
    let mut changes = Vec::new();
    // No two of one kind, or one may undo the other.
    for kind in [0, 1, 2, 3].choose_multiple(rng, number).copied() {
        let till = Till::ALL.choose(rng).copied().unwrap_or(Till::Branch);
        let table = table_of(&wanted, till);
        changes.push(match kind {
            0 => toggle_property(&mut wanted, &table, "extra"),
            1 => rename_property(&mut wanted, &table),
            2 => rename_type(&mut wanted),
            _ => toggle_type(&mut wanted),
        });
    }
    (changes.join(", "), wanted)
}

fn key(text: &str) -> TableKey {
    text.parse().expect("a table key")
}

/// The key that a till's type has now.
fn table_of(schema: &Schema, till: Till) -> TableKey {
    let names = match till {
        Till::Branch => BRANCHES.map(key).to_vec(),
        till if till.is_node() => vec![key(&format!("node:{}", till.name()))],
        till => vec![key(&format!("edge:{}", till.name()))],
    };
    let is_there = |key: &TableKey| schema.types.contains_key(key);
    names.into_iter().find(is_there).expect("every till stays")
}

fn toggle_property(schema: &mut Schema, table: &TableKey, name: &str) -> String {
    let properties = &mut type_of(schema, table).properties;
    let before = properties.len();
    properties.retain(|p| p.name != name);
    if properties.len() < before {
        return format!("drop {table}.{name}");
    }
    properties.push(Property {
        name: name.to_owned(),
        data_type: text(),
        required: false,
        renamed_from: None,
    });
    format!("add {table}.{name}")
}

fn rename_property(schema: &mut Schema, table: &TableKey) -> String {
    for property in &mut type_of(schema, table).properties {
        if let Some(other) = other(NOTES, &property.name) {
            let name = std::mem::replace(&mut property.name, other.to_owned());
            property.renamed_from = Some(name);
            return format!("rename {table}.{}", property.name);
        }
    }
    "nothing".to_owned()
}

fn rename_type(schema: &mut Schema) -> String {
    let from = table_of(schema, Till::Branch);
    let to = other(BRANCHES, &from.to_string()).map_or_else(|| from.clone(), key);
    if let Some(mut def) = schema.types.remove(&from) {
        def.renamed_from = Some(from.name().to_owned());
        schema.types.insert(to.clone(), def);
    }
    format!("rename {from} to {to}")
}

fn toggle_type(schema: &mut Schema) -> String {
    if schema.types.remove(&key(DESK)).is_some() {
        return format!("drop {DESK}");
    }
    let id = Property {
        name: "id".to_owned(),
        data_type: text(),
        required: true,
        renamed_from: None,
    };
    let desk = TypeDef {
        properties: vec![id],
        key: vec!["id".to_owned()],
        ..TypeDef::default()
    };
    schema.types.insert(key(DESK), desk);
    format!("add {DESK}")
}

fn type_of<'a>(schema: &'a mut Schema, table: &TableKey) -> &'a mut TypeDef {
    schema.types.get_mut(table).expect("every till stays")
}

fn text() -> PropertyType {
    "string".parse().expect("a type")
}

fn other<'a>(pair: [&'a str; 2], name: &str) -> Option<&'a str> {
    match pair {
        [one, two] if one == name => Some(two),
        [one, two] if two == name => Some(one),
        _ => None,
    }
}
