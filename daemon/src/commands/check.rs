//! `squire check`.

use std::path::Path;

use squire_config::Settings;

use super::Done;
use crate::{output, service};

pub(super) fn run(config: &Path) -> Done {
    let settings = Settings::load(config)?;
    settings.require_targets(config)?;
    service::validate(&settings)?;
    for target in &settings.targets {
        output::say(&format!("{}: {}", target.name, target.uri));
    }
    output::say(&format!("{} is good", config.display()));
    Ok(())
}
