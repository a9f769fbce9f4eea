//! What a store repeats of a request that it refuses.
//!
//! Errors of a store hold its answer, and that may hold the request: S3 writes out which headers it took for signed, a
//! session's token among them, and a proxy may write out all of them. Code that shows such a text leaves these out.

use std::{borrow::Cow, ops::Range};

/// Elements of an S3 error that repeat the request, in small letters.
const ELEMENTS: [&str; 4] = [
    "canonicalrequest",
    "canonicalrequestbytes",
    "stringtosign",
    "stringtosignbytes",
];
/// Headers and parameters of a request that hold a secret, or may, in small letters.
const HEADERS: [&str; 2] = ["x-amz-security-token", "authorization"];
const HIDDEN: &str = "[hidden]";

/// A text without what is secret of a request that it repeats. Nearly every text repeats none and stays as it is.
pub fn without_echo(text: &str) -> Cow<'_, str> {
    // Bytes stay where they are.
    let small = text.to_ascii_lowercase();
    let elements = ELEMENTS.iter().flat_map(|name| elements(&small, name));
    let mut hidden: Vec<_> = elements.collect();
    hidden.extend(HEADERS.iter().flat_map(|name| headers(&small, name)));
    if hidden.is_empty() {
        return Cow::Borrowed(text);
    }
    hidden.sort_by_key(|part| part.start);
    let (mut shown, mut from) = (String::with_capacity(text.len()), 0);
    for part in hidden {
        if part.start >= from {
            shown.push_str(&text[from..part.start]);
            shown.push_str(HIDDEN);
        }
        from = from.max(part.end);
    }
    shown.push_str(&text[from..]);
    Cow::Owned(shown)
}

/// What is within each element of a name; up to the end of the text where one is cut off.
fn elements(text: &str, name: &str) -> Vec<Range<usize>> {
    let (opening, closing) = (format!("<{name}>"), format!("</{name}>"));
    let openings = text.match_indices(&opening);
    let within = openings.map(|(at, _)| {
        let start = at + opening.len();
        let length = text[start..].find(&closing);
        start..length.map_or(text.len(), |length| start + length)
    });
    within.collect()
}

/// The value of each header of a name, however it is quoted: up to the end of its line, its text or its element.
fn headers(text: &str, name: &str) -> Vec<Range<usize>> {
    let values = text.match_indices(name).filter_map(|(at, _)| {
        let after = &text[at + name.len()..];
        let value = after.trim_start_matches(['"', '\'', '\\', ' ']);
        // A mere mention has no value.
        let value = value.strip_prefix([':', '='])?;
        let value = value.trim_start_matches(['"', '\'', '\\', ' ']);
        let start = text.len() - value.len();
        let length = value.find(['\n', '\r', '"', '\'', '\\', '<', '&']);
        Some(start..start + length.unwrap_or(value.len()))
    });
    values.filter(|value| !value.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_store_repeats_of_a_request_is_hidden_and_the_rest_is_shown() {
        for (text, shown) in [
            (
                "403: <Error><Code>SignatureDoesNotMatch</Code><CanonicalRequest>GET\nx-amz-security-token:hush\n</CanonicalRequest><CanonicalRequestBytes>47 45</CanonicalRequestBytes></Error>",
                "403: <Error><Code>SignatureDoesNotMatch</Code><CanonicalRequest>[hidden]</CanonicalRequest><CanonicalRequestBytes>[hidden]</CanonicalRequestBytes></Error>",
            ),
            ("<StringToSign>hush", "<StringToSign>[hidden]"),
            (
                "GET / HTTP/1.1\r\nX-Amz-Security-Token: hush\r\nhost: a",
                "GET / HTTP/1.1\r\nX-Amz-Security-Token: [hidden]\r\nhost: a",
            ),
            (
                r#"{"Authorization": "AWS4 Credential=hush, Signature=hush"}"#,
                r#"{"Authorization": "[hidden]"}"#,
            ),
            (
                r#"{"error":"\"authorization\": \"hush hush\", x-amz-security-token=hush&b=1"}"#,
                r#"{"error":"\"authorization\": \"[hidden]\", x-amz-security-token=[hidden]&b=1"}"#,
            ),
        ] {
            assert_eq!(without_echo(text), shown);
        }
    }

    #[test]
    fn a_text_that_repeats_nothing_stays_as_it_is() {
        for text in [
            "",
            "the header Authorization, after `Bearer `",
            "SignedHeaders=host;x-amz-date;x-amz-security-token, é",
            "no such bucket",
        ] {
            assert!(matches!(without_echo(text), Cow::Borrowed(same) if same == text));
        }
    }
}
