//! Drift: versions past the pin that no ticket explains, told apart by their Lance transactions.

use lance::dataset::transaction::Operation;

use super::Table;
use crate::error::{Error, Result};

/// What programs that know nothing of Squire did to a table past its pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Drift {
    /// The head is the pin.
    None,
    /// Reorganised only: adopted by whoever meets it with the right to.
    Benign,
    /// Changed in meaning, first by this Lance operation.
    Semantic(String),
}

/// Classifies the versions in `(pin, head]`.
///
/// # Errors
/// [`Error::Damaged`] when a version is missing, so that nobody can tell.
pub(crate) async fn classify(table: &Table, pin: u64, head: u64) -> Result<Drift> {
    if head <= pin {
        return Ok(Drift::None);
    }
    for version in pin + 1..=head {
        let dataset = table.at(version).await?;
        let transaction = dataset
            .read_transaction()
            .await
            .map_err(|e| table.failed("reading the history of", e))?;
        match transaction.map(|t| t.operation) {
            Some(
                Operation::Rewrite { .. }
                | Operation::ReserveFragments { .. }
                | Operation::CreateIndex { .. },
            ) => {}
            Some(other) => return Ok(Drift::Semantic(other.name().to_owned())),
            None => {
                return Err(Error::Damaged {
                    object: format!("version {version} of {}", table.key),
                    reason: "it has no transaction, so what it changed cannot be told".to_owned(),
                    uri: table.storage.uri.clone(),
                });
            }
        }
    }
    Ok(Drift::Benign)
}

/// The version to stage at: the head, unless its drift forbids it.
///
/// # Errors
/// [`Error::Drift`] for semantic drift.
pub(crate) async fn stage_at(table: &Table, pin: u64, head: u64) -> Result<u64> {
    match classify(table, pin, head).await? {
        Drift::None => Ok(pin),
        Drift::Benign => {
            tracing::info!(table = %table.key, pin, head, uri = %table.storage.uri, "benign drift is published along");
            Ok(head)
        }
        Drift::Semantic(what) => Err(Error::Drift {
            table: table.key.clone(),
            pin,
            head,
            what,
            uri: table.storage.uri.clone(),
        }),
    }
}
