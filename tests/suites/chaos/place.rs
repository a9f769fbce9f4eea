//! One target: its tables as a client writes and reads them.

use std::{collections::HashMap, fs, path::PathBuf, sync::Arc};

use lance::{
    Dataset, Result,
    dataset::{InsertBuilder, WriteMode, WriteParams, builder::DatasetBuilder},
};
use lance_io::object_store::{ObjectStoreParams, StorageOptionsAccessor};
use squire_tests::plain;

/// A target.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// As the daemon has it.
    pub(crate) uri: String,
    /// As clients have it.
    outside: Outside,
}

#[derive(Clone, Debug)]
enum Outside {
    Disk(PathBuf),
    /// Straight to the server: what happens on the daemon's way does not happen to clients.
    S3(HashMap<String, String>),
}

impl Place {
    pub(crate) fn on_disk(uri: String, outside: PathBuf) -> Self {
        let outside = Outside::Disk(outside);
        Self { uri, outside }
    }

    pub(crate) fn on_s3(uri: String, options: HashMap<String, String>) -> Self {
        let outside = Outside::S3(options);
        Self { uri, outside }
    }

    /// Its folder as clients have it.
    pub(crate) fn folder(&self) -> PathBuf {
        match &self.outside {
            Outside::Disk(folder) => folder.clone(),
            Outside::S3(_) => panic!("{} is on S3", self.uri),
        }
    }

    /// The folder of one of its tables.
    pub(crate) fn table(&self, table: &str) -> PathBuf {
        self.folder().join(format!("{table}.lance"))
    }

    /// Appends rows to a table, as one more fragment.
    pub(crate) async fn append(&self, table: &str, rows: i64) -> Result<()> {
        let batch = plain::rows(0, rows);
        match &self.outside {
            Outside::Disk(folder) => plain::append(folder, table, batch).await.map(drop),
            Outside::S3(options) => {
                let uri = format!("{}/{table}.lance", self.uri);
                let there = self.open(table).await.is_ok();
                let params = WriteParams {
                    mode: if there {
                        WriteMode::Append
                    } else {
                        WriteMode::Create
                    },
                    store_params: Some(ObjectStoreParams {
                        storage_options_accessor: Some(Arc::new(
                            StorageOptionsAccessor::with_static_options(options.clone()),
                        )),
                        ..ObjectStoreParams::default()
                    }),
                    ..WriteParams::default()
                };
                let write = InsertBuilder::new(uri.as_str());
                let written = write.with_params(&params).execute(vec![batch]).await;
                written.map(drop)
            }
        }
    }

    /// How many fragments a table has.
    pub(crate) async fn fragments(&self, table: &str) -> usize {
        let dataset = self.open(table).await.expect("it is a table");
        dataset.get_fragments().len()
    }

    async fn open(&self, table: &str) -> Result<Dataset> {
        match &self.outside {
            Outside::Disk(folder) => plain::open(folder, table).await,
            Outside::S3(options) => {
                let uri = format!("{}/{table}.lance", self.uri);
                DatasetBuilder::from_uri(uri)
                    .with_storage_options(options.clone())
                    .load()
                    .await
            }
        }
    }

    /// Bytes of a table's data files on a disk.
    pub(crate) fn data_bytes(&self, table: &str) -> u64 {
        let data = self.table(table).join("data");
        let files = fs::read_dir(data).expect("it is there").flatten();
        files
            .map(|file| file.metadata().map_or(0, |of| of.len()))
            .sum()
    }
}
