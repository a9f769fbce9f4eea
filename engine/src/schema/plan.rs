//! The way from one schema to another, or why there is none.

use std::collections::BTreeSet;

use super::{
    PlanError, Refusal, Schema, Step, TypeDef, folded,
    rename::{Claim, Renames, renames},
};
use crate::ids::{TableKey, TypeKind};

/// The steps from `old` to `new`, in the order in which they are taken; none when there is nothing to do.
/// [`apply`](super::apply()) takes them.
///
/// The order of properties is the table's and does not change: properties are added at the end.
///
/// # Errors
/// [`PlanError`] with every change that is refused.
pub fn plan(old: &Schema, new: &Schema) -> Result<Vec<Step>, PlanError> {
    let mut planner = Planner {
        steps: Vec::new(),
        refusals: Vec::new(),
    };
    if old.name != new.name {
        planner.steps.push(Step::SetName {
            to: new.name.clone(),
        });
    }
    let former = planner.types(old, new);
    for (table, def) in &new.types {
        planner.ends_exist(new, table, def);
        if let Some(before) = former.source(table).and_then(|key| old.types.get(&key)) {
            planner.alter(table, before, def, &former.nodes);
        }
    }
    planner.names_are_given_again_alone();
    if planner.refusals.is_empty() {
        Ok(planner.steps)
    } else {
        Err(PlanError {
            refusals: planner.refusals,
        })
    }
}

/// Which type was which.
struct Former<'a> {
    nodes: Renames<'a>,
    edges: Renames<'a>,
}

impl<'a> Former<'a> {
    const fn of(&self, kind: TypeKind) -> &Renames<'a> {
        match kind {
            TypeKind::Node => &self.nodes,
            TypeKind::Edge => &self.edges,
        }
    }

    /// The key that a type of the new schema has in the old one, should it be there.
    fn source(&self, table: &'a TableKey) -> Option<TableKey> {
        let kind = table.kind()?;
        let renames = self.of(kind);
        let name = renames.source(table.name());
        let is_new = name == table.name() && renames.gives_up(name);
        if is_new {
            None
        } else {
            TableKey::new(kind, name).ok()
        }
    }
}

/// Collects the steps and everything that is refused.
pub(super) struct Planner {
    pub(super) steps: Vec<Step>,
    pub(super) refusals: Vec<Refusal>,
}

impl Planner {
    /// Drops, renames and adds types. Edges go before the nodes they end at and come after them.
    fn types<'a>(&mut self, old: &'a Schema, new: &'a Schema) -> Former<'a> {
        let former = Former {
            nodes: self.renamed_types(old, new, TypeKind::Node),
            edges: self.renamed_types(old, new, TypeKind::Edge),
        };
        let kept: BTreeSet<TableKey> = new
            .types
            .keys()
            .filter_map(|table| former.source(table))
            .collect();
        let is_added = |table: &TableKey| {
            former
                .source(table)
                .is_none_or(|key| !old.types.contains_key(&key))
        };
        let added: Vec<_> = new
            .types
            .iter()
            .filter(|(table, _)| is_added(table))
            .collect();
        for table in old.types.keys().rev().filter(|table| !kept.contains(table)) {
            let same = added.iter().find(|(a, _)| {
                a.kind() == table.kind() && folded(a.name()) == folded(table.name())
            });
            if let Some((name, _)) = same {
                self.refuse_case(table.to_string(), table.name(), name.name());
            }
            self.steps.push(Step::DropType {
                table: table.clone(),
            });
        }
        for kind in [TypeKind::Node, TypeKind::Edge] {
            for (from, to) in &former.of(kind).steps {
                if let (Ok(from), Ok(to)) = (TableKey::new(kind, *from), TableKey::new(kind, *to)) {
                    self.steps.push(Step::RenameType { from, to });
                }
            }
        }
        for (table, def) in added {
            self.steps.push(Step::AddType {
                table: table.clone(),
                def: def.clone().settled(),
            });
        }
        former
    }

    fn renamed_types<'a>(
        &mut self,
        old: &'a Schema,
        new: &'a Schema,
        kind: TypeKind,
    ) -> Renames<'a> {
        let names = old
            .types
            .keys()
            .filter(|t| t.kind() == Some(kind))
            .map(TableKey::name);
        let of_kind = new
            .types
            .iter()
            .filter(|(table, _)| table.kind() == Some(kind));
        let claims: Vec<_> = of_kind
            .map(|(t, def)| Claim {
                name: t.name(),
                former: def.renamed_from.as_deref(),
            })
            .collect();
        let found = renames(&names.collect(), &claims);
        self.refuse_faults(&found, |name| format!("{kind}:{name}"));
        found
    }

    /// Refuses to change the columns of a type that is renamed away while its name is given to a new one.
    fn names_are_given_again_alone(&mut self) {
        let steps = &self.steps;
        let is_added = |key: &TableKey| {
            let adds = |s: &Step| matches!(s, Step::AddType { table, .. } if table == key);
            steps.iter().any(adds)
        };
        let altered = |key: &TableKey| {
            steps
                .iter()
                .any(|s| s.alters_columns() && s.table() == Some(key))
        };
        let refused: Vec<_> = super::renamed(steps)
            .into_iter()
            .filter(|(from, to)| is_added(from) && altered(to))
            .map(|(former, table)| Refusal::NameGivenAgain { table, former })
            .collect();
        self.refusals.extend(refused);
    }

    fn ends_exist(&mut self, new: &Schema, edge: &TableKey, def: &TypeDef) {
        let nodes: BTreeSet<&str> = def
            .endpoints
            .iter()
            .flat_map(|e| [e.from.node.as_str(), e.to.node.as_str()])
            .collect();
        for node in nodes {
            let exists =
                TableKey::new(TypeKind::Node, node).is_ok_and(|n| new.types.contains_key(&n));
            if !exists {
                let node = format!("{}:{node}", TypeKind::Node);
                self.refusals.push(Refusal::NodeInUse {
                    node,
                    edge: edge.clone(),
                });
            }
        }
    }

    pub(super) fn refuse_case(&mut self, subject: String, former: &str, name: &str) {
        let (former, name) = (former.to_owned(), name.to_owned());
        self.refusals.push(Refusal::CaseChanged {
            subject,
            former,
            name,
        });
    }

    pub(super) fn refuse_faults(&mut self, found: &Renames<'_>, subject: impl Fn(&str) -> String) {
        self.refusals
            .extend(found.faults.iter().map(|(former, name, fault)| {
                Refusal::of_fault(*fault, subject(name), (*former).to_owned())
            }));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::schema::{apply, generate};

    pub(in crate::schema) const OLD: &str = r#"
[node.A]
key = ["id"]
[node.A.properties]
id = "int32"
n = "int8"
s = { type = "string", required = true }
[[node.A.index]]
property = "n"
kind = "btree"
[node.C]
key = ["id"]
properties = { id = "string" }
[edge.E]
from = { node = "A", property = "src" }
to = { node = "A", property = "dst" }
properties = { src = "int32", dst = "int32" }
"#;

    pub(in crate::schema) fn read(text: &str) -> Schema {
        Schema::parse(text, "f.toml").unwrap()
    }

    /// The schema of these tests with some of its text replaced.
    fn changed(changes: &[(&str, &str)]) -> Schema {
        read(
            &changes
                .iter()
                .fold(OLD.to_owned(), |text, (part, instead)| {
                    assert!(text.contains(part), "{part}");
                    text.replace(part, instead)
                }),
        )
    }

    pub(in crate::schema) fn steps(changes: &[(&str, &str)]) -> Vec<String> {
        let (old, new) = (read(OLD), changed(changes));
        let steps = plan(&old, &new).unwrap();
        let there = apply(old, &steps).unwrap();
        assert_eq!(
            plan(&there, &new).unwrap(),
            [],
            "a plan that was applied has nothing left to do"
        );
        steps.iter().map(ToString::to_string).collect()
    }

    pub(in crate::schema) fn refusal(changes: &[(&str, &str)]) -> String {
        plan(&read(OLD), &changed(changes)).unwrap_err().to_string()
    }

    #[test]
    fn an_unchanged_schema_has_no_steps() {
        assert_eq!(steps(&[]), Vec::<String>::new());
    }

    #[test]
    fn a_renamed_node_takes_the_edges_that_end_there_along() {
        let renamed = [
            ("[node.A]", "[node.B]\nrenamed_from = \"A\""),
            ("node.A.", "node.B."),
            ("node = \"A\"", "node = \"B\""),
        ];
        assert_eq!(steps(&renamed), ["rename node:A to node:B"]);
    }

    #[test]
    fn edges_are_dropped_before_nodes_and_added_after_them() {
        let (old, empty) = (read(OLD), Schema::default());
        let shown = |from, to| {
            plan(from, to)
                .unwrap()
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            shown(&old, &empty),
            [
                "drop edge:E with all its rows",
                "drop node:C with all its rows",
                "drop node:A with all its rows"
            ]
        );
        assert_eq!(
            shown(&empty, &old),
            [
                "add node:A with 3 properties",
                "add node:C with 1 property",
                "add edge:E with 2 properties"
            ]
        );
    }

    #[test]
    fn a_name_that_a_rename_gave_up_can_be_given_again() {
        let again = "[node.D]\nrenamed_from = \"C\"\nkey = [\"id\"]\nproperties = { id = \"string\" }\n[node.C]";
        assert_eq!(
            steps(&[("[node.C]", again)]),
            ["rename node:C to node:D", "add node:C with 1 property"]
        );
    }

    #[test]
    fn a_node_that_an_edge_ends_at_stays() {
        let mut new = read(OLD);
        new.types.remove(&"node:A".parse().unwrap());
        let refused = plan(&read(OLD), &new).unwrap_err().to_string();
        assert!(
            refused.starts_with("edge:E ends at node:A, which the new schema does not have"),
            "{refused}"
        );
    }

    #[test]
    fn a_rename_without_a_source_is_refused() {
        let node = refusal(&[("[node.C]", "[node.D]\nrenamed_from = \"X\"")]);
        assert!(
            node.starts_with("node:D is renamed from `X`, but there is neither"),
            "{node}"
        );
        let property = refusal(&[(
            "n = \"int8\"",
            "n = \"int8\"\nm = { type = \"int8\", renamed_from = \"X\" }",
        )]);
        assert!(
            property.starts_with("node:A.m is renamed from `X`"),
            "{property}"
        );
    }

    #[test]
    fn a_change_of_case_is_no_drop() {
        let refused = refusal(&[("[node.C]", "[node.c]")]);
        assert!(
            refused.contains("write `renamed_from = \"C\"`"),
            "{refused}"
        );
        let refused = refusal(&[("s = { type", "S = { type")]);
        assert!(
            refused.contains("node:A.s would be dropped to add `S`"),
            "{refused}"
        );
        assert_eq!(
            steps(&[("[node.C]", "[node.c]\nrenamed_from = \"C\"")]),
            ["rename node:C to node:c"]
        );
    }

    #[test]
    fn everything_that_is_refused_is_told_at_once() {
        let refused = refusal(&[
            ("s = { type = \"string\"", "s = { type = \"int64\""),
            ("n = \"int8\"", "n = \"bool\""),
        ]);
        assert_eq!(refused.lines().count(), 2, "{refused}");
    }

    /// The schema with properties and indexes in an order that does not depend on how it came about.
    fn ordered(mut schema: Schema) -> Schema {
        for def in schema.types.values_mut() {
            def.properties.sort_by(|a, b| a.name.cmp(&b.name));
            def.indexes.sort_by(|a, b| a.name.cmp(&b.name));
        }
        schema
    }

    proptest! {
        #[test]
        fn the_steps_lead_from_the_old_schema_to_the_new(old in generate::likely_schema(), new in generate::likely_schema()) {
            if let Ok(steps) = plan(&old, &new) {
                let there = apply(old, &steps).unwrap();
                prop_assert_eq!(plan(&there, &new), Ok(vec![]));
                prop_assert_eq!(ordered(there), ordered(new));
            }
        }

        #[test]
        fn renames_lead_to_the_new_schema_and_are_done_once(old in generate::likely_schema(), new in generate::renaming_schema()) {
            if let Ok(steps) = plan(&old, &new) {
                let there = apply(old, &steps).unwrap();
                prop_assert_eq!(plan(&there, &new), Ok(vec![]));
                prop_assert_eq!(ordered(there), ordered(new.settled()));
            }
        }

        #[test]
        fn a_new_graph_can_be_made_from_any_schema(new in generate::schema()) {
            let steps = plan(&Schema::default(), &new).unwrap();
            prop_assert_eq!(apply(Schema::default(), &steps), Ok(new.settled()));
        }

        #[test]
        fn only_touched_types_change(old in generate::likely_schema(), new in generate::renaming_schema()) {
            if let Ok(steps) = plan(&old, &new) {
                let touched = crate::schema::touched(&old, &steps);
                let there = apply(old.clone(), &steps).unwrap();
                for key in old.types.keys().chain(there.types.keys()).filter(|key| !touched.contains(key)) {
                    prop_assert_eq!(old.types.get(key), there.types.get(key));
                }
            }
        }
    }
}
