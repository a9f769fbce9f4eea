//! How each kind of metric is made, and how those of a target go.

use std::{collections::HashMap, fmt};

use chrono::{DateTime, Utc};
use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, Result,
    core::{Collector, MetricVec, MetricVecBuilder},
};

const TARGET: &str = "target";

/// The registry, and which of its metrics are of targets.
#[derive(Default)]
pub(super) struct Register {
    pub(super) registry: Registry,
    of_targets: Vec<Box<dyn OfTargets>>,
}

impl fmt::Debug for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Register").finish_non_exhaustive()
    }
}

/// A metric that has series for each target.
trait OfTargets: Send + Sync {
    /// Takes the series of a target away.
    fn forget(&self, target: &str);
}

impl<B: MetricVecBuilder> OfTargets for MetricVec<B> {
    fn forget(&self, target: &str) {
        for family in self.collect() {
            for series in family.get_metric() {
                let labels = series.get_label().iter();
                let labels: HashMap<_, _> = labels.map(|l| (l.name(), l.value())).collect();
                if labels.get(TARGET) == Some(&target) {
                    // Another may have taken it away meanwhile.
                    let _ = self.remove(&labels);
                }
            }
        }
    }
}

impl Register {
    /// Takes all series of a target away.
    pub(super) fn forget(&self, target: &str) {
        self.of_targets.iter().for_each(|m| m.forget(target));
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec> {
        let gauge = IntGaugeVec::new(Opts::new(name, help), labels)?;
        self.add(gauge.clone(), labels)?;
        Ok(gauge)
    }

    pub(super) fn counter(
        &mut self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec> {
        let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
        self.add(counter.clone(), labels)?;
        Ok(counter)
    }

    pub(super) fn histogram(
        &mut self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> Result<HistogramVec> {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        let histogram = HistogramVec::new(opts, labels)?;
        self.add(histogram.clone(), labels)?;
        Ok(histogram)
    }

    /// A gauge without labels.
    pub(super) fn single(&self, name: &str, help: &str) -> Result<IntGauge> {
        let gauge = IntGauge::new(name, help)?;
        self.registry.register(Box::new(gauge.clone()))?;
        Ok(gauge)
    }

    /// A gauge without labels that stays at this value.
    pub(super) fn constant(&self, name: &str, help: &str, value: u64) -> Result<()> {
        self.single(name, help)?.set(whole(value));
        Ok(())
    }

    fn add<B>(&mut self, metric: MetricVec<B>, labels: &[&str]) -> Result<()>
    where
        B: MetricVecBuilder + 'static,
        MetricVec<B>: Collector + Clone,
    {
        if labels.contains(&TARGET) {
            self.of_targets.push(Box::new(metric.clone()));
        }
        self.registry.register(Box::new(metric))
    }
}

/// A gauge's number.
pub(super) fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// How many, as a gauge's number.
pub(super) fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Shows the earliest of some times, as seconds since 1970; nothing when there is none.
pub(super) fn show_earliest(
    gauge: &IntGaugeVec,
    labels: &[&str],
    times: impl Iterator<Item = DateTime<Utc>>,
) {
    match times.min() {
        Some(earliest) => gauge.with_label_values(labels).set(earliest.timestamp()),
        // It may never have been there.
        None => drop(gauge.remove_label_values(labels)),
    }
}
