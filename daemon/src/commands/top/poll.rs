//! Polls the daemon for everything that is shown, and sends it the user's requests.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use reqwest::Method;

use super::{
    snapshot::Snapshot,
    view::{Act, Subject},
};
use crate::{
    api::{
        JobInfo, Overview, PauseRequest, Paused, ResumeRequest, RunAccepted, RunInfo, RunRequest,
        TableInfo, Tables, TargetInfo, TicketInfo,
    },
    commands::daemon::client::Client,
    exit::Failure,
    output,
};

const PAUSES: &str = "/api/v1/pauses";
const RUNS: &str = "/api/v1/runs";
/// Runs that are asked for.
const MOST_RUNS: usize = 100;

/// Polls the overview, and the rest only when that has changed; of tables, only those that have.
#[derive(Debug, Default)]
pub(super) struct Poller {
    /// When the daemon started, and its revision when tables, queues and runs were read last.
    seen: Option<(DateTime<Utc>, u64)>,
    tables: BTreeMap<(String, String), TableInfo>,
    /// The revision after which changed tables are requested.
    revision: Option<u64>,
    queue: Vec<(String, TicketInfo)>,
    history: Vec<RunInfo>,
}

impl Poller {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// What there is now.
    pub(super) async fn poll(&mut self, client: &Client) -> Result<Snapshot, Failure> {
        let whole: Overview = client.get("/api/v1/overview").await?;
        let seen = (whole.started, whole.revision);
        if self.seen != Some(seen) {
            // Another daemon counts from the beginning.
            if self
                .seen
                .is_some_and(|(started, _)| started != whole.started)
            {
                self.revision = None;
            }
            self.poll_changed(client, &whole.targets).await?;
            self.seen = Some(seen);
        }
        let running: Vec<JobInfo> = client.get("/api/v1/running").await?;
        let paused: Paused = client.get(PAUSES).await?;
        Ok(Snapshot {
            places: whole.places,
            refused: whole.configuration.last.error,
            targets: whole.targets,
            tables: self.tables.clone(),
            running,
            queue: self.queue.clone(),
            history: self.history.clone(),
            pauses: paused.pauses,
            pauses_unreadable: paused.unreadable,
        })
    }

    async fn poll_changed(
        &mut self,
        client: &Client,
        targets: &[TargetInfo],
    ) -> Result<(), Failure> {
        let since = self
            .revision
            .map_or_else(String::new, |at| format!("?since={at}"));
        self.take(client.get(&format!("/api/v1/tables{since}")).await?);
        self.queue.clear();
        for target in targets.iter().filter(|target| target.tickets > 0) {
            let path = format!("/api/v1/targets/{}/queue", target.name);
            let tickets: Vec<TicketInfo> = client.get(&path).await?;
            let tickets = tickets.into_iter().map(|t| (target.name.clone(), t));
            self.queue.extend(tickets);
        }
        self.history = client.get(&format!("{RUNS}?limit={MOST_RUNS}")).await?;
        Ok(())
    }

    fn take(&mut self, changed: Tables) {
        if changed.whole {
            self.tables.clear();
        }
        for gone in changed.gone {
            self.tables.remove(&(gone.target, gone.table));
        }
        let tables = changed.tables.into_iter();
        let by_name = tables.map(|table| ((table.target.clone(), table.table.clone()), table));
        self.tables.extend(by_name);
        self.revision = Some(changed.revision);
    }
}

/// Sends a request of the user; returns what to show of it.
pub(super) async fn act(client: &Client, act: Act) -> Result<String, Failure> {
    let names = |what: &Subject| (what.target.clone(), what.table.clone());
    let shown = |what: &Subject| match &what.table {
        Some(table) => format!("{table} of {}", what.target),
        None => what.target.to_string(),
    };
    match act {
        Act::Quit => Ok(String::new()),
        Act::Pause { what, lasts } => {
            let (target, table) = names(&what);
            let request = PauseRequest {
                target,
                table,
                lasts,
                reason: Some("squire top".to_owned()),
            };
            let _: Paused = client.send(Method::POST, PAUSES, &request).await?;
            let lasts = output::duration(lasts);
            Ok(format!("{} is paused for {lasts}", shown(&what)))
        }
        Act::Resume { what } => {
            let (target, table) = names(&what);
            let request = ResumeRequest {
                target: Some(target),
                table,
            };
            let _: Paused = client.send(Method::DELETE, PAUSES, &request).await?;
            Ok(format!("{} goes on", shown(&what)))
        }
        Act::Run { what } => {
            let (target, table) = names(&what);
            let request = RunRequest {
                target,
                table,
                duty: None,
            };
            let _: RunAccepted = client.send(Method::POST, RUNS, &request).await?;
            let what = shown(&what);
            Ok(format!(
                "{what} is maintained as soon as nothing holds it back"
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_that_changed_and_went_are_taken_over_from_what_was_told_before() {
        let mut poller = Poller::new();
        let mut take = |text: &str| {
            poller.take(serde_json::from_str(text).expect("it is what a daemon says"));
            let keys = poller.tables.iter();
            let keys = keys.map(|((_, table), info)| format!("{table}={}", info.rows));
            (keys.collect::<Vec<_>>().join(" "), poller.revision)
        };
        let all = r#"{"revision": 3, "whole": true, "gone": [], "tables": [
            {"target": "lake", "table": "a", "rows": 1}, {"target": "lake", "table": "b", "rows": 2, "new": {}}]}"#;
        assert_eq!(take(all), ("a=1 b=2".to_owned(), Some(3)));
        let some = r#"{"revision": 5, "whole": false, "gone": [{"target": "lake", "table": "a"}],
            "tables": [{"target": "lake", "table": "b", "rows": 7}]}"#;
        assert_eq!(take(some), ("b=7".to_owned(), Some(5)));
        let anew = r#"{"revision": 1, "whole": true, "gone": [], "tables": []}"#;
        assert_eq!(take(anew), (String::new(), Some(1)), "another daemon");
    }
}
