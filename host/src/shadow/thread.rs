//! A comparison that goes on beside a running pipeline.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::pair::Pair;
use super::report::{Keep, Report};
use crate::chain::Copied;

/// Batches that wait to be compared; what comes while they do is not compared.
pub const QUEUE_BATCHES: usize = 4;
/// Examples that the status shows.
const SAMPLES: usize = 10;
/// How often the log says what differs.
const SAY: Duration = Duration::from_secs(60);

/// What is compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Info {
    /// The stage; none for the whole chain.
    pub stage: Option<String>,
    /// The candidates' plugins, in order.
    pub plugins: Vec<String>,
    /// What names their files.
    pub hashes: Vec<String>,
}

impl Info {
    /// The stage, or `*` for the whole chain, as it stands in metrics.
    pub fn label(&self) -> &str {
        self.stage.as_deref().unwrap_or("*")
    }
}

/// What a comparison shows.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// What is compared.
    #[serde(flatten)]
    pub info: Info,
    /// Batches that were not compared, since the queue was full.
    pub batches_passed_over: u64,
    /// What came of the others.
    #[serde(flatten)]
    pub report: Report,
}

/// A candidate beside the running rules.
#[derive(Debug)]
pub struct Shadow {
    info: Info,
    reads_headers: bool,
    /// Batches in the queue.
    queued: AtomicUsize,
    passed_over: AtomicU64,
    report: Mutex<Report>,
}

/// Whoever copies batches for a comparison. The comparison ends when the last of them is gone.
#[derive(Clone, Debug)]
pub struct Feed {
    shadow: Arc<Shadow>,
    batches: SyncSender<Arc<Copied>>,
}

impl Shadow {
    /// Compares on a thread of its own, at low priority, until all feeds are gone.
    pub fn start(info: Info, pair: Pair) -> io::Result<(Arc<Self>, Feed)> {
        let shadow = Arc::new(Self {
            info,
            reads_headers: pair.reads_headers(),
            queued: AtomicUsize::new(0),
            passed_over: AtomicU64::new(0),
            report: Mutex::new(Report::new(Keep::Last(SAMPLES))),
        });
        let (batches, waiting) = sync_channel(QUEUE_BATCHES);
        let shown = Arc::clone(&shadow);
        let thread = std::thread::Builder::new().name("shadow".into());
        thread.spawn(move || shown.run(pair, &waiting))?;
        let feed = Feed { shadow: Arc::clone(&shadow), batches };
        Ok((shadow, feed))
    }

    /// What has come of it so far.
    pub fn status(&self) -> Status {
        Status {
            info: self.info.clone(),
            batches_passed_over: self.passed_over.load(Relaxed),
            report: self.report.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    fn run(&self, mut pair: Pair, waiting: &Receiver<Arc<Copied>>) {
        // Where it is not allowed the comparison runs like any other thread.
        let _ = super::stand_back();
        let (mut said, mut told) = (None::<Instant>, 0);
        loop {
            match waiting.recv_timeout(SAY) {
                Ok(batch) => {
                    self.queued.fetch_sub(1, Relaxed);
                    // A copy of the counts is given out, so that nobody waits for a slow candidate.
                    let mut report = self.status().report;
                    batch.with(|records| pair.compare(records, batch.now, &mut report));
                    *self.report.lock().unwrap_or_else(PoisonError::into_inner) = report;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if said.is_none_or(|at| at.elapsed() >= SAY) {
                let status = self.status();
                let differing = status.report.differing();
                if differing > told {
                    (said, told) = (Some(Instant::now()), differing);
                    say(&status);
                }
            }
        }
    }
}

impl Feed {
    /// Whether records are to be given with their headers.
    pub fn reads_headers(&self) -> bool {
        self.shadow.reads_headers
    }

    /// Whether a batch would be taken; one that would not is counted as passed over.
    pub fn has_room(&self) -> bool {
        let has_room = self.shadow.queued.load(Relaxed) < QUEUE_BATCHES;
        self.shadow.passed_over.fetch_add(u64::from(!has_room), Relaxed);
        has_room
    }

    /// Hands a batch over. Never waits: without room it is passed over.
    pub fn offer(&self, batch: &Arc<Copied>) {
        // Counted first, since the other side may be quicker than this one.
        self.shadow.queued.fetch_add(1, Relaxed);
        if self.batches.try_send(Arc::clone(batch)).is_err() {
            self.shadow.queued.fetch_sub(1, Relaxed);
        }
    }
}

fn say(status: &Status) {
    let Status { info, report, .. } = status;
    let kinds: Vec<_> =
        report.differ.iter().map(|(kind, count)| format!("{} {count}", kind.as_str())).collect();
    tracing::info!(
        stage = info.label(),
        candidate = info.plugins.join(", "),
        differ = kinds.join(", "),
        "shadow: {} of {} records come out differently; examples are in the status",
        report.differing(),
        report.records,
    );
}
