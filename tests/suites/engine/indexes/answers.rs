//! Whatever is done to a table, in whatever order: what is found through its indexes is what a scan finds.

use rand::{Rng, SeedableRng, rngs::StdRng};
use squire_engine::{
    Compacted, DeleteRequest, Graph, Indexed, LoadMode,
    planner::{Ask, compaction::CompactionPolicy},
};
use squire_tests::flights::key;
use tokio_util::sync::CancellationToken;

use super::{DOC, MANY, append, force, graph, load, outside, stats, table};
use squire_tests::docs::wrong_answers;

const STEPS: usize = 16;

/// Does something to the table, and says what.
async fn step(graph: &Graph, random: &mut StdRng, next_id: &mut i32, edition: i32) -> String {
    match random.random_range(0..10) {
        0 | 1 => {
            let ids = *next_id..*next_id + random.random_range(5..60);
            *next_id = ids.end;
            load(graph, LoadMode::Append, ids.clone(), edition).await;
            format!("append {ids:?}")
        }
        2 | 3 => {
            // Some of these are new.
            let start = random.random_range(0..*next_id);
            let ids = start..start + random.random_range(1..40);
            *next_id = ids.end.max(*next_id);
            load(graph, LoadMode::Upsert, ids.clone(), edition).await;
            format!("upsert {ids:?}")
        }
        4 => {
            let start = random.random_range(0..*next_id);
            let predicate = format!("id >= {start} AND id < {}", start + 15);
            let request = DeleteRequest::new().add(key(DOC), &predicate);
            graph.delete(request).await.unwrap();
            format!("delete {predicate}")
        }
        5 | 6 => {
            let (doc, policy) = (key(DOC), CompactionPolicy::default());
            let (ask, stop) = (Ask::forced(), CancellationToken::new());
            let compacted = graph.compact(&doc, &policy, &ask, &stop).await;
            match compacted.unwrap() {
                Compacted::Done(done) => {
                    format!(
                        "compact {} into {}",
                        done.fragments_before, done.fragments_after
                    )
                }
                other => format!("{other:?}"),
            }
        }
        7 | 8 => format!("append {}", told(append(graph).await)),
        _ => format!("force {}", told(force(graph).await)),
    }
}

fn told(indexed: Indexed) -> String {
    match indexed {
        Indexed::Done(receipt) => format!("{:?}", receipt.tasks),
        other => format!("{other:?}"),
    }
}

async fn story(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let (_place, graph) = graph().await;
    let mut next_id = MANY;
    load(&graph, LoadMode::Append, 0..MANY, 0).await;
    force(&graph).await;
    let mut story = Vec::new();
    for n in 0..STEPS {
        let edition = i32::try_from(n).unwrap() + 1;
        story.push(step(&graph, &mut random, &mut next_id, edition).await);
        let wrong = wrong_answers(&table(&graph).await).await;
        assert!(
            wrong.is_empty(),
            "seed {seed}\n{}\n{}",
            story.join("\n"),
            wrong.join("\n")
        );
    }
    force(&graph).await;
    let stats = stats(&graph).await;
    assert!(
        outside(&stats).iter().all(|(_, rows)| *rows == 0),
        "{stats:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_found_through_indexes_is_what_a_scan_finds_after_any_story() {
    let stories = (0..4).map(|seed| tokio::spawn(story(seed)));
    for story in stories.collect::<Vec<_>>() {
        story.await.unwrap();
    }
}
