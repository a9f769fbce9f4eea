//! The JSON schema for editors: it is what the types say, and the checked-in file is it.
#![allow(clippy::unwrap_used)]

use jsonschema::Validator;
use serde_json::Value;
use squire_config::json_schema;

const REFERENCE: &str = include_str!("../squire.toml");
const CHECKED_IN: &str = include_str!("../squire.schema.json");

fn validator() -> Validator {
    jsonschema::validator_for(&json_schema()).unwrap()
}

fn json(text: &str) -> Value {
    serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap()
}

#[test]
fn the_checked_in_schema_is_the_one_that_the_types_make() {
    let checked_in: Value = serde_json::from_str(CHECKED_IN).unwrap();
    assert!(
        checked_in == json_schema(),
        "make it anew: squire check --schema > config/squire.schema.json"
    );
}

#[test]
fn the_schema_is_a_schema_and_takes_the_reference_file_with_all_that_it_leaves_out() {
    assert!(jsonschema::draft7::meta::is_valid(&json_schema()));
    let complete: Vec<&str> = REFERENCE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => setting,
            _ => line,
        })
        .collect();
    for text in [REFERENCE, &complete.join("\n")] {
        validator().validate(&json(text)).unwrap();
    }
}

#[test]
fn every_key_tells_an_editor_what_it_means_what_it_may_be_and_its_default() {
    let schema = json_schema();
    let mut keys = 0;
    let sections = schema["definitions"].as_object().unwrap();
    for (section, of) in sections
        .iter()
        .chain([(&"daemon".to_owned(), &schema["properties"]["daemon"])])
    {
        for (key, property) in of["properties"].as_object().unwrap() {
            if property["type"] == "object" {
                continue;
            }
            keys += 1;
            let about = property["description"].as_str().unwrap_or_default();
            assert!(about.len() > 10, "{section}.{key} is not described");
            let shape = ["type", "enum", "anyOf"]
                .iter()
                .any(|word| property.get(word).is_some());
            assert!(shape, "{section}.{key} may be anything");
            let default = property
                .get("default")
                .unwrap_or_else(|| panic!("{section}.{key} has no default"));
            let shape = jsonschema::validator_for(property).unwrap();
            assert!(shape.is_valid(default), "{section}.{key} = {default}");
        }
    }
    assert!(keys > 40, "{keys}");
}

#[test]
fn what_the_loader_refuses_for_its_shape_the_schema_refuses_too() {
    const TARGET: &str = "[[target]]\nname = 'a'\nuri = 'memory://'\n";
    let validator = validator();
    assert!(validator.is_valid(&json(TARGET)));
    for spoilt in [
        "[daemon]\ntik = '1s'",
        "[daemon]\ntick = 1",
        "[daemon]\ntick = 'soon'",
        "[daemon]\nconcurrency = 0",
        "[daemon]\nconcurrency = '2'",
        "[daemon]\nlog_format = 'xml'",
        "[daemon]\npassword = 'hush'",
        "[defaults.compaction]\nenabled = 'yes'",
        "[defaults.compaction]\nmax_deleted_fraction = 2",
        "[defaults.windows]\nallowed = [1]",
        "[defaults.pace]\nbytes_per_hour = 'much'",
        "[defaults]\ntick = '1s'",
        "[[daemon]]",
        "[target]\nname = 'a'\nuri = 'memory://'",
        "[[target]]\nname = 'a'",
        "[[target]]\nname = 'a'\nuri = 'memory://'\nkind = 'grph'",
        "[[target]]\nname = 'a'\nuri = 'memory://'\n[target.cleanup]\nkeep_fo = '1h'",
        "[[target]]\nname = 'a'\nuri = 'memory://'\n[[target.table]]",
    ] {
        assert!(!validator.is_valid(&json(spoilt)), "{spoilt}");
    }
}
