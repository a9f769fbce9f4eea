//! Writing a schema as the file it could have been read from.

use std::fmt::Write as _;

use super::{Endpoint, Index, Property, Schema, TypeDef};
use crate::ids::TableKey;

impl Schema {
    /// The schema as a file for people. [`Schema::parse`] reads it back as the same schema.
    pub fn to_toml(&self) -> String {
        let mut sections = Vec::new();
        if let Some(name) = &self.name {
            sections.push(format!("[graph]\nname = {}\n", quoted(name)));
        }
        sections.extend(
            self.types
                .iter()
                .map(|(table, def)| type_section(table, def)),
        );
        sections.join("\n")
    }
}

fn type_section(table: &TableKey, def: &TypeDef) -> String {
    let heading = table.to_string().replacen(':', ".", 1);
    let mut out = format!("[{heading}]\n");
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    if let Some(ends) = &def.endpoints {
        line(format!("from = {}", endpoint(&ends.from)));
        line(format!("to   = {}", endpoint(&ends.to)));
    }
    if !def.key.is_empty() {
        let columns: Vec<_> = def.key.iter().map(|column| quoted(column)).collect();
        line(format!("key = [{}]", columns.join(", ")));
    }
    if let Some(former) = &def.renamed_from {
        line(format!("renamed_from = {}", quoted(former)));
    }
    if !def.properties.is_empty() {
        line(format!("[{heading}.properties]"));
        let width = def
            .properties
            .iter()
            .map(|p| p.name.len())
            .max()
            .unwrap_or_default();
        for property in &def.properties {
            line(format!(
                "{:width$} = {}",
                property.name,
                property_value(property, &def.key)
            ));
        }
    }
    for index in &def.indexes {
        line(format!("[[{heading}.index]]\n{}", index_lines(index)));
    }
    out
}

fn endpoint(end: &Endpoint) -> String {
    format!(
        "{{ node = {}, property = {} }}",
        quoted(&end.node),
        quoted(&end.property)
    )
}

/// The short form wherever it says the same.
fn property_value(property: &Property, key: &[String]) -> String {
    let data_type = quoted(&property.data_type.to_string());
    let required = property.required && !key.contains(&property.name);
    if !required && property.renamed_from.is_none() {
        return data_type;
    }
    let mut value = format!("{{ type = {data_type}");
    if required {
        value.push_str(", required = true");
    }
    if let Some(former) = &property.renamed_from {
        // Writing to a string cannot fail.
        let _ = write!(value, ", renamed_from = {}", quoted(former));
    }
    value.push_str(" }");
    value
}

fn index_lines(index: &Index) -> String {
    let lines = format!(
        "property = {}\nkind = \"{}\"",
        quoted(&index.property),
        index.kind
    );
    if index.name == Index::default_name(&index.property, index.kind) {
        lines
    } else {
        format!("{lines}\nname = {}", quoted(&index.name))
    }
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::schema::generate;

    #[test]
    fn a_file_in_the_written_form_is_written_as_it_is() {
        let text = r#"[graph]
name = "flights"

[node.Airport]
key = ["faa"]
renamed_from = "Field"
[node.Airport.properties]
faa       = "string"
name      = { type = "string", required = true, renamed_from = "title" }
embedding = "vector(768)"
[[node.Airport.index]]
property = "faa"
kind = "btree"
[[node.Airport.index]]
property = "name"
kind = "inverted"
name = "search"

[edge.Flight]
from = { node = "Airport", property = "origin" }
to   = { node = "Airport", property = "dest" }
[edge.Flight.properties]
origin = { type = "string", required = true }
dest   = "string"
"#;
        assert_eq!(Schema::parse(text, "f.toml").unwrap().to_toml(), text);
    }

    #[test]
    fn a_name_with_quotes_stays_what_it_is() {
        let name = Some("a \"b\" 'c' \\ ü".to_owned());
        let schema = Schema {
            name,
            ..Schema::default()
        };
        assert_eq!(Schema::parse(&schema.to_toml(), "f.toml"), Ok(schema));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_as_the_same_schema(schema in generate::schema()) {
            let text = schema.to_toml();
            let back = Schema::parse(&text, "f.toml").map_err(|e| format!("{e}\n{text}"));
            prop_assert_eq!(back, Ok(schema));
        }
    }
}
