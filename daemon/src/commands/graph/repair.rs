//! `squire repair`.

use squire_engine::{Drifted, Finding, Quarantined, Repaired};

use crate::commands::open::working;
use crate::{
    cli::GraphArg,
    exit::{Done, Failure},
    output::{self, say},
};

pub(in crate::commands) async fn run(
    graph: &GraphArg,
    what: Option<&str>,
    confirm: bool,
    partial: bool,
) -> Done {
    working(graph, async |graph| {
        let mut findings = {
            let _working = output::Working::on("looking");
            graph.findings().await?
        };
        if let Some(name) = what {
            findings.retain(|f| f.is_meant_by(name));
            one_operation(name, &findings)?;
        }
        if findings.is_empty() {
            say(&match what {
                Some(name) => format!("nothing about {name} waits for an operator"),
                None => "nothing waits for an operator".to_owned(),
            });
            return Ok(());
        }
        let (mut failed, mut left) = (None, 0);
        for finding in &findings {
            describe(finding);
            if !confirm {
                say(&format!("  would: {}", finding.remedy()));
            } else {
                match graph.repair(finding, partial).await {
                    Ok(repaired) => {
                        left += usize::from(matches!(repaired, Repaired::Left(_)));
                        say(&format!("  did: {}", outcome(&repaired)));
                    }
                    Err(e) => {
                        say(&format!("  failed: {e}"));
                        failed.get_or_insert(e);
                    }
                }
            }
        }
        if !confirm {
            say("\nnothing was changed; --confirm does it");
        }
        match (failed, left) {
            (Some(e), _) => Err(Failure::from(e)),
            (None, 0) => Ok(()),
            (None, n) => Err(Failure::Operator(format!(
                "{n} of {} left for an operator: see above",
                findings.len()
            ))),
        }
    })
    .await
}

/// The beginning of an id is the time, which operations share that were begun together.
fn one_operation(name: &str, findings: &[Finding]) -> Result<(), Failure> {
    let ids = findings.iter().filter_map(Finding::operation);
    let mut ids: Vec<_> = ids.map(|id| id.to_string()).collect();
    ids.retain(|id| id.starts_with(&name.to_lowercase()));
    match ids.len() {
        0 | 1 => Ok(()),
        _ => Err(Failure::Usage(format!(
            "`{name}` is the beginning of several operations, write more of the one that you mean: {}",
            ids.join(", ")
        ))),
    }
}

fn describe(finding: &Finding) {
    match finding {
        Finding::Quarantined(found) => describe_quarantine(found),
        Finding::Drifted(found) => describe_drift(found),
        Finding::Orphan(found) => say(&format!(
            "sidecar of {}, which no manifest names, {} old",
            found.operation,
            output::duration(found.age)
        )),
        Finding::Unseen(e) => say(&format!("could not be looked at: {e}")),
        _ => {}
    }
}

fn describe_quarantine(found: &Quarantined) {
    let ticket = &found.ticket;
    say(&format!(
        "quarantined: {} {} by {}",
        ticket.kind, ticket.operation, ticket.actor
    ));
    say(&format!("  because {}", found.reason));
    for (table, standing) in &found.effects {
        say(&format!("  {table}: {standing}"));
    }
}

fn describe_drift(found: &Drifted) {
    let how = if found.is_benign() {
        "reorganised"
    } else {
        "changed outside of Squire"
    };
    say(&format!(
        "{} was {how}, past version {}",
        found.table, found.pin
    ));
    for version in &found.versions {
        let rows = if version.benign {
            String::new()
        } else {
            format!(
                ": +{} rows, -{} rows",
                output::count(version.rows_added),
                output::count(version.rows_removed)
            )
        };
        say(&format!(
            "  version {}: {}{rows}",
            version.version, version.operation
        ));
    }
    match &found.misfit {
        None => say("  it has the columns that the schema declares"),
        Some(misfit) => say(&format!("  it does not fit the schema: {misfit}")),
    }
}

fn outcome(repaired: &Repaired) -> String {
    match repaired {
        Repaired::Published { manifest, .. } => format!("published it, manifest {manifest}"),
        Repaired::PublishedInPart { manifest, without } => {
            let without: Vec<_> = without.iter().map(ToString::to_string).collect();
            format!(
                "published it without {}, manifest {manifest}",
                without.join(", ")
            )
        }
        Repaired::Discarded => "discarded it: it took place nowhere".to_owned(),
        Repaired::Adopted { pin } => format!("adopted version {pin} as the pin"),
        Repaired::Removed => "removed it".to_owned(),
        Repaired::Left(why) => why.clone(),
        _ => "done".to_owned(),
    }
}
