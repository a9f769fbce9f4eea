//! URIs: whatever one says, nothing secret of it is repeated; and texts of stores that repeat a request.

use async_trait::async_trait;
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use squire_engine::{fuzz, without_echo};

use super::{Outcome, Target};
use crate::mutate;

/// What must not be repeated.
const SECRET: &str = "hushHUSHhush";
/// Shapes of URIs with a secret, and of answers of stores.
const SHAPES: [&str; 24] = [
    "s3://key:hushHUSHhush@bucket/p",
    "s3://hushHUSHhush@bucket/p",
    "s3://bucket/p?X-Amz-Signature=hushHUSHhush",
    "s3://bucket/p#hushHUSHhush",
    "s3://key%3AhushHUSHhush%40bucket/p",
    "S3://key:hushHUSHhush@bucket:port/p",
    "s3:key:hushHUSHhush@bucket/p",
    "s3+ddb://key:hushHUSHhush@bucket/p?ddbTableName=t",
    "file://user:hushHUSHhush@host/data/db",
    "file:///data/db?token=hushHUSHhush",
    "file:///data/db#token=hushHUSHhush",
    "memory://user:hushHUSHhush@m/g",
    "https://user:hushHUSHhush@host:8080/p?a=b#c",
    "az://account:hushHUSHhush@container/p",
    "key:hushHUSHhush@host/p",
    "//user:hushHUSHhush@host/p",
    "user:hushHUSHhush@host",
    "/data/db",
    "./a:b",
    "s3://bucket/a/b",
    "403: <Error><CanonicalRequest>GET\nx-amz-security-token:hushHUSHhush\n</CanonicalRequest></Error>",
    "<StringToSign>hushHUSHhush",
    "{\"Authorization\": \"AWS4 Credential=hushHUSHhush\"}",
    "GET / HTTP/1.1\r\nX-Amz-Security-Token: hushHUSHhush\r\nhost: a",
];
const WORDS: [&str; 26] = [
    "://",
    ":",
    "@",
    "/",
    "?",
    "#",
    "%40",
    "%3A",
    "%2F",
    "[",
    "]",
    "::1",
    "s3",
    "S3",
    "file",
    "memory",
    "s3+ddb",
    "\\",
    "user:hushHUSHhush@",
    "?t=hushHUSHhush",
    "#hushHUSHhush",
    " ",
    "\t",
    "\n",
    ":80",
    "<StringToSign>",
];

pub(super) struct Uri;

#[async_trait]
impl Target for Uri {
    fn seeds(&self) -> Vec<Vec<u8>> {
        SHAPES.map(|shape| shape.as_bytes().to_vec()).to_vec()
    }

    fn fresh(&self, seeds: &[Vec<u8>], rng: &mut StdRng) -> Vec<u8> {
        // The secret itself stays whole: half of one is another text.
        let seed = mutate::pick(seeds, rng);
        let seed = String::from_utf8_lossy(&seed).into_owned();
        let mut parts: Vec<Vec<u8>> = seed
            .split(SECRET)
            .map(|part| part.as_bytes().to_vec())
            .collect();
        for _ in 0..rng.random_range(1..3) {
            let at = rng.random_range(0..parts.len());
            parts[at] = mutate::bytes(&parts[at], &WORDS, rng);
        }
        if rng.random_ratio(1, 10) {
            let word = WORDS.choose(rng).unwrap_or(&"");
            parts.insert(0, word.as_bytes().to_vec());
        }
        parts.join(SECRET.as_bytes())
    }

    async fn hold(&self, input: &[u8]) -> Result<Outcome, String> {
        let text = String::from_utf8_lossy(input);
        check_echo(&text)?;
        let text = with_names(&text);
        let (outcome, told) = match fuzz::shown_uri(&text) {
            Ok(shown) => {
                // What is shown is a name of the same: it can be given again.
                let again = fuzz::shown_uri(&shown).map_err(|e| format!("{shown}: {e}"))?;
                if again != shown {
                    return Err(format!(
                        "{text:?} is shown as {shown:?}, and that as {again:?}"
                    ));
                }
                (Outcome::Taken, shown)
            }
            Err(error) => (Outcome::Refused, format!("{error} {error:?}")),
        };
        // A path may have any name, if it is one.
        let is_path = outcome == Outcome::Taken && scheme(&text).is_none();
        if told.contains(SECRET) && !is_path {
            return Err(format!("{text:?} is told as {told:?}"));
        }
        Ok(outcome)
    }
}

/// The text with a name in place of the secret where it can only be a name: as a bucket, a host or a part of a path.
fn with_names(text: &str) -> String {
    const NAME: &str = "name";
    let rest = match scheme(text) {
        None if !text.contains(['@', '?']) => return text.replace(SECRET, NAME),
        None => return text.to_owned(),
        Some(scheme) => &text[scheme.len()..],
    };
    let Some(rest) = rest.strip_prefix("://") else {
        return text.to_owned();
    };
    let begins = &text[..text.len() - rest.len()];
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let (place, query) = rest.split_at(end);
    // A password may have slashes.
    let user = place.rsplit_once('@').map(|(user, _)| user);
    if user.is_some_and(|user| user.contains([':', '%'])) {
        return text.to_owned();
    }
    let authority = place.find('/').unwrap_or(place.len());
    let (authority, path) = place.split_at(authority);
    let authority = if authority.contains(['@', '%']) {
        authority.to_owned()
    } else {
        authority.replace(SECRET, NAME)
    };
    format!("{begins}{authority}{}{query}", path.replace(SECRET, NAME))
}

/// What stands before the first colon, if it is a scheme.
fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once(':')?;
    let of_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    let is_scheme = scheme.len() > 1
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(of_scheme);
    is_scheme.then_some(scheme)
}

/// What follows a header or stands in an element is hidden, and the rest stays.
fn check_echo(text: &str) -> Result<(), String> {
    let shown = without_echo(text);
    for header in ["x-amz-security-token:", "authorization:", "authorization="] {
        let small = shown.to_ascii_lowercase();
        let repeats = small.contains(&format!("{header}{}", SECRET.to_ascii_lowercase()))
            || small.contains(&format!("{header} {}", SECRET.to_ascii_lowercase()));
        if repeats {
            return Err(format!("{text:?} repeats a header: {shown:?}"));
        }
    }
    Ok(())
}
