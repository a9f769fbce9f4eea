//! The documents, taken apart.

use std::path::PathBuf;

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use squire_tests::repository;

/// One document.
pub(crate) struct Page {
    /// Its path in the repository.
    pub(crate) path: PathBuf,
    /// Its fenced blocks, in order.
    pub(crate) blocks: Vec<Block>,
    /// Code within its text, with the line.
    pub(crate) code: Vec<(usize, String)>,
    /// Where its links lead, with the line.
    pub(crate) links: Vec<(usize, String)>,
    /// Its headings, as they are linked to.
    pub(crate) anchors: Vec<String>,
}

/// A fenced block.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// Where it stands: `docs/lancedb.md:11`.
    pub(crate) place: String,
    /// The words after the fence.
    pub(crate) info: Vec<String>,
    /// What is in it.
    pub(crate) text: String,
}

impl Block {
    /// What it is written in; nothing where the fence does not say.
    pub(crate) fn language(&self) -> &str {
        self.info.first().map_or("", String::as_str)
    }

    /// The file that it is.
    pub(crate) fn file(&self) -> Option<&str> {
        let word = self.info.get(1)?;
        (!word.contains('=')).then_some(word)
    }

    /// The suite that runs it, where it is not run here.
    pub(crate) fn ran_by(&self) -> Option<&str> {
        self.info
            .iter()
            .find_map(|word| word.strip_prefix("ran-by="))
    }
}

/// Every document.
pub(crate) fn all() -> Vec<Page> {
    let mut paths = vec![
        PathBuf::from("README.md"),
        PathBuf::from("CHANGELOG.md"),
        PathBuf::from("CONTRIBUTING.md"),
        PathBuf::from("systemd/README.md"),
        PathBuf::from(".github/SECURITY.md"),
    ];
    let docs = std::fs::read_dir(repository::file("docs")).expect("there are documents");
    let docs = docs.map(|entry| PathBuf::from("docs").join(entry.unwrap().file_name()));
    paths.extend(docs.filter(|path| path.extension().is_some_and(|e| e == "md")));
    paths.sort();
    paths.into_iter().map(Page::read).collect()
}

impl Page {
    fn read(path: PathBuf) -> Self {
        let text =
            std::fs::read_to_string(repository::file(&path)).expect("a document can be read");
        let mut page = Self {
            path,
            blocks: Vec::new(),
            code: Vec::new(),
            links: Vec::new(),
            anchors: Vec::new(),
        };
        let (mut block, mut heading) = (None::<Block>, None::<String>);
        for (event, range) in Parser::new_ext(&text, Options::ENABLE_TABLES).into_offset_iter() {
            let line = text[..range.start].matches('\n').count() + 1;
            match event {
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                    block = Some(Block {
                        place: format!("{}:{line}", page.path.display()),
                        info: info.split_whitespace().map(str::to_owned).collect(),
                        text: String::new(),
                    });
                }
                Event::End(TagEnd::CodeBlock) => page.blocks.extend(block.take()),
                Event::Start(Tag::Heading { level, .. }) if level != HeadingLevel::H1 => {
                    heading = Some(String::new());
                }
                Event::End(TagEnd::Heading(_)) => {
                    page.anchors
                        .extend(heading.take().map(|text| anchor(&text)));
                }
                Event::Start(Tag::Link { dest_url, .. }) => {
                    page.links.push((line, dest_url.into_string()));
                }
                Event::Text(part) => {
                    if let Some(block) = &mut block {
                        block.text.push_str(&part);
                    } else if let Some(heading) = &mut heading {
                        heading.push_str(&part);
                    }
                }
                Event::Code(code) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&code);
                    }
                    page.code.push((line, code.into_string()));
                }
                _ => {}
            }
        }
        page
    }
}

/// A heading as it is linked to: small letters, no punctuation, hyphens for blanks.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter_map(|c| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c if c.is_alphanumeric() => Some(c),
        _ => None,
    });
    kept.flat_map(char::to_lowercase).collect()
}
