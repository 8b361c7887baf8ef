//! The workers of a process: their threads, and what watches over them.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::failure::{Failure, StopKind};
use super::frontier::SharedFrontier;
use super::job::Job;
use super::offers::Offers;
use super::pause::Pause;
use super::purge::Merged;
use super::run::{Common, Event, Left, Worker};
use super::status::WorkerStatus;
use super::stop::Stop;

/// A worker that makes no step for so long hangs in a call that nothing can bound (delivery
/// rule 14). Ending the process is safe: what is not committed does not count.
const STEP_MAX: Duration = Duration::from_secs(30);
/// After a request to stop, workers have this long to commit and leave.
const STOP_MAX: Duration = Duration::from_secs(9);

/// The running workers.
pub struct Pool {
    workers: Vec<Running>,
    pause: Pause,
    stop: Stop,
    stop_seen: Option<Instant>,
    /// What the workers tell.
    pub events: Receiver<Event>,
    first_failure: Option<Failure>,
    left: Left,
}

/// A worker with its thread.
type Running = (Arc<WorkerStatus>, JoinHandle<Result<Left, Failure>>);

/// How a pool ended.
#[derive(Debug)]
pub enum Ended {
    /// All workers did what they were asked to: stop.
    Stopped(Left),
    /// A worker could not go on; the first one to say so.
    Failed(Failure),
    /// A worker hangs: end the process, at once, with its threads as they are.
    Hangs {
        /// For how long.
        since: Duration,
        /// In which call.
        call: &'static str,
        /// Whether a stop was asked for, and this is only a slow end.
        is_stopping: bool,
    },
}

impl Pool {
    /// Starts one thread per first chain. `stop` ends all of them, and is raised when one fails.
    pub fn start(job: &Arc<Job>, offers: &Arc<Offers>, stop: &Stop) -> std::io::Result<Self> {
        let (sender, events) = channel();
        let pause = Pause::default();
        let (frontier, merged) = (SharedFrontier::default(), Merged::default());
        if job.hops.is_some() {
            frontier.follow(job, stop)?;
            merged.purge(job, stop)?;
        }
        let common = Common {
            stop: stop.clone(),
            events: sender,
            offers: offers.clone(),
            pause: pause.clone(),
            frontier,
            merged,
        };
        let mut workers = Vec::new();
        for number in 0..offers.workers() {
            let status = Arc::new(WorkerStatus::default());
            let worker = Worker::new(job.clone(), number, status.clone(), common.clone());
            let thread = std::thread::Builder::new().name(format!("worker-{number}"));
            workers.push((status, thread.spawn(|| worker.run())?));
        }
        Ok(Self {
            workers,
            pause,
            stop: stop.clone(),
            stop_seen: None,
            events,
            first_failure: None,
            left: Left::Committed,
        })
    }

    /// What each worker shows.
    pub fn statuses(&self) -> Vec<Arc<WorkerStatus>> {
        self.workers.iter().map(|(status, _)| status.clone()).collect()
    }

    /// Lets all of them pause.
    pub fn pause(&self) -> Pause {
        self.pause.clone()
    }

    /// Looks after the workers; to be called several times a second. Some once all have ended.
    pub fn watch(&mut self) -> Option<Ended> {
        let mut running = Vec::new();
        for (status, thread) in std::mem::take(&mut self.workers) {
            if !thread.is_finished() {
                running.push((status, thread));
                continue;
            }
            let ended = thread.join().unwrap_or_else(|panic| {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                let message = format!("a worker panicked: {}", text.unwrap_or("without a message"));
                Err(Failure::Stop { kind: StopKind::Runtime, message })
            });
            match ended {
                Ok(Left::Committed) => {}
                Ok(Left::Uncommitted) => self.left = Left::Uncommitted,
                Err(failure) => {
                    self.stop.raise();
                    self.first_failure.get_or_insert(failure);
                }
            }
        }
        self.workers = running;
        if self.workers.is_empty() {
            return Some(
                self.first_failure.take().map_or(Ended::Stopped(self.left), Ended::Failed),
            );
        }
        if self.stop.is_raised() {
            self.stop_seen.get_or_insert_with(Instant::now);
        }
        let is_stopping = self.stop_seen.is_some_and(|at| at.elapsed() > STOP_MAX);
        let stuck = self.workers.iter().map(|(status, _)| status.stuck_in());
        let (since, call) = stuck.max_by_key(|(since, _)| *since).expect("there are workers");
        if is_stopping || since > STEP_MAX {
            return Some(match self.first_failure.take() {
                Some(failure) => Ended::Failed(failure),
                None => Ended::Hangs { since, call, is_stopping },
            });
        }
        None
    }
}
