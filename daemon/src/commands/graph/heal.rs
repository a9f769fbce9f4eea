//! `squire heal`.

use chrono::Utc;
use squire_engine::{Healed, manifest::Ending};

use crate::commands::open::working;
use crate::{cli::GraphArg, exit::Done, output};

pub(in crate::commands) async fn run(graph: &GraphArg, now: bool) -> Done {
    working(graph, async |graph| {
        let healed = {
            let _working = output::Working::on("healing");
            if now {
                graph.heal_now().await?
            } else {
                graph.heal().await?
            }
        };
        say(&healed);
        // What could be healed is healed; the first failure is the command's.
        healed
            .failed
            .into_iter()
            .next()
            .map_or(Ok(()), |e| Err(e.into()))
    })
    .await
}

/// Says what was done, operation by operation, and what is left and why.
fn say(healed: &Healed) {
    for (ticket, ending) in &healed.operations {
        let became = match ending {
            Ending::Published => "rolled forward",
            Ending::Aborted => "aborted",
            Ending::Discarded => "discarded",
        };
        output::say(&format!(
            "{became}: {} {} by {}",
            ticket.kind, ticket.operation, ticket.actor
        ));
    }
    for (n, what) in [
        (healed.orphans, "sidecars that no ticket named"),
        (healed.purged, "things that a hard drop took away"),
        (healed.leftovers, "old heartbeats and half-written files"),
    ] {
        if n > 0 {
            output::say(&format!("removed: {n} {what}"));
        }
    }
    for (ticket, why) in &healed.left {
        output::say(&format!(
            "left: {} {} by {}: {}",
            ticket.kind,
            ticket.operation,
            ticket.actor,
            why.describe(Utc::now())
        ));
    }
    if healed.is_nothing() && healed.left.is_empty() {
        output::say("nothing to heal");
    }
}
