//! A table with a column for each kind of index, rows for it, and questions whose answers do not depend on indexes.

use std::{collections::BTreeSet, sync::Arc};

use arrow::{
    array::{
        ArrayRef, AsArray, FixedSizeListArray, Float32Array, Int32Array, ListBuilder, RecordBatch,
        StringArray, StringBuilder,
    },
    datatypes::{Field, Float32Type, Int32Type, Schema as ArrowSchema},
};
use futures::TryStreamExt;
use lance::{Dataset, dataset::scanner::Scanner};
use lance_index::scalar::FullTextSearchQuery;

/// One node type with an index of every kind that can be declared.
pub const SCHEMA: &str = r#"
[node.Doc]
key = ["id"]
[node.Doc.properties]
id = "int32"
size = "int32"
kind = "string"
tags = "list(string)"
text = "string"
v = "vector(8)"

[[node.Doc.index]]
property = "size"
kind = "btree"
[[node.Doc.index]]
property = "kind"
kind = "bitmap"
[[node.Doc.index]]
property = "tags"
kind = "label_list"
[[node.Doc.index]]
property = "text"
kind = "inverted"
[[node.Doc.index]]
property = "v"
kind = "vector"
"#;

const DIMENSIONS: i32 = 8;
/// What a document can be: values come round again after so many ids.
const KINDS: i32 = 7;
const WORDS: i32 = 11;

/// Documents with these ids. All that is not the id follows from it and from `edition`, so that an update changes what
/// every index is about.
pub fn docs(ids: impl IntoIterator<Item = i32>, edition: i32) -> RecordBatch {
    let ids: Vec<_> = ids.into_iter().collect();
    let of = |id: &i32, salt: i32| (id * 31 + edition * 17 + salt).rem_euclid(1009);
    let mut tags = ListBuilder::new(StringBuilder::new());
    for id in &ids {
        tags.values()
            .append_value(format!("t{}", of(id, 1) % KINDS));
        tags.values()
            .append_value(format!("t{}", of(id, 2) % KINDS));
        tags.append(true);
    }
    let texts = ids.iter().map(|id| {
        format!(
            "word{} written about word{}",
            of(id, 3) % WORDS,
            of(id, 4) % WORDS
        )
    });
    let vectors = ids.iter().map(|id| {
        let id = *id;
        Some((0..DIMENSIONS).map(move |d| Some(coordinate(id, edition, d))))
    });
    let sizes = ids.iter().map(|id| of(id, 5));
    let kinds = ids.iter().map(|id| format!("k{}", of(id, 6) % KINDS));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(ids.clone())),
        Arc::new(Int32Array::from_iter_values(sizes)),
        Arc::new(StringArray::from_iter_values(kinds)),
        Arc::new(tags.finish()),
        Arc::new(StringArray::from_iter_values(texts)),
        Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(vectors, DIMENSIONS)),
    ];
    let field = |(name, column): (&str, &ArrayRef)| {
        Field::new(name, column.data_type().clone(), name != "id")
    };
    let names = ["id", "size", "kind", "tags", "text", "v"];
    let fields: Vec<_> = names.into_iter().zip(&columns).map(field).collect();
    RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns).expect("columns fit")
}

/// Documents without a vector.
pub fn docs_without_vectors(ids: impl IntoIterator<Item = i32>) -> RecordBatch {
    let docs = docs(ids, 0);
    let none = arrow::array::new_null_array(docs.column(5).data_type(), docs.num_rows());
    let mut columns = docs.columns().to_vec();
    columns[5] = none;
    RecordBatch::try_new(docs.schema(), columns).expect("columns fit")
}

/// No two documents have the same distance from a point.
fn coordinate(id: i32, edition: i32, d: i32) -> f32 {
    let mixed = (id as u32)
        .wrapping_mul(2_654_435_761)
        .wrapping_add((edition as u32).wrapping_mul(40_503))
        .wrapping_add((d as u32).wrapping_mul(97_003_001));
    let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(2_246_822_519);
    (mixed >> 8) as f32 / (1 << 24) as f32
}

/// A question about documents.
#[derive(Clone, Debug)]
enum Question {
    /// Which satisfy a predicate.
    Filter(String),
    /// Which contain a word.
    Word(String),
    /// Which are nearest to a point.
    Nearest(Vec<f32>),
}

fn questions() -> Vec<Question> {
    let filters = ["size = 500", "size BETWEEN 100 AND 180", "size > 900"];
    let kinds = (0..KINDS).step_by(3).map(|k| format!("kind = 'k{k}'"));
    let tags = (0..KINDS).step_by(3);
    let tags = tags.map(|t| format!("array_has_any(tags, ['t{t}'])"));
    let both = "array_has_all(tags, ['t1', 't2'])".to_owned();
    let filters = filters.map(str::to_owned).into_iter().chain(kinds);
    let filters = filters.chain(tags).chain([both]).map(Question::Filter);
    let words = (0..WORDS)
        .step_by(3)
        .map(|w| Question::Word(format!("word{w}")));
    let points = [0.1, 0.5, 0.8].map(|x| Question::Nearest(vec![x; 8]));
    filters.chain(words).chain(points).collect()
}

/// How many are asked for.
const NEAREST: usize = 20;

impl Question {
    async fn answer(&self, table: &Dataset, through_indexes: bool) -> Vec<i32> {
        let mut scan = table.scan();
        scan.use_scalar_index(through_indexes);
        match self {
            Self::Filter(predicate) => {
                scan.filter(predicate).expect("a good predicate");
            }
            Self::Word(word) if through_indexes => {
                let query = FullTextSearchQuery::new(word.clone()).limit(Some(1_000_000));
                scan.full_text_search(query).expect("a good query");
            }
            Self::Word(word) => {
                return with_word(table, word).await;
            }
            Self::Nearest(point) => {
                let point = Float32Array::from(point.clone());
                scan.nearest("v", &point, NEAREST).expect("a good point");
                scan.use_index(through_indexes);
                scan.minimum_nprobes(1000).refine(2);
            }
        }
        ids(&mut scan).await
    }
}

/// The ids of what is found, in their order, each as often as it is found.
async fn ids(scan: &mut Scanner) -> Vec<i32> {
    scan.project(&["id"]).expect("there is an id");
    let found = scan.try_into_stream().await.expect("it can be scanned");
    let found: Vec<RecordBatch> = found.try_collect().await.expect("it can be scanned");
    let ids = found.iter().map(|b| b["id"].as_primitive::<Int32Type>());
    let mut ids: Vec<i32> = ids.flat_map(|ids| ids.values().to_vec()).collect();
    ids.sort_unstable();
    ids
}

async fn with_word(table: &Dataset, word: &str) -> Vec<i32> {
    let mut scan = table.scan();
    scan.project(&["id", "text"]).expect("there are texts");
    let all = scan.try_into_batch().await.expect("it can be scanned");
    let (ids, texts) = (
        all["id"].as_primitive::<Int32Type>(),
        all["text"].as_string::<i32>(),
    );
    let has = |text: Option<&str>| text.is_some_and(|t| t.split(' ').any(|w| w == word));
    let rows = ids.values().iter().zip(texts);
    let found: BTreeSet<i32> = rows.filter(|(_, t)| has(*t)).map(|(id, _)| *id).collect();
    found.into_iter().collect()
}

/// Asks everything twice, through the indexes and without them; tells the questions whose answers differ.
pub async fn wrong_answers(table: &Dataset) -> Vec<String> {
    let mut wrong = Vec::new();
    for question in questions() {
        let expected = question.answer(table, false).await;
        let found = question.answer(table, true).await;
        if found != expected {
            let version = table.manifest().version;
            let (f, e) = (found.len(), expected.len());
            wrong.push(format!(
                "{question:?} at version {version}: {f} and not {e}"
            ));
        }
    }
    wrong
}
