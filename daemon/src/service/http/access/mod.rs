//! Who is answered, and how much of it.
//!
//! | file | what is in it |
//! |---|---|
//! | [`listener`] | token, certificate and limits; takes connections |
//! | [`authorization`] | who may ask for what |
//! | [`rejections`] | requests that were rejected: counted, and logged at a limited rate |
//! | [`error`] | why the listener cannot be opened |
//! | [`write_timeout`] | a time limit for writes to a client that does not read |
//! | [`tls`] | the certificate |

pub(in crate::service::http) mod authorization;
pub(crate) mod error;
pub(crate) mod listener;
pub(in crate::service::http) mod rejections;
mod tls;
mod write_timeout;
