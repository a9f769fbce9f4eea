//! What settings are loaded from, and what comes of it.

use std::path::{Path, PathBuf};

use crate::apart;
use crate::error::{ConfigError, Place, Problem, Refusal};
use crate::load;
use crate::origins::Origins;
use crate::reading::Reading;
use crate::settings::{Policies, Settings};

/// What only the program can tell of a value that is a text: of its key, without the numbers of lists
/// (`target.table.compaction.cron`), and of the text. `None` when nothing is wrong with it.
pub type Judge = fn(key: &str, text: &str) -> Option<Refusal>;

/// Where settings are loaded from, over the built-in defaults.
#[derive(Debug, Clone)]
pub struct Layers {
    file: PathBuf,
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) flags: Vec<String>,
    pub(crate) judge: Judge,
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
            judge: |_, _| None,
            reading: Reading::default(),
        }
    }

    /// The same, with flags over all of it: `KEY=VALUE`, such as `daemon.tick=5s`.
    #[must_use]
    pub fn with_flags(mut self, flags: impl IntoIterator<Item = String>) -> Self {
        self.flags.extend(flags);
        self
    }

    /// The same, with a judge who sees every text that is right by itself.
    #[must_use]
    pub fn judged_by(mut self, judge: Judge) -> Self {
        self.judge = judge;
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

    /// Reads everything anew.
    ///
    /// # Errors
    ///
    /// Whatever cannot be read, parsed or understood, and whatever would not work; all of it at once, but for keys that
    /// contradict each other, which are looked for when each is right by itself. Settings without targets are no error:
    /// see [`Settings::require_targets`].
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        load::load(self)
    }
}

/// Settings, and where they come from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// `[defaults]`.
    pub(crate) defaults: Policies,
    pub(crate) origins: Origins,
}

impl Loaded {
    /// Where a key is set, by its full path: `daemon.tick`, or `target[0].compaction.cron` for the first of
    /// [`Settings::targets`]. `None` when no layer sets it, and it has its default.
    pub fn origin(&self, path: &str) -> Option<&Place> {
        self.origins.get(path)
    }

    /// Refuses targets of which one is where another is, or in it. It asks the disk for links; one that does not answer is
    /// waited for two seconds.
    ///
    /// # Errors
    ///
    /// A problem for each pair.
    pub fn require_places_apart(&self, path: &Path) -> Result<(), ConfigError> {
        let clashes = apart::clashes(&self.settings.targets).into_iter();
        let problems = clashes.map(|(n, refusal)| {
            let key = format!("target[{n}].uri");
            let place = self.origin(&key).cloned();
            let place = place.unwrap_or_else(|| Place::Path(path.to_owned()));
            Problem::new(place, Some(key), refusal)
        });
        let problems: Vec<Problem> = problems.collect();
        if problems.is_empty() {
            return Ok(());
        }
        Err(ConfigError::new(problems))
    }
}

impl Settings {
    /// Loads the settings file `path`, the files `conf.d/*.toml` beside it and the environment of
    /// the process.
    ///
    /// # Errors
    ///
    /// Those of [`Layers::load`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Layers::of_process(path)
            .load()
            .map(|loaded| loaded.settings)
    }

    /// [`Settings::load`] with other variables than those of the process.
    ///
    /// # Errors
    ///
    /// Those of [`Layers::load`].
    pub fn load_with_env(
        path: &Path,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let layers = Layers::new(path, variables);
        layers.load().map(|loaded| loaded.settings)
    }

    /// Refuses settings without a target, as a daemon that maintains nothing is a mistake. `path`
    /// is the settings file, for the message.
    ///
    /// # Errors
    ///
    /// One problem, when there is no target.
    pub fn require_targets(&self, path: &Path) -> Result<(), ConfigError> {
        if !self.targets.is_empty() {
            return Ok(());
        }
        let refusal = Refusal::new(
            "there is no target, so there is nothing to maintain",
            "add a [[target]] with a name and a uri, here or in a file in conf.d",
        );
        let problem = Problem::new(Place::Path(path.to_owned()), None, refusal);
        Err(ConfigError::new(vec![problem]))
    }
}
