//! The groups of one open slice.

use hashbrown::HashTable;

use super::accumulate::{Accumulator, PartKind};
use super::keys;
use super::marks::Marks;

/// What an open key takes besides its text and its accumulator's parts: its entry, its place in
/// the table and in the list of changes, and the allocator's share.
const KEY_OVERHEAD: usize = 88;

#[derive(Debug)]
pub(super) struct Group {
    pub(super) key: Box<str>,
    hash: u64,
    pub(super) accumulator: Accumulator,
    pub(super) marks: Marks,
}

/// Groups and their accumulators, and which of them changed since the last commit.
#[derive(Debug, Default)]
pub(super) struct Groups {
    table: HashTable<u32>,
    entries: Vec<Group>,
    changed: Vec<u32>,
    unsent: Vec<u32>,
    bytes: usize,
}

impl Groups {
    /// Adds to a group. `is_sending` says whether what changes is to be sent as an update.
    pub(super) fn merge(
        &mut self,
        kinds: &[PartKind],
        key: &str,
        accumulator: Accumulator,
        is_sending: bool,
    ) {
        let hash = keys::hash(key);
        let found = self.table.find(hash, |&place| *self.entries[place as usize].key == *key);
        let place = match found {
            Some(&place) => {
                let group = &mut self.entries[place as usize];
                let before = group.accumulator.bytes();
                group.accumulator.merge(kinds, &accumulator);
                self.bytes = self.bytes + group.accumulator.bytes() - before;
                place
            }
            None => self.push(key.into(), hash, accumulator),
        };
        let marks = &mut self.entries[place as usize].marks;
        if !marks.is_changed {
            marks.is_changed = true;
            self.changed.push(place);
        }
        if is_sending && !marks.is_unsent {
            marks.is_unsent = true;
            self.unsent.push(place);
        }
    }

    /// Puts a group in as the state topic has it; it must not be there yet.
    pub(super) fn restore(&mut self, key: Box<str>, accumulator: Accumulator) {
        let hash = keys::hash(&key);
        let place = self.push(key, hash, accumulator);
        self.entries[place as usize].marks = Marks::RESTORED;
    }

    pub(super) fn get(&self, key: &str) -> Option<&Accumulator> {
        let hash = keys::hash(key);
        let place = self.table.find(hash, |&place| *self.entries[place as usize].key == *key)?;
        Some(&self.entries[*place as usize].accumulator)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Memory, estimated.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Group> {
        self.entries.iter()
    }

    pub(super) fn into_groups(self) -> Vec<Group> {
        self.entries
    }

    pub(super) fn has_changes(&self) -> bool {
        !self.changed.is_empty()
    }

    /// What changed since the last call, which counts as stored from now on.
    pub(super) fn take_changed(&mut self, mut each: impl FnMut(&str, &Accumulator)) {
        for place in self.changed.drain(..) {
            let group = &mut self.entries[place as usize];
            group.marks.is_changed = false;
            group.marks.is_stored = true;
            each(&group.key, &group.accumulator);
        }
    }

    /// What is to be sent since the last call, which counts as sent from now on.
    pub(super) fn take_unsent(&mut self, mut each: impl FnMut(&str, &Accumulator)) {
        for place in self.unsent.drain(..) {
            let group = &mut self.entries[place as usize];
            group.marks.is_unsent = false;
            group.marks.is_sent = true;
            each(&group.key, &group.accumulator);
        }
    }

    fn push(&mut self, key: Box<str>, hash: u64, accumulator: Accumulator) -> u32 {
        let place = self.entries.len() as u32;
        self.bytes += key.len() + KEY_OVERHEAD + accumulator.bytes();
        self.entries.push(Group { key, hash, accumulator, marks: Marks::default() });
        let entries = &self.entries;
        self.table.insert_unique(hash, place, |&place| entries[place as usize].hash);
        place
    }
}
