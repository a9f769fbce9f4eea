//! Requests to stores, as Lance counts them. It speaks through the `metrics` facade; what it says goes to the same
//! registry as Squire's own metrics. Squire's own objects go through the same clients, so their requests are in it.
//!
//! The label `base` is a store's scheme. Lance takes more into it where `LANCE_OBJECT_STORE_METRICS_LABEL` says so:
//! `full` adds the bucket. In its other modes the labels are others than those here, and nothing is counted.

use metrics_prometheus::{Recorder, failure::strategy};
use prometheus::{GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, Result};

use crate::exit::Failure;

const OPERATION: &[&str] = &["operation", "base"];
const STATUS: &[&str] = &["status", "base"];
const BUCKETS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0,
];
/// Answers by which a store asks for patience.
const THROTTLES: [&str; 2] = ["429", "503"];

/// What Lance counts.
#[derive(Debug)]
pub(super) struct Store {
    requests: IntCounterVec,
    bytes: IntCounterVec,
    seconds: HistogramVec,
    errors: IntCounterVec,
    throttles: IntCounterVec,
    retryable: IntCounterVec,
    in_flight: GaugeVec,
}

impl Store {
    pub(super) fn new() -> Result<Self> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels)
        };
        Ok(Self {
            requests: counter(
                "lance_object_store_requests_total",
                "Requests to stores, by operation and scheme.",
                OPERATION,
            )?,
            bytes: counter(
                "lance_object_store_request_bytes_total",
                "Bytes that requests to stores sent or received, by operation and scheme.",
                OPERATION,
            )?,
            seconds: HistogramVec::new(
                HistogramOpts::new(
                    "lance_object_store_request_duration_seconds",
                    "How long requests to stores took, by operation and scheme.",
                )
                .buckets(BUCKETS.to_vec()),
                OPERATION,
            )?,
            errors: counter(
                "lance_object_store_errors_total",
                "Requests to stores that did not succeed, by operation and scheme. What was not there, or was there already, counts.",
                OPERATION,
            )?,
            throttles: counter(
                "lance_object_store_throttle_total",
                "Answers by which a store asked for patience, by HTTP status and scheme; each attempt counts.",
                STATUS,
            )?,
            retryable: counter(
                "lance_object_store_retryable_responses_total",
                "Answers of stores after which the request is tried again, by HTTP status and scheme.",
                STATUS,
            )?,
            in_flight: GaugeVec::new(
                Opts::new(
                    "lance_object_store_in_flight_requests",
                    "Requests to stores that are under way, by operation and scheme.",
                ),
                OPERATION,
            )?,
        })
    }

    /// A target at this URI is kept from now on: a store that can ask for patience has not done so yet.
    pub(super) fn begins(&self, uri: &str) {
        if uri.starts_with("s3://") {
            for status in THROTTLES {
                for counter in [&self.throttles, &self.retryable] {
                    counter.with_label_values(&[status, "s3"]);
                }
            }
        }
    }

    fn bridge(&self, registry: &Registry) -> Result<Recorder<strategy::NoOp>> {
        let bridge = Recorder::builder()
            .with_registry(registry)
            .with_failure_strategy(strategy::NoOp)
            .build();
        for counter in [
            &self.requests,
            &self.bytes,
            &self.errors,
            &self.throttles,
            &self.retryable,
        ] {
            bridge.try_register_metric(counter.clone())?;
        }
        bridge.try_register_metric(self.seconds.clone())?;
        bridge.try_register_metric(self.in_flight.clone())?;
        Ok(bridge)
    }
}

impl Store {
    /// Takes in what Lance counts, from now on and for the whole process.
    ///
    /// # Errors
    /// When another recorder is installed already.
    pub(super) fn listen(&self, registry: &Registry) -> std::result::Result<(), Failure> {
        let failed = |e: &dyn std::fmt::Display| {
            Failure::Machine(format!("the requests to stores cannot be counted: {e}"))
        };
        let bridge = self.bridge(registry).map_err(|e| failed(&e))?;
        metrics::set_global_recorder(bridge).map_err(|e| failed(&e))
    }
}

#[cfg(test)]
mod tests {
    use squire_config::Daemon;

    use crate::service::metrics::Metrics;

    #[test]
    fn what_is_said_through_the_facade_is_in_the_metrics_and_other_labels_are_left_out() {
        let all = Metrics::new(&Daemon::default()).unwrap();
        let bridge = all.store.bridge(all.registry()).unwrap();
        metrics::with_local_recorder(&bridge, || {
            let requests = "lance_object_store_requests_total";
            metrics::counter!(requests, "operation" => "put", "base" => "s3").increment(2);
            metrics::counter!(requests, "operation" => "put", "dataset" => "d").increment(5);
            let seconds = "lance_object_store_request_duration_seconds";
            metrics::histogram!(seconds, "base" => "s3", "operation" => "put").record(0.02);
        });
        all.begins("bucket", "s3://bucket/graph");
        let text = String::from_utf8(all.render().unwrap()).unwrap();
        for line in [
            "lance_object_store_requests_total{base=\"s3\",operation=\"put\"} 2",
            "lance_object_store_request_duration_seconds_bucket{base=\"s3\",operation=\"put\",le=\"0.025\"} 1",
            "lance_object_store_throttle_total{base=\"s3\",status=\"503\"} 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing: {text}");
        }
    }
}
