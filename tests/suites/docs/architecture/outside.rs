//! What a file uses of another crate.

use std::{collections::BTreeSet, path::Path};

use syn::{
    UseTree,
    visit::{self, Visit},
};

/// The names right below a crate that a file uses.
pub(super) fn used_of(krate: &str, file: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let parsed = syn::parse_file(&text).unwrap();
    let mut used = Used {
        krate,
        names: BTreeSet::new(),
    };
    used.visit_file(&parsed);
    used.names
}

struct Used<'a> {
    krate: &'a str,
    names: BTreeSet<String>,
}

impl Used<'_> {
    fn first_names(&mut self, tree: &UseTree) {
        match tree {
            UseTree::Path(path) => _ = self.names.insert(path.ident.to_string()),
            UseTree::Name(name) => _ = self.names.insert(name.ident.to_string()),
            UseTree::Rename(name) => _ = self.names.insert(name.ident.to_string()),
            UseTree::Glob(_) => _ = self.names.insert("*".to_owned()),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.first_names(tree)),
        }
    }
}

impl<'ast> Visit<'ast> for Used<'_> {
    fn visit_use_tree(&mut self, tree: &'ast UseTree) {
        match tree {
            UseTree::Path(path) if path.ident == self.krate => self.first_names(&path.tree),
            UseTree::Group(_) => visit::visit_use_tree(self, tree),
            _ => {}
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let mut names = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string());
        if names.next().is_some_and(|first| first == self.krate) {
            self.names.extend(names.next());
        }
        visit::visit_path(self, path);
    }
}

#[test]
fn what_is_used_of_a_crate_is_found_in_uses_and_in_paths() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.rs");
    let text = "use a::{b::c, d}; use std::fs; fn f() -> a::E { a::g::h(); other::i() }";
    std::fs::write(&file, text).unwrap();
    let used: Vec<_> = used_of("a", &file).into_iter().collect();
    assert_eq!(used, ["E", "b", "d", "g"]);
}
