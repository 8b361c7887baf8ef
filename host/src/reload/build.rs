//! Makes a generation of what is in the plugins folder: read, compiled, configured and tried, on
//! threads of its own, while the running one goes on.

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

use super::compare::{changes, restart_keys};
use super::examples::examples;
use super::prove::{Objection, prove};
use super::shadows::Shadows;
use crate::chain::Chain;
use crate::config::{self, FILE_NAME, Overrides, Problem, Problems};
use crate::pipeline::{Files, Generation, Loader};
use crate::shadow::stand_back;
use crate::worker::{ErrorLimits, Seen};

/// Problems that one line tells; the rest is counted.
const PROBLEMS_TOLD: usize = 3;

/// What is needed for a generation, besides the files.
pub struct Builder {
    /// Compiles and configures.
    pub loader: Loader,
    /// The plugins folder.
    pub folder: PathBuf,
    /// What flags say.
    pub overrides: Overrides,
    /// Judges the properties of librdkafka.
    pub check: fn(&str, &str) -> Option<(String, String)>,
    /// Records that every generation must cope with; see [`examples`].
    pub prove_with: Option<PathBuf>,
}

/// What a build starts from.
pub(super) struct Order {
    /// What runs when the build begins, and its number.
    pub running: Arc<Generation>,
    pub running_number: u64,
    /// The content that has been judged already: nothing is to be done about it unless it is asked
    /// for.
    pub judged: Option<String>,
    /// The content that was given up, and why.
    pub given_up: Option<(String, String)>,
    pub sample: Vec<Arc<Seen>>,
    pub workers: usize,
}

/// What a build has come to.
pub(super) struct Built {
    /// The number of the generation that ran when it began.
    pub running_number: u64,
    /// What names the files; none where not even `pipeline.toml` could be read.
    pub content: Option<String>,
    pub verdict: Verdict,
}

pub(super) enum Verdict {
    /// Judged before.
    Known,
    /// Other files, the same rules.
    Unchanged(Arc<Generation>),
    /// Something is wrong with the files.
    Invalid(String),
    /// They are right and cannot be taken.
    Refused(String),
    Ready(Box<Ready>),
}

/// A generation with a chain for each worker.
pub(super) struct Ready {
    pub generation: Arc<Generation>,
    /// What it was made of.
    pub files: Files,
    pub chains: Vec<Chain>,
    pub shadows: Shadows,
    pub changes: String,
    pub read: Duration,
    pub prove: Duration,
    /// On how many records it was tried.
    pub proven_on: usize,
}

impl Builder {
    /// As the start of the process does it.
    pub fn load(&self) -> Result<Generation, Problems> {
        let generation = self.loader.load(self.draft()?)?;
        match self.examples(None, &generation) {
            Ok(_) => Ok(generation),
            Err(problem) => {
                let mut problems = Problems::default();
                problems.push(problem);
                Err(problems)
            }
        }
    }

    /// On how many records of the user's own it was tried.
    fn examples(&self, running: Option<&Generation>, new: &Generation) -> Result<usize, Problem> {
        let Some(file) = &self.prove_with else { return Ok(0) };
        examples(file, running, new).map(|examples| examples.records)
    }

    fn draft(&self) -> Result<config::Draft, Problems> {
        config::read(&self.folder.join(FILE_NAME), &self.overrides, &self.check)
    }

    pub(super) fn build(&self, order: &Order) -> Built {
        let mut content = None;
        let verdict = self.judge(order, &mut content).unwrap_or_else(|verdict| verdict);
        Built { running_number: order.running_number, content, verdict }
    }

    fn judge(&self, order: &Order, seen: &mut Option<String>) -> Result<Verdict, Verdict> {
        let started = Instant::now();
        let draft = self.draft().map_err(|problems| {
            let line = one_line(&problems);
            // What is not there has no content; the reason stands for it.
            *seen = Some(line.clone());
            Verdict::Invalid(line)
        })?;
        let content = self.loader.read(draft);
        let read = started.elapsed();
        *seen = Some(content.hash().to_owned());
        if order.judged == *seen {
            return Ok(Verdict::Known);
        }
        if let Some((given_up, reason)) = &order.given_up
            && given_up == content.hash()
        {
            return Ok(Verdict::Refused(format!(
                "these files were given up: {reason}; change them"
            )));
        }
        let generation = self.loader.build(content);
        let generation = generation.map_err(|problems| Verdict::Invalid(one_line(&problems)))?;
        let keys = restart_keys(&order.running.config, &generation.config);
        if !keys.is_empty() {
            let keys = keys.join(", ");
            return Ok(Verdict::Refused(format!(
                "a change of {keys} needs a restart: nothing of {FILE_NAME} is taken until then"
            )));
        }
        if generation.hash() == order.running.hash() {
            return Ok(Verdict::Unchanged(Arc::new(generation)));
        }
        self.prove(order, generation, read)
    }

    fn prove(
        &self,
        order: &Order,
        mut generation: Generation,
        read: Duration,
    ) -> Result<Verdict, Verdict> {
        let started = Instant::now();
        let limits = error_limits(&generation.config);
        let now = super::now_millis();
        let running = Some(&*order.running);
        let proven = prove(running, &generation, &order.sample, &limits, now);
        let proven = proven.map_err(|Objection { message, .. }| {
            let records = order.sample.len();
            Verdict::Invalid(format!("tried on the last {records} records: {message}"))
        })?;
        let examples = self.examples(running, &generation);
        let examples = examples.map_err(|problem| {
            let mut problems = Problems::default();
            problems.push(problem);
            Verdict::Invalid(format!("tried on records of one's own: {}", one_line(&problems)))
        })?;
        let proven_on = proven.records + examples;
        let prove = started.elapsed();
        let made = chains(&generation, order.workers);
        let (chains, shadows) = made.map_err(Verdict::Invalid)?;
        let changes = changes(&order.running, &generation);
        let files = generation.take_files();
        let generation = Arc::new(generation);
        let ready = Ready { generation, files, chains, shadows, changes, read, prove, proven_on };
        Ok(Verdict::Ready(Box::new(ready)))
    }
}

/// Threads for one build, which end with it. What is spawned on them is compiled by them as well, at
/// low priority, and never by all cores: the workers come first.
pub(super) fn threads() -> Result<ThreadPool, ThreadPoolBuildError> {
    let cores = available_parallelism().map_or(1, NonZero::get);
    ThreadPoolBuilder::new()
        .num_threads(cores.saturating_sub(1).max(1))
        .thread_name(|number| format!("build-{number}"))
        // Where it is not allowed they run like any other thread.
        .start_handler(|_| _ = stand_back())
        .build()
}

/// A chain for each worker, and the candidates beside them.
pub(super) fn chains(
    generation: &Generation,
    workers: usize,
) -> Result<(Vec<Chain>, Shadows), String> {
    let made = || {
        let chains = (0..workers).map(|_| generation.chain()).collect::<anyhow::Result<_>>()?;
        anyhow::Ok((chains, Shadows::start(generation)?))
    };
    made().map_err(|error| format!("{error:#}"))
}

pub(super) fn error_limits(config: &config::Config) -> ErrorLimits {
    let reload = &config.reload;
    ErrorLimits { share_max: reload.error_share_max, errors_min: reload.errors_min }
}

/// What is wrong, in one line of a log.
fn one_line(problems: &Problems) -> String {
    let line = |problem: &Problem| {
        let place = problem.place.map(|place| format!(":{}:{}", place.line, place.column));
        let key = if problem.key.is_empty() { "" } else { ": " };
        let (file, place) = (&problem.file, place.unwrap_or_default());
        let text = format!("{file}{place}{key}{}: {}", problem.key, problem.message);
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let mut lines: Vec<_> = problems.iter().take(PROBLEMS_TOLD).map(line).collect();
    if problems.len() > lines.len() {
        lines.push(format!("and {} more, see `host check`", problems.len() - lines.len()));
    }
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};

    use super::*;
    use crate::shadow::behind;

    #[test]
    fn what_a_build_does_in_parallel_stands_back_and_leaves_a_core() {
        let threads = threads().expect("threads");
        let cores = available_parallelism().map_or(1, NonZero::get);
        assert!(threads.current_num_threads() < cores.max(2));
        let all = threads.install(|| {
            // As wasmtime does it with the functions of a plugin.
            (0..1_000).into_par_iter().map(|_| behind()).collect::<Vec<_>>()
        });
        assert!(all.iter().all(|behind| *behind > 0), "{all:?}");
        assert_eq!(behind(), 0);
    }
}
