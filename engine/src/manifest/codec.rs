//! A manifest as bytes: JSON, compressed with zstd once it is large enough for that to pay.
//!
//! A reader tells the two apart by zstd's magic number, so that a small manifest stays readable by eye.

use serde::Deserialize;

use super::Manifest;
use crate::error::{Error, Result};

/// The format that this program writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// From this many bytes of JSON on, a manifest is compressed. Below it, the object store's own cost of a
/// request outweighs the bytes.
const COMPRESS_FROM: usize = 16 * 1024;
const ZSTD_LEVEL: i32 = 3;
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

pub(super) fn encode(manifest: &Manifest) -> std::io::Result<Vec<u8>> {
    let json = serde_json::to_vec(manifest)?;
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
        unpacked = zstd::stream::decode_all(bytes).map_err(|e| damaged(e.to_string()))?;
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
    Ok(manifest)
}
