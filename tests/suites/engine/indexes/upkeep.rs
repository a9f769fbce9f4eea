//! What is built, extended and merged, and what is left alone.

use squire_engine::{
    Compacted, Graph, Indexed, LoadMode, LoadRequest, MissingIndex, Rows, SchemaRequest,
    TableStats,
    planner::{
        Ask,
        compaction::CompactionPolicy,
        indexing::{IndexPolicy, Skip, Task},
    },
    schema::Schema,
};
use squire_tests::{
    docs::{SCHEMA, docs_without_vectors},
    flights::key,
    stranger::Stranger,
};
use tokio_util::sync::CancellationToken;

use super::{
    DOC, INDICES, MANY, all_with, append, apply, assert_right, force, graph, index_with, indexed,
    load, outside, stats, table, tasks,
};

fn append_to(index: &str) -> Task {
    Task::Append(index.to_owned())
}

/// The task for every index of the schema.
/// What is put beside where that is safe: an index of ids that is no vector index is merged.
fn put_beside(index: &str) -> Task {
    match index {
        "size_btree" | "v_vector" => append_to(index),
        index => Task::Merge(index.to_owned()),
    }
}

fn everywhere(task: fn(&str) -> Task) -> Vec<Task> {
    all_with(0)
        .into_iter()
        .map(|(name, _)| task(name))
        .collect()
}

/// How many segments each index has.
async fn segments(graph: &Graph) -> Vec<usize> {
    let stats = stats(graph).await;
    stats.indexes.iter().map(|i| i.segments).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn declared_indexes_are_built_under_their_names_and_answer_for_every_row() {
    let (_place, graph) = indexed().await;
    let stats = stats(&graph).await;
    assert_eq!(outside(&stats), all_with(0));
    assert_eq!(stats.missing, []);
    assert_right(&graph).await;
    assert_eq!(force(&graph).await, Indexed::Skipped(Skip::Covered));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_cannot_be_trained_yet_is_told_with_the_reason_and_keeps_no_other_waiting() {
    let (_place, graph) = graph().await;
    let blocked = stats(&graph).await.missing;
    assert!(blocked.iter().all(|m| m.blocked.is_some()), "{blocked:?}");
    load(&graph, LoadMode::Append, 0..10, 0).await;
    assert_eq!(tasks(force(&graph).await).len(), 4);
    let missing = stats(&graph).await.missing;
    let [
        MissingIndex {
            column,
            kind,
            value_bytes: Some(_),
            blocked: Some(reason),
            refused: None,
        },
    ] = missing.as_slice()
    else {
        panic!("the vector index alone: {missing:?}")
    };
    assert_eq!((column.as_str(), kind.as_str()), ("v", "vector"));
    assert!(reason.contains("the table has 10"), "{reason}");
    assert_eq!(force(&graph).await, Indexed::Skipped(Skip::Blocked));

    load(&graph, LoadMode::Append, 10..MANY, 0).await;
    assert!(tasks(force(&graph).await).contains(&Task::Create("v".to_owned())));
    assert_eq!(outside(&stats(&graph).await), all_with(0));
    assert_right(&graph).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_without_any_vector_gets_no_index_no_version_and_no_file() {
    let (place, graph) = graph().await;
    let rows = Rows::Batches(vec![docs_without_vectors(0..MANY)]);
    let request = LoadRequest::new().add(key(DOC), LoadMode::Append, rows);
    graph.load(request).await.unwrap();
    assert_eq!(tasks(force(&graph).await).len(), 4);
    let before = (
        table(&graph).await.manifest().version,
        place.objects(INDICES).await,
    );
    assert_eq!(force(&graph).await, Indexed::Skipped(Skip::Blocked));
    let after = (
        table(&graph).await.manifest().version,
        place.objects(INDICES).await,
    );
    assert_eq!(after, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_came_to_nothing_is_told_with_the_reason_and_makes_no_other_due() {
    let (_place, graph) = graph().await;
    let load = async |ids| {
        let rows = Rows::Batches(vec![docs_without_vectors(ids)]);
        let request = LoadRequest::new().add(key(DOC), LoadMode::Append, rows);
        graph.load(request).await.unwrap();
    };
    load(0..MANY).await;
    assert_eq!(tasks(force(&graph).await).len(), 4);
    load(MANY..MANY + 10).await;
    let by_itself = index_with(&graph, &IndexPolicy::default(), &Ask::default()).await;
    assert_eq!(by_itself.unwrap(), Indexed::Skipped(Skip::Refused));
    let stats = stats(&graph).await;
    assert!(
        outside(&stats).iter().all(|(_, rows)| *rows == 10),
        "{stats:?}"
    );
    let refused = stats.missing[0].refused.as_ref().expect("it is refused");
    assert!(refused.reason.contains("have a vector"), "{refused:?}");
    assert_eq!(tasks(force(&graph).await).len(), 4, "a person may try");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_only_added_are_put_beside_and_merged_when_there_are_many_segments() {
    let (_place, graph) = indexed().await;
    for part in 3..6 {
        load(&graph, LoadMode::Append, part * 100..part * 100 + 100, 0).await;
        assert_eq!(outside(&stats(&graph).await), all_with(100));
        let done = tasks(append(&graph).await);
        assert_eq!(done, everywhere(put_beside));
        assert_right(&graph).await;
    }
    assert_eq!(segments(&graph).await, [1, 4, 1, 1, 4]);
    force(&graph).await;
    assert_eq!(segments(&graph).await, [1; 5]);
    assert_right(&graph).await;
}

/// Lance's own append finds an updated row by its old value, too, as rows keep their ids.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_updated_are_found_by_their_new_values_alone() {
    let (_place, graph) = indexed().await;
    load(&graph, LoadMode::Upsert, 20..60, 1).await;
    let done = tasks(append(&graph).await);
    assert!(
        done.contains(&append_to("size_btree")),
        "an index of row addresses: {done:?}"
    );
    assert!(
        done.contains(&Task::Merge("text_inverted".to_owned())),
        "{done:?}"
    );
    assert_eq!(outside(&stats(&graph).await), all_with(0));
    assert_right(&graph).await;
    // The next ones are only added.
    load(&graph, LoadMode::Append, MANY..MANY + 40, 0).await;
    let done = tasks(append(&graph).await);
    assert_eq!(done, everywhere(put_beside));
    assert_right(&graph).await;
}

/// Lance on its own notes that each segment covers fragment 0 then, and from the second segment on no commit goes through.
#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_leaves_every_row_under_every_index() {
    let (_place, graph) = indexed().await;
    for part in 3..5 {
        load(&graph, LoadMode::Append, part * 100..part * 100 + 100, 0).await;
    }
    append(&graph).await;
    let (policy, ask) = (CompactionPolicy::default(), Ask::forced());
    let stop = CancellationToken::new();
    let compacted = graph.compact(&key(DOC), &policy, &ask, &stop).await;
    let Compacted::Done(receipt) = compacted.unwrap() else {
        panic!("small fragments are due")
    };
    assert!(
        receipt.fragments_after > 1,
        "those of one segment stay together"
    );
    assert!(receipt.index_bytes > 0, "a BTREE holds addresses");
    assert_eq!(outside(&stats(&graph).await), all_with(0));
    assert_right(&graph).await;
    load(&graph, LoadMode::Upsert, 50..350, 1).await;
    force(&graph).await;
    assert_eq!(outside(&stats(&graph).await), all_with(0));
    assert_right(&graph).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_client_is_known_an_index_that_is_no_vector_index_keeps_one_segment() {
    let (_place, graph) = indexed().await;
    load(&graph, LoadMode::Append, 300..400, 0).await;
    let done = tasks(force(&graph).await);
    let merged = |name: &str| match name {
        "v_vector" => append_to(name),
        name => Task::Merge(name.to_owned()),
    };
    assert_eq!(done, everywhere(merged));
    assert_eq!(segments(&graph).await, [1, 1, 1, 1, 2]);
    assert_right(&graph).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_follows_its_property_to_another_name_and_is_not_built_again() {
    let (_place, graph) = indexed().await;
    let to = "length = { type = \"int32\", renamed_from = \"size\" }";
    let schema = SCHEMA
        .replace("size = \"int32\"", to)
        .replace("property = \"size\"", "property = \"length\"");
    let schema = Schema::parse(&schema, "docs.toml").unwrap();
    graph
        .apply_schema(SchemaRequest::new(schema))
        .await
        .unwrap();
    let stats = stats(&graph).await;
    assert_eq!(stats.missing, []);
    assert_eq!(force(&graph).await, Indexed::Skipped(Skip::Covered));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_of_another_kind_that_is_left_under_the_name_stays_beside_the_new_one() {
    let (_place, graph) = indexed().await;
    let btree = "property = \"size\"\nkind = \"btree\"";
    let bitmap = "property = \"size\"\nname = \"size_btree\"\nkind = \"bitmap\"";
    apply(&graph, btree, bitmap).await.unwrap();
    assert_eq!(
        tasks(force(&graph).await),
        [Task::Create("size".to_owned())]
    );
    let stats = stats(&graph).await;
    let names: Vec<_> = stats.indexes.iter().map(|i| i.name.as_str()).collect();
    assert!(
        names.contains(&"size_btree") && names.contains(&"size_btree_2"),
        "{names:?}"
    );
    assert_right(&graph).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_another_program_made_is_kept_up_like_a_declared_one() {
    let (place, graph) = indexed().await;
    let mut stranger = Stranger::at(&place.lance_uri(), "Doc.lance").await;
    stranger.index("id", "theirs").await;
    load(&graph, LoadMode::Append, MANY..MANY + 10, 0).await;
    let theirs = |stats: &TableStats| {
        let found = stats.indexes.iter().find(|i| i.name == "theirs");
        found.map(|i| (i.columns.clone(), i.unindexed_rows))
    };
    let id = vec!["id".to_owned()];
    assert_eq!(theirs(&stats(&graph).await), Some((id.clone(), 10)));
    append(&graph).await;
    assert_eq!(theirs(&stats(&graph).await), Some((id, 0)));
}
