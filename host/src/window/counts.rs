//! The counts of one open window.

use hashbrown::HashTable;

use super::keys;

/// What an open key takes besides its text: its entry, its place in the table and in the list of
/// changes, and the allocator's share.
const KEY_OVERHEAD: usize = 80;

/// Memory that a key of this text takes, estimated.
pub(super) fn key_bytes(key: &str) -> usize {
    key.len() + KEY_OVERHEAD
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Box<str>,
    hash: u64,
    pub(super) count: u64,
    /// Whether it is in `changed`.
    is_changed: bool,
    /// Whether the state topic has a record of it, which closing must delete.
    pub(super) is_stored: bool,
}

/// Keys and their counts, and which of them changed since the last commit.
#[derive(Debug, Default)]
pub(super) struct Counts {
    table: HashTable<u32>,
    entries: Vec<Entry>,
    changed: Vec<u32>,
}

impl Counts {
    /// Adds to a key's count; says whether the key is new.
    pub(super) fn add(&mut self, hash: u64, key: &str, count: u64) -> bool {
        if let Some(&place) = self.find(hash, key) {
            let entry = &mut self.entries[place as usize];
            entry.count += count;
            if !entry.is_changed {
                entry.is_changed = true;
                self.changed.push(place);
            }
            return false;
        }
        let place = self.push(key.into(), hash, count, false);
        self.changed.push(place);
        true
    }

    /// Puts a key in as the state topic has it; it must not be there yet.
    pub(super) fn restore(&mut self, key: Box<str>, count: u64) {
        let hash = keys::hash(&key);
        self.push(key, hash, count, true);
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    pub(super) fn has_changes(&self) -> bool {
        !self.changed.is_empty()
    }

    /// What changed since the last call, which counts as stored from now on.
    pub(super) fn take_changed(&mut self, mut each: impl FnMut(&str, u64)) {
        for place in self.changed.drain(..) {
            let entry = &mut self.entries[place as usize];
            entry.is_changed = false;
            entry.is_stored = true;
            each(&entry.key, entry.count);
        }
    }

    fn find(&self, hash: u64, key: &str) -> Option<&u32> {
        self.table.find(hash, |&place| *self.entries[place as usize].key == *key)
    }

    fn push(&mut self, key: Box<str>, hash: u64, count: u64, is_stored: bool) -> u32 {
        let place = self.entries.len() as u32;
        self.entries.push(Entry { key, hash, count, is_changed: !is_stored, is_stored });
        let entries = &self.entries;
        self.table.insert_unique(hash, place, |&place| entries[place as usize].hash);
        place
    }
}
