//! Answers have the cheapest form that says them.

use pipeline_sdk::{
    Batch, Bits, Column, Combined, Edit, EditList, Edits, Fate, Index, OwnedValue, Packed, Value,
    combine, fates_by_value, keep_where,
};

const A: [Value<'static>; 2] = [Value::Text("x"), Value::Absent];
const B: [Value<'static>; 3] = [Value::Integer(1), Value::Null, Value::Boolean(true)];

#[track_caller]
fn check_combined(a: &[u64], b: &[u64], expected: Combined) {
    let columns =
        [Column::of_values(&A, &[0, 1, 1, 0, 1]), Column::of_values(&B, &[0, 0, 1, 2, 0])];
    let batch = Batch { events: 5, now: 0, columns: &columns };
    let parts = [Bits { column: 0, bits: a.to_vec() }, Bits { column: 1, bits: b.to_vec() }];
    assert_eq!(combine(&batch, &parts), expected);
}

#[test]
fn columns_that_decide_nothing_cost_nothing_per_event() {
    check_combined(&[1, 1], &[2, 2, 2], Combined { bits: vec![3], index: Index::Constant });
    check_combined(&[0, 1], &[2, 2, 2], Combined { bits: vec![2, 3], index: Index::AsColumn(0) });
    check_combined(
        &[4, 4],
        &[0, 1, 2],
        Combined { bits: vec![4, 5, 6], index: Index::AsColumn(1) },
    );
}

#[test]
fn where_several_columns_decide_each_combination_is_there_once() {
    let index = Index::Each(vec![0, 1, 2, 3, 1]);
    check_combined(&[0, 1], &[0, 2, 4], Combined { bits: vec![0, 1, 3, 4], index });
}

#[test]
fn no_columns_are_no_bits() {
    let batch = Batch { events: 2, now: 0, columns: &[] };
    assert_eq!(combine(&batch, &[]), Combined { bits: vec![0], index: Index::Constant });
}

#[test]
fn fates_are_said_only_if_one_is_not_kept() {
    let columns = [Column::of_values(&A, &[0, 1, 0])];
    let batch = Batch { events: 3, now: 0, columns: &columns };
    assert_eq!(keep_where(&batch, 0, |_| true), None);
    let fates = keep_where(&batch, 0, |value| value == Value::Text("x")).expect("one is dropped");
    assert_eq!(fates.entries, [Fate::Keep, Fate::Drop]);
    assert_eq!(fates.index, Index::AsColumn(0));
    let reject = |_: Value<'_>| Fate::Reject("no".to_owned());
    assert_eq!(fates_by_value(&batch, 0, reject).expect("all rejected").entries.len(), 2);
}

#[test]
fn texts_share_a_buffer_until_an_edit_sets_something_else() {
    let mut texts = EditList::with_capacity(2);
    texts.text("ab");
    texts.set(OwnedValue::Text("c".to_owned()));
    let packed = Packed { bytes: b"abc".to_vec(), ends: vec![2, 3] };
    let change = texts.change(7, Index::Identity).expect("two edits");
    assert_eq!((change.write, change.edits), (7, Edits::Texts(packed)));

    let mut mixed = EditList::with_capacity(4);
    mixed.text("ab");
    mixed.format(format_args!("{}", 12));
    mixed.leave();
    mixed.text("d");
    let set = |text: &str| Edit::Set(OwnedValue::Text(text.to_owned()));
    let expected = Edits::Values(vec![set("ab"), set("12"), Edit::Leave, set("d")]);
    assert_eq!(mixed.change(0, Index::Identity).expect("four edits").edits, expected);

    let mut nothing = EditList::with_capacity(1);
    nothing.leave();
    assert_eq!(nothing.change(0, Index::Identity), None);
}
