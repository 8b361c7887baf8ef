//! What became of one record on either side, and how the two differ.

use std::ops::Range;

use serde::Serialize;
use serde_json::Value;

use crate::chain::{DeadLetter, OutputView, Processed, Reason, Record};

/// In which way a record comes out differently; the first that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A dead letter on one side only, or for another reason.
    Errors,
    /// Dropped by the running rules, kept by the candidate.
    Kept,
    /// Kept by the running rules, dropped by the candidate.
    Dropped,
    /// The same records, with other values in some fields.
    Fields,
    /// The same values, written differently: spaces, the order of members, escapes.
    Form,
    /// Another number of records, key, header or topic, or a value that is no JSON object.
    Other,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Errors, Self::Kept, Self::Dropped, Self::Fields, Self::Form, Self::Other];

    /// The name in metrics, status and output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::Kept => "kept",
            Self::Dropped => "dropped",
            Self::Fields => "fields",
            Self::Form => "form",
            Self::Other => "other",
        }
    }
}

/// A field that comes out differently.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldChange {
    /// A JSON Pointer.
    pub field: String,
    /// Its value now; none if it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<Value>,
    /// What the candidate makes of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Value>,
}

/// What became of one record on one side.
#[derive(Clone)]
pub(super) struct Became<'a> {
    processed: &'a Processed,
    records: &'a [Record<'a>],
    outputs: Range<usize>,
    letter: Option<&'a DeadLetter>,
}

/// Goes through the results of a batch record by record.
pub(super) struct Results<'a> {
    processed: &'a Processed,
    records: &'a [Record<'a>],
    output: usize,
    letter: usize,
}

impl<'a> Results<'a> {
    pub fn new(processed: &'a Processed, records: &'a [Record<'a>]) -> Self {
        Self { processed, records, output: 0, letter: 0 }
    }

    /// What became of this record; to be asked in their order.
    pub fn of(&mut self, input: u32) -> Became<'a> {
        let (outputs, letters) = (&self.processed.outputs, &self.processed.dead_letters);
        let first = self.output;
        while outputs.get(self.output).is_some_and(|output| output.input == input) {
            self.output += 1;
        }
        let letter = letters.get(self.letter).filter(|letter| letter.input == input);
        self.letter += usize::from(letter.is_some());
        let (processed, records) = (self.processed, self.records);
        Became { processed, records, outputs: first..self.output, letter }
    }
}

impl<'a> Became<'a> {
    fn views(&self) -> impl Iterator<Item = OutputView<'a>> + use<'a> {
        let (processed, records) = (self.processed, self.records);
        processed.outputs[self.outputs.clone()].iter().map(|output| processed.view(output, records))
    }

    /// In a few words.
    pub fn describe(&self) -> String {
        let made = match self.outputs.len() {
            0 => None,
            1 => Some("kept".to_owned()),
            several => Some(format!("{several} records")),
        };
        let letter = self
            .letter
            .map(|letter| format!("dead letter ({}): {}", letter.reason.as_str(), letter.message));
        match (made, letter) {
            (None, None) => "dropped".to_owned(),
            (Some(made), Some(letter)) => format!("{made}, {letter}"),
            (Some(one), None) | (None, Some(one)) => one,
        }
    }
}

/// How a record comes out differently; none if it does not.
pub(super) fn difference(
    live: &Became<'_>,
    candidate: &Became<'_>,
) -> Option<(Kind, Vec<FieldChange>)> {
    let plain = |kind| Some((kind, Vec::new()));
    if !is_same_letter(live.letter, candidate.letter) {
        return plain(Kind::Errors);
    }
    match (live.outputs.len(), candidate.outputs.len()) {
        (0, 0) => return None,
        (0, _) => return plain(Kind::Kept),
        (_, 0) => return plain(Kind::Dropped),
        (one, other) if one != other => return plain(Kind::Other),
        _ => {}
    }
    let mut is_other_form = false;
    let mut changes = Vec::new();
    for (live, candidate) in live.views().zip(candidate.views()) {
        let is_same_around = live.key == candidate.key
            && live.topic == candidate.topic
            && live.headers.iter().eq(candidate.headers.iter());
        if !is_same_around {
            return plain(Kind::Other);
        }
        if live.value == candidate.value {
            continue;
        }
        let (Some(live), Some(candidate)) = (object(live.value), object(candidate.value)) else {
            return plain(Kind::Other);
        };
        let before = changes.len();
        compare(&live, &candidate, &mut String::new(), &mut changes);
        is_other_form |= changes.len() == before;
    }
    match (changes.is_empty(), is_other_form) {
        (false, _) => Some((Kind::Fields, changes)),
        (true, true) => plain(Kind::Form),
        (true, false) => None,
    }
}

/// What a fault says differs from one program to another; that there is one does not.
fn is_same_letter(live: Option<&DeadLetter>, candidate: Option<&DeadLetter>) -> bool {
    match (live, candidate) {
        (None, None) => true,
        (Some(live), Some(candidate)) => {
            live.reason == candidate.reason
                && (live.reason != Reason::Rejected || live.message == candidate.message)
        }
        _ => false,
    }
}

fn object(value: Option<&[u8]>) -> Option<Value> {
    serde_json::from_slice(value?).ok().filter(Value::is_object)
}

/// The fields in which two values differ; none where one of them is no JSON object.
pub fn field_changes(live: Option<&[u8]>, candidate: Option<&[u8]>) -> Option<Vec<FieldChange>> {
    let mut changes = Vec::new();
    compare(&object(live)?, &object(candidate)?, &mut String::new(), &mut changes);
    Some(changes)
}

/// The fields in which two values differ; arrays are compared as a whole.
fn compare(live: &Value, candidate: &Value, at: &mut String, changes: &mut Vec<FieldChange>) {
    let (Value::Object(one), Value::Object(other)) = (live, candidate) else {
        if live != candidate {
            changes.push(change(at, Some(live), Some(candidate)));
        }
        return;
    };
    let length = at.len();
    let mut member = |name: &str, live: Option<&Value>, candidate: Option<&Value>| {
        at.push('/');
        at.push_str(&name.replace('~', "~0").replace('/', "~1"));
        match (live, candidate) {
            (Some(live), Some(candidate)) => compare(live, candidate, at, changes),
            _ => changes.push(change(at, live, candidate)),
        }
        at.truncate(length);
    };
    for (name, live) in one {
        member(name, Some(live), other.get(name));
    }
    for (name, candidate) in other.iter().filter(|(name, _)| !one.contains_key(*name)) {
        member(name, None, Some(candidate));
    }
}

fn change(at: &str, live: Option<&Value>, candidate: Option<&Value>) -> FieldChange {
    FieldChange { field: at.to_owned(), live: live.cloned(), candidate: candidate.cloned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_named_by_pointers_and_arrays_stay_whole() {
        let check = |live: &str, candidate: &str, expected: &[&str]| {
            let value = |text| serde_json::from_str::<Value>(text).expect("JSON");
            let mut changes = Vec::new();
            compare(&value(live), &value(candidate), &mut String::new(), &mut changes);
            let shown = |change: FieldChange| {
                let text = |value: Option<Value>| value.map_or("-".to_owned(), |v| v.to_string());
                format!("{} {} {}", change.field, text(change.live), text(change.candidate))
            };
            assert_eq!(changes.into_iter().map(shown).collect::<Vec<_>>(), expected);
        };
        check(r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#, &[]);
        check(r#"{"a":1,"b":{"c":2}}"#, r#"{"b":{"c":"2"}}"#, &["/a 1 -", r#"/b/c 2 "2""#]);
        check(r#"{"a/b":[1,2]}"#, r#"{"a/b":[1,3],"c":null}"#, &["/a~1b [1,2] [1,3]", "/c - null"]);
    }
}
