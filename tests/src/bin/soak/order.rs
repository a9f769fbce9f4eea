//! The command line: of the soak itself, and of the writers that it starts.

use std::{path::PathBuf, time::Duration};

use squire_tests::{bank::fate::Freeze, store::Moment};

use crate::{Result, text};

/// How many kills a soak has when nothing else is said.
const KILLS: u64 = 240;

/// What the process is to do.
pub(crate) enum Order {
    Soak(Soak),
    Write(Write),
}

/// A soak.
pub(crate) struct Soak {
    pub(crate) seed: u64,
    kills: u64,
    minutes: Option<f64>,
}

/// When the storm is over.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// After so many kills.
    Kills(u64),
    /// After so long.
    Time(Duration),
}

/// One life of a writer.
pub(crate) struct Write {
    pub(crate) root: String,
    pub(crate) ledger: PathBuf,
    pub(crate) writer: usize,
    pub(crate) seed: u64,
    pub(crate) freeze: Option<Freeze>,
}

impl Soak {
    pub(crate) fn until(&self) -> Until {
        match self.minutes {
            Some(minutes) => Until::Time(Duration::from_secs_f64(minutes * 60.0)),
            None => Until::Kills(self.kills),
        }
    }
}

impl Write {
    /// As a command line, which [`Order::parse`] reads.
    pub(crate) fn to_args(&self) -> Vec<String> {
        let (passing, moment) = match self.freeze {
            None => (0, "never"),
            Some(Freeze {
                passing,
                moment: Moment::Before,
            }) => (passing, "before"),
            Some(Freeze {
                passing,
                moment: Moment::After,
            }) => (passing, "after"),
        };
        vec![
            "write".to_owned(),
            self.root.clone(),
            text(&self.ledger),
            self.writer.to_string(),
            self.seed.to_string(),
            passing.to_string(),
            moment.to_owned(),
        ]
    }
}

impl Order {
    /// Reads the command line: `[--kills N | --minutes M] [--seed S]`, or what a writer is given.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut soak = Soak {
            seed: uuid::Uuid::new_v4().as_u64_pair().0 >> 32,
            kills: KILLS,
            minutes: None,
        };
        let mut next = |what: &str| args.next().ok_or(format!("say {what}"));
        while let Ok(arg) = next("nothing more") {
            match &*arg {
                "write" => {
                    return Ok(Self::Write(Write {
                        root: next("the root")?,
                        ledger: next("the ledger")?.into(),
                        writer: next("the writer")?.parse()?,
                        seed: next("the seed")?.parse()?,
                        freeze: freeze(&next("how many writes")?, &next("when")?)?,
                    }));
                }
                "--seed" => soak.seed = next("a number after --seed")?.parse()?,
                "--kills" => soak.kills = next("a number after --kills")?.parse()?,
                "--minutes" => soak.minutes = Some(next("a number after --minutes")?.parse()?),
                other => {
                    return Err(format!(
                        "`{other}` is not known: use --kills N or --minutes M, and --seed S"
                    )
                    .into());
                }
            }
        }
        Ok(Self::Soak(soak))
    }
}

/// Reads where a writer freezes.
fn freeze(passing: &str, moment: &str) -> Result<Option<Freeze>> {
    let moment = match moment {
        "never" => return Ok(None),
        "before" => Moment::Before,
        "after" => Moment::After,
        other => return Err(format!("`{other}` is no moment").into()),
    };
    let passing = passing.parse()?;
    Ok(Some(Freeze { passing, moment }))
}
