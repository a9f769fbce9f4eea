//! `squire schema`.

use std::path::Path;

use squire_engine::{Error, schema};

use super::{Done, open, read_schema};
use crate::{cli::GraphArg, output};

pub(super) async fn plan(graph: &GraphArg, file: &Path) -> Done {
    let wanted = read_schema(file)?;
    let graph = open(graph).await?;
    let snapshot = graph.snapshot().await?;
    let current = &snapshot.manifest().schema;
    let steps = schema::plan(current, &wanted).map_err(Error::from)?;
    if steps.is_empty() {
        output::say("the graph has this schema already");
        return Ok(());
    }
    let mut rows = Vec::new();
    for step in &steps {
        let cost = match (step.cost(), step.table()) {
            (schema::Cost::Rewrite, Some(table)) => {
                let stats = snapshot.stats(table).await?;
                format!("rewrites {} rows", output::count(stats.rows()))
            }
            _ => "metadata".to_owned(),
        };
        let lost = if step.destroys() {
            "yes: what it drops"
        } else {
            "no"
        };
        rows.push(vec![step.to_string(), cost, lost.to_owned()]);
    }
    output::say(&output::table(&["step", "cost", "makes unreachable"], rows));
    let touched = schema::touched(current, &steps);
    let names: Vec<_> = touched.iter().map(ToString::to_string).collect();
    output::say(&format!("\ntouched tables: {}", names.join(", ")));
    Ok(())
}

pub(super) async fn show(graph: &GraphArg) -> Done {
    let snapshot = open(graph).await?.snapshot().await?;
    output::say(snapshot.manifest().schema.to_toml().trim_end());
    Ok(())
}
