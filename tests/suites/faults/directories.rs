//! The crash matrix of cleanup on a table that knows nothing of Squire: whatever goes wrong at any deletion, every
//! version that retention promises can be read in full, and the next cleanup finishes the work.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use lance::dataset::builder::DatasetBuilder;
use squire_engine::{Cleaned, Directory, DirectoryOptions, TableKey, planner::Ask};
use squire_tests::{
    fault::{Counts, Fault, Faulty},
    fingerprint::Fingerprint,
    flights::flights,
    place::{Place, Template},
    stranger::Stranger,
};
use tokio_util::sync::CancellationToken;

use crate::cleanups::keeping;

const KEPT: usize = 3;
const AT_ONCE: usize = 8;

/// What readers were promised: rows by version.
type Promised = BTreeMap<u64, Fingerprint>;

/// A table of fifteen versions: appends, deletes and rewrites, the fourth with a tag.
async fn written_often() -> Place {
    let place = Place::empty();
    let mut stranger = Stranger::create(&place.lance_uri(), "t.lance", flights(0, 10)).await;
    for round in 1..4 {
        stranger.append(flights(round * 10, 10)).await;
        stranger.append(flights(round * 10 + 1, 10)).await;
        stranger
            .delete(&format!("day = {} AND dest < 'D03'", round * 10))
            .await;
        stranger.compact().await;
    }
    stranger.dataset().tags().create("audit", 4).await.unwrap();
    place
}

async fn versions(place: &Place) -> BTreeSet<u64> {
    let uri = format!("{}/t.lance", place.lance_uri());
    let dataset = DatasetBuilder::from_uri(uri).load().await.unwrap();
    let listed = dataset.version_refs().await.unwrap();
    listed.into_iter().map(|v| v.version).collect()
}

async fn read(place: &Place, version: u64) -> Fingerprint {
    let dataset = DatasetBuilder::from_uri(format!("{}/t.lance", place.lance_uri()))
        .with_version(version)
        .load()
        .await
        .unwrap_or_else(|e| panic!("version {version} is promised: {e}"));
    let rows = Fingerprint::of(&dataset).await;
    rows.unwrap_or_else(|e| panic!("version {version} is promised in full: {e}"))
}

async fn clean(place: Place, faulty: Faulty) -> squire_engine::Result<Cleaned> {
    let options = DirectoryOptions {
        wrapper: faulty.wrapper(),
        ..DirectoryOptions::default()
    };
    let directory = Directory::open(place.uri(), options).await?;
    let (table, ask, stop) = (
        TableKey::of_directory("t"),
        Ask::default(),
        CancellationToken::new(),
    );
    directory.cleanup(&table, &keeping(KEPT), &ask, &stop).await
}

/// One deletion and one fault. Says whether the fault came to pass.
async fn case(
    begins: &Template,
    promised: &Promised,
    left: &BTreeSet<String>,
    n: usize,
    fault: Fault,
) -> bool {
    let place = begins.place().await;
    let faulty = Faulty::at(Counts::Operations, n, fault);
    let mut cleanup = tokio::spawn(clean(place.clone(), faulty.clone()));
    let struck = tokio::select! {
        cleaned = &mut cleanup => {
            cleaned.unwrap().unwrap();
            false
        }
        () = faulty.struck() => true,
    };
    match fault {
        _ if !struck => {}
        Fault::CrashBefore | Fault::CrashAfter => cleanup.abort(),
        Fault::Unknown => _ = cleanup.await.unwrap().unwrap(),
        Fault::StallBefore | Fault::StallAfter => {
            clean(place.clone(), Faulty::default()).await.unwrap();
            faulty.resume();
            cleanup.await.unwrap().unwrap();
        }
    }
    for (version, rows) in promised {
        assert_eq!(read(&place, *version).await, *rows, "version {version}");
    }
    // The next one finishes the work.
    clean(place.clone(), Faulty::default()).await.unwrap();
    assert_eq!(below(&place).await, *left);
    for (version, rows) in promised {
        assert_eq!(read(&place, *version).await, *rows, "version {version}");
    }
    let mut stranger = Stranger::at(&place.lance_uri(), "t.lance").await;
    stranger.append(flights(99, 5)).await;
    faulty.has_struck()
}

/// The objects of the table, by their paths below the root.
async fn below(place: &Place) -> BTreeSet<String> {
    let (_, root) = place.store().await;
    let objects = place.objects("t.lance/").await;
    let paths = objects
        .iter()
        .filter_map(|path| path.strip_prefix(root.as_ref()));
    paths.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_at_any_deletion_every_promised_version_of_a_directory_can_be_read() {
    let begins = written_often().await.template().await;
    let place = begins.place().await;
    let all = versions(&place).await;
    let mut promised = Promised::new();
    for &version in all.iter().rev().take(KEPT).chain([&4]) {
        promised.insert(version, read(&place, version).await);
    }
    let faulty = Faulty::never(Counts::Operations);
    let cleaned = clean(place.clone(), faulty.clone()).await.unwrap();
    assert!(matches!(cleaned, Cleaned::Done(_)), "{cleaned:?}");
    let left = below(&place).await;
    assert_eq!(versions(&place).await, promised.keys().copied().collect());
    let deletions = faulty.writes().len();
    assert!(
        deletions > 2 * (all.len() - promised.len()),
        "versions, transactions and files: {deletions}"
    );

    let cases = (0..deletions).flat_map(|n| Fault::ALL.map(|fault| (n, fault)));
    let came_to_pass: Vec<bool> = stream::iter(cases)
        .map(|(n, fault)| case(&begins, &promised, &left, n, fault))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    assert!(
        came_to_pass.iter().all(|came| *came),
        "every fault came to pass"
    );
    assert_eq!(came_to_pass.len(), deletions * Fault::ALL.len());
}
