//! Where the plugins are let loose: a chain with the hostile stage in front of a default rule, and
//! the same chain without it, on the same login events.

use std::sync::LazyLock;
use std::time::Duration;

use host::chain::guest::Guest;
use host::chain::{Chain, Limits as ChainLimits, OnError, Record, Stage};
use host::plugin::{ConfigureError, Engine, Limits};

static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new(None).expect("wasmtime runs here"));

const NOW: i64 = 1_700_000_000_123;

/// How many events there are, and which of them make the plugin misbehave, batch by batch.
const BATCHES: [(usize, &[usize]); 7] =
    [(60, &[]), (60, &[17]), (60, &[0, 59]), (60, &[]), (1, &[0]), (1, &[]), (60, &[30])];

/// The limits as they are, with more time, so that a busy machine is not taken for a loop.
pub fn patient() -> Limits {
    Limits { call: Duration::from_secs(30), ..Limits::default() }
}

/// Those under which loops are let loose.
pub fn brief() -> Limits {
    Limits { call: Duration::from_millis(100), ..Limits::default() }
}

/// Configures a component as the hostile stage.
pub fn configure(bytes: &[u8], limits: &Limits) -> Result<Guest, ConfigureError> {
    let plugin = ENGINE.load_bytes("hostile", bytes, Default::default()).expect("a plugin");
    plugin.configure("{}", "hostile", "user-login", limits)
}

/// Takes the usual batches through the chain: exactly the marked events become dead letters of
/// this reason, whose message holds these words.
#[track_caller]
pub fn check(bytes: &[u8], limits: Limits, reason: &str, message: &str) {
    check_batches(bytes, limits, &BATCHES, reason, message);
}

/// The same with other batches.
#[track_caller]
pub fn check_batches(
    bytes: &[u8],
    limits: Limits,
    batches: &[(usize, &[usize])],
    reason: &str,
    message: &str,
) {
    let mut ground = Ground::with(bytes, limits);
    for &(count, marked) in batches {
        ground.run(&events(count, marked), marked, reason, message);
    }
}

/// The two chains.
pub struct Ground {
    hostile: Chain,
    peaceful: Chain,
    /// Calls of the hostile stage that failed so far.
    pub faulty_calls: u64,
}

impl Ground {
    pub fn with(bytes: &[u8], limits: Limits) -> Self {
        let guest = configure(bytes, &limits).expect("it is configured");
        let hostile = chain(vec![stage("hostile", guest), default_rule()]);
        Self { hostile, ..Self::without() }
    }

    /// Twice the chain that has no hostile stage.
    pub fn without() -> Self {
        let peaceful = || chain(vec![default_rule()]);
        Self { hostile: peaceful(), peaceful: peaceful(), faulty_calls: 0 }
    }

    /// Takes so many events through, of which none may be lost.
    #[track_caller]
    pub fn run_alone(&mut self, count: usize) {
        self.run(&events(count, &[]), &[], "", "");
    }

    /// Takes the usual batches through, of which nothing may be lost, whatever is marked.
    #[track_caller]
    pub fn run_innocent(&mut self) {
        for (count, marked) in BATCHES {
            self.run(&events(count, marked), &[], "", "");
        }
    }

    /// Takes so many small batches through, of which nothing may be lost.
    #[track_caller]
    pub fn repeat(&mut self, batches: usize) {
        let events = events(4, &[]);
        for _ in 0..batches {
            self.run(&events, &[], "", "");
        }
    }

    /// Takes a batch of 20 events through of which one is marked.
    #[track_caller]
    pub fn run_one_guilty(&mut self, marked: usize, reason: &str) {
        self.run(&events(20, &[marked]), &[marked], reason, "");
    }

    /// The same where that costs nothing.
    #[track_caller]
    pub fn run_one_innocent(&mut self, marked: usize) {
        self.run(&events(20, &[marked]), &[], "", "");
    }

    #[track_caller]
    pub fn run(&mut self, events: &[Event], guilty: &[usize], reason: &str, message: &str) {
        let records = records(events);
        self.hostile.transaction_started();
        let processed = self.hostile.run(&records, NOW).expect("the chain goes on");
        self.faulty_calls += processed.stages[0].faulty_calls;
        let dead: Vec<_> = processed.dead_letters.iter().map(|dead| dead.input as usize).collect();
        assert_eq!(dead, guilty, "{:?}", processed.dead_letters);
        for dead in &processed.dead_letters {
            assert_eq!(self.hostile.place_name(dead.place), "hostile");
            assert_eq!(dead.reason.as_str(), reason, "{}", dead.message);
            assert!(dead.message.contains(message), "{} has no {message:?}", dead.message);
        }
        let expected = self.peaceful.run(&records, NOW).expect("a good chain");
        let expected = expected
            .outputs
            .iter()
            .filter(|output| !guilty.contains(&(output.input as usize)))
            .map(|output| (output.input, expected.view(output, &records)));
        let outputs = processed.outputs.iter();
        let outputs = outputs.map(|output| (output.input, processed.view(output, &records)));
        let (outputs, expected): (Vec<_>, Vec<_>) = (outputs.collect(), expected.collect());
        assert_eq!(expected.len() + guilty.len(), events.len(), "the default rule keeps all");
        assert!(outputs == expected, "{outputs:?}\nare not\n{expected:?}");
    }

    /// The number that the hostile stage writes into the note of an event; all else stays.
    pub fn note(&mut self, now: i64) -> i64 {
        let events = events(3, &[]);
        let records = records(&events);
        let processed = self.hostile.run(&records, now).expect("the chain goes on");
        let expected = self.peaceful.run(&records, now).expect("a good chain");
        let mut notes = Vec::new();
        for (output, plain) in processed.outputs.iter().zip(&expected.outputs) {
            let parse = |value: Option<&[u8]>| -> serde_json::Map<_, _> {
                serde_json::from_slice(value.expect("no tombstone")).expect("JSON comes out")
            };
            let mut event = parse(processed.view(output, &records).value);
            notes.push(event.remove("note").and_then(|note| note.as_i64()).expect("a number"));
            assert_eq!(event, parse(expected.view(plain, &records).value));
        }
        assert_eq!((notes.len(), notes[0], notes[1]), (3, notes[1], notes[2]));
        notes[0]
    }
}

fn stage(name: &str, guest: Guest) -> Stage {
    Stage { name: name.into(), guest, on_error: OnError::DeadLetter, topics: Vec::new().into() }
}

fn default_rule() -> Stage {
    let defaults = host::plugin::defaults::DEFAULTS;
    let (_, bytes) = defaults.iter().find(|(name, _)| *name == "categorize").expect("a default");
    let plugin = ENGINE.load_bytes("categorize", bytes, Default::default()).expect("a plugin");
    let guest = plugin.configure("{}", "categorize", "user-login", &Default::default());
    stage("categorize", guest.expect("configured"))
}

fn chain(stages: Vec<Stage>) -> Chain {
    // A busy machine is to decide nothing here.
    let limits = ChainLimits { fault_time_max: Duration::from_secs(60), ..ChainLimits::default() };
    Chain::new(stages, vec![], limits).expect("a good chain")
}

/// The key, which is the device type, and the value.
pub type Event = (&'static str, String);

/// Login events; those that are marked have a device type, and a key, of three letters.
fn events(count: usize, marked: &[usize]) -> Vec<Event> {
    const DEVICES: [&str; 4] = ["android", "tablet", "desktop", "toaster"];
    let event = |n: usize| {
        let device = if marked.contains(&n) { "iOS" } else { DEVICES[n % 4] };
        let value = format!(
            r#"{{"user_id":"424cdd21-{n:04}","app_version":"2.{}.0","device_type":"{device}","ip":"199.172.111.{}","locale":"RU","timestamp":{}}}"#,
            n % 5,
            n % 250,
            1_694_479_551 + n,
        );
        (device, value)
    };
    (0..count).map(event).collect()
}

fn records(events: &[Event]) -> Vec<Record<'_>> {
    events
        .iter()
        .enumerate()
        .map(|(offset, (key, value))| Record {
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
            headers: &[],
            timestamp: Some(NOW),
            partition: 0,
            offset: offset as i64,
        })
        .collect()
}
