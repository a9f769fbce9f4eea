//! The command line.

use std::{path::PathBuf, time::Duration};

use rand::random;

use crate::targets::{self, NAMES};

/// What is asked of this process.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    /// The targets, in turn.
    pub(crate) targets: Vec<String>,
    /// When to stop.
    pub(crate) until: Until,
    pub(crate) seed: u64,
    pub(crate) work: Work,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// So many fresh cases of each target.
    Cases(u64),
    /// So long with each target.
    Passed(Duration),
}

#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// Start workers, and tell what they find.
    Tell,
    /// Be a worker, with this folder for what the foreman should know. Only the first replays the corpus.
    Worker { folder: PathBuf, replays: bool },
    /// Try one input.
    Replay(PathBuf),
}

impl Order {
    pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut order = Self {
            targets: Vec::new(),
            until: Until::Cases(300),
            seed: random(),
            work: Work::Tell,
        };
        let mut args = args.peekable();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} wants a value"));
            let number = |text: String| {
                let parsed = text.parse::<u64>();
                parsed.map_err(|_| format!("{arg} wants a number, not {text}"))
            };
            match arg.as_str() {
                "--cases" => order.until = Until::Cases(number(value()?)?),
                "--seconds" => {
                    order.until = Until::Passed(Duration::from_secs(number(value()?)?));
                }
                "--minutes" => {
                    order.until = Until::Passed(Duration::from_secs(60 * number(value()?)?));
                }
                "--seed" => order.seed = number(value()?)?,
                "--replay" => order.work = Work::Replay(value()?.into()),
                "--worker" | "--next-worker" => {
                    order.work = Work::Worker {
                        folder: value()?.into(),
                        replays: arg == "--worker",
                    };
                }
                name if targets::named(name).is_some() => order.targets.push(name.to_owned()),
                other => {
                    return Err(format!(
                        "{other} is no target: there are {}",
                        NAMES.join(", ")
                    ));
                }
            }
        }
        if order.targets.is_empty() {
            order.targets = NAMES.iter().map(|name| (*name).to_owned()).collect();
        }
        Ok(order)
    }
}
