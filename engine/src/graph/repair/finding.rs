//! The findings, and how each is acted on.

use super::{DriftLook, Drifted, Quarantined, Repaired, Word, drift, quarantine};
use crate::{
    error::{Error, Result},
    graph::{
        context::Core,
        healing::orphans::{self, Orphan},
    },
    ids::{OperationId, TableKey},
};

/// Something that waits for an operator.
#[derive(Debug)]
#[non_exhaustive]
pub enum Finding {
    /// A decided operation that could not be applied.
    Quarantined(Quarantined),
    /// A table that another program changed.
    Drifted(Drifted),
    /// A sidecar that no manifest names.
    Orphan(Orphan),
    /// A table or an operation that could not be looked at.
    Unseen(Error),
}

impl Finding {
    /// Whether an operator who names an operation, by its id or the beginning of it, or a table, means this.
    pub fn is_meant_by(&self, name: &str) -> bool {
        let is_table = |table: &TableKey| table.to_string() == name || table.name() == name;
        match self {
            Self::Quarantined(found) => {
                found.ticket.operation.is_meant_by(name)
                    || found.ticket.touched.writes.iter().any(is_table)
            }
            Self::Drifted(found) => is_table(&found.table),
            Self::Orphan(found) => found.operation.is_meant_by(name),
            Self::Unseen(_) => false,
        }
    }

    /// The operation that it is about, where it is about one.
    pub fn operation(&self) -> Option<OperationId> {
        match self {
            Self::Quarantined(found) => Some(found.ticket.operation),
            Self::Orphan(found) => Some(found.operation),
            Self::Drifted(_) | Self::Unseen(_) => None,
        }
    }

    /// What a repair by this word would do, in words.
    pub fn remedy(&self, word: &Word) -> String {
        match self {
            Self::Quarantined(found) => found.remedy_by(word).to_string(),
            Self::Drifted(found) => match &found.misfit {
                None => format!("adopt version {} as the pin", found.head),
                Some(misfit) => drift::cannot_be_adopted(misfit),
            },
            Self::Orphan(found) if found.is_due() => {
                "remove it; its operation never took place".to_owned()
            }
            Self::Orphan(_) => "leave it: its operation may be about to enter the queue".to_owned(),
            Self::Unseen(_) => "nothing: fix what the error says, and look again".to_owned(),
        }
    }
}

/// Everything that waits for an operator. Changes nothing.
///
/// # Errors
/// When the manifest cannot be read; what cannot be looked at otherwise is a finding.
pub(crate) async fn findings(core: &Core) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let manifest = core.manifests.newest().await?;
    for ticket in &manifest.queue {
        match quarantine::look(core, &manifest, ticket).await {
            Ok(None) => {}
            Ok(Some(found)) => findings.push(Finding::Quarantined(found)),
            Err(e) => findings.push(Finding::Unseen(e)),
        }
    }
    let DriftLook { drifted, failed } = drift::look(core).await?;
    findings.extend(drifted.into_iter().map(Finding::Drifted));
    findings.extend(failed.into_iter().map(Finding::Unseen));
    match orphans::list(core).await {
        Ok(orphans) => findings.extend(orphans.into_iter().map(Finding::Orphan)),
        Err(e) => findings.push(Finding::Unseen(e)),
    }
    Ok(findings)
}

/// Acts on a finding. See [`crate::Graph::repair`].
pub(crate) async fn repair(core: &Core, finding: &Finding, word: &Word) -> Result<Repaired> {
    match finding {
        Finding::Quarantined(found) => {
            quarantine::resolve(core, found.ticket.operation, word).await
        }
        Finding::Drifted(found) => drift::repair(core, found).await,
        Finding::Orphan(found) if found.is_due() => {
            Ok(match orphans::remove(core, found.operation).await? {
                true => Repaired::Removed,
                false => Repaired::Left("its operation has entered the queue".to_owned()),
            })
        }
        Finding::Orphan(_) | Finding::Unseen(_) => Ok(Repaired::Left(finding.remedy(word))),
    }
}
