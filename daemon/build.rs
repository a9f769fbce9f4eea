//! Says which compiler builds this, for `squire_build_info`, and when: a clock that is behind that is wrong.

use std::{
    env,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = Command::new(rustc).arg("--version").output();
    let said = said.map(|out| String::from_utf8_lossy(&out.stdout).into_owned());
    // `rustc 1.97.0 (2d8144b78 2026-07-07)`
    let version = said.as_deref().unwrap_or("").split_whitespace().nth(1);
    println!(
        "cargo::rustc-env=SQUIRE_RUSTC={}",
        version.unwrap_or("unknown")
    );
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    let given = env::var("SOURCE_DATE_EPOCH").ok();
    let built = given.or_else(|| {
        #[expect(
            clippy::disallowed_methods,
            reason = "a build script has no other dependency"
        )]
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Some(since.ok()?.as_secs().to_string())
    });
    println!(
        "cargo::rustc-env=SQUIRE_BUILT={}",
        built.unwrap_or_default()
    );
}
