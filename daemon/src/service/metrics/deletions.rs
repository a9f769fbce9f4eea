//! What this process deleted, by what allowed it.

use prometheus::{
    IntCounterVec, Opts, Result,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use squire_engine::{DeletionRule, deleted};

use super::registry::Register;

/// Registers the counter; every rule counts from zero.
pub(super) fn register(register: &Register) -> Result<()> {
    let opts = Opts::new(
        "squire_deletions_total",
        "Files and objects that this process deleted, by the rule that allows it; a folder with everything in it counts once.",
    );
    let counter = IntCounterVec::new(opts, &["rule"])?;
    for rule in DeletionRule::ALL {
        counter.with_label_values(&[rule.as_str()]);
    }
    register.registry.register(Box::new(Deletions(counter)))
}

/// Takes over what the engine counts at each scrape.
struct Deletions(IntCounterVec);

impl Collector for Deletions {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for (rule, count) in deleted() {
            let counter = self.0.with_label_values(&[rule.as_str()]);
            // The caller that shows the metrics holds a lock, so no other adds.
            counter.inc_by(count.saturating_sub(counter.get()));
        }
        self.0.collect()
    }
}
