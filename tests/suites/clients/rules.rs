//! The rules by which answers are judged, as a mistake in them would hide what they are for.

use serde_json::json;
use squire_tests::clients::{
    answers::Asked,
    hand::Did,
    matrix::{Seen, Step, Way},
};

fn answered(wrong: &serde_json::Value) -> Asked {
    Asked::parse(&json!({ "asked": 3, "bad": { "words": wrong } }))
}

fn lacking(rows: &[&str]) -> Asked {
    answered(&json!({ "missing": rows, "extra": [], "wanted": 9, "relative": false }))
}

#[test]
fn an_answer_may_be_as_wrong_as_without_maintenance_and_no_more() {
    let alone = lacking(&["1", "2"]);
    for (rows, bad) in [
        (vec!["2"], 0),
        (vec!["5", "6"], 0),
        (vec!["1", "2", "3"], 1),
    ] {
        let judged = lacking(&rows).judge(Some(&alone));
        assert_eq!((judged.bad.len(), judged.as_alone), (bad, 1 - bad));
    }
    assert_eq!(lacking(&["1"]).judge(None).bad.len(), 1);
    assert_eq!(lacking(&["1"]).judge(Some(&Asked::default())).bad.len(), 1);
}

#[test]
fn an_error_is_forgiven_only_where_there_is_one_without_maintenance() {
    let error = answered(&json!({ "error": "no such file", "relative": false }));
    assert_eq!(error.judge(Some(&error)).bad.len(), 0);
    assert_eq!(error.judge(Some(&lacking(&["1"]))).bad.len(), 1);
    assert_eq!(lacking(&["1"]).judge(Some(&error)).bad.len(), 1);
}

#[test]
fn what_is_bad_is_counted_against_the_peer_at_the_same_point() {
    let mut seen = Seen::default();
    let table = "pq".to_owned();
    for (way, step, asked) in [
        (Way::Alone, Step::Before, Asked::default()),
        (Way::Peer, Step::Peer, Asked::default()),
        (Way::Hand, Step::Index, lacking(&["1"])),
    ] {
        seen.asked.insert((way, step, table.clone()), asked);
    }
    assert_eq!(seen.bad(Way::Hand).0, 1);
    assert_eq!(seen.worse_than_the_peer(Way::Hand), 1);
    let peer = (Way::Peer, Step::Peer, table);
    seen.asked.insert(peer, lacking(&["2"]));
    assert_eq!(seen.worse_than_the_peer(Way::Hand), 0);
    assert_eq!(seen.bad(Way::Hand).0, 1);
}

#[test]
fn only_the_words_for_it_are_taken_for_a_refusal() {
    assert!(matches!(
        Did::parse("skipped: client_too_old"),
        Did::Refused("client_too_old")
    ));
    assert!(matches!(
        Did::parse("skipped: below_threshold"),
        Did::Nothing(_)
    ));
    assert!(matches!(
        Did::parse("merge id_idx (690 rows); skipped: client_too_old"),
        Did::DoneInPart(_, "client_too_old")
    ));
    assert!(matches!(Did::parse("rewritten, held 3ms"), Did::Done(_)));
    assert!(matches!(
        Did::parse("failed: lancedb refused"),
        Did::Failed(_)
    ));
    assert!(matches!(
        Did::parse("lost (a fragment is gone); run it again"),
        Did::Failed(_)
    ));
}
