//! A program that knows nothing of Squire and works on a graph's table with Lance alone.

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Field, Schema as ArrowSchema},
    record_batch::RecordBatchIterator,
};
use lance::{
    Dataset,
    dataset::{
        InsertBuilder, NewColumnTransform, WriteMode, WriteParams,
        builder::DatasetBuilder,
        cleanup::{CleanupPolicy, cleanup_old_versions},
        optimize::{CompactionOptions, compact_files},
    },
    index::DatasetIndexExt,
};
use lance_index::{
    IndexType,
    scalar::{BuiltinIndexType, ScalarIndexParams},
};
use std::sync::Arc;

/// A stranger with a table open, at its newest version.
pub struct Stranger(Dataset);

impl Stranger {
    /// Opens the table in this folder below a root, as Lance is given the root.
    pub async fn at(root: &str, folder: &str) -> Self {
        let table = DatasetBuilder::from_uri(format!("{root}/{folder}")).load();
        Self(table.await.expect("the table can be opened"))
    }

    /// Makes a table in this folder below a root, as other programs do.
    pub async fn create(root: &str, folder: &str, batch: RecordBatch) -> Self {
        let uri = format!("{root}/{folder}");
        let params = WriteParams {
            mode: WriteMode::Overwrite,
            ..WriteParams::default()
        };
        let table = InsertBuilder::new(uri.as_str())
            .with_params(&params)
            .execute(vec![batch])
            .await;
        Self(table.expect("a table can be made"))
    }

    /// The table, as Lance has it open.
    pub fn dataset(&self) -> &Dataset {
        &self.0
    }

    /// The newest version.
    pub fn version(&self) -> u64 {
        self.0.manifest().version
    }

    /// Adds rows.
    pub async fn append(&mut self, batch: RecordBatch) {
        let rows = RecordBatchIterator::new([Ok(batch.clone())], batch.schema());
        self.0.append(rows, None).await.expect("rows can be added");
    }

    /// Replaces all rows.
    pub async fn overwrite(&mut self, batch: RecordBatch) {
        let params = WriteParams {
            mode: WriteMode::Overwrite,
            enable_stable_row_ids: true,
            ..WriteParams::default()
        };
        let table = InsertBuilder::new(Arc::new(self.0.clone()))
            .with_params(&params)
            .execute(vec![batch])
            .await;
        self.0 = table.expect("rows can be replaced");
    }

    /// Deletes rows.
    pub async fn delete(&mut self, predicate: &str) {
        self.0.delete(predicate).await.expect("rows can be deleted");
    }

    /// Merges all fragments into one.
    pub async fn compact(&mut self) {
        assert!(
            self.compact_what_there_is().await > 0,
            "there was something to compact"
        );
    }

    /// Merges fragments as far as Lance finds any to merge; says how many went.
    pub async fn compact_what_there_is(&mut self) -> usize {
        let options = CompactionOptions::default();
        let done = compact_files(&mut self.0, options, None).await;
        done.expect("the table can be compacted").fragments_removed
    }

    /// Removes every version before this one, as a nightly `optimize()` does with those that are old.
    pub async fn prune_before(&self, version: u64) {
        let policy = CleanupPolicy {
            before_version: Some(version),
            delete_unverified: true,
            ..CleanupPolicy::default()
        };
        let done = cleanup_old_versions(&self.0, policy).await;
        done.expect("versions can be removed");
    }

    /// Sets a property of the table.
    pub async fn set_property(&mut self, key: &str, value: &str) {
        let set = self.0.update_config([(key, value)]).await;
        set.expect("a property can be set");
    }

    /// Notes something in the metadata of a column.
    pub async fn note(&mut self, column: &str, key: &str, value: &str) {
        let noted = self.0.update_field_metadata();
        let noted = noted
            .update(column, [(key, value)])
            .expect("the column is there");
        noted.await.expect("something can be noted");
    }

    /// Builds an index of sorted values.
    pub async fn index(&mut self, column: &str, name: &str) {
        let params = ScalarIndexParams::for_builtin(BuiltinIndexType::BTree);
        let columns = [column];
        let built = self
            .0
            .create_index_builder(&columns, IndexType::BTree, &params);
        let built = built.name(name.to_owned()).await;
        built.expect("an index can be built");
    }

    /// Adds a column of nulls.
    pub async fn add_column(&mut self, name: &str) {
        let field = Field::new(name, DataType::Int32, true);
        let column = NewColumnTransform::AllNulls(Arc::new(ArrowSchema::new(vec![field])));
        let added = self.0.add_columns(column, None, None).await;
        added.expect("a column can be added");
    }

    /// Takes a column away.
    pub async fn drop_column(&mut self, name: &str) {
        let dropped = self.0.drop_columns(&[name]).await;
        dropped.expect("a column can be dropped");
    }
}
