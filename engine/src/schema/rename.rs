//! Which `renamed_from` hints call for a rename.

use std::collections::{BTreeMap, BTreeSet};

use super::folded;

/// A name of the new schema, and the name it says it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim<'a> {
    pub(super) name: &'a str,
    pub(super) former: Option<&'a str>,
}

/// Why a hint can be neither followed nor passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Neither the former name nor the new one exists: a slip of the pen.
    NoSource,
    /// Both exist, and the former name is not kept: the rename would have to replace the new one.
    TargetExists,
    /// Another name claims the same former name.
    TwoClaims,
    /// Names that are renamed from each other in a circle.
    Circle,
}

/// What the hints amount to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Renames<'a> {
    /// `(from, to)`, in an order in which no rename meets a name that is still taken.
    pub(super) steps: Vec<(&'a str, &'a str)>,
    /// `(former, name)` and what is wrong with the hint.
    pub(super) faults: Vec<(&'a str, &'a str, Fault)>,
}

impl<'a> Renames<'a> {
    /// The name that `name` has in the old schema, should it be there.
    pub(super) fn source(&self, name: &'a str) -> &'a str {
        self.steps
            .iter()
            .find(|(_, to)| *to == name)
            .map_or(name, |(from, _)| from)
    }

    /// The name that an old name has in the new schema, should it be there.
    pub(super) fn target<'n>(&'n self, name: &'n str) -> &'n str {
        self.steps
            .iter()
            .find(|(from, _)| *from == name)
            .map_or(name, |(_, to)| to)
    }

    /// Whether an old name was given up by a rename.
    pub(super) fn gives_up(&self, name: &str) -> bool {
        self.steps.iter().any(|(from, _)| *from == name)
    }
}

/// Decides which hints call for a rename.
///
/// A hint stays in the file when its rename is done, so a hint whose source is gone and whose target
/// exists calls for nothing; nor does one whose source was made anew. Where nothing is `old`, nothing can be
/// renamed and no hint can go astray: a file with hints also makes a new graph.
pub(super) fn renames<'a>(old: &BTreeSet<&'a str>, new: &[Claim<'a>]) -> Renames<'a> {
    let mut found = Renames::default();
    if old.is_empty() {
        return found;
    }
    let mut pending: Vec<(&str, &str)> = new
        .iter()
        .filter_map(|c| Some((c.former?, c.name)))
        .filter(|(f, n)| f != n)
        .collect();
    let former_of: BTreeMap<&str, &str> = pending.iter().map(|(f, n)| (*n, *f)).collect();
    // A circle would be turned once more by every apply.
    pending.retain(|(former, name)| {
        let circle = in_circle(&former_of, name);
        if circle {
            found.faults.push((*former, *name, Fault::Circle));
        }
        !circle
    });
    let mut taken: BTreeSet<String> = old.iter().map(|name| folded(name)).collect();
    // A name is free once its owner was renamed away, so one rename can clear the way for another.
    while let Some(next) = pending.iter().position(|(former, name)| {
        let free = !taken.contains(&folded(name)) || folded(name) == folded(former);
        free && old.contains(former) && !found.gives_up(former)
    }) {
        let (former, name) = pending.remove(next);
        taken.remove(&folded(former));
        taken.insert(folded(name));
        found.steps.push((former, name));
    }
    let kept: BTreeSet<&str> = new.iter().map(|c| c.name).collect();
    for (former, name) in pending {
        let fault = if !old.contains(former) {
            let is_done = old.contains(name) && !found.gives_up(name);
            (!is_done).then_some(Fault::NoSource)
        } else if found.gives_up(former) {
            Some(Fault::TwoClaims)
        } else {
            (!kept.contains(former)).then_some(Fault::TargetExists)
        };
        found
            .faults
            .extend(fault.map(|fault| (former, name, fault)));
    }
    found
}

/// Whether following former names from `start` leads back to it.
pub(super) fn in_circle(former_of: &BTreeMap<&str, &str>, start: &str) -> bool {
    let mut at = start;
    for _ in 0..former_of.len() {
        match former_of.get(at) {
            Some(former) if *former == start => return true,
            Some(former) => at = former,
            None => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided<'a>(old: &[&'a str], new: &[(&'a str, &'a str)]) -> Renames<'a> {
        let claim = |(name, former): &(&'a str, &'a str)| Claim {
            name,
            former: Some(*former).filter(|f| !f.is_empty()),
        };
        renames(
            &old.iter().copied().collect(),
            &new.iter().map(claim).collect::<Vec<_>>(),
        )
    }

    #[test]
    fn a_hint_is_followed_once() {
        assert_eq!(decided(&["A", "X"], &[("B", "A")]).steps, [("A", "B")]);
        assert_eq!(decided(&["B", "X"], &[("B", "A")]), Renames::default());
    }

    #[test]
    fn a_hint_whose_source_was_made_anew_calls_for_nothing() {
        assert_eq!(
            decided(&["A", "B"], &[("B", "A"), ("A", "")]),
            Renames::default()
        );
    }

    #[test]
    fn a_chain_is_renamed_from_its_free_end() {
        let chain = decided(&["A", "B"], &[("B", "A"), ("C", "B")]);
        assert_eq!(chain.steps, [("B", "C"), ("A", "B")]);
        assert_eq!((chain.source("B"), chain.target("A")), ("A", "B"));
        assert_eq!(
            decided(&["B", "C"], &[("B", "A"), ("C", "B")]),
            Renames::default()
        );
    }

    #[test]
    fn a_name_can_change_its_case() {
        assert_eq!(
            decided(&["airport"], &[("Airport", "airport")]).steps,
            [("airport", "Airport")]
        );
    }

    #[test]
    fn a_name_that_only_comes_into_being_is_no_source() {
        let found = decided(&["B"], &[("A", "B"), ("C", "A")]);
        assert_eq!(found.steps, [("B", "A")]);
        assert_eq!(found.faults, [("A", "C", Fault::NoSource)]);
    }

    #[test]
    fn a_hint_that_could_mean_two_things_is_a_fault() {
        assert_eq!(
            decided(&["X"], &[("B", "A")]).faults,
            [("A", "B", Fault::NoSource)]
        );
        assert_eq!(
            decided(&["A", "B"], &[("B", "A")]).faults,
            [("A", "B", Fault::TargetExists)]
        );
        let two = decided(&["A"], &[("B", "A"), ("C", "A")]);
        assert_eq!(two.faults, [("A", "C", Fault::TwoClaims)]);
        let swap = decided(&["A", "B"], &[("B", "A"), ("A", "B")]);
        let circle = [("A", "B", Fault::Circle), ("B", "A", Fault::Circle)];
        assert_eq!(swap.faults, circle);
        assert_eq!(decided(&["A"], &[("B", "A"), ("A", "B")]).faults, circle);
    }

    #[test]
    fn a_hint_for_a_name_that_is_given_up_and_made_anew_needs_a_source() {
        let found = decided(&["B"], &[("C", "B"), ("B", "X")]);
        assert_eq!(found.steps, [("B", "C")]);
        assert_eq!(found.faults, [("X", "B", Fault::NoSource)]);
    }

    #[test]
    fn where_nothing_is_old_every_hint_is_passed_over() {
        assert_eq!(decided(&[], &[("B", "A")]), Renames::default());
    }
}
