use std::collections::BTreeMap;

use squire_tests::daemon;

use crate::{pages, scene::Scene};

/// Each document has a scene of its own; its blocks run in their order, as they stand.
#[tokio::test(flavor = "multi_thread")]
async fn every_command_in_the_documents_runs_as_it_stands() {
    let mut ran = 0;
    for page in pages::all() {
        let runs = |block: &&pages::Block| {
            matches!(block.language(), "sh" | "python") && block.ran_by().is_none()
        };
        if page.blocks.iter().find(runs).is_none() {
            continue;
        }
        let mut scene = Scene::new().await;
        for block in &page.blocks {
            if let Some(file) = block.file() {
                scene.write(file, &block.text);
            } else if runs(&block) {
                scene.run(block).await;
                ran += 1;
            }
        }
    }
    assert!(ran > 5, "{ran} blocks ran");
}

/// A command that is only mentioned exists, with the options that are mentioned.
#[tokio::test]
async fn every_command_and_option_that_the_text_mentions_exists() {
    let pages = pages::all();
    let mut helps = BTreeMap::new();
    for page in &pages {
        for (line, code) in &page.code {
            let Some(command) = code.strip_prefix("squire ") else {
                continue;
            };
            let place = format!("{}:{line}: `{code}`", page.path.display());
            let words: Vec<_> = command.split_whitespace().collect();
            let named = words
                .iter()
                .take_while(|w| w.chars().all(|c| c.is_ascii_lowercase()));
            // At most a command and what it is about: `schema plan`.
            let mut names: Vec<_> = named.take(2).copied().collect();
            let wanted = names.len().min(1);
            while !helps.contains_key(&names) {
                let asked = daemon::run(names.iter().copied().chain(["--help"])).await;
                let asked = asked.unwrap();
                if asked.status.success() {
                    helps.insert(names.clone(), String::from_utf8(asked.stdout).unwrap());
                } else {
                    names.pop();
                }
            }
            assert!(names.len() >= wanted, "{place}: no such command");
            let help = &helps[&names];
            for option in words.iter().filter(|w| w.starts_with("--")) {
                let option = option.split('=').next().unwrap();
                assert!(help.contains(option), "{place}: it has no {option}");
            }
        }
    }
    assert!(helps.len() > 5);
}
