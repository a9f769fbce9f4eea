//! Reading a schema file.
//!
//! First the file is read into a [`Draft`] that remembers where everything stands; then the draft is
//! checked as a whole ([`super::check`]). Both note what is wrong and go on.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Index, IndexKind, Schema, SchemaError,
    check::check,
    draft::{Draft, DraftEndpoint, DraftIndex, DraftProperty, DraftType},
    problem::proposal,
    reader::{At, Entry, Reader, Table},
};
use crate::ids::TypeKind;

impl Schema {
    /// Reads a schema file. `file_name` only serves to tell the place of a problem.
    ///
    /// A schema that was read makes sense: names are distinct case-folded, every key, endpoint and index
    /// names a property of a fitting type, and properties of a key are required.
    ///
    /// # Errors
    /// [`SchemaError`] with everything that is wrong, each with line, column and how to put it right.
    /// When the text is no TOML, only that is reported.
    pub fn parse(text: &str, file_name: &str) -> Result<Self, SchemaError> {
        let mut reader = Reader::new(text);
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let at = error.span().map_or(0, |span| span.start);
            reader.problem(at, format!("this is not TOML: {}", error.message()));
        }
        if reader.is_clean() {
            let draft = read_graph(&mut reader, &root);
            check(&mut reader, &draft);
            if reader.is_clean() {
                return Ok(draft.into_schema());
            }
        }
        Err(reader.into_error(file_name))
    }
}

fn read_graph<'t>(reader: &mut Reader<'_>, root: &'t Spanned<DeTable<'t>>) -> Draft {
    let document = reader.document(root);
    reader.only(&document, &["graph", "node", "edge"]);
    let name = document
        .get("graph")
        .and_then(|entry| reader.table(&entry, "`[graph]`".to_owned()))
        .and_then(|graph| read_graph_name(reader, &graph));
    let mut types = Vec::new();
    for kind in [TypeKind::Node, TypeKind::Edge] {
        let Some(entry) = document.get(kind.as_str()) else {
            continue;
        };
        let Some(all) = reader.table(&entry, format!("`{kind}`")) else {
            continue;
        };
        types.extend(
            all.entries()
                .iter()
                .filter_map(|entry| read_type(reader, kind, entry)),
        );
    }
    Draft { name, types }
}

fn read_graph_name(reader: &mut Reader<'_>, graph: &Table<'_>) -> Option<String> {
    reader.only(graph, &["name"]);
    let name = reader.field(graph, "name")?;
    if name.value.trim().is_empty() || name.value.chars().any(char::is_control) {
        reader.problem(
            name.at,
            "`name` of the graph is empty or not printable: name it or leave the line out",
        );
    }
    Some(name.value)
}

fn read_type(reader: &mut Reader<'_>, kind: TypeKind, entry: &Entry<'_>) -> Option<DraftType> {
    let At { at, value: name } = entry.key;
    reader.name(at, name);
    let table = reader.table(entry, format!("{kind} `{name}`"))?;
    let own: &[&str] = match kind {
        TypeKind::Node => &["key", "properties", "index", "renamed_from"],
        TypeKind::Edge => &["from", "to", "key", "properties", "index", "renamed_from"],
    };
    reader.only(&table, own);
    let ends = (kind == TypeKind::Edge).then(|| {
        (
            read_endpoint(reader, &table, "from"),
            read_endpoint(reader, &table, "to"),
        )
    });
    let (from, to) = ends.unwrap_or_default();
    Some(DraftType {
        kind,
        name: At {
            at,
            value: name.to_owned(),
        },
        properties: read_properties(reader, &table),
        key: read_key(reader, &table),
        has_key: table.get("key").is_some(),
        from,
        to,
        indexes: read_indexes(reader, &table),
        renamed_from: read_former_name(reader, &table),
    })
}

fn read_former_name(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<At<String>> {
    let former = reader.field(table, "renamed_from")?;
    reader.name(former.at, &former.value);
    Some(former)
}

fn read_key(reader: &mut Reader<'_>, table: &Table<'_>) -> Vec<At<String>> {
    let Some(entry) = table.get("key") else {
        return Vec::new();
    };
    let columns = reader.array(&entry, "write `key = [\"PROPERTY\"]`");
    if let (DeValue::Array(_), []) = (entry.value.get_ref(), columns) {
        let message = format!("the key of {} is empty: name a property", table.label);
        reader.problem(entry.key.at, message);
    }
    columns
        .iter()
        .filter_map(|column| reader.string(column, "key"))
        .collect()
}

fn read_endpoint(reader: &mut Reader<'_>, table: &Table<'_>, end: &str) -> Option<DraftEndpoint> {
    let form = format!("write `{end} = {{ node = \"TYPE\", property = \"PROPERTY\" }}`");
    let Some(entry) = table.get(end) else {
        reader.problem(table.at, format!("{} has no `{end}`: {form}", table.label));
        return None;
    };
    let ends = reader.table(&entry, format!("`{end}` of {}", table.label))?;
    reader.only(&ends, &["node", "property"]);
    let node = reader.needed(&ends, "node", &form);
    let property = reader.needed(&ends, "property", &form);
    Some(DraftEndpoint {
        node: node?,
        property: property?,
    })
}

fn read_properties(reader: &mut Reader<'_>, table: &Table<'_>) -> Vec<DraftProperty> {
    let Some(entry) = table.get("properties") else {
        return Vec::new();
    };
    let label = format!("`properties` of {}", table.label);
    let Some(properties) = reader.table(&entry, label) else {
        return Vec::new();
    };
    properties
        .entries()
        .iter()
        .map(|entry| read_property(reader, &table.label, entry))
        .collect()
}

fn read_property(reader: &mut Reader<'_>, of: &str, entry: &Entry<'_>) -> DraftProperty {
    let At { at, value: name } = entry.key;
    reader.name(at, name);
    let mut property = DraftProperty {
        name: At {
            at,
            value: name.to_owned(),
        },
        data_type: None,
        required: None,
        renamed_from: None,
    };
    let short = matches!(entry.value.get_ref(), DeValue::String(_));
    let data_type = if short {
        reader.string(entry.value, name)
    } else {
        let label = format!("property `{name}` of {of}");
        let Some(long) = reader.table(entry, label) else {
            return property;
        };
        reader.only(&long, &["type", "required", "renamed_from"]);
        property.required = reader.flag(&long, "required");
        property.renamed_from = read_former_name(reader, &long);
        reader.needed(&long, "type", "write `type = \"string\"` or another type")
    };
    if let Some(text) = data_type {
        match text.value.parse() {
            Ok(data_type) => property.data_type = Some(data_type),
            Err(bad) => reader.problem(text.at, format!("property `{name}` of {of}: {bad}")),
        }
    }
    property
}

fn read_indexes(reader: &mut Reader<'_>, table: &Table<'_>) -> Vec<DraftIndex> {
    let Some(entry) = table.get("index") else {
        return Vec::new();
    };
    let kind = table.label.split(' ').next().unwrap_or_default();
    let form = format!("write `[[{kind}.TYPE.index]]`");
    let mut indexes = Vec::new();
    for item in reader.array(&entry, &form) {
        let label = format!("an index of {}", table.label);
        if let Some(index) = reader.item_table(item.span().start, item, label) {
            indexes.extend(read_index(reader, &index));
        }
    }
    indexes
}

fn read_index(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<DraftIndex> {
    reader.only(table, &["property", "kind", "name"]);
    let property = reader.needed(table, "property", "write `property = \"PROPERTY\"`");
    let kind = reader.needed(table, "kind", "write `kind = \"btree\"` or another kind");
    let name = reader.field(table, "name");
    let (property, kind) = (property?, kind?);
    let Ok(known) = kind.value.parse::<IndexKind>() else {
        let hint = proposal(&kind.value, &IndexKind::ALL.map(IndexKind::as_str));
        reader.problem(
            kind.at,
            format!("unknown kind `{}` of {}: {hint}", kind.value, table.label),
        );
        return None;
    };
    let name = name.unwrap_or_else(|| At {
        at: property.at,
        value: Index::default_name(&property.value, known),
    });
    Some(DraftIndex {
        property,
        kind: At {
            at: kind.at,
            value: known,
        },
        name,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn problems_of(text: &str) -> Vec<String> {
        let error = Schema::parse(text, "g.toml").unwrap_err();
        error.to_string().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_schema_file_is_read_whole() {
        let text = r#"
[graph]
name = "flights"
[edge.Flight]
from = { node = "Airport", property = "origin" }
to   = { node = "Airport", property = "dest" }
[edge.Flight.properties]
origin = { type = "string", required = true }
dest = "string"
[node.Airport]
key = ["faa"]
renamed_from = "Field"
[node.Airport.properties]
faa  = "string"
name = { type = "string", required = true, renamed_from = "title" }
embedding = "vector(768)"
[[node.Airport.index]]
property = "faa"
kind = "btree"
[[node.Airport.index]]
property = "embedding"
kind = "vector"
name = "near"
"#;
        let schema = Schema::parse(text, "g.toml").unwrap();
        assert_eq!(schema.name.as_deref(), Some("flights"));
        let airport = &schema.types[&"node:Airport".parse().unwrap()];
        let names: Vec<_> = airport
            .properties
            .iter()
            .map(|p| (p.name.as_str(), p.required))
            .collect();
        assert_eq!(names, [("faa", true), ("name", true), ("embedding", false)]);
        assert_eq!(airport.properties[1].renamed_from.as_deref(), Some("title"));
        assert_eq!(airport.renamed_from.as_deref(), Some("Field"));
        let indexes: Vec<_> = airport
            .indexes
            .iter()
            .map(|i| (i.name.as_str(), i.kind))
            .collect();
        assert_eq!(
            indexes,
            [("faa_btree", IndexKind::Btree), ("near", IndexKind::Vector)]
        );
        let flight = &schema.types[&"edge:Flight".parse().unwrap()];
        assert_eq!(flight.endpoints.as_ref().unwrap().to.property, "dest");
        assert!(flight.key.is_empty());
    }

    #[test]
    fn an_empty_file_is_an_empty_schema() {
        assert_eq!(Schema::parse("", "g.toml"), Ok(Schema::default()));
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_place() {
        let problems = problems_of("[graph]\nname = \n");
        assert!(problems[0].starts_with("g.toml:2:"), "{problems:?}");
        assert!(problems[0].contains("this is not TOML"), "{problems:?}");
    }

    #[test]
    fn a_key_that_stands_twice_is_told_with_its_place() {
        let problems = problems_of("[graph]\nname = \"a\"\nname = \"b\"\n");
        assert!(problems[0].starts_with("g.toml:3:1: "), "{problems:?}");
    }

    #[test]
    fn an_unknown_key_is_told_with_the_one_that_was_meant() {
        let text = "[grahp]\n[node.A]\nkeys = [\"i\"]\nkey = [\"i\"]\nfrom = 1\n[node.A.properties]\ni = { typ = \"int8\", type = \"int8\" }\n";
        assert_eq!(
            problems_of(text),
            [
                "g.toml:1:2: unknown key `grahp` in the file: did you mean `graph`?",
                "g.toml:3:1: unknown key `keys` in node `A`: did you mean `key`?",
                "g.toml:5:1: unknown key `from` in node `A`: write one of key, properties, index, renamed_from",
                "g.toml:7:7: unknown key `typ` in property `i` of node `A`: did you mean `type`?",
            ]
        );
    }

    #[test]
    fn a_reserved_or_impossible_name_is_reported() {
        let text = "[node.A]\nkey = [\"i\"]\n[node.A.properties]\ni = \"int8\"\n_rowid = \"int8\"\n\"a b\" = \"int8\"\n_Score = \"int8\"\n[node.\"../x\"]\nkey = [\"i\"]\nproperties = { i = \"int8\" }\n";
        let problems = problems_of(text);
        let starts = [
            "g.toml:5:1: `_rowid` is reserved",
            "g.toml:6:1: `a b` cannot name",
            "g.toml:7:1: `_Score` is reserved",
            "g.toml:8:7: `../x` cannot name",
        ];
        assert_eq!(problems.len(), starts.len(), "{problems:?}");
        for (problem, start) in problems.iter().zip(starts) {
            assert!(problem.starts_with(start), "{problem}");
        }
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once_in_the_order_of_the_file() {
        let text = r#"[graph]
name = 1
[edge.E]
from = { node = "A" }
[edge.E.properties]
a = "vector(0)"
b = { required = "yes" }
[node.A]
key = "i"
properties = { i = "int8" }
[[node.A.index]]
kind = "btre"
[[node.A.index]]
property = "i"
kind = "btre"
"#;
        assert_eq!(
            problems_of(text),
            [
                "g.toml:2:8: `name` is a string, but here is a value of type integer",
                "g.toml:3:7: edge `E` has no `to`: write `to = { node = \"TYPE\", property = \"PROPERTY\" }`",
                "g.toml:4:1: `from` of edge `E` has no `property`: write `from = { node = \"TYPE\", property = \"PROPERTY\" }`",
                "g.toml:6:5: property `a` of edge `E`: `vector(0)` is no type: write `vector(N)` or `vector(N, float16|float32|float64)`, N at least 1",
                "g.toml:7:1: property `b` of edge `E` has no `type`: write `type = \"string\"` or another type",
                "g.toml:7:18: `required` is `true` or `false`, but here is a value of type string",
                "g.toml:9:7: `key` is an array: write `key = [\"PROPERTY\"]`, but here is a value of type string",
                "g.toml:11:1: an index of node `A` has no `property`: write `property = \"PROPERTY\"`",
                "g.toml:15:8: unknown kind `btre` of an index of node `A`: did you mean `btree`?",
            ]
        );
    }

    #[test]
    fn a_value_in_the_place_of_a_table_is_reported() {
        for (text, place) in [
            ("node = 1", "1:8"),
            ("[node]\nA = 1", "2:5"),
            ("graph = []", "1:9"),
        ] {
            assert!(
                problems_of(text)[0].starts_with(&format!("g.toml:{place}: ")),
                "{:?}",
                problems_of(text)
            );
        }
        let index = problems_of("[node.A]\nkey = [\"i\"]\nproperties.i = \"int8\"\nindex = [1]\n");
        assert_eq!(
            index,
            ["g.toml:4:10: an index of node `A` is a table, but here is a value of type integer"]
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_reading_panic(text in "(\\[(graph|node\\.A|edge\\.B|[a-z]{3})\\]\n|[a-z_]{1,5} = [\\[{\"a-z0-9ü}\\],= ]{0,12}\n){0,6}") {
            let _ = Schema::parse(&text, "g.toml");
        }
    }
}
