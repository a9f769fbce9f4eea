//! The listener: what a client has to send, and how many connections there are at once.
//!
//! A client that connects can cost the daemon one slot of [`MOST_CONNECTIONS`] for a few seconds, and a few kilobytes:
//! a handshake, a head, a body and an answer each have an end, and no request waits for a disk or a store.

use std::{
    future::{Ready, ready},
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, extract::DefaultBodyLimit, middleware};
use axum_server::{Handle, Server, accept::Accept, tls_rustls::RustlsAcceptor};
use squire_config::{Daemon, Secret};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{
    authorization::{self, Guard, Rules},
    error::ListenerError,
    rejections::{Reason, Refusals},
    tls::Certificate,
    write_timeout::WriteTimeout,
};

/// Connections at once.
const MOST_CONNECTIONS: usize = 256;
/// For a handshake, and for the head of a request, also of one that is not there yet.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Until some more of an answer is read.
const READ_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of a request's head.
const LARGEST_HEAD: usize = 32 << 10;
/// Bytes of a request's body.
const LARGEST_BODY: usize = 64 << 10;
/// What requests that are being answered get when the daemon stops.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Token and certificate of the address.
#[derive(Debug)]
pub(crate) struct Listener {
    exposed: bool,
    token: Option<Secret>,
    certificate: Option<Arc<Certificate>>,
}

impl Listener {
    /// Takes token and certificate from where they are.
    ///
    /// # Errors
    /// When one of them is there and cannot be used, or when others can reach the address and there is no token.
    pub(crate) fn open(daemon: &Daemon) -> Result<Self, ListenerError> {
        let (exposed, token) = (daemon.is_exposed(), Secret::token()?);
        let certificate = Certificate::of(&daemon.tls)?.map(Arc::new);
        if exposed && token.is_none() {
            return Err(ListenerError::NoToken {
                listen: daemon.listen,
            });
        }
        Ok(Self {
            exposed,
            token,
            certificate,
        })
    }

    /// Takes the certificate of another listener, if both have one: where TLS is switched on or off, that waits for a restart.
    /// Connections that are open keep the one they began with.
    pub(crate) fn take(&self, other: &Self) {
        if let (Some(certificate), Some(other)) = (&self.certificate, &other.certificate) {
            certificate.take(other);
        }
    }

    /// Whether there is a token to be shown.
    pub(crate) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// `http` or `https`.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.certificate.is_some() {
            "https"
        } else {
            "http"
        }
    }

    /// Serves until `stop`.
    pub(in crate::service::http) async fn serve(
        &self,
        tcp: TcpListener,
        router: Router,
        refusals: Refusals,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let guard = Arc::new(Guard {
            rules: Rules {
                exposed: self.exposed,
                token: self.token.clone(),
            },
            refusals,
        });
        let service = router
            .layer(DefaultBodyLimit::max(LARGEST_BODY))
            .layer(middleware::from_fn_with_state(
                guard.clone(),
                authorization::guard,
            ))
            .into_make_service_with_connect_info::<SocketAddr>();
        let handle = Handle::new();
        let mut server = Server::<SocketAddr>::from_listener(tcp)
            .handle(handle.clone())
            .http1_only()
            .first_request_timeout(HEAD_TIMEOUT)
            .accept_error_handler(move |peer: Option<&SocketAddr>, error| match peer {
                Some(peer) => {
                    let reason = match error.kind() {
                        io::ErrorKind::QuotaExceeded => Reason::Connections,
                        _ => Reason::Handshake,
                    };
                    guard.refusals.note(reason, Some(*peer), Instant::now());
                }
                // The machine has no place for another socket.
                None => guard
                    .refusals
                    .note(Reason::Connections, None, Instant::now()),
            });
        server
            .http_builder()
            .http1()
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(LARGEST_HEAD);
        let limited = Limited(handle.clone());
        let ending = tokio::spawn({
            let stop = stop.clone();
            async move {
                stop.cancelled().await;
                handle.graceful_shutdown(Some(STOP_GRACE));
            }
        });
        let served = match &self.certificate {
            Some(certificate) => {
                tokio::spawn(certificate.clone().follow(stop));
                let tls = RustlsAcceptor::new(certificate.config())
                    .handshake_timeout(HEAD_TIMEOUT)
                    .acceptor(limited);
                server.acceptor(tls).serve(service).await
            }
            None => server.acceptor(limited).serve(service).await,
        };
        ending.abort();
        served
    }
}

/// Closes connections beyond the limit.
#[derive(Clone, Debug)]
struct Limited(Handle<SocketAddr>);

impl<I, S> Accept<I, S> for Limited {
    type Stream = WriteTimeout<I>;
    type Service = S;
    type Future = Ready<io::Result<(WriteTimeout<I>, S)>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        // The one that comes is counted already.
        if self.0.connection_count() > MOST_CONNECTIONS {
            return ready(Err(io::ErrorKind::QuotaExceeded.into()));
        }
        ready(Ok((WriteTimeout::new(stream, READ_TIMEOUT), service)))
    }
}
