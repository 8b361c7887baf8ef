//! What `host plugin inspect` and `host plugin list` tell of one plugin.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::{StateArgs, stem};
use crate::chain::{Copied, Record};
use crate::config::{Draft, Stage};
use crate::demo::generate::{Generator, Spec};
use crate::demo::view::harmless;
use crate::event::{Form, Plan, Source, check_plan};
use crate::pipeline::{Loader, probe};
use crate::plugin::defaults::default;
use crate::plugin::{Inspection, Plugin, Probe, Producer};

/// Records in the batch that a plugin is tried with.
const BATCH: usize = 1_000;

/// One plugin.
#[derive(Serialize)]
pub(super) struct Look {
    pub plugin: String,
    pub file: String,
    /// There is no such file; this is what `host run` lays down in its place.
    pub built_in: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub world: Option<String>,
    /// The version of the WIT that it is built for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wit: Option<String>,
    pub bytes: usize,
    /// As logs and the status show it.
    pub hash: String,
    /// What it is written in, where its producers tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    pub producers: Vec<Producer>,
    pub imports: Vec<Imported>,
    /// Compiling it anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compile_ms: Option<f64>,
    /// Finding it compiled; none where the state folder does not have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_ms: Option<f64>,
    /// One for each stage and candidate that has it, or for the settings asked about.
    pub uses: Vec<Use>,
    /// Why it is no plugin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Imported {
    pub name: String,
    pub granted: bool,
}

/// What it does with some settings.
#[derive(Default, Serialize)]
pub(super) struct Use {
    /// The stage that has it; none where only settings are given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// It is the candidate for the stage's place.
    pub shadow: bool,
    /// Fields and other parts of records; none for a transform, which gets them whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reads: Option<Vec<String>>,
    /// Fields; none for a transform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writes: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_ms: Option<f64>,
    /// Memory of an instance that has its settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_records: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_ms: Option<f64>,
    /// Memory of an instance behind its first batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_bytes: Option<usize>,
    /// Why the settings are refused, or what it plans under them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Why there is no answer to the first batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// Looks at plugins of one folder.
pub(super) struct Looker<'a> {
    loader: Loader,
    draft: &'a Draft,
    records: Copied,
}

impl<'a> Looker<'a> {
    /// Nothing is written: a state folder that is not there yet has nothing compiled.
    pub fn new(folder: &Path, state: &StateArgs, draft: &'a Draft) -> anyhow::Result<Self> {
        let is_there = state.state_dir.join("compiled").is_dir();
        let loader = Loader::new(folder, is_there.then_some(state.state_dir.as_path()))?;
        let now = chrono::Utc::now().timestamp_millis();
        Ok(Self { loader, draft, records: logins(now) })
    }

    /// The plugin of a file, with these stages' settings.
    pub fn file(&self, file: &Path, uses: &[(Option<String>, bool, Stage)]) -> Look {
        let (name, shown) = (stem(file), file.display().to_string());
        match self.loader.inspect(file, self.draft) {
            Ok(inspection) => self.look(name, shown, inspection, uses),
            Err(error) => Look {
                plugin: name,
                file: shown,
                built_in: false,
                world: None,
                wit: None,
                bytes: 0,
                hash: String::new(),
                language: None,
                producers: Vec::new(),
                imports: Vec::new(),
                compile_ms: None,
                cached_ms: None,
                uses: uses.iter().map(|(stage, shadow, _)| named(stage, *shadow)).collect(),
                problem: Some(error.problem.to_string()),
            },
        }
    }

    /// The plugin of this name in the folder, or else the one that ships with this program.
    pub fn plugin(&self, name: &str, uses: &[(Option<String>, bool, Stage)]) -> Look {
        let file = self.loader.path(name);
        match default(name).filter(|_| !file.exists()) {
            None => self.file(&file, uses),
            Some(component) => {
                let inspection = self.loader.inspect_default(name, component, self.draft);
                let shown = file.display().to_string();
                Look { built_in: true, ..self.look(name.to_owned(), shown, inspection, uses) }
            }
        }
    }

    fn look(
        &self,
        plugin: String,
        file: String,
        inspection: Inspection,
        uses: &[(Option<String>, bool, Stage)],
    ) -> Look {
        let Inspection { bytes, hash, interface, imports, producers, cached, plugin: loaded } =
            inspection;
        let version = |name: String| Some(name.split_once('@')?.1.to_owned());
        let (loaded, problem) = match loaded {
            Ok(plugin) => (Some(plugin), None),
            Err(error) => (None, Some(error.problem.to_string())),
        };
        let used = uses.iter().map(|(stage, shadow, settings)| match &loaded {
            Some(plugin) => self.used(plugin, stage, *shadow, settings),
            None => named(stage, *shadow),
        });
        let import =
            |import: crate::plugin::Import| Imported { name: import.name, granted: import.granted };
        Look {
            plugin,
            file,
            built_in: false,
            world: loaded.as_ref().map(|plugin| plugin.world().to_string()),
            wit: interface.and_then(version),
            bytes,
            hash: hash.short(),
            language: language(&producers),
            producers,
            imports: imports.into_iter().map(import).collect(),
            compile_ms: loaded.as_ref().map(|plugin| millis(plugin.compile_time())),
            cached_ms: cached.map(millis),
            uses: used.collect(),
            problem,
        }
    }

    fn used(&self, plugin: &Plugin, stage: &Option<String>, shadow: bool, with: &Stage) -> Use {
        let (topic, now) = (self.draft.topic(), self.records.now);
        let probed = self.records.with(|records| probe(plugin, with, topic, records, now));
        let named = named(stage, shadow);
        let Probe { plan, start, memory_bytes, first } = match probed {
            Ok(probe) => probe,
            Err(error) => return Use { refused: Some(error.to_string()), ..named },
        };
        let (batch, failed) = match first {
            None => (None, None),
            Some(Ok(batch)) => (Some(batch), None),
            Some(Err(fault)) => (None, Some(fault.to_string())),
        };
        Use {
            refused: plan.as_ref().and_then(plan_problem),
            reads: plan.as_ref().map(reads),
            writes: plan.map(|plan| plan.writes),
            start_ms: Some(millis(start)),
            start_bytes: Some(memory_bytes),
            batch_records: batch.map(|batch| batch.records),
            batch_ms: batch.map(|batch| millis(batch.time)),
            batch_bytes: batch.map(|batch| batch.memory_bytes),
            failed,
            ..named
        }
    }
}

/// Why no chain takes a rule of this plan.
pub(super) fn plan_problem(plan: &Plan) -> Option<String> {
    let problems = check_plan(plan).err()?;
    Some(format!("its plan is wrong: {}: mend the plugin", problems.join("; ")))
}

fn named(stage: &Option<String>, shadow: bool) -> Use {
    Use { stage: stage.clone(), shadow, ..Use::default() }
}

fn reads(plan: &Plan) -> Vec<String> {
    let read = |read: &crate::event::Read| {
        let form = if read.form == Form::Packed { " (packed)" } else { "" };
        match &read.source {
            Source::Field(pointer) => format!("{pointer}{form}"),
            Source::Timestamp => format!("timestamp{form}"),
            Source::Key => format!("key{form}"),
            Source::Header(name) => format!("header {name}{form}"),
        }
    };
    plan.reads.iter().map(read).collect()
}

/// The stages and candidates whose plugin has this name.
pub(super) fn uses(draft: &Draft, plugin: &str) -> Vec<(Option<String>, bool, Stage)> {
    let mut uses = Vec::new();
    for stage in draft.stages() {
        let candidate = stage.shadow.as_deref().map(|candidate| (candidate, true));
        for (one, shadow) in [(stage, false)].into_iter().chain(candidate) {
            if one.plugin == plugin {
                uses.push((Some(stage.name.clone()), shadow, one.clone()));
            }
        }
    }
    for candidate in draft.shadow().iter().filter(|candidate| candidate.plugin == plugin) {
        uses.push((Some(candidate.name.clone()), true, candidate.clone()));
    }
    uses
}

impl Look {
    /// Whether something is wrong with it.
    pub fn is_broken(&self) -> bool {
        self.problem.is_some() || self.uses.iter().any(|used| used.refused.is_some())
    }

    /// All that is wrong with it, in one line.
    pub fn problems(&self) -> String {
        let refused = self.uses.iter().filter_map(|used| {
            let text = used.refused.as_ref()?.replace('\n', "; ");
            Some(match &used.stage {
                Some(stage) => format!("stage {stage}: {text}"),
                None => text,
            })
        });
        harmless(&self.problem.iter().cloned().chain(refused).collect::<Vec<_>>().join("; "))
    }
}

/// The languages that a file names; where it names none (a stripped one does not), that of the first
/// tool which is known to be of one language.
fn language(producers: &[Producer]) -> Option<String> {
    let of_tool = |tool: &str| TOOLS.iter().find(|(name, _)| *name == tool).map(|(_, of)| *of);
    let named = producers.iter().filter(|producer| producer.role == "language");
    let named: Vec<&str> = named.map(|producer| producer.name.as_str()).collect();
    match named.is_empty() {
        false => Some(named.join(", ")),
        true => producers.iter().find_map(|producer| of_tool(&producer.name)).map(str::to_owned),
    }
}

/// Tools that make components of one language only.
const TOOLS: [(&str, &str); 8] = [
    ("rustc", "Rust"),
    ("wit-bindgen-rust", "Rust"),
    ("wit-bindgen-c", "C"),
    ("wit-bindgen-cpp", "C++"),
    ("wit-bindgen-go", "Go"),
    ("componentize-py", "Python"),
    ("componentize-js", "JavaScript"),
    ("componentize-qjs", "JavaScript"),
];

/// Made-up logins, the same each time.
pub(super) fn logins(now: i64) -> Copied {
    changed(now, |value| value.to_owned())
}

/// The same, with another value of each of these fields in each event.
pub(super) fn distinct(now: i64, fields: &[&str]) -> Copied {
    let mut number = 0;
    changed(now, |value| {
        let mut event: Value = serde_json::from_slice(value).expect("the generator makes JSON");
        number += 1;
        for field in fields {
            match event.pointer_mut(field) {
                Some(Value::String(text)) => *text = format!("{text}-{number}"),
                Some(value) => *value = number.into(),
                None => {
                    let (parent, name) = field.rsplit_once('/').unwrap_or_default();
                    let parent = event.pointer_mut(parent).and_then(Value::as_object_mut);
                    let name = name.replace("~1", "/").replace("~0", "~");
                    let set = |members: &mut serde_json::Map<_, _>| {
                        members.insert(name, format!("value-{number}").into())
                    };
                    parent.map(set);
                }
            }
        }
        event.to_string().into_bytes()
    })
}

fn changed(now: i64, mut change: impl FnMut(&[u8]) -> Vec<u8>) -> Copied {
    let mut generator = Generator::new(Spec { start_ms: now, ..Spec::default() });
    let mut copied = Copied::at(now);
    for offset in 0..BATCH as i64 {
        let event = generator.advance();
        copied.push(&Record {
            key: event.key,
            value: Some(&change(event.value)),
            headers: &[],
            timestamp: Some(now),
            partition: 0,
            offset,
        });
    }
    copied
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// Milliseconds in three digits or so.
pub(super) fn shown_millis(millis: f64) -> String {
    match millis {
        _ if millis < 10.0 => format!("{millis:.2} ms"),
        _ => format!("{millis:.0} ms"),
    }
}

/// Bytes in a unit that is easy to read.
pub(super) fn shown_bytes(bytes: usize) -> String {
    indicatif::BinaryBytes(bytes as u64).to_string()
}
