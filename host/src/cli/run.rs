//! `host run`: the pipeline, until it is asked to stop.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::args::RunArgs;
use super::exit::{Exit, Failure};
use super::properties;
use crate::admin::{self, Bound, Server};
use crate::config::{Config, FILE_NAME, Mode, Overrides, StartAt};
use crate::demo::Demo;
use crate::demo::stop::Stop as Signal;
use crate::kafka::{ClientSettings, exactly_once_supported, reachable};
use crate::pipeline::{self, Instance, Loader, Setup};
use crate::plugin::defaults::{self, Action};
use crate::reload::history::Owner;
use crate::reload::{self, Builder, Reload, Shadows};
use crate::window::ClosedLog;
use crate::worker::status::{PartitionStatus, WorkerStatus};
use crate::worker::{self, Ended, Event, Left, Offers, Pool, Start, Stop, StopKind};

/// How long the brokers may take to answer at the start.
const ANSWER: Duration = Duration::from_secs(30);
/// How long the demo's workers may take to come to the end of their input.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// How often the workers are looked after.
const LOOK: Duration = Duration::from_millis(100);
/// How long a closed window waits for the slower partitions before its table is logged.
const TABLE_WAIT: Duration = Duration::from_secs(10);

/// Runs the command.
pub fn run(args: &RunArgs) -> anyhow::Result<()> {
    let folder = &args.plugins.plugins;
    let overrides = overrides(args)?;
    lay_down(folder, &args.state_dir)?;
    let builder = Builder {
        loader: Loader::new(folder, Some(&args.state_dir))?,
        folder: folder.clone(),
        overrides,
        check: properties::problem,
        prove_with: args.prove.prove_with.clone(),
    };
    let generation = builder.load()?;
    let config = generation.config.clone();
    let bound = Bound::new(args.admin)?;
    let instance = claim(args)?;
    let signal = Signal::on_signal().context("listening for signals")?;
    let has_started = end_while_starting(&signal).context("listening for signals")?;
    let (client, mut demo) = connect(args, &config)?;
    let start = match args.from {
        StartAt::Earliest => Start::Earliest,
        StartAt::Latest => Start::Latest,
        StartAt::Time(millis) => Start::Time(millis),
    };
    let instance_name = instance.name().to_owned();
    let is_demo = demo.is_some();
    let reset_command = args.reset_command();
    let setup = Setup { client, instance: instance_name, start, reset_command, is_demo };
    let job = Arc::new(pipeline::job(&config, setup)?);
    let workers = args.workers();
    let chains = (0..workers).map(|_| generation.chain()).collect::<anyhow::Result<Vec<_>>>()?;
    let shadows = Shadows::start(&generation)?;
    let stop = Stop::default();
    has_started.store(true, Relaxed);
    let (rules, trial) = (generation.hash().to_owned(), reload::first_trial(&generation, workers));
    let offers = Arc::new(Offers::new(trial.clone(), chains, shadows.feeds));
    let pool = Pool::start(&job, &offers, &stop).context("starting the workers")?;
    let statuses = pool.statuses();
    let running = reload::Running {
        generation,
        offers,
        trial,
        workers: statuses.clone(),
        shadows: shadows.shown,
        history: Some(Owner {
            state_dir: args.state_dir.clone(),
            instance: instance.name().to_owned(),
        }),
    };
    let reload = Reload::start(builder, running).context("starting to watch the plugins")?;
    let shown = admin::Pipeline {
        name: config.name.clone(),
        instance: instance.name().to_owned(),
        demo: is_demo,
        delivery: config.delivery.mode.name(),
        workers: statuses.clone(),
        reload: reload.handle(),
        pause: pool.pause(),
    };
    let server = Server::start(bound, Arc::new(shown)).context("starting the admin server")?;
    tracing::info!(
        pipeline = config.name, instance = instance.name(), rules, workers,
        delivery = config.delivery.mode.name(), input = config.source.topic.name,
        output = config.sink.topic.name, admin = %server.address(), "running"
    );
    if let Some(demo) = &mut demo {
        demo.generate(&config.source.topic.name, statuses.clone())?;
        demo.show(&config.sink.topic.name, statuses.clone())?;
    }
    control(pool, &reload, &signal, &stop, demo)
}

/// Until workers run there is nothing to commit: a signal ends the process at once then, whatever
/// it waits for. The flag says that they do.
fn end_while_starting(signal: &Signal) -> std::io::Result<Arc<AtomicBool>> {
    let has_started = Arc::new(AtomicBool::new(false));
    let (signal, flag) = (signal.clone(), has_started.clone());
    std::thread::Builder::new().name("starting".into()).spawn(move || {
        while !flag.load(Relaxed) {
            if signal.wait(LOOK) && !flag.load(Relaxed) {
                tracing::info!("stopped before anything was begun");
                std::process::exit(Exit::Done as i32);
            }
        }
    })?;
    Ok(has_started)
}

/// The flags over the file; without brokers the demo's broker decides what can be promised.
fn overrides(args: &RunArgs) -> anyhow::Result<Overrides> {
    let mut overrides = args.overrides().map_err(|text| Failure::new(Exit::Input, text))?;
    if args.connect.brokers.is_none() {
        if overrides.delivery == Some(Mode::ExactlyOnce) {
            let message = "the embedded demo broker has no transactions, so it cannot promise \
                           exactly-once: name a Kafka with --brokers, or leave --delivery out";
            return Err(Failure::new(Exit::Input, message).into());
        }
        overrides.delivery = Some(Mode::AtLeastOnce);
    }
    Ok(overrides)
}

/// The brokers that were named, once they answer; without any, the demo's own.
fn connect(args: &RunArgs, config: &Config) -> anyhow::Result<(ClientSettings, Option<Demo>)> {
    let Some(brokers) = args.connect.brokers.as_deref() else {
        let demo = Demo::start(&pipeline::topic_names(config))?;
        return Ok((demo.settings().clone(), Some(demo)));
    };
    let client = ClientSettings::new(brokers, config.properties.iter())?;
    reachable(&client, ANSWER)?;
    if config.delivery.mode == Mode::ExactlyOnce {
        exactly_once_supported(&client, ANSWER)?;
    }
    Ok((client, None))
}

/// Puts the default plugins and `pipeline.toml` where they are missing, and says so.
fn lay_down(folder: &Path, state_dir: &Path) -> anyhow::Result<()> {
    let laid_down = defaults::lay_down(folder, state_dir).map_err(|error| {
        let message = format!(
            "laying down what is missing in {} and {}, where this user must be able to write \
             (--plugins and --state-dir name other folders)",
            folder.display(),
            state_dir.display()
        );
        Failure::because(Exit::Environment, message, error)
    })?;
    for file in laid_down {
        let path = file.path.display();
        match file.action {
            Action::Written => tracing::info!(file = %path, "laid down"),
            Action::Replaced => tracing::info!(file = %path, "replaced by the newer default"),
            // A pipeline.toml of one's own is what it is for.
            Action::Kept if file.path.ends_with(FILE_NAME) => {}
            Action::Kept => tracing::info!(file = %path, "not the default: left as it is"),
            Action::Current => {}
        }
    }
    Ok(())
}

/// This process's name in the group.
fn claim(args: &RunArgs) -> Result<Instance, Failure> {
    Instance::claim(&args.state_dir, args.instance.as_deref()).map_err(|error| {
        if error.chain().any(|cause| cause.is::<std::io::Error>()) {
            let message = "this user must be able to write in the state folder (--state-dir names \
                           another)";
            return Failure::because(Exit::Environment, message, error);
        }
        Failure::new(Exit::Input, format!("{error:#}"))
    })
}

/// Looks after the workers until they have ended.
fn control(
    mut pool: Pool,
    reload: &Reload,
    signal: &Signal,
    stop: &Stop,
    mut demo: Option<Demo>,
) -> anyhow::Result<()> {
    let statuses = &pool.statuses();
    let mut tables = Tables::default();
    let mut draining: Option<Instant> = None;
    loop {
        if signal.wait(if stop.is_raised() { Duration::ZERO } else { LOOK }) {
            let since = *draining.get_or_insert_with(|| {
                tracing::info!("stopping: committing what is in hand");
                if let Some(demo) = &mut demo {
                    demo.stop_generating();
                }
                Instant::now()
            });
            if demo.is_none() || is_drained(statuses, since) {
                stop.raise();
            }
            std::thread::sleep(LOOK);
        }
        tables.take(&pool, statuses);
        if let Some(failure) = reload.failure() {
            return Err(Failure::new(Exit::Runtime, failure).into());
        }
        match pool.watch() {
            None => {}
            Some(Ended::Stopped(left)) => {
                tables.finish(&pool);
                // The terminal is given back before the last line.
                drop(demo);
                stopped(left);
                return Ok(());
            }
            Some(Ended::Failed(failure)) => return Err(failed(failure)),
            Some(Ended::Hangs { since, call, is_stopping }) => hangs(since, call, is_stopping),
        }
    }
}

/// The last line of a run that was asked to stop; exit code 0 also where a commit failed, since
/// nothing is lost by it and the next start needs no one to look.
fn stopped(left: Left) {
    match left {
        Left::Committed => {
            tracing::info!("stopped: everything in hand is committed, open windows stay open");
        }
        Left::Uncommitted => tracing::warn!(
            "stopped: the last transaction may not be committed, and what is not comes again at \
             the next start; open windows stay open"
        ),
    }
}

/// Whether the demo's workers have come to the end of what its generator sent, or have had their
/// time. A snapshot is up to half a second old.
fn is_drained(statuses: &[Arc<WorkerStatus>], since: Instant) -> bool {
    let lag = |status: &Arc<WorkerStatus>| -> u64 {
        status.snapshot().partitions.values().map(PartitionStatus::lag).sum()
    };
    let waited = since.elapsed();
    waited > DRAIN_MAX
        || waited > Duration::from_secs(1) && statuses.iter().map(lag).sum::<u64>() == 0
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
        if self.looked.is_some_and(|at| at.elapsed() < Duration::from_secs(1)) {
            return self.take_events(pool);
        }
        self.looked = Some(Instant::now());
        let mut held = BTreeSet::new();
        // Before the events: what is said to be given out must have come.
        let snapshots: Vec<_> = statuses.iter().map(|status| status.snapshot().merges).collect();
        self.take_events(pool);
        for merges in snapshots {
            for (partition, status) in merges {
                for window in &status.windows {
                    self.log.progress(&window.name, partition, window.given_out);
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
