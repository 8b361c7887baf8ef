//! Settings compare values as their documentation says.

use std::cmp::Ordering;

use pipeline_sdk::{Form, Plan, Pointer, Range, Scalar, Source, Value};

fn pointer(text: &str) -> Pointer {
    Pointer::new(text).expect("a good pointer")
}

#[test]
fn numbers_compare_exactly_across_their_kinds() {
    let past = 9_007_199_254_740_993; // 2^53 + 1, which no float is
    let cases = [
        (Value::Integer(past), Scalar::Number(9_007_199_254_740_992.0), Some(Ordering::Greater)),
        (Value::Number(9_007_199_254_740_992.0), Scalar::Integer(past), Some(Ordering::Less)),
        (
            Value::Integer(i64::MAX),
            Scalar::Number(9_223_372_036_854_775_808.0),
            Some(Ordering::Less),
        ),
        (
            Value::Integer(i64::MIN),
            Scalar::Number(-9_223_372_036_854_775_808.0),
            Some(Ordering::Equal),
        ),
        (Value::Integer(i64::MIN), Scalar::Number(-1e300), Some(Ordering::Greater)),
        (Value::Integer(-1), Scalar::Number(-1.5), Some(Ordering::Greater)),
        (Value::Integer(-2), Scalar::Number(-1.5), Some(Ordering::Less)),
        (Value::Integer(1), Scalar::Number(1.0), Some(Ordering::Equal)),
        (Value::Number(-0.0), Scalar::Integer(0), Some(Ordering::Equal)),
        (Value::Text("1"), Scalar::Integer(1), None),
        (Value::Boolean(true), Scalar::Integer(1), None),
        (Value::Json("1e999"), Scalar::Number(1.0), None),
        (Value::Integer(1), Scalar::Text("1".to_owned()), None),
    ];
    for (value, scalar, expected) in cases {
        assert_eq!(scalar.compare(value), expected, "{value:?} and {scalar:?}");
        assert_eq!(scalar.is(value), expected == Some(Ordering::Equal), "{value:?} and {scalar:?}");
    }
}

#[test]
fn a_range_that_holds_nothing_is_refused() {
    let range = |min, max| Range::new(min, max).err();
    assert_eq!(range(Some(Scalar::Integer(1)), Some(Scalar::Number(1.0))), None);
    let swapped = Some("`min` is above `max`: swap them".to_owned());
    assert_eq!(range(Some(Scalar::Integer(2)), Some(Scalar::Number(1.5))), swapped);
    assert_eq!(range(Some(Scalar::Number(2.5)), Some(Scalar::Integer(2))), swapped);
    assert_eq!(range(None, None).as_deref(), Some("give `min`, `max` or both"));
}

#[test]
fn pointers_are_checked_and_know_when_they_overlap() {
    assert_eq!(Pointer::new("a").err().as_deref(), Some("`a` is no JSON Pointer: write `/a`"));
    assert!(Pointer::new("/a~2").is_err() && Pointer::new("/a~").is_err());
    for (one, other, overlap) in [
        ("/a", "/a", true),
        ("/a/b", "/a", true),
        ("/ab", "/a", false),
        ("/a/b", "/a/c", false),
        ("/a~1b", "/a", false),
    ] {
        assert_eq!(pointer(one).overlaps(&pointer(other)), overlap, "{one} and {other}");
    }
}

#[test]
fn a_plan_reads_and_writes_each_field_once() {
    let mut plan = Plan::default();
    assert_eq!(plan.read(&pointer("/a")), 0);
    assert_eq!(plan.read(&pointer("/b")), 1);
    assert_eq!(plan.read_packed(&pointer("/a")), 0);
    assert_eq!(plan.read(&pointer("/a")), 0);
    assert_eq!(plan.reads.len(), 2);
    assert_eq!((plan.reads[0].form, plan.reads[1].form), (Form::Packed, Form::Values));
    assert!(matches!(&plan.reads[1].source, Source::Field(field) if field == "/b"));
    assert_eq!((plan.write(&pointer("/c")), plan.write(&pointer("/c"))), (0, 0));
}
