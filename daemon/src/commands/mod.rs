//! The commands that a person runs, one file each.

mod check;
mod compact;
mod delete;
mod heal;
mod init;
mod load;
mod log;
mod repair;
mod schema;
mod status;

use std::path::Path;

use squire_engine::{Graph, OperationId, Options, schema::Schema};

use crate::{
    cli::{Command, GraphArg, SchemaCommand},
    exit::Failure,
    output, service,
};

type Done = Result<(), Failure>;

/// Runs one command to its end.
pub(crate) async fn dispatch(command: Command) -> Done {
    match command {
        Command::Init { graph, schema } => init::run(&graph, &schema).await,
        Command::Schema(SchemaCommand::Plan {
            graph,
            schema,
            hard,
        }) => schema::plan(&graph, &schema, hard).await,
        Command::Schema(SchemaCommand::Apply {
            graph,
            schema,
            hard,
            yes,
        }) => schema::apply(&graph, &schema, hard, yes).await,
        Command::Schema(SchemaCommand::Show { graph }) => schema::show(&graph).await,
        Command::Load {
            graph,
            inputs,
            mode,
            null,
            expect,
            drift,
        } => load::run(&graph, inputs, mode, null, expect, drift).await,
        Command::Delete {
            graph,
            table,
            predicate,
            expect,
            drift,
        } => delete::run(&graph, &table, &predicate, expect, drift).await,
        Command::Compact {
            graph,
            tables,
            target_bytes,
            dry_run,
        } => compact::run(&graph, tables, target_bytes, dry_run).await,
        Command::Status { graph, json } => status::run(&graph, json).await,
        Command::Log {
            graph,
            limit,
            all,
            json,
        } => log::run(&graph, limit, all, json).await,
        Command::Heal { graph, now } => heal::run(&graph, now).await,
        Command::Repair {
            graph,
            what,
            confirm,
            publish_partial,
        } => repair::run(&graph, what.as_deref(), confirm, publish_partial).await,
        Command::Run(config) => service::run(&config.config).await,
        Command::Check(config) => check::run(&config.config),
    }
}

fn options(graph: &GraphArg) -> Options {
    let mut options = Options::default();
    if let Some(actor) = &graph.actor {
        options.actor.clone_from(actor);
    }
    options
}

async fn open(graph: &GraphArg) -> Result<Graph, Failure> {
    Ok(Graph::open(&graph.graph, options(graph)).await?)
}

/// Works on a graph, and takes leave of it however the work ends: no heartbeat stays behind.
async fn working(graph: &GraphArg, work: impl AsyncFnOnce(&Graph) -> Done) -> Done {
    let graph = open(graph).await?;
    let done = work(&graph).await;
    graph.close().await;
    done
}

/// Works on a graph to change it; heals what is in the way first.
async fn changing(graph: &GraphArg, work: impl AsyncFnOnce(&Graph) -> Done) -> Done {
    changing_with(graph, options(graph), work).await
}

/// The same, with options of its own.
async fn changing_with(
    graph: &GraphArg,
    options: Options,
    work: impl AsyncFnOnce(&Graph) -> Done,
) -> Done {
    let graph = Graph::open_for_writing(&graph.graph, options).await?;
    let done = work(&graph).await;
    graph.close().await;
    done
}

fn read_schema(file: &Path) -> Result<Schema, Failure> {
    let text = std::fs::read_to_string(file).map_err(|e| {
        Failure::Usage(format!("the schema {} cannot be read: {e}", file.display()))
    })?;
    let schema = Schema::parse(&text, &file.display().to_string());
    schema.map_err(|e| Failure::Engine(e.into()))
}

fn say_done(what: &str, operation: OperationId, manifest: u64) {
    output::say(&format!(
        "{what} (operation {operation}, manifest {manifest})"
    ));
}
