//! One window of one merge partition.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::accumulate::{Accumulator, PartKind};
use super::marks::Marks;
use super::output::Results;
use super::portion::{ENDED, GivenOut, Portion};
use super::sessions::Sessions;
use super::shape::Shape;
use super::slices::OpenSlices;
use super::{Emit, MergeMarker, Records, Span, StateError, WindowSpec, keys, rfc3339, state};

/// A delta that came when its window was final: only possible when the input has gained
/// partitions. Nothing of it is in any result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LateRow {
    /// The window's name.
    pub window: String,
    /// The input partition that it came from.
    pub partition: i32,
    /// The window, slice or session.
    pub span: Span,
    /// The group as JSON.
    pub key: Box<str>,
    /// What would have been added, as JSON: the count, or an array of it and of each aggregate
    /// with a field.
    pub accumulator: String,
}

impl LateRow {
    /// All of it as one JSON text: `{"window":…,"start":…,"end":…,"key":…,"value":…}`.
    pub fn to_json(&self) -> String {
        let window = serde_json::Value::from(self.window.as_str());
        let (start, end) = (rfc3339(self.span.start), rfc3339(self.span.end));
        let (key, value) = (&self.key, &self.accumulator);
        format!(
            r#"{{"window":{window},"start":"{start}","end":"{end}","key":{key},"value":{value}}}"#
        )
    }
}

/// The open windows of one definition.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) spec: Arc<WindowSpec>,
    pub(super) definition: Arc<str>,
    kinds: Arc<[PartKind]>,
    partition: i32,
    open: Open,
    /// Up to when each input partition is closed.
    promises: Vec<Promise>,
    /// Windows that end then or before are final, whoever says something later.
    finals: Option<i64>,
    /// What of that is given out.
    given: GivenOut,
    pub(super) results: Results,
    /// Of sessions that are part of another now.
    tombstones: Records,
    /// Of what is given out. Without transactions they must not be written before it is known that
    /// it is: what they delete would be made anew from the last deltas, and given out once more.
    closed: Records,
    /// Whether the state topic has its definition.
    is_stored: bool,
}

#[derive(Debug)]
enum Open {
    Slices(OpenSlices),
    Sessions {
        sessions: Sessions,
        /// May hold some that are no more.
        changed: Vec<(u32, i64)>,
        unsent: Vec<(u32, i64)>,
    },
}

#[derive(Clone, Copy, Debug, Default)]
struct Promise {
    closed: Option<i64>,
    is_changed: bool,
}

impl Held {
    pub(super) fn new(spec: Arc<WindowSpec>, partition: i32) -> Self {
        let kinds: Arc<[PartKind]> = spec.parts().into();
        let open = match spec.shape {
            Shape::Session { .. } => Open::Sessions {
                sessions: Sessions::default(),
                changed: Vec::new(),
                unsent: Vec::new(),
            },
            shape => Open::Slices(OpenSlices::new(shape)),
        };
        Self {
            definition: spec.definition_hash().into(),
            results: Results::new(spec.clone(), kinds.clone(), partition),
            spec,
            kinds,
            partition,
            open,
            promises: Vec::new(),
            finals: None,
            given: GivenOut::default(),
            tombstones: Records::default(),
            closed: Records::default(),
            is_stored: false,
        }
    }

    pub(super) fn keys(&self) -> usize {
        match &self.open {
            Open::Slices(open) => open.keys(),
            Open::Sessions { sessions, .. } => sessions.len(),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match &self.open {
            Open::Slices(open) => open.bytes(),
            Open::Sessions { sessions, .. } => sessions.bytes(),
        }
    }

    /// Whether its definition is no more, and all of it is to be given out as it is.
    pub(super) fn has_ended(&self) -> bool {
        self.finals == Some(ENDED)
    }

    /// Whether the state topic has nothing of it.
    pub(super) fn is_empty(&self) -> bool {
        let has_promise = self.promises.iter().any(|promise| promise.closed.is_some());
        self.keys() == 0 && !self.is_stored && !has_promise && self.closed.is_empty()
    }

    /// Windows that end then or before are given out.
    pub(super) fn given_out(&self) -> Option<i64> {
        self.given.until
    }

    /// Whether something is final that is not given out yet, or is still held.
    pub(super) fn is_closing(&self) -> bool {
        self.finals.is_some_and(|finals| match &self.open {
            Open::Slices(open) => open.is_closing(&self.given, finals),
            Open::Sessions { sessions, .. } => {
                sessions.first_end().is_some_and(|end| end <= finals)
            }
        })
    }

    pub(super) fn kinds(&self) -> &[PartKind] {
        &self.kinds
    }

    pub(super) fn sessions(&self) -> Option<&Sessions> {
        match &self.open {
            Open::Slices(_) => None,
            Open::Sessions { sessions, .. } => Some(sessions),
        }
    }

    pub(super) fn slices(&self) -> Option<&OpenSlices> {
        match &self.open {
            Open::Slices(open) => Some(open),
            Open::Sessions { .. } => None,
        }
    }

    /// Adds a delta. False, and nothing done, if it comes too late.
    #[must_use]
    pub(super) fn add(&mut self, span: Span, key: &str, accumulator: Accumulator) -> bool {
        let is_sending = self.spec.emit == Emit::Updates;
        match &mut self.open {
            Open::Slices(open) => {
                if self.finals.is_some_and(|finals| open.is_passed(span, finals)) {
                    return false;
                }
                let kinds = &self.kinds;
                open.change(span, |groups| groups.merge(kinds, key, accumulator, is_sending));
            }
            Open::Sessions { sessions, changed, unsent } => {
                // Whoever promises `finals` counts no event before that.
                if self.finals.is_some_and(|finals| span.start < finals) {
                    return false;
                }
                let place =
                    sessions.cover(&self.kinds, (keys::hash(key), key), span, |own, marks| {
                        own.merge(&self.kinds, &accumulator);
                        marks.is_changed = true;
                        marks.is_unsent = is_sending;
                    });
                // Even if it is listed: that may be under the start that it had then.
                changed.push(place);
                if is_sending {
                    unsent.push(place);
                }
                for (key, span, marks) in sessions.take_absorbed() {
                    if marks.is_stored {
                        self.tombstones.push_tombstone(|bytes| {
                            let (name, definition) = (&self.spec.name, &self.definition);
                            state::write_session_key(bytes, name, definition, span.start, &key);
                        });
                    }
                    if marks.is_sent && is_sending {
                        self.results.delete(span.start, &key);
                    }
                }
            }
        }
        true
    }

    /// An input partition promises to be closed up to then.
    pub(super) fn promise(&mut self, partition: i32, closed: i64) {
        let Ok(place) = usize::try_from(partition) else { return };
        if self.promises.len() <= place {
            self.promises.resize(place + 1, Promise::default());
        }
        let promise = &mut self.promises[place];
        if Some(closed) > promise.closed {
            *promise = Promise { closed: Some(closed), is_changed: true };
        }
    }

    /// Up to when an input partition is closed; none if it has said nothing yet.
    pub(super) fn closed(&self, partition: i32) -> Option<i64> {
        let place = usize::try_from(partition).ok()?;
        self.promises.get(place)?.closed
    }

    /// Up to when all input partitions are closed.
    pub(super) fn frontier(&self, inputs: i32) -> Option<i64> {
        // An absent promise is the least.
        (0..inputs).map(|partition| self.closed(partition)).min().flatten()
    }

    /// Notes what is final by now.
    pub(super) fn pass(&mut self, inputs: i32) {
        self.finals = self.finals.max(self.frontier(inputs));
    }

    /// From here on everything is given out as it is, whether it is final or not.
    pub(super) fn end(&mut self) {
        self.results.as_they_are();
        self.finals = Some(ENDED);
    }

    /// Adds the tombstones of all that is left in the state topic, where everything is given out: the
    /// definition last, without which nothing else could be read.
    pub(super) fn delete(&mut self, to: &mut Records) {
        to.append(&mut self.tombstones);
        to.append(&mut self.closed);
        let (name, definition) = (&self.spec.name, &self.definition);
        for (partition, promise) in self.promises.iter().enumerate() {
            if promise.closed.is_some() {
                to.push_tombstone(|bytes| {
                    state::write_promise_key(bytes, name, definition, partition as i32);
                });
            }
        }
        if self.is_stored {
            to.push_tombstone(|bytes| state::write_definition_key(bytes, name, definition));
        }
    }

    /// Adds the updates of what changed since the last call to the results.
    pub(super) fn send(&mut self) {
        if self.spec.emit != Emit::Updates {
            return;
        }
        match &mut self.open {
            Open::Slices(open) => open.send(&self.kinds, self.finals, &mut self.results),
            Open::Sessions { sessions, unsent, .. } => {
                for place in unsent.drain(..) {
                    let Some((key, session)) = sessions.get_mut(place) else { continue };
                    let is_final = self.finals.is_some_and(|finals| session.end <= finals);
                    if std::mem::take(&mut session.marks.is_unsent) && !is_final {
                        session.marks.is_sent = true;
                        let span = Span { start: place.1, end: session.end };
                        self.results.update(span, key, &session.accumulator);
                    }
                }
            }
        }
    }

    pub(super) fn has_changes(&self) -> bool {
        let is_changed = match &self.open {
            Open::Slices(open) => open.slices.values().any(|groups| groups.has_changes()),
            Open::Sessions { changed, .. } => !changed.is_empty(),
        };
        is_changed
            || !self.results.is_empty()
            || !self.tombstones.is_empty()
            || !self.closed.is_empty()
            || self.promises.iter().any(|promise| promise.is_changed)
            || self.is_closing()
    }

    /// Adds the tombstones of what was given out since the last call.
    pub(super) fn take_closed(&mut self, to: &mut Records) {
        to.append(&mut self.closed);
    }

    /// Adds the state records of everything that changed since the last call, but for what
    /// [`Held::take_closed`] has; to the marker what is given out.
    pub(super) fn take_changes(&mut self, to: &mut Records, marker: &mut MergeMarker) {
        let finals = self.finals.filter(|_| self.is_closing());
        let closing = finals.map(|finals| self.given.closing(finals));
        marker.note((&self.spec.name, &self.definition), self.given.until, closing);
        to.append(&mut self.tombstones);
        let before = to.len();
        let (name, definition) = (self.spec.name.as_str(), &*self.definition);
        match &mut self.open {
            Open::Slices(open) => {
                for (&slice, groups) in &mut open.slices {
                    groups.take_changed(|key, accumulator| {
                        state::write_slice(to, (name, definition), slice, key, accumulator);
                    });
                }
            }
            Open::Sessions { sessions, changed, .. } => {
                for place in changed.drain(..) {
                    let Some((key, session)) = sessions.get_mut(place) else { continue };
                    if std::mem::take(&mut session.marks.is_changed) {
                        session.marks.is_stored = true;
                        let span = Span { start: place.1, end: session.end };
                        let accumulator = &session.accumulator;
                        state::write_session(to, (name, definition), span, key, accumulator);
                    }
                }
            }
        }
        for (partition, promise) in self.promises.iter_mut().enumerate() {
            if let (true, Some(closed)) = (promise.is_changed, promise.closed) {
                state::write_promise(to, name, definition, partition as i32, closed);
            }
            promise.is_changed = false;
        }
        if !self.is_stored && to.len() > before {
            state::write_definition(to, &self.spec, definition);
            self.is_stored = true;
        }
    }

    /// Whether the limits hold.
    pub(super) fn check_limits(&self) -> Result<(), StateError> {
        let limits = self.spec.limits;
        let past = [("keys", self.keys(), limits.keys), ("bytes", self.bytes(), limits.bytes)];
        match past.into_iter().find(|(_, held, limit)| held > limit) {
            None => Ok(()),
            Some((unit, _, limit)) => Err(StateError::Limit {
                window: self.spec.name.clone(),
                partition: self.partition,
                unit,
                limit,
            }),
        }
    }

    pub(super) fn restore(&mut self, span: Span, key: Box<str>, accumulator: Accumulator) {
        match &mut self.open {
            Open::Slices(open) => open.change(span, |groups| groups.restore(key, accumulator)),
            Open::Sessions { sessions, .. } => {
                let hash = keys::hash(&key);
                sessions.cover(&self.kinds, (hash, &key), span, |own, marks| {
                    *own = accumulator;
                    *marks = Marks::RESTORED;
                });
            }
        }
    }

    pub(super) fn restore_promise(&mut self, partition: i32, closed: i64) {
        self.promise(partition, closed);
        if let Some(promise) = self.promises.get_mut(partition as usize) {
            promise.is_changed = false;
        }
    }

    /// The state topic has its definition.
    pub(super) fn restore_definition(&mut self) {
        self.is_stored = true;
    }

    /// What is given out and final, as the marker has it. Behind the restored groups.
    pub(super) fn restore_given_out(&mut self, (given, finals): (GivenOut, Option<i64>)) {
        (self.given, self.finals) = (given, finals);
        let (Open::Sessions { sessions, .. }, Some(until)) = (&mut self.open, self.given.until)
        else {
            return;
        };
        // Without transactions their tombstones may be missing; slices look for it by themselves.
        while let Some(ended) = sessions.pop_ended(until) {
            let (name, definition) = (&self.spec.name, &self.definition);
            self.closed.push_tombstone(|bytes| {
                state::write_session_key(bytes, name, definition, ended.span.start, &ended.key);
            });
        }
    }

    /// Makes results of what is final, as much as the portion holds.
    pub(super) fn give_out(&mut self, portion: &mut Portion) {
        let Some(finals) = self.finals else { return };
        let (name, definition) = (&self.spec.name, &self.definition);
        let (tombstones, given) = (&mut self.closed, &mut self.given);
        match &mut self.open {
            Open::Slices(open) => {
                let to = (&mut self.results, portion);
                open.give_out(&self.kinds, given, finals, to, |slice, key| {
                    tombstones.push_tombstone(|bytes| {
                        state::write_slice_key(bytes, name, definition, slice, key);
                    });
                });
            }
            Open::Sessions { sessions, .. } => {
                let mut rows: BTreeMap<Span, Vec<_>> = BTreeMap::new();
                let mut last = None;
                // Those of one moment together: it says how far this is.
                while (!portion.is_used_up() || sessions.first_end() == last)
                    && let Some(ended) = sessions.pop_ended(finals)
                {
                    last = Some(ended.span.end);
                    if ended.marks.is_stored {
                        portion.take_tombstone(&ended.key);
                        tombstones.push_tombstone(|bytes| {
                            let start = ended.span.start;
                            state::write_session_key(bytes, name, definition, start, &ended.key);
                        });
                    }
                    portion.take_row(ended.key.len() + ended.accumulator.bytes());
                    rows.entry(ended.span).or_default().push((ended.key, ended.accumulator));
                }
                for (span, rows) in rows {
                    self.results.close(span, rows);
                }
                if let Some(next) = sessions.first_end().filter(|end| *end <= finals) {
                    given.reach(next.saturating_sub(1));
                }
            }
        }
        if !self.is_closing() {
            self.given.reach(finals);
        }
    }
}
