//! What happened, in numbers: from the ledgers and from the daemons' logs.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use squire_tests::{
    bank::Told,
    show::{count, say, seconds, table},
};

use crate::{Result, Site, reader::ledgers, reaper::Reaper};

/// How operations of one kind went.
#[derive(Clone, Copy, Debug, Default)]
struct Answers {
    acknowledged: u64,
    failed: u64,
    unknown: u64,
    interrupted: u64,
}

/// Everything that was counted.
pub(crate) struct Tally {
    writers_killed: u64,
    daemons_killed: u64,
    paused: u64,
    snapshots: u64,
    answers: BTreeMap<&'static str, Answers>,
    reasons: BTreeMap<String, u64>,
    heals: BTreeMap<String, u64>,
    compactions: u64,
    errors: BTreeMap<String, u64>,
}

/// Operations that were acknowledged so far.
pub(crate) fn acknowledged(site: &Site) -> Result<usize> {
    let all = ledgers(site)?;
    let entries = all.iter().flat_map(|ledger| &ledger.entries);
    let acknowledged = entries.filter(|e| matches!(e.told, Some((_, Told::Acknowledged(_)))));
    Ok(acknowledged.count())
}

impl Tally {
    /// Counts.
    ///
    /// # Errors
    /// When a ledger or a log cannot be read.
    pub(crate) fn of(site: &Site, reaper: &Reaper, snapshots: u64) -> Result<Self> {
        let [writers_killed, daemons_killed, paused] = reaper.counts();
        let mut tally = Self {
            writers_killed,
            daemons_killed,
            paused,
            snapshots,
            answers: BTreeMap::new(),
            reasons: BTreeMap::new(),
            heals: BTreeMap::new(),
            compactions: 0,
            errors: BTreeMap::new(),
        };
        for ledger in ledgers(site)? {
            for entry in &ledger.entries {
                let answers = tally.answers.entry(entry.intent.kind()).or_default();
                let told = entry.told.as_ref().map(|(_, told)| told);
                *match told {
                    Some(Told::Acknowledged(_)) => &mut answers.acknowledged,
                    Some(Told::Failed(_)) => &mut answers.failed,
                    Some(Told::Unknown(_)) => &mut answers.unknown,
                    None => &mut answers.interrupted,
                } += 1;
                if let Some(told @ (Told::Failed(why) | Told::Unknown(why))) = told {
                    let reason = format!("{}: {}", told.word(), without_names(why));
                    *tally.reasons.entry(reason).or_default() += 1;
                }
            }
        }
        for log in site.logs()? {
            for line in std::fs::read_to_string(log)?.lines() {
                // The last line of a daemon that was killed may be cut off.
                if let Ok(line) = serde_json::from_str(line) {
                    tally.take(&line);
                }
            }
        }
        Ok(tally)
    }

    /// A line of a daemon's log.
    fn take(&mut self, line: &Value) {
        let text = |name: &str| line[name].as_str().unwrap_or_default();
        match text("message") {
            "healed" => {
                let how = format!("{} {}", text("kind"), text("ending"));
                *self.heals.entry(how).or_default() += 1;
            }
            "looked for what the dead left behind" => {
                let orphans = line["orphans"].as_u64().unwrap_or_default();
                *self
                    .heals
                    .entry("sidecars left over".to_owned())
                    .or_default() += orphans;
            }
            "job done" if text("duty") == "compaction" => self.compactions += 1,
            message if text("level") == "ERROR" => {
                let error = format!("{message}: {}", without_names(text("error")));
                *self.errors.entry(error).or_default() += 1;
            }
            _ => {}
        }
    }

    /// Says it.
    pub(crate) fn say(&self, before: f64, after: f64, healing: Duration) {
        let rows = self.answers.iter().map(|(kind, a)| {
            let numbers = [a.acknowledged, a.failed, a.unknown, a.interrupted].map(count);
            std::iter::once((*kind).to_owned()).chain(numbers).collect()
        });
        let header = [
            "operation",
            "acknowledged",
            "failed",
            "unknown",
            "interrupted",
        ];
        say(table(&header, rows.collect()));
        let list = |of: &BTreeMap<String, u64>| -> String {
            let parts: Vec<_> = of.iter().map(|(what, n)| format!("{n} {what}")).collect();
            parts.join(", ")
        };
        say(format!(
            "   {} kills: {} of writers, {} of daemons; {} pauses.",
            self.writers_killed + self.daemons_killed,
            self.writers_killed,
            self.daemons_killed,
            self.paused
        ));
        say(format!("   Healed by daemons: {}.", list(&self.heals)));
        say(format!(
            "   {} compactions. {} snapshots, each as the ledgers allow.",
            self.compactions,
            count(self.snapshots)
        ));
        for (reason, n) in self.reasons.iter().chain(&self.errors) {
            say(format!("   {n} times {reason}"));
        }
        say(format!(
            "   {before:.1} operations a second before the storm, {after:.1} after it; healed in {} once nobody wrote.",
            seconds(healing)
        ));
    }

    /// What no check of the graph shows.
    ///
    /// # Errors
    /// When a daemon complained, or a writer was told to have the graph repaired: no kill explains that.
    pub(crate) fn verdict(&self) -> Result {
        if let Some(error) = self.errors.keys().next() {
            return Err(format!("a daemon says: {error}").into());
        }
        let repair = |reason: &&String| reason.starts_with("failed: Repair");
        match self.reasons.keys().find(repair) {
            Some(reason) => Err(format!("a writer was told: {reason}").into()),
            None => Ok(()),
        }
    }
}

/// A message without what differs from one to the next: ids, paths and numbers.
fn without_names(message: &str) -> String {
    let differs = |word: &&str| {
        let long = word.len() > 20 || word.contains('/');
        !long && !word.chars().any(|c| c.is_ascii_digit())
    };
    let words: Vec<_> = message.split(' ').filter(differs).collect();
    words.join(" ")
}
