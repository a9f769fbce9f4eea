//! A manifest as bytes: JSON, compressed with zstd once it is large enough for that to pay.
//!
//! A reader distinguishes the two by zstd's magic number, so that a small manifest stays readable by eye. A manifest of a newer
//! `format` (`FORMAT` in `state.rs`) is refused before anything else of it is read.

use std::io::Read;

use serde::Deserialize;

use super::{FORMAT, Manifest};
use crate::{
    error::{Error, Result},
    ids::is_folder,
};

/// From this many bytes of JSON on, a manifest is compressed. Below it, the object store's own cost of a
/// request outweighs the bytes.
const COMPRESS_FROM: usize = 16 * 1024;
const ZSTD_LEVEL: i32 = 3;
/// More than this a manifest never is, compressed or not: one of 10,000 tables has 2 MiB.
const LARGEST: u64 = 64 << 20;
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

pub(super) fn encode(manifest: &Manifest) -> std::io::Result<Vec<u8>> {
    let json = serde_json::to_vec(manifest)?;
    if json.len() as u64 >= LARGEST {
        return Err(std::io::Error::other("it is larger than a manifest can be"));
    }
    if json.len() < COMPRESS_FROM {
        Ok(json)
    } else {
        zstd::bulk::compress(&json, ZSTD_LEVEL)
    }
}

/// Reads a manifest back.
///
/// # Errors
/// [`Error::NewerFormat`] before anything else is looked at; [`Error::Damaged`] for everything that is no
/// manifest of this number.
pub(super) fn decode(bytes: &[u8], number: u64, object: &str, uri: &str) -> Result<Manifest> {
    let damaged = |reason: String| Error::Damaged {
        object: object.to_owned(),
        reason,
        uri: uri.to_owned(),
    };
    let unpacked;
    let json = if bytes.starts_with(&ZSTD_MAGIC) {
        unpacked = unpack(bytes).map_err(|e| damaged(e.to_string()))?;
        &unpacked
    } else {
        bytes
    };
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    let head: Head = serde_json::from_slice(json).map_err(|e| damaged(e.to_string()))?;
    if head.format > FORMAT {
        return Err(Error::NewerFormat {
            object: object.to_owned(),
            found: head.format,
            known: FORMAT,
            uri: uri.to_owned(),
        });
    }
    let manifest: Manifest = serde_json::from_slice(json).map_err(|e| damaged(e.to_string()))?;
    if manifest.number != number {
        return Err(damaged(format!("it says it is number {}", manifest.number)));
    }
    let tables = manifest.tables.values().map(|entry| &entry.path);
    let structures = manifest.queue.iter().filter_map(|t| t.structure.as_deref());
    let added = structures.flat_map(|s| s.added.values());
    let mut paths = tables.chain(manifest.purges.keys()).chain(added);
    if let Some(path) = paths.find(|path| !is_folder(path)) {
        return Err(damaged(format!(
            "the table's path {path:?} is no folder directly below the root"
        )));
    }
    Ok(manifest)
}

/// A few bytes can stand for more than there is memory.
fn unpack(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut json = Vec::new();
    zstd::stream::Decoder::new(bytes)?
        .take(LARGEST)
        .read_to_end(&mut json)?;
    if json.len() as u64 == LARGEST {
        return Err(std::io::Error::other(
            "it unpacks to more than a manifest can be",
        ));
    }
    Ok(json)
}

/// Reads the bytes of a manifest, and writes it again.
#[cfg(feature = "failpoints")]
pub(crate) fn again(bytes: &[u8], number: u64, object: &str, uri: &str) -> Result<Vec<u8>> {
    let manifest = decode(bytes, number, object, uri)?;
    encode(&manifest).map_err(|e| Error::Damaged {
        object: object.to_owned(),
        reason: e.to_string(),
        uri: uri.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;
    use crate::{
        graph::manifest::{OperationKind, TableEntry, Ticket, Touched, transition},
        ids::OperationId,
    };

    fn decoded(m: &Value) -> Result<Manifest> {
        decode(m.to_string().as_bytes(), 1, "1.json", "memory://graph")
    }

    /// A manifest with a table and a ticket.
    fn manifest() -> Manifest {
        let at = DateTime::UNIX_EPOCH;
        let mut m = Manifest::first(Uuid::nil(), "ada@lab", at);
        let (kind, touched) = (OperationKind::Load, Touched::default());
        let ticket = Ticket::waiting(
            OperationId::fresh(),
            "lab-1".into(),
            "ada",
            kind,
            touched,
            at,
        );
        m.queue.push(ticket);
        let person = "node:Person".parse().unwrap();
        m.tables
            .insert(person, TableEntry::new("Person.lance", 3, 1));
        m
    }

    #[test]
    fn what_a_newer_build_wrote_into_a_manifest_a_table_or_a_ticket_survives_a_write_of_this_one() {
        let mut newer = serde_json::to_value(manifest()).unwrap();
        newer["branches"] = json!({ "nightly": [1, 2] });
        newer["tables"]["node:Person"]["rows"] = json!(17);
        newer["queue"][0]["ready"] = json!(true);
        let m = decoded(&newer).unwrap();
        let by = transition::By {
            actor: "ada@lab".to_owned(),
            at: DateTime::UNIX_EPOCH,
            summary: String::new(),
        };
        let step = transition::collect(&m, 2, &by).unwrap();
        let transition::Step::Next(next) = step else {
            panic!("{step:?}")
        };
        let written: Value = serde_json::from_slice(&encode(&next).unwrap()).unwrap();
        assert_eq!(written["branches"], newer["branches"]);
        assert_eq!(written["tables"]["node:Person"]["rows"], 17);
        assert_eq!(written["queue"][0]["ready"], true);
        assert_eq!(written["number"], 2, "what is known is not repeated");
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_refused_in_a_tickets_structure_too() {
        let mut m = serde_json::to_value(manifest()).unwrap();
        m["queue"][0]["structure"] = json!({
            "added": { "node:Added": "Added.lance" },
            "schema": {},
        });
        assert!(decoded(&m).is_ok());
        m["queue"][0]["structure"]["added"]["node:Added"] = json!("../elsewhere");
        assert!(matches!(decoded(&m), Err(Error::Damaged { .. })));
    }
}
