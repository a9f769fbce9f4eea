//! The versions of a table: what there are, and since when.

use std::time::Duration;

use chrono::TimeDelta;
use futures::{Stream, TryStreamExt};
use lance_table::io::commit::{ManifestNamingScheme, VERSIONS_DIR};

use super::{Table, stats::VersionInfo};
use crate::error::{Error, Result};

/// All versions of a table, in order: one list.
///
/// # Errors
/// [`Error::ForeignCommits`], [`Error::Store`].
pub(crate) async fn list(table: &Table) -> Result<Vec<VersionInfo>> {
    let found = found(table).map_ok(|(_, version)| version);
    let mut versions: Vec<_> = found.try_collect().await?;
    versions.sort_by_key(|v| v.version);
    Ok(versions)
}

/// The `most` newest versions, the newest first: one list, and of that one page, where the store lists by name and
/// the names are such that the newest comes first. It is so on S3 with every table that is not very old.
///
/// # Errors
/// As [`list`].
pub(crate) async fn newest(table: &Table, most: usize) -> Result<Vec<VersionInfo>> {
    let mut newest = Vec::new();
    if table.storage.lists_by_name {
        let mut found = std::pin::pin!(found(table));
        // One more is looked at: what is staged for a version comes right after it.
        while newest.len() <= most {
            match found.try_next().await? {
                Some((ManifestNamingScheme::V2, version)) => newest.push(version),
                Some((ManifestNamingScheme::V1, _)) => {
                    newest = list(table).await?;
                    newest.reverse();
                    break;
                }
                None => break,
            }
        }
    } else {
        newest = list(table).await?;
        newest.reverse();
    }
    newest.truncate(most);
    Ok(newest)
}

/// The versions of a table as the store lists them, and how each is named.
fn found(table: &Table) -> impl Stream<Item = Result<(ManifestNamingScheme, VersionInfo)>> {
    let folder = table.storage.table_base(&table.path).join(VERSIONS_DIR);
    let of = format!("{} of {}", table.key, table.storage.uri);
    let found = table.storage.store.list(Some(&folder));
    let found = found.map_err(move |e| Error::store("listing the versions of", of.clone(), e));
    let table = table.clone();
    found.try_filter_map(move |object| {
        let name = object.location.filename().unwrap_or_default();
        if is_staged(name) {
            return std::future::ready(Err(foreign(&table)));
        }
        let named = ManifestNamingScheme::detect_scheme(name).and_then(|scheme| {
            // Names of detached versions have no number.
            let version = scheme.parse_version(name)?;
            let written = object.last_modified;
            Some((scheme, VersionInfo { version, written }))
        });
        std::future::ready(Ok(named))
    })
}

/// Most versions that are asked for one by one. Beyond, a list says which there are: a number that cannot be must not be
/// counted up to.
const MOST_ASKED: u64 = 1000;

/// The versions in `(base, head]`, as far as they may be there, in order; and the first that surely is not.
///
/// # Errors
/// As [`list`].
pub(crate) async fn between(
    table: &Table,
    base: u64,
    head: u64,
) -> Result<(Vec<u64>, Option<u64>)> {
    if head.saturating_sub(base) <= MOST_ASKED {
        return Ok(((base + 1..=head).collect(), None));
    }
    let versions = list(table).await?.into_iter().map(|v| v.version);
    let there: Vec<_> = versions.filter(|v| *v > base && *v <= head).collect();
    let gap = first_gap(&there, base, head);
    Ok((there, gap))
}

/// The first version of `(base, head]` that is not there.
fn first_gap(there: &[u64], base: u64, head: u64) -> Option<u64> {
    let mut next = base + 1;
    for version in there {
        if *version != next {
            return Some(next);
        }
        next += 1;
    }
    (next <= head).then_some(next)
}

/// Whether an object is a manifest that waits for an external store to decide about it: `NUMBER.manifest-UUID`.
fn is_staged(name: &str) -> bool {
    name.contains(".manifest-")
}

pub(crate) fn foreign(table: &Table) -> Error {
    Error::ForeignCommits {
        table: table.key.clone(),
        uri: table.storage.uri.clone(),
    }
}

pub(crate) fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_gap_is_found_before_between_and_behind_what_is_there() {
        assert_eq!(first_gap(&[4, 5, 6], 3, 6), None);
        assert_eq!(first_gap(&[5, 6], 3, 6), Some(4));
        assert_eq!(first_gap(&[4, 6], 3, 6), Some(5));
        assert_eq!(first_gap(&[4, 5], 3, u64::MAX), Some(6));
        assert_eq!(first_gap(&[], 3, u64::MAX), Some(4));
    }
}
