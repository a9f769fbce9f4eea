//! The modules of a crate, read from its source: which file each path of its code leads to. Code of tests does not count.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use squire_tests::repository;
use syn::{
    Attribute, Expr, File, Item, ItemMod, Macro, Token, UseTree, Visibility,
    punctuated::Punctuated,
    visit::{self, Visit},
};

use super::Uses;

type Names = Vec<String>;

/// Paths are followed through so many modules that pass a name on.
const DEEPEST: usize = 8;

/// A crate, by its modules.
pub(super) struct Crate {
    source: PathBuf,
    modules: BTreeMap<Names, Module>,
}

struct Module {
    file: PathBuf,
    items: Vec<Item>,
    /// Names that it passes on, with the paths that they stand for.
    passed_on: BTreeMap<String, Names>,
}

impl Crate {
    /// Reads the crate in a folder of the repository.
    pub(super) fn read(krate: &str, root: &str) -> Self {
        let source = repository::file(krate).join("src");
        let mut read = Self {
            modules: BTreeMap::new(),
            source: source.clone(),
        };
        read.add(Vec::new(), source.join(root), &source);
        read
    }

    /// Adds a module, and those below it, whose files are in `folder`.
    fn add(&mut self, name: Names, file: PathBuf, folder: &Path) {
        let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let File { items, .. } = syn::parse_file(&text).expect("it compiles");
        let mut items: Vec<_> = items.into_iter().filter(|item| !is_test(item)).collect();
        for item in &items {
            let Item::Mod(ItemMod {
                ident,
                content: None,
                attrs,
                ..
            }) = item
            else {
                continue;
            };
            let below = ident.to_string();
            assert!(
                !attrs.iter().any(|a| a.path().is_ident("path")),
                "{below}: only tests have paths of their own"
            );
            let alone = folder.join(format!("{below}.rs"));
            let with_more = folder.join(&below).join("mod.rs");
            let its = if alone.is_file() { alone } else { with_more };
            let mut name = name.clone();
            name.push(below.clone());
            self.add(name, its, &folder.join(below));
        }
        let mut passed_on = BTreeMap::new();
        for item in &items {
            if let Item::Use(item) = item
                && !matches!(item.vis, Visibility::Inherited)
            {
                leaves(&item.tree, Vec::new(), &mut |alias, path| {
                    passed_on.insert(alias, path);
                });
            }
        }
        // What is only passed on is used by whoever uses it from here.
        items.retain(
            |item| !matches!(item, Item::Use(item) if !matches!(item.vis, Visibility::Inherited)),
        );
        let module = Module {
            file,
            items,
            passed_on,
        };
        self.modules.insert(name, module);
    }

    /// Which files each file uses.
    pub(super) fn uses(&self) -> Uses {
        let short = |file: &Path| {
            let below = file.strip_prefix(&self.source).expect("it is below");
            below.display().to_string()
        };
        let mut uses = Uses::new();
        for (name, module) in &self.modules {
            let mut paths = Paths::default();
            module.items.iter().for_each(|item| paths.visit_item(item));
            let leads = paths
                .found
                .iter()
                .filter_map(|path| self.leads(name, path, 0));
            let files: BTreeSet<_> = leads.map(|to| short(&self.modules[&to].file)).collect();
            let own = short(&module.file);
            let all: &mut BTreeSet<_> = uses.entry(own.clone()).or_default();
            all.extend(files.into_iter().filter(|file| *file != own));
        }
        uses
    }

    /// The module that a path leads to, as it is read in a module; nothing where it leads out of the crate.
    fn leads(&self, from: &[String], path: &[String], deep: usize) -> Option<Names> {
        if deep > DEEPEST {
            return None;
        }
        let mut at = from.to_vec();
        let mut rest = path;
        match rest.first()?.as_str() {
            "crate" => {
                at.clear();
                rest = &rest[1..];
            }
            "self" => rest = &rest[1..],
            "super" => {
                while rest.first().is_some_and(|name| name == "super") {
                    at.pop()?;
                    rest = &rest[1..];
                }
            }
            first => {
                let known = self.modules.contains_key(&child(&at, first));
                if !known && !self.modules[&at].passed_on.contains_key(first) {
                    return None;
                }
            }
        }
        while let Some((name, more)) = rest.split_first() {
            let below = child(&at, name);
            if self.modules.contains_key(&below) {
                at = below;
                rest = more;
                continue;
            }
            let Some(passed_on) = self.modules[&at].passed_on.get(name) else {
                break;
            };
            let whole: Names = passed_on.iter().chain(more).cloned().collect();
            return self.leads(&at, &whole, deep + 1).or(Some(at));
        }
        Some(at)
    }
}

fn child(of: &[String], name: &str) -> Names {
    of.iter().cloned().chain([name.to_owned()]).collect()
}

fn is_test(item: &Item) -> bool {
    let attributes: &[Attribute] = match item {
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    };
    attributes.iter().any(|attribute| {
        let is_cfg = attribute.path().is_ident("cfg");
        is_cfg
            && attribute
                .parse_args::<syn::Path>()
                .is_ok_and(|path| path.is_ident("test"))
    })
}

/// Each name that a `use` brings, with the path that it stands for.
fn leaves(tree: &UseTree, mut path: Names, found: &mut impl FnMut(String, Names)) {
    match tree {
        UseTree::Path(tree) => {
            path.push(tree.ident.to_string());
            leaves(&tree.tree, path, found);
        }
        UseTree::Name(tree) if tree.ident == "self" => {
            found(path.last().cloned().unwrap_or_default(), path);
        }
        UseTree::Name(tree) => {
            path.push(tree.ident.to_string());
            found(tree.ident.to_string(), path);
        }
        UseTree::Rename(tree) => {
            if tree.ident != "self" {
                path.push(tree.ident.to_string());
            }
            found(tree.rename.to_string(), path);
        }
        UseTree::Glob(_) => found("*".to_owned(), path),
        UseTree::Group(tree) => {
            for tree in &tree.items {
                leaves(tree, path.clone(), found);
            }
        }
    }
}

/// The paths of a module's code.
#[derive(Default)]
struct Paths {
    found: BTreeSet<Names>,
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test(item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_use_tree(&mut self, tree: &'ast UseTree) {
        leaves(tree, Vec::new(), &mut |_, path| {
            self.found.insert(path);
        });
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Names = path.segments.iter().map(|s| s.ident.to_string()).collect();
        // A name alone was brought by a `use`, or is the module's own.
        if names.len() > 1 {
            self.found.insert(names);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast Macro) {
        self.visit_path(&called.path);
        // Most macros take expressions.
        let inside = called.parse_body_with(Punctuated::<Expr, Token![,]>::parse_terminated);
        for expression in inside.iter().flatten() {
            // What is parsed here ends here.
            let mut inner = Self::default();
            inner.visit_expr(expression);
            self.found.extend(inner.found);
        }
    }
}
