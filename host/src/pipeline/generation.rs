//! One generation of the rules: all plugins of a configuration, loaded, configured and checked.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

use super::content::{Content, Files, load_limits, short};
use crate::chain::{self, Chain, ChainError, Observer, Stage, TimeSource, TimeUnit};
use crate::config::{self, Config, Draft, FILE_NAME, Problems};
use crate::plugin::{self, ConfigureError, ContentHash, Engine, LoadError, LoadLimits, Plugin};

/// Makes generations out of a plugins folder.
pub struct Loader {
    pub(super) engine: Engine,
    folder: PathBuf,
    with_defaults: bool,
    /// Plugins that lie elsewhere, by name.
    files: BTreeMap<String, PathBuf>,
    /// The plugins of generations that are still there: what has not changed is not compiled again.
    known: Mutex<HashMap<ContentHash, Weak<Plugin>>>,
}

/// A configuration whose plugins are loaded, accept their settings and fit together. Every worker
/// gets a chain of its own from it.
pub struct Generation {
    /// The configuration.
    pub config: Config,
    /// The plugins of the stages and of the candidates, by name.
    plugins: Plugins,
    hash: String,
    content: String,
    files: Files,
    times: Times,
}

pub(super) type Plugins = BTreeMap<String, Arc<Plugin>>;

/// How long the steps of making a generation took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Compiling what was not compiled yet, or finding it in the cache.
    pub compile: Duration,
    /// Starting each plugin with its settings, and putting them together.
    pub configure: Duration,
}

impl Loader {
    /// Compiled components are cached in `state_dir`.
    pub fn new(folder: &Path, state_dir: Option<&Path>) -> anyhow::Result<Self> {
        let cache = state_dir.map(|dir| dir.join("compiled"));
        let engine = Engine::new(cache.as_deref()).context("starting the plugin engine")?;
        let folder = folder.to_owned();
        Ok(Self {
            engine,
            folder,
            with_defaults: false,
            files: BTreeMap::new(),
            known: Mutex::default(),
        })
    }

    /// Takes default plugins that the folder lacks from this program, as they would be laid down.
    pub fn with_defaults(mut self) -> Self {
        self.with_defaults = true;
        self
    }

    /// Takes the plugin of this name from a file of its own.
    pub fn with_file(mut self, name: &str, file: &Path) -> Self {
        self.files.insert(name.to_owned(), file.to_owned());
        self
    }

    /// Where the plugin of this name is looked for.
    pub fn path(&self, plugin: &str) -> PathBuf {
        let own = self.files.get(plugin).cloned();
        own.unwrap_or_else(|| self.folder.join(format!("{plugin}.wasm")))
    }

    /// Reads the files of the draft's plugins.
    pub fn read(&self, draft: Draft) -> Content {
        Content::read(|plugin| self.path(plugin), draft, self.with_defaults)
    }

    /// [`Loader::read`] and [`Loader::build`].
    pub fn load(&self, draft: Draft) -> Result<Generation, Problems> {
        self.build(self.read(draft))
    }

    /// Loads every stage's plugin and lets it see its settings. What is wrong comes on top of the
    /// problems that the draft has already, so that all are told at once.
    pub fn build(&self, content: Content) -> Result<Generation, Problems> {
        let started = Instant::now();
        let content_hash = content.hash().to_owned();
        let Content { mut draft, plugins: files, .. } = content;
        let limits = load_limits(&draft);
        let mut compile = Duration::ZERO;
        let mut loaded: HashMap<String, Result<Arc<Plugin>, String>> = HashMap::new();
        let mut read = Files::from([(FILE_NAME.to_owned(), draft.text().as_bytes().to_vec())]);
        for (name, file) in files {
            let started = Instant::now();
            let plugin = file.and_then(|bytes| {
                let plugin = self.plugin(&name, &bytes, limits);
                read.insert(format!("{name}.wasm"), bytes);
                plugin
            });
            compile += started.elapsed();
            loaded.insert(name, plugin.map_err(|error| error.to_string()));
        }
        for line in lines(&draft) {
            let stages = line.iter().filter_map(|stage| {
                let configured = try_stage(&mut draft, stage, &loaded)?;
                Some((stage, configured))
            });
            let stages: Vec<_> = stages.collect();
            check_chain(&mut draft, stages);
        }
        let config = draft.finish()?;
        let plugins = loaded.into_iter().filter_map(|(name, plugin)| Some((name, plugin.ok()?)));
        let plugins: Plugins = plugins.collect();
        let hash = hash(&config, &plugins);
        let times = Times { compile, configure: started.elapsed().saturating_sub(compile) };
        Ok(Generation { config, plugins, hash, content: content_hash, files: read, times })
    }

    /// The plugin of a file, compiled unless a generation that is still there has it.
    pub(super) fn plugin(
        &self,
        name: &str,
        bytes: &[u8],
        limits: LoadLimits,
    ) -> Result<Arc<Plugin>, LoadError> {
        let hash = ContentHash::of(bytes);
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes.len() as u64 <= limits.file_bytes
            && let Some(plugin) = known().get(&hash).and_then(Weak::upgrade)
        {
            return Ok(plugin);
        }
        let path = self.path(name).display().to_string();
        let plugin = Arc::new(self.engine.load_bytes(&path, bytes, limits)?);
        let mut known = known();
        known.retain(|_, plugin| plugin.strong_count() > 0);
        known.insert(hash, Arc::downgrade(&plugin));
        Ok(plugin)
    }
}

/// What has to fit together: the stages; each candidate by itself; all candidates for their place.
fn lines(draft: &Draft) -> Vec<Vec<config::Stage>> {
    let candidates = draft.stages().iter().filter_map(|stage| stage.shadow.as_deref());
    let candidates = candidates.map(|candidate| vec![candidate.clone()]);
    let shadow = draft.shadow().to_vec();
    std::iter::once(draft.stages().to_vec()).chain(candidates).chain([shadow]).collect()
}

/// A stage with its settings, if nothing is wrong with it.
fn try_stage(
    draft: &mut Draft,
    stage: &config::Stage,
    loaded: &HashMap<String, Result<Arc<Plugin>, String>>,
) -> Option<Stage> {
    let plugin = match &loaded[&stage.plugin] {
        Ok(plugin) => plugin,
        Err(message) => {
            draft.plugin_problem(stage, message.clone(), plugin_help(&stage.plugin));
            return None;
        }
    };
    match configure(plugin, stage, "") {
        Ok(configured) => return Some(configured),
        Err(ConfigureError::Refused(message)) => {
            draft.settings_problem(stage, &message);
        }
        Err(error @ ConfigureError::Failed(_)) => {
            let help = "mend the plugin, or raise its limits".to_owned();
            draft.plugin_problem(stage, error.to_string(), help);
        }
    }
    None
}

/// What only shows when the stages stand together: names, plans, pointers.
fn check_chain(draft: &mut Draft, stages: Vec<(&config::Stage, Stage)>) {
    let (named, stages): (Vec<_>, Vec<_>) = stages.into_iter().unzip();
    let Err(errors) = Chain::new(stages, Vec::new(), chain::Limits::default()) else { return };
    for error in errors {
        match error {
            ChainError::Taken { place, .. } => {
                let help = "give the stage another `name`".to_owned();
                draft.name_problem(named[place], chain::TAKEN.to_owned(), help);
            }
            ChainError::Plan { place, problem, .. } => {
                let message = format!("its plan is wrong: {problem}");
                draft.plugin_problem(named[place], message, "mend the plugin".to_owned());
            }
            // The configuration says so already; windows are checked there, too.
            ChainError::Twice { .. } | ChainError::Observer { .. } => {}
        }
    }
}

impl Generation {
    /// What names the rules across processes: stages, settings, limits and plugins, by content.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// What names the files that it was made of: see [`Content::hash`].
    pub fn content(&self) -> &str {
        &self.content
    }

    /// The files that it was made of, to be kept elsewhere; the second time there are none.
    pub fn take_files(&mut self) -> Files {
        std::mem::take(&mut self.files)
    }

    /// How long it took to make it.
    pub fn times(&self) -> Times {
        self.times
    }

    /// Each stage with its plugin, in order.
    pub fn stages(&self) -> impl Iterator<Item = (&config::Stage, &Plugin)> {
        self.config.stages.iter().map(|stage| (stage, &*self.plugins[&stage.plugin]))
    }

    /// The plugin of a stage or candidate of this configuration.
    pub(super) fn plugin(&self, stage: &config::Stage) -> &Plugin {
        &self.plugins[&stage.plugin]
    }

    /// A chain of its own for one worker.
    pub fn chain(&self) -> anyhow::Result<Chain> {
        self.chain_with(self.config.windows.iter().map(observer).collect())
    }

    pub(super) fn chain_with(&self, observers: Vec<Observer>) -> anyhow::Result<Chain> {
        let topic = &self.config.source.topic.name;
        let topics: Arc<[String]> = self.config.sink.further.clone().into();
        let mut stages = Vec::new();
        for (stage, plugin) in self.stages() {
            let mut configured = configure(plugin, stage, topic)
                .with_context(|| format!("starting the plugin of stage {:?}", stage.name))?;
            configured.topics = topics.clone();
            stages.push(configured);
        }
        Chain::new(stages, observers, limits(&self.config)).map_err(|errors| {
            let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
            anyhow::anyhow!(errors.join("; "))
        })
    }
}

pub(super) fn configure(
    plugin: &Plugin,
    stage: &config::Stage,
    topic: &str,
) -> Result<Stage, ConfigureError> {
    let limits = stage_limits(&stage.limits);
    let guest = plugin.configure(&stage.settings, &stage.name, topic, &limits)?;
    let on_error = match stage.on_error {
        config::OnError::DeadLetter => chain::OnError::DeadLetter,
        config::OnError::Skip => chain::OnError::Skip,
        config::OnError::Pass => chain::OnError::Pass,
        config::OnError::Stop => chain::OnError::Stop,
    };
    Ok(Stage { name: stage.name.clone(), guest, on_error, topics: Arc::new([]) })
}

pub(super) fn stage_limits(limits: &config::StageLimits) -> plugin::Limits {
    plugin::Limits {
        memory_bytes: bytes(limits.memory),
        recycle_memory_bytes: bytes(limits.recycle_memory),
        call: limits.call,
        call_per_event: limits.call_per_event,
        configure: limits.configure,
        output_record_bytes: bytes(limits.output_record),
        output_batch_bytes: bytes(limits.output_batch),
        outputs_per_record: limits.outputs_per_record as usize,
        log_lines_per_second: limits.log_lines_per_second,
        ..plugin::Limits::default()
    }
}

fn bytes(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

pub(super) fn limits(config: &Config) -> chain::Limits {
    let (limits, defaults) = (&config.limits, chain::Limits::default());
    chain::Limits {
        output_record_bytes: bytes(limits.stage.output_record),
        output_batch_bytes: defaults.output_batch_bytes.max(bytes(limits.stage.output_batch)),
        outputs_per_record: limits.stage.outputs_per_record as usize,
        faulty_calls_max: limits.faults_per_transaction,
        fault_time_max: limits.fault_time_per_transaction,
        reject_share_max: config.dead_letters.reject_share_max,
        reject_window: config.dead_letters.reject_share_over,
        reject_seen_min: defaults.reject_seen_min.min(config.dead_letters.reject_share_over),
    }
}

fn observer(window: &config::Window) -> Observer {
    let time = match &window.time {
        config::EventTime::Record => TimeSource::Record,
        config::EventTime::Processing => TimeSource::Processing,
        config::EventTime::Field { pointer, unit } => TimeSource::Field {
            pointer: pointer.clone(),
            unit: match unit {
                config::TimeUnit::Auto => TimeUnit::Auto,
                config::TimeUnit::Seconds => TimeUnit::Seconds,
                config::TimeUnit::Milliseconds => TimeUnit::Millis,
                config::TimeUnit::Microseconds => TimeUnit::Micros,
                config::TimeUnit::Nanoseconds => TimeUnit::Nanos,
                config::TimeUnit::Rfc3339 => TimeUnit::Rfc3339,
            },
        },
    };
    let values = window.aggregates.iter().filter_map(|aggregate| aggregate.kind.field());
    Observer {
        time,
        group: window.by.clone(),
        values: values.map(str::to_owned).collect(),
        filter: window.filter.clone(),
    }
}

/// Candidates are part of it: what they are is taken by the workers like any other change.
fn hash(config: &Config, plugins: &Plugins) -> String {
    let mut hash = Sha256::new();
    let mut add = |stage: &config::Stage| {
        let parts = [&stage.name, &*stage.settings, &format!("{:?}", stage.on_error)];
        for part in parts.into_iter().map(str::as_bytes) {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.update(format!("{:?} {}", stage.limits, plugins[&stage.plugin].hash()));
    };
    config.stages.iter().for_each(&mut add);
    config.stages.iter().filter_map(|stage| stage.shadow.as_deref()).for_each(&mut add);
    config.shadow.iter().for_each(&mut add);
    hash.update(format!("{:?}", limits(config)));
    short(&hash.finalize())
}

/// How to mend a plugin that cannot be loaded.
fn plugin_help(name: &str) -> String {
    let names = plugin::defaults::DEFAULTS.iter().map(|(name, _)| *name);
    let near = |other: &&str| *other != name && strsim::jaro_winkler(other, name) > 0.85;
    match names.clone().find(near) {
        Some(near) => format!("did you mean {near:?}? Else put the component there"),
        None if names.clone().any(|default| default == name) => {
            "put the component there; `host run` lays the default one down where it is missing"
                .to_owned()
        }
        None => "put the component there, or name another plugin".to_owned(),
    }
}
