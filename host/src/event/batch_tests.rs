//! What a batch does, as the chain sees it.

use super::*;

fn input(text: &str) -> EventInput<'_> {
    EventInput { text: text.as_bytes(), key: None, headers: &[], timestamp: None }
}

fn field(pointer: &str) -> Source {
    Source::Field(pointer.into())
}

fn set(text: &str) -> Edit {
    Edit::Set(OwnedValue::Text(text.into()))
}

fn json(text: &str) -> Edit {
    Edit::Set(OwnedValue::Json(text.into()))
}

/// The texts of the events after one answer that makes these edits for all of them.
#[track_caller]
fn check_edits(text: &str, edits: &[(&str, Edit)], expected: Result<&str, &str>) {
    let mut builder = Layout::builder();
    let writes: Vec<WriteId> =
        edits.iter().map(|(pointer, _)| builder.write(pointer).expect("a pointer")).collect();
    let layout = builder.build();
    let inputs = [input(text)];
    let mut batch = Batch::decode(&layout, &inputs);
    assert_eq!(batch.invalid(), []);
    let edits: Vec<Edits> =
        edits.iter().map(|(_, edit)| Edits::Values(vec![edit.clone()])).collect();
    let changes = writes.iter().zip(&edits);
    let changes: Vec<_> = changes
        .map(|(&write, edits)| FieldChange { write, edits, spread: Spread::Constant })
        .collect();
    let rejected = batch.apply(None, &changes).expect("a right answer");
    let mut out = b"before".to_vec();
    match expected {
        Err(reason) => {
            assert_eq!(
                rejected.iter().map(|(_, reason)| reason.as_str()).collect::<Vec<_>>(),
                [reason]
            );
        }
        Ok(expected) => {
            assert_eq!(rejected, []);
            match batch.write(0, &mut out) {
                Written::Original => assert_eq!(text, expected),
                Written::Edited(range) => {
                    assert_eq!(String::from_utf8_lossy(&out[range]), expected);
                }
            }
        }
    }
}

/// The dictionary and index of a field in these events.
#[track_caller]
fn check_column(texts: &[&str], pointer: &str, values: &[Value<'_>], index: &[u32]) {
    let mut builder = Layout::builder();
    let column = builder.column(&field(pointer)).expect("a pointer");
    let layout = builder.build();
    let inputs: Vec<_> = texts.iter().map(|text| input(text)).collect();
    let mut batch = Batch::decode(&layout, &inputs);
    assert_eq!(batch.invalid(), []);
    batch.prepare(&[column]);
    check(batch.column(column), values, index);
}

#[track_caller]
fn check(column: &Column, values: &[Value<'_>], index: &[u32]) {
    let found: Vec<_> = (0..column.len()).map(|entry| column.value(entry)).collect();
    assert_eq!((found.as_slice(), column.index()), (values, index));
}

#[test]
fn a_dictionary_has_each_value_once_in_order_of_appearance() {
    let texts =
        [r#"{"a":"x"}"#, r#"{"a":1}"#, r#"{"b":1}"#, r#"{ "a" : "\u0078" }"#, r#"{"a":1.0}"#];
    let values = [Value::Text("x"), Value::Integer(1), Value::Absent, Value::Number(1.0)];
    check_column(&texts, "/a", &values, &[0, 1, 2, 0, 3]);
}

#[test]
fn numbers_are_as_the_interface_says() {
    let numbers = ["10", "1e1", "10.0", "-0", "0.0", "1e400", "9223372036854775808", "0"];
    let texts: Vec<String> = numbers.iter().map(|number| format!("{{\"a\":{number}}}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let values = [
        Value::Integer(10),
        Value::Number(10.0),
        Value::Number(-0.0),
        Value::Number(0.0),
        Value::Json("1e400"),
        Value::Number(9_223_372_036_854_775_808.0),
        Value::Integer(0),
    ];
    check_column(&texts, "/a", &values, &[0, 1, 1, 2, 3, 4, 5, 6]);
}

#[test]
fn the_last_of_several_members_with_one_name_counts() {
    let texts = [r#"{"a":{"b":1},"\u0061":{"c":2}}"#, r#"{"a":{"b":1},"a":{"b":2,"b":3}}"#];
    check_column(&texts, "/a/b", &[Value::Absent, Value::Integer(3)], &[0, 1]);
}

#[test]
fn arrays_objects_and_lone_surrogates_are_json() {
    let texts = [r#"{"a":[1, {"b":2}]}"#, r#"{"a":"\ud800"}"#, r#"{"a":{ }}"#];
    let values = [Value::Json(r#"[1, {"b":2}]"#), Value::Json(r#""\ud800""#), Value::Json("{ }")];
    check_column(&texts, "/a", &values, &[0, 1, 2]);
    check_column(&texts, "/a/1/b", &[Value::Integer(2), Value::Absent], &[0, 1, 1]);
    check_column(&[r#" {"a":1} "#], "", &[Value::Json(r#"{"a":1}"#)], &[0]);
}

#[test]
fn an_edit_leaves_every_other_byte_alone() {
    check_edits(r#"{"a" : 1 , "b":2}"#, &[("/a", set("x"))], Ok(r#"{"a" : "x" , "b":2}"#));
    check_edits(r#"{"a":1}"#, &[("/b", set("x"))], Ok(r#"{"a":1,"b":"x"}"#));
    check_edits(
        "{\n}\n",
        &[("/b", json(" [1 ] ")), ("/c", set("\"\n"))],
        Ok("{\n\"b\":[1 ],\"c\":\"\\\"\\n\"}\n"),
    );
    check_edits(r#"{"a":1}"#, &[("/b", Edit::Leave)], Ok(r#"{"a":1}"#));
    check_edits(r#"{"a":1,"a":2}"#, &[("/a", json("3"))], Ok(r#"{"a":1,"a":3}"#));
}

#[test]
fn a_removed_member_takes_its_comma_and_its_namesakes_along() {
    check_edits(r#"{"a":1}"#, &[("/a", Edit::Remove)], Ok("{}"));
    check_edits(r#"{"a":1, "b":2}"#, &[("/a", Edit::Remove)], Ok(r#"{"b":2}"#));
    check_edits(r#"{"a":1, "b":2}"#, &[("/b", Edit::Remove)], Ok(r#"{"a":1}"#));
    check_edits(
        r#"{"b":0,"a":1,"c":2,"\u0061":3}"#,
        &[("/a", Edit::Remove)],
        Ok(r#"{"b":0,"c":2}"#),
    );
    check_edits(r#"{ "a":1 , "b":2 }"#, &[("/a", Edit::Remove), ("/b", Edit::Remove)], Ok("{ }"));
    check_edits(r#"{"a":1}"#, &[("/a", Edit::Remove), ("/b", json("2"))], Ok(r#"{"b":2}"#));
    check_edits(r#"{"a":1}"#, &[("/b", Edit::Remove)], Ok(r#"{"a":1}"#));
    check_edits(r#"{"a":1}"#, &[("/a/b", Edit::Remove)], Ok(r#"{"a":1}"#));
}

#[test]
fn missing_parents_are_made_once() {
    let edits = [("/x/y", json("1")), ("/b", json("2")), ("/x/z/0", json("3"))];
    check_edits(r#"{"a":1}"#, &edits, Ok(r#"{"a":1,"x":{"y":1,"z":{"0":3}},"b":2}"#));
    check_edits(r#"{"x":{}}"#, &edits, Ok(r#"{"x":{"y":1,"z":{"0":3}},"b":2}"#));
    let reason = r#""/x/y" cannot be set: "/x" is neither object nor array"#;
    check_edits(r#"{"x":null}"#, &edits[..1], Err(reason));
}

#[test]
fn places_of_an_array_are_replaced_appended_or_refused() {
    let text = r#"{"t":[1, 2]}"#;
    check_edits(text, &[("/t/0", set("x"))], Ok(r#"{"t":["x", 2]}"#));
    check_edits(text, &[("/t/2", set("x"))], Ok(r#"{"t":[1, 2,"x"]}"#));
    check_edits(text, &[("/t/-", set("x")), ("/t/3", set("y"))], Ok(r#"{"t":[1, 2,"x","y"]}"#));
    check_edits(text, &[("/t/-/a", set("x"))], Ok(r#"{"t":[1, 2,{"a":"x"}]}"#));
    check_edits(text, &[("/t/0", Edit::Remove), ("/t/1", json("3"))], Ok(r#"{"t":[2,3]}"#));
    check_edits(text, &[("/t/7", Edit::Remove)], Ok(text));
    let reason = |token: &str| {
        format!("\"/t/{token}\" cannot be set: {token:?} is no place in an array of 2")
    };
    check_edits(text, &[("/t/3", set("x"))], Err(&reason("3")));
    check_edits(text, &[("/t/a", set("x"))], Err(&reason("a")));
}

#[test]
fn what_is_written_is_read_and_dropped_values_are_gone() {
    let mut builder = Layout::builder();
    let kind = builder.column(&field("/kind")).expect("a pointer");
    let label = builder.column(&field("/label")).expect("a pointer");
    let whole = builder.column(&field("")).expect("a pointer");
    assert_eq!(builder.column(&field("/kind")), Ok(kind));
    let write = builder.write("/label").expect("a pointer");
    let layout = builder.build();
    let texts = [
        r#"{"kind":"a"}"#,
        r#"{"kind":"b","label":"B"}"#,
        "[]",
        r#"{"kind":"c"}"#,
        r#"{"kind":"b"}"#,
    ];
    let inputs: Vec<_> = texts.iter().map(|text| input(text)).collect();
    let mut batch = Batch::decode(&layout, &inputs);
    assert_eq!(batch.invalid(), [(2, Invalid::NotAnObject("an array"))]);
    batch.prepare(&[kind, label]);
    check(
        batch.column(kind),
        &[Value::Text("a"), Value::Text("b"), Value::Text("c")],
        &[0, 1, 2, 1],
    );
    check(batch.column(label), &[Value::Absent, Value::Text("B")], &[0, 1, 0, 0]);
    let edits = Edits::Values(vec![set("A"), set("B"), Edit::Leave]);
    let change = FieldChange { write, edits: &edits, spread: Spread::Column(kind) };
    assert_eq!(batch.apply(None, &[change]), Ok(vec![]));
    batch.remove(&[0]);
    assert_eq!(batch.live(), [1, 3, 4]);
    batch.prepare(&[kind, label]);
    check(batch.column(kind), &[Value::Text("b"), Value::Text("c")], &[0, 1, 0]);
    check(batch.column(label), &[Value::Text("B"), Value::Absent], &[0, 1, 0]);
    let part = batch.subset(&[label, kind], &[1, 2]);
    check(&part[0], &[Value::Absent, Value::Text("B")], &[0, 1]);
    check(&part[1], &[Value::Text("c"), Value::Text("b")], &[0, 1]);
    batch.prepare(&[whole]);
    let events = [r#"{"kind":"b","label":"B"}"#, r#"{"kind":"c"}"#, r#"{"kind":"b","label":"B"}"#];
    check(batch.column(whole), &[Value::Json(events[0]), Value::Json(events[1])], &[0, 1, 0]);
    let mut out = Vec::new();
    assert_eq!(batch.write(1, &mut out), Written::Original);
    assert_eq!(batch.write(2, &mut out), Written::Edited(0..events[2].len()));
    assert_eq!(out, events[2].as_bytes());
}

#[test]
fn key_headers_and_timestamp_are_columns_too() {
    let mut builder = Layout::builder();
    let sources = [Source::Key, Source::Timestamp, Source::Header("h".into())];
    let columns = sources.map(|source| builder.column(&source).expect("no pointer"));
    let layout = builder.build();
    let header = |value| Header { name: "h", value };
    let headers =
        [header(Some(b"first")), header(Some(b"last")), Header { name: "g", value: None }];
    let whole =
        EventInput { key: Some(b"k"), headers: &headers, timestamp: Some(7), ..input("{}") };
    let broken = EventInput { key: Some(b"\xff"), headers: &[header(None)], ..input("{}") };
    let inputs = [whole, broken];
    let mut batch = Batch::decode(&layout, &inputs);
    batch.prepare(&columns);
    let values = [Value::Text("k"), Value::Integer(7), Value::Text("last")];
    for (column, value) in columns.into_iter().zip(values) {
        check(batch.column(column), &[value, Value::Absent], &[0, 1]);
    }
}

#[test]
fn a_field_is_read_event_by_event() {
    let mut builder = Layout::builder();
    let time = builder.field("/time").expect("a pointer");
    let layout = builder.build();
    let inputs = [r#"{"time":-5}"#, r#"{"time":"\u0061"}"#, r#"{}"#, r#"{"time":1e3}"#].map(input);
    let batch = Batch::decode(&layout, &inputs);
    let values = [Value::Integer(-5), Value::Text("a"), Value::Absent, Value::Number(1000.0)];
    for (&event, value) in batch.live().iter().zip(values) {
        assert_eq!(batch.value(time, event, &mut String::new()), value);
    }
}

#[test]
fn a_wrong_answer_changes_nothing() {
    let mut builder = Layout::builder();
    let write = builder.write("/a").expect("a pointer");
    let column = builder.column(&field("/a")).expect("a pointer");
    let layout = builder.build();
    let inputs = [input("{}"), input("{}")];
    let mut batch = Batch::decode(&layout, &inputs);
    batch.prepare(&[column]);
    let deep = format!("{}{}", "[".repeat(127), "]".repeat(127));
    let values =
        |values: Vec<OwnedValue>| Edits::Values(values.into_iter().map(Edit::Set).collect());
    let packed = |bytes: &[u8], ends: &[u32]| {
        Edits::Texts(Packed { bytes: bytes.into(), ends: ends.into() })
    };
    let wrong = [
        (values(vec![OwnedValue::Absent]), Spread::Constant, "`absent`"),
        (values(vec![OwnedValue::Number(f64::NAN)]), Spread::Constant, "NaN"),
        (values(vec![OwnedValue::Json("1 2".into())]), Spread::Constant, "nothing may follow"),
        (values(vec![OwnedValue::Json(deep)]), Spread::Constant, "too deep"),
        (values(vec![]), Spread::Constant, "0 edits where there must be 1"),
        (values(vec![OwnedValue::Null; 3]), Spread::Identity, "3 edits where there must be 2"),
        (
            values(vec![OwnedValue::Null; 2]),
            Spread::Column(column),
            "2 edits where there must be 1",
        ),
        (values(vec![OwnedValue::Null]), Spread::Each(&[0]), "an index of 1"),
        (values(vec![OwnedValue::Null]), Spread::Each(&[0, 1]), "edit 1 of 1"),
        (packed(b"ab", &[1]), Spread::Constant, "last end"),
        (packed(b"ab", &[2, 1, 2]), Spread::Each(&[0, 1]), "do not rise"),
        (packed(b"\xff", &[1]), Spread::Constant, "UTF-8"),
    ];
    for (edits, spread, part) in &wrong {
        let change = FieldChange { write, edits, spread: *spread };
        let error = batch.apply(None, &[change]).expect_err(part).to_string();
        assert!(error.contains(part), "{error}");
    }
    let edits = values(vec![OwnedValue::Null]);
    let change = FieldChange { write, edits: &edits, spread: Spread::Constant };
    assert!(batch.apply(None, &[change, change]).is_err());
    assert_eq!(batch.write(0, &mut Vec::new()), Written::Original);
}

#[test]
fn fields_are_told_apart_by_every_byte_of_their_names() {
    // Of lengths around those of the words that names are compared by, each byte another one once.
    for length in [1, 2, 7, 8, 9, 15, 16, 17, 18, 24, 40] {
        let name: String = ('a'..='z').cycle().take(length).collect();
        let mut builder = Layout::builder();
        let field = builder.column(&field(&format!("/{name}"))).expect("a pointer");
        let layout = builder.build();
        let mut text = String::from("{");
        for place in 0..length {
            let mut other = name.clone();
            other.replace_range(place..=place, "_");
            text.push_str(&format!("\"{other}\":0,"));
        }
        text.push_str(&format!("\"{name}\":1}}"));
        let inputs = [input(&text)];
        let mut batch = Batch::decode(&layout, &inputs);
        batch.prepare(&[field]);
        assert_eq!(batch.column(field).value(0), Value::Integer(1), "{name}");
    }
}
