//! One life of a writer: it reads its ledger and goes on where an earlier life was cut off.

use rand::{SeedableRng, rngs::StdRng};
use squire_engine::{Graph, Options};
use squire_tests::{
    bank::{Intent, Ledger, Tag, choice},
    crew::stand_at,
    store::{Verb, Watch},
};

use crate::{LEASE, Result, order::Write, perform::perform};

/// Writes until it is killed, or its parent is gone.
///
/// # Errors
/// When the graph or the ledger cannot be opened, or the ledger cannot be written.
pub(crate) async fn write(order: Write) -> Result {
    let watch = Watch::new();
    let freeze = order
        .freeze
        .map(|at| watch.stall_past(at.passing, at.moment, Verb::Put, ""));
    tokio::select! {
        () = stand_at(freeze.into_iter().collect()) => Ok(()),
        failed = go_on(order, &watch) => failed,
    }
}

async fn go_on(order: Write, watch: &Watch) -> Result {
    let mut ledger = Ledger::open(&order.ledger)?;
    let options = Options {
        actor: format!("writer {}", order.writer),
        lease: LEASE,
        wrapper: watch.wrapper(),
        ..Options::default()
    };
    let graph = Graph::open(&order.root, options).await?;
    let mut rng = StdRng::seed_from_u64(order.seed);
    loop {
        let tag = Tag {
            writer: order.writer,
            seq: ledger.next_seq(),
        };
        let snapshot = graph.snapshot().await?;
        let intent = choice::next(&mut rng, &ledger, order.writer, &snapshot.manifest().schema);
        ledger.intend(&intent)?;
        let target = match &intent {
            Intent::Delete { target } => ledger.entry(*target),
            _ => None,
        };
        let of = target.map_or(&intent, |entry| &entry.intent);
        let told = perform(&graph, &snapshot, tag, &intent, of).await;
        ledger.told(&told)?;
        watch.take();
    }
}
