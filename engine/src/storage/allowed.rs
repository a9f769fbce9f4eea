//! What lies beyond a target's root, and may be used all the same.

use std::path::PathBuf;

use url::Url;

/// Where a target may lead beyond its own root: nowhere, unless the configuration says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beyond {
    /// Folders on the local disk that symbolic links in the target may lead to, and below which Squire then reads, writes
    /// and removes.
    pub follow_links: Vec<PathBuf>,
    /// Where data files of others may be read that a table names, such as those that a shallow clone was made of: paths
    /// and URIs, each with everything below it.
    pub allow_bases: Vec<String>,
}

impl Beyond {
    /// Those bases that are on the local disk.
    pub(super) fn folders(&self) -> Vec<PathBuf> {
        let bases = self.allow_bases.iter();
        bases.filter_map(|base| folder(base)).collect()
    }
}

/// The folder that a base is in, when it is on the local disk.
pub(super) fn folder(uri: &str) -> Option<PathBuf> {
    match Url::parse(uri) {
        Ok(url) if super::local::SCHEMES.contains(&url.scheme()) => {
            let path = object_store::path::Path::from_url_path(url.path()).ok()?;
            Some(PathBuf::from("/").join(path.as_ref()))
        }
        Ok(_) => None,
        Err(_) => Some(PathBuf::from(uri)),
    }
}

/// Whether a URI is that of a place, or of something below it. Of either, the parser takes off what leads up again.
pub(super) fn is_below(uri: &str, place: &str) -> bool {
    let (Ok(uri), Ok(place)) = (Url::parse(uri), Url::parse(place)) else {
        return false;
    };
    // Some clients write slashes twice.
    let parts = |url: &Url| -> Option<Vec<String>> {
        let parts = url.path().split('/').filter(|part| !part.is_empty());
        let decoded = parts.map(|part| object_store::path::Path::from_url_path(part).ok());
        decoded.map(|part| Some(part?.to_string())).collect()
    };
    let (Some(inner), Some(outer)) = (parts(&uri), parts(&place)) else {
        return false;
    };
    let plain = uri.query().is_none() && uri.fragment().is_none();
    let same = (uri.scheme(), uri.authority()) == (place.scheme(), place.authority());
    plain && same && inner.starts_with(&outer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_below_a_place_by_its_parts_and_not_by_its_text() {
        let db = "s3://bucket/db";
        for below in [
            "s3://bucket/db",
            "s3://bucket/db/t.lance",
            "s3://bucket/db//t.lance/",
        ] {
            assert!(is_below(below, db), "{below}");
        }
        for outside in [
            "s3://bucket/db2/t.lance",
            "s3://bucket/db/../other/t.lance",
            "s3://bucket/db/%2e%2e/other",
            "s3://other/db/t.lance",
            "s3+ddb://bucket/db/t.lance",
            "s3://bucket/db/t.lance?x=1",
            "/bucket/db/t.lance",
            "",
        ] {
            assert!(!is_below(outside, db), "{outside}");
        }
    }

    #[test]
    fn a_folder_is_one_under_every_name_of_a_local_disk() {
        for uri in [
            "/data/db",
            "file:///data/db",
            "file-object-store:///data/db",
        ] {
            assert_eq!(folder(uri), Some("/data/db".into()), "{uri}");
        }
        assert_eq!(folder("s3://bucket/db"), None);
    }
}
