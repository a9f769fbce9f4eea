//! Taking the steps.

use super::{Endpoints, Property, Schema, Step, TypeDef};
use crate::ids::{TableKey, TypeKind};

/// A step that does not fit the schema it is taken on: the schema is not the one that was planned for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the schema has changed, \"{step}\" is no longer possible: plan again")]
pub struct Misfit {
    /// The step as text for an operator.
    pub step: String,
}

/// Takes the steps that [`plan`](super::plan()) found, on the schema they were planned for or on a later one in
/// which no [`touched`](super::touched) type has changed. Other types stay as they are: what a publish writes into
/// the manifest does not undo what was published in between.
///
/// # Errors
/// [`Misfit`] when a step names what is not there, or adds what is.
pub fn apply(mut schema: Schema, steps: &[Step]) -> Result<Schema, Misfit> {
    for step in steps {
        take(&mut schema, step).ok_or_else(|| Misfit {
            step: step.to_string(),
        })?;
    }
    Ok(schema)
}

/// Takes one step; `None` when it does not fit.
fn take(schema: &mut Schema, step: &Step) -> Option<()> {
    match step {
        Step::SetName { to } => schema.name.clone_from(to),
        Step::DropType { table } => _ = schema.types.remove(table)?,
        Step::RenameType { from, to } => rename_type(schema, from, to)?,
        Step::AddType { table, def } => {
            fits(!schema.types.contains_key(table))?;
            schema.types.insert(table.clone(), def.clone());
        }
        Step::DropIndex { table, index } => {
            let indexes = &mut schema.types.get_mut(table)?.indexes;
            indexes.remove(indexes.iter().position(|i| i.name == *index)?);
        }
        Step::AddIndex { table, index } => {
            let indexes = &mut schema.types.get_mut(table)?.indexes;
            fits(indexes.iter().all(|i| i.name != index.name))?;
            indexes.push(index.clone());
        }
        Step::DropProperty { table, property } => {
            let properties = &mut schema.types.get_mut(table)?.properties;
            properties.remove(properties.iter().position(|p| p.name == *property)?);
        }
        Step::RenameProperty { table, from, to } => {
            rename_property(schema.types.get_mut(table)?, from, to)?;
        }
        Step::AddProperty { table, property } => {
            let def = schema.types.get_mut(table)?;
            fits(def.property(&property.name).is_none())?;
            def.properties.push(property.clone());
        }
        Step::WidenCast {
            table,
            property,
            from,
            to,
        } => {
            let property = property_mut(schema, table, property)?;
            fits(property.data_type == *from)?;
            property.data_type = to.clone();
        }
        Step::MakeNullable { table, property } => {
            property_mut(schema, table, property)?.required = false;
        }
        Step::MakeRequired { table, property } => {
            property_mut(schema, table, property)?.required = true;
        }
        Step::SetEndpoints { table, endpoints } => {
            schema.types.get_mut(table)?.endpoints.clone_from(endpoints);
        }
        Step::SetKey { table, key } => schema.types.get_mut(table)?.key.clone_from(key),
    }
    Some(())
}

fn fits(holds: bool) -> Option<()> {
    holds.then_some(())
}

fn property_mut<'s>(
    schema: &'s mut Schema,
    table: &TableKey,
    name: &str,
) -> Option<&'s mut Property> {
    schema
        .types
        .get_mut(table)?
        .properties
        .iter_mut()
        .find(|p| p.name == name)
}

fn rename_type(schema: &mut Schema, from: &TableKey, to: &TableKey) -> Option<()> {
    fits(!schema.types.contains_key(to))?;
    let def = schema.types.remove(from)?;
    schema.types.insert(to.clone(), def);
    if from.kind() == Some(TypeKind::Node) {
        let ends = schema
            .types
            .values_mut()
            .filter_map(|def| def.endpoints.as_mut());
        for Endpoints {
            from: begin,
            to: end,
        } in ends
        {
            rename(&mut begin.node, from.name(), to.name());
            rename(&mut end.node, from.name(), to.name());
        }
    }
    Some(())
}

/// Renames a property wherever the type speaks of it.
fn rename_property(def: &mut TypeDef, from: &str, to: &str) -> Option<()> {
    fits(def.property(to).is_none())?;
    def.properties.iter_mut().find(|p| p.name == from)?.name = to.to_owned();
    let ends = def
        .endpoints
        .iter_mut()
        .flat_map(|e| [&mut e.from.property, &mut e.to.property]);
    let indexed = def.indexes.iter_mut().map(|i| &mut i.property);
    for name in ends.chain(indexed).chain(&mut def.key) {
        rename(name, from, to);
    }
    Some(())
}

fn rename(name: &mut String, from: &str, to: &str) {
    if name == from {
        to.clone_into(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::plan;

    fn schema(nodes: &[&str]) -> Schema {
        let node = |name| {
            format!(
                "[node.{name}]\nkey = [\"id\"]\nproperties = {{ id = \"int8\", n = \"int8\" }}\n"
            )
        };
        let text: String = nodes.iter().map(node).collect();
        Schema::parse(&text, "f.toml").unwrap()
    }

    #[test]
    fn what_was_published_in_between_stays() {
        let steps = plan(&schema(&["A"]), &schema(&["A", "B"])).unwrap();
        assert_eq!(
            apply(schema(&["A", "C"]), &steps),
            Ok(schema(&["A", "B", "C"]))
        );
    }

    #[test]
    fn a_step_that_no_longer_fits_is_refused() {
        let add = plan(&schema(&["A"]), &schema(&["A", "B"])).unwrap();
        let misfit = apply(schema(&["A", "B"]), &add).unwrap_err();
        assert_eq!(
            misfit.to_string(),
            "the schema has changed, \"add node:B with 2 properties\" is no longer possible: plan again"
        );
        let gone = plan(&schema(&["A", "B"]), &schema(&["A"])).unwrap();
        assert!(apply(schema(&["A"]), &gone).is_err());
    }

    #[test]
    fn a_renamed_property_is_renamed_wherever_the_type_speaks_of_it() {
        let text = "[node.A]\nkey = [\"id\"]\nproperties = { id = \"int8\" }\n[[node.A.index]]\nproperty = \"id\"\nkind = \"btree\"\nname = \"i\"\n";
        let table: TableKey = "node:A".parse().unwrap();
        let step = Step::RenameProperty {
            table: table.clone(),
            from: "id".into(),
            to: "code".into(),
        };
        let there = apply(Schema::parse(text, "f.toml").unwrap(), &[step]).unwrap();
        let def = &there.types[&table];
        assert_eq!(
            (def.key[0].as_str(), def.indexes[0].property.as_str()),
            ("code", "code")
        );
    }
}
