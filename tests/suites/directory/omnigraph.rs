//! OmniGraph's roots: its tables change together under a manifest of its own, so none is touched.

use std::{fs, path::Path, sync::Arc};

use arrow::{array::RecordBatch, datatypes::Schema};
use lance::dataset::InsertBuilder;
use squire_engine::{Beyond, Directory, DirectoryOptions, Error, Kind as Target, detect};

use crate::site::{Kind, Writer, batch, key};

/// A root with one table that a directory would have.
async fn root_with_a_table(root: &Path) {
    let table = format!("file://{}", root.join("_graph_commits.lance").display());
    Writer::create(&table, Kind::default(), 5, 1).await;
}

/// A `__manifest` whose schema has this metadata.
async fn manifest(root: &Path, metadata: &[(&str, &str)]) {
    let rows = batch([(1, 1)]);
    let metadata = metadata
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    let schema = Schema::clone(&rows.schema()).with_metadata(metadata.collect());
    let rows = RecordBatch::try_new(Arc::new(schema), rows.columns().to_vec()).unwrap();
    let uri = format!("file://{}", root.join("__manifest").display());
    InsertBuilder::new(&*uri).execute(vec![rows]).await.unwrap();
}

async fn is_refused(root: &Path, sign: &str) {
    let refused = detect(root.to_str().unwrap(), None, &Beyond::default())
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::OmniGraph { .. }), "{refused}");
    let told = refused.to_string();
    assert!(
        told.contains(sign) && told.contains("omnigraph optimize"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_of_omnigraph_is_refused_by_each_of_its_signs_alone() {
    for name in ["_schema.pg", "_schema.ir.json", "__schema_state.json"] {
        let dir = tempfile::tempdir().unwrap();
        root_with_a_table(dir.path()).await;
        fs::write(dir.path().join(name), "{}").unwrap();
        is_refused(dir.path(), name).await;
    }
    let dir = tempfile::tempdir().unwrap();
    root_with_a_table(dir.path()).await;
    manifest(dir.path(), &[("omnigraph:internal_schema_version", "6")]).await;
    is_refused(dir.path(), "__manifest").await;

    let dir = tempfile::tempdir().unwrap();
    root_with_a_table(dir.path()).await;
    fs::create_dir(dir.path().join("__cluster")).unwrap();
    fs::write(dir.path().join("__cluster/state.json"), "{}").unwrap();
    is_refused(dir.path(), "__cluster/state.json").await;

    let dir = tempfile::tempdir().unwrap();
    let inside = dir.path().join("graphs/knowledge.omni/nodes");
    fs::create_dir_all(&inside).unwrap();
    root_with_a_table(&inside).await;
    is_refused(&inside, "knowledge.omni").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_of_lancedb_is_no_root_of_omnigraph() {
    let dir = tempfile::tempdir().unwrap();
    root_with_a_table(dir.path()).await;
    manifest(dir.path(), &[("lancedb:anything", "6")]).await;
    fs::create_dir(dir.path().join("__cluster")).unwrap();
    let found = detect(dir.path().to_str().unwrap(), None, &Beyond::default())
        .await
        .unwrap();
    assert_eq!(found, Target::Directory);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_becomes_a_root_of_omnigraph_is_refused_at_the_next_look() {
    let dir = tempfile::tempdir().unwrap();
    root_with_a_table(dir.path()).await;
    let root = dir.path().to_str().unwrap();
    let directory = Directory::open(root, DirectoryOptions::default()).await;
    let directory = directory.unwrap();
    assert_eq!(directory.tables().await.unwrap(), [key("_graph_commits")]);
    fs::write(dir.path().join("_schema.pg"), "").unwrap();
    let refused = directory.tables().await;
    assert!(
        matches!(refused, Err(Error::OmniGraph { .. })),
        "{refused:?}"
    );
}
