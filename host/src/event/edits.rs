//! Takes in what a rule wants written: checks it, renders each distinct value once, and notes
//! which event gets which.

use super::intern::Interner;
use super::layout::NodeId;
use super::pointer::array_place;
use super::scan::{self, Kind, Span};
use super::{Batch, ColumnId, Edit, Edits, OwnedValue, Packed, WriteId, render};

/// Bytes that the edits of one batch may come to, of all its events and stages together. More is
/// a wrong answer: no rule that rewrites fields of a batch needs it, and positions fit 32 bits.
pub(super) const EDIT_BYTES_MAX: usize = 1 << 28;

/// How the entries of a change spread over the events that the rule was asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread<'a> {
    /// Every event has entry 0.
    Constant,
    /// Event `i` has entry `i`.
    Identity,
    /// As a column of the batch that was prepared for this rule, and not prepared anew since.
    Column(ColumnId),
    /// Event `i` has entry `index[i]`.
    Each(&'a [u32]),
}

/// The edits of one field.
#[derive(Clone, Copy, Debug)]
pub struct FieldChange<'a> {
    /// Which field.
    pub write: WriteId,
    /// The entries.
    pub edits: &'a Edits,
    /// Which event has which of them.
    pub spread: Spread<'a>,
}

/// What is wrong with a rule's answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WrongAnswer(pub String);

fn wrong<T>(what: impl Into<String>) -> Result<T, WrongAnswer> {
    Err(WrongAnswer(what.into()))
}

/// One edit, rendered.
#[derive(Clone, Copy, Debug)]
enum Rendered {
    Leave,
    Remove,
    /// In the text of the write: `,"name":` from `start`, and the value behind it.
    Set {
        start: u32,
        value: Span,
    },
}

/// The edits of one field that are not in the texts of the events yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Pending {
    entries: Vec<Rendered>,
    text: Vec<u8>,
    /// One more than the entry of each event of the batch, 0 where there is none; empty if there
    /// are no edits at all.
    of_event: Vec<u32>,
    /// The turn of the change that first set the field, for all events.
    turn: u32,
    /// The same for each event, where changes of several turns set it.
    turns: Vec<u32>,
    removes: bool,
}

impl Pending {
    pub fn is_active(&self) -> bool {
        !self.of_event.is_empty()
    }

    /// Whether some event loses the field.
    pub fn removes(&self) -> bool {
        self.removes
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The edit that an event gets, if any.
    #[inline]
    pub fn of_event(&self, event: u32) -> Option<u32> {
        self.of_event.get(event as usize)?.checked_sub(1)
    }

    /// When the field was first set: what an event lacks is appended in this order.
    #[inline]
    pub fn turn(&self, event: u32) -> u32 {
        self.turns.get(event as usize).copied().unwrap_or(self.turn)
    }

    pub fn is_remove(&self, event: u32) -> bool {
        let edit = self.of_event(event).map(|edit| self.entries[edit as usize]);
        matches!(edit, Some(Rendered::Remove))
    }

    /// The JSON text of the value that an event gets, if it gets one, and where the text with the
    /// comma and the name before it begins.
    #[inline]
    pub fn set(&self, event: u32) -> Option<(&[u8], &[u8])> {
        match self.entries[self.of_event(event)? as usize] {
            Rendered::Set { start, value } => {
                let member = &self.text[start as usize..value.end as usize];
                Some((member, value.of(&self.text)))
            }
            Rendered::Leave | Rendered::Remove => None,
        }
    }

    /// The entry of what the field is after an edit.
    pub fn intern(&self, edit: u32, interner: &mut Interner) -> u32 {
        match self.entries[edit as usize] {
            Rendered::Set { value, .. } => interner.span(&self.text, value),
            Rendered::Leave | Rendered::Remove => interner.span(&[], Span::default()),
        }
    }

    /// Takes in more edits behind those it has; gives the number of the first.
    fn extend(&mut self, more: Answer, events: usize, turn: u32) -> u32 {
        let (first, moved) = (self.entries.len() as u32, self.text.len() as u32);
        self.removes |= more.removes();
        if !self.is_active() {
            (self.entries, self.text) = (more.entries, more.text);
            self.of_event = vec![0; events];
            self.turn = turn;
            return first;
        }
        if self.turns.is_empty() {
            let turns = self.of_event.iter().map(|&edit| if edit == 0 { turn } else { self.turn });
            self.turns = turns.collect();
        } else {
            let unset = self.of_event.iter().zip(&mut self.turns).filter(|(edit, _)| **edit == 0);
            unset.for_each(|(_, other)| *other = turn);
        }
        self.text.extend_from_slice(&more.text);
        self.entries.extend(more.entries.into_iter().map(|entry| match entry {
            Rendered::Set { start, value } => Rendered::Set {
                start: start + moved,
                value: Span { start: value.start + moved, end: value.end + moved, ..value },
            },
            other => other,
        }));
        first
    }
}

/// The checked entries of one change.
struct Answer {
    entries: Vec<Rendered>,
    text: Vec<u8>,
}

impl Answer {
    fn new(edits: &Edits, label: &[u8], depth: usize) -> Result<Self, WrongAnswer> {
        let mut answer = Self { entries: Vec::new(), text: Vec::new() };
        match edits {
            Edits::Values(edits) => {
                answer.entries.reserve(edits.len());
                for edit in edits {
                    let entry = match edit {
                        Edit::Leave => Rendered::Leave,
                        Edit::Remove => Rendered::Remove,
                        Edit::Set(value) => answer.set(label, |text| render(value, depth, text))?,
                    };
                    answer.entries.push(entry);
                }
            }
            Edits::Texts(packed) => {
                answer.entries.reserve(packed.ends.len());
                answer.text.reserve(packed.bytes.len() + packed.ends.len() * (label.len() + 3));
                for_each_text(packed, |value| {
                    let entry = answer.set(label, |text| Ok(render_text(value, text)))?;
                    answer.entries.push(entry);
                    Ok(())
                })?;
            }
        }
        Ok(answer)
    }

    #[inline]
    fn set(
        &mut self,
        label: &[u8],
        render: impl FnOnce(&mut Vec<u8>) -> Result<Kind, WrongAnswer>,
    ) -> Result<Rendered, WrongAnswer> {
        let start = self.text.len() as u32;
        self.text.push(b',');
        self.text.extend_from_slice(label);
        let value = self.text.len() as u32;
        let kind = render(&mut self.text)?;
        if self.text.len() > EDIT_BYTES_MAX {
            return too_large();
        }
        Ok(Rendered::Set { start, value: Span { start: value, end: self.text.len() as u32, kind } })
    }

    fn removes(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry, Rendered::Remove))
    }

    /// How many bytes an entry can add to its event.
    #[inline]
    fn bytes(&self, entry: u32) -> usize {
        match self.entries[entry as usize] {
            Rendered::Set { start, value } => (value.end - start) as usize,
            Rendered::Leave | Rendered::Remove => 0,
        }
    }
}

fn too_large<T>() -> Result<T, WrongAnswer> {
    wrong(format!("the edits of one batch come to more than {EDIT_BYTES_MAX} bytes"))
}

fn for_each_text(
    packed: &Packed,
    mut each: impl FnMut(&str) -> Result<(), WrongAnswer>,
) -> Result<(), WrongAnswer> {
    let Packed { bytes, ends } = packed;
    if ends.last().map_or(0, |&end| end as usize) != bytes.len() {
        return wrong("the last end of packed texts is not the length of their bytes");
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return wrong("packed texts are not UTF-8") };
    let mut start = 0;
    for &end in ends {
        let Some(text) = text.get(start..end as usize) else {
            return wrong("the ends of packed texts do not rise, or cut a character in two");
        };
        each(text)?;
        start = end as usize;
    }
    Ok(())
}

/// Appends the JSON text of a value that will stand `depth` levels deep.
fn render(value: &OwnedValue, depth: usize, text: &mut Vec<u8>) -> Result<Kind, WrongAnswer> {
    Ok(match value {
        OwnedValue::Absent => {
            return wrong("an edit sets `absent`; to take a member out, remove it");
        }
        OwnedValue::Null => {
            text.extend_from_slice(b"null");
            Kind::Null
        }
        OwnedValue::Boolean(truth) => {
            text.extend_from_slice(if *truth { b"true" } else { b"false" });
            if *truth { Kind::True } else { Kind::False }
        }
        OwnedValue::Integer(value) => {
            render::integer(*value, text);
            Kind::Integer
        }
        OwnedValue::Number(value) if !value.is_finite() => {
            return wrong(format!("an edit sets the number {value}, which JSON does not have"));
        }
        OwnedValue::Number(value) => {
            render::number(*value, text);
            Kind::Number
        }
        OwnedValue::Text(value) => render_text(value, text),
        OwnedValue::Json(json) => {
            let span = scan::value(json.as_bytes(), depth);
            let span = span.or_else(|error| wrong(format!("an edit sets {error}")))?;
            text.extend_from_slice(span.of(json.as_bytes()));
            span.kind
        }
    })
}

fn render_text(value: &str, text: &mut Vec<u8>) -> Kind {
    if render::text(value, text) { Kind::Escaped } else { Kind::Text }
}

impl Batch<'_> {
    /// Takes in the edits of one answer. `positions` are the live positions that the rule was
    /// asked about, rising, or none for all of them; a [`Spread`] counts these. A later edit of a
    /// field counts instead of an earlier one, and [`Edit::Leave`] leaves that as it is.
    ///
    /// Gives the live positions that must be rejected, rising, and why; such an event may have
    /// some of the edits already and has to be removed. If the answer is wrong, nothing is done.
    pub fn apply(
        &mut self,
        positions: Option<&[u32]>,
        changes: &[FieldChange<'_>],
    ) -> Result<Vec<(u32, String)>, WrongAnswer> {
        let events = positions.map_or(self.live.len(), <[u32]>::len);
        let mut answers = Vec::with_capacity(changes.len());
        let mut edit_bytes = self.edit_bytes;
        for (place, change) in changes.iter().enumerate() {
            if changes[..place].iter().any(|other| other.write == change.write) {
                return wrong("two changes of one field");
            }
            let node = &self.layout.nodes[self.layout.writes[change.write.0 as usize] as usize];
            let answer = Answer::new(change.edits, &node.label, node.depth.into())?;
            let bytes = self.check_spread(&answer, change.spread, events)?;
            // What is made around it where parents are missing.
            let around = events * self.layout.around(change.write);
            edit_bytes = edit_bytes.saturating_add(bytes).saturating_add(around);
            answers.push(answer);
        }
        if edit_bytes > EDIT_BYTES_MAX {
            return too_large();
        }
        self.edit_bytes = edit_bytes;
        let mut rejected = Vec::new();
        for (change, answer) in changes.iter().zip(answers) {
            self.splice_before(&self.layout.write_waits[change.write.0 as usize]);
            if answer.removes() || self.pending[change.write.0 as usize].removes() {
                // What is taken out and set again stands at the end: in that order only.
                self.splice_before(&[change.write]);
            }
            match change.spread {
                Spread::Constant => {
                    self.note(change.write, answer, events, positions, |_| 0, &mut rejected)
                }
                Spread::Identity => {
                    self.note(change.write, answer, events, positions, |i| i as u32, &mut rejected);
                }
                Spread::Each(index) => {
                    self.note(change.write, answer, events, positions, |i| index[i], &mut rejected);
                }
                Spread::Column(column) => {
                    let index = self.take_index(column);
                    self.note(change.write, answer, events, positions, |i| index[i], &mut rejected);
                    self.give_index(column, index);
                }
            }
            self.mark_edited(change.write);
        }
        rejected.sort_by_key(|(position, _)| *position);
        rejected.dedup_by_key(|(position, _)| *position);
        Ok(rejected)
    }

    /// Checks that every event has an entry; gives how many bytes those add together.
    fn check_spread(
        &self,
        answer: &Answer,
        spread: Spread<'_>,
        events: usize,
    ) -> Result<usize, WrongAnswer> {
        let entries = answer.entries.len();
        let count = |expected: usize, what: &str| {
            if entries == expected {
                return Ok(());
            }
            wrong(format!("{entries} edits where there must be {expected}, {what}"))
        };
        let index = match spread {
            Spread::Constant => {
                count(1, "one for all events")?;
                return Ok(events.saturating_mul(answer.bytes(0)));
            }
            Spread::Identity => {
                count(events, "one per event")?;
                return Ok(answer.text.len());
            }
            Spread::Column(column) => {
                let (index, distinct) = self.seen(column);
                count(distinct, "one per value of the column")?;
                index
            }
            Spread::Each(index) => index,
        };
        if index.len() != events {
            return wrong(format!("an index of {} numbers for {events} events", index.len()));
        }
        let mut bytes = 0;
        for &entry in index {
            if entry as usize >= entries {
                return wrong(format!("an index names edit {entry} of {entries}"));
            }
            bytes += answer.bytes(entry);
        }
        Ok(bytes)
    }

    /// Notes the edits of one field for the events that get one.
    fn note(
        &mut self,
        write: WriteId,
        answer: Answer,
        events: usize,
        positions: Option<&[u32]>,
        entry_of: impl Fn(usize) -> u32,
        rejected: &mut Vec<(u32, String)>,
    ) {
        let node = self.layout.writes[write.0 as usize];
        // The event itself is always an object, which takes every member.
        let nested = self.layout.nodes[node as usize].depth > 1;
        let mut pending = std::mem::take(&mut self.pending[write.0 as usize]);
        self.turn += 1;
        let first = pending.extend(answer, self.events(), self.turn);
        for i in 0..events {
            let position = positions.map_or(i as u32, |positions| positions[i]);
            let event = self.live[position as usize];
            let entry = first + entry_of(i);
            match pending.entries[entry as usize] {
                Rendered::Leave => continue,
                Rendered::Set { .. } if nested => {
                    if let Some(reason) = self.refusal(event, node) {
                        rejected.push((position, reason));
                        continue;
                    }
                }
                _ => {}
            }
            pending.of_event[event as usize] = entry + 1;
        }
        self.pending[write.0 as usize] = pending;
    }

    /// Why a member or element cannot be set in an event, if so.
    fn refusal(&self, event: u32, node: NodeId) -> Option<String> {
        let (nodes, spans) = (&self.layout.nodes, self.spans(event));
        if spans[node as usize].is_present() {
            return None;
        }
        let mut top = node;
        let parent = loop {
            let parent = nodes[top as usize].parent;
            if spans[parent as usize].is_present() {
                break parent;
            }
            top = parent;
        };
        let token = &nodes[top as usize].token;
        let place = || self.layout.pointer(node);
        match spans[parent as usize].kind {
            Kind::Object => None,
            Kind::Array if token == "-" => None,
            Kind::Array => {
                let mut length = 0;
                scan::items(self.text(event), spans[parent as usize], |_| length += 1);
                let fits = array_place(token) == Some(length);
                (!fits).then(|| {
                    format!(
                        "{:?} cannot be set: {token:?} is no place in an array of {length}",
                        place()
                    )
                })
            }
            _ => Some(format!(
                "{:?} cannot be set: {:?} is neither object nor array",
                place(),
                self.layout.pointer(parent)
            )),
        }
    }
}
