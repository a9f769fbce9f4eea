//! `squire man`: manual pages, made of what `--help` says.

use std::path::Path;

use clap::CommandFactory;

use crate::{
    cli::Cli,
    exit::{Done, Failure},
};

pub(super) fn run(folder: &Path) -> Done {
    let written = std::fs::create_dir_all(folder);
    let written = written.and_then(|()| clap_mangen::generate_to(Cli::command(), folder));
    written.map_err(|e| {
        Failure::Machine(format!(
            "the manual pages cannot be written to {}: {e}",
            folder.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_command_that_a_person_is_shown_has_a_manual_page() {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        run(folder.path()).expect("the folder can be written");
        let pages = std::fs::read_dir(folder.path()).expect("it is there");
        let pages: BTreeSet<_> = pages
            .map(|page| page.expect("it can be read").file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        let squire = Cli::command();
        let shown = squire.get_subcommands().filter(|c| !c.is_hide_set());
        for command in shown {
            let page = format!("squire-{}.1", command.get_name());
            assert!(pages.contains(&page), "{page} of {pages:?}");
        }
        let first = std::fs::read_to_string(folder.path().join("squire.1"));
        assert!(first.expect("there is one").contains("squire\\-compact(1)"));
        assert!(!pages.contains("squire-man.1"), "it is for packages");
    }
}
