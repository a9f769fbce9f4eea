//! A root: what a URI names, where Lance finds it, and what its store is opened with.

use std::{
    io,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use lance_io::object_store::StorageOptionsAccessor;
use url::Url;

use super::{
    allowed::Beyond,
    credentials,
    local::{self, Boundary, real},
    uri::{self, Scheme, UriRefusal},
};
use crate::error::{Error, Result};

/// What a URI names.
#[derive(Debug)]
pub(super) struct Root {
    /// As people know it, without secrets; on a local disk, resolved.
    pub(super) shown: String,
    /// As Lance is given it.
    pub(super) lance: String,
    /// Whether nothing but this machine has to do with it.
    pub(super) local: bool,
    /// On a local disk, its folder, and where else paths may lead.
    pub(super) boundary: Option<Boundary>,
}

/// An option that no store knows. Lance has one client, with one limit of requests a second, for all that is opened in a bucket
/// with the same options; while a store fails or throttles what is asked of one root, that limit falls to one request a
/// second. So each root has a client of its own.
const OWN_CLIENT: &str = "squire_root";

impl Root {
    /// The root that a URI names, as it is now. It asks the disk for links.
    ///
    /// # Errors
    /// [`Error::BadUri`].
    pub(super) async fn resolve(uri: &str, beyond: &Beyond) -> Result<Self> {
        let (asked, beyond) = (uri.to_owned(), beyond.clone());
        let resolved = tokio::task::spawn_blocking(move || Self::parse(&asked, &beyond)).await;
        resolved.map_err(|e| Error::BadUri {
            uri: uri::without_secrets(uri),
            reason: e.to_string(),
        })?
    }

    pub(super) fn parse(uri: &str, beyond: &Beyond) -> Result<Self> {
        let bad = |reason: &str| Error::BadUri {
            uri: uri::without_secrets(uri),
            reason: reason.to_owned(),
        };
        if uri.trim().is_empty() {
            return Err(bad(
                "it is empty; give a path or a URI such as s3://bucket/graph",
            ));
        }
        if uri::scheme_of(uri).is_none() {
            return Self::local(Path::new(uri), beyond).map_err(|reason| bad(&reason));
        }
        let (scheme, url) = uri::check(uri).map_err(|refusal| bad(&reason(&refusal)))?;
        let trimmed = uri.trim_end_matches('/');
        match scheme {
            Scheme::File => match url.to_file_path() {
                // The parser has taken `..` off as text.
                Ok(_) if has_parent(trimmed) => {
                    Err(bad("it has `..` in it: give the path without"))
                }
                Ok(path) => Self::local(&path, beyond).map_err(|reason| bad(&reason)),
                Err(()) => Err(bad(&reason(&UriRefusal::FileHost))),
            },
            _ if trimmed.ends_with(':') => Err(bad(&reason(&UriRefusal::NoBucket))),
            Scheme::Memory => Ok(Self {
                shown: trimmed.to_owned(),
                lance: format!("shared-{trimmed}"),
                local: true,
                boundary: None,
            }),
            Scheme::S3 => Ok(Self {
                shown: trimmed.to_owned(),
                lance: trimmed.to_owned(),
                local: false,
                boundary: None,
            }),
        }
    }

    /// What the store is opened with: the boundary of a local disk, or what the service manager hands over for the
    /// store's client.
    ///
    /// # Errors
    /// [`Error::BadUri`].
    pub(super) fn options(&self) -> Result<Option<Arc<StorageOptionsAccessor>>> {
        if let Some(boundary) = &self.boundary {
            let options = boundary.accessor().map_err(|e| Error::BadUri {
                uri: self.shown.clone(),
                reason: e.to_string(),
            });
            return options.map(Some);
        }
        if self.local {
            return Ok(None);
        }
        let given = credentials::of_service_manager(&|name| std::env::var_os(name));
        let mut given = given.map_err(|reason| Error::BadUri {
            uri: self.shown.clone(),
            reason,
        })?;
        given.insert(OWN_CLIENT.to_owned(), self.shown.clone());
        let accessor = StorageOptionsAccessor::with_static_options(given);
        Ok(Some(Arc::new(accessor)))
    }

    fn local(path: &Path, beyond: &Beyond) -> Result<Self, String> {
        let unusable = |e: io::Error| format!("it is no usable path: {e}");
        let absolute = std::path::absolute(path).map_err(unusable)?;
        let root = resolved(&absolute)?;
        let url = Url::from_file_path(&root).map_err(|()| "it is no usable path".to_owned())?;
        let Some(shown) = root.to_str() else {
            return Err("it is no usable path: it is not UTF-8".to_owned());
        };
        Ok(Self {
            shown: shown.to_owned(),
            lance: format!("{}://{}", local::SCHEME, url.path().trim_end_matches('/')),
            local: true,
            boundary: Some(Boundary {
                follow: beyond.follow_links.iter().map(|path| real(path)).collect(),
                bases: beyond.folders().iter().map(|path| real(path)).collect(),
                root,
            }),
        })
    }
}

/// An absolute path without links and `..`, as far as it exists.
fn resolved(path: &Path) -> Result<PathBuf, String> {
    // Lance's paths know no `.` and `..`.
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                // The kernel goes up from where a link leads; as text, it would be another folder.
                let is_plain = real(&clean) == clean;
                if !is_plain {
                    return Err(format!(
                        "it goes up (`..`) from {}, which is a link or behind one: give the path without `..`",
                        clean.display()
                    ));
                }
                clean.pop();
            }
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    Ok(real(&clean))
}

/// Whether `..` is a part of a URI.
fn has_parent(uri: &str) -> bool {
    let decoded = uri.to_ascii_lowercase().replace("%2e", ".");
    decoded.split('/').any(|part| part == "..")
}

/// Why a URI is refused, in the words of [`Error::BadUri`].
fn reason(refusal: &UriRefusal) -> String {
    let text = match refusal {
        // To take this for s3:// would be to commit beside DynamoDB, and to remove what it names.
        UriRefusal::UnknownScheme(scheme) if scheme == "s3+ddb" => {
            "its commits are made in DynamoDB, which Squire does not know: such tables cannot be maintained; do not give it as s3:// instead, that would destroy them"
        }
        UriRefusal::UnknownScheme(_) => {
            "the scheme is not known; use a path, file://, memory:// or s3://; begin a path that holds a colon with ./ or /"
        }
        UriRefusal::NoSlashes(_) => {
            "the scheme is not followed by ://; begin a path that holds a colon with ./ or /"
        }
        UriRefusal::Credentials => {
            "it carries credentials; give them in the environment (AWS_ACCESS_KEY_ID, ...)"
        }
        UriRefusal::EncodedBucket => {
            "its bucket has a `%` in it, and may hold credentials: no bucket is called so"
        }
        UriRefusal::PasswordInPath => {
            "it has an `@` behind a `:`, and may hold credentials with a `/` in them: give them in the environment (AWS_ACCESS_KEY_ID, ...); a folder of this machine that is called so can be given as a path"
        }
        UriRefusal::QueryOrFragment => {
            "it has a part after `?` or `#`, which no store reads and which may hold a token: remove that part"
        }
        UriRefusal::Malformed(fault) => fault,
        UriRefusal::FileHost => "a file URI needs an absolute path: file:///var/lib/graph",
        UriRefusal::NoBucket => "it names no bucket: write s3://bucket/graph",
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn parse(uri: &str) -> Result<Root> {
        Root::parse(uri, &Beyond::default())
    }

    #[test]
    fn a_local_root_goes_through_the_store_interface() {
        let root = parse("/data/./x/../graph/").unwrap();
        assert_eq!(root.shown, "/data/graph");
        assert_eq!(root.lance, "file-object-store:///data/graph");
    }

    #[test]
    fn credentials_in_a_uri_are_refused_and_not_repeated() {
        let error = parse("s3://key:secret@bucket/graph").err().unwrap();
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn what_may_hold_a_secret_is_refused_and_not_repeated_wherever_it_stands() {
        for uri in [
            "s3://bucket/p?x=SECRET",
            "s3://bucket/p#SECRET",
            "file:///data/db?token=SECRET",
            "s3:/key:SECRET@bucket/p",
            "S3:key:SECRET@bucket/p",
            "s3://key%3ASECRET%40bucket/p",
            "s3://key:SECRET@bucket:port/p",
            "s://32//SECRET@bucket/p",
            "https:er//userSECRET@host:8080/p",
            "s3://key:12/SECRET@bucket/p",
            "s3://key/:SECRET@bucket/p",
            "s3://key:/SECRET@bucket/p",
            "s3://bucket/s3://key:SECRET@bucket/p",
        ] {
            let refused = parse(uri).err().unwrap().to_string();
            assert!(!refused.contains("SECRET"), "{refused}");
        }
        assert!(parse("./a:b?c").is_ok(), "a path may have any name");
    }

    #[test]
    fn a_uri_without_a_bucket_is_refused() {
        for uri in ["s3://", "s3:///", "s3:///graph", "memory://"] {
            let refused = parse(uri).err().map(|e| e.to_string());
            assert!(
                refused.is_some_and(|message| message.contains("no bucket")),
                "{uri}"
            );
        }
        assert_eq!(parse("s3://bucket/").unwrap().shown, "s3://bucket");
    }

    #[test]
    fn tables_whose_commits_are_in_dynamodb_are_refused_and_not_sent_to_s3() {
        let error = parse("s3+ddb://bucket/db?ddbTableName=t").err();
        let error = error.unwrap().to_string();
        assert!(error.contains("DynamoDB"), "{error}");
        assert!(error.contains("do not give it as s3://"), "{error}");
    }

    #[test]
    fn an_unknown_scheme_is_refused_with_the_known_ones() {
        let error = parse("ftp://host/graph").err().unwrap();
        assert!(error.to_string().contains("s3://"), "{error}");
    }

    #[test]
    fn a_root_that_is_a_link_is_resolved_and_shown_resolved() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        std::fs::create_dir(real.join("db")).unwrap();
        symlink("db", real.join("current")).unwrap();
        for below in ["current", "current/later/on", "current/./"] {
            let root = parse(real.join(below).to_str().unwrap()).unwrap();
            let expected = real.join(below.replace("current", "db"));
            assert_eq!(
                root.shown,
                expected.to_str().unwrap().trim_end_matches("/./")
            );
            assert_eq!(root.boundary.unwrap().root.to_str().unwrap(), root.shown);
        }
        let uri = format!("file://{}", real.join("current").display());
        assert!(parse(&uri).unwrap().shown.ends_with("/db"));
    }

    #[test]
    fn going_up_from_a_link_is_refused_and_from_a_folder_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(real.join("real/sub")).unwrap();
        std::fs::create_dir(real.join("here")).unwrap();
        symlink("../real/sub", real.join("here/lnk")).unwrap();
        for below in ["here/lnk/..", "here/lnk/x/../..", "here/lnk/../db"] {
            let error = parse(real.join(below).to_str().unwrap()).unwrap_err();
            assert!(
                error.to_string().contains("without `..`"),
                "{below}: {error}"
            );
        }
        let uri = format!("file://{}/here/lnk/%2E%2e", real.display());
        assert!(parse(&uri).is_err());
        let root = parse(real.join("real/sub/../new").to_str().unwrap()).unwrap();
        assert_eq!(root.shown, real.join("real/new").to_str().unwrap());
    }
}
