//! Talking to the running daemon: small requests over HTTP, with the daemon's token when there is one.

use std::{error::Error as _, net::Ipv4Addr, net::Ipv6Addr, net::SocketAddr, time::Duration};

use reqwest::{Certificate, Method, RequestBuilder, redirect};
use rustls::CertificateError;
use serde::{Serialize, de::DeserializeOwned};
use squire_config::{Daemon, Secret};
use url::{Host, Url};

use crate::{api::Refused, cli::DaemonArg, configuration, exit::Failure};

/// A daemon answers at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// The running daemon.
#[derive(Debug)]
pub(in crate::commands) struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<Secret>,
}

impl Client {
    /// Finds the daemon: where it is said to be, or where its configuration says.
    pub(in crate::commands) fn find(daemon: &DaemonArg) -> Result<Self, Failure> {
        let base = match &daemon.url {
            Some(url) => url.clone(),
            None => address_of(
                &configuration::layers(&daemon.config)
                    .load()?
                    .settings
                    .daemon,
            )?,
        };
        if !base.username().is_empty() || base.password().is_some() {
            return Err(Failure::Usage(
                "--daemon holds credentials: remove them; the daemon's token is taken from SQUIRE_TOKEN"
                    .to_owned(),
            ));
        }
        let token = Secret::token().map_err(|e| Failure::Usage(e.to_string()))?;
        if token.is_some() && !is_private(&base) {
            return Err(Failure::Usage(format!(
                "the token in SQUIRE_TOKEN would go to {} readable for others on the network: use https://, or unset SQUIRE_TOKEN",
                shown(&base)
            )));
        }
        let http = reqwest::Client::builder()
            .timeout(PATIENCE)
            // The token is for the daemon, and for no other address that it or the environment names.
            .redirect(redirect::Policy::none())
            .no_proxy();
        let http = match &daemon.ca {
            Some(file) => http.tls_certs_only(authorities(file)?),
            // Those of the machine are read for TLS alone: it may have none.
            None if base.scheme() == "http" => http.tls_certs_only([]),
            None => http,
        };
        let http = http.build().map_err(|e| {
            Failure::Machine(format!(
                "TLS cannot be used: {}; without authorities on this machine (Debian's ca-certificates), name the daemon's with --ca",
                innermost(&e)
            ))
        })?;
        Ok(Self { http, base, token })
    }

    /// Where the daemon is.
    pub(in crate::commands) fn address(&self) -> String {
        shown(&self.base)
    }

    /// Asks for something.
    pub(in crate::commands) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<T, Failure> {
        self.ask(self.request(Method::GET, path)?).await
    }

    /// Asks for a change.
    pub(in crate::commands) async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.ask(self.request(method, path)?.json(body)).await
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Failure> {
        let url = self.base.join(path);
        let url = url.map_err(|e| Failure::Usage(format!("{path} cannot be asked for: {e}")))?;
        let request = self.http.request(method, url);
        Ok(match &self.token {
            Some(token) => request.bearer_auth(token.reveal()),
            None => request,
        })
    }

    async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Failure> {
        let answer = request.send().await.map_err(|e| self.unreachable(&e))?;
        let code = answer.status();
        let body = answer.bytes().await.map_err(|e| self.unreachable(&e))?;
        if code.is_success() {
            return serde_json::from_slice(&body)
                .map_err(|e| self.stranger(&format!("its answer cannot be read ({e})")));
        }
        match serde_json::from_slice::<Refused>(&body) {
            Ok(refused) if code.is_client_error() => Err(Failure::Usage(refused.error)),
            Ok(refused) => Err(Failure::Machine(refused.error)),
            Err(_) => Err(self.stranger(&format!("it answers with {code}"))),
        }
    }

    fn stranger(&self, what: &str) -> Failure {
        Failure::Machine(format!(
            "what answers at {} is not this version of Squire: {what}",
            self.address()
        ))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let address = self.address();
        if let Some(error) = of_tls(error) {
            let remedy = match error {
                rustls::Error::InvalidCertificate(certificate) => fix(certificate),
                _ => "does it speak TLS? Without [daemon.tls] it is reached at http://",
            };
            return Failure::Machine(format!(
                "the daemon at {address} cannot be trusted: {error}; {remedy}"
            ));
        }
        let remedy = if error.is_timeout() || error.is_connect() {
            "is it running, and is --config its configuration?"
        } else {
            "what answers there may want TLS: then it is reached at https://"
        };
        Failure::Machine(format!(
            "no daemon answers at {address}: {}; {remedy}",
            innermost(error)
        ))
    }
}

/// What to do about a certificate.
fn fix(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::UnknownIssuer => {
            "this machine does not know the authority of its certificate: name that with --ca FILE"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name: use --daemon https://NAME:PORT with that one"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "renew its certificate; the daemon takes the new one by itself"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate holds from later on: is one of the clocks wrong?"
        }
        _ => "give the daemon another certificate, or name its authority with --ca FILE",
    }
}

/// Where a daemon with this configuration is, for clients on the same machine.
fn address_of(daemon: &Daemon) -> Result<Url, Failure> {
    let listen = daemon.listen;
    if listen.port() == 0 {
        return Err(Failure::Usage(
            "the daemon takes any free port (daemon.listen ends in :0): say where it listens with --daemon; its log has it as `listening`"
                .to_owned(),
        ));
    }
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        ip if ip.is_ipv4() => Ipv4Addr::LOCALHOST.into(),
        _ => Ipv6Addr::LOCALHOST.into(),
    };
    let scheme = if daemon.tls.certificate.is_some() {
        "https"
    } else {
        "http"
    };
    let address = SocketAddr::new(ip, listen.port());
    Url::parse(&format!("{scheme}://{address}")).map_err(|e| Failure::Machine(e.to_string()))
}

/// Whether no one on the network can read what is sent.
fn is_private(url: &Url) -> bool {
    url.scheme() == "https"
        || match url.host() {
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        }
}

fn authorities(file: &std::path::Path) -> Result<Vec<Certificate>, Failure> {
    let unusable = |fault: &dyn std::fmt::Display| {
        Failure::Usage(format!(
            "--ca {} cannot be used: {fault}; it must be a file of PEM blocks `BEGIN CERTIFICATE`",
            file.display()
        ))
    };
    let bytes = std::fs::read(file).map_err(|e| unusable(&e))?;
    let found = Certificate::from_pem_bundle(&bytes).map_err(|e| unusable(&innermost(&e)))?;
    if found.is_empty() {
        return Err(unusable(&"it holds no certificate"));
    }
    Ok(found)
}

/// A URL as a user writes it.
fn shown(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

/// The last of the causes, which says what happened. The others repeat the URL.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// What TLS has against the connection.
fn of_tls(error: &reqwest::Error) -> Option<&rustls::Error> {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(tls) = inner.downcast_ref() {
            return Some(tls);
        }
        // What is inside of an I/O error is not among its causes.
        cause = match inner.downcast_ref::<std::io::Error>() {
            Some(io) => io.get_ref().map(|within| within as _),
            None => inner.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_is_where_its_configuration_says() {
        let at = |listen: &str, tls: bool| {
            let mut daemon = Daemon {
                listen: listen.parse().expect("it is an address"),
                ..Daemon::default()
            };
            daemon.tls.certificate = tls.then(|| "/tls.pem".into());
            address_of(&daemon).map(|url| shown(&url)).ok()
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(at("127.0.0.1:9464", false), text("http://127.0.0.1:9464"));
        assert_eq!(at("0.0.0.0:9464", true), text("https://127.0.0.1:9464"));
        assert_eq!(at("[::]:9464", true), text("https://[::1]:9464"));
        assert_eq!(at("10.0.0.5:443", true), text("https://10.0.0.5"));
        assert_eq!(at("127.0.0.1:0", false), None);
    }

    #[test]
    fn a_token_goes_over_tls_or_stays_on_this_machine() {
        for (url, private) in [
            ("http://127.0.0.1:1", true),
            ("http://[::1]:1", true),
            ("http://localhost:1", true),
            ("https://squire.example", true),
            ("http://squire.example", false),
            ("http://10.0.0.5:9464", false),
            ("http://localhost.evil.example", false),
        ] {
            let parsed = Url::parse(url).expect("it is a URL");
            assert_eq!(is_private(&parsed), private, "{url}");
        }
    }
}
