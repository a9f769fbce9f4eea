//! Where this project's own files are.

use std::path::{Path, PathBuf};

/// The repository's root, or a file below it: of the checkout in which this runs, or else of that in which it was built.
/// Several may share one target directory.
pub fn file(path: impl AsRef<Path>) -> PathBuf {
    let of_cargo = std::env::var_os("CARGO_MANIFEST_DIR").map(|tests| Path::new(&tests).join(".."));
    let here = std::env::current_dir().ok();
    let runs_in = of_cargo.into_iter().chain(here);
    let root = runs_in
        .filter_map(|root| root.canonicalize().ok())
        .find(|root| root.join("tests/Cargo.toml").is_file());
    let built_in = || Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.unwrap_or_else(built_in).join(path)
}
