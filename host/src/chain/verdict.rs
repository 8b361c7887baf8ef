//! A rule's answer, held against the contract of the WIT and put in the batch's terms. What it
//! wants written is checked by the batch itself.

use std::ops::Range;

use crate::event::{
    Change, Column, ColumnId, Edits, Fate, Fates, FieldChange, Index, Spread, Verdict, WriteId,
};

/// A stage's events that do not go on: the position, and the reason unless it is dropped on purpose.
pub(super) type Gone = Vec<(u32, Option<String>)>;

/// The positions of one call, these neighbouring ones, whose fate is not to be kept.
pub(super) fn gone(
    fates: &Fates,
    columns: &[&Column],
    range: Range<usize>,
) -> Result<Gone, String> {
    let (entries, events, first) = (&fates.entries, range.len(), range.start as u32);
    let count = |expected: usize, what: &str| {
        if entries.len() == expected {
            return Ok(());
        }
        Err(format!("{} fates where there must be {expected}, {what}", entries.len()))
    };
    let index = match &fates.index {
        Index::Constant => {
            count(1, "one for all events")?;
            if entries[0] == Fate::Keep {
                return Ok(Vec::new());
            }
            return Ok((0..events)
                .filter_map(|event| not_kept(&entries[0], first, event))
                .collect());
        }
        Index::Identity => {
            count(events, "one per event")?;
            let fates = entries.iter().enumerate();
            return Ok(fates.filter_map(|(event, fate)| not_kept(fate, first, event)).collect());
        }
        Index::AsColumn(column) => {
            let Some(column) = columns.get(*column as usize) else {
                return Err(no_column(*column, columns.len()));
            };
            count(column.len(), "one per value of the column")?;
            column.index()
        }
        Index::Each(index) => {
            if index.len() != events {
                return Err(format!("an index of {} numbers for {events} events", index.len()));
            }
            if let Some(entry) = index.iter().find(|&&entry| entry as usize >= entries.len()) {
                return Err(format!("an index names fate {entry} of {}", entries.len()));
            }
            index
        }
    };
    if entries.iter().all(|fate| *fate == Fate::Keep) {
        return Ok(Vec::new());
    }
    let fates = index.iter().enumerate();
    Ok(fates
        .filter_map(|(event, &entry)| not_kept(&entries[entry as usize], first, event))
        .collect())
}

fn not_kept(fate: &Fate, first: u32, event: usize) -> Option<(u32, Option<String>)> {
    let position = first + event as u32;
    match fate {
        Fate::Keep => None,
        Fate::Drop => Some((position, None)),
        Fate::Reject(reason) => Some((position, Some(reason.clone()))),
    }
}

/// The changes of an answer in the batch's terms. `columns` are those of the plan; `parts` are
/// those that the call saw where it was not about all events of the batch.
pub(super) fn changes<'v>(
    verdict: &'v Verdict,
    writes: &[WriteId],
    columns: &[ColumnId],
    parts: Option<&'v [Column]>,
) -> Result<Vec<FieldChange<'v>>, String> {
    let change = |change: &'v Change| {
        let Some(&write) = writes.get(change.write as usize) else {
            let (write, writes) = (change.write, writes.len());
            return Err(format!("a change of field {write}, the plan writes {writes}"));
        };
        let spread = match &change.index {
            Index::Constant => Spread::Constant,
            Index::Identity => Spread::Identity,
            Index::Each(index) => Spread::Each(index),
            Index::AsColumn(column) if *column as usize >= columns.len() => {
                return Err(no_column(*column, columns.len()));
            }
            Index::AsColumn(column) => match parts {
                None => Spread::Column(columns[*column as usize]),
                Some(parts) => {
                    let column = &parts[*column as usize];
                    if entries(&change.edits) != column.len() {
                        return Err(format!(
                            "{} edits where there must be {}, one per value of the column",
                            entries(&change.edits),
                            column.len()
                        ));
                    }
                    Spread::Each(column.index())
                }
            },
        };
        Ok(FieldChange { write, edits: &change.edits, spread })
    };
    verdict.changes.iter().map(change).collect()
}

fn entries(edits: &Edits) -> usize {
    match edits {
        Edits::Values(values) => values.len(),
        Edits::Texts(packed) => packed.ends.len(),
    }
}

fn no_column(column: u32, columns: usize) -> String {
    format!("an answer as column {column}, the plan reads {columns}")
}
