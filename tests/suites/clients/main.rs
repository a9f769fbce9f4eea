//! Real LanceDB clients of several versions, whose tables Squire maintains: what they see of them stays as it was, they
//! work on as before, and the newest client sees the same. `make clients` runs all versions, and prints the matrix.
#![allow(missing_docs)]

mod beside;
mod rules;
mod scope;
mod version;

use squire_tests::{
    clients::matrix::{self, Seen, Way},
    show::say,
};

use scope::Scope;
use version::Version;

#[tokio::test(flavor = "multi_thread")]
async fn every_client_sees_what_it_saw_and_keeps_every_index_whoever_maintains_its_tables() {
    let scope = Scope::wanted();
    let mut versions = Vec::new();
    for version in &scope.versions {
        let version = Version::start(version, &scope).await;
        versions.push(version.observe(&scope).await);
    }
    let bad = report(&scope, &versions);
    assert_eq!(bad, 0, "{bad} answers are bad; they stand above");
}

/// Prints everything; gives how many answers are bad with Squire.
fn report(scope: &Scope, versions: &[(String, Seen)]) -> usize {
    for way in &scope.ways {
        say(format!("\n{way}"));
        say(matrix::print(*way, versions));
    }
    let mut bad = 0;
    for way in scope.ways.iter().filter(|way| **way != Way::Alone) {
        for (version, seen) in versions {
            let ((answers, lines), refusals) = (seen.bad(*way), seen.refusals(*way));
            if lines.is_empty() && refusals.is_empty() {
                continue;
            }
            say(format!("\n{version}, {way}:"));
            for line in refusals {
                say(format!("  left alone at {line}"));
            }
            for line in &lines {
                say(format!("  BAD {line}"));
            }
            if way.is_squire() {
                bad += answers;
            }
        }
    }
    if scope.ways.contains(&Way::Peer) {
        let squire = scope.ways.iter().filter(|way| way.is_squire());
        for way in squire {
            let worse: usize = versions
                .iter()
                .map(|(_, seen)| seen.worse_than_the_peer(*way))
                .sum();
            say(format!(
                "\n{way}: {worse} answers are bad where the peer's are good"
            ));
        }
    }
    bad
}
