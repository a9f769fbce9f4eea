use super::*;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const RIGHT: (&str, &str) = ("authorization", "Bearer 0123456789abcdef0123456789abcdef");
const WRONG: (&str, &str) = ("authorization", "Bearer 0123456789abcdef0123456789abcdeX");
const JSON: (&str, &str) = ("content-type", "application/json");
const HERE: (&str, &str) = ("host", "127.0.0.1:9464");
const THERE: (&str, &str) = ("host", "squire.example:9464");

/// How the address can be reached, the method, the path, the headers, and what is decided.
type Case<'a> = (
    Exposure,
    &'static str,
    &'a str,
    &'a [(&'static str, &'a str)],
    Result<Trust, Reason>,
);

/// How the address can be reached, and whether there is a token.
#[derive(Debug, Clone, Copy)]
enum Exposure {
    /// By this machine alone, and there is no token.
    Open,
    /// By this machine alone, and there is a token.
    Local,
    /// By others.
    Exposed,
}
use Exposure::{Exposed, Local, Open};

fn judged(
    exposure: Exposure,
    method: &'static str,
    path: &str,
    shown: &[(&'static str, &str)],
) -> Result<Trust, Reason> {
    let token = || Secret::new(TOKEN).expect("it is long enough");
    let rules = Rules {
        exposed: matches!(exposure, Exposed),
        token: (!matches!(exposure, Open)).then(token),
    };
    let mut headers = HeaderMap::new();
    for (name, value) in shown {
        let value = HeaderValue::from_str(value).expect("it is a header");
        headers.insert(HeaderName::from_static(name), value);
    }
    rules.authorize(Asked {
        method: &Method::from_bytes(method.as_bytes()).expect("it is a method"),
        path,
        headers: &headers,
    })
}

#[test]
fn who_may_ask_for_what() {
    use Reason::{Browser, ContentType, Host, Proxy, TokenMissing, TokenWrong};
    use Trust::{Full, Public};
    const PASSED_ON: (&str, &str) = ("x-forwarded-for", "192.0.2.1");
    const PAGE: (&str, &str) = ("origin", "http://127.0.0.1:9464");
    const EVIL: (&str, &str) = ("origin", "http://evil.example");
    const OURS: (&str, &str) = ("sec-fetch-site", "same-origin");
    const OTHERS: (&str, &str) = ("sec-fetch-site", "cross-site");
    const SIBLING: (&str, &str) = ("sec-fetch-site", "same-site");
    const LINK: (&str, &str) = ("sec-fetch-mode", "navigate");
    const REBOUND: (&str, &str) = ("host", "evil.example:9464");
    let cases: &[Case<'_>] = &[
        // A user or a program on this machine.
        (Open, "GET", "/metrics", &[HERE], Ok(Full)),
        (Open, "GET", "/api/v1/pauses", &[HERE], Ok(Full)),
        (Open, "GET", "/healthz", &[HERE], Ok(Full)),
        (Open, "POST", "/api/v1/pauses", &[HERE, JSON], Ok(Full)),
        (Open, "POST", "/api/v1/pauses", &[HERE], Err(ContentType)),
        (
            Open,
            "DELETE",
            "/api/v1/pauses",
            &[HERE, ("content-type", "text/plain")],
            Err(ContentType),
        ),
        (
            Open,
            "POST",
            "/api/v1/pauses",
            &[HERE, JSON, WRONG],
            Ok(Full),
        ),
        (
            Open,
            "POST",
            "/api/v1/pauses",
            &[HERE, ("content-type", "Application/JSON; charset=utf-8")],
            Ok(Full),
        ),
        // What a proxy passes on may come from anyone.
        (Open, "GET", "/metrics", &[HERE, PASSED_ON], Err(Proxy)),
        (
            Open,
            "GET",
            "/metrics",
            &[HERE, ("via", "1.1 a")],
            Err(Proxy),
        ),
        (Open, "GET", "/healthz", &[HERE, PASSED_ON], Ok(Public)),
        (
            Open,
            "POST",
            "/api/v1/pauses",
            &[HERE, JSON, ("forwarded", "for=192.0.2.1")],
            Err(Proxy),
        ),
        (
            Open,
            "POST",
            "/api/v1/pauses",
            &[HERE, JSON, ("x-real-ip", "192.0.2.1")],
            Err(Proxy),
        ),
        (
            Local,
            "GET",
            "/metrics",
            &[HERE, PASSED_ON],
            Err(TokenMissing),
        ),
        (
            Local,
            "GET",
            "/metrics",
            &[HERE, PASSED_ON, RIGHT],
            Ok(Full),
        ),
        // With a token, a client that changes something needs it.
        (Local, "GET", "/metrics", &[HERE], Ok(Full)),
        (Local, "GET", "/api/v1/pauses", &[HERE], Ok(Full)),
        (
            Local,
            "POST",
            "/api/v1/pauses",
            &[HERE, JSON],
            Err(TokenMissing),
        ),
        (
            Local,
            "POST",
            "/api/v1/pauses",
            &[HERE, JSON, WRONG],
            Err(TokenWrong),
        ),
        (
            Local,
            "POST",
            "/api/v1/pauses",
            &[HERE, JSON, RIGHT],
            Ok(Full),
        ),
        (
            Local,
            "POST",
            "/api/v1/pauses",
            &[HERE, RIGHT],
            Err(ContentType),
        ),
        (Local, "GET", "/metrics", &[HERE, WRONG], Err(TokenWrong)),
        (Local, "GET", "/metrics", &[THERE, RIGHT], Ok(Full)),
        (
            Local,
            "GET",
            "/metrics",
            &[HERE, ("authorization", "Basic dTpw")],
            Ok(Full),
        ),
        (
            Local,
            "POST",
            "/api/v1/pauses",
            &[HERE, JSON, ("authorization", "Basic dTpw")],
            Err(TokenMissing),
        ),
        // Others need it for everything, but for the bare status and the page.
        (Exposed, "GET", "/metrics", &[THERE], Err(TokenMissing)),
        (Exposed, "GET", "/metrics", &[THERE, WRONG], Err(TokenWrong)),
        (Exposed, "GET", "/metrics", &[THERE, RIGHT], Ok(Full)),
        (Exposed, "GET", "/metrics", &[HERE], Err(TokenMissing)),
        (
            Exposed,
            "GET",
            "/api/v1/pauses",
            &[THERE],
            Err(TokenMissing),
        ),
        (
            Exposed,
            "POST",
            "/api/v1/pauses",
            &[THERE, JSON],
            Err(TokenMissing),
        ),
        (
            Exposed,
            "POST",
            "/api/v1/pauses",
            &[THERE, JSON, RIGHT],
            Ok(Full),
        ),
        (Exposed, "GET", "/what/ever", &[THERE], Err(TokenMissing)),
        (Exposed, "GET", "/healthz/", &[THERE], Err(TokenMissing)),
        (Exposed, "GET", "/healthz", &[THERE], Ok(Public)),
        (Exposed, "GET", "/livez", &[THERE], Ok(Public)),
        (Exposed, "GET", "/readyz", &[THERE], Ok(Public)),
        (Exposed, "HEAD", "/healthz", &[THERE], Ok(Public)),
        (Exposed, "GET", "/healthz", &[THERE, WRONG], Ok(Public)),
        (Exposed, "GET", "/healthz", &[THERE, RIGHT], Ok(Full)),
        (Exposed, "GET", "/", &[THERE], Ok(Public)),
        (Exposed, "POST", "/", &[THERE], Err(TokenMissing)),
        (
            Exposed,
            "OPTIONS",
            "/api/v1/pauses",
            &[THERE, EVIL],
            Err(TokenMissing),
        ),
        // The status page reads, and changes nothing without the token.
        (Open, "GET", "/api/v1/pauses", &[HERE, OURS], Ok(Full)),
        (
            Open,
            "POST",
            "/api/v1/pauses",
            &[HERE, JSON, PAGE, OURS],
            Err(Browser),
        ),
        (
            Local,
            "POST",
            "/api/v1/pauses",
            &[HERE, JSON, PAGE, OURS],
            Err(TokenMissing),
        ),
        (
            Local,
            "POST",
            "/api/v1/pauses",
            &[HERE, JSON, PAGE, OURS, RIGHT],
            Ok(Full),
        ),
        (
            Local,
            "POST",
            "/api/v1/pauses",
            &[HERE, JSON, PAGE, RIGHT],
            Ok(Full),
        ),
        (
            Exposed,
            "POST",
            "/api/v1/pauses",
            &[
                THERE,
                JSON,
                ("origin", "https://squire.example:9464"),
                RIGHT,
            ],
            Ok(Full),
        ),
        // Pages of other sites, also with a token that leaked, and also by a name that was made to lead here.
        (Open, "GET", "/metrics", &[HERE, OTHERS], Err(Browser)),
        (Open, "GET", "/metrics", &[HERE, SIBLING], Err(Browser)),
        (Open, "GET", "/metrics", &[HERE, OTHERS, LINK], Ok(Full)),
        (Open, "GET", "/metrics", &[HERE, EVIL], Err(Browser)),
        (
            Open,
            "POST",
            "/api/v1/pauses",
            &[HERE, JSON, EVIL],
            Err(Browser),
        ),
        (
            Open,
            "POST",
            "/api/v1/pauses",
            &[HERE, JSON, ("origin", "null")],
            Err(Browser),
        ),
        (
            Open,
            "OPTIONS",
            "/api/v1/pauses",
            &[HERE, EVIL],
            Err(Browser),
        ),
        (
            Local,
            "POST",
            "/api/v1/pauses",
            &[HERE, JSON, EVIL, RIGHT],
            Err(Browser),
        ),
        (
            Local,
            "POST",
            "/api/v1/pauses",
            &[HERE, JSON, PAGE, OTHERS, RIGHT],
            Err(Browser),
        ),
        (
            Local,
            "POST",
            "/api/v1/pauses",
            &[HERE, JSON, EVIL, OTHERS, LINK, RIGHT],
            Err(Browser),
        ),
        (
            Exposed,
            "GET",
            "/metrics",
            &[THERE, EVIL, RIGHT],
            Err(Browser),
        ),
        (Open, "GET", "/metrics", &[REBOUND], Err(Host)),
        (Open, "GET", "/metrics", &[REBOUND, OURS], Err(Host)),
        (Open, "POST", "/api/v1/pauses", &[REBOUND, JSON], Err(Host)),
        (Open, "GET", "/healthz", &[REBOUND], Ok(Public)),
        (Open, "GET", "/healthz", &[HERE, OTHERS], Ok(Public)),
        (Open, "GET", "/metrics", &[], Err(Host)),
    ];
    for (exposure, method, path, shown, expected) in cases {
        assert_eq!(
            judged(*exposure, method, path, shown),
            *expected,
            "{exposure:?}: {method} {path} {shown:?}"
        );
    }
}

#[test]
fn a_daemon_that_others_can_reach_tells_nothing_when_it_has_no_token() {
    let rules = Rules {
        exposed: true,
        token: None,
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1:9464"));
    let asked = Asked {
        method: &Method::GET,
        path: "/metrics",
        headers: &headers,
    };
    assert_eq!(rules.authorize(asked), Err(Reason::TokenMissing));
}

#[test]
fn the_token_is_what_follows_the_scheme_and_nothing_else() {
    for (value, expected) in [
        ("Bearer abc", Some("abc")),
        ("bearer abc", Some("abc")),
        ("BEARER   abc ", Some("abc")),
        ("Bearer ", Some("")),
        ("Bearer", None),
        ("Bearerabc", None),
        ("Basic abc", None),
        ("abc", None),
        ("", None),
    ] {
        assert_eq!(
            bearer(value.as_bytes()),
            expected.map(str::as_bytes),
            "{value:?}"
        );
    }
}

#[test]
fn only_this_machines_own_addresses_are_taken_for_it() {
    let names = |host: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static(host));
        names_this_machine(&headers)
    };
    for host in [
        "127.0.0.1:9464",
        "127.0.0.1",
        "[::1]:9464",
        "localhost:1",
        "127.9.9.9:1",
    ] {
        assert!(names(host), "{host}");
    }
    for host in [
        "evil.example:9464",
        "192.168.1.1:9464",
        "127.0.0.1.evil.example",
        "",
        ":1",
    ] {
        assert!(!names(host), "{host}");
    }
    assert!(!names_this_machine(&HeaderMap::new()));
}

#[test]
fn every_refusal_says_what_to_do_and_none_is_a_success() {
    for reason in Reason::ALL {
        let (code, error) = answer(reason);
        assert!(code.is_client_error() || code.is_server_error());
        assert!(!error.is_empty());
    }
}
