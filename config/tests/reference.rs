//! The annotated reference file: true, loadable, and refused with a place however it is spoilt.
#![allow(clippy::unwrap_used)]

use std::fs;

use squire_config::{ConfigError, Daemon, Place, Policies, Settings};
use tempfile::TempDir;

const REFERENCE: &str = include_str!("../squire.toml");

/// Loads texts one after the other as the same file.
struct Loader {
    directory: TempDir,
}

impl Loader {
    fn new() -> Self {
        Self {
            directory: TempDir::new().unwrap(),
        }
    }

    fn load(&self, text: &str) -> Result<Settings, ConfigError> {
        let path = self.directory.path().join("squire.toml");
        fs::write(&path, text).unwrap();
        Settings::load_with_env(&path, std::iter::empty())
    }

    /// Loads a spoilt text: it may be right still, but what is refused has a place and a remedy.
    fn assert_placed(&self, text: &str) -> bool {
        let Err(error) = self.load(text) else {
            return false;
        };
        assert!(!error.problems().is_empty());
        for problem in error.problems() {
            let Place::File { line, column, .. } = problem.place else {
                panic!("no place in a file: {problem}\n{text}");
            };
            let lines = text.lines().count() + 1;
            assert!((1..=lines).contains(&line) && column >= 1, "{problem}");
            assert!(!problem.what.is_empty() && !problem.fix.is_empty());
        }
        true
    }
}

/// The reference file with every setting in force that it leaves out.
fn complete() -> String {
    let lines = REFERENCE.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => setting,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The reference file without its comments, in lines.
fn settings_only() -> Vec<String> {
    let complete = complete();
    let lines = complete.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_reference_file_loads_as_it_is_and_its_values_are_the_built_in_defaults() {
    let loader = Loader::new();
    assert_eq!(loader.load(REFERENCE).unwrap(), Settings::default());
    let with_target = format!("{REFERENCE}\n[[target]]\nname = 'a'\nuri = 'memory://'\n");
    let settings = loader.load(&with_target).unwrap();
    assert_eq!(settings.targets[0].policies, Policies::default());
}

#[test]
fn the_settings_the_reference_file_leaves_out_are_right_too() {
    let settings = Loader::new().load(&complete()).unwrap();
    assert_eq!(settings.daemon, Daemon::default());
    assert_eq!(settings.targets.len(), 1);
    assert_eq!(settings.targets[0].name, "flights");
    assert_eq!(settings.targets[0].uri, "/var/lib/flights");
    assert_eq!(settings.targets[0].kind, None);
    assert_eq!(settings.targets[0].policies, Policies::default());
    assert_eq!(
        settings.targets[0].policies_of("logs_a"),
        Policies::default()
    );
}

#[test]
fn a_dropped_character_is_never_a_panic_and_every_error_has_a_place() {
    let (loader, text) = (Loader::new(), settings_only().join("\n"));
    let mut refused = 0;
    for (offset, dropped) in text.char_indices() {
        let spoilt = [&text[..offset], &text[offset + dropped.len_utf8()..]].concat();
        refused += usize::from(loader.assert_placed(&spoilt));
    }
    assert!(refused > text.len() / 2, "{refused} of {}", text.len());
}

#[test]
fn a_strange_character_is_never_a_panic_and_every_error_has_a_place() {
    let (loader, text) = (Loader::new(), settings_only().join("\n"));
    for (offset, _) in text.char_indices() {
        for strange in ["\"", "[", "=", "\n", "é"] {
            let spoilt = [&text[..offset], strange, &text[offset..]].concat();
            loader.assert_placed(&spoilt);
        }
    }
}

#[test]
fn a_file_cut_off_anywhere_is_never_a_panic_and_every_error_has_a_place() {
    let (loader, text) = (Loader::new(), settings_only().join("\n"));
    for (offset, _) in text.char_indices() {
        loader.assert_placed(&text[..offset]);
    }
}

#[test]
fn a_repeated_line_is_refused_with_its_place() {
    let (loader, lines) = (Loader::new(), settings_only());
    for index in 0..lines.len() {
        let mut spoilt = lines.clone();
        spoilt.insert(index, lines[index].clone());
        // A header and a list of tables may stand twice only where TOML says so.
        let refused = loader.assert_placed(&spoilt.join("\n"));
        assert!(refused, "{}", lines[index]);
    }
}

#[test]
fn a_value_of_another_type_is_refused_with_its_place() {
    let (loader, lines) = (Loader::new(), settings_only());
    for (index, line) in lines.iter().enumerate() {
        let Some((key, value)) = line.split_once(" = ") else {
            continue;
        };
        let mut refusals = 0;
        let others = [
            "true",
            "-7",
            "1.5e300",
            "'?!'",
            "[]",
            "{}",
            "1979-05-27",
            "''",
        ];
        for other in others {
            let mut spoilt = lines.clone();
            spoilt[index] = format!("{key} = {other}");
            let refused = loader.assert_placed(&spoilt.join("\n"));
            // A list may be empty.
            let never_fits = other == "{}" || (other == "[]" && !value.starts_with('['));
            assert!(!never_fits || refused, "{key} = {other}");
            refusals += usize::from(refused);
        }
        // A filter takes any text, a switch takes `true`; nothing takes more than one of these.
        assert!(refusals + 1 >= others.len(), "{key} = {value}");
    }
}

#[test]
fn a_removed_line_is_never_a_panic_and_every_error_has_a_place() {
    let (loader, lines) = (Loader::new(), settings_only());
    for index in 0..lines.len() {
        let mut spoilt = lines.clone();
        spoilt.remove(index);
        loader.assert_placed(&spoilt.join("\n"));
    }
}
