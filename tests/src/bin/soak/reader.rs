//! A reader beside the writers: every snapshot that it takes must be one that the ledgers allow, and as long as its
//! manifest is kept it can be read again, whatever the daemons clean up.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use squire_engine::{Graph, Snapshot, manifest::TicketState};
use squire_tests::bank::{Holdings, Ledger, Shelf, check};
use tokio::{
    sync::{Mutex, watch},
    task::JoinHandle,
    time::sleep,
};

use crate::{Result, Site, WRITERS};

/// Between two snapshots.
const PAUSE: Duration = Duration::from_millis(50);
/// So many snapshots later one is read again.
const LATER: usize = 30;

/// A reader at work.
pub(crate) struct Reader {
    work: Mutex<JoinHandle<Result<u64>>>,
    stop: watch::Sender<bool>,
}

impl Reader {
    /// Starts to read.
    pub(crate) fn start(site: Arc<Site>, graph: Graph) -> Self {
        let (stop, stopped) = watch::channel(false);
        let work = Mutex::new(tokio::spawn(read(site, graph, stopped)));
        Self { work, stop }
    }

    /// Waits for something that must never be.
    pub(crate) async fn violated(&self) -> Box<dyn std::error::Error + Send + Sync> {
        match (&mut *self.work.lock().await).await {
            Ok(Err(violated)) => violated,
            Ok(Ok(_)) => "the reader ended".into(),
            Err(e) => e.into(),
        }
    }

    /// Stops it. So many snapshots were as they should be.
    ///
    /// # Errors
    /// The first one that was not.
    pub(crate) async fn stop(&self) -> Result<u64> {
        self.stop.send_replace(true);
        (&mut *self.work.lock().await).await?
    }
}

/// All ledgers as they are now.
pub(crate) fn ledgers(site: &Site) -> Result<Vec<Ledger>> {
    let mut ledgers: Vec<_> = (0..WRITERS).map(|_| Ledger::default()).collect();
    catch_up(site, &mut ledgers)?;
    Ok(ledgers)
}

fn catch_up(site: &Site, ledgers: &mut [Ledger]) -> Result {
    for (writer, ledger) in ledgers.iter_mut().enumerate() {
        ledger.catch_up(&site.ledger(writer))?;
    }
    Ok(())
}

async fn read(site: Arc<Site>, graph: Graph, stop: watch::Receiver<bool>) -> Result<u64> {
    let mut ledgers = ledgers(&site)?;
    let (mut shelf, mut snapshots) = (Shelf::default(), 0);
    let mut promised = VecDeque::new();
    while !*stop.borrow() {
        let known: Vec<_> = ledgers.iter().map(|ledger| ledger.lines).collect();
        let snapshot = graph.snapshot().await?;
        let manifest = snapshot.manifest();
        for ticket in &manifest.queue {
            if let TicketState::Quarantined { reason, .. } = &ticket.state {
                return Err(format!("manifest {}: quarantine: {reason}", manifest.number).into());
            }
        }
        let held = Holdings::of(&snapshot, &mut shelf).await?;
        catch_up(&site, &mut ledgers)?;
        if let Some(violation) = check(&ledgers, &known, &held).first() {
            return Err(format!("manifest {}: {violation}", held.manifest).into());
        }
        promised.push_back((snapshot, held));
        if promised.len() > LATER
            && let Some((snapshot, held)) = promised.pop_front()
        {
            read_again(&graph, &snapshot, &held).await?;
        }
        snapshots += 1;
        sleep(PAUSE).await;
    }
    Ok(snapshots)
}

/// What was read once, read anew from the store: it is the same, unless its manifest was collected meanwhile.
async fn read_again(graph: &Graph, snapshot: &Snapshot, held: &Holdings) -> Result {
    let again = Holdings::of(snapshot, &mut Shelf::default()).await;
    let is_kept = graph.snapshot().await?.manifest().collected_below <= held.manifest;
    match again {
        Ok(again) if again == *held => Ok(()),
        Err(_) if !is_kept => Ok(()),
        Ok(_) => Err(format!("manifest {} shows other rows by now", held.manifest).into()),
        Err(e) => Err(format!(
            "manifest {} is kept, and cannot be read: {e}",
            held.manifest
        )
        .into()),
    }
}
