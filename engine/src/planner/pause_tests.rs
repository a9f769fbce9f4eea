use std::time::Duration;

use super::*;

fn at(minutes: u64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_182_400, 0).unwrap() + Duration::from_secs(minutes * 60)
}

#[test]
fn a_pause_holds_for_its_target_or_table_alone_and_ends_by_itself() {
    let mut pauses = Pauses::default();
    pauses.pause("flights", None, at(10));
    pauses.pause("flights", Some("node:Plane"), at(20));
    pauses.pause("birds", Some("owls"), at(5));
    assert_eq!(pauses.until("flights", "edge:Flight", at(0)), Some(at(10)));
    assert_eq!(pauses.until("flights", "node:Plane", at(0)), Some(at(20)));
    assert_eq!(pauses.until("flights", "edge:Flight", at(10)), None);
    assert_eq!(pauses.until("flights", "node:Plane", at(10)), Some(at(20)));
    assert_eq!(pauses.until("birds", "eagles", at(0)), None);
}

#[test]
fn a_resume_ends_what_was_paused_and_says_when_there_was_nothing() {
    let mut pauses = Pauses::default();
    pauses.pause("flights", None, at(10));
    pauses.pause("flights", Some("node:Plane"), at(10));
    assert!(pauses.resume("flights", None));
    assert!(!pauses.resume("flights", None));
    assert_eq!(pauses.until("flights", "edge:Flight", at(0)), None);
    assert_eq!(pauses.until("flights", "node:Plane", at(0)), Some(at(10)));
}

#[test]
fn active_pauses_are_told_and_the_others_forgotten() {
    let mut pauses = Pauses::default();
    pauses.pause("flights", None, at(10));
    pauses.pause("birds", Some("owls"), at(5));
    let named = |pauses: &Pauses, now| {
        let active = pauses.active(now).into_iter();
        active.map(|p| (p.target, p.table)).collect::<Vec<_>>()
    };
    let both = [
        ("birds".to_owned(), Some("owls".to_owned())),
        ("flights".to_owned(), None),
    ];
    assert_eq!(named(&pauses, at(4)), both);
    assert_eq!(named(&pauses, at(5)), both[1..]);
    assert!(!pauses.expire(at(4)));
    assert!(pauses.expire(at(5)));
    assert_eq!(named(&pauses, at(0)), both[1..]);
}

#[test]
fn pauses_come_back_from_their_file() {
    let mut pauses = Pauses::default();
    pauses.pause("flights", None, at(10));
    pauses.pause("flights", Some("node:Plane"), at(20));
    let text = serde_json::to_string(&pauses).unwrap();
    assert!(
        text.starts_with("[{\"target\":\"flights\",\"until\":\"2025-12-31T12:10:00Z\"}"),
        "{text}"
    );
    assert_eq!(serde_json::from_str::<Pauses>(&text).unwrap(), pauses);
}
