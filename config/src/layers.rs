//! What settings are loaded from.

use std::path::{Path, PathBuf};

use crate::reading::Reading;
use crate::value_check::ValueCheck;

/// Where settings are loaded from, over the built-in defaults.
#[derive(Debug, Clone)]
pub struct Layers {
    file: PathBuf,
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) flags: Vec<String>,
    pub(crate) check: ValueCheck,
    pub(crate) reading: Reading,
}

impl Layers {
    /// The settings file, the files `conf.d/*.toml` beside it and the environment of the process. Relative paths of
    /// targets, in any of the files, count from the directory of `file`.
    pub fn of_process(file: impl Into<PathBuf>) -> Self {
        // Not `vars`, which panics at variables of others that are not UTF-8.
        let variables = std::env::vars_os().map(|(name, value)| {
            let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
            (text(name), text(value))
        });
        Self::new(file, variables)
    }

    /// [`Self::of_process`] with other variables than those of the process.
    pub fn new(
        file: impl Into<PathBuf>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        Self {
            file: file.into(),
            variables: variables.into_iter().collect(),
            flags: Vec::new(),
            check: |_, _| None,
            reading: Reading::default(),
        }
    }

    /// The same, with flags over all of it: `KEY=VALUE`, such as `daemon.tick=5s`.
    #[must_use]
    pub fn with_flags(mut self, flags: impl IntoIterator<Item = String>) -> Self {
        self.flags.extend(flags);
        self
    }

    /// The same, with a check of every text that is right by itself.
    #[must_use]
    pub fn with_check(mut self, check: ValueCheck) -> Self {
        self.check = check;
        self
    }

    /// The same, with a note of the file that is being read.
    #[must_use]
    pub fn noted_in(mut self, reading: Reading) -> Self {
        self.reading = reading;
        self
    }

    /// The settings file.
    pub fn file(&self) -> &Path {
        &self.file
    }
}
