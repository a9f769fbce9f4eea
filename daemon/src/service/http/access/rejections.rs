//! Counts rejected requests by reason, and limits the rate of their log lines.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use prometheus::{IntCounterVec, Opts, Registry};

/// Minimum interval between two log lines of one reason.
const BETWEEN_LINES: Duration = Duration::from_secs(60);

/// Why a request was refused, or a connection closed before it made one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::service::http) enum Reason {
    /// It needs the token.
    TokenMissing,
    /// It has another.
    TokenWrong,
    /// It is of a page in a browser that has no business here.
    Browser,
    /// It is to a name that is not this machine's own.
    Host,
    /// A proxy passed it on, and there is no token.
    Proxy,
    /// It would change something and is not JSON.
    ContentType,
    /// It took too long.
    Timeout,
    /// There are too many connections.
    Connections,
    /// It does not speak TLS, or does not trust the certificate.
    Handshake,
}

impl Reason {
    pub(in crate::service::http) const ALL: [Self; 9] = [
        Self::TokenMissing,
        Self::TokenWrong,
        Self::Browser,
        Self::Host,
        Self::Proxy,
        Self::ContentType,
        Self::Timeout,
        Self::Connections,
        Self::Handshake,
    ];

    pub(in crate::service::http) fn as_str(self) -> &'static str {
        match self {
            Self::TokenMissing => "token_missing",
            Self::TokenWrong => "token_wrong",
            Self::Browser => "browser",
            Self::Host => "host",
            Self::Proxy => "proxy",
            Self::ContentType => "content_type",
            Self::Timeout => "timeout",
            Self::Connections => "connections",
            Self::Handshake => "handshake",
        }
    }
}

/// Counts and logs rejections.
#[derive(Debug)]
pub(in crate::service::http) struct Refusals {
    counted: IntCounterVec,
    logged: Mutex<LogTimes>,
}

impl Refusals {
    /// Registers the counter; every reason counts from zero.
    pub(in crate::service::http) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let opts = Opts::new(
            "squire_http_refused_total",
            "HTTP requests that were refused, and connections that were closed before they made one, by reason.",
        );
        let counted = IntCounterVec::new(opts, &["reason"])?;
        registry.register(Box::new(counted.clone()))?;
        for reason in Reason::ALL {
            counted.with_label_values(&[reason.as_str()]);
        }
        Ok(Self {
            counted,
            logged: Mutex::default(),
        })
    }

    /// Something was refused.
    pub(in crate::service::http) fn note(
        &self,
        reason: Reason,
        peer: Option<SocketAddr>,
        now: Instant,
    ) {
        self.counted.with_label_values(&[reason.as_str()]).inc();
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(times) = logged.worth_a_line(reason, now) else {
            return;
        };
        let peer = peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string());
        tracing::warn!(
            reason = reason.as_str(),
            peer,
            times,
            "HTTP requests were refused; squire_http_refused_total counts them"
        );
    }
}

/// When each reason was logged last, and how often it came since.
#[derive(Debug, Default)]
struct LogTimes(BTreeMap<Reason, (Instant, u64)>);

impl LogTimes {
    /// How often it came since the last line, this time included, when it is time for another.
    fn worth_a_line(&mut self, reason: Reason, now: Instant) -> Option<u64> {
        let Some((last, since)) = self.0.get_mut(&reason) else {
            self.0.insert(reason, (now, 0));
            return Some(1);
        };
        *since += 1;
        if now.duration_since(*last) < BETWEEN_LINES {
            return None;
        }
        *last = now;
        Some(std::mem::take(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_tells_of_a_reason_once_a_minute_and_how_often_it_came() {
        let (mut logged, start) = (LogTimes::default(), Instant::now());
        let mut at =
            |reason, seconds| logged.worth_a_line(reason, start + Duration::from_secs(seconds));
        assert_eq!(at(Reason::TokenWrong, 0), Some(1));
        for second in 1..60 {
            assert_eq!(at(Reason::TokenWrong, second), None);
        }
        assert_eq!(at(Reason::Host, 59), Some(1), "another reason is logged");
        assert_eq!(at(Reason::TokenWrong, 60), Some(60));
        assert_eq!(at(Reason::TokenWrong, 61), None);
    }

    #[test]
    fn every_reason_counts_from_zero() {
        let registry = Registry::new();
        let refusals = Refusals::new(&registry).expect("the name is free");
        refusals.note(Reason::Host, None, Instant::now());
        let families = registry.gather();
        let counts = families[0].get_metric().iter();
        let counts: Vec<_> = counts.map(|m| m.get_counter().get_value()).collect();
        assert_eq!(counts.len(), Reason::ALL.len());
        assert_eq!(counts.iter().sum::<f64>(), 1.0);
    }
}
