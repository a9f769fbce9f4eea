//! Indexes that could not be built, extended or merged, so that it is not tried over and over.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
};

use chrono::Utc;

use super::{
    super::stats::{IndexRefusal, TableStats},
    lock,
    rest::{Again, Rest},
};
use crate::planner::indexing::Task;

/// What could not be done, as far as this process has tried.
#[derive(Debug, Default)]
pub(crate) struct RefusedIndexes(Mutex<HashMap<(String, Subject), Refusal>>);

/// What a task is about. An index that cannot be merged may be extended all the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Index(String),
    Merge(String),
    Column(String),
}

#[derive(Clone, Debug)]
struct Refusal {
    /// The version of the table at which it was tried last.
    version: u64,
    rest: Rest,
}

impl Refusal {
    /// What it means for the table at this version.
    fn at(&self, version: u64) -> IndexRefusal {
        IndexRefusal {
            reason: self.rest.reason.clone(),
            until: self.rest.until(self.version == version),
        }
    }
}

impl RefusedIndexes {
    /// Tells in the statistics of a table which of its indexes are refused.
    pub(crate) fn mark(&self, path: &str, stats: &mut TableStats) {
        let all = self.all();
        let version = stats.version;
        let of = |subject| Some(all.get(&(path.to_owned(), subject))?.at(version));
        for index in &mut stats.indexes {
            index.refused = of(Subject::Index(index.name.clone()));
            index.merge_refused = of(Subject::Merge(index.name.clone()));
        }
        for missing in &mut stats.missing {
            missing.refused = of(Subject::Column(missing.column.clone()));
        }
    }

    /// Notes that a task came to nothing at a version of a table. What `passes` is tried again soon.
    pub(crate) fn note(&self, path: &str, version: u64, task: &Task, passes: bool, reason: String) {
        let mut all = self.all();
        let key = (path.to_owned(), subject(task));
        let before = all.get(&key).map_or(0, |refusal| refusal.rest.times);
        let again = if passes { Again::Soon } else { Again::Changed };
        let rest = Rest::after(before, 0, again, reason, Utc::now());
        all.insert(key, Refusal { version, rest });
    }

    /// Forgets what was in the way of tasks that are done. An index that is merged has taken its rows in as well.
    pub(crate) fn forget(&self, path: &str, tasks: &[Task]) {
        let mut all = self.all();
        for task in tasks {
            all.remove(&(path.to_owned(), subject(task)));
            if let Task::Merge(index) = task {
                all.remove(&(path.to_owned(), Subject::Index(index.clone())));
            }
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<(String, Subject), Refusal>> {
        lock(&self.0)
    }
}

fn subject(task: &Task) -> Subject {
    match task {
        Task::Append(index) => Subject::Index(index.clone()),
        Task::Merge(index) => Subject::Merge(index.clone()),
        Task::Create(column) => Subject::Column(column.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::stats::{IndexStats, MissingIndex};

    fn named(name: &str) -> IndexStats {
        IndexStats {
            name: name.to_owned(),
            ..IndexStats::default()
        }
    }

    /// The reasons of a, of b, of merging a, and of the index that is to be made on the column a.
    fn marked(refused: &RefusedIndexes, path: &str) -> [Option<IndexRefusal>; 4] {
        let mut stats = TableStats {
            version: 3,
            indexes: vec![named("a"), named("b")],
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
        let [a, b] = [0, 1].map(|n| stats.indexes[n].clone());
        [
            a.refused,
            b.refused,
            a.merge_refused,
            stats.missing[0].refused.clone(),
        ]
    }

    fn texts(reasons: [Option<IndexRefusal>; 4]) -> [Option<String>; 4] {
        reasons.map(|refusal| Some(refusal?.reason))
    }

    #[test]
    fn what_was_done_is_no_longer_refused_and_others_never_were() {
        let refused = RefusedIndexes::default();
        let why = || Some("why".to_owned());
        let (append, merge) = (Task::Append("a".to_owned()), Task::Merge("a".to_owned()));
        let texts_of = |path| texts(marked(&refused, path));
        refused.note("T.lance", 3, &append, false, "why".to_owned());
        assert_eq!(texts_of("T.lance"), [why(), None, None, None]);
        assert_eq!(texts_of("U.lance"), [None, None, None, None]);
        refused.note("T.lance", 3, &merge, false, "why".to_owned());
        refused.forget("T.lance", std::slice::from_ref(&append));
        assert_eq!(texts_of("T.lance"), [None, None, why(), None]);
        refused.note("T.lance", 3, &append, false, "why".to_owned());
        refused.forget("T.lance", &[merge]);
        assert_eq!(texts_of("T.lance"), [None, None, None, None]);
    }

    #[test]
    fn what_may_pass_never_waits_for_a_change_of_the_table() {
        let refused = RefusedIndexes::default();
        let append = Task::Append("a".to_owned());
        let until = || marked(&refused, "T.lance")[0].as_ref().map(|r| r.until);
        refused.note("T.lance", 3, &append, true, "no space".to_owned());
        let soon = until().flatten().expect("it is tried again by itself");
        assert!(soon <= Utc::now() + std::time::Duration::from_secs(10));
        refused.note("T.lance", 3, &append, false, "too large".to_owned());
        assert_eq!(until(), Some(None));
    }
}
