use std::fs;
use std::path::Path;

const REFERENCE: &str = include_str!("../../squire.toml");

/// Every configuration that is spoilt: each is good as it stands.
pub(crate) fn all() -> Vec<String> {
    let mut all = vec![REFERENCE.to_owned(), complete()];
    // Tests run in their package's folder. The path of the build may be that of another checkout.
    let root = Path::new("..");
    let docs = fs::read_dir(root.join("docs")).unwrap();
    let mut pages: Vec<_> = docs.map(|entry| entry.unwrap().path()).collect();
    pages.push(root.join("README.md"));
    pages.sort();
    for page in pages {
        all.extend(examples(&fs::read_to_string(page).unwrap()));
    }
    assert!(all.len() > 4, "the documents have examples");
    all
}

/// The reference file with every setting in force that it leaves out, and with no comments.
fn complete() -> String {
    let settings = REFERENCE
        .lines()
        .filter_map(|line| match line.strip_prefix('#') {
            Some(comment) if comment.is_empty() || comment.starts_with(' ') => None,
            Some(setting) => Some(setting),
            None => (!line.is_empty()).then_some(line),
        });
    settings.collect::<Vec<_>>().join("\n")
}

/// The configurations among the blocks of a page.
fn examples(page: &str) -> Vec<String> {
    let blocks = page.split("\n```toml").skip(1);
    let texts = blocks.filter_map(|block| Some(block.split_once('\n')?.1.split_once("\n```")?.0));
    let is_config = |text: &&str| {
        ["[[target]]", "[daemon]", "[defaults"]
            .iter()
            .any(|header| text.contains(header))
    };
    texts.filter(is_config).map(str::to_owned).collect()
}
