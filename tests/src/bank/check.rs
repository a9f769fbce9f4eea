//! Whether a snapshot is one that the ledgers allow.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use squire_engine::schema::Schema;

use super::{Entry, Holdings, Intent, Ledger, Posting, Row, Tag, Till, Told};

/// Something that must never be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// The amounts of all tables do not add up to nothing.
    Unbalanced(i64),
    /// A key stands twice in a table.
    Twice(Till, String),
    /// Rows of an operation that no ledger knows, or that writes none.
    Stranger(Tag),
    /// Of the rows that an operation writes together, only so many of so many are there.
    Torn(Tag, usize, usize),
    /// A row is not as it was written.
    Altered(Tag, Till, String),
    /// An acknowledged operation is not there.
    Lost(Tag),
    /// Rows of an operation that is known to have failed, or was deleted, or was overwritten.
    Undead(Tag),
    /// The schema is none that an apply left.
    StrangeSchema,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unbalanced(sum) => write!(f, "all amounts together are {sum}, not nothing"),
            Self::Twice(till, id) => write!(f, "{id} stands twice in {}", till.name()),
            Self::Stranger(tag) => write!(f, "{tag} wrote rows that no ledger knows of"),
            Self::Torn(tag, found, of) => write!(f, "{tag} is there by {found} of {of} rows"),
            Self::Altered(tag, till, id) => {
                write!(f, "{id} in {} is not as {tag} wrote it", till.name())
            }
            Self::Lost(tag) => write!(f, "{tag} was acknowledged and is not there"),
            Self::Undead(tag) => write!(f, "{tag} is there and must not be"),
            Self::StrangeSchema => f.write_str("the schema is none that an apply left"),
        }
    }
}

/// Compares a snapshot with the ledgers of all writers. `known` says how many lines each ledger had before the snapshot
/// was taken; the ledgers themselves must have been read again afterwards. What was told by then is binding; what was
/// only meant may be there or not, but wholly.
pub fn check(ledgers: &[Ledger], known: &[usize], held: &Holdings) -> Vec<Violation> {
    let mut found = Vec::new();
    let sum: i64 = held.rows.iter().map(|row| row.amount).sum();
    if sum != 0 {
        found.push(Violation::Unbalanced(sum));
    }
    let mut keys = BTreeSet::new();
    for row in &held.rows {
        if !keys.insert((row.till, &row.id)) {
            found.push(Violation::Twice(row.till, row.id.clone()));
        }
    }
    let mut there: BTreeMap<Tag, Vec<&Row>> = BTreeMap::new();
    for row in &held.rows {
        there.entry(row.tag).or_default().push(row);
    }
    for (&tag, rows) in &there {
        let entry = ledgers.get(tag.writer).and_then(|l| l.entry(tag.seq));
        match entry {
            Some(entry) if !entry.intent.postings().is_empty() => {
                whole(tag, entry.intent.postings(), rows, &mut found);
                if entry.failed() {
                    found.push(Violation::Undead(tag));
                }
            }
            _ => found.push(Violation::Stranger(tag)),
        }
    }
    for (writer, ledger) in ledgers.iter().enumerate() {
        let lines = known.get(writer).copied().unwrap_or_default();
        let is_there = |seq: u64| there.contains_key(&Tag { writer, seq });
        for (seq, must) in appends(ledger, lines) {
            match (must, is_there(seq)) {
                (Must::Stand, false) => found.push(Violation::Lost(Tag { writer, seq })),
                (Must::BeGone, true) => found.push(Violation::Undead(Tag { writer, seq })),
                _ => {}
            }
        }
        for last in last_acknowledged_of_accounts(ledger, lines) {
            let newest = last.others.iter().rev().find(|seq| is_there(**seq));
            match newest {
                Some(&seq) if seq < last.acknowledged => {
                    found.push(Violation::Undead(Tag { writer, seq }));
                }
                None => found.push(Violation::Lost(Tag {
                    writer,
                    seq: last.acknowledged,
                })),
                Some(_) => {}
            }
        }
    }
    found
}

/// The rows of one operation: exactly those that it writes, as it writes them.
fn whole(tag: Tag, postings: &[Posting], rows: &[&Row], found: &mut Vec<Violation>) {
    if rows.len() != postings.len() {
        found.push(Violation::Torn(tag, rows.len(), postings.len()));
    }
    let note = tag.to_string();
    for row in rows {
        let written = postings
            .iter()
            .any(|p| (p.till, &p.id, p.amount) == (row.till, &row.id, row.amount));
        if !written || row.note.as_ref() != Some(&note) {
            found.push(Violation::Altered(tag, row.till, row.id.clone()));
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Must {
    Stand,
    BeGone,
    Either,
}

/// What must have become of each append.
fn appends(ledger: &Ledger, lines: usize) -> BTreeMap<u64, Must> {
    let mut appends = BTreeMap::new();
    for (seq, entry) in (1..).zip(&ledger.entries) {
        match entry.intent {
            Intent::Append { .. } => {
                let must = match entry.told_within(lines) {
                    Some(Told::Acknowledged(_)) => Must::Stand,
                    // Failed ones are told apart by their rows, whenever they failed.
                    _ => Must::Either,
                };
                appends.insert(seq, must);
            }
            Intent::Delete { target } if !entry.failed() => {
                let must = match entry.told_within(lines) {
                    Some(Told::Acknowledged(_)) => Must::BeGone,
                    _ => Must::Either,
                };
                // Nothing brings back what a delete took away.
                if appends.get(&target) != Some(&Must::BeGone) {
                    appends.insert(target, must);
                }
            }
            _ => {}
        }
    }
    appends
}

struct Account {
    acknowledged: u64,
    /// All its operations, in their sequence.
    others: Vec<u64>,
}

/// Accounts that were written for certain: by which operation at least.
fn last_acknowledged_of_accounts(ledger: &Ledger, lines: usize) -> Vec<Account> {
    let mut accounts: BTreeMap<usize, Account> = BTreeMap::new();
    for (seq, entry) in (1..).zip(&ledger.entries) {
        let Intent::Account { account, .. } = entry.intent else {
            continue;
        };
        let of = accounts.entry(account).or_insert(Account {
            acknowledged: 0,
            others: Vec::new(),
        });
        of.others.push(seq);
        if let Some(Told::Acknowledged(_)) = entry.told_within(lines) {
            of.acknowledged = seq;
        }
    }
    let mut accounts: Vec<_> = accounts.into_values().collect();
    accounts.retain(|account| account.acknowledged > 0);
    accounts
}

/// Whether the schema is the one that the last apply left: the acknowledged one of the highest number, or one of which
/// nobody was told. `born` is the schema that the graph was created with.
pub fn check_schema(ledgers: &[Ledger], born: &Schema, held: &Holdings) -> Option<Violation> {
    let entries = || ledgers.iter().flat_map(|ledger| &ledger.entries);
    let wanted = |entry: &Entry| match &entry.intent {
        Intent::Schema { wanted, .. } => Some(wanted.clone().settled()),
        _ => None,
    };
    let acknowledged = entries().filter_map(|entry| match &entry.told {
        Some((_, Told::Acknowledged(number))) => Some((*number, wanted(entry)?)),
        _ => None,
    });
    let last = acknowledged.max_by_key(|(number, _)| *number);
    let last = last.map_or_else(|| born.clone(), |(_, wanted)| wanted);
    let open = entries().filter(|entry| matches!(entry.told, None | Some((_, Told::Unknown(_)))));
    let mut possible = open.filter_map(wanted).chain([last]);
    (!possible.any(|wanted| wanted == held.schema)).then_some(Violation::StrangeSchema)
}
