//! Where several columns decide: bits per distinct value of each column, combined per event.

use crate::{Batch, Change, Edit, Edits, Fate, Fates, Index, OwnedValue, answer};

/// What the distinct values of one column stand for: 64 yes-or-no answers each.
#[derive(Clone, Debug, PartialEq)]
pub struct Bits {
    /// The number of the column.
    pub column: u32,
    /// One entry per distinct value of it.
    pub bits: Vec<u64>,
}

/// The different combinations of bits that events have, and which event has which.
#[derive(Clone, Debug, PartialEq)]
pub struct Combined {
    /// The combinations. At least one; not all of them need to be in use.
    pub bits: Vec<u64>,
    /// Which event has which.
    pub index: Index,
}

impl Combined {
    /// The fate of each event from its bits; `None` if all are kept.
    pub fn fates(&self, mut fate: impl FnMut(u64) -> Fate) -> Option<Fates> {
        let entries = self.bits.iter().map(|&bits| fate(bits)).collect();
        answer::fates(entries, self.index.clone())
    }

    /// Gives a field of each event the value that its bits stand for.
    pub fn change(&self, write: u32, mut value: impl FnMut(u64) -> OwnedValue) -> Change {
        let edits = self.bits.iter().map(|&bits| Edit::Set(value(bits))).collect();
        Change { write, edits: Edits::Values(edits), index: self.index.clone() }
    }
}

/// Joins, for each event, the bits of its values with "or".
///
/// Columns whose distinct values all stand for the same bits cost nothing per event, and where at
/// most one column is left the answer has no list per event at all.
pub fn combine(batch: &Batch<'_>, parts: &[Bits]) -> Combined {
    let same = |part: &Bits| part.bits.windows(2).all(|pair| pair[0] == pair[1]);
    let shared = (parts.iter().filter(|part| same(part)))
        .fold(0, |bits, part| bits | part.bits.first().copied().unwrap_or(0));
    let deciding: Vec<&Bits> = parts.iter().filter(|part| !same(part)).collect();
    match deciding.as_slice() {
        [] => Combined { bits: vec![shared], index: Index::Constant },
        [one] => Combined {
            bits: one.bits.iter().map(|bits| bits | shared).collect(),
            index: Index::AsColumn(one.column),
        },
        several => distinct(per_event(batch, several, shared)),
    }
}

fn per_event(batch: &Batch<'_>, parts: &[&Bits], shared: u64) -> Vec<u64> {
    let mut events = vec![shared; batch.events as usize];
    for part in parts {
        let index = batch.column(part.column).index();
        for (event, &entry) in events.iter_mut().zip(index) {
            *event |= part.bits[entry as usize];
        }
    }
    events
}

fn distinct(events: Vec<u64>) -> Combined {
    let mut bits: Vec<u64> = Vec::new();
    let mut places = hashbrown::HashMap::with_hasher(foldhash::fast::FixedState::default());
    let mut last = (0, None);
    let index = events.iter().map(|&event| {
        // Neighbours mostly share their bits; the table is for where they do not.
        if let (before, Some(place)) = last
            && before == event
        {
            return place;
        }
        let place = *places.entry(event).or_insert_with(|| {
            bits.push(event);
            bits.len() as u32 - 1
        });
        last = (event, Some(place));
        place
    });
    let index = Index::Each(index.collect());
    Combined { bits, index }
}
