//! Open windows as people want to see them.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};

use super::Span;
use super::held::Held;
use super::output::key_text;

/// Windows that are shown of a merge partition, the earliest.
const WINDOWS_MAX: usize = 20;

/// An open window over the merge partitions of a worker, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenWindow {
    /// The window's name.
    pub window: String,
    /// Which stretch of event time; of sessions, from the first one's start to the last one's end.
    pub span: Span,
    /// Whether these are all sessions of the window's groups.
    pub are_sessions: bool,
    /// How many groups it has so far; of sessions, how many sessions.
    pub groups: usize,
    /// The largest groups with their counts, largest first.
    pub top: Vec<(String, u64)>,
}

/// The open windows by time, the first twenty; all sessions as one.
pub(super) fn open_windows(held: &Held, top: usize) -> Vec<OpenWindow> {
    let mut shown = Vec::new();
    let mut show = |span: Span, rows: HashMap<&str, u64>, groups: usize| {
        let rows = rows.into_iter().map(|(key, count)| (key_text(key).into_owned(), count));
        let (window, are_sessions) = (held.spec.name.clone(), held.sessions().is_some());
        let top = largest(rows.collect(), top);
        shown.push(OpenWindow { window, span, are_sessions, groups, top });
    };
    if let Some(open) = held.slices() {
        for span in open.windows(held.given_out(), WINDOWS_MAX) {
            let mut rows: HashMap<&str, u64> = HashMap::new();
            for group in open.within(span).flat_map(|groups| groups.iter()) {
                *rows.entry(&group.key).or_default() += group.accumulator.count;
            }
            let groups = rows.len();
            show(span, rows, groups);
        }
    }
    if let Some(sessions) = held.sessions().filter(|sessions| sessions.len() > 0) {
        let mut rows: HashMap<&str, u64> = HashMap::new();
        let mut all = Span { start: i64::MAX, end: i64::MIN };
        for (key, span, session) in sessions.iter() {
            *rows.entry(key).or_default() += session.accumulator.count;
            all = Span { start: all.start.min(span.start), end: all.end.max(span.end) };
        }
        show(all, rows, sessions.len());
    }
    shown
}

fn largest(mut rows: Vec<(String, u64)>, top: usize) -> Vec<(String, u64)> {
    rows.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    rows.truncate(top);
    rows
}

impl OpenWindow {
    /// The windows of several merge partitions as one list by name and time. Their groups are
    /// different ones.
    pub fn merge(lists: Vec<Vec<OpenWindow>>, top: usize) -> Vec<OpenWindow> {
        let mut merged: BTreeMap<(String, Option<Span>), OpenWindow> = BTreeMap::new();
        for open in lists.into_iter().flatten() {
            // Sessions of other groups have other times.
            let span = (!open.are_sessions).then_some(open.span);
            match merged.entry((open.window.clone(), span)) {
                Entry::Vacant(place) => _ = place.insert(open),
                Entry::Occupied(mut place) => {
                    let all = place.get_mut();
                    all.groups += open.groups;
                    all.top.extend(open.top);
                    all.span.start = all.span.start.min(open.span.start);
                    all.span.end = all.span.end.max(open.span.end);
                }
            }
        }
        let mut merged: Vec<OpenWindow> = merged.into_values().collect();
        for open in &mut merged {
            open.top = largest(std::mem::take(&mut open.top), top);
        }
        merged
    }
}
