//! What an operator or a daemon does about strangers and quarantine, for the crash matrix.

use squire_engine::{Graph, LoadMode, Word};
use squire_tests::{patience::until_in_task, place::Place, store::Moment, stranger::Stranger};

use crate::kinds::{Answer, Kind, PLANE_COMMIT, abandon, answer, both, without_sidecars};

/// Every kind.
pub(crate) fn all() -> Vec<Kind> {
    let adopt = Kind::on("adopt drift", |graph| async move {
        let Ok(look) = graph.drift().await else {
            return Answer::Not;
        };
        let mut told = Answer::Not;
        for drifted in &look.drifted {
            told = answer(graph.adopt(drifted).await);
        }
        told
    });
    let resolve = Kind::on("repair a quarantined load", |graph| async move {
        match repair(&graph).await {
            Ok(()) => Answer::Done,
            Err(_) => Answer::Unclear,
        }
    });
    vec![
        adopt.after(|place| async move {
            let mut stranger = Stranger::at(&place.lance_uri(), "Flight.lance").await;
            stranger.compact().await;
        }),
        resolve.after(quarantined).by_an_operator(),
    ]
}

/// Does what can be done about everything that waits for an operator.
pub(crate) async fn repair(graph: &Graph) -> squire_engine::Result<()> {
    for finding in graph.findings().await? {
        graph.repair(&finding, &Word::default()).await?;
    }
    Ok(())
}

/// A load that stands in no table, has no sidecar any more, and is quarantined.
async fn quarantined(place: Place) {
    let load = |graph: Graph| async move {
        let request = both(LoadMode::Append, 10);
        answer(graph.load(request).await)
    };
    // Nodes come before edges.
    abandon(&place, Moment::Before, PLANE_COMMIT, load).await;
    without_sidecars(&place).await;
    let healer = place.open().await;
    until_in_task("it is quarantined", || async {
        healer.heal_now().await.unwrap().quarantined == 1
    })
    .await;
}
