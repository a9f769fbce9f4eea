//! What the daemon tells a person: the API as it is described, and the status page in a real browser.
#![allow(missing_docs)]

mod acting;
mod browser;
mod described;
mod large;
mod scene;
mod shown;
