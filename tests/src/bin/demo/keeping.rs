//! The daemon of the demo, and what it says, for people.

use std::{path::Path, time::Duration};

use serde_json::Value;
use squire_engine::{
    Graph,
    planner::{
        Ask,
        compaction::{self, CompactionPolicy, Decision},
    },
};
use squire_tests::{
    daemon::{self, Daemon},
    show::{count, say},
};
use tokio::time::{sleep, timeout};

use crate::Result;

/// The daemon is given so long to become idle once the writers are done.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long a writer may be silent before it counts as dead.
pub(crate) const LEASE: Duration = Duration::from_secs(2);

/// The configuration.
pub(crate) fn settings(uri: &str) -> String {
    format!(
        "[daemon]\nlisten = \"127.0.0.1:0\"\ntick = \"500ms\"\nlease = \"2s\"\nheal_interval = \"500ms\"\nlog_format = \"json\"\n\n\
         [defaults.compaction]\nmin_small_fragments = 8\ninterval_floor = \"2s\"\n\n\
         [[target]]\nname = \"flights\"\nuri = \"{uri}\"\n"
    )
}

/// The running daemon.
pub(crate) struct Keeping {
    daemon: Daemon,
    /// Operations that it has healed.
    pub(crate) healed: Vec<String>,
}

impl Keeping {
    pub(crate) async fn start(config: &Path, log: &Path) -> Result<Self> {
        Ok(Self {
            daemon: Daemon::start(config, log).await?,
            healed: Vec::new(),
        })
    }

    /// Tells what it has logged since the last call.
    pub(crate) fn listen(&mut self) {
        while let Some(line) = self.daemon.try_next_line() {
            self.tell(&line);
        }
    }

    fn tell(&mut self, line: &Value) {
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let number = |name: &str| count(line[name].as_u64().unwrap_or_default());
        match line["message"].as_str() {
            Some("job started") => say(format!(
                "   daemon: {} of {} is due ({}): {} fragments, {} deleted rows",
                text("duty"),
                text("table"),
                text("reason"),
                number("fragments"),
                number("deleted_rows")
            )),
            Some("job done") if line["duty"] == "index" => say(format!(
                "   daemon: {} indexed: {} rows came under their indexes, in {} ms with nothing held, held {} ms to commit",
                text("table"),
                number("rows"),
                number("work_ms"),
                number("hold_ms")
            )),
            Some("job done") if line["duty"] == "compaction" => say(format!(
                "   daemon: {} compacted: {} fragments into {}; rewritten in {} ms with nothing held, held {} ms to commit",
                text("table"),
                number("fragments_before"),
                number("fragments_after"),
                number("rewrite_ms"),
                number("hold_ms")
            )),
            Some("healed") => {
                say(format!(
                    "   daemon: healed: the {} of {} is carried to its end",
                    text("kind"),
                    text("actor")
                ));
                self.healed.push(text("operation"));
            }
            Some(message) if message.starts_with("job lost") => {
                say(format!(
                    "   daemon: {} moved on meanwhile; planned anew",
                    text("table")
                ));
            }
            Some(message) if line["level"] == "ERROR" || line["level"] == "WARN" => {
                say(format!("   daemon: {message}: {}", text("error")));
            }
            _ => {}
        }
    }

    /// Waits until no table is due and nothing is under way.
    pub(crate) async fn until_idle(&mut self, graph: &Graph) -> Result {
        let idle = async {
            while !is_tidy(graph).await? {
                self.listen();
                sleep(Duration::from_millis(200)).await;
            }
            // The end of a job is told after its commit.
            sleep(Duration::from_millis(200)).await;
            self.listen();
            Ok(())
        };
        let idle = timeout(PATIENCE, idle).await;
        idle.map_err(|_| "the daemon did not become idle in time")?
    }

    pub(crate) async fn stop(self) -> Result {
        let ended = self.daemon.stop(Duration::from_secs(20)).await?;
        if !ended.success() {
            return Err(format!("the daemon ended with {ended}").into());
        }
        say("   The daemon stopped in order.");
        Ok(())
    }

    /// Leaves it running, and says what can be done with it.
    pub(crate) fn leave(self, dir: &Path, uri: &str, flights: &Path) {
        let squire = daemon::squire().unwrap_or_else(|_| "squire".into());
        let squire = squire.display();
        let listening = &self.daemon.listening;
        let id = self.daemon.id().unwrap_or_default();
        say(format!(
            "\nThe daemon runs on (process {id}). Try:\n  {squire} status {uri}\n  {squire} log {uri}\n  {squire} load {uri} Flight={}\n  curl -s http://{listening}/metrics | grep ^squire_\n  tail -f {}/squire.log\n  kill {id} && rm -r {}",
            flights.display(),
            dir.display(),
            dir.display(),
        ));
        self.daemon.leave_running();
    }
}

async fn is_tidy(graph: &Graph) -> Result<bool> {
    let snapshot = graph.snapshot().await?;
    let mut tidy = snapshot.manifest().queue.is_empty();
    for key in snapshot.manifest().tables.keys() {
        let stats = snapshot.stats(key).await?;
        let decision = compaction::plan(&stats, &CompactionPolicy::default(), &Ask::default());
        tidy &= matches!(decision, Decision::Skip(_));
    }
    Ok(tidy)
}
