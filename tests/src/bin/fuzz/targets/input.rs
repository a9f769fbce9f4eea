//! Files that are loaded: what is read fits the table and can be counted; what is not says in which file it is wrong.

use std::path::Path;

use arrow::{
    array::RecordBatch,
    csv,
    datatypes::SchemaRef,
    ipc::writer::{FileWriter, StreamWriter},
    json,
};
use async_trait::async_trait;
use parquet::arrow::ArrowWriter;
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use squire_engine::input::Input;
use squire_tests::flights::{flights, planes};
use tempfile::TempDir;

use super::{Outcome, Target, check_error};
use crate::mutate;

const KINDS: [&str; 5] = ["csv", "tsv", "jsonl", "parquet", "arrow"];
const WORDS: [&str; 24] = [
    ",",
    "\"",
    "\"\"",
    "\n",
    "\r",
    "\r\n",
    "\t",
    "null",
    "NA",
    "true",
    "1e308",
    "-9223372036854775808",
    "99999999999999999999",
    "0x1f",
    "1_000",
    "{",
    "}",
    "[",
    "]",
    ":",
    "\\u0000",
    "\\ud800",
    "origin",
    "day",
];
/// The most rows that are read of one file: a few bytes can stand for very many.
const MOST_BATCHES: usize = 200;

pub(super) struct File {
    folder: TempDir,
    schema: SchemaRef,
    seeds: Vec<Vec<u8>>,
}

impl File {
    pub(super) fn new() -> Result<Self, String> {
        let batch = flights(1, 20);
        let all = [batch.clone(), planes(0, 10, 3)];
        let mut seeds = Vec::new();
        for kind in KINDS {
            for batch in &all {
                let bytes = written(kind, batch).map_err(|e| e.to_string())?;
                seeds.push([kind.as_bytes(), b"\n", &bytes].concat());
            }
        }
        Ok(Self {
            folder: tempfile::tempdir().map_err(|e| e.to_string())?,
            schema: batch.schema(),
            seeds,
        })
    }

    fn read(&self, path: &Path) -> Result<Outcome, String> {
        let mut input = Input::new(path);
        input.batch_rows = 1_000;
        let place = path.display().to_string();
        let hint = input.size_hint();
        let mut batches = match input.open(&self.schema) {
            Ok(batches) => batches,
            Err(error) => {
                check_error(&error, &[&place])?;
                return Ok(Outcome::Refused);
            }
        };
        let mut rows = 0;
        for _ in 0..MOST_BATCHES {
            let batch = match batches.next_batch() {
                None => {
                    let read = batches.rows_read();
                    if read != rows {
                        return Err(format!("{rows} rows came, and {read} were counted"));
                    }
                    // What the foot of a file says need not be true; what was read is.
                    return match hint {
                        None => Err("what can be read has no size".to_owned()),
                        Some(_) => Ok(Outcome::Taken),
                    };
                }
                Some(Ok(batch)) => batch,
                Some(Err(error)) => {
                    check_error(&error, &[&place])?;
                    return Ok(Outcome::Refused);
                }
            };
            rows += batch.num_rows() as u64;
            if batch.schema() != self.schema {
                return Err(format!("a batch has another schema: {:?}", batch.schema()));
            }
            if batch.num_rows() > 1_000 {
                return Err(format!("a batch has {} rows", batch.num_rows()));
            }
        }
        Ok(Outcome::Taken)
    }
}

fn written(kind: &str, batch: &RecordBatch) -> Result<Vec<u8>, arrow::error::ArrowError> {
    let mut bytes = Vec::new();
    match kind {
        "csv" => csv::Writer::new(&mut bytes).write(batch)?,
        "tsv" => {
            let builder = csv::WriterBuilder::new().with_delimiter(b'\t');
            builder.build(&mut bytes).write(batch)?;
        }
        "jsonl" => {
            let mut writer = json::LineDelimitedWriter::new(&mut bytes);
            writer.write(batch)?;
            writer.finish()?;
        }
        "parquet" => {
            let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None)?;
            writer.write(batch)?;
            writer.close()?;
        }
        _ if batch.num_columns() == 2 => {
            let mut writer = StreamWriter::try_new(&mut bytes, &batch.schema())?;
            writer.write(batch)?;
            writer.finish()?;
        }
        _ => {
            let mut writer = FileWriter::try_new(&mut bytes, &batch.schema())?;
            writer.write(batch)?;
            writer.finish()?;
        }
    }
    Ok(bytes)
}

#[async_trait]
impl Target for File {
    fn seeds(&self) -> Vec<Vec<u8>> {
        self.seeds.clone()
    }

    fn fresh(&self, seeds: &[Vec<u8>], rng: &mut StdRng) -> Vec<u8> {
        let empty = Vec::new();
        let seed = seeds.choose(rng).unwrap_or(&empty);
        let at = seed.iter().position(|b| *b == b'\n').map_or(0, |at| at + 1);
        let (kind, bytes) = seed.split_at(at);
        let bytes = mutate::bytes(bytes, &WORDS, rng);
        if rng.random_ratio(1, 30) {
            let kind = KINDS.choose(rng).unwrap_or(&"csv");
            return [kind.as_bytes(), b"\n", &bytes].concat();
        }
        [kind, &bytes].concat()
    }

    async fn hold(&self, input: &[u8]) -> Result<Outcome, String> {
        let at = input.iter().position(|b| *b == b'\n').unwrap_or(0);
        let (kind, bytes) = input.split_at(at);
        let kind = String::from_utf8_lossy(kind).into_owned();
        let kind = KINDS
            .iter()
            .find(|known| ***known == *kind)
            .unwrap_or(&"csv");
        let path = self.folder.path().join(format!("rows.{kind}"));
        std::fs::write(&path, bytes.get(1..).unwrap_or_default()).map_err(|e| e.to_string())?;
        // Reading blocks, as it does in a load.
        tokio::task::block_in_place(|| self.read(&path))
    }
}
