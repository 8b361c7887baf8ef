//! The open sessions of many groups: what overlaps is one.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashTable;

use super::Span;
use super::accumulate::{Accumulator, PartKind};
use super::marks::Marks;

/// What an open session takes besides its group's text and its accumulator's parts.
const SESSION_OVERHEAD: usize = 120;
/// What a group takes besides its text.
const GROUP_OVERHEAD: usize = 64;

/// Sessions by group and start. Those of a group never overlap.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    groups: Groups,
    open: BTreeMap<(u32, i64), Session>,
    /// (end, group, start) of each, by time.
    due: BTreeSet<(i64, u32, i64)>,
    bytes: usize,
    /// Sessions that became part of one with another start, and had marks.
    absorbed: Vec<(Box<str>, Span, Marks)>,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) end: i64,
    pub(super) accumulator: Accumulator,
    pub(super) marks: Marks,
}

/// A session that is no more.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) key: Box<str>,
    pub(super) span: Span,
    pub(super) accumulator: Accumulator,
    pub(super) marks: Marks,
}

impl Sessions {
    /// Makes one session of this stretch and of all that overlap with it, changes it, and says
    /// where it is.
    pub(super) fn cover(
        &mut self,
        kinds: &[PartKind],
        (hash, key): (u64, &str),
        span: Span,
        change: impl FnOnce(&mut Accumulator, &mut Marks),
    ) -> (u32, i64) {
        let group = self.groups.place(hash, key);
        // Mostly it lies in the last one that began before, or makes that one longer.
        let before = self.open.range_mut((group, i64::MIN)..(group, span.end)).next_back();
        if let Some((&(_, start), session)) = before
            && start <= span.start
            && session.end > span.start
        {
            let bytes = session.accumulator.bytes();
            change(&mut session.accumulator, &mut session.marks);
            self.bytes = self.bytes + session.accumulator.bytes() - bytes;
            if span.end > session.end {
                self.due.remove(&(session.end, group, start));
                self.due.insert((span.end, group, start));
                session.end = span.end;
            }
            return (group, start);
        }
        let mut span = span;
        let mut united: Option<Session> = None;
        while let Some((&(_, start), last)) =
            self.open.range((group, i64::MIN)..(group, span.end)).next_back()
        {
            if last.end <= span.start {
                break;
            }
            let end = last.end;
            let mut session = self.remove(group, start);
            if let Some(later) = &united {
                session.accumulator.merge(kinds, &later.accumulator);
            }
            if start > span.start && session.marks != Marks::default() {
                let (key, span) = (self.groups.text(group).into(), Span { start, end });
                self.absorbed.push((key, span, std::mem::take(&mut session.marks)));
            }
            if let Some(later) = united {
                session.marks = session.marks.or(later.marks);
            }
            span = Span { start: span.start.min(start), end: span.end.max(end) };
            united = Some(session);
        }
        let mut session = united.unwrap_or_else(|| Session {
            end: span.end,
            accumulator: Accumulator::default(),
            marks: Marks::default(),
        });
        session.end = span.end;
        change(&mut session.accumulator, &mut session.marks);
        self.insert(group, span.start, session);
        (group, span.start)
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get_mut(&mut self, (group, start): (u32, i64)) -> Option<(&str, &mut Session)> {
        let session = self.open.get_mut(&(group, start))?;
        Some((self.groups.text(group), session))
    }

    /// All of them, by group and start.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, Span, &Session)> {
        self.open.iter().map(|(&(group, start), session)| {
            (self.groups.text(group), Span { start, end: session.end }, session)
        })
    }

    /// When the first of them ends.
    pub(super) fn first_end(&self) -> Option<i64> {
        self.due.first().map(|&(end, ..)| end)
    }

    /// The first that ends then or before, if there is one.
    pub(super) fn pop_ended(&mut self, until: i64) -> Option<Ended> {
        let &(end, group, start) = self.due.first().filter(|(end, ..)| *end <= until)?;
        let key = self.groups.text(group).into();
        let session = self.remove(group, start);
        self.groups.release_empty(group);
        let (accumulator, marks) = (session.accumulator, session.marks);
        Some(Ended { key, span: Span { start, end }, accumulator, marks })
    }

    pub(super) fn take_absorbed(&mut self) -> Vec<(Box<str>, Span, Marks)> {
        std::mem::take(&mut self.absorbed)
    }

    fn remove(&mut self, group: u32, start: i64) -> Session {
        let session = self.open.remove(&(group, start)).expect("it was just found");
        self.due.remove(&(session.end, group, start));
        self.bytes -= SESSION_OVERHEAD + session.accumulator.bytes();
        self.bytes -= self.groups.dismiss(group);
        session
    }

    fn insert(&mut self, group: u32, start: i64, session: Session) {
        self.due.insert((session.end, group, start));
        self.bytes += SESSION_OVERHEAD + session.accumulator.bytes();
        self.bytes += self.groups.employ(group);
        self.open.insert((group, start), session);
    }
}

/// The texts of groups that have sessions, by small numbers.
#[derive(Debug, Default)]
struct Groups {
    table: HashTable<u32>,
    entries: Vec<Group>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Group {
    key: Box<str>,
    hash: u64,
    sessions: u32,
}

impl Groups {
    fn place(&mut self, hash: u64, key: &str) -> u32 {
        if let Some(&place) =
            self.table.find(hash, |&place| *self.entries[place as usize].key == *key)
        {
            return place;
        }
        let group = Group { key: key.into(), hash, sessions: 0 };
        let place = match self.free.pop() {
            Some(place) => {
                self.entries[place as usize] = group;
                place
            }
            None => {
                self.entries.push(group);
                self.entries.len() as u32 - 1
            }
        };
        let entries = &self.entries;
        self.table.insert_unique(hash, place, |&place| entries[place as usize].hash);
        place
    }

    fn text(&self, group: u32) -> &str {
        &self.entries[group as usize].key
    }

    /// One session more; what memory the group's first takes.
    fn employ(&mut self, group: u32) -> usize {
        let entry = &mut self.entries[group as usize];
        entry.sessions += 1;
        if entry.sessions == 1 { entry.key.len() + GROUP_OVERHEAD } else { 0 }
    }

    /// One session less; what memory the group's last gives back.
    fn dismiss(&mut self, group: u32) -> usize {
        let entry = &mut self.entries[group as usize];
        entry.sessions -= 1;
        if entry.sessions == 0 { entry.key.len() + GROUP_OVERHEAD } else { 0 }
    }

    fn release_empty(&mut self, group: u32) {
        let entry = &mut self.entries[group as usize];
        if entry.sessions > 0 {
            return;
        }
        let hash = entry.hash;
        entry.key = "".into();
        if let Ok(found) = self.table.find_entry(hash, |&place| place == group) {
            found.remove();
        }
        self.free.push(group);
    }
}
