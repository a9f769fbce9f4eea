//! The status page, `/`.

mod document;

pub(super) use self::document::router;
