//! Why the listener or its certificate cannot be used.

use std::{net::SocketAddr, path::PathBuf};

use squire_config::SecretError;

/// Why the listener cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenerError {
    #[error(transparent)]
    Token(#[from] SecretError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(
        "daemon.listen = \"{listen}\" can be reached from other machines, and there is no token for them to show: set the environment variable SQUIRE_TOKEN, or hand it over as the systemd credential squire-token; `openssl rand -hex 32` makes one"
    )]
    NoToken { listen: SocketAddr },
}

impl ListenerError {
    /// Whether it is something that the service manager may hand over to the daemon, and not to a user who checks a
    /// configuration by hand.
    pub(crate) fn is_lack(&self) -> bool {
        matches!(self, Self::NoToken { .. } | Self::Tls(TlsError::NoKey))
    }
}

/// Why there is no TLS, or why the certificate stays as it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error(
        "[daemon.tls] has a certificate and no key: set key, or hand the key over as the systemd credential squire-tls-key"
    )]
    NoKey,
    #[error(
        "the certificate {} cannot be used: {fault}; it must be a file that this user may read, of PEM blocks `BEGIN CERTIFICATE`, the daemon's own first",
        .path.display()
    )]
    Certificate { path: PathBuf, fault: String },
    #[error(
        "the private key {} cannot be used: {fault}; it must be a file that this user may read, of one PEM block such as `BEGIN PRIVATE KEY`, without a password",
        .path.display()
    )]
    Key { path: PathBuf, fault: String },
    #[error(
        "the private key {} may be read by every user of this machine (mode {mode:03o}): take that right away (chmod o= {}), and have another certificate issued if others had the time to read it",
        .path.display(), .path.display()
    )]
    KeyOfAll { path: PathBuf, mode: u32 },
    #[error(
        "the private key {} is not that of the certificate {}, or is of a kind that is not known: {fault}; give both files from one issue of the certificate",
        .key.display(),
        .certificate.display()
    )]
    Pair {
        certificate: PathBuf,
        key: PathBuf,
        fault: rustls::Error,
    },
}
