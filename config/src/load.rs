//! From files, environment and flags to settings.

use std::collections::HashMap;
use std::path::Path;

use config::{Config, FileFormat, ValueKind};

use crate::assignment::Assignment;
use crate::check::{self, Contradiction};
use crate::environment;
use crate::error::{ConfigError, Place, Problem, Refusal};
use crate::files;
use crate::flags;
use crate::glob;
use crate::layers::Layers;
use crate::loaded::Loaded;
use crate::origins::Origins;
use crate::raw::{File, RawPolicies, RawTarget};
use crate::settings::{Policies, Rule, Settings, Target};
use crate::source::Source;
use crate::value_check::ValueCheck;
use crate::values;

impl Layers {
    /// Reads everything anew.
    ///
    /// # Errors
    ///
    /// Whatever cannot be read, parsed or understood, and whatever would not work; all of it at once, but for keys that
    /// contradict each other, which are looked for when each is right by itself. Settings without targets are no error:
    /// see [`Settings::require_targets`].
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        load(self)
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
}

/// Reads the layers and lays them over each other.
fn load(layers: &Layers) -> Result<Loaded, ConfigError> {
    let (files, mut problems) = files::read(layers.file(), &layers.reading);
    let mut sources = Vec::new();
    for (path, text) in &files {
        match Source::parse(path, text) {
            Ok(source) => {
                problems.extend(source.problems(layers.check));
                sources.push(source);
            }
            Err(errors) => problems.extend(errors),
        }
    }
    problems.extend(repeated_names(&sources));
    let (mut assigned, refused) = environment::read(layers.variables.iter().cloned());
    problems.extend(refused);
    let (flags, refused) = flags::read(&layers.flags);
    assigned.extend(flags);
    problems.extend(refused);
    problems.extend(value_problems(&assigned, layers.check));
    if !problems.is_empty() {
        return Err(ConfigError::new(problems));
    }
    let sound = Sound {
        path: layers.file(),
        sources,
        assigned,
    };
    let (settings, defaults) = sound.resolve().map_err(ConfigError::new)?;
    let origins = Origins::of(&sound.sources, &sound.assigned);
    Ok(Loaded {
        settings,
        defaults,
        origins,
    })
}

/// What only the program can tell to be wrong with values of the environment and of flags.
fn value_problems(assigned: &[Assignment], check: ValueCheck) -> Vec<Problem> {
    let found = assigned.iter().filter_map(|assignment| {
        let refusal = check(&assignment.key, assignment.value.as_str()?)?;
        let (place, key) = (assignment.place.clone(), assignment.key.clone());
        Some(Problem::new(place, Some(key), refusal))
    });
    found.collect()
}

/// Layers that are each right by themselves.
struct Sound<'t> {
    path: &'t Path,
    sources: Vec<Source<'t>>,
    /// By the environment and by flags; later ones win.
    assigned: Vec<Assignment>,
}

impl Sound<'_> {
    /// The settings, and the policies that all targets share.
    fn resolve(&self) -> Result<(Settings, Policies), Vec<Problem>> {
        let File {
            daemon, defaults, ..
        } = self.merged().map_err(|fault| self.unexpected(&fault))?;
        let daemon = daemon.resolve();
        let mut problems: Vec<Problem> = check::daemon(&daemon)
            .map(|found| self.contradiction("", found))
            .collect();
        problems.extend(check::exposure(&daemon).map(|found| self.contradiction("daemon", found)));
        let resolved = defaults.resolve();
        let of_defaults = check::policies(&resolved).into_iter();
        problems.extend(of_defaults.map(|found| self.contradiction("defaults", found)));
        let mut targets = Vec::new();
        // A contradiction in the defaults would come back in every target.
        let check_targets = problems.is_empty();
        for source in &self.sources {
            let file: File =
                toml::from_str(source.text()).map_err(|fault| self.unexpected(&fault))?;
            for (index, raw) in file.target.into_iter().enumerate() {
                let place = TargetPlace { source, index };
                if let Some(refusal) = check::drift(raw.kind, raw.drift) {
                    problems.extend(place.problem(None, &["drift"], refusal));
                }
                let base = raw.policies().or(&defaults);
                let rules = rules_of(&raw);
                if check_targets {
                    problems.extend(place.contradictions(&base, &rules));
                }
                // Both are there: their absence is a problem of the file.
                let (Some(name), Some(uri)) = (raw.name, raw.uri) else {
                    continue;
                };
                match self.absolute(&uri) {
                    Ok(uri) => targets.push(Target {
                        name,
                        uri,
                        kind: raw.kind.flatten(),
                        drift: raw.drift.unwrap_or_default(),
                        follow_links: raw.follow_links.unwrap_or_default(),
                        allow_bases: raw.allow_bases.unwrap_or_default(),
                        policies: base.resolve(),
                        rules,
                        base,
                    }),
                    Err(refusal) => problems.extend(place.problem(None, &["uri"], refusal)),
                }
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok((Settings { daemon, targets }, resolved))
    }

    /// The keys of all layers but the built-in one, later over earlier. Targets are not merged:
    /// the last file's replace the others', and are not used.
    fn merged(&self) -> Result<File, config::ConfigError> {
        let mut layers = Config::builder();
        for source in &self.sources {
            layers = layers.add_source(config::File::from_str(source.text(), FileFormat::Toml));
        }
        for assignment in &self.assigned {
            let value = value_of(assignment.value.clone());
            layers = layers.set_override(&assignment.key, value)?;
        }
        layers.build()?.try_deserialize()
    }

    /// A contradiction below a section that has layers: the file or `defaults`.
    fn contradiction(&self, section: &str, found: Contradiction) -> Problem {
        let whole = found.keys.iter().find_map(|[inner, name]| {
            let path = [section, inner, name]
                .into_iter()
                .filter(|part| !part.is_empty());
            let path: Vec<&str> = path.collect();
            Some((path.join("."), self.place_of(&path)?))
        });
        // A built-in value is nowhere.
        let (key, place) = whole.unwrap_or_else(|| (section.to_owned(), self.whole()));
        Problem::new(place, Some(key), found.refusal)
    }

    /// Where the layer that wins sets a key.
    fn place_of(&self, path: &[&str]) -> Option<Place> {
        let key = path.join(".");
        let mut last_first = self.assigned.iter().rev();
        let assigned = last_first.find(|assignment| assignment.key == key);
        let assigned = assigned.map(|assignment| assignment.place.clone());
        assigned.or_else(|| {
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

/// A target as it stands in a file.
struct TargetPlace<'s, 't> {
    source: &'s Source<'t>,
    /// Among the file's targets.
    index: usize,
}

impl TargetPlace<'_, '_> {
    /// Everything that policies of this target hold against each other.
    fn contradictions(&self, base: &RawPolicies, rules: &[Rule]) -> Vec<Problem> {
        let mut problems = self.located(&[None], check::policies(&base.resolve()));
        let alone: Vec<RawPolicies> = rules.iter().map(|rule| rule.policies.or(base)).collect();
        for (n, rule) in rules.iter().enumerate() {
            problems.extend(self.located(&[Some(n)], check::rule(&rule.policies)));
            problems.extend(self.located(&[Some(n)], check::policies(&alone[n].resolve())));
        }
        // Keys contradict each other in pairs, so two rules at once are all that need be tried.
        for (later, rule) in rules.iter().enumerate() {
            for (earlier, below) in rules.iter().enumerate().take(later) {
                let holds = |n: usize| check::policies(&alone[n].resolve()).is_empty();
                let meet = glob::overlap(&rule.pattern, &below.pattern);
                if meet && holds(later) && holds(earlier) {
                    let both = rule.policies.or(&alone[earlier]).resolve();
                    problems.extend(
                        self.located(&[Some(later), Some(earlier)], check::policies(&both)),
                    );
                }
            }
        }
        problems
    }

    /// Gives contradictions the place of the first of their keys that one of these rules, or the target itself, sets.
    fn located(&self, rules: &[Option<usize>], found: Vec<Contradiction>) -> Vec<Problem> {
        let located = found.into_iter().filter_map(|found| {
            let places = found
                .keys
                .iter()
                .flat_map(|key| rules.iter().map(move |rule| (*rule, key)));
            let (rule, key) = places
                .into_iter()
                .find(|(rule, key)| self.place(*rule, *key).is_some())?;
            self.problem(rule, key, found.refusal.clone())
        });
        located.collect()
    }

    fn problem(&self, rule: Option<usize>, key: &[&str], refusal: Refusal) -> Option<Problem> {
        let rule_path = rule.map_or(String::new(), |n| format!("table[{n}]."));
        let name = format!("target[{}].{rule_path}{}", self.index, key.join("."));
        Some(Problem::new(self.place(rule, key)?, Some(name), refusal))
    }

    fn place(&self, rule: Option<usize>, key: &[&str]) -> Option<Place> {
        let (index, rule) = (self.index.to_string(), rule.map(|n| n.to_string()));
        let mut path = vec!["target", &index];
        if let Some(rule) = &rule {
            path.extend(["table", rule]);
        }
        path.extend(key);
        self.source.place_of(&path)
    }
}

/// The rules of a target for single tables. A rule without a pattern is a problem of the file.
fn rules_of(raw: &RawTarget) -> Vec<Rule> {
    let rules = raw.table.iter().filter_map(|table| {
        Some(Rule {
            pattern: table.pattern.clone()?,
            ignore: table.ignore,
            policies: table.policies(),
        })
    });
    rules.collect()
}

/// A variable's value as the layering has it.
fn value_of(value: toml::Value) -> ValueKind {
    match value {
        toml::Value::Boolean(value) => value.into(),
        toml::Value::Integer(value) => value.into(),
        toml::Value::Float(value) => value.into(),
        toml::Value::String(value) => value.into(),
        toml::Value::Array(items) => items
            .into_iter()
            .map(value_of)
            .collect::<Vec<ValueKind>>()
            .into(),
        other => other.to_string().into(),
    }
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
