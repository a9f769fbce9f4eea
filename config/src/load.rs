//! From files and environment to settings.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use config::{Config, FileFormat, ValueKind};

use crate::check;
use crate::environment::{self, Variable};
use crate::error::{ConfigError, Place, Problem, Refusal};
use crate::raw::{File, RawCompaction};
use crate::settings::{Settings, Target};
use crate::source::{self, Source};
use crate::values;

impl Settings {
    /// Loads the settings file `path`, the files `conf.d/*.toml` beside it and the environment of
    /// the process. Relative paths of targets, in any of the files, count from the directory of
    /// `path`.
    ///
    /// # Errors
    ///
    /// Whatever cannot be read, parsed or understood, and whatever would not work. A file without
    /// targets is no error: see [`Settings::require_targets`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        // Not `vars`, which panics at variables of others that are not UTF-8.
        let variables = std::env::vars_os().map(|(name, value)| {
            let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
            (text(name), text(value))
        });
        Self::load_with_env(path, variables)
    }

    /// [`Settings::load`] with other variables than those of the process.
    ///
    /// # Errors
    ///
    /// Those of [`Settings::load`].
    pub fn load_with_env(
        path: &Path,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let (files, mut problems) = read_files(path);
        let mut sources = Vec::new();
        for (path, text) in &files {
            match Source::parse(path, text) {
                Ok(source) => {
                    problems.extend(source.problems());
                    sources.push(source);
                }
                Err(errors) => problems.extend(errors),
            }
        }
        problems.extend(repeated_names(&sources));
        let (variables, refused) = environment::read(variables);
        problems.extend(refused);
        if !problems.is_empty() {
            return Err(ConfigError::new(problems));
        }
        let layers = Layers {
            path,
            sources,
            variables,
        };
        layers.resolve().map_err(ConfigError::new)
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

/// Layers that are right by themselves.
struct Layers<'t> {
    path: &'t Path,
    sources: Vec<Source<'t>>,
    variables: Vec<Variable>,
}

impl Layers<'_> {
    fn resolve(&self) -> Result<Settings, Vec<Problem>> {
        let File {
            daemon, defaults, ..
        } = self.merged().map_err(|fault| self.unexpected(&fault))?;
        let mut problems = self.contradictions(&defaults.compaction);
        let mut targets = Vec::new();
        // A contradiction in the defaults would come back in every target.
        let judge_targets = problems.is_empty();
        for source in &self.sources {
            let file: File =
                toml::from_str(source.text()).map_err(|fault| self.unexpected(&fault))?;
            for (index, raw) in file.target.into_iter().enumerate() {
                let at = |keys: &[&str]| source.place_in_target(index, keys);
                let key = |name: &str| format!("target[{index}].{name}");
                let compaction = raw.compaction.or(&defaults.compaction).resolve();
                if judge_targets {
                    for found in check::compaction(&compaction) {
                        let named = found
                            .keys
                            .into_iter()
                            .find_map(|name| Some((name, at(&["compaction", name])?)));
                        if let Some((name, place)) = named {
                            let key = key(&format!("compaction.{name}"));
                            problems.push(Problem::new(place, Some(key), found.refusal));
                        }
                    }
                }
                // Both are there: their absence is a problem of the file.
                let (Some(name), Some(uri)) = (raw.name, raw.uri) else {
                    continue;
                };
                match self.absolute(&uri) {
                    Ok(uri) => targets.push(Target {
                        name,
                        uri,
                        drift: raw.drift.unwrap_or_default(),
                        compaction,
                    }),
                    Err(refusal) => {
                        let place = at(&["uri"]).unwrap_or_else(|| self.whole());
                        problems.push(Problem::new(place, Some(key("uri")), refusal));
                    }
                }
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Settings {
            daemon: daemon.resolve(),
            targets,
        })
    }

    /// The keys of all layers but the built-in one, later over earlier. Targets are not merged:
    /// the last file's replace the others', and nobody looks at them.
    fn merged(&self) -> Result<File, config::ConfigError> {
        let mut layers = Config::builder();
        for source in &self.sources {
            layers = layers.add_source(config::File::from_str(source.text(), FileFormat::Toml));
        }
        for variable in &self.variables {
            let value: ValueKind = match variable.value.clone() {
                toml::Value::Boolean(value) => value.into(),
                toml::Value::Integer(value) => value.into(),
                toml::Value::Float(value) => value.into(),
                toml::Value::String(value) => value.into(),
                other => other.to_string().into(),
            };
            layers = layers.set_override(&variable.key, value)?;
        }
        layers.build()?.try_deserialize()
    }

    fn contradictions(&self, defaults: &RawCompaction) -> Vec<Problem> {
        let section = ["defaults", "compaction"];
        check::compaction(&defaults.clone().resolve())
            .into_iter()
            .map(|found| {
                let (key, place) = found
                    .keys
                    .into_iter()
                    .find_map(|name| {
                        let path = [section[0], section[1], name];
                        Some((path.join("."), self.place_of(&path)?))
                    })
                    .unwrap_or_else(|| (section.join("."), self.whole()));
                Problem::new(place, Some(key), found.refusal)
            })
            .collect()
    }

    /// Where the layer that wins sets a key.
    fn place_of(&self, path: &[&str]) -> Option<Place> {
        let key = path.join(".");
        let variable = self.variables.iter().find(|variable| variable.key == key);
        variable.map(Variable::place).or_else(|| {
            let mut later_first = self.sources.iter().rev();
            later_first.find_map(|source| source.place_of(path))
        })
    }

    fn absolute(&self, uri: &str) -> Result<String, Refusal> {
        let file = std::path::absolute(self.path).map_err(|fault| {
            Refusal::new(
                format!("the directory it is relative to is unknown: {fault}"),
                "write an absolute path",
            )
        })?;
        values::absolute(uri, file.parent().unwrap_or(&file))
    }

    fn whole(&self) -> Place {
        Place::Path(self.path.to_owned())
    }

    /// For what the checks of the single layers ought to have found.
    fn unexpected(&self, fault: &dyn std::error::Error) -> Vec<Problem> {
        let refusal = Refusal::new(
            format!("the layers do not fit together: {fault}"),
            "remove settings of conf.d and of the environment until they do",
        );
        vec![Problem::new(self.whole(), None, refusal)]
    }
}

/// All files in the order of their layers.
fn read_files(path: &Path) -> (Vec<(PathBuf, String)>, Vec<Problem>) {
    let mut paths = vec![path.to_owned()];
    let mut problems = Vec::new();
    let fragments = path.parent().unwrap_or(Path::new("")).join("conf.d");
    match fragments_in(&fragments) {
        Ok(found) => paths.extend(found),
        Err(fault) => problems.push(unreadable(&fragments, &fault)),
    }
    let mut files = Vec::new();
    for path in paths {
        match fs::read(&path) {
            Ok(bytes) => match decode(&path, bytes) {
                Ok(text) => files.push((path, text)),
                Err(problem) => problems.push(problem),
            },
            Err(fault) => problems.push(unreadable(&path, &fault)),
        }
    }
    (files, problems)
}

/// The files of `conf.d` in the order of their names; hidden ones are an editor's.
fn fragments_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(fault) => return Err(fault),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let hidden = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".");
        let is_toml = path
            .extension()
            .is_some_and(|extension| extension == "toml");
        if is_toml && !path.file_name().is_some_and(hidden) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn decode(path: &Path, bytes: Vec<u8>) -> Result<String, Problem> {
    let text = String::from_utf8(bytes).map_err(|fault| {
        let valid = fault.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(fault.as_bytes());
        let refusal = Refusal::new("not UTF-8", "save the file as UTF-8");
        Problem::new(source::place(path, &text, valid), None, refusal)
    })?;
    Ok(text
        .strip_prefix('\u{feff}')
        .map(str::to_owned)
        .unwrap_or(text))
}

fn unreadable(path: &Path, fault: &io::Error) -> Problem {
    let refusal = Refusal::new(
        format!("cannot be read: {fault}"),
        "check that it exists and that this user may read it",
    );
    Problem::new(Place::Path(path.to_owned()), None, refusal)
}

/// Names that more than one target has, over all files.
fn repeated_names(sources: &[Source<'_>]) -> Vec<Problem> {
    let mut first: HashMap<&str, Place> = HashMap::new();
    let mut problems = Vec::new();
    for (name, place) in sources.iter().flat_map(Source::target_names) {
        if let Some(earlier) = first.get(name) {
            let refusal = Refusal::new(
                format!("the name {name:?} is taken by the target at {earlier}"),
                "give one of them another name; files do not change each other's targets",
            );
            problems.push(Problem::new(place, Some("target.name".to_owned()), refusal));
        } else {
            first.insert(name, place);
        }
    }
    problems
}
