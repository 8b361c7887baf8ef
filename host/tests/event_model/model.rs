//! What a batch must do, done the slow way on one text at a time with `serde_json`: no trie, no
//! dictionaries, no pending edits. [`check`] runs both and compares every byte. Shared with the
//! fuzz target by path.

use std::ops::Range;

use host::event::{
    Batch, Column, ColumnId, Edit, Edits, EventInput, FieldChange, Layout, OwnedValue, Packed,
    Source, Spread, Value, WriteId, Written,
};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Documents and what the stages do with them.
#[derive(Clone, Debug)]
pub struct Case {
    /// The texts of the events, valid or not.
    pub documents: Vec<Vec<u8>>,
    /// The stages.
    pub stages: Vec<Stage>,
}

/// One stage.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Pointers of the columns that it reads.
    pub reads: Vec<String>,
    /// What it writes, in this order; a pointer that came before is passed over.
    pub changes: Vec<(String, Vec<Edit>, Way)>,
    /// Events that it is asked about, by position: a bit of this, over and over.
    pub asked: u8,
    /// Events that it drops afterwards.
    pub dropped: u8,
}

/// How the edits of a change are handed over.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// The first edit for all.
    Constant,
    /// One per event.
    Identity,
    /// One per value of the stage's first column.
    Column,
    /// With an index.
    Each,
    /// The texts among them, packed.
    Packed,
}

fn bit(mask: u8, place: usize) -> bool {
    mask >> (place % 8) & 1 == 1
}

/// Runs a case through the batch and through the model; panics where they differ.
pub fn check(case: &Case) {
    let mut builder = Layout::builder();
    let mut ids: Vec<(Vec<ColumnId>, Vec<WriteId>)> = Vec::new();
    for stage in &case.stages {
        let column = |pointer: &String| builder.column(&Source::Field(pointer.clone()));
        let columns = stage.reads.iter().map(column).collect::<Result<_, _>>();
        let writes = stage.changes.iter().map(|(pointer, ..)| builder.write(pointer));
        let writes = writes.collect::<Result<_, _>>();
        ids.push((columns.expect("a good pointer"), writes.expect("a good pointer")));
    }
    let layout = builder.build();
    let input = |text| EventInput { text, key: None, headers: &[], timestamp: None };
    let inputs: Vec<_> = case.documents.iter().map(|document| input(document.as_slice())).collect();
    let mut batch = Batch::decode(&layout, &inputs);
    let mut texts: Vec<(u32, String)> = Vec::new();
    for (event, document) in (0..).zip(&case.documents) {
        let refused = batch.invalid().iter().any(|(other, _)| *other == event);
        match accepted(document) {
            Some(text) => texts.push((event, text.to_owned())),
            None => assert!(refused, "accepted {:?}", String::from_utf8_lossy(document)),
        }
    }
    let events =
        |texts: &[(u32, String)]| texts.iter().map(|&(event, _)| event).collect::<Vec<_>>();
    assert_eq!(batch.live(), events(&texts), "other documents are valid");
    for (stage, (columns, writes)) in case.stages.iter().zip(&ids) {
        run_stage(stage, columns, writes, &mut batch, &mut texts);
        assert_eq!(batch.live(), events(&texts));
    }
    let mut out = b"what others wrote".to_vec();
    for (position, (event, text)) in (0..).zip(&texts) {
        let before = out.clone();
        match batch.write(position, &mut out) {
            Written::Original => {
                assert_eq!(text.as_bytes(), case.documents[*event as usize]);
                assert_eq!(out, before);
            }
            Written::Edited(range) => {
                assert_eq!(String::from_utf8_lossy(&out[range.clone()]), *text);
                assert_eq!(range, before.len()..out.len());
                assert!(out.starts_with(&before));
                assert!(accepted(text.as_bytes()).is_some());
            }
        }
    }
}

fn run_stage(
    stage: &Stage,
    columns: &[ColumnId],
    writes: &[WriteId],
    batch: &mut Batch<'_>,
    texts: &mut Vec<(u32, String)>,
) {
    batch.prepare(columns);
    let asked: Vec<u32> = (0..texts.len())
        .filter(|&place| bit(stage.asked, place))
        .map(|place| place as u32)
        .collect();
    let parts = batch.subset(columns, &asked);
    for ((pointer, &column), part) in stage.reads.iter().zip(columns).zip(&parts) {
        let all = texts.iter().map(|(_, text)| value_at(text, pointer)).collect::<Vec<_>>();
        check_column(batch.column(column), &all);
        let some: Vec<_> = asked.iter().map(|&place| all[place as usize].clone()).collect();
        check_column(part, &some);
    }
    let whole = asked.len() == texts.len();
    // A subset's column belongs to whoever asked for it: its index is given number by number.
    let first = columns.first().map(|&column| {
        let column = if whole { batch.column(column) } else { &parts[0] };
        (column.index().to_vec(), column.len())
    });
    let mut answers: Vec<(WriteId, Edits, Vec<u32>, Option<Spread<'_>>)> = Vec::new();
    for ((_, edits, way), &write) in stage.changes.iter().zip(writes) {
        if answers.iter().any(|(other, ..)| *other == write) {
            continue;
        }
        let events = asked.len();
        let cycle = |count: usize| edits.iter().cycle().take(count).cloned().collect::<Vec<_>>();
        let (edits, index, spread) = match (way, &first) {
            (Way::Constant, _) => (cycle(1), vec![0; events], Some(Spread::Constant)),
            (Way::Identity, _) => {
                (cycle(events), (0..events as u32).collect(), Some(Spread::Identity))
            }
            (Way::Column, Some((index, distinct))) => {
                let spread = whole.then(|| Spread::Column(columns[0]));
                (cycle(*distinct), index.clone(), spread)
            }
            _ => {
                let index = (0..events).map(|place| (place * 7 + 3) % edits.len());
                (edits.clone(), index.map(|place| place as u32).collect(), None)
            }
        };
        let edits = if matches!(way, Way::Packed) { packed(&edits) } else { Edits::Values(edits) };
        answers.push((write, edits, index, spread));
    }
    let changes: Vec<_> = answers
        .iter()
        .map(|(write, edits, index, spread)| FieldChange {
            write: *write,
            edits,
            spread: spread.unwrap_or(Spread::Each(index)),
        })
        .collect();
    let rejected = batch.apply((!whole).then_some(&asked), &changes).expect("a right answer");
    let mut expected = Vec::new();
    for (place, &position) in asked.iter().enumerate() {
        for (write, edits, index, _) in &answers {
            let (pointer, ..) =
                &stage.changes[writes.iter().position(|other| other == write).expect("its own")];
            let text = &mut texts[position as usize].1;
            match edited(text, pointer, &edit_of(edits, index[place] as usize)) {
                Some(new) => *text = new,
                None => {
                    expected.push(position);
                    break;
                }
            }
        }
    }
    let positions: Vec<u32> = rejected.iter().map(|(position, _)| *position).collect();
    assert_eq!(positions, expected, "other events are rejected: {rejected:?}");
    batch.remove(&positions);
    let mut place = 0;
    texts.retain(|_| {
        place += 1;
        !expected.contains(&(place - 1))
    });
    batch.retain(|position| !bit(stage.dropped, position as usize));
    let mut place = 0;
    texts.retain(|_| {
        place += 1;
        !bit(stage.dropped, place - 1)
    });
}

fn packed(edits: &[Edit]) -> Edits {
    let mut packed = Packed::default();
    for edit in edits {
        if let Edit::Set(OwnedValue::Text(text)) = edit {
            packed.bytes.extend_from_slice(text.as_bytes());
        }
        packed.ends.push(packed.bytes.len() as u32);
    }
    Edits::Texts(packed)
}

fn edit_of(edits: &Edits, entry: usize) -> Edit {
    match edits {
        Edits::Values(edits) => edits[entry].clone(),
        Edits::Texts(Packed { bytes, ends }) => {
            let start = if entry == 0 { 0 } else { ends[entry - 1] as usize };
            let text = String::from_utf8_lossy(&bytes[start..ends[entry] as usize]);
            Edit::Set(OwnedValue::Text(text.into_owned()))
        }
    }
}

/// Each value once, in order of first appearance, and the right one for each event.
#[track_caller]
fn check_column(column: &Column, expected: &[OwnedValue]) {
    // As their debug texts, which tell -0.0 from 0.0.
    let mut dictionary: Vec<String> = Vec::new();
    let mut index = Vec::new();
    for value in expected {
        let value = format!("{value:?}");
        let known = dictionary.iter().position(|other| *other == value);
        index.push(known.unwrap_or(dictionary.len()) as u32);
        if known.is_none() {
            dictionary.push(value);
        }
    }
    let found: Vec<String> =
        (0..column.len()).map(|entry| format!("{:?}", column.value(entry))).collect();
    assert_eq!((found, column.index()), (dictionary, index.as_slice()));
    let texts = column.texts().map(|(bytes, ends)| {
        let packed = Edits::Texts(Packed { bytes: bytes.into(), ends: ends.into() });
        (0..ends.len()).map(|entry| edit_of(&packed, entry)).collect::<Vec<_>>()
    });
    let all: Option<Vec<Edit>> = (0..column.len())
        .map(|entry| match column.value(entry) {
            Value::Text(text) => Some(Edit::Set(OwnedValue::Text(text.into()))),
            _ => None,
        })
        .collect();
    assert_eq!(texts, all);
}

/// The text of a document, if it is a valid event.
fn accepted(document: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(document).ok()?;
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    let blank: &[char] = &[' ', '\t', '\n', '\r'];
    (text.trim_start_matches(blank).starts_with('{') && depth(text) < 128).then_some(text)
}

/// How deep a valid document nests: 127 is as deep as `serde_json` goes.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut string, mut escaped) = (0usize, 0, false, false);
    for byte in text.bytes() {
        match (string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => string = !string,
            (false, b'{' | b'[') => depth += 1,
            (false, b'}' | b']') => depth -= 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// A member of an object or an element of an array, as places in its text.
struct Item {
    /// None in an array, and where the name has a lone surrogate.
    name: Option<String>,
    /// From the name on.
    whole: Range<usize>,
    value: Range<usize>,
}

struct Members<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;
            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

fn items(container: &str) -> Option<Vec<Item>> {
    let place = |raw: &RawValue| {
        let start = raw.get().as_ptr() as usize - container.as_ptr() as usize;
        start..start + raw.get().len()
    };
    let element = |raw: &&RawValue| Item { name: None, whole: place(raw), value: place(raw) };
    let member = |&(name, value): &(&RawValue, &RawValue)| {
        let whole = place(name).start..place(value).end;
        Item { name: serde_json::from_str(name.get()).ok(), whole, value: place(value) }
    };
    match container.as_bytes()[0] {
        b'{' => {
            let members: Members<'_> = serde_json::from_str(container).expect("it is valid");
            Some(members.0.iter().map(member).collect())
        }
        b'[' => {
            let elements: Vec<&RawValue> = serde_json::from_str(container).expect("it is valid");
            Some(elements.iter().map(element).collect())
        }
        _ => None,
    }
}

fn tokens(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~")).collect()
}

/// The place in an array that a token names.
fn array_place(token: &str) -> Option<usize> {
    let place: usize = token.parse().ok()?;
    (place.to_string() == token).then_some(place)
}

/// The item that a token leads to.
fn lookup<'i>(container: &str, items: &'i [Item], token: &str) -> Option<&'i Item> {
    if container.starts_with('[') {
        return items.get(array_place(token)?);
    }
    items.iter().rev().find(|item| item.name.as_deref() == Some(token))
}

/// The text of the event without the white space around it.
fn root(text: &str) -> Range<usize> {
    let start = text.find('{').expect("an event is an object");
    start..text.rfind('}').expect("an event is an object") + 1
}

fn value_at(text: &str, pointer: &str) -> OwnedValue {
    let mut value = &text[root(text)];
    for token in tokens(pointer) {
        let Some(items) = items(value) else { return OwnedValue::Absent };
        let Some(item) = lookup(value, &items, &token) else { return OwnedValue::Absent };
        value = &value[item.value.clone()];
    }
    let integer = || value.parse().ok().filter(|_| value != "-0").map(OwnedValue::Integer);
    let number = || serde_json::from_str(value).ok().map(OwnedValue::Number);
    let text = || serde_json::from_str(value).ok().map(OwnedValue::Text);
    let classified = match value.as_bytes()[0] {
        b'n' => Some(OwnedValue::Null),
        b't' | b'f' => Some(OwnedValue::Boolean(value == "true")),
        b'"' => text(),
        b'{' | b'[' => None,
        _ => integer().or_else(number),
    };
    classified.unwrap_or_else(|| OwnedValue::Json(value.to_owned()))
}

/// The event after an edit; none if it cannot be.
fn edited(text: &str, pointer: &str, edit: &Edit) -> Option<String> {
    let (root, tokens) = (root(text), tokens(pointer));
    let inner = &text[root.clone()];
    let new = match edit {
        Edit::Leave => return Some(text.to_owned()),
        Edit::Remove => remove(inner, &tokens),
        Edit::Set(value) => {
            let value = match value {
                OwnedValue::Absent => panic!("a wrong answer"),
                OwnedValue::Null => "null".to_owned(),
                OwnedValue::Boolean(truth) => truth.to_string(),
                OwnedValue::Integer(value) => value.to_string(),
                OwnedValue::Number(value) => serde_json::to_string(value).expect("it is finite"),
                OwnedValue::Text(text) => serde_json::to_string(text).expect("it is text"),
                OwnedValue::Json(json) => json.trim().to_owned(),
            };
            set(inner, &tokens, &value)?
        }
    };
    Some(replaced(text, root, &new))
}

fn replaced(text: &str, range: Range<usize>, new: &str) -> String {
    format!("{}{new}{}", &text[..range.start], &text[range.end..])
}

fn made(tokens: &[String], value: &str) -> String {
    tokens.iter().rev().fold(value.to_owned(), |inner, token| {
        format!("{{{}:{inner}}}", serde_json::to_string(token).expect("it is text"))
    })
}

fn set(container: &str, tokens: &[String], value: &str) -> Option<String> {
    let Some((token, rest)) = tokens.split_first() else { return Some(value.to_owned()) };
    let items = items(container)?;
    if let Some(item) = lookup(container, &items, token) {
        let new = set(&container[item.value.clone()], rest, value)?;
        return Some(replaced(container, item.value.clone(), &new));
    }
    let mut new = made(rest, value);
    if container.starts_with('{') {
        new = format!("{}:{new}", serde_json::to_string(token).expect("it is text"));
    } else if token != "-" && array_place(token) != Some(items.len()) {
        return None;
    }
    let comma = if items.is_empty() { "" } else { "," };
    let close = container.len() - 1;
    Some(replaced(container, close..close, &format!("{comma}{new}")))
}

fn remove(container: &str, tokens: &[String]) -> String {
    let Some(items) = items(container) else { return container.to_owned() };
    let Some(item) = lookup(container, &items, &tokens[0]) else { return container.to_owned() };
    if tokens.len() > 1 {
        let new = remove(&container[item.value.clone()], &tokens[1..]);
        return replaced(container, item.value.clone(), &new);
    }
    let place =
        items.iter().position(|other| other.whole == item.whole).expect("it is one of them");
    let cut = if place > 0 {
        items[place - 1].whole.end..item.whole.end
    } else {
        let end = items.get(1).map_or(container.len() - 1, |next| next.whole.start);
        item.whole.start..end
    };
    let rest = replaced(container, cut, "");
    // All members of that name go.
    if container.starts_with('{') { remove(&rest, tokens) } else { rest }
}
