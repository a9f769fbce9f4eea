//! What the steps of a schema apply change in the columns of one table.

use std::sync::Arc;

use lance::Dataset;

use super::{
    evolve::{self, Evolution},
    rows,
};
use crate::{
    error::Result,
    ids::{OperationId, TableKey},
    schema::{self, Step},
    table::{Table, staged::Staged},
};

/// The steps about a table that exists. It has the key from before them.
fn steps_of<'s>(steps: &'s [Step], key: &TableKey) -> impl Iterator<Item = &'s Step> + use<'s> {
    let renamed = schema::renamed(steps);
    let now = renamed.get(key).unwrap_or(key).clone();
    steps.iter().filter(move |step| {
        let adds = matches!(step, Step::AddType { .. });
        step.table() == Some(&now) && !adds
    })
}

/// Whether the steps change the columns of a table, or depend on its rows.
pub(super) fn looks_at(steps: &[Step], key: &TableKey) -> bool {
    steps_of(steps, key).any(|s| s.alters_columns() || matches!(s, Step::SetKey { .. }))
}

/// Stages what the steps change in the columns of a table, on one version of it; nothing when they change none. Its
/// key is the one from before the steps.
///
/// # Errors
/// [`Error::RowsForbid`]; [`Error::Misfit`] when the version has other columns than the steps were planned for.
pub(crate) async fn alter(
    table: &Table,
    dataset: &Arc<Dataset>,
    steps: &[Step],
    operation: OperationId,
) -> Result<Option<Staged>> {
    let evolution = Evolution::of(dataset.schema(), steps_of(steps, &table.key))?;
    if let Some(obstacle) = rows::obstacle(table, dataset, &evolution).await? {
        return Err(rows::forbidden(table, obstacle));
    }
    evolve::stage(table, dataset, &evolution, operation).await
}
