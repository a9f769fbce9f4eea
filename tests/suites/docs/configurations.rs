use squire_config::Settings;
use squire_engine::schema::Schema;
use squire_tests::repository;

use crate::pages::{self, Block};

fn blocks(language: &str) -> Vec<Block> {
    let all = pages::all().into_iter().flat_map(|page| page.blocks);
    let found: Vec<_> = all.filter(|block| block.language() == language).collect();
    assert!(!found.is_empty(), "there is {language} in the documents");
    found
}

#[test]
fn every_configuration_and_every_schema_in_the_documents_is_taken_as_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    let (mut settings, mut schemas) = (0, 0);
    let editors = jsonschema::validator_for(&squire_config::json_schema()).unwrap();
    for block in blocks("toml") {
        let parsed: toml::Table =
            toml::from_str(&block.text).unwrap_or_else(|e| panic!("{}: {e}", block.place));
        if parsed.contains_key("node") || parsed.contains_key("edge") {
            Schema::parse(&block.text, &block.place).unwrap_or_else(|e| panic!("{e}"));
            schemas += 1;
        } else {
            let file = dir.path().join("squire.toml");
            std::fs::write(&file, &block.text).unwrap();
            Settings::load(&file).unwrap_or_else(|e| panic!("{}: {e}", block.place));
            let json = serde_json::to_value(&parsed).unwrap();
            editors
                .validate(&json)
                .unwrap_or_else(|e| panic!("{}: {e}", block.place));
            settings += 1;
        }
    }
    assert!(settings > 0 && schemas > 0);
}

/// As the types have them: no key is forgotten, and no default is out of date.
#[test]
fn every_key_is_in_the_document_of_the_configuration_with_its_default() {
    let text = std::fs::read_to_string(repository::file("docs/configuration.md")).unwrap();
    let schema = squire_config::json_schema();
    let of = |section: &serde_json::Value| section["properties"].as_object().unwrap().clone();
    let mut sections = vec![("daemon".to_owned(), of(&schema["properties"]["daemon"]))];
    let policies = schema["definitions"].as_object().unwrap();
    sections.extend(
        policies
            .iter()
            .map(|(name, it)| (format!("defaults.{name}"), of(it))),
    );
    let mut keys = 0;
    while let Some((section, properties)) = sections.pop() {
        let part = text.split(&format!("# `[{section}]`\n")).nth(1);
        let part = part.unwrap_or_else(|| panic!("[{section}] has no heading"));
        let part = part.split("\n#").next().unwrap();
        for (key, told) in properties {
            if told["type"] == "object" {
                sections.push((format!("{section}.{key}"), of(&told)));
                continue;
            }
            let row = part
                .lines()
                .find_map(|line| line.strip_prefix(&format!("| `{key}` | ")));
            let row = row.unwrap_or_else(|| panic!("[{section}] {key} is not described"));
            // Some follow from other keys, and say so in words.
            if let Some(default) = row.strip_prefix('`').and_then(|row| row.split('`').next()) {
                assert_eq!(default, told["default"].to_string(), "[{section}] {key}");
            }
            keys += 1;
        }
    }
    assert!(keys > 40, "{keys}");
}

#[test]
fn every_json_in_the_documents_is_json() {
    for block in blocks("json") {
        let parsed = serde_json::from_str::<serde_json::Value>(&block.text);
        parsed.unwrap_or_else(|e| panic!("{}: {e}", block.place));
    }
}

/// So that no block escapes the tests by a fence that nobody reads.
#[test]
fn every_block_says_what_it_is_and_no_command_hides_in_a_text() {
    let known = ["ini", "json", "python", "sh", "text", "toml", "yaml"];
    let commands = [
        "squire ",
        "$ ",
        "make ",
        "cargo ",
        "systemctl ",
        "sudo ",
        "curl ",
    ];
    for block in pages::all().into_iter().flat_map(|page| page.blocks) {
        let language = block.language();
        assert!(
            known.contains(&language),
            "{}: the fence says {language:?}",
            block.place
        );
        if language == "text" {
            let hidden = block
                .text
                .lines()
                .find(|line| commands.iter().any(|c| line.starts_with(c)));
            assert_eq!(
                hidden, None,
                "{}: write commands into blocks of sh",
                block.place
            );
        }
        if let Some(suite) = block.ran_by() {
            let folder = repository::file("tests/suites").join(suite);
            assert!(
                folder.is_dir(),
                "{}: there is no suite {suite}",
                block.place
            );
        }
    }
}
