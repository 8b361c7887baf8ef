//! Random events through both hops, in random batches and commits, with restarts, against the
//! naive model.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::model::*;
use super::*;

const MERGES: usize = 2;
/// Past all windows.
const END: i64 = 1_000_000;

/// What happens next in one of the lives of a pipeline.
#[derive(Clone, Debug)]
enum Act {
    /// So many steps of each partition, as one batch.
    Feed([usize; PARTITIONS]),
    Commit(usize),
    /// What is not committed is done again, and without transactions some of what is.
    Restart(usize, usize),
    /// So many records of a merge partition.
    Merge(usize, usize),
    CommitMerge(usize, usize),
    RestartMerge(usize, usize),
}

/// One input partition in the life of a pipeline.
#[derive(Debug, Default)]
struct Input {
    /// Steps that are done.
    done: usize,
    late: BTreeSet<usize>,
    committed: usize,
    committed_late: BTreeSet<usize>,
    progress: Option<Progress>,
}

/// One merge partition.
struct MergeLife {
    merge: Merge,
    /// The repartition topic.
    deltas: Vec<Vec<u8>>,
    done: usize,
    state: Vec<Records>,
    committed: usize,
    /// What was committed to the results topic.
    results: Records,
}

/// The real windows, with topics of memory.
struct Life<'a> {
    steps: &'a [Vec<Step>; PARTITIONS],
    specs: Arc<[Arc<WindowSpec>]>,
    windows: Windows,
    inputs: [Input; PARTITIONS],
    merges: Vec<MergeLife>,
}

impl<'a> Life<'a> {
    fn new(spec: WindowSpec, steps: &'a [Vec<Step>; PARTITIONS]) -> Self {
        let specs = specs([spec.clone()]);
        let merge = |partition: usize| MergeLife {
            merge: Merge::new(specs.clone(), partition as i32, PARTITIONS as i32, MERGES),
            deltas: Vec::new(),
            done: 0,
            state: Vec::new(),
            committed: 0,
            results: Records::default(),
        };
        Self {
            steps,
            windows: windows(spec, &[0, 1, 2]),
            inputs: Default::default(),
            merges: (0..MERGES).map(merge).collect(),
            specs,
        }
    }

    fn run(mut self, acts: &[Act], last: usize) -> Outcome {
        for act in acts {
            self.act(act);
        }
        self.act(&Act::Feed([usize::MAX; PARTITIONS]));
        for partition in 0..PARTITIONS {
            self.act(&Act::Commit(partition));
        }
        for merge in 0..MERGES {
            self.act(&Act::Merge(merge, usize::MAX));
            self.act(&Act::CommitMerge(merge, last));
            while self.merges[merge].merge.is_closing() {
                self.act(&Act::RestartMerge(merge, 0));
                self.act(&Act::CommitMerge(merge, last));
            }
            self.act(&Act::RestartMerge(merge, 0));
            let left = &self.merges[merge].merge;
            assert_eq!((left.keys(), left.bytes()), (0, 0), "everything is final");
        }
        self.outcome()
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Feed(counts) => self.feed(counts),
            Act::Commit(partition) => self.commit(partition),
            Act::Restart(partition, again) => self.restart(partition, again),
            Act::Merge(merge, count) => {
                let life = &mut self.merges[merge];
                let until = life.deltas.len().min(life.done.saturating_add(count));
                for offset in life.done..until {
                    let value = &life.deltas[offset];
                    life.merge.apply(offset as i64, value).expect("deltas are read");
                }
                life.done = until;
            }
            Act::CommitMerge(merge, bytes) => self.merges[merge].commit(bytes),
            Act::RestartMerge(merge, again) => {
                let life = &mut self.merges[merge];
                let partition = merge as i32;
                let inputs = PARTITIONS as i32;
                let mut restore = RestoreMerge::new(self.specs.clone(), partition, inputs, MERGES);
                for (key, value) in life.state.iter().flat_map(Records::iter) {
                    restore.apply(Some(key), value);
                }
                let (merge, marker) = restore.finish().expect("state is read");
                assert_eq!(marker.map_or(0, |marker| marker.next_offset), life.committed as i64);
                life.merge = merge;
                life.done = life.committed.saturating_sub(again);
            }
        }
    }

    fn feed(&mut self, counts: [usize; PARTITIONS]) {
        let mut left = counts;
        let mut batch = Vec::new();
        // In turns, so that partitions mix in a batch.
        while (0..PARTITIONS).any(|at| left[at] > 0 && self.inputs[at].done < self.steps[at].len())
        {
            for (partition, left) in left.iter_mut().enumerate() {
                let place = self.inputs[partition].done;
                let Some(step) = self.steps[partition].get(place).filter(|_| *left > 0) else {
                    continue;
                };
                *left -= 1;
                self.inputs[partition].done += 1;
                match *step {
                    Step::Event { .. } => batch.push((partition, place)),
                    // It was decided once, and is not again.
                    Step::Idle { .. } if place < self.inputs[partition].committed => {}
                    Step::Idle { now, others } => {
                        self.observe(&mut batch);
                        self.windows.close_idle(partition as i32, now - IDLE, now, others);
                    }
                }
            }
        }
        self.observe(&mut batch);
    }

    fn observe(&mut self, batch: &mut Vec<(usize, usize)>) {
        let (mut origins, mut times) = (Vec::new(), Vec::new());
        let (mut index, mut values, mut passing) = (Vec::new(), Vec::new(), Vec::new());
        for &(partition, place) in &*batch {
            let Step::Event { timestamp, time, key, value, passes } = self.steps[partition][place]
            else {
                unreachable!("only events are in batches")
            };
            origins.push(Origin {
                partition: partition as i32,
                offset: place as i64,
                not_after: timestamp.unwrap_or(i64::MAX),
            });
            times.push(time);
            index.push(key as u32);
            values.push(Value::Integer(value));
            passing.push(Value::Boolean(passes));
        }
        let keys = [Column::new(&KEYS, index)];
        let values = vec![column(values); 4];
        let filter = column(passing);
        let (origins, times) = (&origins, &times);
        let events = Events { origins, times, keys: &keys, values: &values, filter: Some(&filter) };
        let observed = self.windows.observe(events).expect("events are taken");
        for late in observed.late {
            let (partition, place) = batch[late.event as usize];
            self.inputs[partition].late.insert(place);
        }
        batch.clear();
    }

    fn commit(&mut self, partition: usize) {
        let input = &mut self.inputs[partition];
        let windows = std::slice::from_mut(&mut self.windows);
        let next_offset = input.done as i64;
        let route = |key: &str| key.len() % MERGES;
        let mut to = Vec::new();
        let inputs = PARTITIONS as i32;
        write_deltas(windows, partition as i32, next_offset, inputs, MERGES, 700, route, &mut to);
        for (merge, records) in self.merges.iter_mut().zip(&to) {
            merge.deltas.extend(values(records).into_iter().map(String::into_bytes));
        }
        let mut progress = Records::default();
        write_progress(windows, partition as i32, next_offset, &mut progress);
        let (key, value) = progress.iter().next().expect("one");
        let progress = Progress::parse(key, value.expect("a value")).expect("it is read");
        input.committed = input.committed.max(input.done);
        assert_eq!(progress.next_offset, input.committed as i64);
        input.progress = Some(progress);
        input.committed_late = input.late.clone();
    }

    fn restart(&mut self, partition: usize, again: usize) {
        let input = &mut self.inputs[partition];
        let spec = self.windows.spec().clone();
        self.windows.adopt(Watch::restore(spec, partition as i32, 3, input.progress.as_ref()));
        input.late = input.committed_late.clone();
        input.done = input.committed.saturating_sub(again);
    }

    fn outcome(self) -> Outcome {
        let mut outcome = Outcome::default();
        let is_final = self.specs[0].emit == Emit::Final;
        for life in &self.merges {
            let mut topic: BTreeMap<&[u8], &[u8]> = BTreeMap::new();
            for (key, value) in life.results.iter() {
                let before = match value {
                    Some(value) => topic.insert(key, value),
                    None => topic.remove(key),
                };
                assert!(before.is_none() || !is_final, "one result each");
            }
            outcome.results.extend(topic.into_values().map(text));
        }
        outcome.results.sort_unstable();
        for (partition, input) in self.inputs.into_iter().enumerate() {
            outcome.late.extend(input.late.into_iter().map(|place| (partition, place)));
            outcome.watermarks.push(self.windows.partitions()[partition].watermark());
        }
        outcome
    }
}

impl MergeLife {
    fn commit(&mut self, bytes: usize) {
        let mut taken = self.merge.take_results(&mut Portion::of_bytes(bytes));
        assert!(taken.orphans.is_empty() && self.merge.take_late().is_empty());
        self.results.append(&mut taken.windows[0].records);
        let mut records = Records::default();
        self.committed = self.committed.max(self.done);
        self.merge.take_changes(self.done as i64, &mut records);
        self.state.push(records);
    }
}

fn step() -> impl Strategy<Value = Step> {
    let time = prop_oneof![8 => -30i64..120, 1 => 0i64..2_000];
    let timestamp = prop_oneof![8 => (0i64..120).prop_map(Some), 1 => Just(None)];
    let passes = prop_oneof![5 => Just(true), 1 => Just(false)];
    let event = (timestamp, time, 0..KEYS.len(), -3i64..3, passes);
    let event = event.prop_map(|(timestamp, time, key, value, passes)| Step::Event {
        timestamp,
        time,
        key,
        value,
        passes,
    });
    let others = prop_oneof![Just(None), (0i64..150).prop_map(Some)];
    let idle = (0i64..400, others).prop_map(|(now, others)| Step::Idle { now, others });
    prop_oneof![12 => event, 1 => idle]
}

/// The steps of a partition, and at the end a watermark past everything.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 0..50).prop_map(|mut steps| {
        steps.push(Step::Idle { now: END, others: Some(END) });
        steps
    })
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let again = || prop_oneof![2 => Just(0usize), 1 => 0usize..6];
    let act = prop_oneof![
        6 => (0usize..9, 0usize..9, 0usize..9).prop_map(|(a, b, c)| Act::Feed([a, b, c])),
        4 => (0..PARTITIONS).prop_map(Act::Commit),
        1 => (0..PARTITIONS, again()).prop_map(|(at, again)| Act::Restart(at, again)),
        4 => (0..MERGES, 1usize..6).prop_map(|(at, count)| Act::Merge(at, count)),
        2 => (0..MERGES, portion()).prop_map(|(at, bytes)| Act::CommitMerge(at, bytes)),
        1 => (0..MERGES, again()).prop_map(|(at, again)| Act::RestartMerge(at, again)),
    ];
    prop::collection::vec(act, 0..80)
}

/// Bytes of results in a commit: of one group, of a few, of all.
fn portion() -> impl Strategy<Value = usize> {
    prop_oneof![Just(1usize), 1usize..3_000, Just(usize::MAX)]
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![Just(tumbling()), Just(hopping()), Just(uneven()), Just(sessions())]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn results_depend_on_events_and_their_order_per_partition_alone(
        shape in shape(),
        emit in prop_oneof![Just(Emit::Final), Just(Emit::Updates)],
        steps in [steps(), steps(), steps()],
        one in acts(),
        other in acts(),
        last in portion(),
    ) {
        let expected = model(shape, &steps);
        for (acts, last) in [(vec![], usize::MAX), (one, last), (other, usize::MAX)] {
            let life = Life::new(small_spec(shape, emit), &steps);
            prop_assert_eq!(&life.run(&acts, last), &expected);
        }
    }
}
