//! What can be told of a plugin without running a pipeline: what its file says of itself, what it
//! plans under some settings, and what an instance of it costs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use wasmparser::{KnownCustom, Parser, Payload};

use super::engine::Engine;
use super::guest::{ConfigureError, Pre, WasmRule, WasmTransform};
use super::limits::{Limits, LoadLimits};
use super::load::{ContentHash, Import, LoadError, Plugin};
use super::slot::Slot;
use super::timing::{Timing, layout_of, time_rule, time_transform};
use super::wit;
use crate::chain::Record;
use crate::chain::guest::{Fault, Rule as _};
use crate::event::Plan;

/// What a file says of itself, as far as it can be read: also of one that is no plugin.
pub struct Inspection {
    /// The size of the file.
    pub bytes: usize,
    /// The hash of the file.
    pub hash: ContentHash,
    /// The interface that it exports, such as `pipeline:plugin/rules@0.1.0`, whatever its version.
    pub interface: Option<String>,
    /// What it imports, in its own order.
    pub imports: Vec<Import>,
    /// What made it, each once, as its `producers` sections say. Of what it has inside, such as an
    /// engine, the language is among them only where the component itself says none.
    pub producers: Vec<Producer>,
    /// How long it takes to find it compiled in the engine's cache; none where it is not there.
    pub cached: Option<Duration>,
    /// The plugin, compiled anew; or why it is none.
    pub plugin: Result<Plugin, LoadError>,
}

/// A language or a tool that a component was made with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Producer {
    /// `language`, `processed-by` or `sdk`.
    pub role: String,
    /// Its name, which is the file's own word: it may hold any characters.
    pub name: String,
    /// Its version, in its own words; may be empty.
    pub version: String,
}

/// The role of a language.
const LANGUAGE: &str = "language";

/// What an instance with some settings answers and needs.
pub struct Probe {
    /// What it reads and writes; none for a transform, which gets whole records.
    pub plan: Option<Plan>,
    /// From nothing to an instance that has its settings.
    pub start: Duration,
    /// Its memory then, in bytes.
    pub memory_bytes: usize,
    /// Its first batch; none where there are no records for one.
    pub first: Option<Result<Timing, Fault>>,
}

impl Engine {
    /// Looks at a file that has been read. It is compiled anew, which may take seconds, and nothing
    /// is kept of it; `name` is for the error.
    pub fn inspect(&self, name: &str, bytes: &[u8], limits: LoadLimits) -> Inspection {
        let hash = ContentHash::of(bytes);
        let started = Instant::now();
        let found = self.cache.as_ref().and_then(|cache| cache.load(&self.wasm, &hash));
        let cached = found.map(|_| started.elapsed());
        let anew = Self { wasm: self.wasm.clone(), cache: None };
        let plugin = anew.load_bytes(name, bytes, limits);
        let mut said = Said::default();
        // Where the binary breaks off, what stands before is still worth telling.
        let _ = said.read(bytes);
        let interface = said.exports.into_iter().find(|name| is_ours(name));
        let import = |name: String| Import { granted: wit::granted(&name), name };
        let imports = said.imports.into_iter().map(import).collect();
        let producers = distinct(said.producers, &said.languages);
        Inspection { bytes: bytes.len(), hash, interface, imports, producers, cached, plugin }
    }
}

fn is_ours(export: &str) -> bool {
    [wit::RULES, wit::TRANSFORMS].iter().any(|ours| wit::split(ours).0 == wit::split(export).0)
}

/// What stands in a component's sections.
#[derive(Default)]
struct Said {
    imports: Vec<String>,
    exports: Vec<String>,
    producers: Vec<Producer>,
    /// Those of the outer component's own that are languages.
    languages: Vec<Producer>,
}

impl Said {
    /// Names of the outer component; producers of everything in it, since most tools that make a
    /// component leave the language in the module.
    fn read(&mut self, bytes: &[u8]) -> wasmparser::Result<()> {
        let mut depth = 0;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth -= 1,
                Payload::ComponentImportSection(section) if depth == 0 => {
                    for import in section {
                        self.imports.push(import?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(section) if depth == 0 => {
                    for export in section {
                        self.exports.push(export?.name.name.to_owned());
                    }
                }
                Payload::CustomSection(section) => {
                    if let KnownCustom::Producers(fields) = section.as_known() {
                        let read = producers(fields)?;
                        if depth == 0 {
                            let languages = read.iter().filter(|one| one.role == LANGUAGE);
                            self.languages.extend(languages.cloned());
                        }
                        self.producers.extend(read);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Each producer once, and of languages those of the component's own, if it has any.
fn distinct(all: Vec<Producer>, own: &[Producer]) -> Vec<Producer> {
    let mut distinct = Vec::new();
    for producer in all {
        let hidden = producer.role == LANGUAGE && !own.is_empty() && !own.contains(&producer);
        if !hidden && !distinct.contains(&producer) {
            distinct.push(producer);
        }
    }
    distinct
}

fn producers(fields: wasmparser::ProducersSectionReader<'_>) -> wasmparser::Result<Vec<Producer>> {
    let mut producers = Vec::new();
    for field in fields {
        let field = field?;
        for value in field.values {
            let value = value?;
            let (role, name) = (field.name.to_owned(), value.name.to_owned());
            producers.push(Producer { role, name, version: value.version.to_owned() });
        }
    }
    Ok(producers)
}

impl Plugin {
    /// Starts an instance as a stage would have it, and gives it one batch of these records: a rule
    /// gets those that are events. Blocks for as long as [`Plugin::configure`], and a call.
    pub fn probe(
        &self,
        settings: &str,
        stage: &str,
        topic: &str,
        limits: &Limits,
        records: &[Record<'_>],
        now: i64,
    ) -> Result<Probe, ConfigureError> {
        let (plugin, started) = (Arc::clone(&self.loaded), Instant::now());
        match plugin.world {
            Pre::Rule(_) => {
                let mut rule = WasmRule(Slot::new(plugin, settings, stage, limits)?);
                let start = started.elapsed();
                let memory_bytes = rule.0.memory_bytes().unwrap_or_default();
                let plan = rule.plan().clone();
                // Of a plan that no chain takes there is none.
                let first = layout_of(&plan).ok().map(|layout| {
                    time_rule(&mut rule, layout, records, records.len(), now, &mut |_| false)
                });
                Ok(Probe { plan: Some(plan), start, memory_bytes, first: called(first) })
            }
            Pre::Transform(_) => {
                let slot = Slot::new(plugin, settings, stage, limits)?;
                let start = started.elapsed();
                let memory_bytes = slot.memory_bytes().unwrap_or_default();
                let mut transform = WasmTransform { slot, topic: topic.into() };
                let first =
                    time_transform(&mut transform, records, records.len(), now, &mut |_| false);
                Ok(Probe { plan: None, start, memory_bytes, first: called(Some(first)) })
            }
        }
    }
}

/// None where no record was one for it.
fn called(first: Option<Result<Timing, Fault>>) -> Option<Result<Timing, Fault>> {
    first.filter(|first| first.as_ref().map_or(true, |timing| timing.records > 0))
}
