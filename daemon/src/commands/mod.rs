//! The commands that users run, by what they are for.
//!
//! | folder | what is in it |
//! |---|---|
//! | [`graph`] | make, change, load and repair a graph |
//! | [`maintenance`] | run a duty by hand, or ask what is due and why |
//! | [`daemon`] | control a running daemon; install it as a service |
//! | [`check`] | what is wrong with a configuration, its targets and this machine |
//! | [`top`] | the status page in a terminal |

mod check;
mod daemon;
mod graph;
mod maintenance;
mod man;
mod top;

use std::path::Path;

use squire_config::Target;
use squire_engine::{
    Graph, OperationId, Options, TableKey,
    planner::{Duty, Policy, compaction::CompactionPolicy},
    schema::Schema,
};

use crate::{
    cli::{Command, ConfigArg, GraphArg, SchemaCommand, TargetArg},
    configuration,
    exit::Failure,
    output, service,
    target::Opened,
};

type Done = Result<(), Failure>;

/// Runs one command to its end.
pub(crate) async fn dispatch(command: Command) -> Done {
    match command {
        Command::Init { graph, schema } => graph::init::run(&graph, &schema).await,
        Command::Schema(SchemaCommand::Plan {
            graph,
            schema,
            hard,
        }) => graph::schema::plan(&graph, &schema, hard).await,
        Command::Schema(SchemaCommand::Apply {
            graph,
            schema,
            hard,
            yes,
        }) => graph::schema::apply(&graph, &schema, hard, yes).await,
        Command::Schema(SchemaCommand::Show { graph }) => graph::schema::show(&graph).await,
        Command::Load {
            graph,
            inputs,
            mode,
            null,
            expect,
            drift,
        } => graph::load::run(&graph, inputs, mode, null, expect, drift).await,
        Command::Delete {
            graph,
            table,
            predicate,
            expect,
            drift,
        } => graph::delete::run(&graph, &table, &predicate, expect, drift).await,
        Command::Compact {
            target,
            tables,
            target_bytes,
            dry_run,
        } => {
            let target_bytes = target_bytes.as_u64();
            let compaction = CompactionPolicy {
                target_bytes,
                small_bytes: target_bytes / 2,
                ..CompactionPolicy::default()
            };
            maintenance::run::run(maintenance::run::Request {
                target: &target,
                tables,
                duty: Duty::Compaction,
                policy_of: &|_| Policy {
                    compaction: compaction.clone(),
                    ..Policy::default()
                },
                dry_run,
            })
            .await
        }
        Command::Index {
            target,
            tables,
            dry_run,
        } => {
            maintenance::run::run(maintenance::run::Request {
                target: &target,
                tables,
                duty: Duty::Index,
                policy_of: &|_| Policy::default(),
                dry_run,
            })
            .await
        }
        Command::Cleanup {
            target,
            tables,
            keep_for,
            keep_versions,
            name,
            config,
            dry_run,
        } => {
            let named = name.map(|name| target_named(&config, &name));
            let named = named.transpose()?;
            let policy_of = |key: &TableKey| {
                let mut policy = named.as_ref().map_or_else(Policy::default, |target| {
                    target.policies_of(&key.to_string()).table
                });
                let cleanup = &mut policy.cleanup;
                cleanup.keep_for = keep_for.unwrap_or(cleanup.keep_for);
                cleanup.keep_versions = keep_versions.unwrap_or(cleanup.keep_versions);
                policy
            };
            maintenance::run::run(maintenance::run::Request {
                target: &target,
                tables,
                duty: Duty::Cleanup,
                policy_of: &policy_of,
                dry_run,
            })
            .await
        }
        Command::Status { target, json } => maintenance::status::run(&target, json).await,
        Command::Log {
            graph,
            limit,
            all,
            json,
        } => graph::log::run(&graph, limit, all, json).await,
        Command::Heal { graph, now } => graph::heal::run(&graph, now).await,
        Command::Repair {
            graph,
            what,
            confirm,
            publish_partial,
        } => graph::repair::run(&graph, what.as_deref(), confirm, publish_partial).await,
        Command::Pause {
            daemon,
            target,
            table,
            lasts,
            reason,
        } => daemon::pause::pause(&daemon, target, table, lasts, reason).await,
        Command::Resume {
            daemon,
            target,
            table,
        } => daemon::pause::resume(&daemon, target, table).await,
        Command::Pauses { daemon } => daemon::pause::list(&daemon).await,
        Command::Explain {
            daemon,
            target,
            table,
        } => maintenance::explain::run(&daemon, &target, table.as_deref()).await,
        Command::Top { daemon, once } => top::run(&daemon, once).await,
        Command::Man { folder } => man::run(&folder),
        Command::Run(layers) => service::run(&configuration::layers_with_flags(&layers)).await,
        Command::Reload { runtime_dir } => daemon::reload::run(&runtime_dir).await,
        Command::Check(check) => check::run(&check).await,
        Command::Service(service) => daemon::service::run(&service),
    }
}

/// A target of the daemon's configuration.
fn target_named(config: &ConfigArg, name: &str) -> Result<Target, Failure> {
    let targets = configuration::layers(config).load()?.settings.targets;
    let names: Vec<_> = targets.iter().map(|t| t.name.clone()).collect();
    targets.into_iter().find(|t| t.name == name).ok_or_else(|| {
        Failure::Usage(format!(
            "{} has no target {name}; it has {}",
            config.config.display(),
            names.join(", ")
        ))
    })
}

fn options(actor: Option<&String>) -> Options {
    let mut options = Options::default();
    if let Some(actor) = actor {
        options.actor.clone_from(actor);
    }
    options
}

async fn open(graph: &GraphArg) -> Result<Graph, Failure> {
    Ok(Graph::open(&graph.graph, options(graph.actor.as_ref())).await?)
}

/// Opens a graph or a directory; `writing` heals what is in a graph's way first.
async fn opened(target: &TargetArg, writing: bool) -> Result<Opened, Failure> {
    let options = options(target.actor.as_ref());
    let opened = Opened::open(&target.target, None, options.clone()).await?;
    Ok(match opened {
        Opened::Graph(_) if writing => {
            Opened::Graph(Graph::open_for_writing(&target.target, options).await?)
        }
        opened => opened,
    })
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
    changing_with(graph, options(graph.actor.as_ref()), work).await
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
