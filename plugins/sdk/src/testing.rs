//! Runs a rule natively on plain JSON events: one [`check`] per behaviour, data in and data out.

use serde_json::Value as Json;

use crate::{
    Batch, Change, Column, Edit, Edits, Fate, Form, Index, OwnedValue, Rule, Source, Value,
    configure,
};

/// What [`run`] takes for the time of processing: 2023-11-14T22:13:20.123Z.
pub const NOW: i64 = 1_700_000_000_123;

/// Judges these events with a rule of these settings, and compares what becomes of them: the
/// edited event, `"drop"`, or `{"reject": reason}`.
#[track_caller]
pub fn check<R: Rule>(settings: Json, events: Json, expected: Json) {
    let events = events.as_array().expect("a list of events");
    assert_eq!(Json::Array(run::<R>(&settings, events)), expected, "settings: {settings}");
    // Where a batch begins and ends means nothing: one by one, the same must come out.
    let alone = events.iter().flat_map(|event| run::<R>(&settings, std::slice::from_ref(event)));
    assert_eq!(Json::Array(alone.collect()), expected, "one by one, settings: {settings}");
}

/// Checks that the settings are refused with exactly this text.
#[track_caller]
pub fn check_refused<R: Rule>(settings: Json, expected: &str) {
    let refused = configure::<R>(&settings.to_string()).err();
    assert_eq!(refused.as_deref(), Some(expected), "settings: {settings}");
}

/// Judges these events, as one batch, with a rule of these settings. The columns are made and the
/// verdict is applied in the plainest way, and the verdict must be one that the host accepts.
#[track_caller]
pub fn run<R: Rule>(settings: &Json, events: &[Json]) -> Vec<Json> {
    let mut rule = configure::<R>(&settings.to_string()).expect("good settings");
    let plan = rule.plan();
    let columns: Vec<Built> =
        plan.reads.iter().map(|read| Built::new(&read.source, read.form, events)).collect();
    let values: Vec<Vec<Value<'_>>> =
        columns.iter().map(|column| column.values.iter().map(Value::from).collect()).collect();
    let views: Vec<Column<'_>> =
        columns.iter().zip(&values).map(|(column, values)| column.view(values)).collect();
    let count = events.len();
    let batch = Batch { events: count as u32, now: NOW, columns: &views };
    let verdict = rule.evaluate(&batch);

    let mut results = events.to_vec();
    let mut written = vec![false; plan.writes.len()];
    for change in &verdict.changes {
        let first = !std::mem::replace(&mut written[change.write as usize], true);
        assert!(first, "two changes of `{}`", plan.writes[change.write as usize]);
        apply(change, &plan.writes[change.write as usize], &views, &mut results);
    }
    if let Some(fates) = &verdict.fates {
        for (event, result) in results.iter_mut().enumerate() {
            let entry = entry_of(&fates.index, event, fates.entries.len(), count, &views);
            match &fates.entries[entry] {
                Fate::Keep => {}
                Fate::Drop => *result = Json::from("drop"),
                Fate::Reject(reason) => *result = serde_json::json!({ "reject": reason }),
            }
        }
    }
    results
}

fn apply(change: &Change, field: &str, views: &[Column<'_>], events: &mut [Json]) {
    let edits: Vec<Edit> = match &change.edits {
        Edits::Values(edits) => edits.clone(),
        Edits::Texts(packed) => {
            let texts = Column::of_texts(&packed.bytes, &packed.ends, &[]);
            assert_eq!(packed.ends.last().map_or(0, |&end| end as usize), packed.bytes.len());
            texts.values().map(|text| Edit::Set(text.to_owned())).collect()
        }
    };
    let count = events.len();
    for (number, event) in events.iter_mut().enumerate() {
        let entry = entry_of(&change.index, number, edits.len(), count, views);
        let (parent, name) = field.rsplit_once('/').expect("a pointer begins with a slash");
        let name = name.replace("~1", "/").replace("~0", "~");
        let parent = event.pointer_mut(parent).and_then(Json::as_object_mut);
        match &edits[entry] {
            Edit::Leave => {}
            Edit::Remove => drop(parent.map(|parent| parent.remove(&name))),
            Edit::Set(value) => {
                parent.expect("events of tests have the parents").insert(name, json_of(value));
            }
        }
    }
}

/// The entry of an event, after a check that the index is one that the host accepts.
fn entry_of(
    index: &Index,
    event: usize,
    entries: usize,
    events: usize,
    views: &[Column<'_>],
) -> usize {
    match index {
        Index::Constant => {
            assert_eq!(entries, 1, "constant: exactly one entry");
            0
        }
        Index::Identity => {
            assert_eq!(entries, events, "identity: one entry per event");
            event
        }
        Index::AsColumn(column) => {
            let column = &views[*column as usize];
            assert_eq!(entries, column.len(), "as-column: one entry per distinct value");
            column.index()[event] as usize
        }
        Index::Each(each) => {
            assert_eq!(each.len(), events, "each: one number per event");
            each[event] as usize
        }
    }
}

struct Built {
    values: Vec<OwnedValue>,
    packed: Option<(Vec<u8>, Vec<u32>)>,
    index: Vec<u32>,
}

impl Built {
    fn new(source: &Source, form: Form, events: &[Json]) -> Self {
        let Source::Field(pointer) = source else {
            panic!("plain JSON events have no {source:?}: judge a `Batch` of your own");
        };
        let mut values: Vec<OwnedValue> = Vec::new();
        let mut index = Vec::new();
        for event in events {
            let value = event.pointer(pointer).map_or(OwnedValue::Absent, value_of);
            let place = values.iter().position(|other| *other == value).unwrap_or_else(|| {
                values.push(value);
                values.len() - 1
            });
            index.push(place as u32);
        }
        let mut packed = (form == Form::Packed).then(|| (Vec::new(), Vec::new()));
        for value in &values {
            packed = match (packed, value) {
                (Some((mut bytes, mut ends)), OwnedValue::Text(text)) => {
                    bytes.extend_from_slice(text.as_bytes());
                    ends.push(bytes.len() as u32);
                    Some((bytes, ends))
                }
                _ => None,
            };
        }
        Self { values, packed, index }
    }

    fn view<'a>(&'a self, values: &'a [Value<'a>]) -> Column<'a> {
        match &self.packed {
            Some((bytes, ends)) => Column::of_texts(bytes, ends, &self.index),
            None => Column::of_values(values, &self.index),
        }
    }
}

fn value_of(json: &Json) -> OwnedValue {
    match json {
        Json::Null => OwnedValue::Null,
        Json::Bool(value) => OwnedValue::Boolean(*value),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => OwnedValue::Integer(integer),
            (None, Some(number)) if number.is_finite() => OwnedValue::Number(number),
            _ => OwnedValue::Json(number.to_string()),
        },
        Json::String(text) => OwnedValue::Text(text.clone()),
        Json::Array(_) | Json::Object(_) => OwnedValue::Json(json.to_string()),
    }
}

fn json_of(value: &OwnedValue) -> Json {
    match value {
        OwnedValue::Absent => panic!("a field cannot be set to absent"),
        OwnedValue::Null => Json::Null,
        OwnedValue::Boolean(value) => Json::from(*value),
        OwnedValue::Integer(value) => Json::from(*value),
        OwnedValue::Number(value) => {
            assert!(value.is_finite(), "a field cannot be set to {value}");
            Json::from(*value)
        }
        OwnedValue::Text(text) => Json::from(text.as_str()),
        OwnedValue::Json(text) => serde_json::from_str(text).expect("one JSON text"),
    }
}
