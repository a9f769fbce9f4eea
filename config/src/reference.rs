//! What the annotated reference file says of sections and keys: the one text about them.

use std::collections::HashMap;

/// The annotated file, with every key.
pub(crate) const TEXT: &str = include_str!("../squire.toml");

/// What it says of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The comment above it.
    pub(crate) about: String,
    /// The value that stands there, as TOML.
    pub(crate) value: String,
}

/// The file, taken apart.
#[derive(Debug, Default)]
pub(crate) struct Reference {
    sections: HashMap<String, String>,
    keys: HashMap<String, Entry>,
}

impl Reference {
    /// Takes the file apart. A line of a setting that is left out begins with `#` and no blank; a comment belongs to the
    /// line below it.
    pub(crate) fn read() -> Self {
        let (mut found, mut section, mut about) = (Self::default(), String::new(), Vec::new());
        for line in TEXT.lines() {
            let comment = line
                .strip_prefix('#')
                .filter(|c| c.is_empty() || c.starts_with(' '));
            if let Some(comment) = comment {
                about.push(comment.strip_prefix(' ').unwrap_or(comment));
                continue;
            }
            let said = std::mem::take(&mut about).join("\n");
            let setting = line.strip_prefix('#').unwrap_or(line);
            if setting.starts_with('[') {
                section = setting.trim_matches(['[', ']']).to_owned();
                found.sections.insert(section.clone(), said);
            } else if let Some((key, value)) = setting.split_once(" = ") {
                let entry = Entry {
                    about: said,
                    value: value.to_owned(),
                };
                found.keys.insert(format!("{section}.{key}"), entry);
            }
        }
        found
    }

    /// What it says of a section, by its path.
    pub(crate) fn section(&self, path: &str) -> Option<&str> {
        let said = self.sections.get(path).map(String::as_str);
        said.filter(|said| !said.is_empty())
    }

    /// What it says of a key, by its path.
    pub(crate) fn key(&self, path: &str) -> Option<&Entry> {
        self.keys.get(path)
    }
}
