//! Clones and branches whose client knows the table by a link of another name, and clones of tables of a graph.

use std::path::PathBuf;

use lance::Dataset;
use squire_engine::{Cleaned, Graph, Kept, Options, TableKey, planner::cleanup::Skip};
use squire_tests::{
    flights::{flights, schema},
    stranger::Stranger,
    torn::{Tear, tear_newest_manifest},
};

use super::{
    clean, days,
    disk::{Lake, rows},
    done, forget_all_but, greedy,
};

/// A table of so many versions, and the path of a link to its folder that has another name and lies outside of the root.
async fn linked(lake: &Lake, versions: i32) -> (Stranger, PathBuf) {
    lake.table(&lake.aliases()[0], "t", versions).await;
    let link = lake.root().with_file_name("archive.lance");
    std::os::unix::fs::symlink(lake.folder("t"), &link).unwrap();
    let client = Stranger::at(link.parent().unwrap().to_str().unwrap(), "archive.lance").await;
    (client, link)
}

fn copy_of(lake: &Lake) -> String {
    lake.folder("copy").display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_clone_reads_by_a_link_of_another_name_stays_and_the_rest_goes() {
    let lake = Lake::new();
    let (mut main, _) = linked(&lake, 6).await;
    let mut source = main.dataset().clone();
    let cloned = source.shallow_clone(&copy_of(&lake), 3_u64, None).await;
    cloned.unwrap();
    main.compact().await;
    main.overwrite(flights(9, 20)).await;
    let clone = Kept::Clone {
        table: TableKey::of_directory("copy"),
        versions: Some(vec![7]),
    };
    let kept = lake.preview("t").await.kept;
    assert!(kept.contains(&clone), "{kept:?}");
    assert!(done(lake.clean("t", &greedy()).await.unwrap()).versions >= 5);
    let copy = Dataset::open(&copy_of(&lake)).await.unwrap();
    assert_eq!(rows(&copy).await.unwrap(), 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_clone_that_reads_by_a_link_of_another_name_keeps_its_source() {
    for how in Tear::ALL {
        let lake = Lake::new();
        let (mut main, _) = linked(&lake, 6).await;
        let mut source = main.dataset().clone();
        let cloned = source.shallow_clone(&copy_of(&lake), 3_u64, None).await;
        cloned.unwrap().delete("day = 0").await.unwrap();
        main.overwrite(flights(9, 20)).await;
        tear_newest_manifest(&lake.folder("copy"), how).unwrap();
        assert_eq!(
            lake.clean("t", &greedy()).await.unwrap(),
            Cleaned::Skipped(Skip::Protected),
            "{how:?}"
        );
    }
}

/// A client's own cleanup has removed the version that the branch began at, and its files are in later versions.
#[tokio::test(flavor = "multi_thread")]
async fn a_branch_whose_beginning_is_gone_reads_on_by_a_link_of_another_name() {
    let lake = Lake::new();
    let (mut main, link) = linked(&lake, 5).await;
    let mut source = main.dataset().clone();
    source.create_branch("exp", 3, None).await.unwrap();
    main.compact().await;
    main.append(flights(7, 20)).await;
    let manifest = format!("_versions/{}.manifest", u64::MAX - 3);
    std::fs::remove_file(lake.folder("t").join(manifest)).unwrap();
    done(lake.clean("t", &greedy()).await.unwrap());
    let fresh = Dataset::open(link.to_str().unwrap()).await.unwrap();
    let branch = fresh.checkout_version(("exp", None)).await.unwrap();
    assert_eq!(rows(&branch).await.unwrap(), 60);
}

/// Its client knows nothing of the graph, and takes its root for a directory.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_clone_reads_of_a_table_of_a_graph_stays_and_the_rest_goes() {
    let lake = Lake::new();
    let root = lake.root().display().to_string();
    let created = Graph::create(&root, schema(), Options::default()).await;
    let graph = created.unwrap();
    days(&graph, 0..12).await;
    let mut flights = Dataset::open(&format!("{root}/Flight.lance"))
        .await
        .unwrap();
    let third = flights.checkout_version(3).await.unwrap();
    let whole = rows(&third).await.unwrap();
    let cloned = flights.shallow_clone(&copy_of(&lake), 3_u64, None).await;
    cloned.unwrap();
    // The clone's files are in no later version any more.
    let (table, stop) = (
        squire_tests::flights::key("edge:Flight"),
        tokio_util::sync::CancellationToken::new(),
    );
    let policy = squire_engine::planner::compaction::CompactionPolicy::default();
    let forced = squire_engine::planner::Ask::forced();
    let compacted = graph.compact(&table, &policy, &forced, &stop).await;
    compacted.unwrap();
    days(&graph, 12..14).await;
    forget_all_but(&graph, 2).await;
    assert!(done(clean(&graph).await).versions > 5);
    let copy = Dataset::open(&copy_of(&lake)).await.unwrap();
    assert_eq!(rows(&copy).await.unwrap(), whole);
}
