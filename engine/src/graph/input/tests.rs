//! What the reading of files promises.

use std::{fs, sync::Arc};

use arrow::{
    array::*,
    compute::concat_batches,
    datatypes::{DataType, Field, Float32Type, Int32Type, Schema, SchemaRef, TimeUnit},
    error::ArrowError,
    ipc::writer::{FileWriter, StreamWriter},
};
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;

use super::*;

/// A directory for one test's files.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> Input {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        Input::new(path)
    }
}

fn schema(fields: Vec<Field>) -> SchemaRef {
    Arc::new(Schema::new(fields))
}

/// `id` is required; `name`, `when` and `score` are not.
fn people() -> SchemaRef {
    schema(vec![
        Field::new("id", DataType::Int32, false),
        Field::new("name", DataType::Utf8, true),
        Field::new(
            "when",
            DataType::Timestamp(TimeUnit::Millisecond, None),
            true,
        ),
        Field::new("score", DataType::Float32, true),
    ])
}

fn read(input: &Input, target: &SchemaRef) -> Result<RecordBatch, InputError> {
    let mut reader = input.open(target)?;
    let mut batches = Vec::new();
    while let Some(batch) = reader.next_batch() {
        batches.push(batch?);
    }
    Ok(concat_batches(target, &batches).unwrap())
}

#[track_caller]
fn fails(input: &Input, target: &SchemaRef, words: &[&str]) -> InputError {
    let error = read(input, target).unwrap_err();
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
    error
}

fn numbers(rows: i64) -> RecordBatch {
    RecordBatch::try_from_iter([(
        "id",
        Arc::new(Int64Array::from_iter_values(0..rows)) as ArrayRef,
    )])
    .unwrap()
}

fn parquet_bytes(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

fn ids(batch: &RecordBatch) -> Vec<i32> {
    batch
        .column(0)
        .as_primitive::<Int32Type>()
        .values()
        .to_vec()
}

#[test]
fn parquet_is_read_in_batches_of_bounded_size_and_knows_its_rows() {
    let files = Files::new();
    let bytes = parquet_bytes(&numbers(1000));
    let mut input = files.write("n.parquet", &bytes);
    input.batch_rows = 300;
    assert_eq!(
        input.size_hint(),
        Some(SizeHint {
            bytes: bytes.len() as u64,
            rows: Some(1000)
        })
    );
    let mut batches = input.open(&people()).unwrap();
    assert_eq!(RecordBatchReader::schema(&batches), people());
    let sizes: Vec<usize> = batches
        .by_ref()
        .map(|batch| batch.unwrap().num_rows())
        .collect();
    assert_eq!(sizes, [300, 300, 300, 100]);
    assert_eq!(batches.rows_read(), 1000);
}

#[test]
fn batches_can_be_sent_to_another_thread() {
    fn send<T: RecordBatchReader + Send + 'static>() {}
    send::<Batches>();
}

#[test]
fn both_kinds_of_ipc_are_told_apart_by_their_first_bytes_and_large_batches_are_cut() {
    let files = Files::new();
    let batch = numbers(10);
    let mut file = FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    file.write(&batch).unwrap();
    file.finish().unwrap();
    let mut stream = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    stream.write(&batch).unwrap();
    stream.finish().unwrap();
    for bytes in [file.into_inner().unwrap(), stream.into_inner().unwrap()] {
        let mut input = files.write("n.arrow", bytes);
        input.batch_rows = 4;
        let sizes: Vec<usize> = input
            .open(&people())
            .unwrap()
            .map(|batch| batch.unwrap().num_rows())
            .collect();
        assert_eq!(sizes, [4, 4, 2]);
        assert_eq!(
            ids(&read(&input, &people()).unwrap()),
            (0..10).collect::<Vec<_>>()
        );
    }
}

#[test]
fn the_row_of_an_error_is_counted_over_batches() {
    let files = Files::new();
    let values: Vec<i64> = (0..1000)
        .map(|i| if i == 777 { 1 << 40 } else { i })
        .collect();
    let batch =
        RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(values)) as ArrayRef)])
            .unwrap();
    let mut input = files.write("n.parquet", parquet_bytes(&batch));
    input.batch_rows = 100;
    let error = fails(
        &input,
        &people(),
        &["n.parquet", "row 778", "`id`", "1099511627776", "Int32"],
    );
    assert_eq!(error.place(), Some(Place::Row(778)));
}

#[test]
fn an_error_goes_through_arrow_and_back_and_ends_the_reading() {
    let files = Files::new();
    let input = files.write("p.csv", "id\n1\nx\n3\n");
    let mut batches = input.open(&people()).unwrap();
    let error = batches.next().unwrap().unwrap_err();
    assert!(matches!(error, ArrowError::ExternalError(_)));
    assert!(matches!(
        InputError::from_arrow(error),
        InputError::BadValue {
            place: Place::Line(3),
            ..
        }
    ));
    assert!(batches.next().is_none());
    let foreign = InputError::from_arrow(ArrowError::DivideByZero);
    assert!(matches!(foreign, InputError::Arrow { .. }));
}

#[test]
fn what_is_no_readable_file_is_one_clear_error() {
    let files = Files::new();
    let missing = Input::new(files.0.path().join("none.parquet"));
    assert!(matches!(
        missing.open(&people()),
        Err(InputError::NotFound { .. })
    ));
    assert_eq!(missing.size_hint(), None);
    let directory = files.0.path().join("dir.csv");
    fs::create_dir(&directory).unwrap();
    assert!(matches!(
        Input::new(directory).open(&people()),
        Err(InputError::NotAFile { .. })
    ));
    for name in ["e.parquet", "e.csv", "e.jsonl", "e.arrow"] {
        assert!(
            matches!(
                files.write(name, "").open(&people()),
                Err(InputError::Empty { .. })
            ),
            "{name}"
        );
    }
    assert!(matches!(
        files.write("x.txt", "a").open(&people()),
        Err(InputError::UnknownFormat { .. })
    ));
}

#[test]
fn a_damaged_or_truncated_binary_file_is_one_clear_error() {
    let files = Files::new();
    let good = parquet_bytes(&numbers(10_000));
    for bytes in [&good[..good.len() / 2], &good[..20], b"not parquet at all"] {
        let error = fails(
            &files.write("d.parquet", bytes),
            &people(),
            &["d.parquet", "parquet", "write the file again"],
        );
        assert!(matches!(error, InputError::Unreadable { .. }));
    }
    // The footer is whole, the pages are not.
    let mut torn = good;
    torn[4..2000].fill(0xff);
    let error = fails(
        &files.write("d.parquet", torn),
        &people(),
        &["d.parquet", "past row 0"],
    );
    assert!(matches!(error, InputError::Unreadable { .. }));
    for bytes in [
        "no arrow at all, but long enough",
        "ARROW1",
        "ARROW1\0\0 and then nothing of use",
    ] {
        fails(
            &files.write("d.arrow", bytes),
            &people(),
            &["d.arrow", "arrow"],
        );
    }
}

#[test]
fn csv_is_read_by_its_header_with_the_types_of_the_table() {
    let files = Files::new();
    let text = "score,when,id,name\n1.5,2013-01-01T05:00:00,7,\"a, \"\"b\"\"\"\n,,8.0,\n";
    let batch = read(&files.write("p.csv", text), &people()).unwrap();
    assert_eq!(ids(&batch), [7, 8]);
    assert_eq!(batch.column(1).as_string::<i32>().value(0), "a, \"b\"");
    assert_eq!(batch.column(3).as_primitive::<Float32Type>().value(0), 1.5);
    for column in 1..4 {
        assert!(batch.column(column).is_null(1), "{column}");
    }
}

#[test]
fn csv_takes_another_delimiter_and_other_null_markers() {
    let files = Files::new();
    let tabs = files.write("p.tsv", "id\tname\n1\ta,b\n");
    assert_eq!(ids(&read(&tabs, &people()).unwrap()), [1]);
    let mut input = files.write("p.csv", "id;name\n1;NA\n2;N.A\n3;\n");
    input.csv.delimiter = Some(b';');
    input.csv.null_markers = vec!["NA".to_owned(), "N.".to_owned()];
    let batch = read(&input, &people()).unwrap();
    let names: Vec<_> = batch.column(1).as_string::<i32>().iter().collect();
    assert_eq!(names, [None, Some("N.A"), Some("")]);
    input.csv.null_markers.clear();
    assert_eq!(read(&input, &people()).unwrap().column(1).null_count(), 0);
}

#[test]
fn a_csv_error_names_line_and_column() {
    let files = Files::new();
    let csv = |text: &str| files.write("p.csv", text);
    let people = people();
    fails(
        &csv("id,name\n1,\"x\ny\"\n\n2.5,b\n"),
        &people,
        &["p.csv, line 5", "`id`", "`2.5`", "Int32"],
    );
    fails(
        &csv("id,name\n1,a\n,b\n"),
        &people,
        &["line 3", "`id`", "required"],
    );
    fails(
        &csv("id,when\n1,2013-01-01T00:00:00.0001\n"),
        &people,
        &["line 2", "`when`", "exactly"],
    );
    fails(
        &csv("id,when\n1,yesterday\n"),
        &people,
        &["line 2", "`when`", "`yesterday`"],
    );
    fails(
        &csv("id,score\n1,1e39\n"),
        &people,
        &["line 2", "`score`", "`1e39`"],
    );
    fails(&csv("name\na\n"), &people, &["`id`", "missing"]);
    fails(
        &csv("id,nmae\n1,a\n"),
        &people,
        &["`nmae`", "did you mean `name`"],
    );
    fails(&csv("id,id\n1,1\n"), &people, &["two columns `id`"]);
    let error = fails(
        &csv("1,2\n3,4\n"),
        &people,
        &["line 1", "`1, 2`", "header", "id, name, when, score"],
    );
    assert!(matches!(error, InputError::NoHeader { .. }));
}

#[test]
fn a_csv_row_of_another_length_or_encoding_is_named_by_its_line() {
    let files = Files::new();
    for batch_rows in [1, 2, 100] {
        let mut input = files.write("p.csv", "id,name\n1,\"x\ny\"\n2,b\n3,c\n4\n5,e\n");
        input.batch_rows = batch_rows;
        fails(&input, &people(), &["p.csv, line 6:", "expected 2 got 1"]);
        let mut input = files.write("p.csv", b"id,name\n1,a\n2,b\n3,\xff\n");
        input.batch_rows = batch_rows;
        fails(&input, &people(), &["p.csv, line 4:", "UTF-8"]);
    }
}

#[test]
fn csv_cannot_carry_lists_and_says_so() {
    let files = Files::new();
    let target = schema(vec![Field::new(
        "v",
        DataType::new_fixed_size_list(DataType::Float32, 2, true),
        true,
    )]);
    fails(
        &files.write("p.csv", "v\n\"[1, 2]\"\n"),
        &target,
        &["`v`", "Parquet or JSON Lines"],
    );
}

#[test]
fn an_exponent_that_no_type_holds_makes_no_other_number() {
    let files = Files::new();
    let target = schema(vec![
        Field::new("big", DataType::Int64, true),
        Field::new("price", DataType::Decimal128(10, 2), true),
        Field::new("name", DataType::Utf8, true),
    ]);
    for number in ["1e65536", "1E+65536", "1e-65536", "1e99854", "-3e131072"] {
        let csv = files.write("n.csv", format!("big\n{number}\n").as_str());
        fails(&csv, &target, &["line 2", number]);
        for column in ["big", "price"] {
            for value in [number.to_owned(), format!("\"{number}\"")] {
                let line = format!("{{\"{column}\": {value}}}\n");
                let json = files.write("n.jsonl", line.as_str());
                fails(&json, &target, &["line 1"]);
            }
        }
    }
    let signed = files.write("n.csv", "big\n1e99-903\n");
    fails(&signed, &target, &["line 2", "1e99-903"]);
    // What only looks like one is a text.
    let named = "{\"big\": 0, \"price\": 0, \"name\": \"a \\\" e99854\"}\n";
    let batch = read(&files.write("n.jsonl", named), &target).unwrap();
    assert_eq!(batch.num_rows(), 1);
}

#[test]
fn an_error_about_a_file_with_very_many_columns_can_be_read() {
    let files = Files::new();
    let target = schema(vec![Field::new("id", DataType::Int32, true)]);
    let header = format!("tailnum{}\n", ",".repeat(9_000));
    let failed = read(&files.write("n.csv", header.as_str()), &target).unwrap_err();
    let text = failed.to_string();
    assert!(
        text.len() < 4_096 && text.contains("and 8951 more"),
        "{text}"
    );
}

#[test]
fn csv_numbers_are_exact() {
    let files = Files::new();
    let target = schema(vec![
        Field::new("big", DataType::Int64, true),
        Field::new("price", DataType::Decimal128(10, 2), true),
        Field::new("flag", DataType::Boolean, true),
    ]);
    let input = files.write(
        "n.csv",
        "big,price,flag\n9223372036854775807,1.50,true\n1e3,-2,FALSE\n",
    );
    let batch = read(&input, &target).unwrap();
    assert_eq!(
        batch.column(0).as_ref(),
        &Int64Array::from(vec![i64::MAX, 1000]) as &dyn Array
    );
    let prices = Decimal128Array::from(vec![150, -200])
        .with_precision_and_scale(10, 2)
        .unwrap();
    assert_eq!(batch.column(1).as_ref(), &prices as &dyn Array);
    fails(
        &files.write("n.csv", "price\n1.505\n"),
        &target,
        &["line 2", "`1.505`", "exactly"],
    );
    fails(
        &files.write("n.csv", "big\n9223372036854775808\n"),
        &target,
        &["line 2", "`9223372036854775808`"],
    );
}

fn documents() -> SchemaRef {
    let place = Field::new("city", DataType::Utf8, true);
    schema(vec![
        Field::new("id", DataType::Int32, false),
        Field::new("name", DataType::Utf8, true),
        Field::new(
            "when",
            DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
            true,
        ),
        Field::new(
            "vector",
            DataType::new_fixed_size_list(DataType::Float32, 2, true),
            true,
        ),
        Field::new("place", DataType::Struct(vec![place].into()), true),
    ])
}

#[test]
fn json_lines_are_read_with_the_types_of_the_table() {
    let files = Files::new();
    let text = r#"{"id": 1, "vector": [0.5, 1], "place": {"city": "Bergen"}, "when": "2013-01-01T05:00:00Z"}

{"name": "b", "id": 2.0}
{"name": null, "id": "3"}"#;
    for batch_rows in [1, 100] {
        let mut input = files.write("d.jsonl", text);
        input.batch_rows = batch_rows;
        let batch = read(&input, &documents()).unwrap();
        assert_eq!(ids(&batch), [1, 2, 3]);
        let vector = batch.column(3).as_fixed_size_list().value(0);
        assert_eq!(vector.as_primitive::<Float32Type>().values(), &[0.5, 1.0]);
        assert_eq!(batch.column(2).null_count(), 2);
    }
}

#[test]
fn a_json_error_names_line_and_column() {
    let files = Files::new();
    let documents = documents();
    let fails = |line: &str, words: &[&str]| {
        for batch_rows in [1, 100] {
            let mut input = files.write(
                "d.jsonl",
                format!("{{\"id\": 1}}\n\n{line}\n{{\"id\": 4}}\n"),
            );
            input.batch_rows = batch_rows;
            let words = [&["d.jsonl, line 3"], words].concat();
            super::tests::fails(&input, &documents, &words);
        }
    };
    fails(r#"{"id": 1.5}"#, &["`id`", "`1.5`", "exactly as Int32"]);
    fails(r#"{"id": 5000000000}"#, &["`id`", "`5000000000`"]);
    fails(r#"{"id": "x"}"#, &["`id`", "x", "no valid Int32"]);
    fails(r#"{"id": null}"#, &["`id`", "required"]);
    fails(r#"{"name": "a"}"#, &["`id`", "required"]);
    fails(r#"{"id": 1, "name": 5}"#, &["`name`", "`5`", "Utf8"]);
    fails(
        r#"{"id": 1, "nane": "a"}"#,
        &["`nane`", "did you mean `name`"],
    );
    fails(r#"{"id": 1, "when": 1357016400}"#, &["`when`", "ISO 8601"]);
    fails(
        r#"{"id": 1, "when": "2013-01-01T00:00:00.0001Z"}"#,
        &["`when`", "exactly"],
    );
    fails(
        r#"{"id": 1, "vector": [1, 2, 3]}"#,
        &["`vector`", "2 elements"],
    );
    fails(
        r#"{"id": 1, "vector": [1, 1e39]}"#,
        &["`vector`", "Float32"],
    );
    fails(r#"{"id": 1, "place": {"town": "x"}}"#, &["`place`", "town"]);
    fails(r#"{"id": 1, "#, &["does not end on its line"]);
    let long = "9".repeat(300);
    fails(&format!(r#"{{"id": {long}}}"#), &["`id`", "Int32"]);
    fails(&format!(r#"{{"id": "{long}"}}"#), &["`id`", "Int32"]);
    fails(
        &format!(r#"{{"id": 1, "name": "{long}", "nane": 1}}"#),
        &["`nane`"],
    );
    fails(r#"{"id": 1}}"#, &["no valid JSON"]);
    fails(r#"{"id": 1} {"id": 2}"#, &["no valid JSON"]);
    fails(r#"[{"id": 1}]"#, &["JSON array", "one object per line"]);
    fails("7", &["`7` is no JSON object"]);
}

#[test]
fn a_json_document_over_several_lines_is_an_error_at_its_first() {
    let files = Files::new();
    for text in ["{\n  \"id\": 1\n}\n", "[\n{\"id\": 1}\n]\n"] {
        fails(
            &files.write("d.json", text),
            &documents(),
            &["line 1", "per line"],
        );
    }
}

#[test]
fn the_format_can_be_given_against_the_extension() {
    let files = Files::new();
    let mut input = files.write("p.txt", "{\"id\": 5}\n");
    input.format = Some(Format::JsonLines);
    assert_eq!(ids(&read(&input, &people()).unwrap()), [5]);
}

#[test]
fn any_reader_can_be_conformed() {
    let batches = vec![Ok(numbers(3)), Ok(numbers(0)), Ok(numbers(5))];
    let reader = RecordBatchIterator::new(batches, numbers(0).schema());
    let reader = ConformReader::try_new(reader, &people(), "memory")
        .unwrap()
        .with_batch_rows(2);
    let sizes: Vec<usize> = reader.map(|batch| batch.unwrap().num_rows()).collect();
    assert_eq!(sizes, [2, 1, 2, 2, 1]);
}

#[test]
fn an_error_is_small_enough_to_be_returned_by_value() {
    assert!(size_of::<InputError>() < 128, "{}", size_of::<InputError>());
}
