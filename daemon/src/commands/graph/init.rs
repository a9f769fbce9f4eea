//! `squire init`.

use std::path::Path;

use squire_engine::Graph;

use crate::commands::graph::schema::read_schema;
use crate::commands::open::options;
use crate::{cli::GraphArg, exit::Done, output};

pub(in crate::commands) async fn run(graph: &GraphArg, schema: &Path) -> Done {
    let schema = read_schema(schema)?;
    let tables = schema.types.len();
    let created = {
        let _working = output::Working::on(format!("creating {tables} tables"));
        Graph::create(&graph.graph, schema, options(graph.actor.as_ref())).await?
    };
    output::say(&format!("created {} with {tables} tables", created.uri()));
    created.close().await;
    Ok(())
}
