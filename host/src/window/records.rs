//! Keys and values for a topic, many in one buffer.

/// Records to be produced, in order. Used again for every commit, it allocates nothing new.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    bytes: Vec<u8>,
    ends: Vec<(usize, Option<usize>)>,
}

impl Records {
    /// Each key with its value; no value is a tombstone.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let mut start = 0;
        self.ends.iter().map(move |&(key_end, value_end)| {
            let key = &self.bytes[start..key_end];
            let value = value_end.map(|end| &self.bytes[key_end..end]);
            start = value_end.unwrap_or(key_end);
            (key, value)
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Takes all out; the memory stays for the next ones.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Adds a record whose key and value are appended to the buffer by these functions.
    pub(super) fn push(
        &mut self,
        key: impl FnOnce(&mut Vec<u8>),
        value: impl FnOnce(&mut Vec<u8>),
    ) {
        key(&mut self.bytes);
        let key_end = self.bytes.len();
        value(&mut self.bytes);
        self.ends.push((key_end, Some(self.bytes.len())));
    }

    /// Adds a tombstone.
    pub(super) fn push_tombstone(&mut self, key: impl FnOnce(&mut Vec<u8>)) {
        key(&mut self.bytes);
        self.ends.push((self.bytes.len(), None));
    }

    /// Moves all of another's records to the end of these.
    pub(super) fn append(&mut self, other: &mut Records) {
        let shift = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        self.ends.extend(
            other.ends.iter().map(|&(key, value)| (key + shift, value.map(|end| end + shift))),
        );
        other.clear();
    }
}
