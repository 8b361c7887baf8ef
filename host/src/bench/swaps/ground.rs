//! The pipeline under measurement: workers and reloading in this process, as `host run` has them,
//! on a folder whose files are changed as an editor does.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::super::piped;
use super::super::scratch::Scratch;
use super::{PARTITIONS, Plan, WORKERS};
use crate::config::FILE_NAME;
use crate::demo::stop::Stop;
use crate::pipeline::{self, Loader, Setup};
use crate::reload::history::Owner;
use crate::reload::{self, Builder, Kind, Reload, Running};
use crate::worker::status::{Counters, WorkerStatus};
use crate::worker::{self, Offers, Pool, Start, Trial};

/// The name of the process in its groups.
const INSTANCE: &str = "bench";
/// The plugin whose file, or settings, change.
const PLUGIN: &str = "categorize";
/// What stands in the default `pipeline.toml`, and what takes its place.
const STAGE: &str = "plugin = \"categorize\"\n";
/// How often the workers are looked at: their commits are seen so much later at most.
pub const LOOK: Duration = Duration::from_millis(3);
/// A run in which something is waited for longer than this has failed.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// The folder, with what it had at the start.
pub struct Ground<'a> {
    /// What is measured.
    pub plan: &'a Plan,
    text: String,
    component: Vec<u8>,
}

/// Topics and group of one run.
pub struct Names {
    /// Where it reads.
    pub input: String,
    /// Where what passes goes.
    pub output: String,
    /// The group, and the beginning of all other topics.
    pub group: String,
}

impl<'a> Ground<'a> {
    /// What a change of the plugin's file needs is compiled before anything is measured.
    pub fn new(plan: &'a Plan) -> Result<Self> {
        let read = |name: &str| {
            let path = plan.plugins.join(name);
            fs::read(&path).with_context(|| format!("reading {}", path.display()))
        };
        let text = String::from_utf8(read(FILE_NAME)?).context("pipeline.toml is no text")?;
        let ground = Self { plan, text, component: read(&format!("{PLUGIN}.wasm"))? };
        for version in [1, 0] {
            ground.save_plugin(version)?;
            ground.builder()?.load()?;
        }
        Ok(ground)
    }

    fn builder(&self) -> Result<Builder> {
        let plan = self.plan;
        Ok(Builder {
            loader: Loader::new(&plan.plugins, Some(&plan.state_dir))?,
            folder: plan.plugins.clone(),
            overrides: plan.overrides.clone(),
            check: plan.check,
            prove_with: None,
        })
    }

    /// Saves `pipeline.toml` with one of two settings, which even and odd numbers choose. The moment
    /// before it is there.
    pub fn save_settings(&self, names: &Names, number: u64) -> Result<Instant> {
        let fallback = ["one", "two"][(number % 2) as usize];
        let settings = format!("{STAGE}[stage.settings]\nfallback = \"{fallback}\"\n");
        let Names { input, output, group } = names;
        let mut text = self.text.clone();
        for (from, to) in [
            (STAGE, settings.as_str()),
            ("stamp = false", "stamp = true"),
            ("topic = \"user-login\"", &format!("topic = \"{input}\"")),
            ("processed-user-login", output.as_str()),
            ("user-login", group.as_str()),
        ] {
            ensure!(text.contains(from), "the default {FILE_NAME} has no {from:?}");
            text = text.replace(from, to);
        }
        save(&self.plan.plugins, FILE_NAME, text.as_bytes())
    }

    /// Saves the plugin's file: other bytes for each number, 0 being the original, and the same rule.
    pub fn save_plugin(&self, number: u32) -> Result<Instant> {
        let mut component = self.component.clone();
        if number > 0 {
            component.extend(custom_section(number));
        }
        save(&self.plan.plugins, &format!("{PLUGIN}.wasm"), &component)
    }

    /// Starts the workers, at the start of the input, with what is in the folder. They rest until
    /// [`Live::begin`].
    pub fn start(&self, scratch: &mut Scratch) -> Result<Live> {
        let builder = self.builder()?;
        let generation = builder.load()?;
        let config = &generation.config;
        for (topic, _) in pipeline::topic_names(config) {
            scratch.adopt(topic);
        }
        let setup = Setup {
            client: self.plan.client.clone(),
            instance: INSTANCE.to_owned(),
            start: Start::Earliest,
            // Nothing is left of a bench that could go on elsewhere.
            reset_command: "host reset".to_owned(),
            is_demo: false,
        };
        let job = Arc::new(pipeline::job(config, setup)?);
        let chains = (0..WORKERS).map(|_| generation.chain()).collect::<Result<Vec<_>>>()?;
        let trial = reload::first_trial(&generation, WORKERS);
        let offers = Arc::new(Offers::new(Arc::clone(&trial), chains, Vec::new()));
        let halt = worker::Stop::default();
        let pool = Pool::start(&job, &offers, &halt).context("starting the workers")?;
        pool.pause().set(true);
        let statuses = pool.statuses();
        let history =
            Owner { state_dir: self.plan.state_dir.clone(), instance: INSTANCE.to_owned() };
        let running = Running {
            generation,
            offers: Arc::clone(&offers),
            trial,
            workers: statuses.clone(),
            shadows: Vec::new(),
            history: Some(history),
        };
        let reload = Reload::start(builder, running).context("starting to watch the plugins")?;
        Ok(Live { pool, reload, offers, statuses, halt })
    }
}

/// A running pipeline. Dropping it ends it.
pub struct Live {
    pool: Pool,
    reload: Reload,
    offers: Arc<Offers>,
    statuses: Vec<Arc<WorkerStatus>>,
    halt: worker::Stop,
}

impl Live {
    /// An error if the workers cannot go on, or changed rules were refused or given up.
    pub fn look(&mut self) -> Result<()> {
        piped::look_after(&mut self.pool)?;
        if let Some(failure) = self.reload.failure() {
            bail!("{failure}");
        }
        let last = self.reload.handle().status().last_reload;
        match last {
            Some(last) if !matches!(last.outcome, Kind::Offered | Kind::Unchanged) => {
                bail!("the changed rules were not taken: {}", last.message)
            }
            _ => Ok(()),
        }
    }

    /// Lets the workers begin, once each has its share of the partitions: one that is alone at first
    /// would be in the middle of a transaction when the others join. False after a request to stop.
    pub fn begin(&mut self, stop: &Stop) -> Result<bool> {
        let share = PARTITIONS as usize / WORKERS;
        let has_share = |status: &WorkerStatus| {
            status.at_rest.load(Relaxed) && status.snapshot().partitions.len() == share
        };
        let shared = |live: &Self| live.statuses.iter().all(|status| has_share(status));
        let begins = self.await_that("an even share of the partitions", stop, shared)?;
        self.pool.pause().set(false);
        Ok(begins)
    }

    /// Input records that are committed.
    pub fn records_in(&self) -> u64 {
        self.statuses.iter().map(|status| status.counters.records_in.load(Relaxed)).sum()
    }

    /// Whether each worker has committed records.
    pub fn all_work(&self) -> bool {
        self.statuses.iter().all(|status| status.counters.records_in.load(Relaxed) > 0)
    }

    /// The newest generation.
    pub fn trial(&self) -> Arc<Trial> {
        self.offers.trial()
    }

    /// Looks after the workers until something holds; false after a request to stop.
    pub fn await_that(
        &mut self,
        what: &str,
        stop: &Stop,
        holds: impl Fn(&Self) -> bool,
    ) -> Result<bool> {
        let end = Instant::now() + WAIT_MAX;
        while !holds(self) {
            ensure!(Instant::now() < end, "{what} has not come in {} s", WAIT_MAX.as_secs());
            if stop.wait(LOOK) {
                return Ok(false);
            }
            self.look()?;
        }
        Ok(true)
    }

    /// Looks after the workers for some time; false after a request to stop.
    pub fn rest(&mut self, until: Instant, stop: &Stop) -> Result<bool> {
        while Instant::now() < until {
            if stop.wait_until(until.min(Instant::now() + 10 * LOOK)) {
                return Ok(false);
            }
            self.look()?;
        }
        Ok(true)
    }

    /// Lets the workers commit what they have in hand, and waits for their end, and for that of a
    /// build that still runs: the next run would suffer by it.
    pub fn end(mut self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        // Whatever became of it: nothing is measured any more.
        let _ = runtime.block_on(self.reload.handle().reload());
        self.halt.raise();
        piped::end(&mut self.pool)?;
        let sum = |counter: fn(&Counters) -> &AtomicU64| -> u64 {
            self.statuses.iter().map(|status| counter(&status.counters).load(Relaxed)).sum()
        };
        let aborts = sum(|counters| &counters.aborts);
        let recoveries = sum(|counters| &counters.recoveries);
        if aborts + recoveries > 0 {
            tracing::warn!(
                aborts,
                recoveries,
                "a worker had to begin again: the figures include that"
            );
        }
        Ok(())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.halt.raise();
        // Once it has ended in order there is nobody to wait for; else there is an error already.
        let _ = piped::end(&mut self.pool);
    }
}

/// Writes a file elsewhere and moves it there. The moment before it is there.
fn save(folder: &Path, name: &str, content: &[u8]) -> Result<Instant> {
    let (path, new) = (folder.join(name), folder.join(format!("{name}.new")));
    let saving = || format!("saving {}", path.display());
    fs::write(&new, content).with_context(saving)?;
    let moment = Instant::now();
    fs::rename(new, &path).with_context(saving)?;
    Ok(moment)
}

/// A section that says nothing, to be put at the end of a component.
fn custom_section(number: u32) -> [u8; 8] {
    let [a, b, c, d] = number.to_le_bytes();
    // Custom; six bytes; a name of one byte; the rest is its content.
    [0, 6, 1, b'n', a, b, c, d]
}
