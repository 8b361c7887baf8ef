//! Records that could not be written. A delivery error fails the whole transaction; what is known
//! here lets its repetition go past the record, instead of failing for ever.

use std::collections::HashMap;

/// How much of its original a dead letter holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cut {
    /// Key, value and headers.
    #[default]
    Whole,
    /// No headers, no key, and the first [`Cut::FIRST_BYTES`] of the value.
    First,
    /// Only the host's own headers.
    Nothing,
}

impl Cut {
    /// What a dead letter keeps of a value that does not fit.
    pub const FIRST_BYTES: usize = 64 * 1024;
}

/// What is known of one input record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Poisoned {
    /// It was in a request that failed and held other records as well: send it by itself.
    pub is_suspect: bool,
    /// What becomes of it does not fit its topic: it is a dead letter.
    pub too_large: bool,
    /// How its dead letter is to be written.
    pub cut: Cut,
}

/// Which record a delivery failure belongs to: the tag that was given to the producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag {
    /// The input partition.
    pub partition: i32,
    /// The offset there.
    pub offset: i64,
    /// Whether it was the record's dead letter.
    pub is_dead_letter: bool,
}

impl Tag {
    /// What is sent without belonging to one record: window results and state.
    pub const NONE: u64 = u64::MAX;
    const OFFSET_BITS: u32 = 47;

    /// One number. Kafka's partitions fit 15 bits in practice; 47 bits of offsets last for 4,000
    /// years at a thousand records a second.
    pub fn pack(self) -> u64 {
        let offset = self.offset as u64 & ((1 << Self::OFFSET_BITS) - 1);
        u64::from(self.is_dead_letter) << 63
            | (self.partition as u64 & 0x7fff) << Self::OFFSET_BITS
            | offset
    }

    /// The record again; none for [`Tag::NONE`].
    pub fn unpack(tag: u64) -> Option<Self> {
        (tag != Self::NONE).then_some(Self {
            partition: (tag >> Self::OFFSET_BITS & 0x7fff) as i32,
            offset: (tag & ((1 << Self::OFFSET_BITS) - 1)) as i64,
            is_dead_letter: tag >> 63 == 1,
        })
    }
}

/// All records that are known not to fit. Empty but for moments.
#[derive(Debug, Default)]
pub struct Poison(HashMap<(i32, i64), Poisoned>);

impl Poison {
    /// What is known of a record.
    pub fn get(&self, partition: i32, offset: i64) -> Option<Poisoned> {
        if self.0.is_empty() { None } else { self.0.get(&(partition, offset)).copied() }
    }

    /// Learns from records that the broker, or the client, refused as too large. False if one of
    /// them cannot be made smaller any more: its dead letter holds nothing but headers already.
    pub fn learn(&mut self, mut refused: Vec<Tag>) -> bool {
        refused.sort_unstable();
        refused.dedup();
        // A broker refuses a request as a whole. One record in it is the guilty one; of many it is
        // not known which, and each is sent by itself the next time.
        let is_alone = refused.len() == 1;
        let mut is_hopeless = false;
        for tag in refused {
            let known = self.0.entry((tag.partition, tag.offset)).or_default();
            if !is_alone && !known.is_suspect {
                known.is_suspect = true;
            } else if tag.is_dead_letter {
                is_hopeless |= known.cut == Cut::Nothing;
                known.cut = if known.cut == Cut::Whole { Cut::First } else { Cut::Nothing };
            } else {
                known.too_large = true;
            }
        }
        !is_hopeless
    }

    /// Forgets what is committed.
    pub fn forget_below(&mut self, partition: i32, next_offset: i64) {
        if !self.0.is_empty() {
            self.0.retain(|&(of, offset), _| of != partition || offset >= next_offset);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(offset: i64, is_dead_letter: bool) -> Tag {
        Tag { partition: 3, offset, is_dead_letter }
    }

    #[test]
    fn tag_comes_out_as_it_went_in() {
        for tag in [tag(0, false), tag(1 << 46, true), Tag { partition: 32_000, ..tag(7, true) }] {
            assert_eq!(Tag::unpack(tag.pack()), Some(tag));
        }
        assert_eq!(Tag::unpack(Tag::NONE), None);
    }

    #[test]
    fn one_refused_record_is_guilty_at_once() {
        let mut poison = Poison::default();
        assert!(poison.learn(vec![tag(5, false)]));
        assert!(poison.get(3, 5).is_some_and(|known| known.too_large));
        poison.forget_below(3, 6);
        assert_eq!(poison.get(3, 5), None);
    }

    #[test]
    fn of_several_refused_records_each_is_tried_alone() {
        let mut poison = Poison::default();
        assert!(poison.learn(vec![tag(5, false), tag(6, false)]));
        let suspect = Poisoned { is_suspect: true, ..Poisoned::default() };
        assert_eq!(poison.get(3, 5), Some(suspect));
        assert!(poison.learn(vec![tag(6, false)]));
        assert_eq!(poison.get(3, 5), Some(suspect));
        assert_eq!(poison.get(3, 6), Some(Poisoned { too_large: true, ..suspect }));
    }

    #[test]
    fn two_suspects_that_are_refused_alone_are_both_guilty() {
        let mut poison = Poison::default();
        assert!(poison.learn(vec![tag(5, false), tag(6, false)]));
        assert!(poison.learn(vec![tag(5, false), tag(6, false)]));
        assert!(poison.get(3, 5).is_some_and(|known| known.too_large));
        assert!(poison.get(3, 6).is_some_and(|known| known.too_large));
    }

    #[test]
    fn dead_letter_is_cut_until_nothing_is_left() {
        let mut poison = Poison::default();
        for cut in [Cut::First, Cut::Nothing] {
            assert!(poison.learn(vec![tag(5, true)]));
            assert_eq!(poison.get(3, 5).map(|known| known.cut), Some(cut));
        }
        assert!(!poison.learn(vec![tag(5, true)]));
    }
}
