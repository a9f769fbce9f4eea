//! A small configuration for the folders of a command line. Pure.

use std::{collections::BTreeSet, path::Path};

use squire_engine::Kind;

use super::unit::HEADER;

/// Most letters of a name that is made of a folder's.
const LONGEST: usize = 40;

/// A configuration with a target for each folder, of the kind that goes with it.
pub(super) fn small(folders: &[(String, Option<Kind>)]) -> String {
    let mut text = format!(
        "{HEADER} Yours to change; `squire service remove`\n\
         # takes it away as long as it is unchanged. `squire check --show` has every key with its value.\n"
    );
    let mut taken = BTreeSet::new();
    for (folder, kind) in folders {
        // A basic string of TOML has the escapes of one of JSON.
        let uri = serde_json::Value::from(folder.as_str());
        let name = free_name(folder, &mut taken);
        text.push_str(&format!("\n[[target]]\nname = \"{name}\"\nuri = {uri}\n"));
        if *kind == Some(Kind::Directory) {
            text.push_str("kind = \"directory\"\n");
        }
    }
    text
}

/// A name after the folder's that none of the others has.
fn free_name(folder: &str, taken: &mut BTreeSet<String>) -> String {
    let base = name_of(folder);
    let numbered = (2..).map(|n| format!("{base}-{n}"));
    let mut names = std::iter::once(base.clone()).chain(numbered);
    let name = names.find(|name| !taken.contains(name)).unwrap_or(base);
    taken.insert(name.clone());
    name
}

/// What a target of a folder is called: small letters, digits and hyphens.
fn name_of(folder: &str) -> String {
    let last = Path::new(folder).file_name();
    let last = last.map(|name| name.to_string_lossy().to_lowercase());
    let kept = last
        .unwrap_or_default()
        .chars()
        .take(LONGEST)
        .fold(String::new(), |mut name, c| {
            if c.is_ascii_alphanumeric() || c == '_' {
                name.push(c);
            } else if !name.ends_with('-') {
                name.push('-');
            }
            name
        });
    let kept = kept.trim_matches('-');
    if kept.is_empty() { "tables" } else { kept }.to_owned()
}

/// What of a target's folder is not one of the configuration that is there, as lines to add to it.
pub(super) fn lines_for(folder: &str) -> String {
    let uri = serde_json::Value::from(folder);
    format!("[[target]]\nname = \"{}\"\nuri = {uri}", name_of(folder))
}

#[cfg(test)]
mod tests {
    use squire_config::Layers;

    use super::*;

    #[test]
    fn whatever_a_folder_is_called_the_configuration_is_taken_and_names_it() {
        let folders = [
            "/srv/lake",
            "/mnt/lake",
            "/srv/My Data (old)",
            "/srv/größe",
            r#"/srv/a"b\c"#,
            "/srv/...",
            "/srv/100%",
        ];
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("squire.toml");
        let kinds = [None, Some(Kind::Directory)].into_iter().cycle();
        let targets: Vec<_> = folders.iter().map(|f| (*f).to_owned()).zip(kinds).collect();
        std::fs::write(&file, small(&targets)).unwrap();
        let loaded = Layers::new(&file, []).load().unwrap();
        let read = loaded.settings.targets.iter();
        let read: Vec<_> = read.map(|t| (t.uri.clone(), t.kind)).collect();
        assert_eq!(read, targets);
        let names: Vec<_> = loaded
            .settings
            .targets
            .iter()
            .map(|t| t.name.as_str())
            .collect();
        assert_eq!(
            names,
            [
                "lake",
                "lake-2",
                "my-data-old",
                "gr-e",
                "a-b-c",
                "tables",
                "100"
            ]
        );
    }
}
