//! The steps that bring one type from an old definition to a new one.

use std::collections::BTreeSet;

use super::{
    Endpoint, Endpoints, Index, Property, Refusal, Step, TypeDef, folded,
    plan::Planner,
    rename::{Claim, Renames, renames},
};
use crate::ids::TableKey;

impl Planner {
    /// Brings a type that exists from `old` to `new`. `table` is its new key.
    pub(super) fn alter(
        &mut self,
        table: &TableKey,
        old: &TypeDef,
        new: &TypeDef,
        nodes: &Renames<'_>,
    ) {
        let names = old.properties.iter().map(|p| p.name.as_str());
        let claims: Vec<_> = new
            .properties
            .iter()
            .map(|p| Claim {
                name: &p.name,
                former: p.renamed_from.as_deref(),
            })
            .collect();
        let former = renames(&names.collect(), &claims);
        self.refuse_faults(&former, |name| format!("{table}.{name}"));

        let now = |property: &str| former.target(property).to_owned();
        let was: Vec<Index> = old
            .indexes
            .iter()
            .map(|i| Index {
                property: now(&i.property),
                ..i.clone()
            })
            .collect();
        let indexes = was.iter().filter(|index| !new.indexes.contains(index));
        self.steps.extend(indexes.map(|i| Step::DropIndex {
            table: table.clone(),
            index: i.name.clone(),
        }));
        self.properties(table, old, new, &former);
        self.endpoints(table, old, new, &former, nodes);
        self.key(
            table,
            &old.key.iter().map(|column| now(column)).collect::<Vec<_>>(),
            &new.key,
        );
        let indexes = new.indexes.iter().filter(|index| !was.contains(index));
        self.steps.extend(indexes.map(|i| Step::AddIndex {
            table: table.clone(),
            index: i.clone(),
        }));
    }

    fn properties<'a>(
        &mut self,
        table: &TableKey,
        old: &TypeDef,
        new: &'a TypeDef,
        former: &Renames<'a>,
    ) {
        let source = |p: &'a Property| {
            let name = former.source(&p.name);
            let is_new = name == p.name && former.gives_up(name);
            (!is_new).then(|| old.property(name)).flatten()
        };
        let pairs: Vec<_> = new.properties.iter().map(|p| (p, source(p))).collect();
        let kept: BTreeSet<&str> = pairs
            .iter()
            .filter_map(|(_, before)| Some(before.as_ref()?.name.as_str()))
            .collect();
        for gone in old
            .properties
            .iter()
            .filter(|p| !kept.contains(p.name.as_str()))
        {
            let same = |(p, before): &&(&Property, Option<&Property>)| {
                before.is_none() && folded(&p.name) == folded(&gone.name)
            };
            if let Some((p, _)) = pairs.iter().find(same) {
                self.refuse_case(format!("{table}.{}", gone.name), &gone.name, &p.name);
            }
            let property = gone.name.clone();
            self.steps.push(Step::DropProperty {
                table: table.clone(),
                property,
            });
        }
        for (from, to) in &former.steps {
            let (from, to) = ((*from).to_owned(), (*to).to_owned());
            self.steps.push(Step::RenameProperty {
                table: table.clone(),
                from,
                to,
            });
        }
        for (property, before) in pairs {
            match before {
                Some(before) => self.alter_property(table, before, property),
                None => self.add_property(table, property),
            }
        }
    }

    fn add_property(&mut self, table: &TableKey, property: &Property) {
        if property.required {
            let subject = format!("{table}.{}", property.name);
            self.refusals.push(Refusal::AddedRequired { subject });
            return;
        }
        let property = Property {
            renamed_from: None,
            ..property.clone()
        };
        self.steps.push(Step::AddProperty {
            table: table.clone(),
            property,
        });
    }

    fn alter_property(&mut self, table: &TableKey, old: &Property, new: &Property) {
        let (table, property) = (table.clone(), new.name.clone());
        if old.data_type != new.data_type {
            let (from, to) = (old.data_type.clone(), new.data_type.clone());
            if from.widens_to(&to) {
                let (table, property) = (table.clone(), property.clone());
                self.steps.push(Step::WidenCast {
                    table,
                    property,
                    from,
                    to,
                });
            } else {
                let subject = format!("{table}.{property}");
                self.refusals
                    .push(Refusal::NotWidening { subject, from, to });
            }
        }
        match (old.required, new.required) {
            (true, false) => self.steps.push(Step::MakeNullable { table, property }),
            (false, true) => self.steps.push(Step::MakeRequired { table, property }),
            _ => {}
        }
    }

    /// Sets the end points when they are not what the renames alone make of the old ones.
    fn endpoints(
        &mut self,
        table: &TableKey,
        old: &TypeDef,
        new: &TypeDef,
        former: &Renames<'_>,
        nodes: &Renames<'_>,
    ) {
        let end = |end: &Endpoint| Endpoint {
            node: nodes.target(&end.node).to_owned(),
            property: former.target(&end.property).to_owned(),
        };
        let was = old.endpoints.as_ref().map(|e| Endpoints {
            from: end(&e.from),
            to: end(&e.to),
        });
        if was != new.endpoints {
            let endpoints = new.endpoints.clone();
            self.steps.push(Step::SetEndpoints {
                table: table.clone(),
                endpoints,
            });
        }
    }

    fn key(&mut self, table: &TableKey, old: &[String], new: &[String]) {
        if old == new {
            return;
        }
        let (table, key) = (table.clone(), new.to_vec());
        if old.is_empty() {
            self.steps.push(Step::SetKey { table, key });
        } else {
            self.refusals.push(Refusal::KeyChanged {
                table,
                old: old.to_vec(),
                new: key,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::schema::{
        plan,
        plan::tests::{OLD, read, refusal, steps},
    };

    #[test]
    fn properties_are_dropped_renamed_added_and_widened() {
        assert_eq!(
            steps(&[
                (
                    "n = \"int8\"",
                    "m = { type = \"int16\", renamed_from = \"n\" }\nadded = \"date32\""
                ),
                ("property = \"n\"", "property = \"m\""),
                ("s = { type = \"string\", required = true }", ""),
            ]),
            [
                "node:A: drop index `n_btree`",
                "node:A: drop property `s` with all its values",
                "node:A: rename property `n` to `m`",
                "node:A: widen property `m` from int8 to int16 (rewrites the column)",
                "node:A: add property `added` of type date32",
                "node:A: declare btree index `m_btree` on `m`",
            ]
        );
    }

    #[test]
    fn an_index_with_its_own_name_outlives_the_rename_of_its_property() {
        let named = OLD.replace("kind = \"btree\"", "kind = \"btree\"\nname = \"i\"");
        let new = named.replace(
            "n = \"int8\"",
            "m = { type = \"int8\", renamed_from = \"n\" }",
        );
        let new = new.replace("property = \"n\"", "property = \"m\"");
        let steps = plan(&read(&named), &read(&new)).unwrap();
        assert_eq!(steps.len(), 1, "{steps:?}");
    }

    #[test]
    fn a_property_can_be_made_nullable_and_required() {
        assert_eq!(
            steps(&[
                (
                    "s = { type = \"string\", required = true }",
                    "s = \"string\""
                ),
                ("n = \"int8\"", "n = { type = \"int8\", required = true }")
            ]),
            [
                "node:A: make property `n` required",
                "node:A: let property `s` be null"
            ]
        );
    }

    #[test]
    fn a_key_goes_along_when_its_property_is_renamed() {
        let renamed = [
            ("key = [\"id\"]\n[", "key = [\"code\"]\n["),
            (
                "id = \"int32\"",
                "code = { type = \"int32\", renamed_from = \"id\" }",
            ),
        ];
        assert_eq!(steps(&renamed), ["node:A: rename property `id` to `code`"]);
    }

    #[test]
    fn end_points_can_be_led_elsewhere() {
        let ends = [(
            "to = { node = \"A\", property = \"dst\" }",
            "to = { node = \"A\", property = \"src\" }",
        )];
        assert_eq!(steps(&ends), ["edge:E: lead from `src` (A) to `src` (A)"]);
    }

    #[test]
    fn an_edge_can_be_given_its_first_key_and_no_other() {
        let keyed = OLD.replace("[edge.E]", "[edge.E]\nkey = [\"src\"]");
        assert_eq!(
            steps(&[("[edge.E]", "[edge.E]\nkey = [\"src\"]")]),
            [
                "edge:E: make property `src` required",
                "edge:E: set the key to src"
            ]
        );
        let other = keyed.replace("key = [\"src\"]", "key = [\"dst\"]");
        let refused = plan(&read(&keyed), &read(&other)).unwrap_err().to_string();
        assert!(
            refused.starts_with("the key of edge:E would change from (src) to (dst): "),
            "{refused}"
        );
    }

    #[test]
    fn a_required_property_cannot_be_added() {
        let refused = refusal(&[(
            "n = \"int8\"",
            "n = \"int8\"\nnew = { type = \"int8\", required = true }",
        )]);
        assert!(
            refused.starts_with("node:A.new would be added as required"),
            "{refused}"
        );
    }

    #[test]
    fn a_cast_that_loses_values_is_refused() {
        let refused = refusal(&[("s = { type = \"string\"", "s = { type = \"int64\"")]);
        assert!(
            refused.starts_with("node:A.s would change from string to int64"),
            "{refused}"
        );
    }

    #[test]
    fn a_key_is_widened_together_with_the_edges_that_hold_it() {
        assert_eq!(
            steps(&[("int32", "int64")]),
            [
                "node:A: widen property `id` from int32 to int64 (rewrites the column)",
                "edge:E: widen property `src` from int32 to int64 (rewrites the column)",
                "edge:E: widen property `dst` from int32 to int64 (rewrites the column)",
            ]
        );
    }

    #[test]
    fn the_key_of_a_property_that_gave_up_its_name_is_not_another_property() {
        let swapped = "code = { type = \"int32\", renamed_from = \"id\" }\nid = \"int32\"";
        let refused = refusal(&[("id = \"int32\"", swapped)]);
        let message = "the key of node:A would change from (code) to (id)";
        assert!(refused.contains(message), "{refused}");
    }
}
