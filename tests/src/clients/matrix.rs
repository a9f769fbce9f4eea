//! What came of all questions, by way of maintenance, step and version.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::answers::{Asked, Judged};
use crate::show;

/// Who maintains the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Nobody but the client itself: the control.
    Alone,
    /// `optimize()` of the newest client.
    Peer,
    /// `squire compact`, and nothing else before the client writes.
    Compact,
    /// `squire index`, and nothing else before the client writes.
    Index,
    /// All of Squire's commands.
    Hand,
    /// `squire run`, while the client writes.
    Daemon,
}

/// What happens before all questions are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Nothing.
    Before,
    /// `squire compact`.
    Compact,
    /// `squire index`.
    Index,
    /// `squire cleanup`.
    Cleanup,
    /// `optimize()` of the newest client.
    Peer,
    /// The client appends rows.
    Add,
    /// The client deletes rows.
    Delete,
    /// The client updates rows.
    Update,
    /// The client upserts rows.
    Merge,
    /// The client does all of that, several times.
    Work,
    /// The maintenance of the way once more.
    Again,
    /// The daemon has nothing left to do.
    Rest,
    /// The client calls its own `optimize()`.
    Optimize,
    /// The client makes an index anew.
    Recreate,
    /// The newest client asks.
    Newest,
}

impl Way {
    /// All of them; the control comes first.
    pub const ALL: [Self; 6] = [
        Self::Alone,
        Self::Peer,
        Self::Compact,
        Self::Index,
        Self::Hand,
        Self::Daemon,
    ];

    /// What happens, in this order.
    pub fn steps(self) -> Vec<Step> {
        use Step::*;
        let maintenance: &[Step] = match self {
            Self::Alone | Self::Daemon => &[],
            Self::Peer => &[Peer],
            Self::Compact => &[Compact],
            Self::Index => &[Index],
            Self::Hand => &[Compact, Index, Cleanup],
        };
        let later: &[Step] = match self {
            Self::Peer | Self::Hand => &[Again],
            Self::Daemon => &[Rest],
            _ => &[],
        };
        [
            &[Before],
            maintenance,
            &[Add, Delete, Update, Merge, Work],
            later,
            &[Optimize, Recreate, Newest],
        ]
        .concat()
    }

    /// Whether Squire does it.
    pub const fn is_squire(self) -> bool {
        !matches!(self, Self::Alone | Self::Peer)
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alone => "nobody (the control)",
            Self::Peer => "optimize() of the newest client",
            Self::Compact => "squire compact alone",
            Self::Index => "squire index alone",
            Self::Hand => "squire compact, index, cleanup",
            Self::Daemon => "squire run beside the client",
        })
    }
}

impl Step {
    /// What the client does, as `tests/python/clients/steps.py` calls it.
    pub const fn by_client(self) -> Option<&'static str> {
        Some(match self {
            Self::Add => "add",
            Self::Delete => "delete",
            Self::Update => "update",
            Self::Merge => "merge",
            Self::Work => "work",
            Self::Optimize => "optimize",
            Self::Recreate => "recreate",
            _ => return None,
        })
    }

    /// The step at which somebody who does not do this is at the same point.
    pub fn at_the_same_point(self, steps: &[Self]) -> Self {
        if steps.contains(&self) {
            return self;
        }
        match self {
            Self::Again | Self::Rest if steps.contains(&Self::Again) => Self::Again,
            Self::Again | Self::Rest => Self::Work,
            Self::Compact | Self::Index | Self::Cleanup if steps.contains(&Self::Peer) => {
                Self::Peer
            }
            _ => Self::Before,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "before",
            Self::Compact => "compact",
            Self::Index => "index",
            Self::Cleanup => "cleanup",
            Self::Peer => "newest optimizes",
            Self::Again => "once more",
            Self::Rest => "at rest",
            Self::Newest => "newest asks",
            Self::Merge => "merge_insert",
            other => other.by_client().unwrap_or_default(),
        })
    }
}

/// All that was seen of the tables of one version.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// By way, step and table.
    pub asked: BTreeMap<(Way, Step, String), Asked>,
    /// Where Squire left something alone, and the word for it; whether that was all there was to do.
    pub refused: BTreeMap<(Way, Step, String), (&'static str, bool)>,
    /// How often the client had to begin anew, as somebody else's commit came first.
    pub again: BTreeMap<(Way, Step), u64>,
}

/// One version at one step.
#[derive(Clone, Debug, Default)]
struct Cell {
    tables: usize,
    asked: usize,
    as_alone: usize,
    bad: usize,
    refused: BTreeSet<&'static str>,
    /// Tables that were left alone in part, or as a whole.
    left: usize,
    wholly_left: usize,
    again: u64,
}

/// One question whose answers are bad.
#[derive(Default)]
struct Bad<'a> {
    first: String,
    answers: usize,
    with_good_peer: usize,
    steps: BTreeSet<Step>,
    tables: BTreeSet<&'a str>,
}

impl Bad<'_> {
    fn told(&self, way: Way) -> String {
        let steps: Vec<_> = self.steps.iter().map(Step::to_string).collect();
        let tables: Vec<_> = self.tables.iter().copied().collect();
        let mut told = format!(
            "{}\n      {} in all: at {}: {}",
            self.first,
            self.answers,
            steps.join(", "),
            tables.join(", ")
        );
        if way.is_squire() && self.with_good_peer > 0 {
            told += &format!("; good with the peer: {}", self.with_good_peer);
        }
        told
    }
}

impl Seen {
    /// The answers of a table in comparison with those of the control at the same point.
    fn judge(&self, way: Way, step: Step, table: &str) -> Option<Judged> {
        let asked = self.asked.get(&(way, step, table.to_owned()))?;
        let point = step.at_the_same_point(&Way::Alone.steps());
        let alone = self.asked.get(&(Way::Alone, point, table.to_owned()));
        Some(asked.judge(alone.filter(|_| way != Way::Alone)))
    }

    fn tables(&self) -> BTreeSet<&str> {
        self.asked
            .keys()
            .map(|(_, _, table)| table.as_str())
            .collect()
    }

    fn cell(&self, way: Way, step: Step) -> Option<Cell> {
        let mut cell = Cell {
            again: self.again.get(&(way, step)).copied().unwrap_or_default(),
            ..Cell::default()
        };
        for table in self.tables() {
            let Some(judged) = self.judge(way, step, table) else {
                continue;
            };
            cell.tables += 1;
            cell.asked += judged.asked;
            if way == Way::Alone {
                cell.as_alone += self.asked[&(way, step, table.to_owned())].plainly_wrong();
                continue;
            }
            cell.as_alone += judged.as_alone;
            cell.bad += judged.bad.len();
            if let Some((word, wholly)) = self.refused.get(&(way, step, table.to_owned())) {
                cell.refused.insert(word);
                cell.left += 1;
                cell.wholly_left += usize::from(*wholly);
            }
        }
        (cell.tables > 0).then_some(cell)
    }

    /// What is bad: how many answers, and a line for each question.
    pub fn bad(&self, way: Way) -> (usize, Vec<String>) {
        let mut alike: BTreeMap<String, Bad> = BTreeMap::new();
        for step in way.steps() {
            for table in self.tables() {
                for (question, wrong) in self.judge(way, step, table).unwrap_or_default().bad {
                    let peer_is_good = self.peer_is_bad(step, table, &question) == Some(false);
                    // Which index it is tells more than that it is one.
                    let named = if question == "indexes" {
                        format!("{question}: {}", wrong.rows())
                    } else {
                        question
                    };
                    let bad = alike.entry(named).or_insert_with(|| Bad {
                        first: format!("{wrong} in {table} at {step}"),
                        ..Bad::default()
                    });
                    bad.answers += 1;
                    bad.with_good_peer += usize::from(peer_is_good);
                    bad.steps.insert(step);
                    bad.tables.insert(table);
                }
            }
        }
        let answers = alike.values().map(|bad| bad.answers).sum();
        let lines = alike
            .iter()
            .map(|(question, bad)| format!("{question}: {}", bad.told(way)));
        (answers, lines.collect())
    }

    /// Whether the peer's answer at the same point is bad as well; nothing when it was not asked.
    fn peer_is_bad(&self, step: Step, table: &str, question: &str) -> Option<bool> {
        let point = step.at_the_same_point(&Way::Peer.steps());
        let judged = self.judge(Way::Peer, point, table)?;
        Some(judged.bad.iter().any(|(other, _)| other == question))
    }

    /// How many answers are bad with Squire where the peer's are good.
    pub fn worse_than_the_peer(&self, way: Way) -> usize {
        let worse = |step: Step| {
            self.tables()
                .into_iter()
                .map(|table| {
                    let bad = self.judge(way, step, table).unwrap_or_default().bad;
                    let good = bad
                        .iter()
                        .filter(|(q, _)| self.peer_is_bad(step, table, q) == Some(false));
                    good.count()
                })
                .sum::<usize>()
        };
        way.steps().into_iter().map(worse).sum()
    }

    /// What was left alone, a line for each step and word.
    pub fn refusals(&self, way: Way) -> Vec<String> {
        let mut alike: BTreeMap<(Step, &str, bool), Vec<&str>> = BTreeMap::new();
        for ((_, step, table), (word, wholly)) in self.refused.iter().filter(|(k, _)| k.0 == way) {
            alike.entry((*step, word, *wholly)).or_default().push(table);
        }
        let lines = alike.into_iter().map(|((step, word, wholly), tables)| {
            let part = if wholly { "" } else { " in part" };
            format!("{step}: {word}{part}: {}", tables.join(", "))
        });
        lines.collect()
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let good = self.asked - self.bad;
        if self.bad == 0 && self.wholly_left == self.tables {
            let words: Vec<_> = self.refused.iter().copied().collect();
            return write!(f, "refused ({})", words.join(", "));
        }
        if self.bad == 0 {
            write!(f, "ok {good} of {}", self.asked)?;
        } else {
            write!(f, "BAD {} of {}", self.bad, self.asked)?;
        }
        if self.as_alone > 0 {
            write!(f, ", {} as alone", self.as_alone)?;
        }
        if self.left > 0 {
            write!(f, ", {} refused", self.left)?;
        }
        if self.again > 0 {
            write!(f, ", {} again", self.again)?;
        }
        Ok(())
    }
}

/// A way's matrix: a line for each step, a column for each version.
pub fn print(way: Way, versions: &[(String, Seen)]) -> String {
    let names = versions.iter().map(|(version, _)| version.as_str());
    let header: Vec<_> = ["step"].into_iter().chain(names).collect();
    let lines = way.steps().into_iter().map(|step| {
        let cells = versions.iter().map(|(_, seen)| match seen.cell(way, step) {
            // The control is compared with nobody: what is wrong there is the client's own.
            Some(cell) if way == Way::Alone && cell.as_alone > 0 => {
                format!("{} of {} wrong", cell.as_alone, cell.asked)
            }
            Some(cell) => cell.to_string(),
            None => "-".to_owned(),
        });
        [step.to_string()].into_iter().chain(cells).collect()
    });
    show::table(&header, lines.collect())
}
