//! `host run`: the pipeline, until it is asked to stop.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::args::RunArgs;
use super::exit::{Exit, Failure};
use super::properties;
use crate::admin::{self, Bound, Server};
use crate::config::{self, FILE_NAME, Mode, StartAt};
use crate::demo::stop::Stop as Signal;
use crate::kafka::{ClientSettings, exactly_once_supported, reachable};
use crate::pipeline::{self, Instance, Loader, Setup};
use crate::plugin::defaults::{self, Action};
use crate::window::ClosedLog;
use crate::worker::status::WorkerStatus;
use crate::worker::{self, Ended, Event, Pool, Start, Stop, StopKind};

/// How long the brokers may take to answer at the start.
const ANSWER: Duration = Duration::from_secs(15);
/// How often the workers are looked after.
const LOOK: Duration = Duration::from_millis(100);
/// How long a closed window waits for the slower partitions before its table is logged.
const TABLE_WAIT: Duration = Duration::from_secs(10);

/// Runs the command.
pub fn run(args: &RunArgs) -> anyhow::Result<()> {
    let overrides = args.overrides().map_err(|text| Failure::new(Exit::Input, text))?;
    let folder = &args.plugins.plugins;
    lay_down(folder, &args.state_dir)?;
    let draft = config::read(&folder.join(FILE_NAME), &overrides, &properties::problem)?;
    let generation = Loader::new(folder, Some(&args.state_dir))?.load(draft)?;
    let config = &generation.config;
    let bound = Bound::new(args.admin)?;
    let instance = Instance::claim(&args.state_dir, args.instance.as_deref())
        .map_err(|error| Failure::new(Exit::Input, format!("{error:#}")))?;
    let brokers = args.connect.brokers.as_deref().unwrap_or_default();
    let client = ClientSettings::new(brokers, config.properties.iter())?;
    reachable(&client, ANSWER)?;
    if config.delivery.mode == Mode::ExactlyOnce {
        exactly_once_supported(&client, ANSWER)?;
    }
    let start = match args.from {
        StartAt::Earliest => Start::Earliest,
        StartAt::Latest => Start::Latest,
        StartAt::Time(millis) => Start::Time(millis),
    };
    let setup = Setup { client, instance: instance.name().to_owned(), start };
    let job = Arc::new(pipeline::job(config, setup)?);
    let workers = args.workers();
    let chains = (0..workers).map(|_| generation.chain()).collect::<anyhow::Result<Vec<_>>>()?;
    let signal = Signal::on_signal().context("listening for signals")?;
    let stop = Stop::default();
    let pool = Pool::start(&job, chains, &stop).context("starting the workers")?;
    let statuses = pool.statuses();
    let server = Server::start(
        bound,
        Arc::new(admin::Pipeline {
            name: config.name.clone(),
            instance: instance.name().to_owned(),
            demo: false,
            delivery: config.delivery.mode.name(),
            workers: statuses.clone(),
        }),
    );
    let server = server.context("starting the admin server")?;
    tracing::info!(
        pipeline = config.name, instance = instance.name(), rules = generation.hash(), workers,
        delivery = config.delivery.mode.name(), input = config.source.topic.name,
        output = config.sink.topic.name, admin = %server.address(), "running"
    );
    control(pool, &statuses, &signal, &stop)
}

/// Puts the default plugins and `pipeline.toml` where they are missing, and says so.
fn lay_down(folder: &Path, state_dir: &Path) -> anyhow::Result<()> {
    for file in defaults::lay_down(folder, state_dir)? {
        let path = file.path.display();
        match file.action {
            Action::Written => tracing::info!(file = %path, "laid down"),
            Action::Replaced => tracing::info!(file = %path, "replaced by the newer default"),
            Action::Kept => tracing::info!(file = %path, "not the default: left as it is"),
            Action::Current => {}
        }
    }
    Ok(())
}

/// Looks after the workers until they have ended.
fn control(
    mut pool: Pool,
    statuses: &[Arc<WorkerStatus>],
    signal: &Signal,
    stop: &Stop,
) -> anyhow::Result<()> {
    let mut tables = Tables::default();
    loop {
        if signal.wait(if stop.is_raised() { Duration::ZERO } else { LOOK }) {
            if !stop.is_raised() {
                tracing::info!("stopping: committing what is in hand");
                stop.raise();
            }
            std::thread::sleep(LOOK);
        }
        tables.take(&pool, statuses);
        match pool.watch() {
            None => {}
            Some(Ended::Clean) => {
                tables.finish(&pool);
                tracing::info!("stopped: everything in hand is committed, open windows stay open");
                return Ok(());
            }
            Some(Ended::Failed(failure)) => return Err(failed(failure)),
            Some(Ended::Hangs { since, call, is_stopping }) => hangs(since, call, is_stopping),
        }
    }
}

fn failed(failure: worker::Failure) -> anyhow::Error {
    let exit = match &failure {
        worker::Failure::Stop { kind: StopKind::Input, .. } => Exit::Input,
        worker::Failure::Stop { kind: StopKind::Environment, .. } => Exit::Environment,
        _ => Exit::Runtime,
    };
    Failure::new(exit, failure.to_string()).into()
}

/// Ends the process with its threads as they are. What is not committed does not count, so a
/// supervisor can start it again at once.
fn hangs(since: Duration, call: &str, is_stopping: bool) -> ! {
    let seconds = since.as_secs();
    if is_stopping {
        tracing::warn!(
            call,
            seconds,
            "ended without waiting any longer for the brokers; nothing that is not committed counts"
        );
        std::process::exit(Exit::Done as i32);
    }
    tracing::error!(
        call,
        seconds,
        "a worker hangs: ending the process; nothing that is not committed counts, start it again"
    );
    std::process::exit(Exit::Runtime as i32);
}

/// The tables of closed windows in the log.
struct Tables {
    log: ClosedLog,
    held: BTreeSet<i32>,
    looked: Option<Instant>,
}

impl Default for Tables {
    fn default() -> Self {
        Self { log: ClosedLog::new(TABLE_WAIT), held: BTreeSet::new(), looked: None }
    }
}

impl Tables {
    fn take(&mut self, pool: &Pool, statuses: &[Arc<WorkerStatus>]) {
        self.take_events(pool);
        if self.looked.is_some_and(|at| at.elapsed() < Duration::from_secs(1)) {
            return;
        }
        self.looked = Some(Instant::now());
        let mut held = BTreeSet::new();
        for status in statuses {
            for (partition, status) in status.snapshot().partitions {
                for (window, before) in &status.closed_before {
                    self.log.progress(window, partition, *before);
                }
                held.insert(partition);
            }
        }
        for gone in self.held.difference(&held) {
            self.log.forget(*gone);
        }
        self.held = held;
        for table in self.log.take_ready(now_millis()) {
            tracing::info!("window closed\n{table}");
        }
    }

    fn finish(&mut self, pool: &Pool) {
        self.take_events(pool);
        for table in self.log.take_all() {
            tracing::info!("window closed\n{table}");
        }
    }

    fn take_events(&mut self, pool: &Pool) {
        for event in pool.events.try_iter() {
            let Event::Closed(windows) = event;
            for window in &windows {
                self.log.add(window, now_millis());
            }
        }
    }
}

fn now_millis() -> i64 {
    chrono::Utc::now().timestamp_millis()
}
