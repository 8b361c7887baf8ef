//! The topics that a worker reads: the input, and with windows the repartition topic, each as a member
//! of a group of its own.

use super::job::Job;
use crate::kafka::{Consumer, GroupOptions, KafkaError};

/// What a topic is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hop {
    /// The input: the stages, and the windows' first hop.
    First,
    /// The repartition topic: the windows' second hop.
    Second,
}

/// A partition of the topic of a hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    pub hop: Hop,
    pub partition: i32,
}

impl At {
    pub(super) const fn new(hop: Hop, partition: i32) -> Self {
        Self { hop, partition }
    }
}

/// A partition of the input.
impl From<i32> for At {
    fn from(partition: i32) -> Self {
        Self::new(Hop::First, partition)
    }
}

/// A member of the group of a hop.
pub(super) struct Reader {
    pub consumer: Consumer,
    /// The id under which partitions were assigned.
    pub member: Option<String>,
}

/// The readers of a worker; none before it joins a group.
#[derive(Default)]
pub(super) struct Readers([Option<Reader>; 2]);

impl Readers {
    /// Joins the group of a hop, unless it is joined.
    pub(super) fn join(&mut self, job: &Job, hop: Hop) -> Result<&mut Reader, KafkaError> {
        let place = &mut self.0[hop as usize];
        if place.is_none() {
            let (group, topic) = (job.group(hop), job.topic(hop));
            let consumer = Consumer::new(&job.client, &group, topic, &GroupOptions::default())?;
            *place = Some(Reader { consumer, member: None });
        }
        Ok(place.as_mut().expect("made above"))
    }

    /// The reader of a hop, which has joined.
    pub(super) fn of(&self, hop: Hop) -> &Reader {
        self.0[hop as usize].as_ref().expect("its group is joined before anything is asked of it")
    }

    /// The same.
    pub(super) fn of_mut(&mut self, hop: Hop) -> &mut Reader {
        self.0[hop as usize].as_mut().expect("its group is joined before anything is asked of it")
    }

    /// Those that have joined, for the end.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Reader> {
        std::mem::take(&mut self.0).into_iter().flatten()
    }
}

/// Splits partitions by the hop: those of each that has any.
pub(super) fn by_hop<T: Copy>(
    partitions: &[(At, T)],
) -> impl Iterator<Item = (Hop, Vec<(i32, T)>)> {
    [Hop::First, Hop::Second].into_iter().filter_map(|hop| {
        let of_hop = partitions.iter().filter(|(at, _)| at.hop == hop);
        let of_hop: Vec<_> = of_hop.map(|&(at, value)| (at.partition, value)).collect();
        (!of_hop.is_empty()).then_some((hop, of_hop))
    })
}
