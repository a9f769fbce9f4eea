//! The command line: what a user types, before anything is done about it.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use squire_engine::{DriftPolicy, LoadMode};
use url::Url;

/// Background maintenance for Lance tables, and graphs of them under one manifest.
#[derive(Debug, Parser)]
#[command(
    name = "squire",
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    after_long_help = "Exit codes:\n  \
        0  done\n  \
        1  failed; nothing was changed, try again\n  \
        2  the command, the input or the configuration is wrong: fix it and try again\n  \
        3  something else moved first; nothing was changed, read again and repeat\n  \
        4  the operation happened, will happen, or has an unknown outcome: do NOT repeat it, see `squire log`\n  \
        5  the graph or its store needs an operator's look"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a graph from a schema file.
    #[command(after_help = "Example:\n  squire init /var/lib/flights --schema flights.toml")]
    Init {
        #[command(flatten)]
        graph: GraphArg,
        /// The schema, as TOML.
        #[arg(long, value_name = "FILE")]
        schema: PathBuf,
    },
    /// Work with a graph's schema.
    #[command(subcommand)]
    Schema(SchemaCommand),
    /// Load rows into one or several tables, atomically: all of it, or none.
    #[command(
        after_help = "Examples:\n  squire load /var/lib/flights Flight=january.parquet\n  \
            squire load /var/lib/flights node:Airport=airports.csv edge:Flight=flights.jsonl\n  \
            squire load /var/lib/flights Plane=planes.parquet --mode upsert"
    )]
    Load {
        #[command(flatten)]
        graph: GraphArg,
        /// What goes where: TABLE=FILE. Parquet, CSV (with a header), JSON lines or Arrow IPC, by the extension.
        #[arg(required = true, value_name = "TABLE=FILE", value_parser = table_file)]
        inputs: Vec<(String, PathBuf)>,
        /// What becomes of the rows that the tables have: append, upsert (by the type's key) or overwrite.
        #[arg(long, default_value = "append")]
        mode: LoadMode,
        /// In CSV, a text that stands for null besides the empty one. May be given several times.
        #[arg(long, value_name = "TEXT")]
        null: Vec<String>,
        /// Fail unless a table is at this version: TABLE=VERSION. May be given several times.
        #[arg(long, value_name = "TABLE=VERSION", value_parser = table_version)]
        expect: Vec<(String, u64)>,
        /// What to do about a table that another program changed: error (the default), or adopt.
        #[arg(long, value_name = "POLICY", default_value_t)]
        drift: DriftPolicy,
    },
    /// Delete the rows of a table for which a SQL predicate holds.
    #[command(
        after_help = "Example:\n  squire delete /var/lib/flights Flight \"carrier = 'UA' AND month = 1\""
    )]
    Delete {
        #[command(flatten)]
        graph: GraphArg,
        /// The table: `edge:Flight`, or `Flight` where that is unambiguous.
        table: String,
        /// Which rows, in SQL.
        predicate: String,
        /// Fail unless the table is at this version.
        #[arg(long, value_name = "VERSION")]
        expect: Option<u64>,
        /// What to do about a table that another program changed: error (the default), or adopt.
        #[arg(long, value_name = "POLICY", default_value_t)]
        drift: DriftPolicy,
    },
    /// Compact tables of a graph or a directory now, whatever the thresholds say; without names, all of them.
    #[command(
        after_help = "Examples:\n  squire compact /var/lib/flights\n  squire compact /var/lib/flights Flight --target-bytes 128MiB\n  \
            squire compact /var/lib/lancedb --dry-run"
    )]
    Compact {
        #[command(flatten)]
        target: TargetArg,
        #[command(flatten)]
        policy: PolicyArg,
        /// The tables.
        tables: Vec<String>,
        /// The size to which fragments are merged: 256MiB unless the configuration sets it.
        #[arg(long, value_name = "SIZE")]
        target_bytes: Option<bytesize::ByteSize>,
        /// Only say what would be done, and why.
        #[arg(long)]
        dry_run: bool,
    },
    /// Bring the indexes of tables up to date now, whatever the thresholds say; in a graph, build declared ones.
    #[command(
        after_help = "Examples:\n  squire index /var/lib/lancedb\n  squire index /var/lib/flights Flight --dry-run"
    )]
    Index {
        #[command(flatten)]
        target: TargetArg,
        #[command(flatten)]
        policy: PolicyArg,
        /// The tables.
        tables: Vec<String>,
        /// Only say what would be done, and why.
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove old versions of tables now, past age and number; what a graph's manifests, tags or branches need stays.
    #[command(
        after_help = "Examples:\n  squire cleanup /var/lib/lancedb --dry-run\n  squire cleanup /var/lib/lancedb docs --keep-for 1day --keep-versions 3\n  \
            squire cleanup /var/lib/lancedb --name lake --config /etc/squire/squire.toml"
    )]
    Cleanup {
        #[command(flatten)]
        target: TargetArg,
        #[command(flatten)]
        policy: PolicyArg,
        /// The tables.
        tables: Vec<String>,
        /// How long a version stays after another took its place: 7days unless set. Readers that take longer fail.
        #[arg(long, value_name = "DURATION", value_parser = keep_for)]
        keep_for: Option<Duration>,
        /// The number of newest versions that stay, however old: 10 unless set.
        #[arg(long, value_name = "N")]
        keep_versions: Option<usize>,
        /// Keep what the configuration keeps for the target of this name, wherever that is, where no option says otherwise.
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Only say what would go, and what keeps the rest.
        #[arg(long)]
        dry_run: bool,
    },
    /// Show a graph or a directory: its tables, their layout, and a graph's queue.
    #[command(
        after_help = "Examples:\n  squire status /var/lib/flights\n  squire status s3://bucket/flights --json"
    )]
    Status {
        #[command(flatten)]
        target: TargetArg,
        #[command(flatten)]
        config: PolicyConfigArg,
        /// Print JSON, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Show who changed what, and when; the newest first.
    #[command(after_help = "Example:\n  squire log /var/lib/flights --limit 20")]
    Log {
        #[command(flatten)]
        graph: GraphArg,
        /// The maximum number of entries.
        #[arg(long, short = 'n', default_value_t = 20)]
        limit: usize,
        /// Every transition, not only the operations that were published.
        #[arg(long)]
        all: bool,
        /// Print one JSON object a line, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Finish or take back what crashed writers left behind. A running daemon does this by itself.
    #[command(after_help = "Example:\n  squire heal /var/lib/flights")]
    Heal {
        #[command(flatten)]
        graph: GraphArg,
        /// Do not wait for leases: you know that no other writer is at work.
        #[arg(long)]
        now: bool,
    },
    /// Show what waits for an operator: quarantined operations, tables that other programs changed, leftovers.
    #[command(
        after_help = "Examples:\n  squire repair /var/lib/flights\n  squire repair /var/lib/flights --confirm\n  \
            squire repair /var/lib/flights Flight --confirm\n  squire repair /var/lib/flights 019aad0e --confirm --publish-partial\n  \
            squire repair /var/lib/flights 019aad0e --give-up"
    )]
    Repair {
        #[command(flatten)]
        graph: GraphArg,
        /// Only this: a table, or an operation by its id or the beginning of it, eight digits at least.
        what: Option<String>,
        /// Do what the preview says.
        #[arg(long)]
        confirm: bool,
        /// Publish a quarantined operation without the tables that cannot take its effect. Name the operation.
        #[arg(long, requires = "confirm", requires = "what")]
        publish_partial: bool,
        /// This table holds what the quarantined operation did to it, although nothing can tell. Name the operation.
        #[arg(long, value_name = "TABLE", requires = "what")]
        holds: Vec<String>,
        /// This table lacks it.
        #[arg(long, value_name = "TABLE", requires = "what")]
        lacks: Vec<String>,
        /// Quarantine a decided operation that never comes to an end, so that it can be repaired. Name the operation.
        #[arg(long, requires = "what", conflicts_with_all = ["confirm", "holds", "lacks"])]
        give_up: bool,
    },
    /// Have the running daemon leave a target, or one table of it, alone for a while; it ends by itself.
    #[command(
        after_help = "Examples:\n  squire pause flights --for 2h --reason \"backup\"\n  squire pause flights edge:Flight --for 30m"
    )]
    Pause {
        #[command(flatten)]
        daemon: DaemonArg,
        /// The target's name in the configuration.
        target: String,
        /// The table, as `squire status` shows it; without one, the whole target.
        table: Option<String>,
        /// For how long, such as 2h; at most 31 days.
        #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
        lasts: Duration,
        /// Why; others see it in the log and in `squire pauses`.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// End a pause before its time.
    #[command(after_help = "Examples:\n  squire resume flights\n  squire resume")]
    Resume {
        #[command(flatten)]
        daemon: DaemonArg,
        /// The target's name in the configuration; without one, everything that is paused.
        target: Option<String>,
        /// The table; without one, the pause of the whole target.
        table: Option<String>,
    },
    /// Show what is paused.
    Pauses {
        #[command(flatten)]
        daemon: DaemonArg,
    },
    /// Show what the running daemon decided last about each duty of each table, and why.
    #[command(after_help = "Examples:\n  squire explain flights\n  squire explain flights Flight")]
    Explain {
        #[command(flatten)]
        daemon: DaemonArg,
        /// The target's name in the configuration.
        target: String,
        /// Only this table.
        table: Option<String>,
    },
    /// Watch the running daemon: its targets, their tables, what is done now, who waits for whom, and what was done.
    #[command(
        after_help = "Examples:\n  squire top\n  squire top --once\n  squire top --daemon https://lake.example:9464 --ca ca.pem"
    )]
    Top {
        #[command(flatten)]
        daemon: DaemonArg,
        /// Print everything once, as text, and return.
        #[arg(long)]
        once: bool,
    },
    /// Write the manual pages of all commands, as packages have them.
    #[command(hide = true)]
    Man {
        /// Where to; it is made when it is not there.
        folder: PathBuf,
    },
    /// Run the daemon.
    #[command(
        after_help = "Examples:\n  squire run\n  squire run --config /etc/squire/squire.toml --set daemon.log=debug"
    )]
    Run(LayersArg),
    /// Have the running daemon of this machine load its configuration again; returns when it is in force, or refused.
    #[command(
        after_help = "It asks over the socket reload.sock in the daemon's runtime folder, so it works for daemons that a service manager\n\
            runs. To others, send the signal SIGHUP and look into the log.\n\nExample:\n  systemctl reload squire"
    )]
    Reload {
        /// The folder in which the socket is.
        #[arg(
            long,
            env = "RUNTIME_DIRECTORY",
            default_value = "/run/squire",
            value_name = "FOLDER"
        )]
        runtime_dir: PathBuf,
    },
    /// Check a configuration without running it.
    #[command(
        after_help = "Examples:\n  squire check\n  squire check --show --set daemon.tick=5s\n  squire check --probe\n  \
            squire check --schema > squire.schema.json"
    )]
    Check(CheckArg),
    /// Install Squire as a service of systemd, or take that service away.
    #[command(subcommand)]
    Service(ServiceCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServiceCommand {
    /// Write a hardened systemd unit that reaches the local targets and nothing else, have systemd check it, and start it.
    #[command(
        after_help = "Examples:\n  squire service install /var/lib/lancedb\n  squire service install --dry-run\n  \
            squire service install --user ~/lancedb\n\nIt runs as the user who owns the targets, when all are local and it is not root; \
            otherwise as `squire`, who is made where there\nis no such user. Run it again after a change of the targets: the unit \
            opens their folders alone."
    )]
    Install {
        #[command(flatten)]
        place: ServiceArg,
        /// Folders to maintain. They are written into a small configuration when there is none.
        #[arg(value_name = "FOLDER")]
        folders: Vec<PathBuf>,
        /// Run it as this user, who must be able to read and write the targets.
        #[arg(long = "as", value_name = "USER", conflicts_with = "user")]
        as_user: Option<String>,
        /// Only print what would be written and run.
        #[arg(long)]
        dry_run: bool,
    },
    /// Stop the service, and take away what `squire service install` wrote, and nothing else.
    #[command(
        after_help = "Example:\n  squire service remove\n\nA configuration that was changed stays, as do tables, state and users."
    )]
    Remove {
        #[command(flatten)]
        place: ServiceArg,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ServiceArg {
    /// A service of this user's own session, not of the machine.
    #[arg(long)]
    pub(crate) user: bool,
    /// The configuration file of the service. The default is /etc/squire/squire.toml, or with --user
    /// ~/.config/squire/squire.toml.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Another root, such as an image that is being made: all paths are below it, and nothing is started.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) root: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SchemaCommand {
    /// Show the steps from the graph's schema to the file's, what each costs and what it takes away.
    #[command(after_help = "Example:\n  squire schema plan /var/lib/flights flights.toml")]
    Plan {
        #[command(flatten)]
        graph: GraphArg,
        /// The schema to go to, as TOML.
        schema: PathBuf,
        /// As if it were applied with --hard.
        #[arg(long)]
        hard: bool,
    },
    /// Bring the graph to the file's schema: all steps at once, or none.
    #[command(
        after_help = "Examples:\n  squire schema apply /var/lib/flights flights.toml\n  \
            squire schema apply /var/lib/flights flights.toml --hard --yes"
    )]
    Apply {
        #[command(flatten)]
        graph: GraphArg,
        /// The schema to go to, as TOML.
        schema: PathBuf,
        /// Make what is dropped unreachable at once; otherwise earlier versions have it until cleanup.
        #[arg(long)]
        hard: bool,
        /// Do not ask before a hard drop.
        #[arg(long)]
        yes: bool,
    },
    /// Print the graph's schema as TOML.
    #[command(after_help = "Example:\n  squire schema show /var/lib/flights > flights.toml")]
    Show {
        #[command(flatten)]
        graph: GraphArg,
    },
}

#[derive(Debug, Args)]
pub(crate) struct GraphArg {
    /// The graph's root: a path, file://, memory:// or s3:// (credentials from AWS_* variables).
    #[arg(value_name = "GRAPH")]
    pub(crate) graph: String,
    /// On whose behalf: it stands in the log. The default is user@host.
    #[arg(long, env = "SQUIRE_ACTOR", value_name = "NAME")]
    pub(crate) actor: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct TargetArg {
    /// The root of the graph or the directory: a path, file://, memory:// or s3:// (credentials from AWS_* variables).
    #[arg(value_name = "TARGET")]
    pub(crate) target: String,
    /// On whose behalf: it stands in a graph's log. The default is user@host.
    #[arg(long, env = "SQUIRE_ACTOR", value_name = "NAME")]
    pub(crate) actor: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyArg {
    #[command(flatten)]
    pub(crate) config: PolicyConfigArg,
    /// Work on tables that are paused, too.
    #[arg(long)]
    pub(crate) ignore_pauses: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PolicyConfigArg {
    /// The configuration whose policies hold, where it names this target. The default is /etc/squire/squire.toml, where that
    /// can be read; the built-in policy holds otherwise.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DaemonArg {
    #[command(flatten)]
    pub(crate) config: ConfigArg,
    /// Where the daemon is, instead of where the configuration says: https://HOST:PORT, or ADDRESS:PORT on this machine. Its
    /// token is taken from the environment variable SQUIRE_TOKEN.
    #[arg(long = "daemon", alias = "address", value_name = "URL", value_parser = daemon_url)]
    pub(crate) url: Option<Url>,
    /// The certificates of the authorities that the daemon's certificate may come from, as PEM; instead of the machine's own.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigArg {
    /// The configuration file; `conf.d/*.toml` beside it is read, too.
    #[arg(long, default_value = "/etc/squire/squire.toml", value_name = "FILE")]
    pub(crate) config: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct LayersArg {
    #[command(flatten)]
    pub(crate) config: ConfigArg,
    /// Set a key of [daemon] or [defaults], over files and environment: daemon.tick=5s. May be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Listen there: the same as --set daemon.listen=ADDRESS.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArg {
    #[command(flatten)]
    pub(crate) layers: LayersArg,
    /// Open every target, to read only, and check whether this machine has what the daemon needs.
    #[arg(long)]
    pub(crate) probe: bool,
    /// How long a target may take to answer a probe.
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = humantime::parse_duration, requires = "probe")]
    pub(crate) timeout: Duration,
    /// Show the settings in force, each with the place that sets it; what is at its default is a comment.
    #[arg(long)]
    pub(crate) show: bool,
    /// Print JSON, for programs.
    #[arg(long)]
    pub(crate) json: bool,
    /// Only print the JSON schema of the configuration file, for editors.
    #[arg(long, exclusive = true)]
    pub(crate) schema: bool,
    /// Only tell whether there is a target: exit with 1 when there is none. What is wrong is left to other checks.
    #[arg(long, conflicts_with_all = ["probe", "show", "json"])]
    pub(crate) has_targets: bool,
}

fn daemon_url(text: &str) -> Result<Url, String> {
    let form = || "write https://HOST:PORT, or ADDRESS:PORT such as 127.0.0.1:9464".to_owned();
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Url::parse(&format!("http://{address}")).map_err(|_| form());
    }
    let url = Url::parse(text).map_err(|_| form())?;
    // Refused where it is used: what is refused here is shown.
    let credentials = !url.username().is_empty() || url.password().is_some();
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if credentials || matches!(url.scheme(), "http" | "https") && url.has_host() && bare {
        Ok(url)
    } else {
        Err(form())
    }
}

fn keep_for(text: &str) -> Result<Duration, String> {
    let kept = humantime::parse_duration(text).map_err(|e| e.to_string())?;
    if kept < Duration::from_secs(1) {
        return Err(
            "a version that has just been superseded has readers: write 1s or more".to_owned(),
        );
    }
    Ok(kept)
}

fn table_file(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((table, file)) if !table.is_empty() && !file.is_empty() => {
            Ok((table.to_owned(), PathBuf::from(file)))
        }
        _ => Err("write TABLE=FILE, such as Flight=january.parquet".to_owned()),
    }
}

fn table_version(text: &str) -> Result<(String, u64), String> {
    let parsed = text
        .split_once('=')
        .and_then(|(table, version)| Some((table.to_owned(), version.parse().ok()?)));
    parsed.ok_or_else(|| "write TABLE=VERSION, such as Flight=12".to_owned())
}
