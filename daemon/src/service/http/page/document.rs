//! The status page, `/`: one document with all that it needs, and the rule that nothing else is to be loaded or run.
//!
//! It holds nothing of what is kept here: its script asks the API as any client does, with the token that a user gives
//! it.

use axum::{
    Router,
    http::{HeaderValue, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use uuid::Uuid;

/// The document. What is in the place of the nonce is run, and nothing else.
const PAGE: &str = concat!(
    "<!doctype html>\n<html lang=\"en\">\n<head>\n",
    include_str!("head.html"),
    "<style nonce=\"{nonce}\">\n",
    include_str!("style.css"),
    "</style>\n</head>\n",
    include_str!("body.html"),
    "<script type=\"module\" nonce=\"{nonce}\">\n",
    include_str!("text.js"),
    include_str!("api.js"),
    include_str!("spark.js"),
    include_str!("rows.js"),
    include_str!("tables.js"),
    include_str!("panels.js"),
    include_str!("acts.js"),
    include_str!("app.js"),
    "</script>\n</html>\n",
);

/// The page's route.
pub(in crate::service::http) fn router() -> Router {
    Router::new().route("/", get(show))
}

async fn show() -> Response {
    let nonce = Uuid::new_v4().simple().to_string();
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let mut answer = Html(PAGE.replace("{nonce}", &nonce)).into_response();
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        answer
            .headers_mut()
            .insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    answer
}
