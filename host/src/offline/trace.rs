//! What each stage did to each record: every stage by itself, over what the one in front made.

use serde::Serialize;
use serde_json::Value;

use crate::chain::{Chain, Copied, Header, OutputView, Place, Record, Stop};
use crate::config::OnError;
use crate::pipeline::Generation;
use crate::shadow::{FieldChange, field_changes};

/// What one stage did to one record.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// The stage; `decode` in front of all and `encode` for what has become too large.
    pub stage: String,
    /// What it did.
    pub did: Did,
    /// Why it was rejected, or the stage failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What it changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// How many records it made of it, where that is not one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<usize>,
}

/// What a stage can do to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Did {
    /// It goes on.
    Kept,
    /// It is left out on purpose.
    Dropped,
    /// It is a dead letter.
    Rejected,
    /// The stage failed on it: it is a dead letter.
    Failed,
    /// The stage failed on it: it is left out, by `on-error = "skip"`.
    Skipped,
    /// The stage failed on it: it goes on as it was, by `on-error = "pass"`.
    Passed,
}

/// A value that a stage changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// A JSON Pointer; empty for the value as a whole, where it is no JSON object.
    pub field: String,
    /// What it was; none if it was not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<Value>,
    /// What it is now; none if it is no longer there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<Value>,
}

/// Each stage of a generation as a chain by itself.
pub(super) struct Tracer(Vec<Alone>);

struct Alone {
    name: String,
    on_error: OnError,
    chain: Chain,
}

impl Tracer {
    pub fn new(generation: &Generation) -> anyhow::Result<Self> {
        let alone = |(stage, chain): (&crate::config::Stage, Chain)| Alone {
            name: stage.name.clone(),
            on_error: stage.on_error,
            chain,
        };
        Ok(Self(generation.each_stage()?.into_iter().map(alone).collect()))
    }

    /// The steps of each record.
    pub fn trace(&mut self, records: &[Record<'_>], now: i64) -> Result<Vec<Vec<Step>>, Stop> {
        let mut traces = vec![Vec::new(); records.len()];
        let mut arrived =
            Arrived { records: Copied::of(records, now), origins: (0..records.len()).collect() };
        for (place, stage) in self.0.iter_mut().enumerate() {
            arrived = stage.step(&arrived, place == 0, &mut traces)?;
        }
        Ok(traces)
    }
}

/// The records that come to a stage, and which of the inputs each is of.
struct Arrived {
    records: Copied,
    origins: Vec<usize>,
}

impl Alone {
    fn step(
        &mut self,
        arrived: &Arrived,
        is_first: bool,
        traces: &mut [Vec<Step>],
    ) -> Result<Arrived, Stop> {
        let now = arrived.records.now;
        arrived.records.with(|records| {
            let mut next = Arrived { records: Copied::at(now), origins: Vec::new() };
            if records.is_empty() {
                return Ok(next);
            }
            self.chain.transaction_started();
            let processed = self.chain.run(records, now)?;
            let mut outputs = processed.outputs.iter().peekable();
            let mut letters = processed.dead_letters.iter().peekable();
            for (input, record) in records.iter().enumerate() {
                let origin = arrived.origins[input];
                let mut made = Vec::new();
                while let Some(output) = outputs.next_if(|output| output.input as usize == input) {
                    made.push(processed.view(output, records));
                }
                let letter = letters.next_if(|letter| letter.input as usize == input);
                let did = match letter {
                    None if made.is_empty() => Did::Dropped,
                    None => Did::Kept,
                    Some(letter) => self.failed(letter.reason),
                };
                let stage = match letter.map(|letter| letter.place) {
                    Some(Place::Decode) if !is_first => self.name.clone(),
                    Some(place) => self.chain.place_name(place).to_owned(),
                    None => self.name.clone(),
                };
                traces[origin].push(Step {
                    stage,
                    did,
                    reason: letter.map(|letter| letter.message.clone()),
                    changes: match &made[..] {
                        [one] => changes(record, one),
                        _ => Vec::new(),
                    },
                    records: (made.len() > 1).then_some(made.len()),
                });
                if did == Did::Passed {
                    next.push(record, origin);
                }
                made.iter()
                    .for_each(|view| next.push(&made_of(record, view, &headers(view)), origin));
            }
            Ok(next)
        })
    }

    fn failed(&self, reason: crate::chain::Reason) -> Did {
        use crate::chain::Reason;
        match reason {
            Reason::InvalidJson | Reason::Rejected | Reason::RecordTooLarge => Did::Rejected,
            Reason::Trap | Reason::Deadline | Reason::Memory | Reason::WrongAnswer => {
                match self.on_error {
                    OnError::DeadLetter | OnError::Stop => Did::Failed,
                    OnError::Skip => Did::Skipped,
                    OnError::Pass => Did::Passed,
                }
            }
        }
    }
}

impl Arrived {
    fn push(&mut self, record: &Record<'_>, origin: usize) {
        self.records.push(record);
        self.origins.push(origin);
    }
}

fn headers<'a>(view: &OutputView<'a>) -> Vec<Header<'a>> {
    view.headers.iter().collect()
}

fn made_of<'a>(
    record: &Record<'a>,
    view: &OutputView<'a>,
    headers: &'a [Header<'a>],
) -> Record<'a> {
    Record { key: view.key, value: view.value, headers, ..*record }
}

fn changes(record: &Record<'_>, made: &OutputView<'_>) -> Vec<Change> {
    if record.value == made.value {
        return Vec::new();
    }
    match field_changes(record.value, made.value) {
        Some(changes) => changes.into_iter().map(change).collect(),
        None => {
            let text = |bytes: &[u8]| Value::from(String::from_utf8_lossy(bytes).into_owned());
            let (old, new) = (record.value.map(text), made.value.map(text));
            vec![Change { field: String::new(), old, new }]
        }
    }
}

fn change(change: FieldChange) -> Change {
    Change { field: change.field, old: change.live, new: change.candidate }
}
