//! The schemes of URIs, and what in a URI may be a secret: once, for roots and for settings.

use std::fmt;

use url::Url;

/// A scheme that a root may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// A folder of this machine.
    File,
    /// The memory of this process, for tests.
    Memory,
    /// A bucket of S3, or of a store that speaks its protocol.
    S3,
}

impl Scheme {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::File, Self::Memory, Self::S3];

    /// The scheme as a URI spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Memory => "memory",
            Self::S3 => "s3",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a URI is refused. It holds nothing of the URI but its scheme, as the rest may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UriRefusal {
    /// No store has this scheme.
    UnknownScheme(String),
    /// The scheme is not followed by `://`.
    NoSlashes(Scheme),
    /// It has a user or a password.
    Credentials,
    /// Its bucket has a `%` in it, as that of credentials whose `:` and `@` are encoded.
    EncodedBucket,
    /// It has an `@` behind a `:`, as that of credentials with a `/` in them.
    PasswordInPath,
    /// It has a part after `?` or `#`, which no store reads.
    QueryOrFragment,
    /// It cannot be parsed, for this reason.
    Malformed(String),
    /// A URI of a file names another machine.
    FileHost,
    /// It names no bucket.
    NoBucket,
}

/// The scheme of a URI, as it is written; `None` for a path. A path that holds a colon begins with `./` or `/`.
pub fn scheme_of(uri: &str) -> Option<&str> {
    let (scheme, _) = uri.split_once(':')?;
    let of_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let is_scheme =
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(of_scheme);
    is_scheme.then_some(scheme)
}

/// Checks a URI that has a scheme: that a store knows it, and that nothing in it may be a secret.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check(uri: &str) -> Result<(Scheme, Url), UriRefusal> {
    let written = scheme_of(uri).unwrap_or_default();
    let known = Scheme::ALL.into_iter().find(|s| s.as_str() == written);
    let scheme = known.ok_or_else(|| UriRefusal::UnknownScheme(written.to_owned()))?;
    if !has_slashes(uri, written) {
        return Err(UriRefusal::NoSlashes(scheme));
    }
    // The parser drops some of them, and takes a backslash for a slash: the place would not be the one that is written.
    if uri.contains(char::is_control) {
        return Err(UriRefusal::Malformed(
            "it has a control character in it".to_owned(),
        ));
    }
    if scheme == Scheme::File && uri.contains('\\') {
        return Err(UriRefusal::Malformed(
            "it has a backslash in it; give a folder that is called so as a path".to_owned(),
        ));
    }
    let url = Url::parse(uri).map_err(|e| {
        // What is before an `@` may be a user and a password, whatever it is that cannot be parsed.
        if uri.contains('@') {
            UriRefusal::Credentials
        } else {
            UriRefusal::Malformed(e.to_string())
        }
    })?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UriRefusal::Credentials);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(UriRefusal::QueryOrFragment);
    }
    let host = url.host_str().unwrap_or_default();
    if host.contains('%') {
        return Err(UriRefusal::EncodedBucket);
    }
    if may_hold_a_password(uri) {
        return Err(UriRefusal::PasswordInPath);
    }
    match scheme {
        Scheme::File if !host.is_empty() => Err(UriRefusal::FileHost),
        Scheme::S3 if host.is_empty() => Err(UriRefusal::NoBucket),
        _ => Ok((scheme, url)),
    }
}

/// Whether a URI goes on with `://` after its scheme.
fn has_slashes(uri: &str, scheme: &str) -> bool {
    let rest = uri.strip_prefix(scheme);
    rest.is_some_and(|rest| rest.starts_with("://"))
}

/// Whether a URI that no store of Squire's has a scheme for is a host and a path, and nothing else: its own rules may put a
/// secret anywhere else.
fn is_plain(uri: &str, scheme: &str) -> bool {
    let rest = uri.strip_prefix(scheme).unwrap_or_default();
    let rest = rest.strip_prefix("://").unwrap_or_default();
    let plain = |c: char| c.is_alphanumeric() || "-._/".contains(c);
    !rest.is_empty() && rest.chars().all(plain)
}

/// A URI that may be shown: without user, password and what follows `?` or `#`. Nothing is shown of one that cannot be
/// parsed, that the parser would change, or that has an unknown scheme and more than a host and a path.
pub(super) fn without_secrets(uri: &str) -> String {
    let hidden = || "<uri>".to_owned();
    if let Some(scheme) = scheme_of(uri) {
        let known = Scheme::ALL.iter().any(|known| known.as_str() == scheme);
        let is_sound = has_slashes(uri, scheme) && !uri.contains(char::is_control);
        let is_sound = is_sound && !(uri.contains('\\') && scheme == Scheme::File.as_str());
        if !is_sound || !(known || is_plain(uri, scheme)) {
            return hidden();
        }
    }
    let Ok(mut url) = Url::parse(uri) else {
        let may_hide = scheme_of(uri).is_some() || uri.contains(['@', '?']);
        return if may_hide { hidden() } else { uri.to_owned() };
    };
    let in_host = url.host_str().is_some_and(|host| host.contains('%'));
    if in_host || url.cannot_be_a_base() || may_hold_a_password(uri) {
        return hidden();
    }
    url.set_query(None);
    url.set_fragment(None);
    let clean = url.set_username("").and_then(|()| url.set_password(None));
    // A wrong scheme, or a slash too many, makes a path of what should have been a user and a password.
    let in_path = url.path().contains('@') || url.path().to_ascii_lowercase().contains("%40");
    if clean.is_err() || (in_path && url.scheme() != Scheme::File.as_str()) {
        return hidden();
    }
    url.to_string()
}

/// Whether a URI may hold a name and a password, well written or not: an `@` with a `:` somewhere before it. A secret key may
/// have slashes in it: written into a URI as it is, it makes a host of its beginning, and a path of what follows.
fn may_hold_a_password(uri: &str) -> bool {
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    let rest = rest
        .to_ascii_lowercase()
        .replace("%3a", ":")
        .replace("%40", "@");
    rest.rsplit_once('@')
        .is_some_and(|(before, _)| before.contains(':'))
}
