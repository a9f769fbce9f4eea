//! What the suites share: a small schema, rows, and stores that count or hold back requests.

pub mod flights;
pub mod store;
