//! The embedded broker, the generator and the view. The rest of the host does without it.

pub mod broker;
pub mod client;
pub mod follow;
pub mod generate;
pub mod live;
pub mod pace;
mod reader;
pub mod screen;
pub mod send;
pub mod stop;
pub mod tail;
pub mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use tracing::{error, warn};

use crate::kafka::ClientSettings;
use crate::worker::status::WorkerStatus;
use broker::Broker;
use generate::{Generator, Mix, Spec};
use send::{HoldBack, Kafka, send};
use stop::Stop;

/// Events per second.
pub const RATE: u32 = 1_000;

/// Unread bytes in one partition at which the generator waits for the workers: well below the
/// [`broker::PARTITION_KEEPS`] at which records would be dropped unread.
pub const LAG_MAX: u64 = 1 << 20;

/// How long the last events may take to be confirmed at the end.
const FINISH_MAX: Duration = Duration::from_secs(2);
/// Between two looks at how far the workers are.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A running demo: a broker, later a generator and a view. Dropping it ends all of them.
pub struct Demo {
    settings: ClientSettings,
    generating: Stop,
    generator: Option<JoinHandle<()>>,
    showing: Stop,
    view: Option<JoinHandle<()>>,
    /// Last: the others are its clients.
    _broker: Broker,
}

impl Demo {
    /// Starts a broker with these topics and their partitions.
    pub fn start(topics: &[(String, i32)]) -> Result<Self> {
        let broker = Broker::start(topics)?;
        let settings = ClientSettings::new::<String, String>(broker.address(), [])
            .context("making clients of the embedded broker")?;
        Ok(Self {
            settings,
            generating: Stop::new(),
            generator: None,
            showing: Stop::new(),
            view: None,
            _broker: broker,
        })
    }

    /// How to reach the broker; nothing else knows its port.
    pub fn settings(&self) -> &ClientSettings {
        &self.settings
    }

    /// Sends logins of now to `topic`, [`RATE`] a second, some of them bad, late or repeated. Waits
    /// while the workers are [`LAG_MAX`] behind in a partition.
    pub fn generate(&mut self, topic: &str, statuses: Vec<Arc<WorkerStatus>>) -> Result<()> {
        let mut progress = Progress::new(statuses);
        let next_offset = Box::new(move |partition| progress.next_offset(partition));
        let hold_back = HoldBack { lag_max: LAG_MAX, next_offset };
        let (settings, topic) = (self.settings.clone(), topic.to_owned());
        let stop = self.generating.clone();
        let thread = std::thread::Builder::new().name("demo-generator".into()).spawn(move || {
            if let Err(error) = generate(&settings, &topic, hold_back, &stop) {
                error!(error = format!("{error:#}"), topic, "the demo's generator failed");
            }
        });
        self.generator = Some(thread.context("starting the generator's thread")?);
        Ok(())
    }

    /// Shows the events of `output` and what the workers say on the terminal (stderr), or warns in
    /// the log each minute that this is a demo.
    pub fn show(&mut self, output: &str, statuses: Vec<Arc<WorkerStatus>>) -> Result<()> {
        let (settings, output) = (self.settings.clone(), output.to_owned());
        let shown = live::Shown { settings, output, statuses };
        let thread = live::start(shown, self.showing.clone());
        self.view = Some(thread.context("starting the view's thread")?);
        Ok(())
    }

    /// Ends the generator, so that the workers can come to the end of the input.
    pub fn stop_generating(&mut self) {
        self.generating.stop();
        end(self.generator.take());
    }

    /// Ends the view and gives the terminal back.
    pub fn stop_showing(&mut self) {
        self.showing.stop();
        end(self.view.take());
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.stop_generating();
        self.stop_showing();
    }
}

fn end(thread: Option<JoinHandle<()>>) {
    if thread.is_some_and(|thread| thread.join().is_err()) {
        warn!("a thread of the demo panicked");
    }
}

/// What the demo's events are like: every rule and every side topic gets something to do.
fn spec(now: SystemTime) -> Spec {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Spec {
        // Other events each time, since nothing of the last time is left.
        seed: now.as_millis() as u64,
        start_ms: now.as_millis() as i64,
        rate: RATE,
        mix: Mix {
            invalid: 0.005,
            missing: 0.01,
            malformed: 0.01,
            late: 0.002,
            late_by: Duration::from_secs(180),
            duplicates: 0.005,
            jitter: Duration::from_secs(2),
        },
        ..Spec::default()
    }
}

fn generate(
    settings: &ClientSettings,
    topic: &str,
    hold_back: HoldBack,
    stop: &Stop,
) -> Result<()> {
    let mut kafka = match Kafka::connect(settings, topic, Some(hold_back), stop) {
        Err(client::ConnectError::Stopped) => return Ok(()),
        connected => connected?,
    };
    let mut generator = Generator::new(spec(SystemTime::now()));
    send(&mut generator, None, Some(RATE), stop, &mut kafka, &mut |_| {})?;
    kafka.finish(FINISH_MAX)
}

/// How far the workers are, asked for now and then only: a snapshot is not for every look.
struct Progress {
    statuses: Vec<Arc<WorkerStatus>>,
    looked: Option<Instant>,
    next: BTreeMap<i32, i64>,
}

impl Progress {
    fn new(statuses: Vec<Arc<WorkerStatus>>) -> Self {
        Self { statuses, looked: None, next: BTreeMap::new() }
    }

    /// 0 before a worker has said anything about the partition.
    fn next_offset(&mut self, partition: i32) -> i64 {
        if self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY) {
            self.looked = Some(Instant::now());
            for status in &self.statuses {
                for (partition, at) in status.snapshot().partitions {
                    let next = self.next.entry(partition).or_default();
                    *next = at.next_offset.max(*next);
                }
            }
        }
        self.next.get(&partition).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
