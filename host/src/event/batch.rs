//! The events of a chain segment: decoded once, read as columns, dropped, written at the end.

use super::edits::Pending;
use super::intern::Interner;
use super::layout::{ColumnId, FieldId, Layout, Origin, WriteId};
use super::scan::{self, Kind, Span};
use super::{Column, EventInput, Invalid, Value, text};

/// What a column is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// To be built from the texts; its index still says what the rule saw that was asked last.
    #[default]
    Stale,
    /// Its dictionary may hold values that only dropped events have.
    Dropped,
    /// The field was written since.
    Edited,
    /// Exactly the values of the live events.
    Current,
}

/// The decoded events of one chain segment. Events are numbered as they came in; positions count
/// those that are still live.
#[derive(Debug)]
pub struct Batch<'a> {
    pub(super) layout: &'a Layout,
    inputs: &'a [EventInput<'a>],
    /// Texts that took in edits before the end; empty until there is one.
    replaced: Vec<Option<Box<[u8]>>>,
    /// A place for each node of each event.
    spans: Vec<Span>,
    invalid: Vec<(u32, Invalid)>,
    pub(super) live: Vec<u32>,
    columns: Vec<(Column, State)>,
    /// The edits of each write that are not in the texts yet.
    pub(super) pending: Vec<Pending>,
    /// Bytes that edits may have added so far, of all events together.
    pub(super) edit_bytes: usize,
    /// How many changes were taken in.
    pub(super) turn: u32,
    pub(super) splicer: super::splice::Splicer,
}

impl<'a> Batch<'a> {
    /// Decodes events, each in one pass. Those that are no valid JSON object are in
    /// [`Batch::invalid`] and not live. The texts of a batch must be less than 2 GiB together.
    pub fn decode(layout: &'a Layout, inputs: &'a [EventInput<'a>]) -> Self {
        let nodes = layout.nodes.len();
        let mut batch = Self {
            layout,
            inputs,
            replaced: Vec::new(),
            spans: vec![Span::default(); inputs.len() * nodes],
            invalid: Vec::new(),
            live: Vec::with_capacity(inputs.len()),
            columns: vec![(Column::default(), State::Stale); layout.columns.len()],
            pending: vec![Pending::default(); layout.writes.len()],
            edit_bytes: 0,
            turn: 0,
            splicer: Default::default(),
        };
        let spans = batch.spans.chunks_exact_mut(nodes);
        for ((event, input), spans) in (0..).zip(inputs).zip(spans) {
            match scan::event(input.text, layout, spans) {
                Ok(()) => batch.live.push(event),
                Err(reason) => batch.invalid.push((event, reason)),
            }
        }
        batch
    }

    /// The events whose text is no event, and why, in order.
    pub fn invalid(&self) -> &[(u32, Invalid)] {
        &self.invalid
    }

    /// The numbers of the events that are still going, rising. Positions are places in it.
    pub fn live(&self) -> &[u32] {
        &self.live
    }

    /// A field of an event (a number of [`Batch::live`]) as it came in: call it before the first
    /// edit. `scratch` takes the characters of a text that has escapes.
    pub fn value<'s>(&'s self, field: FieldId, event: u32, scratch: &'s mut String) -> Value<'s> {
        let span = self.spans(event)[self.layout.fields[field.0 as usize] as usize];
        let raw = span.of(self.text(event));
        let valid = |text| std::str::from_utf8(text).expect("the scan of the event checked it");
        match span.kind {
            Kind::Absent => Value::Absent,
            Kind::Null => Value::Null,
            Kind::True => Value::Boolean(true),
            Kind::False => Value::Boolean(false),
            Kind::Text => Value::Text(valid(&raw[1..raw.len() - 1])),
            Kind::Integer | Kind::Number => {
                let integer = if span.kind == Kind::Integer { text::integer(raw) } else { None };
                let number = || text::number(raw).map(Value::Number);
                integer.map(Value::Integer).or_else(number).unwrap_or(Value::Json(valid(raw)))
            }
            Kind::Escaped => {
                scratch.clear();
                let whole = text::unescape(&raw[1..raw.len() - 1], scratch);
                if whole { Value::Text(scratch) } else { Value::Json(valid(raw)) }
            }
            Kind::Object | Kind::Array => Value::Json(valid(raw)),
        }
    }

    /// Makes these columns ready to be read: exactly the values of the live events, each once, in
    /// order of first appearance. Costs nothing for those that are.
    pub fn prepare(&mut self, columns: &[ColumnId]) {
        let layout = self.layout;
        for &ColumnId(id) in columns {
            self.splice_before(&layout.column_waits[id as usize]);
        }
        for &ColumnId(id) in columns {
            let (mut column, state) = std::mem::take(&mut self.columns[id as usize]);
            column = match state {
                State::Current => column,
                State::Stale => self.build(id as usize),
                State::Dropped => prune(column),
                State::Edited => self.follow(&column, id as usize),
            };
            self.columns[id as usize] = (column, State::Current);
        }
    }

    /// A column that was prepared since events were last dropped or edited.
    pub fn column(&self, column: ColumnId) -> &Column {
        let (column, state) = &self.columns[column.0 as usize];
        debug_assert_eq!(*state, State::Current, "a column is prepared before it is read");
        column
    }

    /// Prepared columns as they are for some live positions only, which must rise.
    pub fn subset(&self, columns: &[ColumnId], positions: &[u32]) -> Vec<Column> {
        let part = |&column: &ColumnId| {
            let whole = self.column(column);
            renumber(whole, positions.iter().map(|&position| whole.index[position as usize]))
        };
        columns.iter().map(part).collect()
    }

    /// Drops the events at the live positions for which `keep` says no.
    pub fn retain(&mut self, mut keep: impl FnMut(u32) -> bool) {
        let before = self.live.len();
        let kept: Vec<u32> = (0..before as u32).filter(|&position| keep(position)).collect();
        if kept.len() == before {
            return;
        }
        compact(&mut self.live, &kept);
        for (column, state) in &mut self.columns {
            if column.index.len() == before {
                compact(&mut column.index, &kept);
                *state = if *state == State::Current { State::Dropped } else { *state };
            }
        }
    }

    /// Drops the events at these live positions, which must rise.
    pub fn remove(&mut self, positions: &[u32]) {
        let mut rest = positions;
        self.retain(|position| {
            let removed = rest.first() == Some(&position);
            rest = &rest[usize::from(removed)..];
            !removed
        });
    }

    /// The text of an event as far as edits are in it.
    pub(super) fn text(&self, event: u32) -> &[u8] {
        match self.replaced.get(event as usize) {
            Some(Some(text)) => text,
            _ => self.inputs[event as usize].text,
        }
    }

    /// Whether edits are in the text of an event already.
    pub(super) fn is_replaced(&self, event: u32) -> bool {
        matches!(self.replaced.get(event as usize), Some(Some(_)))
    }

    pub(super) fn spans(&self, event: u32) -> &[Span] {
        let nodes = self.layout.nodes.len();
        &self.spans[event as usize * nodes..][..nodes]
    }

    /// The column's index as the rule saw it, and how many entries it had.
    pub(super) fn seen(&self, column: ColumnId) -> (&[u32], usize) {
        let (column, _) = &self.columns[column.0 as usize];
        (&column.index, column.len())
    }

    /// How many events there were at first.
    pub(super) fn events(&self) -> usize {
        self.inputs.len()
    }

    /// Lends out the index of a column while edits are noted along it.
    pub(super) fn take_index(&mut self, column: ColumnId) -> Vec<u32> {
        std::mem::take(&mut self.columns[column.0 as usize].0.index)
    }

    /// Gives it back.
    pub(super) fn give_index(&mut self, column: ColumnId, index: Vec<u32>) {
        self.columns[column.0 as usize].0.index = index;
    }

    /// The column of a written field has to follow.
    pub(super) fn mark_edited(&mut self, write: WriteId) {
        for (place, (_, state)) in self.columns.iter_mut().enumerate() {
            let follows = self.layout.column_write[place] == Some(write);
            if follows && *state != State::Stale {
                *state = State::Edited;
            }
        }
    }

    /// If one of these writes has edits that are not in the texts yet, splices all edits and
    /// finds all places again.
    pub(super) fn splice_before(&mut self, waits: &[WriteId]) {
        if !waits.iter().any(|&WriteId(write)| self.pending[write as usize].is_active()) {
            return;
        }
        let layout = self.layout;
        let nodes = layout.nodes.len();
        self.replaced.resize_with(self.inputs.len(), || None);
        let mut splicer = std::mem::take(&mut self.splicer);
        let mut text = Vec::new();
        for place in 0..self.live.len() {
            let event = self.live[place];
            text.clear();
            if !splicer.splice(self, event, &mut text) {
                continue;
            }
            let spans = &mut self.spans[event as usize * nodes..][..nodes];
            spans.fill(Span::default());
            scan::event(&text, layout, spans).expect("edits keep an event valid");
            self.replaced[event as usize] = Some(text.as_slice().into());
        }
        self.splicer = splicer;
        for (write, pending) in self.pending.iter_mut().enumerate() {
            if !pending.is_active() {
                continue;
            }
            *pending = Pending::default();
            let write = WriteId(write as u16);
            for (column, (_, state)) in self.columns.iter_mut().enumerate() {
                let follows = layout.column_write[column] == Some(write);
                if follows || layout.column_waits[column].contains(&write) {
                    *state = State::Stale;
                }
            }
        }
    }

    /// A column from the texts and what was written since.
    fn build(&self, id: usize) -> Column {
        let mut interner = Interner::new(self.live.len());
        match &self.layout.columns[id] {
            Origin::Field(node) => self.build_field(*node as usize, &mut interner),
            Origin::Timestamp => {
                self.build_input(&mut interner, |input| {
                    input.timestamp.map_or(Value::Absent, Value::Integer)
                });
            }
            Origin::Key => self.build_input(&mut interner, |input| text_or_absent(input.key)),
            Origin::Header(name) => self.build_input(&mut interner, |input| {
                let last = input.headers.iter().rev().find(|header| header.name == *name);
                text_or_absent(last.and_then(|header| header.value))
            }),
        }
        let column = interner.finish();
        if self.written(id).is_some() { self.follow(&column, id) } else { column }
    }

    fn build_field(&self, node: usize, interner: &mut Interner) {
        let nodes = self.layout.nodes.len();
        for &event in &self.live {
            let span = self.spans[event as usize * nodes + node];
            let entry = interner.span(self.text(event), span);
            interner.next(entry);
        }
    }

    fn build_input<'s>(
        &'s self,
        interner: &mut Interner,
        value: impl Fn(&EventInput<'s>) -> Value<'s>,
    ) {
        for &event in &self.live {
            let entry = interner.value(value(&self.inputs[event as usize]));
            interner.next(entry);
        }
    }

    /// The edits of the column's own field.
    fn written(&self, id: usize) -> Option<&Pending> {
        let WriteId(write) = self.layout.column_write[id]?;
        Some(&self.pending[write as usize]).filter(|pending| pending.is_active())
    }

    /// A column as edits of its field leave it: each old entry and each edit is looked at once.
    fn follow(&self, old: &Column, id: usize) -> Column {
        let Some(pending) = self.written(id) else { return prune(old.clone()) };
        let mut interner = Interner::new(self.live.len());
        let mut old_entries = vec![u32::MAX; old.len()];
        let mut edited = vec![u32::MAX; pending.len()];
        for (&event, &entry) in self.live.iter().zip(&old.index) {
            let new = match pending.of_event(event) {
                Some(edit) => {
                    let new = &mut edited[edit as usize];
                    if *new == u32::MAX {
                        *new = pending.intern(edit, &mut interner);
                    }
                    new
                }
                None => {
                    let new = &mut old_entries[entry as usize];
                    if *new == u32::MAX {
                        *new = interner.value(old.value(entry as usize));
                    }
                    new
                }
            };
            interner.next(*new);
        }
        interner.finish()
    }
}

/// What is left of a list when only these places are kept.
fn compact(list: &mut Vec<u32>, kept: &[u32]) {
    for (place, &from) in kept.iter().enumerate() {
        list[place] = list[from as usize];
    }
    list.truncate(kept.len());
}

/// The column without the entries that no event has.
fn prune(column: Column) -> Column {
    let mut next = 0;
    // Nothing to do where every entry is still there and first appears in its place.
    for &entry in &column.index {
        if entry > next {
            return renumber(&column, column.index.iter().copied());
        }
        next += u32::from(entry == next);
    }
    if next as usize == column.len() {
        return column;
    }
    renumber(&column, column.index.iter().copied())
}

/// A column of some entries of another.
fn renumber(column: &Column, index: impl ExactSizeIterator<Item = u32>) -> Column {
    let mut part = Column::for_events(index.len());
    let mut entries = vec![u32::MAX; column.len()];
    for entry in index {
        let new = &mut entries[entry as usize];
        if *new == u32::MAX {
            *new = part.len() as u32;
            part.push(column.value(entry as usize));
        }
        part.index.push(*new);
    }
    part
}

fn text_or_absent(bytes: Option<&[u8]>) -> Value<'_> {
    bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()).map_or(Value::Absent, Value::Text)
}
