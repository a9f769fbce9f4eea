//! From the command line to the command.

use squire_engine::{TableKey, planner::Duty};

use super::{
    check, daemon, graph,
    maintenance::{self, Configured},
    man, top,
};
use crate::{
    cli::{Command, SchemaCommand},
    configuration,
    exit::Done,
    service,
};

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
            policy,
            tables,
            target_bytes,
            dry_run,
        } => {
            let target_bytes = target_bytes.map(|size| size.as_u64());
            let configured =
                Configured::find(&target.target, policy.config.config.as_deref()).await?;
            let policy_of = |key: &TableKey| {
                let mut policy = configured.policy(key);
                if let Some(target_bytes) = target_bytes {
                    policy.compaction.target_bytes = target_bytes;
                    policy.compaction.small_bytes = target_bytes / 2;
                }
                policy
            };
            maintenance::run(maintenance::Request {
                target: &target,
                tables,
                duty: Duty::Compaction,
                configured: &configured,
                policy_of: &policy_of,
                ignore_pauses: policy.ignore_pauses,
                dry_run,
            })
            .await
        }
        Command::Index {
            target,
            policy,
            tables,
            dry_run,
        } => {
            let configured =
                Configured::find(&target.target, policy.config.config.as_deref()).await?;
            maintenance::run(maintenance::Request {
                target: &target,
                tables,
                duty: Duty::Index,
                configured: &configured,
                policy_of: &|key| configured.policy(key),
                ignore_pauses: policy.ignore_pauses,
                dry_run,
            })
            .await
        }
        Command::Cleanup {
            target,
            policy,
            tables,
            keep_for,
            keep_versions,
            name,
            dry_run,
        } => {
            let config = policy.config.config.as_deref();
            let configured = match &name {
                Some(name) => Configured::named(name, config)?,
                None => Configured::find(&target.target, config).await?,
            };
            let policy_of = |key: &TableKey| {
                let mut policy = configured.policy(key);
                let cleanup = &mut policy.cleanup;
                cleanup.keep_for = keep_for.unwrap_or(cleanup.keep_for);
                cleanup.keep_versions = keep_versions.unwrap_or(cleanup.keep_versions);
                policy
            };
            maintenance::run(maintenance::Request {
                target: &target,
                tables,
                duty: Duty::Cleanup,
                configured: &configured,
                policy_of: &policy_of,
                ignore_pauses: policy.ignore_pauses,
                dry_run,
            })
            .await
        }
        Command::Status {
            target,
            config,
            json,
        } => {
            let configured = Configured::find(&target.target, config.config.as_deref()).await?;
            maintenance::status(&target, &configured, json).await
        }
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
            holds,
            lacks,
            give_up,
        } => {
            if give_up {
                return graph::repair::give_up(&graph, &what.unwrap_or_default()).await;
            }
            let word = graph::repair::Said {
                partial: publish_partial,
                holds,
                lacks,
            };
            graph::repair::run(&graph, what.as_deref(), confirm, &word).await
        }
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
        } => maintenance::explain(&daemon, &target, table.as_deref()).await,
        Command::Top { daemon, once } => top::run(&daemon, once).await,
        Command::Man { folder } => man::run(&folder),
        Command::Run(layers) => service::run(&configuration::layers_with_flags(&layers)).await,
        Command::Reload { runtime_dir } => daemon::reload::run(&runtime_dir).await,
        Command::Check(check) => check::run(&check).await,
        Command::Service(service) => daemon::service::run(&service),
    }
}
