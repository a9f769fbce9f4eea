use std::fmt;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// One configuration, spoilt.
#[derive(Debug, Default)]
pub(crate) struct Case {
    /// `squire.toml`.
    pub(crate) file: Vec<u8>,
    /// The files of `conf.d`.
    pub(crate) fragments: Vec<(String, Vec<u8>)>,
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) flags: Vec<String>,
}

impl Case {
    /// Whether there is the one file alone.
    pub(crate) fn is_one_file(&self) -> bool {
        self.fragments.is_empty() && self.variables.is_empty() && self.flags.is_empty()
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Of a very long one, its beginning tells what it is.
        let quoted = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            let lines = text.lines().filter(|line| !line.starts_with("# "));
            let settings = lines.collect::<Vec<_>>().join("\n");
            settings.chars().take(20_000).collect::<String>()
        };
        writeln!(f, "--- squire.toml\n{}", quoted(&self.file))?;
        for (name, bytes) in &self.fragments {
            writeln!(f, "--- conf.d/{name}\n{}", quoted(bytes))?;
        }
        for (name, value) in &self.variables {
            writeln!(f, "--- {name}={}", quoted(value.as_bytes()))?;
        }
        for flag in &self.flags {
            writeln!(f, "--- --set {}", quoted(flag.as_bytes()))?;
        }
        Ok(())
    }
}

/// Values as TOML, of every type and of none.
const ODD: [&str; 72] = [
    "true",
    "false",
    "0",
    "1",
    "-1",
    "-0",
    "+7",
    "2",
    "8",
    "0x10",
    "0o7",
    "0b1",
    "1_000",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "1e400",
    "-1e400",
    "1e-400",
    "0.0",
    "-0.0",
    "0.5",
    "1.0",
    "2.0",
    "inf",
    "-inf",
    "nan",
    "''",
    "\"\"",
    "' '",
    "'\t'",
    "\"\\n\"",
    "\"\\u0000\"",
    "\"\\uFFFF\"",
    "'é'",
    "'😀'",
    "'\u{202e}'",
    "\"\"\"a\nb\"\"\"",
    "'5s'",
    "'1ns'",
    "'0s'",
    "'99999999999999999999y'",
    "'18446744073709551615s'",
    "'1h 1h 1h'",
    "'5 m'",
    "'-5s'",
    "'1GiB'",
    "'1e9EiB'",
    "'18446744073709551616B'",
    "'99999999999EiB'",
    "'5'",
    "'5 '",
    "'.'",
    "'off'",
    "'0 0 3 * * *'",
    "'0 0 31 2 * *'",
    "'* * * * * * 2999'",
    "'99999999999 * * * * *'",
    "'Mon 22:00-06:00'",
    "'25:00-26:00'",
    "'127.0.0.1:0'",
    "'[::1]:65536'",
    "'s3://k:hush@b/x'",
    "'memory://a'",
    "'../..'",
    "'*'",
    "[]",
    "[[]]",
    "['a', 1]",
    "{}",
    "{ a = 1 }",
    "1979-05-27T07:32:00Z",
];

const NAMES: [&str; 16] = [
    "tick",
    "Tick",
    "TICK",
    "tik",
    "\"tick\"",
    "'a b'",
    "\"\"",
    "daemon.tick",
    "enabled",
    "table",
    "é",
    "-",
    "a[0]",
    "password",
    "uri",
    "match",
];

const HEADERS: [&str; 14] = [
    "[daemon]",
    "[[daemon]]",
    "[defaults]",
    "[defaults.compaction]",
    "[[defaults.index]]",
    "[target]",
    "[[target]]",
    "[target.table]",
    "[[target.table]]",
    "[target.table.cleanup]",
    "[target.compaction]",
    "[daemon.tick]",
    "[a.b.c]",
    "[\"daemon\"]",
];

const VARIABLES: [&str; 14] = [
    "SQUIRE__DAEMON__TICK",
    "SQUIRE__DAEMON__CONCURRENCY",
    "SQUIRE__DAEMON__LISTEN",
    "SQUIRE__DAEMON__LOG",
    "SQUIRE__DAEMON__STATE_DIR",
    "SQUIRE__DEFAULTS__COMPACTION__CRON",
    "SQUIRE__DEFAULTS__PACE__INTENSITY",
    "SQUIRE__DEFAULTS__WINDOWS__ALLOWED",
    "SQUIRE__DEFAULTS__CLEANUP__KEEP_VERSIONS",
    "SQUIRE__DAEMON",
    "SQUIRE__DAEMON__TIK",
    "SQUIRE__TARGET__0__URI",
    "SQUIRE__",
    "SQUIRE__DAEMON__PASSWORD",
];

const KEYS: [&str; 10] = [
    "daemon.tick",
    "daemon.concurrency",
    "daemon.memory",
    "daemon.log_format",
    "defaults.index.max_segments",
    "defaults.windows.blackout",
    "tick",
    "target[0].uri",
    "",
    "daemon.token",
];

/// Spoils configurations, each in a way of its own.
pub(crate) struct Spoiler {
    corpus: Vec<String>,
}

impl Spoiler {
    pub(crate) fn new(corpus: Vec<String>) -> Self {
        Self { corpus }
    }

    /// The case of this seed: always the same.
    pub(crate) fn case(&self, seed: u64) -> Case {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut case = Case {
            file: self.spoilt(&mut rng, 0),
            ..Case::default()
        };
        if rng.random_bool(0.2) {
            for n in 0..rng.random_range(1..=2) {
                let bytes = self.spoilt(&mut rng, 0);
                case.fragments.push((format!("{n}.toml"), bytes));
            }
        }
        if rng.random_bool(0.2) {
            for _ in 0..rng.random_range(1..=3) {
                let name = VARIABLES.choose(&mut rng).unwrap();
                let value = bare(&value(&mut rng));
                case.variables.push(((*name).to_owned(), value));
            }
        }
        if rng.random_bool(0.2) {
            let (key, value) = (KEYS.choose(&mut rng).unwrap(), bare(&value(&mut rng)));
            case.flags.push(format!("{key}={value}"));
        }
        case
    }

    fn spoilt(&self, rng: &mut StdRng, depth: usize) -> Vec<u8> {
        let mut lines: Vec<String> = self
            .corpus
            .choose(rng)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect();
        for _ in 0..rng.random_range(0..=3) {
            self.spoil_lines(rng, &mut lines, depth);
        }
        let mut bytes = lines
            .join(if rng.random_bool(0.05) { "\r\n" } else { "\n" })
            .into_bytes();
        if rng.random_bool(0.15) {
            spoil_bytes(rng, &mut bytes);
        }
        bytes
    }

    fn spoil_lines(&self, rng: &mut StdRng, lines: &mut Vec<String>, depth: usize) {
        let at = rng.random_range(0..lines.len().max(1)).min(lines.len());
        let other = rng.random_range(0..lines.len().max(1));
        match rng.random_range(0..12) {
            0 if at < lines.len() => drop(lines.remove(at)),
            1 if at < lines.len() => lines.insert(other, lines[at].clone()),
            2 if at < lines.len() => lines.swap(at, other),
            3 => lines.truncate(at),
            4 => lines.insert(at, (*HEADERS.choose(rng).unwrap()).to_owned()),
            5 => {
                let line = format!("{} = {}", NAMES.choose(rng).unwrap(), value(rng));
                lines.insert(at, line);
            }
            6 if depth == 0 => {
                let more = String::from_utf8_lossy(&self.spoilt(rng, 1)).into_owned();
                lines.insert(at, more);
            }
            7 => {
                // A key by another name.
                let assigned: Vec<usize> = assignments(lines);
                if let Some(line) = assigned.choose(rng) {
                    let (_, value) = lines[*line].split_once(" = ").unwrap();
                    lines[*line] = format!("{} = {value}", NAMES.choose(rng).unwrap());
                }
            }
            // A key with another value: what says most.
            _ => {
                let assigned: Vec<usize> = assignments(lines);
                if let Some(line) = assigned.choose(rng) {
                    let (key, _) = lines[*line].split_once(" = ").unwrap();
                    lines[*line] = format!("{key} = {}", value(rng));
                }
            }
        }
    }
}

/// The lines that set a key.
fn assignments(lines: &[String]) -> Vec<usize> {
    let sets = |line: &str| line.contains(" = ") && !line.starts_with("# ");
    (0..lines.len()).filter(|n| sets(&lines[*n])).collect()
}

/// A value: mostly an odd one, at times one that is very long, or deeply nested.
fn value(rng: &mut StdRng) -> String {
    let many = rng.random_range(1..=3_000);
    match rng.random_range(0..40) {
        0 => format!("'{}'", "x".repeat(many * 10)),
        1 => format!("'{}'", "* ".repeat(many)),
        2 => format!("'{}'", "1h ".repeat(many)),
        3 => format!("{}{}", "[".repeat(many), "]".repeat(many)),
        4 => format!("{}1{}", "{a=".repeat(many), "}".repeat(many)),
        5 => format!("1{}", "0".repeat(many)),
        6 => format!("'{}'", "?*".repeat(many.min(100))),
        7 => format!("[{}]", "'Mon 01:00-02:00', ".repeat(many.min(50))),
        8 => format!("'{}MiB'", rng.random_range(1..100_000)),
        9 => format!("'{}s'", rng.random_range(1..100_000)),
        10 => rng.random_range(0..100_000).to_string(),
        11 => format!("0.{}", rng.random_range(0..1_000)),
        _ => (*ODD.choose(rng).unwrap()).to_owned(),
    }
}

/// A value as the environment and the command line have it: seldom in quotes.
fn bare(value: &str) -> String {
    let bare = value.strip_prefix('\'').and_then(|v| v.strip_suffix('\''));
    bare.unwrap_or(value).replace('\0', "")
}

fn spoil_bytes(rng: &mut StdRng, bytes: &mut Vec<u8>) {
    for _ in 0..rng.random_range(1..=4) {
        let at = rng.random_range(0..=bytes.len());
        match rng.random_range(0..4) {
            0 if at < bytes.len() => drop(bytes.remove(at)),
            1 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
            2 => bytes.truncate(at),
            _ => bytes.insert(at, *b"[]{}=.\"'\\#,\n\r\0\xff\xc3 -_".choose(rng).unwrap()),
        }
    }
}
