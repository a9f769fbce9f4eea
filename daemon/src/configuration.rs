//! The configuration as every command reads it: with what only this program can tell to be wrong with it.

use std::path::Path;

use chrono::Utc;
use squire_config::{Layers, Refusal, Settings};

use crate::{
    cli::{ConfigArg, LayersArg},
    cron,
    exit::Failure,
    logging,
};

/// What a command reads that is given a file.
pub(crate) fn layers(config: &ConfigArg) -> Layers {
    Layers::of_process(&config.config).with_check(fault)
}

/// What a service reads that is given a file, and nothing of this process's environment.
pub(crate) fn layers_of_file(file: &Path) -> Layers {
    Layers::new(file, []).with_check(fault)
}

/// What a command reads that is given a file and flags over it.
pub(crate) fn layers_with_flags(args: &LayersArg) -> Layers {
    let listen = args.listen.iter().map(|a| format!("daemon.listen={a}"));
    layers(&args.config).with_flags(args.set.iter().cloned().chain(listen))
}

/// Loads a configuration that a daemon can run with.
pub(crate) fn load_for_daemon(layers: &Layers) -> Result<Settings, Failure> {
    let loaded = layers.load()?;
    loaded.settings.require_targets(layers.file())?;
    loaded.require_separate_places(layers.file())?;
    Ok(loaded.settings)
}

/// What is wrong with log directives or a schedule: the libraries that use them have the last word.
fn fault(key: &str, text: &str) -> Option<Refusal> {
    if key == "daemon.log" {
        logging::fault(text)
    } else if key.ends_with(".cron") && text != "off" {
        cron::fault(text, Utc::now())
    } else {
        None
    }
}
