use squire_tests::repository;

use crate::pages;

#[test]
fn every_link_within_the_documents_leads_to_a_file_and_a_heading_that_are_there() {
    let pages = pages::all();
    let mut broken = Vec::new();
    for page in &pages {
        for (line, link) in &page.links {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let folder = page.path.parent().unwrap();
            let to = if file.is_empty() {
                page.path.clone()
            } else {
                normal(&folder.join(file))
            };
            let known = pages.iter().find(|other| other.path == to);
            let there = match known {
                Some(other) => anchor.is_empty() || other.anchors.iter().any(|a| a == anchor),
                None => anchor.is_empty() && repository::file(&to).exists(),
            };
            if !there {
                broken.push(format!("{}:{line}: {link}", page.path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Whoever moves a file of the sources finds the document that speaks of it.
#[test]
fn every_file_of_the_sources_that_a_document_names_is_there() {
    let (mut found, mut lacking) = (0, Vec::new());
    for page in pages::all() {
        for (line, code) in page.code.iter().filter(|(_, code)| is_source(code)) {
            found += 1;
            if !repository::file(code).exists() {
                lacking.push(format!("{}:{line}: {code}", page.path.display()));
            }
        }
    }
    assert!(found > 100, "{found} files were found");
    assert!(lacking.is_empty(), "{}", lacking.join("\n"));
}

/// Whether it is a path below a folder of the sources, without a placeholder such as `TARGET`.
fn is_source(code: &str) -> bool {
    const TOPS: [&str; 5] = ["config/", "daemon/", "engine/", "systemd/", "tests/"];
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    let placeholder = |part: &str| {
        let stem = part.split('.').next().unwrap_or(part);
        stem.len() > 1 && stem != "README" && stem.chars().all(|c| c.is_ascii_uppercase())
    };
    TOPS.iter().any(|top| code.starts_with(top))
        && code.chars().all(plain)
        && !code.split('/').any(placeholder)
}

#[test]
fn a_path_of_the_sources_is_told_from_a_placeholder_and_from_other_words() {
    assert!(is_source("engine/src/table/"));
    assert!(is_source("systemd/README.md"));
    assert!(!is_source("tests/data/fuzz/TARGET/"));
    assert!(!is_source("tests/python/clients/VERSION.txt"));
    assert!(!is_source("config/prometheus/*_test.yml"));
    assert!(!is_source("keeper/mod.rs"));
}

/// Without `..`.
fn normal(path: &std::path::Path) -> std::path::PathBuf {
    let mut normal = std::path::PathBuf::new();
    for part in path.components() {
        if part == std::path::Component::ParentDir {
            normal.pop();
        } else {
            normal.push(part);
        }
    }
    normal
}
