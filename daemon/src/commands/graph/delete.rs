//! `squire delete`.

use squire_engine::{DeleteRequest, DriftPolicy, Options};

use crate::commands::open::{changing_with, options};
use crate::{cli::GraphArg, exit::Done, output};

pub(in crate::commands) async fn run(
    graph: &GraphArg,
    table: &str,
    predicate: &str,
    expect: Option<u64>,
    drift: DriftPolicy,
) -> Done {
    let options = Options {
        drift,
        ..options(graph.actor.as_ref())
    };
    changing_with(graph, options, async |graph| {
        let key = graph.snapshot().await?.resolve(table)?;
        let mut request = DeleteRequest::new().add(key.clone(), predicate);
        if let Some(version) = expect {
            request = request.expect(key.clone(), version);
        }
        let receipt = {
            let _working = output::Working::on(format!("deleting from {key}")).following(graph);
            graph.delete(request).await?
        };
        if receipt.rows_deleted == 0 {
            output::say(&format!("no row of {key} matches; nothing was changed"));
        } else {
            let done = format!(
                "deleted {} rows of {key}",
                output::count(receipt.rows_deleted)
            );
            output::say_done(&done, receipt.operation, receipt.manifest);
        }
        Ok(())
    })
    .await
}
