use super::*;
use crate::planner::{
    sample::{at, fragment, stats},
    statistics::{MissingIndex, Unwritable},
};

/// A table of so many rows, with one index that leaves so many outside.
fn table(rows: u64, unindexed_rows: u64, segments: usize) -> TableStats {
    TableStats {
        indexes: vec![index("a", unindexed_rows, segments)],
        ..stats(vec![fragment(0, rows, 0, rows * 100)])
    }
}

fn index(name: &str, unindexed_rows: u64, segments: usize) -> IndexStats {
    IndexStats {
        name: name.to_owned(),
        columns: vec![name.to_owned()],
        segments,
        unindexed_rows,
        unindexed_fragments: usize::from(unindexed_rows > 0),
        vector: true,
        ..IndexStats::default()
    }
}

fn missing(column: &str, blocked: Option<&str>) -> MissingIndex {
    MissingIndex {
        column: column.to_owned(),
        kind: "btree".to_owned(),
        value_bytes: None,
        blocked: blocked.map(str::to_owned),
        refused: None,
    }
}

fn judged(table: &TableStats) -> Decision {
    plan(table, &IndexPolicy::default(), at(0).wall, false)
}

fn append(reason: Reason) -> Decision {
    Decision::Index(vec![Task::Append("a".to_owned())], reason)
}

fn merge(reason: Reason) -> Decision {
    Decision::Index(vec![Task::Merge("a".to_owned())], reason)
}

#[test]
fn rows_outside_are_taken_in_by_number_and_by_share() {
    let below = Decision::Skip(Skip::BelowThreshold);
    assert_eq!(judged(&table(10_000_000, 99_999, 1)), below);
    assert_eq!(
        judged(&table(10_000_000, 100_000, 1)),
        append(Reason::UnindexedRows)
    );
    assert_eq!(judged(&table(20_000, 2_000, 1)), below);
    assert_eq!(
        judged(&table(20_000, 2_001, 1)),
        append(Reason::UnindexedFraction)
    );
}

#[test]
fn rows_outside_are_taken_in_by_bytes_as_well() {
    // Vectors of 1,536 dimensions: 40,000 of them are as much for a search to read as millions of numbers.
    let wide = |unindexed_rows, value_bytes| TableStats {
        indexes: vec![IndexStats {
            value_bytes,
            ..index("a", unindexed_rows, 1)
        }],
        ..stats(vec![fragment(0, 10_000_000, 0, 70_000_000_000)])
    };
    let below = Decision::Skip(Skip::BelowThreshold);
    let due = append(Reason::UnindexedBytes);
    let least = (256_u64 << 20).div_ceil(6_144 + 8);
    assert_eq!(judged(&wide(least - 1, Some(6_144))), below);
    assert_eq!(judged(&wide(least, Some(6_144))), due);
    assert_eq!(
        judged(&wide(least, Some(8))),
        below,
        "of a number beside them"
    );
    assert_eq!(
        judged(&wide(40_000, None)),
        due,
        "of a text, this is not known"
    );
    let few = TableStats {
        indexes: vec![index("a", 999, 1)],
        ..stats(vec![fragment(0, 10_000_000, 0, 1 << 50)])
    };
    assert_eq!(judged(&few), below);
}

#[test]
fn a_tiny_table_is_not_indexed_after_every_row() {
    let below = Decision::Skip(Skip::BelowThreshold);
    assert_eq!(judged(&table(999, 999, 1)), below);
    assert_eq!(
        judged(&table(1_000, 1_000, 1)),
        append(Reason::UnindexedFraction)
    );
}

#[test]
fn segments_are_merged_when_there_are_too_many() {
    assert_eq!(judged(&table(100_000, 0, 8)), Decision::Skip(Skip::Covered));
    assert_eq!(judged(&table(100_000, 0, 9)), merge(Reason::Segments));
    assert_eq!(
        judged(&table(100_000, 50_000, 9)),
        merge(Reason::UnindexedFraction)
    );
}

#[test]
fn a_large_index_is_not_merged_for_the_sake_of_few_rows() {
    // Nine deltas of 100,000 rows are no tenth of this table.
    let rows = 100_000_000;
    assert_eq!(judged(&table(rows, 0, 9)), Decision::Skip(Skip::Covered));
    assert_eq!(
        judged(&table(rows, 100_000, 9)),
        append(Reason::UnindexedRows)
    );
    assert_eq!(judged(&table(rows, 0, 32)), Decision::Skip(Skip::Covered));
    assert_eq!(judged(&table(rows, 0, 33)), merge(Reason::Segments));
}

#[test]
fn forced_takes_every_row_in_and_leaves_one_segment() {
    let policy = IndexPolicy::default();
    assert_eq!(
        plan(&table(1_000, 1, 1), &policy, at(0).wall, true),
        append(Reason::Forced)
    );
    assert_eq!(
        plan(&table(1_000, 0, 2), &policy, at(0).wall, true),
        merge(Reason::Forced)
    );
    assert_eq!(
        plan(&table(1_000, 0, 1), &policy, at(0).wall, true),
        Decision::Skip(Skip::Covered)
    );
}

#[test]
fn declared_indexes_are_created_when_they_can_be_and_come_first() {
    let mut table = table(100_000, 50_000, 1);
    table.missing = vec![
        missing("b", None),
        missing("c", Some("256 vectors are needed")),
    ];
    let tasks = vec![Task::Create("b".to_owned()), Task::Append("a".to_owned())];
    assert_eq!(judged(&table), Decision::Index(tasks, Reason::Missing));
    table.missing.remove(0);
    table.indexes[0].unindexed_rows = 0;
    assert_eq!(judged(&table), Decision::Skip(Skip::Blocked));
    assert_eq!(judged(&stats(Vec::new())), Decision::Skip(Skip::NoIndex));
}

#[test]
fn an_index_that_is_refused_makes_nothing_due_and_says_so_until_it_may_be_tried_again() {
    let policy = IndexPolicy::default();
    let refused = |until: Option<u64>| {
        Some(IndexRefusal {
            reason: "it is broken".to_owned(),
            until: until.map(|seconds| at(seconds).wall),
        })
    };
    let judged = |table: &TableStats, seconds| plan(table, &policy, at(seconds).wall, false);
    let mut table = table(20_000, 5_000, 1);
    table.indexes.push(index("b", 10, 1));
    table.indexes[0].refused = refused(Some(600));
    let said = Decision::Skip(Skip::Refused);
    assert_eq!(judged(&table, 599), said, "b has few rows outside");
    let both = ["a", "b"].map(|name| Task::Append(name.to_owned()));
    let due = Decision::Index(both.to_vec(), Reason::UnindexedFraction);
    assert_eq!(judged(&table, 600), due);
    let forced = Decision::Index(both.to_vec(), Reason::Forced);
    assert_eq!(plan(&table, &policy, at(0).wall, true), forced);
    // b by itself, and not a because of b.
    table.indexes[0].refused = refused(None);
    table.indexes[1].unindexed_rows = 5_000;
    let b = vec![Task::Append("b".to_owned())];
    assert_eq!(
        judged(&table, 1_000_000),
        Decision::Index(b, Reason::UnindexedFraction)
    );
    // Below its threshold there is nothing to complain of.
    table.indexes[0].unindexed_rows = 10;
    table.indexes[1].unindexed_rows = 0;
    let below = Decision::Skip(Skip::BelowThreshold);
    assert_eq!(judged(&table, 0), below);
    table.missing = vec![missing("c", None)];
    table.missing[0].refused = refused(None);
    assert_eq!(judged(&table, 0), said);
}

#[test]
fn work_on_an_index_costs_what_its_column_takes_where_that_is_known() {
    let mut table = table(1_000_000, 10_000, 3);
    let bytes = |table: &TableStats, task: Task| work(&task, table).bytes;
    let tasks = || {
        let name = || "a".to_owned();
        [
            Task::Append(name()),
            Task::Merge(name()),
            Task::Create(name()),
        ]
    };
    table.missing = vec![missing("a", None)];
    let whole = tasks().map(|task| bytes(&table, task));
    assert_eq!(whole, [1_000_000, 100_000_000, 100_000_000]);
    table.indexes[0].value_bytes = Some(4);
    table.missing[0].value_bytes = Some(16);
    let column = tasks().map(|task| bytes(&table, task));
    assert_eq!(column, [120_000, 12_000_000, 24_000_000]);
    table.indexes[0].value_bytes = Some(4_000);
    let [append, ..] = tasks();
    assert_eq!(bytes(&table, append), 1_000_000, "no more than the rows");
}

#[test]
fn once_one_index_is_due_the_others_take_their_rows_in_as_well() {
    let mut table = table(20_000, 5_000, 1);
    table.indexes.push(index("b", 10, 1));
    table.indexes.push(index("c", 0, 1));
    let tasks = ["a", "b"].map(|name| Task::Append(name.to_owned()));
    assert_eq!(
        judged(&table),
        Decision::Index(tasks.to_vec(), Reason::UnindexedFraction)
    );
}

#[test]
fn a_growing_table_has_few_rows_outside_and_its_indexes_cost_little_more_than_its_rows() {
    let policy = IndexPolicy::default();
    let (mut rows, mut outside, mut segments) = (1_000_000_u64, 0_u64, 1_usize);
    let (mut indexed, appended) = (0_u64, 40_000_000_u64);
    for _ in 0..appended / 10_000 {
        rows += 10_000;
        outside += 10_000;
        if let Decision::Index(tasks, _) =
            plan(&table(rows, outside, segments), &policy, at(0).wall, false)
        {
            let merges = matches!(tasks[0], Task::Merge(_));
            indexed += if merges { rows } else { outside };
            segments = if merges { 1 } else { segments + 1 };
            outside = 0;
        }
        assert!(outside < policy.max_unindexed_rows && segments <= 4 * policy.max_segments + 1);
    }
    assert!(indexed <= 10 * appended, "{indexed}");
}

#[test]
fn an_index_of_row_ids_is_left_alone_where_a_client_is_known_that_would_find_changed_rows_wrong() {
    let of_ids = |oldest_writer| TableStats {
        indexes: vec![IndexStats {
            row_ids: true,
            ..index("a", 50_000, 1)
        }],
        oldest_writer,
        ..table(100_000, 0, 1)
    };
    let (old, new) = (LanceVersion::new(12, 0), FOLLOWS_ROW_IDS);
    let too_old = Decision::Skip(Skip::ClientTooOld);
    let due = append(Reason::UnindexedFraction);
    assert_eq!(judged(&of_ids(Some(old))), too_old);
    assert_eq!(judged(&of_ids(Some(new))), due);
    assert_eq!(judged(&of_ids(None)), due, "no client changes rows");
    let policy = IndexPolicy {
        oldest_client: Some(new),
        ..IndexPolicy::default()
    };
    let said = plan(&of_ids(Some(old)), &policy, at(0).wall, false);
    assert_eq!(said, due, "the operator says that it is no client");
    let of_addresses = TableStats {
        oldest_writer: Some(old),
        ..table(100_000, 50_000, 1)
    };
    assert_eq!(judged(&of_addresses), due);
}

/// A refusal that holds until the table changes.
fn for_good() -> Option<IndexRefusal> {
    Some(IndexRefusal {
        reason: "it does not fit into memory".to_owned(),
        until: None,
    })
}

#[test]
fn an_index_that_cannot_be_merged_is_extended_all_the_same() {
    let many = IndexPolicy::default().max_segments + 1;
    let mut table = table(1_000_000, 200_000, many);
    assert_eq!(judged(&table), merge(Reason::UnindexedRows));
    table.indexes[0].merge_refused = for_good();
    assert_eq!(judged(&table), append(Reason::UnindexedRows));
    // With nothing outside, what is due is the merge.
    table.indexes[0].unindexed_rows = 0;
    assert_eq!(judged(&table), Decision::Skip(Skip::Refused));
    table.indexes[0].segments = 1;
    assert_eq!(judged(&table), Decision::Skip(Skip::Covered));
}

#[test]
fn an_index_that_has_to_have_one_segment_gets_no_second_one_where_it_cannot_be_merged() {
    let policy = IndexPolicy {
        oldest_client: Some(LanceVersion::new(0, 1)),
        ..IndexPolicy::default()
    };
    let judged = |table: &TableStats| plan(table, &policy, at(0).wall, false);
    let mut table = table(1_000_000, 200_000, 1);
    table.indexes[0].vector = false;
    assert_eq!(judged(&table), merge(Reason::UnindexedRows));
    assert_eq!(in_one_segment(&table, &policy), ["a".to_owned()].into());
    table.indexes[0].merge_refused = for_good();
    assert_eq!(judged(&table), Decision::Skip(Skip::Refused));
    let today = IndexPolicy {
        oldest_client: Some(READS_SEGMENTS),
        ..policy.clone()
    };
    assert!(in_one_segment(&table, &today).is_empty());
}

#[test]
fn a_table_that_takes_nothing_of_this_build_is_left_alone_whatever_is_asked() {
    let mut table = table(20_000, 5_000, 1);
    table.unwritable = Some(Unwritable::Features("flags: 131072".to_owned()));
    for forced in [true, false] {
        let decision = plan(&table, &IndexPolicy::default(), at(0).wall, forced);
        assert_eq!(decision, Decision::Skip(Skip::Unwritable));
    }
}
