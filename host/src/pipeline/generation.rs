//! One generation of the rules: all plugins of a configuration, loaded, configured and checked.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

use crate::chain::{self, Chain, ChainError, Observer, Stage, TimeSource, TimeUnit};
use crate::config::{self, Config, Draft, Problems};
use crate::plugin::{self, ConfigureError, Engine, LoadLimits, Plugin};

/// Makes generations out of a plugins folder.
pub struct Loader {
    engine: Engine,
    folder: PathBuf,
}

/// A configuration whose plugins are loaded, accept their settings and fit together. Every worker
/// gets a chain of its own from it.
pub struct Generation {
    /// The configuration.
    pub config: Config,
    /// The plugin of each stage.
    plugins: Vec<Arc<Plugin>>,
    hash: String,
}

impl Loader {
    /// Compiled components are cached in `state_dir`.
    pub fn new(folder: &Path, state_dir: Option<&Path>) -> anyhow::Result<Self> {
        let cache = state_dir.map(|dir| dir.join("compiled"));
        let engine = Engine::new(cache.as_deref()).context("starting the plugin engine")?;
        Ok(Self { engine, folder: folder.to_owned() })
    }

    /// Loads every stage's plugin and lets it see its settings. What is wrong comes on top of the
    /// problems that the draft has already, so that all are told at once.
    pub fn load(&self, mut draft: Draft) -> Result<Generation, Problems> {
        let limits = LoadLimits { file_bytes: draft.limits().wasm_file };
        let mut loaded: HashMap<String, Result<Arc<Plugin>, String>> = HashMap::new();
        let mut plugins = Vec::new();
        let mut stages = Vec::new();
        for (number, stage) in draft.stages().to_vec().into_iter().enumerate() {
            let plugin = loaded.entry(stage.plugin.clone()).or_insert_with(|| {
                let path = self.folder.join(format!("{}.wasm", stage.plugin));
                let plugin = self.engine.load(&path, limits);
                plugin.map(Arc::new).map_err(|error| error.to_string())
            });
            match plugin {
                Err(message) => {
                    let help = "put the component there, or name another plugin; `host run` lays \
                                the default ones down"
                        .to_owned();
                    draft.plugin_problem(number, message.clone(), help);
                }
                Ok(plugin) => {
                    plugins.push(plugin.clone());
                    match configure(plugin, &stage, "") {
                        Ok(stage) => stages.push(stage),
                        Err(ConfigureError::Refused(message)) => {
                            draft.settings_problem(number, message, String::new());
                        }
                        Err(error @ ConfigureError::Failed(_)) => {
                            let help = "mend the plugin, or raise its limits".to_owned();
                            draft.plugin_problem(number, error.to_string(), help);
                        }
                    }
                }
            }
        }
        self.check_chain(&mut draft, stages);
        let config = draft.finish()?;
        let hash = hash(&config, &plugins);
        Ok(Generation { config, plugins, hash })
    }

    /// What only shows when the stages stand together: names, plans, pointers.
    fn check_chain(&self, draft: &mut Draft, stages: Vec<Stage>) {
        if stages.len() < draft.stages().len() {
            return;
        }
        let Err(errors) = Chain::new(stages, Vec::new(), chain::Limits::default()) else { return };
        for error in errors {
            let (ChainError::Name { stage, .. } | ChainError::Plan { stage, .. }) = &error else {
                continue;
            };
            let number = draft.stages().iter().position(|found| found.name == *stage);
            if let Some(number) = number {
                draft.plugin_problem(number, error.to_string(), String::new());
            }
        }
    }
}

impl Generation {
    /// What names the rules across processes: settings and plugins, by content.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Each stage with its plugin, in order.
    pub fn stages(&self) -> impl Iterator<Item = (&config::Stage, &Plugin)> {
        self.config.stages.iter().zip(self.plugins.iter().map(Arc::as_ref))
    }

    /// A chain of its own for one worker.
    pub fn chain(&self) -> anyhow::Result<Chain> {
        let topic = &self.config.source.topic.name;
        let topics: Arc<[String]> = self.config.sink.further.clone().into();
        let mut stages = Vec::new();
        for (stage, plugin) in self.config.stages.iter().zip(&self.plugins) {
            let mut configured = configure(plugin, stage, topic)
                .with_context(|| format!("starting the plugin of stage {:?}", stage.name))?;
            configured.topics = topics.clone();
            stages.push(configured);
        }
        let observers = self.config.windows.iter().map(observer).collect();
        Chain::new(stages, observers, limits(&self.config)).map_err(|errors| {
            let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
            anyhow::anyhow!(errors.join("; "))
        })
    }
}

fn configure(plugin: &Plugin, stage: &config::Stage, topic: &str) -> Result<Stage, ConfigureError> {
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

fn stage_limits(limits: &config::StageLimits) -> plugin::Limits {
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

fn limits(config: &Config) -> chain::Limits {
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
    Observer { time, group: window.by.clone() }
}

fn hash(config: &Config, plugins: &[Arc<Plugin>]) -> String {
    let mut hash = Sha256::new();
    for (stage, plugin) in config.stages.iter().zip(plugins) {
        let parts = [&stage.name, &*stage.settings, &format!("{:?}", stage.on_error)];
        for part in parts.into_iter().map(str::as_bytes) {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.update(format!("{:?} {}", stage.limits, plugin.hash()));
    }
    let digest = hash.finalize();
    digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}
