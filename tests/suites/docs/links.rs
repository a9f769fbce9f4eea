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
