//! The test of the test: a ledger or a snapshot that was tampered with does not pass.

use serde_json::json;
use squire_engine::schema::Schema;
use squire_tests::bank::{
    Holdings, Intent, Ledger, Posting, Row, Tag, Till, Violation, check, check::check_schema,
};

/// One writer's ledger, line by line.
fn ledger(lines: &[&str]) -> Ledger {
    let mut ledger = Ledger::default();
    for line in lines {
        ledger.take(line).unwrap();
    }
    ledger
}

/// Everything is known.
fn violations(ledger: &Ledger, held: &Holdings) -> Vec<Violation> {
    check(std::slice::from_ref(ledger), &[ledger.lines], held)
}

const APPEND: &str = r#"{"append":[["Checking","a",3],["Savings","a",4],["Branch","a",-7]]}"#;
const ACCOUNT: &str = r#"{"account":0,"rows":[["Checking","account",5],["Savings","account",-5]]}"#;
const RAISE: &str = r#"{"account":0,"rows":[["Checking","account",9],["Savings","account",-9]]}"#;
const ACKNOWLEDGED: &str = r#"{"acknowledged":7}"#;
const FAILED: &str = r#"{"failed":"no"}"#;
const UNKNOWN: &str = r#"{"unknown":"perhaps"}"#;
const DELETE: &str = r#"{"delete":1}"#;

fn tag(seq: u64) -> Tag {
    Tag { writer: 0, seq }
}

/// What a snapshot holds once these operations of a ledger have taken place, and no other.
fn holding(ledger: &Ledger, seqs: &[u64]) -> Holdings {
    let mut held = Holdings::default();
    for &seq in seqs {
        for posting in ledger.entry(seq).unwrap().intent.postings() {
            let Posting { till, id, amount } = posting.clone();
            held.rows.push(Row {
                till,
                id,
                amount,
                tag: tag(seq),
                note: Some(tag(seq).to_string()),
            });
        }
    }
    held
}

#[test]
fn what_agrees_passes() {
    let all = ledger(&[APPEND, ACKNOWLEDGED, ACCOUNT, ACKNOWLEDGED, RAISE]);
    // The last one was interrupted: there or not.
    assert_eq!(violations(&all, &holding(&all, &[1, 2])), []);
    assert_eq!(violations(&all, &holding(&all, &[1, 3])), []);
    let undone = ledger(&[APPEND, ACKNOWLEDGED, DELETE, ACKNOWLEDGED]);
    assert_eq!(violations(&undone, &holding(&undone, &[])), []);
    for told in [FAILED, UNKNOWN] {
        let nothing = ledger(&[APPEND, told]);
        assert_eq!(violations(&nothing, &holding(&nothing, &[])), []);
    }
    let perhaps = ledger(&[APPEND, UNKNOWN]);
    assert_eq!(violations(&perhaps, &holding(&perhaps, &[1])), []);
}

#[test]
fn an_acknowledged_operation_that_is_not_there_is_found() {
    let append = ledger(&[APPEND, ACKNOWLEDGED]);
    let nothing = holding(&append, &[]);
    assert_eq!(violations(&append, &nothing), [Violation::Lost(tag(1))]);
    // But not before its writer was told.
    assert_eq!(check(&[append], &[1], &nothing), []);
    let account = ledger(&[ACCOUNT, ACKNOWLEDGED]);
    let nothing = holding(&account, &[]);
    assert_eq!(violations(&account, &nothing), [Violation::Lost(tag(1))]);
    // A delete that failed explains nothing, one that may have happened does.
    let failed = ledger(&[APPEND, ACKNOWLEDGED, DELETE, FAILED]);
    assert_eq!(
        violations(&failed, &holding(&failed, &[])),
        [Violation::Lost(tag(1))]
    );
    let perhaps = ledger(&[APPEND, ACKNOWLEDGED, DELETE, UNKNOWN]);
    assert_eq!(violations(&perhaps, &holding(&perhaps, &[])), []);
}

#[test]
fn rows_that_must_not_be_there_are_found() {
    let failed = ledger(&[APPEND, FAILED]);
    assert_eq!(
        violations(&failed, &holding(&failed, &[1])),
        [Violation::Undead(tag(1))]
    );
    let deleted = ledger(&[APPEND, ACKNOWLEDGED, DELETE, ACKNOWLEDGED]);
    assert_eq!(
        violations(&deleted, &holding(&deleted, &[1])),
        [Violation::Undead(tag(1))]
    );
    let overwritten = ledger(&[ACCOUNT, ACKNOWLEDGED, RAISE, ACKNOWLEDGED]);
    assert_eq!(
        violations(&overwritten, &holding(&overwritten, &[1])),
        [Violation::Undead(tag(1))]
    );
    // Whose ledger lost its lines.
    let written = ledger(&[APPEND, ACKNOWLEDGED]);
    assert_eq!(
        violations(&ledger(&[]), &holding(&written, &[1])),
        [Violation::Stranger(tag(1))]
    );
}

#[test]
fn half_an_operation_is_found_by_its_sum_and_by_its_rows() {
    let append = ledger(&[APPEND, UNKNOWN]);
    let mut half = holding(&append, &[1]);
    half.rows.pop();
    assert_eq!(
        violations(&append, &half),
        [Violation::Unbalanced(7), Violation::Torn(tag(1), 2, 3)]
    );
    let raised = ledger(&[ACCOUNT, ACKNOWLEDGED, RAISE]);
    let mut half = holding(&raised, &[1]);
    half.rows[0] = holding(&raised, &[2]).rows[0].clone();
    assert_eq!(
        violations(&raised, &half),
        [
            Violation::Unbalanced(4),
            Violation::Torn(tag(1), 1, 2),
            Violation::Torn(tag(2), 1, 2)
        ]
    );
}

#[test]
fn an_operation_that_was_done_twice_is_found() {
    let append = ledger(&[APPEND, ACKNOWLEDGED]);
    let twice = holding(&append, &[1, 1]);
    let found = violations(&append, &twice);
    assert!(found.contains(&Violation::Twice(Till::Branch, "a".to_owned())));
    assert!(found.contains(&Violation::Torn(tag(1), 6, 3)));
}

#[test]
fn a_row_that_changed_on_its_way_is_found() {
    let append = ledger(&[APPEND, ACKNOWLEDGED]);
    let mut altered = holding(&append, &[1]);
    altered.rows[0].amount += 1;
    altered.rows[1].amount -= 1;
    altered.rows[2].note = None;
    let expected = [Till::Checking, Till::Savings, Till::Branch]
        .map(|till| Violation::Altered(tag(1), till, "a".to_owned()));
    assert_eq!(violations(&append, &altered), expected);
}

#[test]
fn a_schema_that_no_apply_left_is_found() {
    let named = |name: &str| Schema {
        name: Some(name.to_owned()),
        ..Schema::default()
    };
    let (born, first, second) = (named("born"), named("first"), named("second"));
    let held = |schema: &Schema| Holdings {
        schema: schema.clone(),
        ..Holdings::default()
    };
    let apply = |wanted: &Schema| json!({ "schema": "", "wanted": wanted }).to_string();
    let found = |lines: &[&str], schema| {
        let ledgers = [ledger(lines)];
        check_schema(&ledgers, &born, &held(schema)).is_some()
    };
    let (one, two) = (apply(&first), apply(&second));
    assert!(!found(&[], &born));
    assert!(found(&[], &first));
    assert!(!found(&[&one, ACKNOWLEDGED], &first));
    assert!(found(&[&one, ACKNOWLEDGED], &born));
    assert!(!found(&[&one, ACKNOWLEDGED, &two, UNKNOWN], &second));
    assert!(!found(&[&one, ACKNOWLEDGED, &two, UNKNOWN], &first));
    assert!(found(&[&one, ACKNOWLEDGED, &two, FAILED], &second));
}

#[test]
fn a_ledger_reads_back_as_it_was_written_and_a_line_that_was_cut_off_is_no_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    let mut written = Ledger::open(&path).unwrap();
    for line in [APPEND, ACCOUNT, DELETE] {
        let intent = ledger(&[line]).entries.remove(0).intent;
        written.intend(&intent).unwrap();
        written
            .told(&squire_tests::bank::Told::Acknowledged(3))
            .unwrap();
    }
    let mut text = std::fs::read(&path).unwrap();
    text.extend(br#"{"delete":"#);
    std::fs::write(&path, &text).unwrap();
    let mut again = Ledger::open(&path).unwrap();
    assert_eq!(again.entries, written.entries);
    again.intend(&Intent::Delete { target: 2 }).unwrap();
    let mut read = Ledger::default();
    read.catch_up(&path).unwrap();
    assert_eq!(read.entries.len(), 4);
    assert_eq!(read.entries[3].told, None);
}
