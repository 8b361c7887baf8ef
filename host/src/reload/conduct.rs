//! Decides what the workers are offered. One thread, one loop, no waiting for anything but its
//! events: builds run beside it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::build::{Builder, Built, Order, Ready, Verdict, chains, threads};
use super::history::{self, Keeper, Source};
use super::status::{Kind, Outcome, StageInfo, Status};
use super::watch::Watch;
use super::{Event, Handle, Running, now_millis, plugins, probation};
use crate::pipeline::{Files, Generation};
use crate::shadow::Shadow;
use crate::worker::status::WorkerStatus;
use crate::worker::{Offers, Rates, Trial};

/// How often the workers are looked at while a generation is new to them.
const LOOK: Duration = Duration::from_millis(10);
/// How often the folder is looked at, whatever events say.
const LOOK_AT_FOLDER: Duration = Duration::from_secs(1);
/// A folder that never settles is read all the same.
const SETTLE_MAX: Duration = Duration::from_secs(5);
/// How long an answer waits until every worker runs the new rules: one may be held up by a broker.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Generations to go back to; only while ever newer ones are on probation is there more than one.
const FALLBACKS_MAX: usize = 8;

/// A generation that the workers were offered.
struct Live {
    generation: Arc<Generation>,
    trial: Arc<Trial>,
    shadows: Vec<Arc<Shadow>>,
    offered: Instant,
    /// Whether it has come through its probation, or needs none.
    is_good: bool,
    is_taken_told: bool,
    is_first_told: bool,
    /// Its number in the history.
    record: Option<u64>,
}

/// Someone who waits for the outcome.
type Answer = oneshot::Sender<Outcome>;

pub(super) struct Conductor {
    builder: Arc<Builder>,
    events: Sender<Event>,
    status: Arc<Mutex<Status>>,
    failure: Arc<Mutex<Option<String>>>,
    offers: Arc<Offers>,
    workers: Vec<Arc<WorkerStatus>>,
    watch: Watch,
    looked_at_folder: Instant,
    keeper: Option<Keeper>,
    /// The files that the process has started with, until they are kept.
    first: Files,
    live: Live,
    /// What to go back to, the best last.
    fallbacks: Vec<Live>,
    /// The content that was judged last.
    judged: Option<String>,
    /// The content that was given up, and why; until there is another.
    given_up: Option<(String, String)>,
    /// The first and the last hint that were not followed yet.
    hints: Option<(Instant, Instant)>,
    is_building: bool,
    /// Whose request the running build answers, and whose the next one.
    answers: Vec<Answer>,
    asked: Vec<Answer>,
    /// Who waits until the workers have what was offered, with the answer for then, and until when.
    waiting: Vec<(Instant, Outcome, Answer)>,
}

impl Conductor {
    pub fn new(
        builder: Builder,
        running: Running,
        handle: &Handle,
        failure: Arc<Mutex<Option<String>>>,
    ) -> Self {
        let Running { mut generation, offers, trial, workers, shadows, history } = running;
        let events = handle.events.clone();
        let hints = events.clone();
        // Nobody listens any more only when the process is about to end.
        let watch = Watch::start(&builder.folder, move || _ = hints.send(Event::Hint));
        let watches = generation.config.reload.watch;
        let judged = Some(generation.content().to_owned());
        let first = generation.take_files();
        let keeper = history.map(|owner| Keeper::new(owner, history::folder_name(&builder.folder)));
        let mut live = Live::new(Arc::new(generation), trial, shadows);
        // The start has its own line in the log.
        (live.is_taken_told, live.is_first_told) = (true, true);
        let conductor = Self {
            builder: Arc::new(builder),
            events,
            status: Arc::clone(&handle.status),
            failure,
            offers,
            workers,
            watch,
            looked_at_folder: Instant::now(),
            keeper,
            first,
            live,
            fallbacks: Vec::new(),
            judged,
            given_up: None,
            // What changed between reading the files and watching them.
            hints: watches.then_some((Instant::now(), Instant::now())),
            is_building: false,
            answers: Vec::new(),
            asked: Vec::new(),
            waiting: Vec::new(),
        };
        conductor.show(|_| {});
        conductor
    }

    pub fn run(mut self, events: &Receiver<Event>) {
        let first = Source::Files(std::mem::take(&mut self.first));
        self.keep(history::Outcome::Started, "start of the process", first);
        loop {
            match events.recv_timeout(self.wait()) {
                Ok(Event::Hint) => self.hinted(),
                Ok(Event::Asked(answer)) => self.asked.push(answer),
                Ok(Event::Built(built)) => self.built(*built),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
            self.look_at_workers();
            self.look_at_folder();
            self.build_if_due();
        }
    }

    fn wait(&self) -> Duration {
        if !self.live.is_good || self.hints.is_some() || !self.waiting.is_empty() {
            LOOK
        } else if !self.live.is_first_told {
            // Nothing comes in: nobody waits for that line.
            10 * LOOK
        } else {
            LOOK_AT_FOLDER
        }
    }

    fn hinted(&mut self) {
        if self.live.generation.config.reload.watch {
            let now = Instant::now();
            let first = self.hints.map_or(now, |(first, _)| first);
            self.hints = Some((first, now));
        }
    }

    fn look_at_folder(&mut self) {
        if self.looked_at_folder.elapsed() >= LOOK_AT_FOLDER {
            self.looked_at_folder = Instant::now();
            if self.watch.look() {
                self.hinted();
            }
        }
    }

    /// Starts a build if someone asks for one, or the folder has settled.
    fn build_if_due(&mut self) {
        let settle = self.live.generation.config.reload.settle;
        let has_settled = self.hints.is_some_and(|(first, last)| {
            last.elapsed() >= settle || first.elapsed() >= SETTLE_MAX.max(settle)
        });
        let is_due = has_settled || !self.asked.is_empty();
        if self.is_building || !is_due {
            return;
        }
        self.hints = None;
        self.answers = std::mem::take(&mut self.asked);
        let sample = self.workers.iter().flat_map(|worker| worker.sample.records());
        let order = Order {
            running: Arc::clone(&self.live.generation),
            running_number: self.live.trial.number,
            judged: self.judged.clone().filter(|_| self.answers.is_empty()),
            given_up: self.given_up.clone(),
            sample: sample.collect(),
            workers: self.workers.len(),
        };
        let (builder, events) = (Arc::clone(&self.builder), self.events.clone());
        let work = move || {
            let built = catch_unwind(AssertUnwindSafe(|| builder.build(&order)));
            let built = built.unwrap_or_else(|_| Built {
                running_number: order.running_number,
                content: None,
                verdict: Verdict::Invalid("the host panicked over these files".to_owned()),
            });
            let _ = events.send(Event::Built(Box::new(built)));
        };
        match threads() {
            Ok(threads) => {
                threads.spawn(work);
                self.is_building = true;
            }
            Err(error) => self.refuse(Kind::Invalid, format!("starting a thread: {error}")),
        }
    }

    /// A build has ended: its verdict becomes true.
    fn built(&mut self, built: Built) {
        self.is_building = false;
        self.look_at_workers();
        let Built { running_number, content, verdict } = built;
        if matches!(verdict, Verdict::Known) {
            return;
        }
        if running_number != self.live.trial.number {
            // The workers went back meanwhile: what is to be done about the files is another
            // question now.
            let now = Instant::now();
            self.judged = None;
            self.hints = Some((now, now));
            self.asked.append(&mut self.answers);
            return;
        }
        if self.given_up.as_ref().is_some_and(|(given_up, _)| content.as_ref() != Some(given_up)) {
            self.given_up = None;
        }
        self.judged = content;
        match verdict {
            Verdict::Known => {}
            Verdict::Unchanged(generation) => {
                // What is no part of the rules, such as this section, is taken at once.
                self.live.generation = generation;
                let number = self.live.trial.number;
                tracing::info!(generation = number, "the files have the rules that run");
                self.end(Kind::Unchanged, "the rules are the ones that run".to_owned());
            }
            Verdict::Invalid(reason) => self.refuse(Kind::Invalid, reason),
            Verdict::Refused(reason) => self.refuse(Kind::Refused, reason),
            Verdict::Ready(ready) => self.offer(*ready),
        }
    }

    fn refuse(&mut self, kind: Kind, reason: String) {
        tracing::warn!(
            generation = self.live.trial.number,
            "reload refused, the running rules stay: {reason}"
        );
        self.end(kind, reason);
    }

    fn offer(&mut self, ready: Ready) {
        let Ready { generation, files, chains, shadows, changes, read, prove, proven_on } = ready;
        let number = self.live.trial.number + 1;
        let probation = Some(probation(&generation));
        let (usual, workers) = (self.usual(), self.workers.len());
        let trial = Trial::new(number, generation.hash(), probation, usual, workers);
        let trial = Arc::new(trial.with_plugins(plugins(&generation)));
        let times = generation.times();
        tracing::info!(
            generation = number,
            rules = generation.hash(),
            changes,
            read_ms = millis(read),
            compile_ms = millis(times.compile),
            configure_ms = millis(times.configure),
            prove_ms = millis(prove),
            proven_on,
            "new rules offered to the workers"
        );
        self.offers.offer(Arc::clone(&trial), chains, shadows.feeds);
        let live = Live::new(generation, trial, shadows.shown);
        let before = std::mem::replace(&mut self.live, live);
        self.fallbacks.push(before);
        if self.fallbacks.len() > FALLBACKS_MAX {
            self.fallbacks.remove(0);
        }
        self.keep(history::Outcome::Offered, &changes, Source::Files(files));
        self.end(Kind::Offered, changes);
    }

    /// Keeps the live generation in the history.
    fn keep(&mut self, outcome: history::Outcome, changes: &str, files: Source) {
        let Some(keeper) = &mut self.keeper else { return };
        let Live { generation, trial, .. } = &self.live;
        self.live.record = keeper.keep(trial.number, generation, outcome, changes, files);
    }

    /// Notes in the history what became of a generation.
    fn note(&self, live: &Live, outcome: history::Outcome, reason: Option<&str>) {
        if let Some(keeper) = &self.keeper {
            keeper.note(live.record, outcome, reason);
        }
    }

    /// The errors of each stage in all workers.
    fn usual(&self) -> Rates {
        let mut usual = Rates::new();
        for (stage, rate) in self.workers.iter().flat_map(|worker| worker.snapshot().errors) {
            usual.entry(stage).or_default().add(rate);
        }
        usual
    }

    /// What workers have found out about what they were offered.
    fn look_at_workers(&mut self) {
        // A generation that was given up while the next one was just offered is none to go back to.
        for live in self.fallbacks.extract_if(.., |live| live.trial.condemned().is_some()) {
            if let Some(keeper) = &self.keeper {
                let reason = live.trial.condemned();
                keeper.note(live.record, history::Outcome::RolledBack, reason);
            }
        }
        if let Some(reason) = self.live.trial.condemned().map(str::to_owned) {
            self.roll_back(&reason);
        }
        let number = self.live.trial.number;
        if !self.live.is_taken_told && self.live.trial.is_taken() {
            self.live.is_taken_told = true;
            let ms = millis(self.live.offered.elapsed());
            tracing::info!(generation = number, ms, "every worker runs these rules");
            self.show(|status| {
                let last = status.last_reload.as_mut().filter(|last| last.generation == number);
                last.and_then(|last| last.taken.as_mut())
                    .into_iter()
                    .for_each(|taken| *taken = true);
            });
        }
        let live = &mut self.live;
        if !live.is_first_told
            && let Some((at, worker)) = live.trial.first()
        {
            live.is_first_told = true;
            let ms = millis(at.duration_since(live.offered));
            tracing::info!(
                generation = number,
                worker,
                ms,
                "first record processed by generation {number}"
            );
        }
        if !live.is_good && live.trial.has_passed() {
            live.is_good = true;
            self.fallbacks.clear();
            tracing::info!(generation = number, "the new rules have passed their probation");
            self.note(&self.live, history::Outcome::Passed, None);
            self.show(|_| {});
        }
        self.answer_waiting();
    }

    /// All workers go back to the generation before, which gets a new, higher number.
    fn roll_back(&mut self, reason: &str) {
        let Some(target) = self.fallbacks.pop() else {
            self.fail(format!("the rules are given up, and there are none before: {reason}"));
            return;
        };
        let number = self.live.trial.number + 1;
        let (from, to) = (self.live.trial.number, target.trial.number);
        let (chains, shadows) = match chains(&target.generation, self.workers.len()) {
            Ok(made) => made,
            Err(error) => {
                self.fail(format!("going back from generation {from} to {to}: {error}"));
                return;
            }
        };
        // One that had not come through its own probation begins it again.
        let probation = (!target.is_good).then(|| probation(&target.generation));
        let (hash, workers) = (target.generation.hash(), self.workers.len());
        let trial = Trial::new(number, hash, probation, self.usual(), workers);
        let trial = Arc::new(trial.with_plugins(plugins(&target.generation)));
        self.offers.offer(Arc::clone(&trial), chains, shadows.feeds);
        let target_record = target.record;
        let live = Live::new(target.generation, trial, shadows.shown);
        let given_up = std::mem::replace(&mut self.live, live);
        let message = format!(
            "generation {from} ({}) was given up: {reason}; generation {number} has the rules of {to}",
            given_up.generation.hash()
        );
        let rules = self.live.generation.hash();
        tracing::error!(generation = number, rules, "rolled back: {message}");
        self.note(&given_up, history::Outcome::RolledBack, Some(reason));
        let outcome = match self.live.is_good {
            true => history::Outcome::Passed,
            false => history::Outcome::Offered,
        };
        let changes = format!("back to generation {to}: {from} was given up");
        self.keep(outcome, &changes, Source::Record(target_record));
        let content = given_up.generation.content().to_owned();
        self.given_up = Some((content, reason.to_owned()));
        self.end(Kind::RolledBack, message);
    }

    fn fail(&self, message: String) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(message);
    }

    /// Shows an outcome, and answers whoever asked for it.
    fn end(&mut self, kind: Kind, message: String) {
        let outcome = self.outcome(kind, message);
        self.show(|status| {
            let counts = &mut status.counts;
            match kind {
                Kind::Offered => counts.offered += 1,
                Kind::Unchanged => counts.unchanged += 1,
                Kind::Invalid | Kind::Refused => counts.refused += 1,
                Kind::RolledBack => counts.rolled_back += 1,
            }
            status.last_reload = Some(outcome.clone());
        });
        for answer in std::mem::take(&mut self.answers) {
            if kind == Kind::Offered {
                self.waiting.push((Instant::now() + ANSWER_MAX, outcome.clone(), answer));
            } else {
                // Who asked may have gone.
                let _ = answer.send(outcome.clone());
            }
        }
        if kind == Kind::RolledBack {
            for (_, _, answer) in self.waiting.drain(..) {
                let _ = answer.send(outcome.clone());
            }
        }
    }

    fn outcome(&self, outcome: Kind, message: String) -> Outcome {
        let trial = &self.live.trial;
        Outcome {
            at: now_millis(),
            outcome,
            generation: trial.number,
            hash: trial.hash.clone(),
            message,
            taken: matches!(outcome, Kind::Offered | Kind::RolledBack).then(|| trial.is_taken()),
        }
    }

    fn answer_waiting(&mut self) {
        let (now, taken) = (Instant::now(), self.live.trial.is_taken());
        for (until, outcome, answer) in std::mem::take(&mut self.waiting) {
            if taken || until <= now {
                let _ = answer.send(Outcome { taken: Some(taken), ..outcome });
            } else {
                self.waiting.push((until, outcome, answer));
            }
        }
    }

    /// Publishes what runs, and what else there is to say.
    fn show(&self, more: impl FnOnce(&mut Status)) {
        let Live { generation, trial, is_good, shadows, .. } = &self.live;
        let stages = generation.stages().map(|(stage, plugin)| StageInfo {
            name: stage.name.clone(),
            plugin: stage.plugin.clone(),
            hash: plugin.hash().short(),
        });
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.generation = trial.number;
        status.hash.clone_from(&trial.hash);
        status.on_probation = !is_good;
        status.stages = stages.collect();
        status.candidates.clone_from(shadows);
        more(&mut status);
    }
}

impl Live {
    fn new(generation: Arc<Generation>, trial: Arc<Trial>, shadows: Vec<Arc<Shadow>>) -> Self {
        Self {
            is_good: trial.probation.is_none(),
            generation,
            trial,
            shadows,
            offered: Instant::now(),
            is_taken_told: false,
            is_first_told: false,
            record: None,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
