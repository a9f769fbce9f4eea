//! Why a schema cannot be changed as asked.

use super::{PropertyType, rename::Fault};
use crate::ids::TableKey;

/// Why a schema cannot be changed as asked, with everything that stands in the way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct PlanError {
    /// What stands in the way, at least one.
    pub refusals: Vec<Refusal>,
}

/// One change that is refused, and what to do instead.
///
/// A `subject` is a type, `node:Person`, or a property, `node:Person.name`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is nothing to rename.
    #[error(
        "{subject} is renamed from `{former}`, but there is neither the one nor the other: correct `renamed_from`, or remove it to add {subject} anew"
    )]
    RenameSourceMissing {
        /// What would be renamed.
        subject: String,
        /// The name it is said to have had.
        former: String,
    },
    /// The rename would have to replace something.
    #[error(
        "{subject} is renamed from `{former}`, but both exist: drop one of them in an apply of its own, or remove `renamed_from`"
    )]
    RenameTargetExists {
        /// What would be replaced.
        subject: String,
        /// The name it is said to have had.
        former: String,
    },
    /// Two are renamed from one.
    #[error("{subject} is renamed from `{former}`, and so is another: remove one `renamed_from`")]
    RenamedTwice {
        /// What would be renamed second.
        subject: String,
        /// The name both claim.
        former: String,
    },
    /// Names are exchanged.
    #[error(
        "{subject} and `{former}` are renamed from each other: go through a third name, in two applies"
    )]
    RenameCircle {
        /// What would be renamed.
        subject: String,
        /// The name it is said to have had.
        former: String,
    },
    /// A name would change its case by a drop and an addition.
    #[error(
        "{subject} would be dropped to add `{name}`, the same name in another case: write `renamed_from = \"{former}\"` to keep what it holds"
    )]
    CaseChanged {
        /// What would be dropped.
        subject: String,
        /// Its name.
        former: String,
        /// The name that would be added.
        name: String,
    },
    /// The key of a type with a key changes.
    #[error(
        "the key of {table} would change from ({}) to ({}): rows are found by their key and edges refer to it, so it stays; add a type with the new key and load it", .old.join(", "), .new.join(", ")
    )]
    KeyChanged {
        /// The type.
        table: TableKey,
        /// Its key.
        old: Vec<String>,
        /// The key asked for.
        new: Vec<String>,
    },
    /// A required property is added to a type that exists.
    #[error(
        "{subject} would be added as required, but no row that exists has a value for it: add it without `required`, load the values, then make it required"
    )]
    AddedRequired {
        /// The property.
        subject: String,
    },
    /// A property's type changes to one that does not hold all its values.
    #[error(
        "{subject} would change from {from} to {to}, which does not hold every {from}: add a property of the new type, load it, then drop this one"
    )]
    NotWidening {
        /// The property.
        subject: String,
        /// Its type.
        from: PropertyType,
        /// The type asked for.
        to: PropertyType,
    },
    /// A type is renamed and changed, and its name is given to a new type, all at once.
    #[error(
        "{table} is renamed from {former} and its properties change, while a new {former} is added: rename and change it in one apply, add the new type in the next"
    )]
    NameGivenAgain {
        /// The type, by its new key.
        table: TableKey,
        /// The key it had.
        former: TableKey,
    },
    /// An edge ends at a node type that would not be there.
    #[error(
        "{edge} ends at {node}, which the new schema does not have: keep {node}, or drop {edge} or lead it elsewhere"
    )]
    NodeInUse {
        /// The node type.
        node: String,
        /// The edge that refers to it.
        edge: TableKey,
    },
}

impl Refusal {
    /// What a hint that can be neither followed nor passed over amounts to.
    pub(super) const fn of_fault(fault: Fault, subject: String, former: String) -> Self {
        match fault {
            Fault::NoSource => Self::RenameSourceMissing { subject, former },
            Fault::TargetExists => Self::RenameTargetExists { subject, former },
            Fault::TwoClaims => Self::RenamedTwice { subject, former },
            Fault::Circle => Self::RenameCircle { subject, former },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_stands_on_its_own_line() {
        let added = |subject: &str| Refusal::AddedRequired {
            subject: subject.into(),
        };
        let error = PlanError {
            refusals: vec![added("node:A.x"), added("node:A.y")],
        };
        let text = error.to_string();
        let lines: Vec<_> = text.lines().map(|line| &line[..8]).collect();
        assert_eq!(lines, ["node:A.x", "node:A.y"]);
    }
}
