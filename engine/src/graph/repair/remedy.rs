//! What is done about a quarantined operation, decided from what was seen of it alone.

use std::{collections::BTreeMap, fmt};

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
            Self::Absent { hindrance: None } => write!(f, "not in; it can be applied again"),
            Self::Absent {
                hindrance: Some(why),
            } => write!(f, "not in, and cannot be applied: {why}"),
            Self::Unclear { missing } => {
                write!(f, "nobody can tell: version {missing} is missing")
            }
        }
    }
}

/// What is known of a quarantined operation besides where its effect is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// Its sidecar can be read.
    pub(super) sidecar: bool,
    /// It changes the structure of the graph: with all tables, or with none.
    pub(super) structural: bool,
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
            Self::Discard => "discard it: no table holds its effect",
            Self::PublishPartial => {
                "nothing, unless --publish-partial is given: then it is published without the tables that lack its effect"
            }
            Self::Stuck(why) => return write!(f, "nothing: {why}"),
        })
    }
}

/// Decides. The tables are fenced by then, or it is a preview.
pub(super) fn remedy(effects: &BTreeMap<TableKey, EffectState>, known: Known) -> Remedy {
    let all = |is: fn(&EffectState) -> bool| effects.values().all(is);
    let absent = |s: &EffectState| matches!(s, EffectState::Absent { .. });
    let at = |s: &EffectState| matches!(s, EffectState::At(_));
    let can_be_whole = |s: &EffectState| {
        matches!(
            s,
            EffectState::At(_) | EffectState::Absent { hindrance: None }
        )
    };
    if all(absent) {
        return Remedy::Discard;
    }
    match (known.sidecar, known.structural) {
        (true, _) if all(at) => Remedy::Publish,
        (false, false) if all(at) => Remedy::Publish,
        (true, _) if all(can_be_whole) => Remedy::Finish,
        (_, false) => Remedy::PublishPartial,
        (false, true) => Remedy::Stuck(
            "its sidecar, which says what it changes in the schema, is gone: restore _squire/recovery/<operation>.json from the store's own versions or from a backup",
        ),
        (true, true) => Remedy::Stuck(
            "a schema apply is published with all its tables or not at all: bring the tables that cannot take it back to the columns of their pin, and look again",
        ),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: Known = Known {
        sidecar: true,
        structural: false,
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
        let structural = |sidecar| Known {
            sidecar,
            structural: true,
        };
        let part = seen(&[EffectState::At(3), absent(Some("why"))]);
        assert!(matches!(remedy(&part, structural(true)), Remedy::Stuck(_)));
        let whole = seen(&[EffectState::At(3), EffectState::At(4)]);
        assert_eq!(remedy(&whole, structural(true)), Remedy::Publish);
        assert!(matches!(
            remedy(&whole, structural(false)),
            Remedy::Stuck(_)
        ));
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
        ) {
            let decided = remedy(&seen(&standings), Known { sidecar, structural });
            let nowhere = standings.iter().all(|s| matches!(s, EffectState::Absent { .. }));
            prop_assert_eq!(decided == Remedy::Discard, nowhere);
            if decided == Remedy::Publish {
                prop_assert!(standings.iter().all(|s| matches!(s, EffectState::At(_))));
            }
        }
    }
}
