//! Spoilt inputs, in the size of every day: those that are kept, and a few hundred fresh ones for each target. And the test
//! of the test: a fuzzer that finds what is wrong on purpose, and says how to see it again.
#![allow(missing_docs)]

use std::{
    path::{Path, PathBuf},
    process::Output,
};

use squire_tests::{process, show::say};
use tokio::process::Command;

/// Runs the fuzzer to its end.
async fn fuzz(args: &[&str], patience: u64) -> (Output, String) {
    let program = process::built("squire-fuzz").unwrap();
    let ran = Command::new(program)
        .args(args)
        .env("SQUIRE_FUZZ_PATIENCE", patience.to_string())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8(ran.stdout.clone()).unwrap();
    (ran, said)
}

/// The kept inputs of a target and so many fresh ones.
async fn holds(target: &str, cases: &str) {
    // Always the same ones: `make fuzz` tries others.
    let args = [target, "--cases", cases, "--seed", "1"];
    let (ran, said) = fuzz(&args, 120).await;
    say(&said);
    let noise = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}{noise}");
    assert!(said.contains(" 0 faults"), "{said}{noise}");
}

macro_rules! targets {
    ($($promise:ident: $name:literal, $cases:literal;)*) => {
        $(#[tokio::test]
        async fn $promise() {
            holds($name, $cases).await;
        })*
    };
}

targets! {
    no_spoilt_uri_and_no_answer_of_a_store_has_a_secret_repeated: "uri", "5000";
    a_spoilt_manifest_or_sidecar_of_a_graph_is_damaged_or_read_as_it_is_written: "codec", "1000";
    a_spoilt_schema_is_refused_with_its_line_or_written_as_it_was_read: "schema", "500";
    a_spoilt_file_is_refused_by_its_name_or_read_in_batches_that_fit: "input", "500";
    a_table_with_a_spoilt_manifest_is_maintained_or_named_in_an_error: "manifest", "150";
    a_graph_with_a_spoilt_object_is_healed_or_named_in_an_error: "graph", "150";
    a_spoilt_request_is_answered_and_others_are_answered_after_it: "http", "300";
    a_daemon_starts_with_a_spoilt_state_folder_or_names_it: "state", "15";
}

/// The input that a fault names.
fn input(said: &str, fault: &str) -> PathBuf {
    let fault = format!("time(s): {fault}");
    let after = said
        .split_once(&fault)
        .unwrap_or_else(|| panic!("{fault}: {said}"))
        .1;
    let file = after
        .lines()
        .find_map(|line| line.trim().strip_prefix("input: "));
    PathBuf::from(file.unwrap())
}

async fn again(file: &Path) -> (Output, String) {
    let file = file.to_str().unwrap();
    fuzz(&["dud", "--replay", file], 2).await
}

#[tokio::test]
async fn the_fuzzer_finds_each_way_to_go_wrong_and_its_input_shows_it_again() {
    let (ran, said) = fuzz(&["dud", "--cases", "400", "--seed", "1"], 2).await;
    say(&said);
    assert!(!ran.status.success(), "{said}");
    for (fault, word) in [
        ("panics: on purpose", "PANIC"),
        ("ends its process by signal 6", "ABORT"),
        ("hangs: not done after 2 s", "HANG"),
        ("takes 100 MiB", "EATS"),
        ("it is not as it was promised", "LIES"),
    ] {
        let file = input(&said, fault);
        let text = String::from_utf8_lossy(&std::fs::read(&file).unwrap()).into_owned();
        assert!(text.contains(word), "{fault}: {text:?}");
        // What can be tried in one process was made as small as it gets.
        if !["ABORT", "HANG"].contains(&word) {
            assert_eq!(text, word, "{fault}");
        }
        let (ran, told) = again(&file).await;
        assert!(!ran.status.success(), "{fault}: {told}");
        assert!(word == "ABORT" || told.contains(fault), "{fault}: {told}");
    }
}

#[tokio::test]
async fn a_seed_makes_the_same_inputs_again() {
    let run = async || {
        let (_, said) = fuzz(&["uri", "--cases", "2000", "--seed", "7"], 60).await;
        let taken = said
            .split_once(" taken")
            .map(|(before, _)| before.to_owned());
        let taken = taken.and_then(|before| before.rsplit(' ').next().map(str::to_owned));
        taken.unwrap_or_else(|| panic!("{said}"))
    };
    assert_eq!(run().await, run().await);
}
