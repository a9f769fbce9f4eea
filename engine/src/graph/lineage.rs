//! What the manifests say about the past of an operation or a table.

use std::collections::BTreeMap;

use super::{
    context::Core,
    manifest::{Manifest, Ticket, TicketState},
};
use crate::{
    error::Result,
    ids::{OperationId, TableKey},
};

impl Core {
    /// Whether the head of a table that was seen past its pin in `snapshot` is no drift: an operation that was
    /// decided since explains it, by its ticket or by a new pin. Only for callers without a ticket of their own.
    pub(crate) async fn explains_head(
        &self,
        snapshot: &Manifest,
        table: &TableKey,
    ) -> Result<bool> {
        let newest = self.manifests.newest().await?;
        let writes =
            |t: &Ticket| t.state != TicketState::Waiting && t.touched.writes.contains(table);
        Ok(newest.pin(table) != snapshot.pin(table) || newest.queue.iter().any(writes))
    }

    /// The manifest that published an operation, and the pins that it gave. The operation is known to be published:
    /// where the details cannot be had, the newest number that was seen and no pins stand for them.
    pub(crate) async fn publication_of(
        &self,
        operation: OperationId,
    ) -> (u64, BTreeMap<TableKey, u64>) {
        let seen = self.manifests.seen();
        let outcome = seen.as_ref().and_then(|m| m.outcomes.get(&operation));
        let number = outcome.map(|outcome| outcome.number);
        let published = match number {
            Some(number) => self.manifests.read(number).await.ok().flatten(),
            None => None,
        };
        let pins = published.map(|m| {
            let own = m.changes().find(|c| c.operation == Some(operation));
            let tables = own.iter().flat_map(|change| &change.tables);
            // An apply names tables that it took away, too.
            let there = tables.filter(|t| m.tables.contains_key(*t));
            there.map(|t| (t.clone(), m.pin(t))).collect()
        });
        let newest = seen.map_or(0, |m| m.number);
        (number.unwrap_or(newest), pins.unwrap_or_default())
    }
}
