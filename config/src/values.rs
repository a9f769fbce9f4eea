//! Values that are texts with rules: addresses, names, URIs, cron schedules, log directives.

use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};

use squire_engine::planner::{
    clients::{Client, LanceVersion},
    compaction::Verify,
};
use squire_engine::uri::{self, UriRefusal};
use squire_engine::{DriftPolicy, Kind};

use crate::error::Refusal;
use crate::suggest;

/// Longest name of a target, in characters.
const LONGEST_NAME: usize = 64;

/// An address to listen on.
pub(crate) fn address(text: &str) -> Result<SocketAddr, Refusal> {
    text.parse().map_err(|_| {
        Refusal::new(
            format!("{text:?} is not an IP address and a port"),
            "write one such as \"127.0.0.1:9464\" or \"[::1]:9464\"",
        )
    })
}

/// A text that says something: not empty, on one line.
pub(crate) fn directives(text: &str) -> Result<String, Refusal> {
    if text.trim().is_empty() || text.contains(char::is_control) {
        return Err(Refusal::new(
            "the filter is empty or not one line",
            "write directives such as \"info\" or \"info,squire_engine=debug\"",
        ));
    }
    Ok(text.to_owned())
}

/// What happens to a table whose meaning another program changed.
pub(crate) const DRIFT: [(&str, DriftPolicy); 2] =
    [("error", DriftPolicy::Error), ("adopt", DriftPolicy::Adopt)];

/// How much of what a rewrite wrote is read back.
pub(crate) const VERIFY: [(&str, Verify); 3] = [
    ("off", Verify::Off),
    ("ends", Verify::Ends),
    ("full", Verify::Full),
];

/// What a target is.
pub(crate) const KIND: [(&str, Option<Kind>); 3] = [
    ("auto", None),
    ("graph", Some(Kind::Graph)),
    ("directory", Some(Kind::Directory)),
];

/// One of a few words.
pub(crate) fn one_of<T: Copy>(text: &str, known: &[(&'static str, T)]) -> Result<T, Refusal> {
    if let Some((_, value)) = known.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let words = known.iter().map(|(word, _)| *word);
    let fix = match suggest::nearest(text, words.clone()) {
        Some(nearest) => format!("did you mean \"{nearest}\"?"),
        None => {
            let words: Vec<_> = words.map(|word| format!("\"{word}\"")).collect();
            format!("write {}", words.join(" or "))
        }
    };
    Err(Refusal::new(format!("{text:?} is not known"), fix))
}

/// The word of a value, of those that [`one_of`] reads.
pub(crate) fn word_of<T: PartialEq>(value: &T, known: &[(&'static str, T)]) -> &'static str {
    let found = known.iter().find(|(_, known)| known == value);
    found.map_or("", |(word, _)| *word)
}

/// A pattern of table names.
pub(crate) fn pattern(text: &str) -> Result<String, Refusal> {
    if text.is_empty() || text.contains(|c: char| c.is_control() || "[]{}!/\\".contains(c)) {
        return Err(Refusal::new(
            format!("{text:?} matches no table"),
            "write a name in which * stands for any characters and ? for one, such as \"logs_*\"",
        ));
    }
    Ok(text.to_owned())
}

/// The absolute path of a file or a folder, such as `example`; `None` for `off`.
pub(crate) fn path(text: &str, example: &str) -> Result<Option<PathBuf>, Refusal> {
    if text == "off" {
        return Ok(None);
    }
    let path = PathBuf::from(text);
    if !path.is_absolute() || text.contains(char::is_control) {
        return Err(Refusal::new(
            format!("{text:?} is not an absolute path"),
            format!("write one such as \"{example}\", or \"off\""),
        ));
    }
    Ok(Some(path))
}

/// The absolute path of a folder, without `..`.
pub(crate) fn folder(text: &str) -> Result<PathBuf, Refusal> {
    let path = PathBuf::from(text);
    let up = path.components().any(|part| part == Component::ParentDir);
    if !path.is_absolute() || up || text.contains(char::is_control) {
        return Err(Refusal::new(
            format!("{text:?} is not an absolute path without `..`"),
            "write one such as \"/mnt/big/lancedb\"",
        ));
    }
    Ok(path)
}

/// A place whose files may be read: the absolute path of a folder, or a URI. Never shown in a refusal, as it may hold a
/// secret.
pub(crate) fn base(text: &str) -> Result<String, Refusal> {
    match uri::scheme_of(text) {
        Some(_) => remote(text)?,
        None => _ = folder(text)?,
    }
    Ok(text.to_owned())
}

/// The name of a target. It becomes a metric label and a part of file names.
pub(crate) fn name(text: &str) -> Result<String, Refusal> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if text.is_empty() || text.len() > LONGEST_NAME || !text.chars().all(allowed) {
        return Err(Refusal::new(
            format!("{text:?} cannot be a name: names are metric labels and stay simple"),
            format!("use 1 to {LONGEST_NAME} of the characters a-z, 0-9, _ and -"),
        ));
    }
    Ok(text.to_owned())
}

/// A target's location: a path or a URI of a known scheme. Never shown in a refusal, as it may
/// hold a secret.
pub(crate) fn location(text: &str) -> Result<String, Refusal> {
    match uri::scheme_of(text) {
        Some(_) => remote(text)?,
        None => local(text)?,
    }
    Ok(text.to_owned())
}

/// Makes a path absolute, relative to `base`, and folds `.` and `..`; leaves a URI as it is.
pub(crate) fn absolute(location: &str, base: &Path) -> Result<String, Refusal> {
    if uri::scheme_of(location).is_some() {
        return Ok(location.to_owned());
    }
    let mut path = PathBuf::new();
    for component in base.join(location).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                // The kernel goes up from where a link leads; as text, it would be another folder.
                let real = std::fs::canonicalize(&path);
                if real.is_ok_and(|real| real != path) {
                    return Err(Refusal::new(
                        "it goes up (`..`) from a link, or from behind one",
                        "write the path without `..`",
                    ));
                }
                path.pop();
            }
            other => path.push(other),
        }
    }
    path.into_os_string().into_string().map_err(|_| {
        Refusal::new(
            "it is relative to a directory whose name is not UTF-8",
            "write an absolute path",
        )
    })
}

fn local(text: &str) -> Result<(), Refusal> {
    let refuse = |what: &str, fix: &str| Err(Refusal::new(what, fix));
    if text.is_empty() {
        refuse("it is empty", "write a path or a URI")
    } else if text.contains(char::is_control) {
        refuse("it holds a control character", "remove it")
    } else if text.starts_with('~') {
        refuse(
            "`~` stands for a home directory in a shell only",
            "write the directory out",
        )
    } else {
        Ok(())
    }
}

fn remote(text: &str) -> Result<(), Refusal> {
    let Err(refusal) = uri::check(text) else {
        return Ok(());
    };
    Err(match refusal {
        UriRefusal::UnknownScheme(scheme) => Refusal::new(
            format!("the scheme `{scheme}` is not known"),
            "use a path, file://, memory:// or s3://; begin a path that holds a \
             colon with ./ or /",
        ),
        UriRefusal::NoSlashes(scheme) => Refusal::new(
            "the scheme is not followed by ://",
            format!("write {scheme}://..."),
        ),
        UriRefusal::Credentials | UriRefusal::EncodedBucket | UriRefusal::PasswordInPath => {
            Refusal::new(
                "it holds credentials, and settings are read and shown in many places",
                "remove them; the store's client takes them from its own environment variables, \
                 such as AWS_ACCESS_KEY_ID, or from the machine's role",
            )
        }
        UriRefusal::Malformed(_) => {
            Refusal::new("it is not a URI", "write one such as s3://bucket/prefix")
        }
        UriRefusal::QueryOrFragment => Refusal::new(
            "it has a part after `?` or `#`, which no store reads and which may hold a token",
            "remove that part",
        ),
        UriRefusal::FileHost => Refusal::new(
            "a file URI with a host names another machine's file",
            "write three slashes: file:///var/lib/...",
        ),
        UriRefusal::NoBucket => {
            Refusal::new("it names no bucket", "write one such as s3://bucket/prefix")
        }
    })
}

/// The oldest client of a table, as package and version; `None` for `auto`.
pub(crate) fn client(text: &str) -> Result<Option<String>, Refusal> {
    const FORM: &str = "write the package and its version, such as \"lancedb 0.30.2\" or \"lance 4.0\", or \"auto\"";
    if text == "auto" {
        return Ok(None);
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let [package, version] = words.as_slice() else {
        return Err(Refusal::new(
            format!("{text:?} is not a package and a version"),
            FORM,
        ));
    };
    if !["lancedb", "lance", "pylance"].contains(package) {
        return Err(Refusal::new(
            format!("{package:?} is no package with Lance in it"),
            FORM,
        ));
    }
    let mut numbers = version.split('.').take(2);
    if !numbers.all(|number| number.parse::<u32>().is_ok()) {
        return Err(Refusal::new(format!("{version:?} is not a version"), FORM));
    }
    Ok(Some(words.join(" ")))
}

/// The Lance in a client that [`client`] has read; `None` where its version is not one of numbers alone.
pub(crate) fn lance_of(client: &str) -> Option<LanceVersion> {
    client.parse::<Client>().ok().map(|client| client.0)
}

/// A cron schedule, `None` for `off`. Only its form is checked here: the number of fields, their
/// characters and the size of their numbers; the scheduler has the last word.
pub(crate) fn cron(text: &str) -> Result<Option<String>, Refusal> {
    /// Name, least and greatest number of each field, in order.
    const FIELDS: [(&str, u32, u32); 7] = [
        ("second", 0, 59),
        ("minute", 0, 59),
        ("hour", 0, 23),
        ("day of month", 1, 31),
        ("month", 1, 12),
        ("day of week", 0, 7),
        ("year", 1970, 2999),
    ];
    const FORM: &str = "write second, minute, hour, day of month, month and day of week, such as \
                        \"0 */5 * * * *\", or \"off\"";
    if text == "off" {
        return Ok(None);
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    if !(6..=7).contains(&fields.len()) {
        let what = format!("{text:?} has {} fields, not 6 or 7", fields.len());
        return Err(Refusal::new(what, FORM));
    }
    for (field, (name, least, most)) in fields.iter().zip(FIELDS) {
        let known = |c: char| c.is_ascii_alphanumeric() || "*,-/?#".contains(c);
        if !field.chars().all(known) {
            let what = format!("the {name}, {field:?}, holds a character that means nothing");
            return Err(Refusal::new(what, FORM));
        }
        // A step, after a slash, and an ordinal, after a hash, count from one whatever the field.
        let points = field
            .split(',')
            .filter_map(|part| part.split(['/', '#']).next());
        for point in points.flat_map(|range| range.split('-')) {
            let digits = !point.is_empty() && point.chars().all(|c| c.is_ascii_digit());
            let fits = |number: u32| (least..=most).contains(&number);
            if digits && !point.parse().is_ok_and(fits) {
                return Err(Refusal::new(
                    format!("the {name}, {point}, is not between {least} and {most}"),
                    FORM,
                ));
            }
        }
    }
    Ok(Some(text.to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn schedules_of_six_or_seven_fields_are_taken() {
        for text in [
            "0 */5 * * * *",
            "0 0 3 * * MON-FRI",
            "0 0 0 1,15 JAN ? 2030",
            "30 0/15 8-18 L * 5#2",
        ] {
            assert_eq!(cron(text), Ok(Some(text.to_owned())));
        }
        assert_eq!(cron("off"), Ok(None));
        assert_eq!(client("auto"), Ok(None));
        assert_eq!(
            client("lancedb 0.30.2"),
            Ok(Some("lancedb 0.30.2".to_owned()))
        );
        assert_eq!(client(" lance  4"), Ok(Some("lance 4".to_owned())));
    }

    #[test]
    fn schedules_that_cannot_be_are_refused() {
        for text in [
            "",
            "@daily",
            "*/5 * * * *",
            "* * * * * * * *",
            "61 * * * * *",
            "0 0 24 * * *",
            "0 0 0 0 * *",
            "0 0 0 1-32 * *",
            "0 0 0 * 13 *",
            "0 0 0 * * 8",
            "0 0 0 ! * *",
            "99999999999 * * * * *",
        ] {
            assert!(cron(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn locations_of_known_schemes_are_taken_as_they_are() {
        for text in [
            "/var/lib/flights",
            "data/with space",
            "./a:b",
            "file:///var/lib/flights",
            "memory://",
            "memory://flights",
            "s3://bucket",
            "s3://bucket/a@b",
        ] {
            assert_eq!(location(text).as_deref(), Ok(text));
        }
    }

    #[test]
    fn locations_that_cannot_be_are_refused() {
        for text in [
            "",
            "~/flights",
            "a\0b",
            "ftp://host/x",
            "http://host/x",
            "s3:bucket/x",
            "s3:///x",
            "s3://",
            "file://host/x",
            "file:/x",
            "s3://bu cket/x",
        ] {
            assert!(location(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn credentials_in_a_location_are_refused_and_never_shown() {
        for text in [
            "s3://key:hush@bucket/x",
            "s3://hush@bucket/x",
            "s3://key:hush/hush@bucket/x",
            "s3://key:443/hush@bucket/x",
            "s3://bucket/x?sig=hush",
            "s3://bucket/x#hush",
            "file://user:hush@host/x",
        ] {
            let refusal = location(text).unwrap_err();
            assert!(!refusal.to_string().contains("hush"), "{refusal}");
        }
    }

    #[test]
    fn relative_paths_become_absolute_and_folded() {
        let base = Path::new("/etc/squire");
        let of = |text| absolute(text, base).unwrap();
        assert_eq!(of("data"), "/etc/squire/data");
        assert_eq!(of("./data/"), "/etc/squire/data");
        assert_eq!(of("../data/./x"), "/etc/data/x");
        assert_eq!(of("/srv/../data"), "/data");
        assert_eq!(of("s3://bucket/../x"), "s3://bucket/../x");
    }

    #[test]
    fn names_keep_to_their_characters() {
        for text in ["flights", "a", "a-b_9"] {
            assert_eq!(name(text).as_deref(), Ok(text));
        }
        for text in ["", "Flights", "a b", "a/b", "é", &"a".repeat(65)] {
            assert!(name(text).is_err(), "{text:?}");
        }
    }
}
