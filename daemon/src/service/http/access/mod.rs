//! Who is answered, and how much of it.
//!
//! | file | what is in it |
//! |---|---|
//! | [`listener`] | token, certificate and limits; takes connections |
//! | [`authorization`] | who may ask for what |
//! | [`rejections`] | requests that were rejected: counted, and logged at a limited rate |
//! | [`write_timeout`] | connections whose other side does not read |
//! | [`tls`] | the certificate |

pub(in crate::service) mod authorization;
pub(crate) mod listener;
pub(in crate::service) mod rejections;
mod tls;
mod write_timeout;
