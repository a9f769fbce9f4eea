//! Squire's commands by hand, and what they say that they did.

use std::{collections::BTreeMap, io, path::Path, time::Duration};

use tokio::time::timeout;

use crate::{daemon, patience::PATIENCE};

/// The words by which Squire says that it leaves a table or an index alone because of who reads or wrote it. Whatever else
/// it skips for is no answer to why nothing was done.
pub const REFUSALS: [&str; 5] = [
    "client_too_old",
    "index_unreadable",
    "index_cannot_follow",
    "unmeasured",
    "refused",
];

/// What a command did to a table.
#[derive(Clone, Debug)]
pub enum Did {
    /// Its work, in its own words.
    Done(String),
    /// Its work on a part, and the word for what it leaves alone.
    DoneInPart(String, &'static str),
    /// Nothing, as it may not; with the word for it.
    Refused(&'static str),
    /// Nothing, with its reason.
    Nothing(String),
    /// It failed.
    Failed(String),
}

impl Did {
    /// Reads the second column of what a command prints.
    pub fn parse(said: &str) -> Self {
        let refusal = REFUSALS.into_iter().find(|word| {
            let mut words = said.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            words.any(|w| w == *word)
        });
        if said.starts_with("failed") || said.starts_with("lost") {
            return Self::Failed(said.to_owned());
        }
        match (refusal, said.strip_prefix("skipped: ")) {
            (Some(word), Some(rest)) if !rest.contains("; ") => Self::Refused(word),
            (Some(word), _) => Self::DoneInPart(said.to_owned(), word),
            (None, Some(reason)) => Self::Nothing(reason.to_owned()),
            (None, None) => Self::Done(said.to_owned()),
        }
    }

    /// The word for what is left alone, if anything is.
    pub fn refusal(&self) -> Option<&'static str> {
        match self {
            Self::Refused(word) | Self::DoneInPart(_, word) => Some(word),
            _ => None,
        }
    }
}

/// Runs `squire COMMAND DIRECTORY ARGS...` over all tables of a directory; gives what it did to each.
///
/// # Errors
/// When it cannot be started or does not end, or when it fails without naming a table.
pub async fn run(
    command: &str,
    directory: &Path,
    args: &[&str],
) -> io::Result<BTreeMap<String, Did>> {
    let directory = directory.display().to_string();
    let all = [command, &directory]
        .into_iter()
        .chain(args.iter().copied());
    let ran = timeout(PATIENCE, daemon::run(all)).await;
    let ran = ran.map_err(|_| io::Error::other(format!("squire {command} did not end")))??;
    let said = String::from_utf8_lossy(&ran.stdout);
    let mut did = BTreeMap::new();
    for line in said.lines().skip_while(|line| !line.starts_with("table ")) {
        let mut columns = line.split("  ").map(str::trim).filter(|c| !c.is_empty());
        if let (Some(table), Some(text)) = (columns.next(), columns.next())
            && directory_has(Path::new(&directory), table)
        {
            did.insert(table.to_owned(), Did::parse(text));
        }
    }
    let explained = did
        .values()
        .any(|did| matches!(did, Did::Failed(_)) || did.refusal().is_some());
    if ran.status.success() || explained && matches!(ran.status.code(), Some(1 | 3)) {
        return Ok(did);
    }
    let complaint = String::from_utf8_lossy(&ran.stderr);
    let complaint: Vec<_> = complaint.lines().take(4).collect();
    Err(io::Error::other(format!(
        "squire {command}: {}: {}",
        ran.status,
        complaint.join(" / ")
    )))
}

fn directory_has(directory: &Path, table: &str) -> bool {
    directory.join(format!("{table}.lance")).is_dir()
}

/// Lets the versions that there are grow older than what a cleanup keeps.
pub async fn grow_old() {
    tokio::time::sleep(Duration::from_millis(1_100)).await;
}
