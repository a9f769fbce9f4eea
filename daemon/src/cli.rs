//! The command line: what a person types, before anything is done about it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use squire_engine::{DriftPolicy, LoadMode};

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
        2  the command, the input or the configuration is wrong: mend it and try again\n  \
        3  something else moved first; nothing was changed, read again and repeat\n  \
        4  the operation happened, will happen, or nobody can tell: do NOT repeat it, see `squire log`\n  \
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
    /// Compact tables now, whatever the thresholds say; without names, all of them.
    #[command(
        after_help = "Examples:\n  squire compact /var/lib/flights\n  squire compact /var/lib/flights Flight --target-bytes 128MiB\n  \
            squire compact /var/lib/flights --dry-run"
    )]
    Compact {
        #[command(flatten)]
        graph: GraphArg,
        /// The tables.
        tables: Vec<String>,
        /// What a fragment should grow to.
        #[arg(long, value_name = "SIZE", default_value = "256MiB")]
        target_bytes: bytesize::ByteSize,
        /// Only say what would be done, and why.
        #[arg(long)]
        dry_run: bool,
    },
    /// Show a graph: its tables, their layout, and the queue.
    #[command(
        after_help = "Examples:\n  squire status /var/lib/flights\n  squire status s3://bucket/flights --json"
    )]
    Status {
        #[command(flatten)]
        graph: GraphArg,
        /// Print JSON, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Show who changed what, and when; the newest first.
    #[command(after_help = "Example:\n  squire log /var/lib/flights --limit 20")]
    Log {
        #[command(flatten)]
        graph: GraphArg,
        /// At most so many entries.
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
            squire repair /var/lib/flights Flight --confirm\n  squire repair /var/lib/flights 019aad0e --confirm --publish-partial"
    )]
    Repair {
        #[command(flatten)]
        graph: GraphArg,
        /// Only this: a table, or an operation by its id or the first eight digits of it.
        what: Option<String>,
        /// Do what the preview says.
        #[arg(long)]
        confirm: bool,
        /// Publish a quarantined operation without the tables that cannot take its effect. Name the operation.
        #[arg(long, requires = "confirm", requires = "what")]
        publish_partial: bool,
    },
    /// Run the daemon.
    #[command(after_help = "Example:\n  squire run --config /etc/squire/squire.toml")]
    Run(ConfigArg),
    /// Check a configuration without running it.
    #[command(after_help = "Example:\n  squire check --config /etc/squire/squire.toml")]
    Check(ConfigArg),
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
pub(crate) struct ConfigArg {
    /// The configuration file; `conf.d/*.toml` beside it is read, too.
    #[arg(long, default_value = "/etc/squire/squire.toml", value_name = "FILE")]
    pub(crate) config: PathBuf,
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
