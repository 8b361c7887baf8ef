//! A merge partition put together again.

use std::sync::Arc;

use super::accumulate::Accumulator;
use super::state::{self, ClosedValue, Entry, GroupValue, LiveKeys, MARKER_KEY, MergeMarker};
use super::{Merge, Span, StateError, WindowSpec};

/// Puts the windows of a merge partition together again from its state records. Memory: those
/// records that are not deleted.
#[derive(Debug)]
pub struct RestoreMerge {
    specs: Arc<[Arc<WindowSpec>]>,
    partition: i32,
    inputs: i32,
    merges: usize,
    live: LiveKeys,
}

impl RestoreMerge {
    /// For one merge partition of `merges`, which may have no state yet, and for so many input
    /// partitions as there are now.
    pub fn new(specs: Arc<[Arc<WindowSpec>]>, partition: i32, inputs: i32, merges: usize) -> Self {
        Self { specs, partition, inputs, merges, live: LiveKeys::default() }
    }

    /// Takes the next record in the order of the topic.
    pub fn apply(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) {
        self.live.apply(key, value);
    }

    /// The windows as the last commit left them, and its marker; none if nothing was ever
    /// committed. Windows of a definition that is in no spec come out of [`Merge::take_results`] as
    /// they are and are deleted with the next changes. An error if there are not as many merge
    /// partitions as there were.
    pub fn finish(self) -> Result<(Merge, Option<MergeMarker>), StateError> {
        let Self { specs, partition, inputs, merges, mut live } = self;
        let mut merge = Merge::new(specs, partition, inputs, merges);
        let corrupt =
            |problem: String| StateError::Corrupt { what: state::what(partition), problem };
        let Some(marker) = live.live.remove(MARKER_KEY) else {
            return match live.live.len() {
                0 => Ok((merge, None)),
                keys => Err(corrupt(format!("it has {keys} keys and no marker"))),
            };
        };
        let marker = MergeMarker::parse(partition, &marker)?;
        if marker.merges != merges {
            return Err(StateError::Merges { stored: marker.merges, now: merges });
        }
        let wrong = |key: &[u8]| corrupt(format!("its key {:?}", String::from_utf8_lossy(key)));
        merge.add_ended(&marker);
        // What a window is comes before what it holds.
        for (key, value) in &live.live {
            let (window, definition, entry) = state::parse_key(key).ok_or_else(|| wrong(key))?;
            if let (Entry::Definition, None) = (entry, merge.held_mut(window, definition)) {
                let text = std::str::from_utf8(value).map_err(|_| wrong(key))?;
                merge.add_foreign(window, text).map_err(corrupt)?;
            }
        }
        for (key, value) in live.live {
            restore(&mut merge, &key, &value).ok_or_else(|| wrong(&key))?;
        }
        merge.restored(&marker)?;
        Ok((merge, Some(marker)))
    }
}

fn restore(merge: &mut Merge, key: &[u8], value: &[u8]) -> Option<()> {
    let (window, definition, entry) = state::parse_key(key)?;
    let held = merge.held_mut(window, definition)?;
    match entry {
        Entry::Definition => held.restore_definition(),
        Entry::Closed { partition } => {
            let ClosedValue { closed } = serde_json::from_slice(value).ok()?;
            held.restore_promise(partition, closed);
        }
        Entry::Group { start, end, key } => {
            let group: GroupValue<'_> = serde_json::from_slice(value).ok()?;
            let span = Span { start, end: end.or(group.end)? };
            if !held.spec.shape.can_have(span) {
                return None;
            }
            let accumulator = Accumulator::parse(held.kinds(), group.value.get())?;
            held.restore(span, key.into(), accumulator);
        }
    }
    Some(())
}
