//! `squire schema`.

use std::{collections::BTreeMap, path::Path};

use squire_engine::{
    Error, SchemaRequest, Snapshot, TableKey,
    schema::{self, Cost, Schema, Step},
};

use crate::commands::open::{changing, open};
use crate::{
    cli::GraphArg,
    exit::{Done, Failure},
    output,
};

const NOTHING_TO_DO: &str = "the graph has this schema already";

pub(in crate::commands) async fn plan(graph: &GraphArg, file: &Path, hard: bool) -> Done {
    let wanted = read_schema(file)?;
    let snapshot = open(graph).await?.snapshot().await?;
    match Plan::between(&snapshot, &wanted, hard).await? {
        Some(plan) => plan.show(),
        None => output::say(NOTHING_TO_DO),
    }
    Ok(())
}

pub(in crate::commands) async fn apply(
    graph: &GraphArg,
    file: &Path,
    hard: bool,
    yes: bool,
) -> Done {
    let wanted = read_schema(file)?;
    changing(graph, async |graph| {
        let snapshot = graph.snapshot().await?;
        let Some(plan) = Plan::between(&snapshot, &wanted, hard).await? else {
            output::say(NOTHING_TO_DO);
            return Ok(());
        };
        let asks = hard && plan.destroys() && !yes;
        if asks && !output::can_ask() {
            return Err(Failure::Usage(
                "a hard drop takes data away at once and for good, and there is no terminal to ask at: look at `squire schema plan --hard`, then add --yes; nothing was changed"
                    .to_owned(),
            ));
        }
        if asks {
            plan.show();
            if !output::ask("Take this away, for good?") {
                output::say("nothing was changed");
                return Ok(());
            }
        }
        let shown = snapshot.manifest().schema.clone();
        let request = SchemaRequest::new(wanted.clone()).planned_on(shown);
        let receipt = {
            let _working = output::Working::on("applying the schema");
            let request = if hard { request.hard() } else { request };
            graph.apply_schema(request).await?
        };
        if !asks {
            plan.show();
        }
        output::say_done("\napplied", receipt.operation, receipt.manifest);
        if hard {
            for purge in graph.snapshot().await?.manifest().purges.values() {
                output::say(&format!(
                    "what was dropped from {} goes when the operation on it has ended: the daemon or `squire heal` sees to it",
                    purge.table
                ));
            }
        }
        Ok(())
    })
    .await
}

pub(in crate::commands) async fn show(graph: &GraphArg) -> Done {
    let snapshot = open(graph).await?.snapshot().await?;
    output::say(snapshot.manifest().schema.to_toml().trim_end());
    Ok(())
}

/// The steps from a graph's schema to another, with what they cost and take away.
struct Plan {
    steps: Vec<Step>,
    hard: bool,
    touched: Vec<TableKey>,
    /// Rows of the tables that there are, by the keys they get.
    rows: BTreeMap<TableKey, u64>,
}

impl Plan {
    /// `None` when there is nothing to do.
    async fn between(
        snapshot: &Snapshot,
        wanted: &Schema,
        hard: bool,
    ) -> Result<Option<Self>, Failure> {
        let current = &snapshot.manifest().schema;
        let steps = schema::plan(current, wanted).map_err(Error::from)?;
        if steps.is_empty() {
            return Ok(None);
        }
        let touched = schema::touched(current, &steps);
        let renamed = schema::renamed(&steps);
        let mut rows = BTreeMap::new();
        for key in touched.iter().filter(|key| current.types.contains_key(key)) {
            let now = renamed.get(key).unwrap_or(key).clone();
            rows.insert(now, snapshot.stats(key).await?.rows());
        }
        Ok(Some(Self {
            steps,
            hard,
            touched: touched.into_iter().collect(),
            rows,
        }))
    }

    fn destroys(&self) -> bool {
        self.steps.iter().any(Step::destroys)
    }

    fn rows_of(&self, step: &Step) -> String {
        let rows = step.table().and_then(|table| self.rows.get(table));
        output::count(rows.copied().unwrap_or(0))
    }

    fn cost(&self, step: &Step) -> String {
        match step.cost_among(&self.steps) {
            Cost::Rewrite => format!("rewrites {} rows", self.rows_of(step)),
            Cost::Metadata => "metadata".to_owned(),
        }
    }

    fn taken_away(&self, step: &Step) -> String {
        let when = if self.hard {
            "at once"
        } else {
            "after cleanup"
        };
        match step {
            Step::DropType { .. } => format!("{} rows, {when}", self.rows_of(step)),
            Step::DropProperty { property, .. } => {
                format!("`{property}` of {} rows, {when}", self.rows_of(step))
            }
            _ => "nothing".to_owned(),
        }
    }

    fn show(&self) {
        let row = |step: &Step| vec![step.to_string(), self.cost(step), self.taken_away(step)];
        let rows = self.steps.iter().map(row).collect();
        output::say(&output::table(&["step", "cost", "makes unreachable"], rows));
        let names: Vec<_> = self.touched.iter().map(ToString::to_string).collect();
        output::say(&format!("\ntouched tables: {}", names.join(", ")));
        let thins = |s: &Step| matches!(s, Step::DropProperty { .. });
        if self.hard && self.steps.iter().any(thins) {
            output::say(
                "a dropped property can be read no more, but its bytes stay in the files until compaction rewrites them",
            );
        }
    }
}

pub(super) fn read_schema(file: &Path) -> Result<Schema, Failure> {
    let text = std::fs::read_to_string(file).map_err(|e| {
        Failure::Usage(format!("the schema {} cannot be read: {e}", file.display()))
    })?;
    let schema = Schema::parse(&text, &file.display().to_string());
    schema.map_err(|e| Failure::Engine(e.into()))
}
