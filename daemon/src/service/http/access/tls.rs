//! The certificate of the address: read at the start, and again when its files change.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use axum_server::tls_rustls::RustlsConfig;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use squire_config::{TLS_KEY_CREDENTIAL, credential};
use tokio_util::sync::CancellationToken;

use super::error::TlsError;

/// How often the files are asked whether they have changed.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// The rights of those who are neither the owner of a file nor in its group.
const OTHERS: u32 = 0o007;
const NO_REGULAR_FILE: &str = "it is no regular file";

/// Where a certificate and its key are.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// What tells that a file is another one than before.
type Stamp = Option<(SystemTime, u64)>;

impl Files {
    /// As the configuration says; nothing when there is no TLS.
    fn of(tls: &squire_config::Tls) -> Result<Option<Self>, TlsError> {
        let Some(certificate) = tls.certificate.clone() else {
            return Ok(None);
        };
        let key = tls.key.clone().or_else(|| credential(TLS_KEY_CREDENTIAL));
        let key = key.ok_or(TlsError::NoKey)?;
        Ok(Some(Self { certificate, key }))
    }

    fn read(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let unusable = |fault: &dyn std::fmt::Display| TlsError::Certificate {
            path: self.certificate.clone(),
            fault: fault.to_string(),
        };
        let meta = self.certificate.metadata().map_err(|e| unusable(&e))?;
        // A pipe would never end.
        if !meta.is_file() {
            return Err(unusable(&NO_REGULAR_FILE));
        }
        let chain = CertificateDer::pem_file_iter(&self.certificate).map_err(|e| unusable(&e))?;
        let chain: Vec<_> = chain.collect::<Result<_, _>>().map_err(|e| unusable(&e))?;
        if chain.is_empty() {
            return Err(unusable(&"it holds no certificate"));
        }
        let key = self.read_key()?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        // TLS 1.2 and 1.3; clients need no certificate.
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
        let mut config = config.map_err(|fault| TlsError::Pair {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            fault,
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    fn read_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let unusable = |fault: &dyn std::fmt::Display| TlsError::Key {
            path: self.key.clone(),
            fault: fault.to_string(),
        };
        let meta = self.key.metadata().map_err(|e| unusable(&e))?;
        if !meta.is_file() {
            return Err(unusable(&NO_REGULAR_FILE));
        }
        // A group may be meant: Debian has one for keys.
        let mode = meta.permissions().mode() & 0o777;
        if mode & OTHERS != 0 {
            let path = self.key.clone();
            return Err(TlsError::KeyOfAll { path, mode });
        }
        PrivateKeyDer::from_pem_file(&self.key).map_err(|e| unusable(&e))
    }

    fn stamps(&self) -> [Stamp; 2] {
        [&self.certificate, &self.key].map(|path| stamp(path))
    }
}

fn stamp(path: &Path) -> Stamp {
    let meta = path.metadata().ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

/// The certificate that is in use.
#[derive(Debug)]
pub(in crate::service::http) struct Certificate {
    used: RustlsConfig,
    files: Mutex<(Files, [Stamp; 2])>,
}

impl Certificate {
    /// Reads the certificate of a configuration; nothing when there is no TLS.
    pub(in crate::service::http) fn of(tls: &squire_config::Tls) -> Result<Option<Self>, TlsError> {
        let Some(files) = Files::of(tls)? else {
            return Ok(None);
        };
        // Taken first: what is written while it is read is read again.
        let stamps = files.stamps();
        Ok(Some(Self {
            used: RustlsConfig::from_config(files.read()?),
            files: Mutex::new((files, stamps)),
        }))
    }

    /// What new connections are accepted with.
    pub(in crate::service::http) fn config(&self) -> RustlsConfig {
        self.used.clone()
    }

    /// Takes another certificate, which was read already, for new connections.
    pub(in crate::service::http) fn take(&self, other: &Self) {
        self.used.reload_from_config(other.used.get_inner());
        let files = other.lock().clone();
        *self.lock() = files;
    }

    /// Reads the files again when they have changed, until `stop`: a certificate is renewed by programs that do not know
    /// of the daemon. What cannot be used is logged once, and tried again when it changes: the other file may be on its
    /// way.
    pub(in crate::service::http) async fn follow(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
            let certificate = self.clone();
            let looked = tokio::task::spawn_blocking(move || certificate.look()).await;
            match looked {
                Ok(Some(Ok(files))) => {
                    tracing::info!(certificate = %files.certificate.display(), "the certificate has changed and was read again");
                }
                Ok(Some(Err(e))) => {
                    tracing::error!(error = %e, "the certificate has changed and cannot be used; the one before stays");
                }
                Ok(None) | Err(_) => {}
            }
        }
    }

    /// Reads the files when they have changed. Nothing waits for it: a reload may take other files meanwhile, and these
    /// are left as they are then.
    fn look(&self) -> Option<Result<Files, TlsError>> {
        let (files, known) = self.lock().clone();
        let stamps = files.stamps();
        if stamps == known {
            return None;
        }
        let read = files.read();
        let mut now = self.lock();
        if now.0 != files {
            return None;
        }
        now.1 = stamps;
        Some(read.map(|config| {
            self.used.reload_from_config(config);
            files
        }))
    }

    fn lock(&self) -> MutexGuard<'_, (Files, [Stamp; 2])> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
