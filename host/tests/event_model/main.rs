//! Holds the batch against a naive model on random documents, edits and drops.

mod model;

use host::event::{Edit, OwnedValue};
use model::{Case, Stage, Way, check};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// White space as documents have it: mostly none.
fn space() -> impl Strategy<Value = String> {
    prop_oneof![4 => Just(String::new()), 1 => "[ \t\r\n]{1,3}"]
}

/// The raw text of a string, without its quotes.
fn characters() -> impl Strategy<Value = String> {
    let pieces = [
        "a",
        "b",
        "é",
        "😀",
        "\u{7f}",
        "\\n",
        "\\\"",
        "\\\\",
        "\\/",
        "\\u0061",
        "\\u00e9",
        "\\ud800",
        "\\udc00",
        "\\ud83d\\ude00",
        "\\u0000",
        "plain text of some length",
    ];
    prop_oneof![
        20 => vec(select(pieces.to_vec()), 0..6).prop_map(|pieces| pieces.concat()),
        1 => (10_000usize..40_000).prop_map(|length| "x".repeat(length)),
    ]
}

fn scalar() -> impl Strategy<Value = String> {
    let numbers = [
        "0",
        "-0",
        "1",
        "1.0",
        "1.00",
        "10",
        "1e1",
        "1E+1",
        "-1e-400",
        "1e400",
        "-1e999",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "-9223372036854775809",
        "123456789012345678901234567890",
        "0.1",
        "1e-1",
        "179769313486231580793728971405303415079934132710037826936173778980444968292764750946649017977587207096330286416692887910946555547851940402630657488671505820681908902000708383676273854845817711531764475730270069855571366959622842914819860834936475292719074168444365510704342711559699508093042880",
    ];
    prop_oneof![
        characters().prop_map(|characters| format!("\"{characters}\"")),
        select(numbers.to_vec()).prop_map(String::from),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
        select(vec!["true", "false", "null"]).prop_map(String::from),
    ]
}

/// Names as they are written; the pointers lead to these. Few, so that they meet often.
fn name() -> impl Strategy<Value = String> {
    let awkward = [
        "c",
        "x",
        "0",
        "1",
        "-",
        "a/b",
        "m~n",
        "",
        "\\u0061",
        "\\u0030",
        "long name 1",
        "long name 2",
        "eight by",
        "\\ud800",
        "é",
        "\\u00e9",
        "\\\"",
    ];
    prop_oneof![2 => select(vec!["a", "b"]), 1 => select(awkward.to_vec())].prop_map(String::from)
}

fn object(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let member = (space(), name(), space(), space(), value, space()).prop_map(
        |(before, name, left, right, value, behind)| {
            format!("{before}\"{name}\"{left}:{right}{value}{behind}")
        },
    );
    (vec(member, 0..6), space())
        .prop_map(|(members, blank)| format!("{{{blank}{}}}", members.join(",")))
}

fn value() -> impl Strategy<Value = String> {
    scalar().prop_recursive(3, 24, 4, |inner| {
        let element = (space(), inner.clone(), space())
            .prop_map(|(before, value, behind)| format!("{before}{value}{behind}"));
        prop_oneof![
            (vec(element, 0..4), space())
                .prop_map(|(elements, blank)| format!("[{blank}{}]", elements.join(","))),
            object(inner),
        ]
    })
}

fn nested() -> impl Strategy<Value = String> {
    (120usize..132, prop::bool::ANY).prop_map(|(depth, object)| {
        let (open, close) = if object { ("{\"a\":", "}") } else { ("[", "]") };
        format!("{{\"a\":{}1{}}}", open.repeat(depth), close.repeat(depth))
    })
}

fn document() -> impl Strategy<Value = Vec<u8>> {
    let whole = (space(), object(value()), space())
        .prop_map(|(before, object, behind)| format!("{before}{object}{behind}"));
    let valid = prop_oneof![20 => whole, 1 => nested(), 1 => value()].prop_map(String::into_bytes);
    let mutation = (any::<prop::sample::Index>(), 0..4, any::<u8>());
    (valid, prop::option::weighted(0.2, mutation)).prop_map(|(mut text, mutation)| {
        if let Some((place, kind, byte)) = mutation {
            let place = place.index(text.len());
            match kind {
                0 => text[place] = byte,
                1 => text.insert(place, byte),
                2 => drop(text.remove(place)),
                _ => text.truncate(place),
            }
        }
        text
    })
}

fn pointer() -> impl Strategy<Value = String> {
    let awkward = [
        "c",
        "x",
        "0",
        "1",
        "2",
        "-",
        "a~1b",
        "m~0n",
        "",
        "long name 1",
        "eight by",
        "é",
        "\"",
        "01",
        "new",
    ];
    let token = prop_oneof![
        3 => select(vec!["a", "b"]),
        1 => select(vec!["0", "1", "-"]),
        1 => select(awkward.to_vec()),
    ];
    let tokens = prop_oneof![5 => vec(token.clone(), 1), 3 => vec(token, 2..4)];
    tokens.prop_map(|tokens| tokens.iter().map(|token| format!("/{token}")).collect())
}

fn edit() -> impl Strategy<Value = Edit> {
    let text =
        select(vec!["", "a", "é😀", "quote \" and \\", "\u{1}\n\t", "a text longer than a word"]);
    prop_oneof![
        1 => Just(Edit::Leave),
        1 => Just(Edit::Remove),
        3 => text.prop_map(|text| Edit::Set(OwnedValue::Text(text.into()))),
        1 => any::<bool>().prop_map(|truth| Edit::Set(OwnedValue::Boolean(truth))),
        1 => any::<i64>().prop_map(|value| Edit::Set(OwnedValue::Integer(value))),
        1 => prop::num::f64::NORMAL.prop_map(|value| Edit::Set(OwnedValue::Number(value))),
        1 => select(vec![0.0, -0.0, 1.0, 1e20, 5e-324]).prop_map(|value| Edit::Set(OwnedValue::Number(value))),
        1 => Just(Edit::Set(OwnedValue::Null)),
        2 => (space(), value(), space()).prop_map(|(before, json, behind)| {
            Edit::Set(OwnedValue::Json(format!("{before}{json}{behind}")))
        }),
    ]
}

/// A stage that reads and writes some of these fields.
fn stage(fields: Vec<String>) -> impl Strategy<Value = Stage> {
    let way = select(vec![Way::Constant, Way::Identity, Way::Column, Way::Each, Way::Packed]);
    let field = select(fields);
    let read = prop_oneof![1 => Just(String::new()), 12 => field.clone()];
    let change = (field, vec(edit(), 1..5), way);
    let mask = prop_oneof![2 => Just(0u8), 1 => any::<u8>()];
    (vec(read, 0..4), vec(change, 0..4), mask.clone(), mask).prop_map(
        |(reads, changes, unasked, dropped)| Stage { reads, changes, asked: !unasked, dropped },
    )
}

fn case() -> impl Strategy<Value = Case> {
    // Few fields for all stages, so that they read, write and remove what others wrote.
    let stages = vec(pointer(), 1..5).prop_flat_map(|fields| vec(stage(fields), 0..5));
    (vec(document(), 0..7), stages).prop_map(|(documents, stages)| Case { documents, stages })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_batch_does_what_a_plain_parser_would(case in case()) {
        check(&case);
    }
}
