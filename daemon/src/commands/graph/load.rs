//! `squire load`.

use std::path::PathBuf;

use squire_engine::{DriftPolicy, LoadMode, LoadRequest, Options, Rows, input::Input};

use crate::commands::open::{changing_with, options};
use crate::{cli::GraphArg, exit::Done, output};

pub(in crate::commands) async fn run(
    graph: &GraphArg,
    inputs: Vec<(String, PathBuf)>,
    mode: LoadMode,
    null: Vec<String>,
    expect: Vec<(String, u64)>,
    drift: DriftPolicy,
) -> Done {
    let options = Options {
        drift,
        ..options(graph.actor.as_ref())
    };
    changing_with(graph, options, async |graph| {
        let snapshot = graph.snapshot().await?;
        let mut request = LoadRequest::new();
        let mut rows = 0;
        for (table, path) in inputs {
            let mut input = Input::new(path);
            input.csv.null_markers.extend(null.iter().cloned());
            rows += input.size_hint().and_then(|hint| hint.rows).unwrap_or(0);
            request = request.add(snapshot.resolve(&table)?, mode, Rows::File(input));
        }
        for (table, version) in expect {
            request = request.expect(snapshot.resolve(&table)?, version);
        }
        let what = if rows > 0 {
            format!("loading {} rows", output::count(rows))
        } else {
            "loading".to_owned()
        };
        let receipt = {
            let _working = output::Working::on(what).following(graph);
            graph.load(request).await?
        };
        let tables = receipt.pins.len();
        let s = if tables == 1 { "" } else { "s" };
        let done = format!(
            "loaded {} rows into {tables} table{s}",
            output::count(receipt.rows_written)
        );
        output::say_done(&done, receipt.operation, receipt.manifest);
        Ok(())
    })
    .await
}
