//! Who may ask for what; how much is in `listener.rs` and `write_timeout.rs`. The decision is [`Rules::authorize`], a pure function; the rest carries it out.
//!
//! | | only this machine can reach the address | others can |
//! |---|---|---|
//! | the page, which holds nothing until it is given the token | everybody | everybody |
//! | `/healthz`, `/livez`, `/readyz` | everything; the bare status for pages of others | everything with the token, else the bare status |
//! | to read | any client on this machine, but no page of another site | with the token |
//! | to change | the same, and with the token when there is one; no page without it | with the token |
//!
//! A page in a browser on this machine reaches the address as well as a user does, and may come from any site. Browsers
//! say so: by `Origin` and `Sec-Fetch-Site`; and by a `Host` that is not this machine's own, when the page's name was
//! made to lead here. No other site can know the token, and none can read an answer, as no header of CORS is ever sent.
//!
//! A proxy on this machine reaches the address, too, and may be open to the world. What it passed on has to show the token.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use squire_config::Secret;

use super::rejections::{Reason, Refusals};
use crate::api::Refused;

/// A request that takes longer is answered with 408.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What may be asked for without a token from anywhere: the status page, a text that is the same for everybody.
const PAGES: &[&str] = &["/"];

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// What proxies add to a request that they pass on.
const FORWARDED: [HeaderName; 3] = [
    header::FORWARDED,
    header::VIA,
    HeaderName::from_static("x-real-ip"),
];
/// The same, by how the name begins.
const FORWARDED_PREFIX: &str = "x-forwarded-";

/// What decides who may ask.
#[derive(Debug)]
pub(in crate::service::http) struct Rules {
    /// Other machines can reach the address.
    pub(in crate::service::http) exposed: bool,
    /// The bearer token.
    pub(in crate::service::http) token: Option<Secret>,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::service::http) enum Trust {
    /// May read everything.
    Full,
    /// May read what is public.
    Public,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(in crate::service::http) struct Asked<'a> {
    pub(in crate::service::http) method: &'a Method,
    pub(in crate::service::http) path: &'a str,
    pub(in crate::service::http) headers: &'a HeaderMap,
}

/// A client asks whether the daemon works.
const PROBES: [&str; 3] = ["/healthz", "/livez", "/readyz"];

/// What a request has to show for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Right,
    Wrong,
    Nothing,
}

impl Rules {
    /// Who sends the request, or why it is rejected.
    pub(in crate::service::http) fn authorize(&self, asked: Asked<'_>) -> Result<Trust, Reason> {
        let open = PROBES.contains(&asked.path) || PAGES.contains(&asked.path);
        match self.trusts(asked) {
            Ok(()) => Ok(Trust::Full),
            Err(_) if open && !asked.changes() => Ok(Trust::Public),
            Err(reason) => Err(reason),
        }
    }

    fn trusts(&self, asked: Asked<'_>) -> Result<(), Reason> {
        let headers = asked.headers;
        match self.shown(headers) {
            Shown::Wrong => return Err(Reason::TokenWrong),
            Shown::Nothing if self.exposed => return Err(Reason::TokenMissing),
            Shown::Nothing if asked.changes() && self.token.is_some() => {
                return Err(Reason::TokenMissing);
            }
            Shown::Nothing if was_passed_on(headers) => {
                let has_token = self.token.is_some();
                return Err(if has_token {
                    Reason::TokenMissing
                } else {
                    Reason::Proxy
                });
            }
            Shown::Nothing if headers.contains_key(header::ORIGIN) => return Err(Reason::Browser),
            Shown::Nothing if !names_this_machine(headers) => return Err(Reason::Host),
            Shown::Nothing | Shown::Right => {}
        }
        if is_of_another_site(headers) {
            return Err(Reason::Browser);
        }
        if asked.changes() && !is_json(headers) {
            return Err(Reason::ContentType);
        }
        Ok(())
    }

    /// Other schemes than `Bearer` are for a proxy in between. Where there is no token, there is nothing to be shown.
    fn shown(&self, headers: &HeaderMap) -> Shown {
        let Some(token) = &self.token else {
            return Shown::Nothing;
        };
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        let bearer = given.find_map(|value| bearer(value.as_bytes()));
        match bearer {
            Some(guess) if token.is(guess) => Shown::Right,
            Some(_) => Shown::Wrong,
            None => Shown::Nothing,
        }
    }
}

impl Asked<'_> {
    fn changes(&self) -> bool {
        !matches!(*self.method, Method::GET | Method::HEAD)
    }
}

/// What follows the scheme `Bearer`, in upper or lower case.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"bearer ";
    let (scheme, rest) = value.split_at_checked(SCHEME.len())?;
    scheme
        .eq_ignore_ascii_case(SCHEME)
        .then(|| rest.trim_ascii())
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Whether a page of another site asks. That a user follows a link from there is no harm: the page does not see what
/// they are shown.
fn is_of_another_site(headers: &HeaderMap) -> bool {
    match text(headers, SEC_FETCH_SITE) {
        Some("same-origin" | "none") => false,
        Some(_) => {
            headers.contains_key(header::ORIGIN)
                || text(headers, SEC_FETCH_MODE) != Some("navigate")
        }
        // Browsers say it to addresses with TLS and to this machine's own; an older one, to none.
        None => match headers.get(header::ORIGIN) {
            Some(_) => {
                let origin = text(headers, header::ORIGIN).and_then(|o| o.split_once("://"));
                origin.map(|(_, host)| host) != text(headers, header::HOST)
            }
            None => false,
        },
    }
}

/// Whether a proxy passed the request on. One that says nothing of itself is not seen.
fn was_passed_on(headers: &HeaderMap) -> bool {
    let mut names = headers.keys();
    names.any(|name| FORWARDED.contains(name) || name.as_str().starts_with(FORWARDED_PREFIX))
}

fn is_json(headers: &HeaderMap) -> bool {
    let content = text(headers, header::CONTENT_TYPE);
    let kind = content.and_then(|content| content.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// Whether the request was made to a loopback address, and not to a name that leads here.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = text(headers, header::HOST) else {
        return false;
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// What [`guard`] goes by.
#[derive(Debug)]
pub(in crate::service::http) struct Guard {
    pub(in crate::service::http) rules: Rules,
    pub(in crate::service::http) refusals: Refusals,
}

/// Lets a request in, or answers it itself. Its handler finds a [`Trust`] among its extensions.
pub(in crate::service::http) async fn guard(
    State(guard): State<Arc<Guard>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let asked = Asked {
        method: request.method(),
        path: request.uri().path(),
        headers: request.headers(),
    };
    let authorized = guard.rules.authorize(asked);
    let mut response = match authorized {
        Ok(standing) => {
            request.extensions_mut().insert(standing);
            let answered = tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await;
            answered.unwrap_or_else(|_| guard.refuse(Reason::Timeout, peer))
        }
        Err(reason) => guard.refuse(reason, peer),
    };
    let headers = response.headers_mut();
    if authorized != Ok(Trust::Full) && guard.rules.exposed {
        // A stranger's next request takes a place of its own.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    harden(headers);
    response
}

impl Guard {
    fn refuse(&self, reason: Reason, peer: SocketAddr) -> Response {
        self.refusals.note(reason, Some(peer), Instant::now());
        let (code, error) = answer(reason);
        let error = error.to_owned();
        let mut response = (code, Json(Refused { error })).into_response();
        if code == StatusCode::UNAUTHORIZED {
            let how = HeaderValue::from_static("Bearer realm=\"squire\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, how);
        }
        response
    }
}

/// The answer to a refused client.
fn answer(reason: Reason) -> (StatusCode, &'static str) {
    match reason {
        Reason::TokenMissing => (
            StatusCode::UNAUTHORIZED,
            "this needs the daemon's token: send it in the header Authorization, after `Bearer `; commands take it from SQUIRE_TOKEN",
        ),
        Reason::TokenWrong => (
            StatusCode::UNAUTHORIZED,
            "the token is not the daemon's: see its SQUIRE_TOKEN or its credential squire-token",
        ),
        Reason::Browser => (
            StatusCode::FORBIDDEN,
            "pages in browsers change nothing without the daemon's token, and pages of other sites can read nothing",
        ),
        Reason::Host => (
            StatusCode::FORBIDDEN,
            "the Host is not this machine's own address: use the address that the daemon listens on, or send its token",
        ),
        Reason::Proxy => (
            StatusCode::FORBIDDEN,
            "a proxy passed this on, and the daemon has no token that would tell who asks: give it one (SQUIRE_TOKEN), or ask it without the proxy",
        ),
        Reason::ContentType => (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send JSON, with the header Content-Type: application/json",
        ),
        Reason::Timeout => (
            StatusCode::REQUEST_TIMEOUT,
            "the request took too long; try again",
        ),
        Reason::Connections | Reason::Handshake => (
            StatusCode::SERVICE_UNAVAILABLE,
            "there is no place for another connection; try again",
        ),
    }
}

/// What is answered here instead of by whom a request was for, with the reasons of each code: to every request, and to one
/// that has a body.
pub(in crate::service::http) fn answers(has_body: bool) -> BTreeMap<StatusCode, String> {
    let mut all: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for reason in Reason::ALL {
        let is_answered = !matches!(reason, Reason::Connections | Reason::Handshake);
        if is_answered && (has_body || reason != Reason::ContentType) {
            let (code, text) = answer(reason);
            all.entry(code).or_default().push(text);
        }
    }
    if has_body {
        all.entry(StatusCode::PAYLOAD_TOO_LARGE)
            .or_default()
            .push("the body is larger than any request needs");
    }
    let joined = all
        .into_iter()
        .map(|(code, text)| (code, text.join("; or ")));
    joined.collect()
}

/// What holds of every answer, as far as it says nothing else of it: it is kept nowhere, it is what it says it is, no
/// page has it in a frame or loads it as a part of itself, and it has no parts of its own.
fn harden(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
}

#[cfg(test)]
#[path = "authorization_tests.rs"]
mod tests;
