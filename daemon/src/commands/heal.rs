//! `squire heal`.

use super::{Done, working};
use crate::{cli::GraphArg, output};

pub(super) async fn run(graph: &GraphArg, now: bool) -> Done {
    working(graph, async |graph| {
        let healed = {
            let _working = output::Working::on("healing");
            if now {
                graph.heal_now().await?
            } else {
                graph.heal().await?
            }
        };
        if healed.is_nothing() {
            let left = graph.snapshot().await?.manifest().queue.len();
            output::say(&match left {
                0 => "nothing to heal".to_owned(),
                n => format!(
                    "nothing is due; {n} operations are under way, or their holders not known to be dead yet"
                ),
            });
        } else {
            output::say(&format!(
                "{} rolled forward, {} aborted, {} discarded, {} orphaned sidecars removed",
                healed.rolled_forward, healed.aborted, healed.discarded, healed.orphans
            ));
        }
        if healed.quarantined > 0 {
            output::say(&format!(
                "{} quarantined: see `squire status`",
                healed.quarantined
            ));
        }
        Ok(())
    })
    .await
}
