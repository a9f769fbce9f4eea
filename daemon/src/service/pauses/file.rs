//! The file of the pauses: what is in it, and what is wrong with it.

use std::{io, path::Path};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::Pause;

/// The file in the state folder.
pub(crate) const FILE: &str = "pauses.json";
/// What this program writes, and the newest that it reads.
const VERSION: u64 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u64,
    pauses: Vec<Entry>,
}

/// One pause. What is not known is an error: a pause must not be read as another one.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    target: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    table: Option<String>,
    until: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl From<Entry> for Pause {
    fn from(entry: Entry) -> Self {
        Self {
            target: entry.target,
            table: entry.table,
            until: entry.until,
            reason: entry.reason,
        }
    }
}

impl From<Pause> for Entry {
    fn from(pause: Pause) -> Self {
        Self {
            target: pause.target,
            table: pause.table,
            until: pause.until,
            reason: pause.reason,
        }
    }
}

/// The pauses in a state folder; none where there is no file.
///
/// # Errors
/// Why they cannot be read, with the path.
pub(crate) fn read(folder: &Path) -> Result<Vec<Pause>, String> {
    let file = folder.join(FILE);
    let read = match std::fs::read(&file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => Err(e.to_string()),
        Ok(text) => parse(&text),
    };
    read.map_err(|why| format!("{}: {why}", file.display()))
}

/// What a file says.
fn parse(text: &[u8]) -> Result<Vec<Pause>, String> {
    if text.is_empty() {
        return Err("the file is empty".to_owned());
    }
    let value: Value = serde_json::from_slice(text).map_err(|e| e.to_string())?;
    // Version 0 was a list of pauses, and nothing else.
    if value.is_array() {
        let pauses: Vec<Entry> = serde_json::from_value(value).map_err(|e| e.to_string())?;
        return Ok(pauses.into_iter().map(Into::into).collect());
    }
    if let Some(version) = value["version"].as_u64().filter(|of| *of > VERSION) {
        return Err(format!(
            "it is of version {version}, which a newer Squire wrote; this one reads up to version {VERSION}"
        ));
    }
    let written: Written = serde_json::from_value(value).map_err(|e| e.to_string())?;
    Ok(written.pauses.into_iter().map(Into::into).collect())
}

/// What is to be written.
pub(super) fn text(pauses: Vec<Pause>) -> io::Result<Vec<u8>> {
    let written = Written {
        version: VERSION,
        pauses: pauses.into_iter().map(Into::into).collect(),
    };
    Ok(serde_json::to_vec_pretty(&written)?)
}

#[cfg(test)]
mod tests {
    use chrono::{TimeZone, Utc};

    use super::*;

    const PAUSE: &str = "{\"target\": \"lake\", \"until\": \"2030-01-02T03:04:05Z\"}";

    #[test]
    fn what_is_written_is_read_again_as_is_what_was_written_before_there_were_versions() {
        let until = Utc.with_ymd_and_hms(2030, 1, 2, 3, 4, 5).unwrap();
        let list = parse(format!("[{PAUSE}]").as_bytes()).unwrap();
        let again = parse(&text(list.clone()).unwrap()).unwrap();
        for pauses in [list, again] {
            assert_eq!(pauses.len(), 1);
            assert_eq!((&*pauses[0].target, pauses[0].until), ("lake", until));
        }
    }

    #[test]
    fn what_cannot_be_understood_is_never_taken_for_no_pauses() {
        let more = PAUSE.replace('}', ", \"by\": \"somebody\"}");
        for (text, why) in [
            (String::new(), "empty"),
            ("{".to_owned(), "EOF"),
            ("null".to_owned(), "null"),
            ("{}".to_owned(), "version"),
            (
                "{\"version\": 2, \"leases\": []}".to_owned(),
                "newer Squire",
            ),
            (
                "{\"version\": 1, \"pauses\": [], \"x\": 1}".to_owned(),
                "`x`",
            ),
            (format!("[{more}]"), "`by`"),
            (format!("{{\"version\": 1, \"pauses\": [{more}]}}"), "`by`"),
        ] {
            let said = parse(text.as_bytes()).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    #[test]
    fn a_folder_without_the_file_has_no_pauses_and_a_file_that_cannot_be_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(dir.path()).unwrap().is_empty());
        std::fs::create_dir(dir.path().join(FILE)).unwrap();
        let said = read(dir.path()).unwrap_err();
        assert!(said.contains(FILE), "{said}");
    }
}
