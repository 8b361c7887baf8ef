//! What the windows of partitions that are taken over hold already.

use std::collections::BTreeMap;
use std::time::Duration;

use super::failure::Failure;
use super::hops::Restored;
use super::job::{OutTopic, WindowJob};
use super::reader::{At, Hop};
use super::run::Worker;
use crate::kafka::{Message, StateReader};
use crate::window::{Frontier, RestoreMerge, StateError, Watch};

/// How long a restore may wait for transactions that are open in the state topic: longer than a
/// broker needs to give up those of a dead worker.
const RESTORE: Duration = Duration::from_secs(25);

/// The windows of a partition as the last commit left them.
pub(super) struct Stored {
    pub restored: Restored,
    /// The offset that was committed with them.
    pub marker: Option<i64>,
    /// Whether the input got this partition after the pipeline had begun.
    pub is_added: bool,
}

impl Worker {
    /// The windows of partitions as the last commit left them, each with the offset that was committed
    /// with them. The partitions of a topic are read at the same time.
    pub(super) fn restore(&self, partitions: &[At]) -> Result<BTreeMap<At, Stored>, Failure> {
        let of = |hop| {
            let of_hop = partitions.iter().filter(move |at| at.hop == hop);
            of_hop.map(|at| at.partition).collect::<Vec<i32>>()
        };
        let mut restored = BTreeMap::new();
        for (partition, first) in self.restore_watches(&of(Hop::First))? {
            restored.insert(At::new(Hop::First, partition), first);
        }
        for (partition, second) in self.restore_merges(&of(Hop::Second))? {
            restored.insert(At::new(Hop::Second, partition), second);
        }
        Ok(restored)
    }

    fn restore_watches(&self, partitions: &[i32]) -> Result<Vec<(i32, Stored)>, Failure> {
        let Some(hops) = &self.job.hops else {
            let none = |&partition: &i32| {
                let restored = Restored::Watches(Vec::new());
                (partition, Stored { restored, marker: None, is_added: false })
            };
            return Ok(partitions.iter().map(none).collect());
        };
        let topic = &hops.progress;
        let mut from: Vec<i32> = partitions.iter().map(|at| at % topic.partitions).collect();
        from.sort_unstable();
        from.dedup();
        let mut frontier = Frontier::default();
        self.read_progress(topic, &from, &mut frontier)?;
        if partitions.iter().any(|&partition| frontier.progress(partition).is_none()) {
            // Whether it is a new one is for all the others to say.
            from = (0..topic.partitions).filter(|at| !from.contains(at)).collect();
            self.read_progress(topic, &from, &mut frontier)?;
        }
        let inputs = self.job.input_partitions;
        let watches = |&partition: &i32| {
            let stored = frontier.progress(partition);
            let marker = stored.map(|progress| progress.next_offset);
            let new = match stored {
                None => frontier.beginning_of_new(partition, inputs),
                Some(_) => None,
            };
            let progress = stored.or(new.as_ref());
            let watch = |window: &WindowJob| {
                Watch::restore(window.spec.clone(), partition, inputs, progress)
            };
            let restored = Restored::Watches(self.job.windows.iter().map(watch).collect());
            (partition, Stored { restored, marker, is_added: new.is_some() })
        };
        Ok(partitions.iter().map(watches).collect())
    }

    fn read_progress(
        &self,
        topic: &OutTopic,
        from: &[i32],
        frontier: &mut Frontier,
    ) -> Result<(), Failure> {
        let mut applied = Ok(());
        self.read(&topic.name, from, |record| {
            let one = frontier.apply(record.key.unwrap_or_default(), record.value);
            applied = std::mem::replace(&mut applied, Ok(())).and(one);
        })?;
        applied.map_err(|error| self.job.state_failure(&error))
    }

    fn restore_merges(&self, partitions: &[i32]) -> Result<Vec<(i32, Stored)>, Failure> {
        let Some(hops) = &self.job.hops else { return Ok(Vec::new()) };
        let (merges, inputs) = (hops.repartition.partitions as usize, self.job.input_partitions);
        let restore = |&partition: &i32| {
            (partition, RestoreMerge::new(self.job.specs(), partition, inputs, merges))
        };
        let mut restores: BTreeMap<i32, RestoreMerge> = partitions.iter().map(restore).collect();
        self.read(&hops.state.name, partitions, |record| {
            if let Some(restore) = restores.get_mut(&record.partition) {
                restore.apply(record.key, record.value);
            }
        })?;
        let finish = |(partition, restore): (i32, RestoreMerge)| {
            let (merge, marker) = restore.finish()?;
            let marker = marker.map(|marker| marker.next_offset);
            let restored = Restored::Merge(Box::new(merge));
            Ok((partition, Stored { restored, marker, is_added: false }))
        };
        let finished = restores.into_iter().map(finish).collect::<Result<_, StateError>>();
        finished.map_err(|error| self.job.state_failure(&error))
    }

    fn read(
        &self,
        topic: &str,
        partitions: &[i32],
        mut apply: impl FnMut(Message<'_>),
    ) -> Result<(), Failure> {
        if partitions.is_empty() {
            return Ok(());
        }
        self.step("restoring window state");
        let mut reader = StateReader::new(&self.job.client, &self.job.group, topic)?;
        let mut records = 0_u32;
        reader.read_all(partitions, RESTORE, self.stop.flag(), |record| {
            apply(record);
            records += 1;
            if records.is_multiple_of(10_000) {
                self.step("restoring window state");
            }
        })?;
        Ok(())
    }
}
