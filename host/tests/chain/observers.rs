//! What observers see.

use host::chain::guest::Outcome;
use host::chain::{Chain, Limits, Observation, Observer, TimeSource};
use host::event::{OwnedValue, Value};

use crate::native::*;

fn observed(
    guests: Vec<host::chain::guest::Guest>,
    observers: Vec<Observer>,
    values: &[&str],
) -> Vec<Observation> {
    let mut chain = Chain::new(stages(guests), observers, Limits::default()).unwrap();
    chain.run(&records(values), NOW).unwrap().observations
}

/// The key of each observed output, by group pointer.
fn keys(observation: &Observation) -> Vec<Vec<Value<'_>>> {
    let column = |column| {
        let column: &host::event::Column = column;
        column.index().iter().map(|&entry| column.value(entry as usize)).collect()
    };
    observation.keys.iter().map(column).collect()
}

#[test]
fn time_is_read_before_the_chain_and_keys_behind_it() {
    let guests = || vec![set_text("/timestamp", "rewritten"), set_text("/version", "9")];
    let values = [r#"{"timestamp":1694479551,"version":"1"}"#];
    let observers = || vec![observer(field_time("/timestamp"), &["/version", "/timestamp"])];
    let seen = observed(guests(), observers(), &values);
    assert_eq!((&seen[0].outputs, &seen[0].times), (&vec![0], &vec![1_694_479_551_000]));
    assert_eq!(keys(&seen[0]), [[Value::Text("9")], [Value::Text("rewritten")]]);
    assert_eq!(seen[0].fallbacks, 0);

    // The same with a transform at either end.
    let pass = || transform(|_| Outcome::Pass);
    for guests in [
        [vec![pass()], guests()].into_iter().flatten().collect::<Vec<_>>(),
        guests().into_iter().chain([pass()]).collect(),
    ] {
        let seen = observed(guests, observers(), &values);
        assert_eq!(seen[0].times, [1_694_479_551_000]);
        assert_eq!(keys(&seen[0]), [[Value::Text("9")], [Value::Text("rewritten")]]);
    }
}

#[test]
fn a_missing_or_malformed_time_is_the_records_own() {
    let values = [r#"{"t":10}"#, r#"{"t":"soon"}"#, r#"{}"#, r#"{"t":null}"#, r#"{"t":20}"#];
    for guests in [vec![], vec![set_text("/t", "x")], vec![transform(|_| Outcome::Pass)]] {
        let observers = vec![observer(field_time("/t"), &[]), observer(TimeSource::Record, &[])];
        let seen = observed(guests, observers, &values);
        assert_eq!(seen[0].times, [10_000, 1_001, 1_002, 1_003, 20_000]);
        assert_eq!(seen[0].fallbacks, 3);
        assert_eq!(seen[1].times, [1_000, 1_001, 1_002, 1_003, 1_004]);
        assert_eq!(seen[1].fallbacks, 0);
    }
}

#[test]
fn a_record_without_any_time_counts_as_1970() {
    let mut chain =
        Chain::new(vec![], vec![observer(TimeSource::Record, &[])], Limits::default()).unwrap();
    let mut records = records(&["{}"]);
    records[0].timestamp = None;
    assert_eq!(chain.run(&records, NOW).unwrap().observations[0].times, [0]);
}

#[test]
fn dropped_and_rejected_events_are_not_observed() {
    let guests = vec![drop_text("/a", "drop"), reject_text("/a", "reject", "no")];
    let values = [r#"{"a":"drop"}"#, r#"{"a":"k"}"#, "{", r#"{"a":"reject"}"#, r#"{"a":"l"}"#];
    let seen = observed(guests, vec![observer(TimeSource::Record, &["/a"])], &values);
    assert_eq!(seen[0].outputs, [0, 1]);
    assert_eq!(seen[0].times, [1_001, 1_004]);
    assert_eq!(keys(&seen[0]), [[Value::Text("k"), Value::Text("l")]]);
    assert_eq!(seen[0].keys[0].len(), 2, "the dictionary has what is observed only");
}

#[test]
fn outputs_of_a_transform_inherit_their_inputs_time() {
    let split = transform(|record| {
        let text = std::str::from_utf8(record.value).unwrap();
        Outcome::Emit(text.split(';').map(|part| emitted(record, part)).collect())
    });
    // The input is no JSON itself, so its time is the record's own.
    let values = [r#"{"t":7,"k":"p"}"#, r#"{"t":1,"k":"q"};{"t":2};nonsense"#];
    let seen = observed(vec![split], vec![observer(field_time("/t"), &["/k"])], &values);
    assert_eq!(seen[0].outputs, [0, 1, 2, 3]);
    assert_eq!(seen[0].times, [7_000, 1_001, 1_001, 1_001]);
    assert_eq!(seen[0].fallbacks, 3);
    let keys = keys(&seen[0]);
    assert_eq!(keys, [[Value::Text("p"), Value::Text("q"), Value::Absent, Value::Absent]]);
}

#[test]
fn keys_are_those_of_the_event_as_it_goes_out() {
    let guests = vec![
        set_text("/k", "first"),
        edit("/n", "/k", |value| match value {
            Value::Integer(1) => host::event::Edit::Remove,
            Value::Integer(2) => host::event::Edit::Leave,
            _ => host::event::Edit::Set(OwnedValue::Null),
        }),
    ];
    let values = [r#"{"n":1,"k":0}"#, r#"{"n":2}"#, r#"{"n":3}"#];
    let seen = observed(guests, vec![observer(TimeSource::Record, &["/k"])], &values);
    assert_eq!(keys(&seen[0]), [[Value::Absent, Value::Text("first"), Value::Null]]);
}

#[test]
fn nobody_looks_nothing_is_decoded() {
    let mut chain =
        Chain::new(vec![], vec![observer(TimeSource::Record, &[])], Limits::default()).unwrap();
    let processed = chain.run(&records(&["nonsense"]), NOW).unwrap();
    assert_eq!(processed.observations[0].outputs, [0]);
    assert!(processed.observations[0].keys.is_empty());
    assert_eq!(processed.dead_letters, []);
}

#[test]
fn values_and_filter_are_read_like_keys_and_now_is_a_time() {
    let values = [r#"{"k":"a","n":1,"big":true}"#, r#"{"k":"b","n":1.5}"#, r#"nonsense"#];
    let observer = || Observer {
        time: TimeSource::Processing,
        group: vec!["/k".into()],
        values: vec!["/n".into(), "/k".into()],
        filter: Some("/big".into()),
    };
    for guests in [vec![], vec![set_text("/t", "x")], vec![transform(|_| Outcome::Pass)]] {
        let seen = observed(guests, vec![observer(), observer()], &values).remove(1);
        assert_eq!((seen.times[0], seen.fallbacks), (NOW, 0));
        let texts = |column: &host::event::Column| -> Vec<String> {
            let entry = |&entry: &u32| format!("{:?}", column.value(entry as usize));
            column.index()[..2].iter().map(entry).collect()
        };
        assert_eq!(texts(&seen.keys[0]), [r#"Text("a")"#, r#"Text("b")"#]);
        assert_eq!(texts(&seen.values[0]), ["Integer(1)", "Number(1.5)"]);
        assert_eq!(texts(&seen.values[1]), [r#"Text("a")"#, r#"Text("b")"#]);
        assert_eq!(texts(seen.filter.as_ref().unwrap()), ["Boolean(true)", "Absent"]);
        assert_eq!(seen.times.len(), seen.outputs.len());
    }
}
