//! Answers that are given once per distinct value of a column.

use std::fmt;

use crate::{Batch, Change, Edit, Edits, Fate, Fates, Index, OwnedValue, Packed, Value};

/// Keeps the events whose value in this column passes the test, and drops the others.
pub fn keep_where(
    batch: &Batch<'_>,
    column: u32,
    mut passes: impl FnMut(Value<'_>) -> bool,
) -> Option<Fates> {
    fates_by_value(batch, column, |value| if passes(value) { Fate::Keep } else { Fate::Drop })
}

/// The fate of each event from its value in this column; `None` if all are kept.
pub fn fates_by_value(
    batch: &Batch<'_>,
    column: u32,
    fate: impl FnMut(Value<'_>) -> Fate,
) -> Option<Fates> {
    let entries: Vec<Fate> = batch.column(column).values().map(fate).collect();
    fates(entries, Index::AsColumn(column))
}

/// The fates, or `None`, the cheapest answer, if all are kept.
pub(crate) fn fates(entries: Vec<Fate>, index: Index) -> Option<Fates> {
    let kept = entries.iter().all(|fate| matches!(fate, Fate::Keep));
    (!kept).then_some(Fates { entries, index })
}

/// Edits a field by the value in a column: `edit` is called once per distinct value and says
/// exactly one edit to the list. `None` if every one of them leaves the field alone.
pub fn change_by_value(
    batch: &Batch<'_>,
    column: u32,
    write: u32,
    mut edit: impl FnMut(Value<'_>, &mut EditList),
) -> Option<Change> {
    let column_of = batch.column(column);
    let mut list = EditList::with_capacity(column_of.len());
    for value in column_of.values() {
        edit(value, &mut list);
    }
    list.change(write, Index::AsColumn(column))
}

/// Gives a field of every event the same value.
pub fn change_constant(write: u32, value: OwnedValue) -> Change {
    Change { write, edits: Edits::Values(vec![Edit::Set(value)]), index: Index::Constant }
}

/// Edits in the making: in one buffer while all of them set texts, a list from the first other on.
#[derive(Debug, Default)]
pub struct EditList {
    text: String,
    ends: Vec<u32>,
    /// In use, in place of the above, from the first edit on that sets no text.
    values: Option<Vec<Edit>>,
    leaves: usize,
}

impl EditList {
    /// An empty list with room for this many edits.
    pub fn with_capacity(edits: usize) -> Self {
        Self { ends: Vec::with_capacity(edits), ..Self::default() }
    }

    /// How many edits were said.
    pub fn len(&self) -> usize {
        self.values.as_ref().map_or(self.ends.len(), Vec::len)
    }

    /// Whether none was said.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The field gets this text.
    pub fn text(&mut self, text: &str) {
        self.write(|buffer| buffer.push_str(text));
    }

    /// The field gets this text, without a copy of it being made first.
    pub fn format(&mut self, text: fmt::Arguments<'_>) {
        self.write(|buffer| {
            fmt::write(buffer, text).expect("a display that fails for no reason is a bug");
        });
    }

    /// The field gets the text that is appended to the buffer.
    pub fn write(&mut self, append: impl FnOnce(&mut String)) {
        if let Some(values) = &mut self.values {
            let mut text = String::new();
            append(&mut text);
            values.push(Edit::Set(OwnedValue::Text(text)));
        } else {
            append(&mut self.text);
            self.ends.push(self.text.len() as u32);
        }
    }

    /// The field gets this value.
    pub fn set(&mut self, value: OwnedValue) {
        match value {
            OwnedValue::Text(text) => self.text(&text),
            value => self.push(Edit::Set(value)),
        }
    }

    /// The field is taken out.
    pub fn remove(&mut self) {
        self.push(Edit::Remove);
    }

    /// The field stays as it is, byte for byte.
    pub fn leave(&mut self) {
        self.leaves += 1;
        self.push(Edit::Leave);
    }

    /// The change of a field by these edits; `None` if all of them leave it alone.
    pub fn change(self, write: u32, index: Index) -> Option<Change> {
        if self.leaves == self.len() {
            return None;
        }
        let edits = match self.values {
            Some(values) => Edits::Values(values),
            None => Edits::Texts(Packed { bytes: self.text.into_bytes(), ends: self.ends }),
        };
        Some(Change { write, edits, index })
    }

    fn push(&mut self, edit: Edit) {
        let (text, ends) = (&self.text, &self.ends);
        let values = self.values.get_or_insert_with(|| {
            let mut values = Vec::with_capacity(ends.capacity());
            let mut start = 0;
            for &end in ends {
                let text = text[start..end as usize].to_owned();
                values.push(Edit::Set(OwnedValue::Text(text)));
                start = end as usize;
            }
            values
        });
        values.push(edit);
    }
}
