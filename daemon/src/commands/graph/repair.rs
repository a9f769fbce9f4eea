//! `squire repair`.

use squire_engine::{Drifted, Finding, Graph, Quarantined, Repaired, Word, manifest::TicketState};

use crate::commands::open::working;
use crate::{
    cli::GraphArg,
    exit::{Done, Failure},
    output::{self, say},
};

/// What the flags say of a quarantined operation.
pub(in crate::commands) struct Said {
    pub(in crate::commands) partial: bool,
    pub(in crate::commands) holds: Vec<String>,
    pub(in crate::commands) lacks: Vec<String>,
}

impl Said {
    /// The same, of tables that the graph has.
    async fn of(&self, graph: &Graph) -> Result<Word, Failure> {
        let snapshot = graph.snapshot().await?;
        let keys = |names: &[String]| {
            let keys = names.iter().map(|name| snapshot.resolve(name));
            keys.collect::<Result<_, _>>()
        };
        let word = Word {
            partial: self.partial,
            holds: keys(&self.holds)?,
            lacks: keys(&self.lacks)?,
        };
        match word.holds.intersection(&word.lacks).next() {
            None => Ok(word),
            Some(table) => Err(Failure::Usage(format!(
                "{table} cannot both hold the effect and lack it"
            ))),
        }
    }
}

pub(in crate::commands) async fn run(
    graph: &GraphArg,
    what: Option<&str>,
    confirm: bool,
    said: &Said,
) -> Done {
    working(graph, async |graph| {
        let word = said.of(graph).await?;
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
                say(&format!("  would: {}", finding.remedy(&word)));
            } else {
                match graph.repair(finding, &word).await {
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

/// Quarantines a decided operation that never comes to an end.
pub(in crate::commands) async fn give_up(graph: &GraphArg, what: &str) -> Done {
    working(graph, async |graph| {
        let snapshot = graph.snapshot().await?;
        let queue = snapshot.manifest().queue.iter();
        let meant: Vec<_> = queue
            .filter(|t| t.operation.is_meant_by(what))
            .collect();
        let ticket = match &meant[..] {
            [ticket] => ticket,
            [] => {
                return Err(Failure::Usage(format!(
                    "no operation in the queue is {what}: `squire status` lists them; write eight digits of its id at least"
                )));
            }
            several => {
                let ids: Vec<_> = several.iter().map(|t| t.operation.to_string()).collect();
                return Err(Failure::Usage(several_of(what, &ids)));
            }
        };
        if matches!(ticket.state, TicketState::Quarantined { .. }) {
            say(&format!("{} is quarantined already", ticket.operation));
            return Ok(());
        }
        match graph.give_up(ticket.operation).await? {
            Repaired::Left(why) => Err(Failure::Operator(format!("nothing was done: {why}"))),
            _ => {
                say(&format!(
                    "quarantined {}: `squire repair` shows what can be done about it",
                    ticket.operation
                ));
                Ok(())
            }
        }
    })
    .await
}

fn several_of(name: &str, ids: &[String]) -> String {
    format!(
        "`{name}` is the beginning of several operations, write more of the one that you mean: {}",
        ids.join(", ")
    )
}

/// The beginning of an id is the time, which operations share that were begun together.
fn one_operation(name: &str, findings: &[Finding]) -> Result<(), Failure> {
    let ids = findings.iter().filter_map(Finding::operation);
    let mut ids: Vec<_> = ids.map(|id| id.to_string()).collect();
    ids.retain(|id| id.starts_with(&name.to_lowercase()));
    match ids.len() {
        0 | 1 => Ok(()),
        _ => Err(Failure::Usage(several_of(name, &ids))),
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
        let rows = if version.is_unknown() {
            ": it is gone, or does not say what made it".to_owned()
        } else if version.benign {
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
