//! A chain of simple rules against the same rules interpreted record by record with `serde_json`,
//! whatever the borders of the batches.

use host::chain::guest::{Fault, Guest, Outcome};
use host::chain::{Chain, Limits, OnError, Processed, Record};
use host::event::{Edit, Fate, OwnedValue, Value as Seen, Verdict};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::native::*;

/// One simple stage, as a guest and as a function of one record.
#[derive(Clone, Debug)]
enum Simple {
    DropIf(&'static str, Value),
    RejectIf(&'static str, Value),
    TrapIf(&'static str, Value, OnError),
    Set(&'static str, Value),
    Copy(&'static str, &'static str),
    Remove(&'static str),
    /// A transform: an event with `/a` is split in two, one with `/b` dropped, others pass.
    Split,
}

const FIELDS: [&str; 5] = ["/a", "/b", "/n", "/n/x", "/n/y/z"];

/// What became of one record.
#[derive(Clone, Debug, PartialEq)]
struct Fared {
    outputs: Vec<Value>,
    dead: Option<(String, &'static str)>,
}

fn owned(value: &Value) -> OwnedValue {
    match value {
        Value::Null => OwnedValue::Null,
        Value::Bool(truth) => OwnedValue::Boolean(*truth),
        Value::Number(number) => match number.as_i64() {
            Some(number) => OwnedValue::Integer(number),
            None => OwnedValue::Number(number.as_f64().unwrap()),
        },
        Value::String(text) => OwnedValue::Text(text.clone()),
        other => OwnedValue::Json(other.to_string()),
    }
}

/// Whether a value that a rule sees is this one.
fn same(seen: Seen<'_>, value: &Value) -> bool {
    match seen {
        Seen::Absent => false,
        Seen::Null => value.is_null(),
        Seen::Boolean(truth) => *value == Value::Bool(truth),
        Seen::Integer(number) => value.as_i64() == Some(number),
        Seen::Number(number) => value.is_f64() && value.as_f64() == Some(number),
        Seen::Text(text) => value.as_str() == Some(text),
        Seen::Json(text) => serde_json::from_str::<Value>(text).ok().as_ref() == Some(value),
    }
}

fn split(text: &str) -> [String; 2] {
    [format!(r#"{{"n":{text}}}"#), format!(r#"{{"b":1,"whole":{text}}}"#)]
}

impl Simple {
    fn guest(&self) -> (Guest, OnError) {
        let guest = match self.clone() {
            Simple::DropIf(field, wanted) => {
                judge(
                    field,
                    move |value| {
                        if same(value, &wanted) { Fate::Drop } else { Fate::Keep }
                    },
                )
            }
            Simple::RejectIf(field, wanted) => judge(field, move |value| {
                if same(value, &wanted) { Fate::Reject("no".into()) } else { Fate::Keep }
            }),
            Simple::TrapIf(field, wanted, on_error) => {
                let guest = rule(&[field, "/a"], &["/seen"], move |batch| {
                    let column = batch.columns[0].0;
                    if (0..column.len()).any(|entry| same(column.value(entry), &wanted)) {
                        return Err(Fault::Trap("unreachable".into()));
                    }
                    let edits =
                        vec![Edit::Set(OwnedValue::Boolean(true)); batch.columns[1].0.len()];
                    let index = host::event::Index::AsColumn(1);
                    Ok(Verdict { fates: None, changes: vec![change(edits, index)] })
                });
                return (guest, on_error);
            }
            Simple::Set(field, value) => rule(&[], &[field], move |_| {
                let edits = vec![Edit::Set(owned(&value))];
                Ok(Verdict {
                    fates: None,
                    changes: vec![change(edits, host::event::Index::Constant)],
                })
            }),
            Simple::Copy(from, to) => edit(from, to, |value| {
                Edit::Set(match value {
                    Seen::Absent => return Edit::Leave,
                    Seen::Null => OwnedValue::Null,
                    Seen::Boolean(truth) => OwnedValue::Boolean(truth),
                    Seen::Integer(number) => OwnedValue::Integer(number),
                    Seen::Number(number) => OwnedValue::Number(number),
                    Seen::Text(text) => OwnedValue::Text(text.into()),
                    Seen::Json(text) => OwnedValue::Json(text.into()),
                })
            }),
            Simple::Remove(field) => rule(&[], &[field], |_| {
                Ok(Verdict {
                    fates: None,
                    changes: vec![change(vec![Edit::Remove], host::event::Index::Constant)],
                })
            }),
            Simple::Split => transform(|record| {
                let event: Value = serde_json::from_slice(record.value).unwrap_or_default();
                let text = std::str::from_utf8(record.value).unwrap_or_default();
                match (event.get("a"), event.get("b")) {
                    (Some(_), _) => Outcome::Emit(
                        split(text).iter().map(|part| emitted(record, part)).collect(),
                    ),
                    (None, Some(_)) => Outcome::Drop,
                    _ => Outcome::Pass,
                }
            }),
        };
        (guest, OnError::DeadLetter)
    }

    /// What becomes of one event: those that go on, or why it is rejected.
    fn model(&self, mut event: Value) -> Result<Vec<Value>, &'static str> {
        match self {
            Simple::DropIf(field, wanted) if event.pointer(field) == Some(wanted) => Ok(vec![]),
            Simple::RejectIf(field, wanted) if event.pointer(field) == Some(wanted) => {
                Err("rejected")
            }
            Simple::TrapIf(field, wanted, on_error) => match on_error {
                _ if event.pointer(field) != Some(wanted) => {
                    event["seen"] = json!(true);
                    Ok(vec![event])
                }
                OnError::Skip => Ok(vec![]),
                OnError::Pass => Ok(vec![event]),
                _ => Err("trap"),
            },
            Simple::Set(field, value) => set(event, field, value.clone()),
            Simple::Copy(from, to) => match event.pointer(from).cloned() {
                Some(value) => set(event, to, value),
                None => Ok(vec![event]),
            },
            Simple::Remove(field) => {
                let (parent, name) = field.rsplit_once('/').unwrap();
                if let Some(Value::Object(members)) = event.pointer_mut(parent) {
                    members.remove(name);
                }
                Ok(vec![event])
            }
            Simple::Split => Ok(match (event.get("a"), event.get("b")) {
                (Some(_), _) => {
                    let parts = split(&event.to_string());
                    parts.iter().map(|part| serde_json::from_str(part).unwrap()).collect()
                }
                (None, Some(_)) => vec![],
                _ => vec![event],
            }),
            _ => Ok(vec![event]),
        }
    }
}

fn set(mut event: Value, field: &str, value: Value) -> Result<Vec<Value>, &'static str> {
    let mut place = &mut event;
    for token in field[1..].split('/') {
        if place.as_array().is_some() {
            return Err("rejected");
        }
        let Some(members) = place.as_object_mut() else { return Err("rejected") };
        place = members.entry(token).or_insert_with(|| json!({}));
    }
    *place = value;
    Ok(vec![event])
}

fn model(stages: &[Simple], text: &str) -> Fared {
    let Ok(event @ Value::Object(_)) = serde_json::from_str::<Value>(text) else {
        let decoding = !matches!(stages.first(), None | Some(Simple::Split));
        let first = stages.iter().position(|stage| !matches!(stage, Simple::Split));
        let place = match first {
            None => return Fared { outputs: vec![json!(text)], dead: None },
            Some(_) if decoding => "decode".to_owned(),
            Some(first) => format!("s{first}"),
        };
        return Fared { outputs: vec![], dead: Some((place, "invalid-json")) };
    };
    let mut events = vec![event];
    let mut dead = None;
    for (place, stage) in stages.iter().enumerate() {
        let mut next = Vec::new();
        for event in events {
            match stage.model(event) {
                Ok(list) => next.extend(list),
                Err(reason) => {
                    dead.get_or_insert((format!("s{place}"), reason));
                }
            }
        }
        events = next;
    }
    Fared { outputs: events, dead }
}

fn build(simple: &[Simple]) -> Chain {
    let (guests, on_errors): (Vec<_>, Vec<_>) = simple.iter().map(Simple::guest).unzip();
    let mut stages = stages(guests);
    for (stage, on_error) in stages.iter_mut().zip(on_errors) {
        stage.on_error = on_error;
    }
    let limits = Limits { faulty_calls_max: u32::MAX, reject_share_max: 1.0, ..Limits::default() };
    Chain::new(stages, vec![observer(field_time("/t"), &["/a", "/n/x"])], limits).unwrap()
}

/// What became of each record, with the time and keys that the observer saw of its outputs.
type Seens = Vec<(i64, Vec<Option<Value>>)>;

fn run(chain: &mut Chain, records: &[Record<'_>]) -> Vec<(Fared, Seens)> {
    let processed = chain.run(records, NOW).unwrap();
    let mut all = vec![(Fared { outputs: vec![], dead: None }, vec![]); records.len()];
    let mut last = 0;
    for output in &processed.outputs {
        assert!(output.input >= last, "outputs are in the order of the inputs");
        last = output.input;
        let text = processed.view(output, records).value.unwrap();
        let value = serde_json::from_slice(text).ok().filter(Value::is_object);
        let value = value.unwrap_or_else(|| json!(std::str::from_utf8(text).unwrap()));
        all[output.input as usize].0.outputs.push(value);
    }
    for dead in &processed.dead_letters {
        let place = chain.place_name(dead.place).to_owned();
        let before = all[dead.input as usize].0.dead.replace((place, dead.reason.as_str()));
        assert_eq!(before, None, "one dead letter per input");
    }
    for (input, seen) in observed(&processed) {
        all[input as usize].1.push(seen);
    }
    all
}

/// An event time and the group's values.
type Observed = (i64, Vec<Option<Value>>);

fn observed(processed: &Processed) -> Vec<(u32, Observed)> {
    let observation = &processed.observations[0];
    let value = |seen: Seen<'_>| match seen {
        Seen::Absent => None,
        Seen::Null => Some(Value::Null),
        Seen::Boolean(truth) => Some(json!(truth)),
        Seen::Integer(number) => Some(json!(number)),
        Seen::Number(number) => Some(json!(number)),
        Seen::Text(text) => Some(json!(text)),
        Seen::Json(text) => Some(serde_json::from_str(text).unwrap()),
    };
    let one = |(place, &output): (usize, &u32)| {
        let keys = observation
            .keys
            .iter()
            .map(|column| value(column.value(column.index()[place] as usize)));
        let input = processed.outputs[output as usize].input;
        (input, (observation.times[place], keys.collect()))
    };
    observation.outputs.iter().enumerate().map(one).collect()
}

fn expected(simple: &[Simple], text: &str, offset: usize) -> (Fared, Seens) {
    let fared = model(simple, text);
    let input: Value = serde_json::from_str(text).unwrap_or_default();
    let time = match input.get("t") {
        Some(Value::Number(number)) if number.as_i64() == Some(i64::MIN) => -9_223_372_036_855,
        Some(Value::Number(number)) => (number.as_f64().unwrap() * 1_000.0) as i64,
        _ => 1_000 + offset as i64,
    };
    let keys = |event: &Value| ["/a", "/n/x"].map(|field| event.pointer(field).cloned()).to_vec();
    let seens = fared.outputs.iter().map(|event| (time, keys(event))).collect();
    (fared, seens)
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        Just(json!(true)),
        Just(json!(1)),
        Just(json!(-1.5)),
        Just(json!(i64::MIN)),
        Just(json!("x")),
        Just(json!("é\"\\\n\u{1}😀")),
        Just(json!({"x": 1, "y": {"z": "x"}})),
        Just(json!([1, {"x": "x"}])),
        Just(json!({})),
    ]
}

fn field() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&FIELDS[..])
}

fn simple() -> impl Strategy<Value = Simple> {
    let on_error =
        proptest::sample::select(&[OnError::DeadLetter, OnError::Skip, OnError::Pass][..]);
    prop_oneof![
        (field(), value()).prop_map(|(field, value)| Simple::DropIf(field, value)),
        (field(), value()).prop_map(|(field, value)| Simple::RejectIf(field, value)),
        (field(), value(), on_error)
            .prop_map(|(field, value, on_error)| Simple::TrapIf(field, value, on_error)),
        (field(), value()).prop_map(|(field, value)| Simple::Set(field, value)),
        (field(), field()).prop_map(|(from, to)| Simple::Copy(from, to)),
        field().prop_map(Simple::Remove),
        Just(Simple::Split),
    ]
}

/// An event as a text with spaces, escaped names and members given twice.
fn event() -> impl Strategy<Value = String> {
    let member = (
        proptest::sample::select(
            &["\"a\"", "\"\\u0061\"", "\"b\"", "\"n\"", "\"t\"", "\"other\"", "\"é\""][..],
        ),
        prop_oneof![
            value().prop_map(|value| value.to_string()),
            (0..3i64).prop_map(|n| n.to_string()),
            Just(r#"{ "x" : 1 , "x" : "x" }"#.to_owned()),
            Just("1.0e2".to_owned()),
            Just(r#""\u00e9\ud83d\ude00\/""#.to_owned()),
        ],
    );
    let object = proptest::collection::vec(member, 0..6).prop_map(|members| {
        let members: Vec<_> =
            members.iter().map(|(name, value)| format!(" {name}\t: {value} ")).collect();
        format!("{{{}}}", members.join(","))
    });
    let invalid =
        proptest::sample::select(&["", "{", "[1]", "null", "{\"a\":01}", "{\"a\":1,}", "nul"][..]);
    prop_oneof![9 => object, 1 => invalid.prop_map(str::to_owned)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_chain_does_what_its_stages_do_one_by_one_whatever_the_borders_of_batches(
        simple in proptest::collection::vec(simple(), 0..6),
        events in proptest::collection::vec(event(), 1..24),
        cuts in proptest::collection::vec(1..9usize, 24),
    ) {
        let records = records(&events);
        let expected: Vec<_> = events
            .iter()
            .enumerate()
            .map(|(offset, text)| expected(&simple, text, offset))
            .collect();
        let mut chain = build(&simple);
        prop_assert_eq!(&run(&mut chain, &records), &expected);
        let (mut parts, mut rest) = (Vec::new(), &records[..]);
        for cut in cuts {
            let (part, behind) = rest.split_at(cut.min(rest.len()));
            parts.extend(run(&mut chain, part));
            rest = behind;
        }
        prop_assert_eq!(&parts, &expected);
    }
}
