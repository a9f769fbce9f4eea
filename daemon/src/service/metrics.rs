//! What Prometheus sees. Every name, label and unit of the daemon's metrics stands in this file.

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry,
    Result, TextEncoder,
};
use squire_engine::{CompactReceipt, Healed, TableStats};

/// The daemon's metrics.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    up: IntGaugeVec,
    ticks: IntCounterVec,
    jobs: IntCounterVec,
    skips: IntCounterVec,
    rewrite_seconds: HistogramVec,
    hold_seconds: HistogramVec,
    bytes_read: IntCounterVec,
    bytes_written: IntCounterVec,
    healed: IntCounterVec,
    manifest: IntGaugeVec,
    tickets: IntGaugeVec,
    drifted: IntGaugeVec,
    adopted: IntCounterVec,
    backlog: IntGaugeVec,
    rows: IntGaugeVec,
    deleted_rows: IntGaugeVec,
    fragments: IntGaugeVec,
    small_fragments: IntGaugeVec,
    bytes: IntGaugeVec,
    last_success: IntGaugeVec,
}

const TARGET: &[&str] = &["target"];
const TABLE: &[&str] = &["target", "table"];
const DUTY: &[&str] = &["target", "duty"];
const DRIFT: &[&str] = &["target", "kind"];
const HOLD_BUCKETS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
const REWRITE_BUCKETS: &[f64] = &[0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0];

impl Metrics {
    /// Registers every metric.
    pub(super) fn new() -> Result<Self> {
        let registry = Registry::new();
        let build = IntGaugeVec::new(
            Opts::new(
                "squire_build_info",
                "Always 1; the labels say which Squire this is.",
            ),
            &["version"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        registry.register(Box::new(build))?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            let gauge = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let histogram = HistogramVec::new(opts, DUTY)?;
            registry.register(Box::new(histogram.clone()))?;
            Ok::<_, prometheus::Error>(histogram)
        };
        Ok(Self {
            up: gauge(
                "squire_target_up",
                "1 when the last look at the target succeeded, 0 when it failed.",
                TARGET,
            )?,
            ticks: counter("squire_ticks_total", "Looks at a target.", TARGET)?,
            jobs: counter(
                "squire_jobs_total",
                "Finished jobs, by duty and outcome: done, skipped, lost, cancelled or failed.",
                &["target", "duty", "outcome"],
            )?,
            skips: counter(
                "squire_skips_total",
                "Decisions to leave a table alone, by duty and reason.",
                &["target", "duty", "reason"],
            )?,
            rewrite_seconds: histogram(
                "squire_rewrite_seconds",
                "How long a rewrite took, with nothing held.",
                REWRITE_BUCKETS,
            )?,
            hold_seconds: histogram(
                "squire_hold_seconds",
                "How long a physical operation held its tables for the commit.",
                HOLD_BUCKETS,
            )?,
            bytes_read: counter(
                "squire_rewrite_read_bytes_total",
                "Bytes of data files that committed rewrites read.",
                TARGET,
            )?,
            bytes_written: counter(
                "squire_rewrite_written_bytes_total",
                "Bytes of data files that committed rewrites wrote.",
                TARGET,
            )?,
            healed: counter(
                "squire_healed_total",
                "What healing did: rolled_forward, aborted, discarded, orphan sidecars or other leftovers removed.",
                &["target", "how"],
            )?,
            manifest: gauge(
                "squire_manifest_number",
                "The number of the newest manifest.",
                TARGET,
            )?,
            tickets: gauge(
                "squire_queue_tickets",
                "Tickets in the queue, by state: waiting, decided or quarantined.",
                &["target", "state"],
            )?,
            drifted: gauge(
                "squire_drift_tables",
                "Tables that other programs moved past their pins, by kind: benign or semantic.",
                DRIFT,
            )?,
            adopted: counter(
                "squire_drift_adopted_total",
                "Times that the daemon made such a table's head its pin, by kind: benign or semantic.",
                DRIFT,
            )?,
            backlog: gauge(
                "squire_backlog_tables",
                "Tables that are due but not at work yet.",
                DUTY,
            )?,
            rows: gauge("squire_table_rows", "Live rows.", TABLE)?,
            deleted_rows: gauge(
                "squire_table_deleted_rows",
                "Rows that are deleted but still in files.",
                TABLE,
            )?,
            fragments: gauge("squire_table_fragments", "Fragments.", TABLE)?,
            small_fragments: gauge(
                "squire_table_small_fragments",
                "Fragments below the size that the policy calls small.",
                TABLE,
            )?,
            bytes: gauge("squire_table_bytes", "Bytes of data files.", TABLE)?,
            last_success: gauge(
                "squire_last_success_timestamp_seconds",
                "When the duty last found a table tidy or made it so, as seconds since 1970.",
                &["target", "duty"],
            )?,
            registry,
        })
    }

    /// All metrics, in Prometheus's text format.
    pub(super) fn render(&self) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }

    /// A look at a target succeeded or failed.
    pub(super) fn looked(&self, target: &str, succeeded: bool) {
        self.ticks.with_label_values(&[target]).inc();
        self.up.with_label_values(&[target]).set(succeeded.into());
    }

    /// The newest manifest of a target.
    pub(super) fn manifest(&self, target: &str, manifest: &squire_engine::manifest::Manifest) {
        let number = i64::try_from(manifest.number).unwrap_or(i64::MAX);
        self.manifest.with_label_values(&[target]).set(number);
        for state in ["waiting", "decided", "quarantined"] {
            let of = manifest.queue.iter().filter(|t| t.state.as_str() == state);
            let n = i64::try_from(of.count()).unwrap_or(i64::MAX);
            self.tickets.with_label_values(&[target, state]).set(n);
        }
    }

    /// The layout of one table.
    pub(super) fn table(&self, target: &str, table: &str, stats: &TableStats, small_bytes: u64) {
        let labels = [target, table];
        let set = |gauge: &IntGaugeVec, value: u64| {
            gauge
                .with_label_values(&labels)
                .set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        let small = |f: &&squire_engine::FragmentStats| f.live_bytes() < small_bytes;
        set(&self.rows, stats.rows());
        set(&self.deleted_rows, stats.deleted_rows());
        set(&self.fragments, stats.fragments.len() as u64);
        set(
            &self.small_fragments,
            stats.fragments.iter().filter(small).count() as u64,
        );
        set(&self.bytes, stats.bytes());
    }

    /// A table left the graph.
    pub(super) fn forget_table(&self, target: &str, table: &str) {
        for gauge in [
            &self.rows,
            &self.deleted_rows,
            &self.fragments,
            &self.small_fragments,
            &self.bytes,
        ] {
            // It may never have been set.
            let _ = gauge.remove_label_values(&[target, table]);
        }
    }

    /// A decision to leave a table alone.
    pub(super) fn skipped(&self, target: &str, duty: &str, reason: &str) {
        self.skips.with_label_values(&[target, duty, reason]).inc();
    }

    /// So many tables are due.
    pub(super) fn backlog(&self, target: &str, duty: &str, tables: usize) {
        let tables = i64::try_from(tables).unwrap_or(i64::MAX);
        self.backlog.with_label_values(&[target, duty]).set(tables);
    }

    /// A job ended.
    pub(super) fn job(&self, target: &str, duty: &str, outcome: &str) {
        self.jobs.with_label_values(&[target, duty, outcome]).inc();
    }

    /// A compaction was published.
    pub(super) fn compacted(&self, target: &str, duty: &str, receipt: &CompactReceipt) {
        let observe =
            |histogram: Histogram, d: std::time::Duration| histogram.observe(d.as_secs_f64());
        observe(
            self.rewrite_seconds.with_label_values(&[target, duty]),
            receipt.rewrite,
        );
        observe(
            self.hold_seconds.with_label_values(&[target, duty]),
            receipt.hold,
        );
        self.bytes_read
            .with_label_values(&[target])
            .inc_by(receipt.bytes_read);
        self.bytes_written
            .with_label_values(&[target])
            .inc_by(receipt.bytes_written);
    }

    /// Every table of a target is as its duty wants it.
    pub(super) fn succeeded(&self, target: &str, duty: &str, now: chrono::DateTime<chrono::Utc>) {
        self.last_success
            .with_label_values(&[target, duty])
            .set(now.timestamp());
    }

    /// A round of healing.
    pub(super) fn healed(&self, target: &str, healed: &Healed) {
        for (how, n) in [
            ("rolled_forward", healed.rolled_forward),
            ("aborted", healed.aborted),
            ("discarded", healed.discarded),
            ("orphans", healed.orphans),
            ("leftovers", healed.leftovers),
        ] {
            self.healed
                .with_label_values(&[target, how])
                .inc_by(n as u64);
        }
    }
    /// So many tables have drift of a kind.
    pub(super) fn drifted(&self, target: &str, kind: &str, tables: usize) {
        let tables = i64::try_from(tables).unwrap_or(i64::MAX);
        self.drifted.with_label_values(&[target, kind]).set(tables);
        // It counts from zero, also where nothing was adopted yet.
        self.adopted.with_label_values(&[target, kind]);
    }

    /// Drift of a kind was adopted.
    pub(super) fn adopted(&self, target: &str, kind: &str) {
        self.adopted.with_label_values(&[target, kind]).inc();
    }
}
