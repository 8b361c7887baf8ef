//! Changes of the rules while the pipeline runs: watch the plugins folder, let it settle, build a
//! generation beside the running one, try it, and only then offer it to the workers; take it back
//! when it turns out to be broken. Never touches a worker's state: it puts chains where workers look
//! for them, and reads what they publish.
//!
//! [`Reload::start`] runs one thread that decides (`conduct`) and, for each build, others that
//! work, at low priority, so that going back never waits for a compiler. The thread that decides
//! also keeps what ran in the [`history`], from which a person can put files back into the folder.

mod build;
mod compare;
mod conduct;
mod examples;
pub mod history;
mod prove;
mod shadows;
mod status;
mod watch;

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

pub use build::Builder;
pub use examples::{Examples, examples};
pub use shadows::Shadows;
pub use status::{Counts, Kind, Outcome, StageInfo, Status};

use crate::pipeline::Generation;
use crate::shadow::Shadow;
use crate::worker::status::WorkerStatus;
use crate::worker::{Offers, Probation, Trial};
use build::{Built, error_limits};
use conduct::Conductor;

/// What can happen to the rules.
enum Event {
    /// Something in the folder may be different.
    Hint,
    /// Someone wants the files to be taken now, and to know what became of it.
    Asked(oneshot::Sender<Outcome>),
    /// A build has ended.
    Built(Box<Built>),
    /// The process ends.
    Stop,
}

/// Asks for a reload, and tells of those that were.
#[derive(Clone, Debug)]
pub struct Handle {
    events: Sender<Event>,
    status: Arc<Mutex<Status>>,
}

/// Requests of [`Handle::reload`] that nobody has answered yet.
pub struct Requests(Receiver<Event>);

impl Handle {
    /// One whose requests are answered by whoever holds the other end.
    pub fn detached(status: Status) -> (Self, Requests) {
        let (events, receiver) = channel();
        (Self { events, status: Arc::new(Mutex::new(status)) }, Requests(receiver))
    }

    /// The rules that run and the last reload.
    pub fn status(&self) -> Status {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
        status.shadows = status.candidates.iter().map(|shadow| shadow.status()).collect();
        status
    }

    /// Takes the files as they are now; answers once every worker runs them, or nothing comes of it.
    /// None if the process is about to end.
    pub async fn reload(&self) -> Option<Outcome> {
        let (answer, answered) = oneshot::channel();
        self.events.send(Event::Asked(answer)).ok()?;
        answered.await.ok()
    }
}

impl Requests {
    /// Answers the next one, which is waited for.
    pub fn answer(&self, outcome: Outcome) {
        if let Ok(Event::Asked(answer)) = self.0.recv() {
            // Who asked may have gone.
            let _ = answer.send(outcome);
        }
    }
}

/// The thread that decides. Dropping it ends it.
pub struct Reload {
    handle: Handle,
    failure: Arc<Mutex<Option<String>>>,
    thread: Option<JoinHandle<()>>,
}

/// What runs when reloading begins.
pub struct Running {
    /// The generation that the process has started with.
    pub generation: Generation,
    /// Where workers look for the next ones.
    pub offers: Arc<Offers>,
    /// What the first one is to the workers.
    pub trial: Arc<Trial>,
    /// What the workers publish.
    pub workers: Vec<Arc<WorkerStatus>>,
    /// Its candidates.
    pub shadows: Vec<Arc<Shadow>>,
    /// Whose history is kept; none keeps none.
    pub history: Option<history::Owner>,
}

impl Reload {
    /// Watches the folder, and answers requests, until it is dropped.
    pub fn start(builder: Builder, running: Running) -> io::Result<Self> {
        let (handle, Requests(receiver)) = Handle::detached(Status::default());
        let failure = Arc::default();
        let conductor = Conductor::new(builder, running, &handle, Arc::clone(&failure));
        let thread = std::thread::Builder::new().name("reload".into());
        let thread = thread.spawn(move || conductor.run(&receiver))?;
        Ok(Self { handle, failure, thread: Some(thread) })
    }

    /// For whoever shows it, or asks for one.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Why the workers cannot go on: the running rules are given up, and there are no others.
    pub fn failure(&self) -> Option<String> {
        let ended = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        failure.or_else(|| ended.then(|| "the thread that reloads has ended".to_owned()))
    }
}

impl Drop for Reload {
    fn drop(&mut self) {
        let _ = self.handle.events.send(Event::Stop);
        if let Some(thread) = self.thread.take() {
            // If it panicked that was reported, and the process ends anyway.
            let _ = thread.join();
        }
    }
}

/// How the first generation of a process is shown to its workers.
pub fn first_trial(generation: &Generation, workers: usize) -> Arc<Trial> {
    Arc::new(Trial::good(1, generation.hash(), workers).with_plugins(plugins(generation)))
}

/// What names the plugin of each stage.
fn plugins(generation: &Generation) -> impl Iterator<Item = String> {
    generation.stages().map(|(_, plugin)| plugin.hash().short())
}

fn probation(generation: &Generation) -> Probation {
    let reload = &generation.config.reload;
    Probation {
        records: reload.probation_records,
        time: reload.probation_time,
        errors: error_limits(&generation.config),
    }
}

fn now_millis() -> i64 {
    chrono::Utc::now().timestamp_millis()
}
