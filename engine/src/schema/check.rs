//! What a schema file must hold to make sense, beyond the shape of its parts.

use std::collections::BTreeMap;

use super::{
    draft::{Draft, DraftEndpoint, DraftProperty, DraftType},
    folded,
    problem::nearest,
    reader::{At, Reader},
    rename::in_circle,
};
use crate::ids::TypeKind;

/// Notes everything in the draft that does not fit together.
pub(super) fn check(reader: &mut Reader<'_>, draft: &Draft) {
    distinct_types(reader, draft);
    for t in &draft.types {
        properties(reader, t);
        key(reader, t);
        indexes(reader, t);
        for (end, endpoint) in [("from", &t.from), ("to", &t.to)] {
            if let Some(endpoint) = endpoint {
                check_endpoint(reader, draft, t, end, endpoint);
            }
        }
    }
}

fn label(t: &DraftType) -> String {
    format!("{} `{}`", t.kind, t.name.value)
}

/// Notes names that are the same case-folded; the later one is at fault.
fn distinct<'n>(
    reader: &mut Reader<'_>,
    names: impl IntoIterator<Item = &'n At<String>>,
    message: impl Fn(&str, &str) -> String,
) {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort_by_key(|name| name.at);
    for name in names {
        match seen.get(&folded(&name.value)) {
            Some(first) => reader.problem(name.at, message(&name.value, first)),
            None => _ = seen.insert(folded(&name.value), &name.value),
        }
    }
}

/// Notes former names that two have, and names that are their own former names.
fn former_names<'n>(
    reader: &mut Reader<'_>,
    renamed: impl IntoIterator<Item = (&'n At<String>, &'n Option<At<String>>)>,
) {
    let renamed: Vec<_> = renamed
        .into_iter()
        .filter_map(|(name, former)| Some((name, former.as_ref()?)))
        .collect();
    let former_of: BTreeMap<&str, &str> = renamed
        .iter()
        .map(|(name, former)| (name.value.as_str(), former.value.as_str()))
        .collect();
    for (name, former) in &renamed {
        if name.value != former.value && in_circle(&former_of, &name.value) {
            let message = format!(
                "`{}` and `{}` are renamed from each other: go through a third name, in two applies",
                name.value, former.value
            );
            reader.problem(former.at, message);
        }
        if name.value == former.value {
            let message = format!(
                "`{}` is renamed from itself: remove `renamed_from`",
                name.value
            );
            reader.problem(former.at, message);
        }
    }
    distinct(
        reader,
        renamed.iter().map(|(_, former)| *former),
        |name, _| {
            format!(
                "two are renamed from `{name}`: only one can be, remove the other `renamed_from`"
            )
        },
    );
}

fn distinct_types(reader: &mut Reader<'_>, draft: &Draft) {
    // Nodes and edges lie side by side under one root, so their names are one set.
    distinct(
        reader,
        draft.types.iter().map(|t| &t.name),
        |name, first| {
            format!(
                "there already is a type `{first}`, and names are compared without regard to case: give `{name}` another name"
            )
        },
    );
    for kind in [TypeKind::Node, TypeKind::Edge] {
        let of_kind = draft.types.iter().filter(|t| t.kind == kind);
        former_names(reader, of_kind.map(|t| (&t.name, &t.renamed_from)));
    }
}

fn properties(reader: &mut Reader<'_>, t: &DraftType) {
    distinct(
        reader,
        t.properties.iter().map(|p| &p.name),
        |name, first| {
            format!(
                "{} already has a property `{first}`, and names are compared without regard to case: give `{name}` another name",
                label(t)
            )
        },
    );
    former_names(
        reader,
        t.properties.iter().map(|p| (&p.name, &p.renamed_from)),
    );
}

/// The property of that name; when there is none, that is noted, and `what` names the caller.
fn property<'t>(
    reader: &mut Reader<'_>,
    t: &'t DraftType,
    name: &At<String>,
    what: &str,
) -> Option<&'t DraftProperty> {
    let found = t.properties.iter().find(|p| p.name.value == name.value);
    if found.is_none() {
        let hint = match nearest(
            &name.value,
            t.properties.iter().map(|p| p.name.value.as_str()),
        ) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("add it under `[{}.{}.properties]`", t.kind, t.name.value),
        };
        let message = format!(
            "{what} `{}`, which is no property of {}: {hint}",
            name.value,
            label(t)
        );
        reader.problem(name.at, message);
    }
    found
}

fn key(reader: &mut Reader<'_>, t: &DraftType) {
    if t.kind == TypeKind::Node && !t.has_key {
        let message = format!("{} has no `key`: write `key = [\"PROPERTY\"]`", label(t));
        reader.problem(t.name.at, message);
    }
    distinct(reader, &t.key, |name, _| {
        format!("`{name}` stands twice in the key: remove one")
    });
    for column in &t.key {
        let Some(property) = property(reader, t, column, "the key names") else {
            continue;
        };
        if let Some(refused) = property.data_type.as_ref().filter(|t| !t.can_be_key()) {
            let message = format!(
                "`{}` is of type {refused} and cannot be a key: keys are whole numbers, strings, dates, times or decimals",
                column.value
            );
            reader.problem(column.at, message);
        }
        if let Some(At { at, value: false }) = property.required {
            let message = format!(
                "`{}` belongs to the key and so is required: remove `required = false`",
                column.value
            );
            reader.problem(at, message);
        }
    }
}

fn indexes(reader: &mut Reader<'_>, t: &DraftType) {
    for index in &t.indexes {
        reader.name(index.name.at, &index.name.value);
        let Some(property) = property(reader, t, &index.property, "the index names") else {
            continue;
        };
        let kind = index.kind.value;
        if let Some(unfit) = property.data_type.as_ref().filter(|t| !kind.suits(t)) {
            let message = format!(
                "an index of kind {kind} cannot be on `{}` of type {unfit}: {kind} is for {}",
                property.name.value,
                kind.domain()
            );
            reader.problem(index.kind.at, message);
        }
    }
    distinct(reader, t.indexes.iter().map(|i| &i.name), |name, _| {
        format!(
            "{} already has an index `{name}`: give this one another with `name = \"NAME\"`, or remove it",
            label(t)
        )
    });
}

fn check_endpoint(
    reader: &mut Reader<'_>,
    draft: &Draft,
    edge: &DraftType,
    end: &str,
    endpoint: &DraftEndpoint,
) {
    let nodes = || draft.types.iter().filter(|t| t.kind == TypeKind::Node);
    let what = format!("`{end}` names");
    let own = property(reader, edge, &endpoint.property, &what);
    let Some(node) = nodes().find(|t| t.name.value == endpoint.node.value) else {
        let name = &endpoint.node.value;
        let hint = match nearest(name, nodes().map(|t| t.name.value.as_str())) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("add `[node.{name}]`, or name a node type that there is"),
        };
        let edge = label(edge);
        let message = format!("{edge}: {what} `{name}`, which is no node type: {hint}");
        reader.problem(endpoint.node.at, message);
        return;
    };
    if node.key.len() > 1 {
        let message = format!(
            "{} has a key of {} properties, and an end point holds one value: an edge can only end at a node whose key is one property",
            label(node),
            node.key.len()
        );
        reader.problem(endpoint.node.at, message);
        return;
    }
    let Some(column) = node.key.first() else {
        return;
    };
    let there = node
        .properties
        .iter()
        .find(|p| p.name.value == column.value);
    let types = there
        .and_then(|p| p.data_type.as_ref())
        .zip(own.and_then(|p| p.data_type.as_ref()));
    if let Some((node_type, edge_type)) = types.filter(|(there, here)| there != here) {
        let message = format!(
            "`{}` is of type {edge_type}, but `{}`, the key of {}, is of type {node_type}: give both the same type",
            endpoint.property.value,
            column.value,
            label(node)
        );
        reader.problem(endpoint.property.at, message);
    }
}

#[cfg(test)]
mod tests {
    use crate::schema::Schema;

    /// A file around the lines of two nodes and an edge, each of them replaceable.
    fn file(lines: &[(&str, &str)]) -> String {
        let mut text = r#"
[node.A]
key = ["id"]
[node.A.properties]
id = "int64"
text = "string"
v = "vector(3)"
[node.B]
key = ["x", "y"]
[node.B.properties]
x = "string"
y = "string"
[edge.E]
from = { node = "A", property = "src" }
to = { node = "A", property = "dst" }
[edge.E.properties]
src = "int64"
dst = "int64"
"#
        .to_owned();
        for (line, instead) in lines {
            assert!(text.contains(line), "{line}");
            text = text.replacen(line, instead, 1);
        }
        text
    }

    /// The problems that are reported when `line` is replaced.
    fn problems_with(line: &str, instead: &str) -> String {
        Schema::parse(&file(&[(line, instead)]), "f")
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn the_file_of_these_tests_is_good() {
        assert_eq!(Schema::parse(&file(&[]), "f").unwrap().types.len(), 3);
    }

    #[test]
    fn names_are_distinct_case_folded() {
        assert_eq!(
            problems_with("text =", "ID ="),
            "f:6:1: node `A` already has a property `id`, and names are compared without regard to case: give `ID` another name"
        );
        let types = problems_with(
            "[edge.E]",
            "[node.a]\nkey=[\"i\"]\nproperties.i=\"int8\"\n[edge.E]",
        );
        assert!(
            types.starts_with("f:13:7: there already is a type `A`"),
            "{types}"
        );
        let across = problems_with("[node.B]\n", "[edge.a]\n");
        assert!(across.contains("there already is a type `A`"), "{across}");
    }

    #[test]
    fn a_key_names_properties_that_can_be_a_key() {
        assert_eq!(
            problems_with("key = [\"id\"]", "key = [\"idd\"]"),
            "f:3:8: the key names `idd`, which is no property of node `A`: did you mean `id`?"
        );
        let vector = problems_with("key = [\"id\"]", "key = [\"v\"]");
        assert!(
            vector.contains("f:3:8: `v` is of type vector(3) and cannot be a key"),
            "{vector}"
        );
        assert!(
            problems_with("key = [\"x\", \"y\"]", "key = [\"x\", \"x\"]")
                .contains("f:9:13: `x` stands twice")
        );
        assert!(
            problems_with("key = [\"id\"]", "").contains("f:2:7: node `A` has no `key`: write")
        );
        assert!(
            problems_with("key = [\"id\"]", "key = []")
                .contains("f:3:1: the key of node `A` is empty")
        );
    }

    #[test]
    fn a_key_cannot_be_nullable() {
        let nullable = problems_with(
            "x = \"string\"",
            "x = { type = \"string\", required = false }",
        );
        assert!(
            nullable.ends_with("remove `required = false`"),
            "{nullable}"
        );
    }

    #[test]
    fn an_edge_ends_at_nodes_with_one_key_of_the_same_type() {
        assert_eq!(
            problems_with("from = { node = \"A\"", "from = { node = \"C\""),
            "f:14:17: edge `E`: `from` names `C`, which is no node type: did you mean `A`?"
        );
        assert!(
            problems_with("property = \"src\"", "property = \"scr\"")
                .contains("did you mean `src`?")
        );
        assert_eq!(
            problems_with("src = \"int64\"", "src = \"int32\""),
            "f:14:33: `src` is of type int32, but `id`, the key of node `A`, is of type int64: give both the same type"
        );
        assert!(
            problems_with("to = { node = \"A\"", "to = { node = \"B\"")
                .contains("key of 2 properties")
        );
    }

    #[test]
    fn an_index_suits_its_property() {
        let with = |index: &str| {
            problems_with("[node.B]", &format!("[[node.A.index]]\n{index}\n[node.B]"))
        };
        let vector = with("property = \"text\"\nkind = \"vector\"");
        assert_eq!(
            vector,
            "f:10:8: an index of kind vector cannot be on `text` of type string: vector is for vectors"
        );
        assert!(
            with("property = \"id\"\nkind = \"inverted\"").contains("inverted is for `string`")
        );
        assert!(with("property = \"v\"\nkind = \"btree\"").contains("btree is for single values"));
        assert!(with("property = \"no\"\nkind = \"btree\"").contains("no property of node `A`"));
        let twice = with(
            "property = \"id\"\nkind = \"btree\"\n[[node.A.index]]\nproperty = \"id\"\nkind = \"btree\"",
        );
        assert!(
            twice.starts_with("f:12:12: node `A` already has an index `id_btree`"),
            "{twice}"
        );
    }

    #[test]
    fn a_former_name_belongs_to_one_and_is_another_name() {
        let own = problems_with(
            "x = \"string\"",
            "x = { type = \"string\", renamed_from = \"x\" }",
        );
        assert!(
            own.ends_with("`x` is renamed from itself: remove `renamed_from`"),
            "{own}"
        );
        let circle = problems_with(
            "x = \"string\"\ny = \"string\"",
            "x = { type = \"string\", renamed_from = \"y\" }\ny = { type = \"string\", renamed_from = \"x\" }",
        );
        assert!(
            circle.starts_with("f:11:39: `x` and `y` are renamed from each other"),
            "{circle}"
        );
        let text = file(&[
            ("key = [\"id\"]", "key = [\"id\"]\nrenamed_from = \"Old\""),
            (
                "key = [\"x\", \"y\"]",
                "key = [\"x\", \"y\"]\nrenamed_from = \"Old\"",
            ),
        ]);
        let two = Schema::parse(&text, "f").unwrap_err().to_string();
        assert!(
            two.starts_with("f:11:16: two are renamed from `Old`"),
            "{two}"
        );
    }

    #[test]
    fn a_type_that_is_unknown_does_not_make_more_unknown() {
        let one = problems_with("id = \"int64\"", "id = \"intt64\"");
        assert_eq!(
            one,
            "f:5:6: property `id` of node `A`: unknown type `intt64`: did you mean `int64`?"
        );
    }
}
