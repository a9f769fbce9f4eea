//! A bank whose writers and daemons are killed hundreds of times.

use std::process::Command;

#[test]
fn nothing_is_lost_torn_or_done_twice_however_often_writers_and_daemons_are_killed() {
    let mut soak = Command::new(env!("CARGO_BIN_EXE_squire-soak"));
    if let Ok(seed) = std::env::var("SEED") {
        soak.args(["--seed", &seed]);
    }
    let ran = soak.output().expect("the soak can be started");
    let said = String::from_utf8_lossy(&ran.stdout);
    println!("{said}");
    let complained = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}{complained}");
}
