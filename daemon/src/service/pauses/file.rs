//! The file of the pauses: what is in it, and what is wrong with it.

use std::{io, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Noted;

/// The file in the state folder.
pub(crate) const FILE: &str = "pauses.json";
/// What this program writes, and the newest that it reads.
const VERSION: u64 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u64,
    pauses: Vec<Noted>,
}

/// The pauses in a state folder; none where there is no file.
///
/// # Errors
/// Why they cannot be read, with the path.
pub(crate) fn read(folder: &Path) -> Result<Vec<Noted>, String> {
    let file = folder.join(FILE);
    let read = match std::fs::read(&file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => Err(e.to_string()),
        Ok(text) => parse(&text),
    };
    read.map_err(|why| format!("{}: {why}", file.display()))
}

/// What a file says.
fn parse(text: &[u8]) -> Result<Vec<Noted>, String> {
    if text.is_empty() {
        return Err("the file is empty".to_owned());
    }
    let value: Value = serde_json::from_slice(text).map_err(|e| e.to_string())?;
    // Version 0 was a list of pauses, and nothing else.
    if value.is_array() {
        return serde_json::from_value(value).map_err(|e| e.to_string());
    }
    if let Some(version) = value["version"].as_u64().filter(|of| *of > VERSION) {
        return Err(format!(
            "it is of version {version}, which a newer Squire wrote; this one reads up to version {VERSION}"
        ));
    }
    let written: Written = serde_json::from_value(value).map_err(|e| e.to_string())?;
    Ok(written.pauses)
}

/// What is to be written.
pub(super) fn text(pauses: Vec<Noted>) -> io::Result<Vec<u8>> {
    let written = Written {
        version: VERSION,
        pauses,
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
