//! The JSON schema of the settings file, for editors.
//!
//! Nothing is listed here: the keys and what they may be come from the types that read them (`introspection.rs`), what is said
//! of them and their defaults from the annotated reference file.

use serde_json::{Map, Value, json};

use crate::keys::{self, Inner, Section};
use crate::reference::Reference;

/// The policies are described once, where they stand for all targets.
const DESCRIBED: &str = "defaults";

/// The JSON schema (draft 7) of the settings file. What it refuses, the loader refuses too; ranges with units, and keys
/// that contradict each other, are the loader's alone.
pub fn json_schema() -> Value {
    let reference = Reference::read();
    let mut schema = section(&keys::FILE, "", &reference);
    let head = [
        ("$schema", "http://json-schema.org/draft-07/schema#"),
        (
            "title",
            "Squire's settings: squire.toml, and files in conf.d",
        ),
    ];
    if let Some(object) = schema.as_object_mut() {
        object.extend(head.map(|(key, text)| (key.to_owned(), text.into())));
        object.insert("definitions".to_owned(), policies(&reference));
    }
    schema
}

/// The policies, which `[defaults]`, a target and a rule for tables have alike.
fn policies(reference: &Reference) -> Value {
    let defaults = keys::FILE.inner(DESCRIBED).map(|inner| inner.section.inner);
    let policies = defaults.unwrap_or_default().iter().map(|inner| {
        let path = format!("{DESCRIBED}.{}", inner.name);
        let schema = described(
            section(inner.section, &path, reference),
            reference.section(&path),
        );
        (inner.name.to_owned(), schema)
    });
    policies.collect::<Map<_, _>>().into()
}

/// A table of keys.
fn section(of: &Section, path: &str, reference: &Reference) -> Value {
    let names = of.names().iter();
    let properties = names.map(|name| {
        let full = if path.is_empty() {
            (*name).to_owned()
        } else {
            format!("{path}.{name}")
        };
        let schema = match of.inner(name) {
            Some(inner) => within(inner, path, &full, reference),
            None => key(of, name, &full, reference),
        };
        ((*name).to_owned(), schema)
    });
    let properties: Map<String, Value> = properties.collect();
    json!({"type": "object", "additionalProperties": false, "properties": properties})
}

/// A section within another.
fn within(inner: &Inner, outside: &str, path: &str, reference: &Reference) -> Value {
    let shared = keys::FILE
        .inner(DESCRIBED)
        .and_then(|all| all.section.inner(inner.name));
    if !outside.is_empty() && shared.is_some() {
        return json!({"$ref": format!("#/definitions/{}", inner.name)});
    }
    let mut schema = section(inner.section, path, reference);
    if inner.repeated {
        let required: Vec<&str> = inner.required.iter().map(|(name, _)| *name).collect();
        schema["required"] = required.into();
        schema = json!({"type": "array", "items": schema});
    }
    described(schema, reference.section(path))
}

fn key(of: &Section, name: &'static str, path: &str, reference: &Reference) -> Value {
    let entry = reference.key(path);
    let mut schema = described(of.schema(name), entry.map(|entry| entry.about.as_str()));
    // What stands there for a target is an example.
    let default = entry.filter(|_| !path.starts_with("target"));
    let default = default.and_then(|entry| entry.value.parse::<toml::Value>().ok());
    if let Some(default) = default.and_then(|value| serde_json::to_value(value).ok()) {
        schema["default"] = default;
    }
    schema
}

fn described(mut schema: Value, about: Option<&str>) -> Value {
    if let (Some(object), Some(about)) = (schema.as_object_mut(), about) {
        object.insert("description".to_owned(), about.into());
    }
    schema
}
