//! Doing what a writer chose, through the engine.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray},
    datatypes::{Field, Schema},
};
use squire_engine::{
    Advice, DeleteRequest, Error, Graph, LoadMode, LoadRequest, Receipt, Result, Rows,
    SchemaRequest, Snapshot, TableKey, manifest::Manifest,
};
use squire_tests::bank::{Intent, Posting, Tag, Till, Told, holdings::now};

/// Carries an intent out, as tables are named in a snapshot, and says what its writer was told. `of` is what a delete takes away again, and the intent
/// itself for everything else.
pub(crate) async fn perform(
    graph: &Graph,
    snapshot: &Snapshot,
    tag: Tag,
    intent: &Intent,
    of: &Intent,
) -> Told {
    match attempt(graph, snapshot.manifest(), tag, intent, of).await {
        Ok(receipt) => Told::Acknowledged(receipt.manifest),
        Err(e) if e.advice() == Advice::DoNotRetry => Told::Unknown(e.to_string()),
        Err(e) => Told::Failed(format!("{:?}: {e}", e.advice())),
    }
}

async fn attempt(
    graph: &Graph,
    manifest: &Manifest,
    tag: Tag,
    intent: &Intent,
    of: &Intent,
) -> Result<Receipt> {
    match intent {
        Intent::Append { postings, upsert } => {
            let mode = |till| {
                if *upsert == Some(till) {
                    LoadMode::Upsert
                } else {
                    LoadMode::Append
                }
            };
            graph.load(load(manifest, tag, postings, mode)?).await
        }
        Intent::Account { postings, .. } => {
            let upsert = |_| LoadMode::Upsert;
            graph.load(load(manifest, tag, postings, upsert)?).await
        }
        Intent::Delete { target } => {
            let rows = format!("writer = {} AND seq = {target}", tag.writer);
            let mut request = DeleteRequest::new();
            for till in by_till(of.postings()).into_keys() {
                request = request.add(table(manifest, till)?.0, rows.clone());
            }
            graph.delete(request).await
        }
        Intent::Schema { wanted, .. } => {
            // Somebody else may have changed the schema since: then this change is another one.
            let request = SchemaRequest::new(wanted.clone()).planned_on(manifest.schema.clone());
            graph.apply_schema(request).await
        }
    }
}

fn by_till(postings: &[Posting]) -> BTreeMap<Till, Vec<&Posting>> {
    let mut tills: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for posting in postings {
        tills.entry(posting.till).or_default().push(posting);
    }
    tills
}

fn table(manifest: &Manifest, till: Till) -> Result<(TableKey, &'static str)> {
    now(manifest, till).ok_or_else(|| Error::UnknownTable {
        table: till.path(),
        nearest: None,
        uri: "the bank".to_owned(),
    })
}

fn load(
    manifest: &Manifest,
    tag: Tag,
    postings: &[Posting],
    mode: impl Fn(Till) -> LoadMode,
) -> Result<LoadRequest> {
    let mut request = LoadRequest::new();
    for (till, postings) in by_till(postings) {
        let (key, note) = table(manifest, till)?;
        let rows = Rows::Batches(vec![batch(till, tag, &postings, note)]);
        request = request.add(key, mode(till), rows);
    }
    Ok(request)
}

fn batch(till: Till, tag: Tag, postings: &[&Posting], note: &str) -> RecordBatch {
    let texts = |text: &dyn Fn(&Posting) -> String| -> ArrayRef {
        let texts: Vec<_> = postings.iter().map(|p| text(p)).collect();
        Arc::new(StringArray::from(texts))
    };
    let numbers = |number: &dyn Fn(&Posting) -> i64| -> ArrayRef {
        let numbers: Vec<_> = postings.iter().map(|p| number(p)).collect();
        Arc::new(Int64Array::from(numbers))
    };
    let id = |p: &Posting| p.id.clone();
    let mut columns = vec![
        ("id", texts(&id)),
        ("amount", numbers(&|p| p.amount)),
        ("writer", numbers(&|_| tag.writer as i64)),
        ("seq", numbers(&|_| tag.seq as i64)),
        (note, texts(&|_| tag.to_string())),
    ];
    if !till.is_node() {
        columns.extend([("debtor", texts(&id)), ("creditor", texts(&id))]);
    }
    let fields: Vec<_> = columns
        .iter()
        .map(|(name, column)| Field::new(*name, column.data_type().clone(), true))
        .collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns fit")
}
