//! Random events in random batches, with restarts, against a model that knows neither.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const SIZE: i64 = 10;
const GRACE: i64 = 4;
const IDLE: i64 = 3;
const FUTURE_MAX: i64 = 25;
const PARTITIONS: i32 = 3;

fn small_spec() -> WindowSpec {
    let ms = |ms: i64| Duration::from_millis(ms as u64);
    WindowSpec {
        size: ms(SIZE),
        grace: ms(GRACE),
        idle: ms(IDLE),
        future_max: ms(FUTURE_MAX),
        ..spec()
    }
}

#[derive(Clone, Debug)]
struct Event {
    partition: i32,
    timestamp: Option<i64>,
    time: i64,
    key: usize,
}

#[derive(Clone, Debug)]
enum Step {
    Event(Event),
    /// The wall clock says that a partition is silent.
    Idle {
        partition: i32,
        now: i64,
    },
}

/// What happens between steps in one of the lives of a pipeline.
#[derive(Clone, Copy, Debug, Default)]
struct Border {
    ends_batch: bool,
    commits: bool,
    restarts: bool,
}

/// Partition -> what closed there, in order.
type Closed = BTreeMap<i32, Vec<(Span, Vec<(String, u64)>)>>;

/// What must not depend on borders.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    late: Vec<usize>,
    closed: Closed,
    watermarks: Vec<Option<i64>>,
    open: BTreeMap<(i32, Span), BTreeMap<String, u64>>,
}

const KEYS: [Value<'static>; 5] = [
    Value::Text("a"),
    Value::Text("b\"|/"),
    Value::Absent,
    Value::Integer(7),
    Value::Json("{\"x\": [1]}"),
];
const KEY_TEXTS: [&str; 5] = ["\"a\"", "\"b\\\"|/\"", "null", "7", "{\"x\": [1]}"];

/// One event at a time, one rule a line.
fn model(steps: &[Step]) -> Outcome {
    let mut outcome = Outcome { watermarks: vec![None; PARTITIONS as usize], ..Outcome::default() };
    for (place, step) in steps.iter().enumerate() {
        let (partition, watermark) = match step {
            Step::Event(event) => {
                let start = event.time.div_euclid(SIZE) * SIZE;
                let span = Span { start, end: start + SIZE };
                let watermark = outcome.watermarks[event.partition as usize];
                if watermark.is_some_and(|watermark| watermark >= span.end + GRACE) {
                    outcome.late.push(place);
                    continue;
                }
                let window = outcome.open.entry((event.partition, span)).or_default();
                *window.entry(KEY_TEXTS[event.key].to_owned()).or_default() += 1;
                if event.timestamp.is_some_and(|timestamp| event.time > timestamp + FUTURE_MAX) {
                    continue;
                }
                (event.partition, watermark.max(Some(event.time)))
            }
            &Step::Idle { partition, now } => {
                let watermark = outcome.watermarks[partition as usize];
                let open = outcome.open.keys().filter(|(held, _)| *held == partition);
                let closes = open
                    .filter(|(_, span)| Some(span.start) <= watermark)
                    .map(|(_, span)| span.end + GRACE)
                    .filter(|at| at + IDLE <= now);
                (partition, watermark.max(closes.max()))
            }
        };
        outcome.watermarks[partition as usize] = watermark;
        let is_closed = |&(held, span): &(i32, Span)| {
            held == partition && watermark.is_some_and(|watermark| watermark >= span.end + GRACE)
        };
        let closing: Vec<_> = outcome.open.keys().copied().filter(is_closed).collect();
        for window in closing {
            let rows =
                outcome.open.remove(&window).expect("it was just found").into_iter().collect();
            outcome.closed.entry(partition).or_default().push((window.1, rows));
        }
    }
    outcome
}

/// The real windows, with batches, commits and restarts at the borders. What was not committed
/// when a restart comes is done again, as a consumer does that rewinds.
struct Life {
    windows: Windows,
    /// Partition -> the compacted state topic.
    topics: BTreeMap<i32, Vec<Records>>,
    committed: usize,
    committed_outcome: (Vec<usize>, Closed),
    late: Vec<usize>,
    closed: Closed,
}

impl Life {
    fn run(steps: &[Step], borders: &[Border]) -> Outcome {
        let partitions: Vec<_> = (0..PARTITIONS).collect();
        let mut life = Life {
            windows: windows(small_spec(), &partitions),
            topics: BTreeMap::new(),
            committed: 0,
            committed_outcome: Default::default(),
            late: Vec::new(),
            closed: BTreeMap::new(),
        };
        let mut batch = Vec::new();
        let mut place = 0;
        let mut may_restart = vec![true; steps.len()];
        while place < steps.len() {
            let border = borders[place];
            match &steps[place] {
                Step::Event(event) => batch.push((place, event)),
                &Step::Idle { partition, now } => {
                    life.observe(&mut batch);
                    life.windows.close_idle(partition, now - IDLE, now);
                }
            }
            place += 1;
            if border.ends_batch || border.commits || border.restarts {
                life.observe(&mut batch);
            }
            if border.commits {
                life.commit(place);
            }
            if border.restarts && std::mem::take(&mut may_restart[place - 1]) {
                life.restart();
                place = life.committed;
            }
        }
        life.observe(&mut batch);
        life.commit(place);
        life.outcome()
    }

    fn observe(&mut self, batch: &mut Vec<(usize, &Event)>) {
        let origin = |(place, event): &(usize, &Event)| Origin {
            partition: event.partition,
            offset: *place as i64,
            timestamp: event.timestamp,
        };
        let origins: Vec<_> = batch.iter().map(origin).collect();
        let times: Vec<_> = batch.iter().map(|(_, event)| event.time).collect();
        let index = batch.iter().map(|(_, event)| event.key as u32).collect();
        let keys = [Column::new(&KEYS, index)];
        let events = Events { origins: &origins, times: &times, keys: &keys };
        let observed = self.windows.observe(events).expect("within the limits");
        self.late.extend(observed.late.iter().map(|late| batch[late.event as usize].0));
        batch.clear();
    }

    fn commit(&mut self, place: usize) {
        for closed in self.windows.take_closed() {
            let rows = closed.rows.into_iter().map(|row| (row.key.into(), row.count)).collect();
            self.closed.entry(closed.partition).or_default().push((closed.span, rows));
        }
        for partition in 0..PARTITIONS {
            let mut records = Records::default();
            self.windows.take_changes(partition, place as i64, &mut records);
            self.topics.entry(partition).or_default().push(records);
        }
        self.committed = place;
        self.committed_outcome = (self.late.clone(), self.closed.clone());
    }

    fn restart(&mut self) {
        (self.late, self.closed) = self.committed_outcome.clone();
        self.windows.clear();
        for partition in 0..PARTITIONS {
            let mut restore = Restore::new(self.windows.spec().clone(), partition);
            for (key, value) in
                self.topics.entry(partition).or_default().iter().flat_map(Records::iter)
            {
                restore.apply(Some(key), value);
            }
            let (windows, marker) = restore.finish().expect("state is read");
            let offset = marker.map_or(0, |marker| marker.next_offset);
            assert_eq!(offset, self.committed as i64);
            self.windows.adopt(windows);
        }
    }

    fn outcome(mut self) -> Outcome {
        self.restart();
        let mut open = BTreeMap::new();
        for windows in self.windows.partitions() {
            for (&span, counts) in windows.open() {
                let row =
                    |entry: &super::super::counts::Entry| (entry.key.to_string(), entry.count);
                let rows = counts.entries().iter().map(row).collect();
                open.insert((windows.partition(), span), rows);
            }
        }
        let watermarks =
            self.windows.partitions().iter().map(PartitionWindows::watermark).collect();
        Outcome { late: self.late, closed: self.closed, watermarks, open }
    }
}

fn event() -> impl Strategy<Value = Event> {
    let time = prop_oneof![8 => -30i64..120, 1 => 0i64..2_000];
    let timestamp = prop_oneof![8 => (0i64..120).prop_map(Some), 1 => Just(None)];
    (0..PARTITIONS, timestamp, time, 0..KEYS.len())
        .prop_map(|(partition, timestamp, time, key)| Event { partition, timestamp, time, key })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => event().prop_map(Step::Event),
        1 => (0..PARTITIONS, 0i64..400).prop_map(|(partition, now)| Step::Idle { partition, now }),
    ]
}

fn border() -> impl Strategy<Value = Border> {
    (0u8..4, 0u8..6, 0u8..10).prop_map(|(batch, commit, restart)| Border {
        ends_batch: batch == 0,
        commits: commit == 0,
        restarts: restart == 0,
    })
}

proptest! {
    #[test]
    fn results_depend_on_events_and_their_order_alone(
        lived in prop::collection::vec((step(), border(), border()), 0..150)
    ) {
        let steps: Vec<_> = lived.iter().map(|(step, ..)| step.clone()).collect();
        let expected = model(&steps);
        let straight = vec![Border::default(); steps.len()];
        let one: Vec<_> = lived.iter().map(|&(_, border, _)| border).collect();
        let other: Vec<_> = lived.iter().map(|&(.., border)| border).collect();
        for borders in [straight, one, other] {
            prop_assert_eq!(&Life::run(&steps, &borders), &expected);
        }
    }
}
