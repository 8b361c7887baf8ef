//! Accumulators against naive ones.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const FIELD: &str = "/v";

fn aggregates(exact_max: usize, counted_max: usize) -> Vec<Aggregate> {
    let field = || FIELD.to_owned();
    let kinds = [
        Kind::Count,
        Kind::Sum(field()),
        Kind::Min(field()),
        Kind::Max(field()),
        Kind::Avg(field()),
        Kind::Distinct { field: field(), exact_max },
        Kind::Top { field: field(), k: 3, counted_max },
    ];
    let named = |(place, kind)| Aggregate { name: format!("n{place}"), kind };
    kinds.into_iter().enumerate().map(named).collect()
}

/// What these values come to, one event each.
fn folded(kinds: &[PartKind], values: &[Value<'_>]) -> Accumulator {
    let column = Column::new(values, (0..values.len() as u32).collect());
    let inputs: Vec<_> = kinds.iter().map(|kind| Inputs::new(*kind, &column)).collect();
    let mut accumulator = Accumulator::default();
    for &entry in column.index() {
        accumulator.fold(kinds, &inputs, kinds.iter().map(|_| entry));
    }
    accumulator
}

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut text = Vec::new();
    write(&mut text);
    String::from_utf8(text).expect("text")
}

fn result(aggregates: &[Aggregate], kinds: &[PartKind], accumulator: &Accumulator) -> String {
    text(|to| accumulator.write_result(aggregates, kinds, to))
}

#[derive(Clone, Debug)]
enum Any {
    Absent,
    Boolean(bool),
    Integer(i64),
    /// Quarters, whose sums are exact in any order.
    Quarters(i32),
    Text(String),
}

impl Any {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Absent => Value::Absent,
            Self::Boolean(value) => Value::Boolean(*value),
            Self::Integer(value) => Value::Integer(*value),
            Self::Quarters(value) => Value::Number(f64::from(*value) / 4.0),
            Self::Text(value) => Value::Text(value),
        }
    }
}

fn some() -> impl Strategy<Value = Any> {
    prop_oneof![
        1 => Just(Any::Absent),
        1 => any::<bool>().prop_map(Any::Boolean),
        4 => (-20i64..20).prop_map(Any::Integer),
        1 => any::<i64>().prop_map(Any::Integer),
        2 => (-100i32..100).prop_map(Any::Quarters),
        4 => "[a-c\"]{0,2}".prop_map(Any::Text),
    ]
}

/// Each aggregate the slow way.
fn naive(values: &[Value<'_>]) -> String {
    let number = |value: &Value<'_>| match *value {
        Value::Integer(value) => Some(value as f64),
        Value::Number(value) => Some(value),
        _ => None,
    };
    let numbers: Vec<f64> = values.iter().filter_map(number).collect();
    let integers: i128 = values
        .iter()
        .map(|value| if let Value::Integer(value) = value { i128::from(*value) } else { 0 })
        .sum();
    let fractions: Vec<f64> = values
        .iter()
        .filter_map(|value| if let Value::Number(value) = value { Some(*value) } else { None })
        .collect();
    let json = |number: f64| serde_json::to_string(&number).expect("finite");
    let sum = integers as f64 + fractions.iter().sum::<f64>();
    let total = match (numbers.is_empty(), fractions.is_empty()) {
        (true, _) => "null".to_owned(),
        (_, true) => integers.to_string(),
        _ => json(sum),
    };
    let mean =
        if numbers.is_empty() { "null".to_owned() } else { json(sum / numbers.len() as f64) };
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for value in values.iter().filter(|value| **value != Value::Absent) {
        let mut text = String::new();
        write_value_of(&mut text, *value);
        *counts.entry(text).or_default() += 1;
    }
    let distinct = counts.len();
    let mut top: Vec<_> = counts.into_iter().collect();
    top.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let top =
        top.iter().take(3).map(|(text, count)| format!(r#"{{"value":{text},"count":{count}}}"#));
    let top: Vec<_> = top.collect();
    format!(
        r#"|{}|{total}|{mean}|{{"count":{distinct},"exact":true}}|{{"values":[{}],"exact":true}}"#,
        values.len(),
        top.join(",")
    )
}

fn write_value_of(text: &mut String, value: Value<'_>) {
    super::super::keys::write_value(text, value);
}

proptest! {
    #[test]
    fn merging_in_any_division_and_order_is_what_one_pass_is(
        values in prop::collection::vec((some(), 0usize..4), 0..60),
        order in Just([0usize, 1, 2, 3]).prop_shuffle(),
    ) {
        let aggregates = aggregates(1000, 1000);
        let kinds = parts(&aggregates);
        let all: Vec<_> = values.iter().map(|(any, _)| any.value()).collect();
        let straight = folded(&kinds, &all);
        let shares: Vec<Accumulator> = (0..4).map(|share| {
            let its = values.iter().filter(|(_, of)| *of == share);
            let its: Vec<_> = its.map(|(any, _)| any.value()).collect();
            // As it comes over a topic.
            let sent = text(|to| folded(&kinds, &its).write(to));
            Accumulator::parse(&kinds, &sent).expect("it is read")
        }).collect();
        let mut merged = Accumulator::default();
        for share in order {
            merged.merge(&kinds, &shares[share]);
        }
        // A tree instead of a row.
        let (mut left, mut right) = (shares[0].clone(), shares[2].clone());
        left.merge(&kinds, &shares[1]);
        right.merge(&kinds, &shares[3]);
        left.merge(&kinds, &right);
        let expected = result(&aggregates, &kinds, &straight);
        prop_assert_eq!(result(&aggregates, &kinds, &merged), expected.as_str());
        prop_assert_eq!(result(&aggregates, &kinds, &left), expected.as_str());
        prop_assert_eq!(text(|to| left.write(to)), text(|to| merged.write(to)));
        let members: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&format!("{{{}}}", &expected[1..])).expect("JSON");
        prop_assert_eq!(members.len(), 7);
        let without_bounds: Vec<_> = ["n0", "n1", "n4", "n5", "n6"].map(|name| {
            let from = expected.find(&format!("\"{name}\":")).expect("it is there") + 5;
            let to = expected[from..].find(",\"n").map_or(expected.len(), |to| from + to);
            expected[from..to].to_owned()
        }).into();
        prop_assert_eq!(format!("|{}", without_bounds.join("|")), naive(&all));
    }

    #[test]
    fn least_and_greatest_are_numbers_that_came(
        values in prop::collection::vec(some(), 1..30),
    ) {
        let aggregates = aggregates(10, 10);
        let kinds = parts(&aggregates);
        let all: Vec<_> = values.iter().map(Any::value).collect();
        let found = result(&aggregates, &kinds, &folded(&kinds, &all));
        let found: serde_json::Value =
            serde_json::from_str(&format!("{{{}}}", &found[1..])).expect("JSON");
        let number = |value: &Value<'_>| match *value {
            Value::Integer(value) => Some(value as f64),
            Value::Number(value) => Some(value),
            _ => None,
        };
        let numbers = || all.iter().filter_map(number);
        prop_assert_eq!(found["n2"].as_f64(), numbers().min_by(f64::total_cmp));
        prop_assert_eq!(found["n3"].as_f64(), numbers().max_by(f64::total_cmp));
    }
}

/// Distinct texts, from one number to another.
fn texts(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|n| format!("user {n}")).collect()
}

fn of_texts(kinds: &[PartKind], texts: &[String]) -> Accumulator {
    folded(kinds, &texts.iter().map(|text| Value::Text(text)).collect::<Vec<_>>())
}

#[test]
fn distinct_is_exact_to_its_limit_and_then_within_its_error_however_it_was_divided() {
    let field = FIELD.to_owned();
    let kind = Kind::Distinct { field, exact_max: 1000 };
    let aggregates = [Aggregate { name: "n".to_owned(), kind }];
    let kinds = parts(&aggregates);
    let exact = of_texts(&kinds, &texts(0, 1000));
    assert_eq!(result(&aggregates, &kinds, &exact), r#","n":{"count":1000,"exact":true}"#);
    for count in [1001usize, 5_000, 100_000] {
        let straight = of_texts(&kinds, &texts(0, count));
        let expected = result(&aggregates, &kinds, &straight);
        // Large and small shares that overlap, in both orders.
        let bounds = [(0, 10), (5, count / 2), (count / 3, count), (count - 1, count)];
        let shares = bounds.map(|(from, to)| of_texts(&kinds, &texts(from, to)));
        for reversed in [false, true] {
            let mut merged = Accumulator::default();
            let mut order: Vec<_> = shares.iter().collect();
            if reversed {
                order.reverse();
            }
            for share in order {
                merged.merge(&kinds, share);
                let sent = text(|to| merged.write(to));
                assert!(sent.len() < distinct::text_bytes_max(1000), "{}", sent.len());
                merged = Accumulator::parse(&kinds, &sent).expect("it is read");
            }
            assert_eq!(result(&aggregates, &kinds, &merged), expected);
        }
        let found: serde_json::Value =
            serde_json::from_str(&format!("{{{}}}", &expected[1..])).expect("JSON");
        assert_eq!(found["n"]["exact"], false);
        let off = found["n"]["count"].as_f64().expect("a count") / count as f64 - 1.0;
        // Three standard errors.
        assert!(off.abs() < 0.048, "{count}: {off}");
    }
}

#[test]
fn a_top_that_cannot_count_all_keeps_the_frequent_ones_within_the_error_that_it_says() {
    let field = FIELD.to_owned();
    let kind = Kind::Top { field, k: 2, counted_max: 20 };
    let aggregates = [Aggregate { name: "n".to_owned(), kind }];
    let kinds = parts(&aggregates);
    // Two frequent ones among many that come once.
    let mut shares = Vec::new();
    let mut all = BTreeSet::new();
    for share in 0..4 {
        let mut values = texts(share * 200, share * 200 + 200);
        all.extend(values.iter().cloned());
        values.extend(vec!["often".to_owned(); 300]);
        values.extend(vec!["more".to_owned(); 150]);
        shares.push(of_texts(&kinds, &values));
    }
    let events = 4 * 650;
    for order in [[0, 1, 2, 3], [3, 1, 2, 0]] {
        let mut merged = Accumulator::default();
        for share in order {
            merged.merge(&kinds, &shares[share]);
            let sent = text(|to| merged.write(to));
            merged = Accumulator::parse(&kinds, &sent).expect("it is read");
        }
        let found = result(&aggregates, &kinds, &merged);
        let found: serde_json::Value =
            serde_json::from_str(&format!("{{{}}}", &found[1..])).expect("JSON");
        let (values, error) = (&found["n"]["values"], found["n"]["error"].as_u64().expect("one"));
        assert!(error <= events / 20, "{error}");
        for (place, (name, count)) in [("often", 1200), ("more", 600)].into_iter().enumerate() {
            assert_eq!(values[place]["value"], name);
            let counted = values[place]["count"].as_u64().expect("a count");
            assert!(counted <= count && counted + error >= count, "{counted} of {count}");
        }
    }
}

#[test]
fn long_values_are_cut_and_no_accumulator_is_too_large_for_a_record() {
    let aggregates = aggregates(1000, 10_000);
    let kinds = parts(&aggregates);
    let texts: Vec<_> = (0..9_000).map(|n| format!("{n}{}", "ä".repeat(300))).collect();
    let accumulator = of_texts(&kinds, &texts);
    let sent = text(|to| accumulator.write(to));
    assert!(sent.len() < STATE_BYTES_MAX, "{}", sent.len());
    assert!(sent.contains("sha256:"));
    assert_eq!(Accumulator::parse(&kinds, &sent).as_ref(), Some(&accumulator));
}

#[test]
fn hashes_and_sketches_that_are_stored_stay_what_they_are() {
    let kinds = [PartKind::Distinct { exact_max: 2 }];
    let exact = folded(&kinds, &[Value::Text("a"), Value::Integer(1)]);
    assert_eq!(text(|to| exact.write(to)), "[2,[488798267659798331,7335560060985733464]]");
    let sketch = folded(&kinds, &[Value::Text("a"), Value::Integer(1), Value::Boolean(true)]);
    assert_eq!(text(|to| sketch.write(to)), r#"[3,"0201070c030803047411270baf188c08ae26c310"]"#);
}

#[test]
fn counting_alone_costs_one_pointer_more() {
    assert_eq!(size_of::<Accumulator>(), 16);
    assert_eq!(Accumulator::of_count(5).bytes(), 0);
    assert_eq!(text(|to| Accumulator::of_count(5).write(to)), "5");
    assert_eq!(Accumulator::parse(&[], "5"), Some(Accumulator::of_count(5)));
    for wrong in ["", "-1", "[]", "[5,1]", "x", "[5"] {
        assert_eq!(Accumulator::parse(&[], wrong), None, "{wrong}");
    }
    let kinds = [PartKind::Sum, PartKind::Top { k: 1, counted_max: 1, bytes_max: 1 }];
    for wrong in ["[5]", "[5,1,2]", "[5,[1],[0,[]]]", "[5,[1,1],[0,[[1]]]]"] {
        assert_eq!(Accumulator::parse(&kinds, wrong), None, "{wrong}");
    }
}

#[test]
fn what_the_configuration_takes_at_most_leaves_each_top_its_texts() {
    let field = || "/v".to_owned();
    let top = || Kind::Top { field: field(), k: 5, counted_max: 20_000 };
    let distinct = |exact_max| Kind::Distinct { field: field(), exact_max };
    let one = std::iter::once(distinct(20_000)).chain((0..24).map(|_| Kind::Sum(field())));
    let many = (0..25).map(|_| distinct(20_000 / 25));
    for others in [one.collect::<Vec<_>>(), many.collect()] {
        let all = others.into_iter().chain((0..7).map(|_| top()));
        let all: Vec<_> = all.map(|kind| Aggregate { name: String::new(), kind }).collect();
        assert_eq!(all.len(), 32);
        assert!(top_bytes_max(&all).is_some());
    }
}
