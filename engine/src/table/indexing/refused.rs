//! Tasks that came to nothing, so that they are not tried over and over.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};

use crate::{
    maintenance::indexing::Task,
    table::stats::{IndexRefusal, TableStats},
};

/// So long a task rests, although its table has changed; longer each time.
const FIRST_REST: Duration = Duration::from_secs(600);
const LONGEST_REST: Duration = Duration::from_secs(6 * 3600);

/// What could not be built or extended, as far as this process has tried.
#[derive(Debug, Default)]
pub(crate) struct Refused(Mutex<HashMap<(String, Subject), Refusal>>);

/// What a task is about: an append and a merge are about the same index.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Index(String),
    Column(String),
}

#[derive(Clone, Debug)]
struct Refusal {
    /// The version of the table at which it was tried last.
    version: u64,
    times: u32,
    reason: String,
    /// It rests until then, and longer if nothing has changed since it was tried.
    until: DateTime<Utc>,
}

impl Refusal {
    fn new(version: u64, times: u32, reason: String, now: DateTime<Utc>) -> Self {
        let longer = 2_u32.saturating_pow(times.saturating_sub(1));
        let rest = FIRST_REST.saturating_mul(longer).min(LONGEST_REST);
        Self {
            version,
            times,
            reason,
            until: now + rest,
        }
    }

    /// What it means for the table at this version.
    fn at(&self, version: u64) -> IndexRefusal {
        IndexRefusal {
            reason: self.reason.clone(),
            until: (self.version != version).then_some(self.until),
        }
    }
}

impl Refused {
    /// Tells in the statistics of a table which of its indexes are refused.
    pub(crate) fn mark(&self, path: &str, stats: &mut TableStats) {
        let all = self.all();
        let version = stats.version;
        let of = |subject| Some(all.get(&(path.to_owned(), subject))?.at(version));
        for index in &mut stats.indexes {
            index.refused = of(Subject::Index(index.name.clone()));
        }
        for missing in &mut stats.missing {
            missing.refused = of(Subject::Column(missing.column.clone()));
        }
    }

    pub(super) fn note(&self, path: &str, version: u64, task: &Task, reason: String) {
        let mut all = self.all();
        let key = (path.to_owned(), subject(task));
        let times = all.get(&key).map_or(0, |refusal| refusal.times);
        let refusal = Refusal::new(version, times.saturating_add(1), reason, Utc::now());
        all.insert(key, refusal);
    }

    pub(super) fn forget(&self, path: &str, task: &Task) {
        self.all().remove(&(path.to_owned(), subject(task)));
    }

    fn all(&self) -> MutexGuard<'_, HashMap<(String, Subject), Refusal>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn subject(task: &Task) -> Subject {
    match task {
        Task::Append(index) | Task::Merge(index) => Subject::Index(index.clone()),
        Task::Create(column) => Subject::Column(column.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::stats::{IndexStats, MissingIndex};

    #[test]
    fn a_task_rests_while_its_table_is_the_same_and_longer_each_time() {
        let at = Utc::now();
        let holds = |times, version, seconds| {
            let refusal = Refusal::new(7, times, String::new(), at).at(version);
            refusal.holds(at + Duration::from_secs(seconds))
        };
        assert!(holds(1, 7, 100 * 3_600));
        assert!(holds(1, 8, 599));
        assert!(!holds(1, 8, 600));
        assert!(holds(2, 8, 600));
        assert!(!holds(40, 8, 6 * 3_600), "never longer");
    }

    #[test]
    fn what_was_done_is_no_longer_refused_and_others_never_were() {
        let refused = Refused::default();
        let index = |name: &str| IndexStats {
            name: name.to_owned(),
            columns: Vec::new(),
            segments: 1,
            unindexed_rows: 0,
            unindexed_fragments: 0,
            value_bytes: None,
            vector: true,
            row_ids: false,
            unmovable: None,
            needs: None,
            refused: None,
        };
        let marked = |path| {
            let mut stats = TableStats {
                version: 3,
                indexes: vec![index("a"), index("b")],
                missing: vec![MissingIndex {
                    column: "a".to_owned(),
                    kind: "btree".to_owned(),
                    value_bytes: None,
                    blocked: None,
                    refused: None,
                }],
                ..TableStats::default()
            };
            refused.mark(path, &mut stats);
            let missing = stats.missing.into_iter().map(|m| m.refused);
            let indexes = stats.indexes.into_iter().map(|i| i.refused);
            let reasons = indexes.chain(missing).map(|refused| Some(refused?.reason));
            reasons.collect::<Vec<_>>()
        };
        let append = Task::Append("a".to_owned());
        refused.note("T.lance", 3, &append, "why".to_owned());
        assert_eq!(marked("T.lance"), [Some("why".to_owned()), None, None]);
        assert_eq!(marked("U.lance"), [None, None, None]);
        refused.forget("T.lance", &Task::Merge("a".to_owned()));
        assert_eq!(marked("T.lance"), [None, None, None]);
    }
}
