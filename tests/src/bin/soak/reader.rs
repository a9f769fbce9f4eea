//! A reader beside the writers: every snapshot that it takes must be one that the ledgers allow.

use std::{sync::Arc, time::Duration};

use squire_engine::{Graph, manifest::TicketState};
use squire_tests::bank::{Holdings, Ledger, Shelf, check};
use tokio::{
    sync::{Mutex, watch},
    task::JoinHandle,
    time::sleep,
};

use crate::{Result, Site, WRITERS};

/// Between two snapshots.
const PAUSE: Duration = Duration::from_millis(50);

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
        snapshots += 1;
        sleep(PAUSE).await;
    }
    Ok(snapshots)
}
