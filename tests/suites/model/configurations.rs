//! What is explored: which operations, how many helpers, and how much of each fault.

use super::{
    rules::{Rule, Without},
    world::{Budget, FENCE, Maker, NOBODY, SEMANTIC, TABLES},
};

/// The way an operation comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Logical: staged without a ticket, enqueued and decided in one.
    Short,
    /// Logical: enqueued first.
    Long,
    /// Physical: rewritten first, enqueued and decided in one.
    Physical,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation {
    pub(crate) form: Form,
    pub(crate) writes: [bool; TABLES],
    pub(crate) reads: [bool; TABLES],
    /// It cannot be staged again over a change of meaning: an upsert, an overwrite.
    pub(crate) rigid: bool,
    /// It takes rows away, and with them the sources of a rewrite.
    pub(crate) removes: bool,
    /// It adds the tables that it writes.
    pub(crate) adds: bool,
}

pub(crate) const A: [bool; TABLES] = [true, false];
pub(crate) const B: [bool; TABLES] = [false, true];
pub(crate) const AB: [bool; TABLES] = [true, true];
const NONE: [bool; TABLES] = [false, false];

impl Operation {
    const fn new(form: Form, writes: [bool; TABLES]) -> Self {
        Self {
            form,
            writes,
            reads: NONE,
            rigid: false,
            removes: false,
            adds: false,
        }
    }

    pub(crate) const fn short(writes: [bool; TABLES]) -> Self {
        Self::new(Form::Short, writes)
    }

    pub(crate) const fn long(writes: [bool; TABLES]) -> Self {
        Self::new(Form::Long, writes)
    }

    pub(crate) const fn physical(writes: [bool; TABLES]) -> Self {
        Self::new(Form::Physical, writes)
    }

    pub(crate) const fn rigid(mut self) -> Self {
        self.rigid = true;
        self
    }

    pub(crate) const fn removing(mut self) -> Self {
        self.removes = true;
        self
    }

    pub(crate) const fn adding(mut self) -> Self {
        self.adds = true;
        self
    }

    pub(crate) const fn reading(mut self, reads: [bool; TABLES]) -> Self {
        self.reads = reads;
        self
    }

    pub(crate) fn touches(&self) -> [bool; TABLES] {
        std::array::from_fn(|t| self.writes[t] || self.reads[t])
    }

    pub(crate) fn first_table(&self) -> u8 {
        self.writes.iter().position(|w| *w).unwrap_or_default() as u8
    }

    pub(crate) fn table_after(&self, table: usize) -> Option<u8> {
        (table + 1..TABLES)
            .find(|t| self.writes[*t])
            .map(|t| t as u8)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Configuration {
    pub(crate) name: &'static str,
    pub(crate) operations: Vec<Operation>,
    pub(crate) helpers: usize,
    pub(crate) budget: Budget,
    /// Calls are first computed on what the process has seen; otherwise it has been idle, and lists first.
    pub(crate) hints: bool,
    /// Healers take waiting tickets back, as of a holder that is dead, or only seems so.
    pub(crate) aborts: bool,
    /// A failed put that left no object never lands.
    pub(crate) failed_put_is_final: bool,
    /// A list and the read of what it names are two steps.
    pub(crate) split_reads: bool,
    /// Healers take the tables in another order than owners.
    pub(crate) reversed: bool,
    /// The graph can become quiet from every state.
    pub(crate) liveness: bool,
    pub(crate) without: Without,
}

impl Configuration {
    pub(crate) fn new(name: &'static str, operations: &[Operation], helpers: usize) -> Self {
        Self {
            name,
            operations: operations.to_vec(),
            helpers,
            budget: Budget::default(),
            hints: true,
            aborts: true,
            failed_put_is_final: false,
            split_reads: false,
            reversed: false,
            liveness: helpers > 0,
            without: Without::NOTHING,
        }
    }

    /// With a rule taken away.
    pub(crate) fn without(mut self, rule: Rule) -> Self {
        self.without = self.without.and(rule);
        self
    }

    /// With these faults and chances.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Budget)) -> Self {
        change(&mut self.budget);
        self
    }

    pub(crate) fn but(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub(crate) fn is_physical(&self, operation: usize) -> bool {
        self.operations[operation].form == Form::Physical
    }

    pub(crate) fn is_physical_maker(&self, by: Maker) -> bool {
        by != NOBODY && by < FENCE && self.is_physical(by as usize - 1)
    }

    /// The tables that an operation only reads; none for one that is not there.
    pub(crate) fn reads(&self, operation: usize) -> [bool; TABLES] {
        self.operations.get(operation).map_or(NONE, |o| o.reads)
    }

    /// Whether a version takes away what a rewrite has read.
    pub(crate) fn moves_rows(&self, by: Maker) -> bool {
        by == SEMANTIC
            || by != NOBODY
                && by < FENCE
                && (self.operations[by as usize - 1].removes || self.is_physical_maker(by))
    }

    pub(crate) fn conflict(&self, one: usize, other: usize) -> bool {
        let (a, b) = (&self.operations[one], &self.operations[other]);
        let (touched_by_a, touched_by_b) = (a.touches(), b.touches());
        (0..TABLES).any(|t| a.writes[t] && touched_by_b[t] || b.writes[t] && touched_by_a[t])
    }

    pub(crate) fn tables_of(&self, operation: usize) -> impl DoubleEndedIterator<Item = usize> {
        let writes = self.operations[operation].writes;
        (0..TABLES).filter(move |t| writes[*t])
    }

    pub(crate) fn writers_of(&self, table: usize) -> impl Iterator<Item = usize> {
        let operations = self.operations.iter().enumerate();
        operations
            .filter(move |(_, o)| o.writes[table])
            .map(|(index, _)| index)
    }
}
