//! What is done about a quarantined operation, decided from what was seen of it alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crate::ids::TableKey;

/// Where the effect of an operation is, in one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EffectState {
    /// This version holds it.
    At(u64),
    /// No version past its base holds it.
    Absent {
        /// Why it cannot be staged again; `None` when nothing is known to speak against it.
        hindrance: Option<String>,
    },
    /// It is unknown: this version is missing.
    Unclear {
        /// The version.
        missing: u64,
    },
}

impl fmt::Display for EffectState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(version) => write!(f, "in, at version {version}"),
            Self::Absent { hindrance: None } => write!(f, "not in, and it can be applied"),
            Self::Absent {
                hindrance: Some(why),
            } => write!(f, "not in, and cannot be applied: {why}"),
            Self::Unclear { missing } => {
                write!(f, "nobody can tell: version {missing} is missing")
            }
        }
    }
}

/// What an operator says about a quarantined operation, beyond that it is to be resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// It may be published without the tables that lack its effect and cannot take it.
    pub partial: bool,
    /// These tables hold its effect. Counts where a version is missing, so that nothing else can tell.
    pub holds: BTreeSet<TableKey>,
    /// These tables lack its effect. Counts there, too.
    pub lacks: BTreeSet<TableKey>,
}

/// What is known of a quarantined operation besides where its effect is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// Its sidecar can be read.
    pub(super) sidecar: bool,
    /// It changes the structure of the graph: with all tables, or with none.
    pub(super) structural: bool,
    /// What it changes in the structure is known: from the sidecar, or from its ticket.
    pub(super) structure: bool,
}

/// What a repair does about a quarantined operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Every table holds the effect: publish it.
    Publish,
    /// The tables that lack the effect can take it: decide the operation anew, and carry it out.
    Finish,
    /// No table holds the effect: discard the operation.
    Discard,
    /// Some tables lack the effect and cannot take it: publish the rest, if the operator says so.
    PublishPartial,
    /// Nothing can be done, because of this.
    Stuck(&'static str),
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Publish => "publish it: every table holds its effect",
            Self::Finish => "apply the rest, and publish it",
            Self::Discard => "discard it, as no table holds its effect; its author may repeat it",
            Self::PublishPartial => {
                "nothing, unless --publish-partial is given: then it is published without the tables that lack its effect"
            }
            Self::Stuck(why) => return write!(f, "nothing: {why}"),
        })
    }
}

/// Where the effect is, by an operator's word where nothing else can tell. `head` is that of the table.
pub(super) fn by_word(seen: EffectState, table: &TableKey, head: u64, word: &Word) -> EffectState {
    match seen {
        EffectState::Unclear { .. } if word.holds.contains(table) => EffectState::At(head),
        EffectState::Unclear { .. } if word.lacks.contains(table) => {
            EffectState::Absent { hindrance: None }
        }
        seen => seen,
    }
}

/// Decides. The tables are fenced by then, or it is a preview.
pub(super) fn remedy(effects: &BTreeMap<TableKey, EffectState>, known: Known) -> Remedy {
    let all = |is: fn(&EffectState) -> bool| effects.values().all(is);
    let absent = |s: &EffectState| matches!(s, EffectState::Absent { .. });
    let at = |s: &EffectState| matches!(s, EffectState::At(_));
    let unclear = |s: &EffectState| matches!(s, EffectState::Unclear { .. });
    let can_be_whole = |s: &EffectState| {
        matches!(
            s,
            EffectState::At(_) | EffectState::Absent { hindrance: None }
        )
    };
    if all(absent) {
        return Remedy::Discard;
    }
    let whole = !known.structural || known.structure;
    if all(at) && whole {
        return Remedy::Publish;
    }
    if known.sidecar && all(can_be_whole) {
        return Remedy::Finish;
    }
    if !known.structural {
        return Remedy::PublishPartial;
    }
    Remedy::Stuck(if effects.values().any(unclear) {
        "a schema apply is published with all its tables or not at all, and of some nobody can tell: look at their rows and columns, and say --holds TABLE or --lacks TABLE for each"
    } else if !known.sidecar {
        "its sidecar, which says what it does to its tables, is gone: restore _squire/recovery/<operation>.json from the store's own versions or from a backup"
    } else {
        "a schema apply is published with all its tables or not at all: bring the tables that cannot take it back to the columns of their pin, and look again"
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: Known = Known {
        sidecar: true,
        structural: false,
        structure: false,
    };

    fn seen(standings: &[EffectState]) -> BTreeMap<TableKey, EffectState> {
        let names = ["node:A", "node:B", "node:C"];
        let keys = names.iter().map(|n| n.parse().unwrap());
        keys.zip(standings.iter().cloned()).collect()
    }

    fn absent(hindrance: Option<&str>) -> EffectState {
        EffectState::Absent {
            hindrance: hindrance.map(str::to_owned),
        }
    }

    #[test]
    fn what_stands_everywhere_is_published_and_what_stands_nowhere_is_discarded() {
        let lost = Known {
            sidecar: false,
            ..PLAIN
        };
        for known in [PLAIN, lost] {
            let everywhere = seen(&[EffectState::At(3), EffectState::At(7)]);
            assert_eq!(remedy(&everywhere, known), Remedy::Publish);
            let nowhere = seen(&[absent(None), absent(Some("why"))]);
            assert_eq!(remedy(&nowhere, known), Remedy::Discard);
        }
    }

    #[test]
    fn the_rest_is_applied_where_it_can_be_and_let_go_only_by_an_explicit_word() {
        let rest = seen(&[EffectState::At(3), absent(None)]);
        assert_eq!(remedy(&rest, PLAIN), Remedy::Finish);
        let lost = Known {
            sidecar: false,
            ..PLAIN
        };
        assert_eq!(remedy(&rest, lost), Remedy::PublishPartial);
        for cannot in [absent(Some("why")), EffectState::Unclear { missing: 4 }] {
            let seen = seen(&[EffectState::At(3), cannot]);
            assert_eq!(remedy(&seen, PLAIN), Remedy::PublishPartial);
        }
    }

    #[test]
    fn a_schema_apply_is_published_whole_or_not_at_all() {
        let structural = |sidecar, structure| Known {
            sidecar,
            structural: true,
            structure,
        };
        let part = seen(&[EffectState::At(3), absent(Some("why"))]);
        let cannot = remedy(&part, structural(true, true));
        assert!(matches!(cannot, Remedy::Stuck(_)), "{cannot:?}");
        let whole = seen(&[EffectState::At(3), EffectState::At(4)]);
        for sidecar in [true, false] {
            let decided = remedy(&whole, structural(sidecar, true));
            assert_eq!(decided, Remedy::Publish, "its ticket says what it changes");
        }
        let half = seen(&[EffectState::At(3), absent(None)]);
        for (lost, structure) in [(&whole, false), (&half, true)] {
            let stuck = remedy(lost, structural(false, structure));
            assert!(matches!(stuck, Remedy::Stuck(why) if why.contains("backup")));
        }
    }

    #[test]
    fn where_a_version_is_missing_an_operators_word_decides_and_nowhere_else() {
        let table: TableKey = "node:A".parse().unwrap();
        let tables = BTreeSet::from([table.clone()]);
        let holds = Word {
            holds: tables.clone(),
            ..Word::default()
        };
        let lacks = Word {
            lacks: tables,
            ..Word::default()
        };
        let by = |seen: EffectState, word: &Word| by_word(seen, &table, 9, word);
        let unclear = EffectState::Unclear { missing: 4 };
        assert_eq!(by(unclear.clone(), &holds), EffectState::At(9));
        assert_eq!(by(unclear.clone(), &lacks), absent(None));
        assert_eq!(by(unclear.clone(), &Word::default()), unclear);
        assert_eq!(by(EffectState::At(3), &lacks), EffectState::At(3));
        assert_eq!(by(absent(None), &holds), absent(None));
        let other = "node:B".parse().unwrap();
        assert_eq!(by_word(unclear.clone(), &other, 9, &holds), unclear);
    }

    fn standing() -> impl Strategy<Value = EffectState> {
        prop_oneof![
            (1..9_u64).prop_map(EffectState::At),
            Just(absent(None)),
            Just(absent(Some("why"))),
            (1..9_u64).prop_map(|missing| EffectState::Unclear { missing }),
        ]
    }

    proptest! {
        #[test]
        fn nothing_that_stands_or_may_stand_anywhere_is_discarded(
            standings in prop::collection::vec(standing(), 1..=3),
            sidecar: bool,
            structural: bool,
            structure: bool,
        ) {
            let known = Known { sidecar, structural, structure };
            let decided = remedy(&seen(&standings), known);
            let nowhere = standings.iter().all(|s| matches!(s, EffectState::Absent { .. }));
            prop_assert_eq!(decided == Remedy::Discard, nowhere);
            if decided == Remedy::Publish {
                prop_assert!(standings.iter().all(|s| matches!(s, EffectState::At(_))));
            }
        }
    }
}
