//! Plugins as the chain calls them: [`Rule`] and [`Transform`] over a [`Slot`].

use std::sync::Arc;

use wasmtime::Store;

use super::bindings::rule::{Rule as RuleWorld, RulePre};
use super::bindings::transform::{Transform as TransformWorld, TransformPre};
use super::convert;
use super::limits::Limits;
use super::load::Plugin;
use super::slot::Slot;
use super::state::State;
use crate::chain::guest::{Fault, Guest, Outcome, Rule, RuleBatch, Transform, TransformRecord};
use crate::event::{Plan, Verdict};

/// Why a plugin cannot do its work in a stage.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
pub enum ConfigureError {
    /// The plugin does not accept the settings. The text is its own, for the person who wrote
    /// them; at most 4 KiB.
    #[error("{0}")]
    Refused(String),
    /// It did not come so far; nothing is known of the settings.
    #[error("configure failed: {0}")]
    Failed(Fault),
}

/// Either of the two worlds of `wit/`, bound to an instance.
pub(super) trait World: Send + Sized {
    /// What `configure` answers.
    type Answer: PartialEq + Send;

    fn instantiate(pre: &Pre, store: &mut Store<State>) -> wasmtime::Result<Self>;

    fn configure(
        &self,
        store: &mut Store<State>,
        settings: &str,
    ) -> wasmtime::Result<Result<Self::Answer, String>>;
}

/// A component with its imports resolved, so that an instance costs microseconds.
pub(super) enum Pre {
    Rule(RulePre<State>),
    Transform(TransformPre<State>),
}

impl Plugin {
    /// Makes a guest for one worker thread, with one instance of its own: `settings` is the
    /// stage's table as a JSON object, `stage` its name (for the log), `topic` the source topic.
    ///
    /// Blocks for as long as `limits.configure`. Not to be called on a thread that runs
    /// asynchronous tasks: WASI may block there, which tokio answers with a panic.
    pub fn configure(
        &self,
        settings: &str,
        stage: &str,
        topic: &str,
        limits: &Limits,
    ) -> Result<Guest, ConfigureError> {
        let plugin = Arc::clone(&self.loaded);
        Ok(match plugin.world {
            Pre::Rule(_) => {
                Guest::Rule(Box::new(WasmRule(Slot::new(plugin, settings, stage, limits)?)))
            }
            Pre::Transform(_) => Guest::Transform(Box::new(WasmTransform {
                slot: Slot::new(plugin, settings, stage, limits)?,
                topic: topic.into(),
            })),
        })
    }
}

pub(super) struct WasmRule(pub Slot<RuleWorld>);

impl Rule for WasmRule {
    fn plan(&self) -> &Plan {
        self.0.answer()
    }

    fn evaluate(&mut self, batch: RuleBatch<'_>) -> Result<Verdict, Fault> {
        let answer = convert::with_batch(batch, |wit| {
            self.0.call(batch.events as usize, batch.now, |world, store| {
                world.pipeline_plugin_rules().call_evaluate(store, wit)
            })
        })?;
        convert::verdict(answer, self.0.limits()).map_err(|problem| {
            self.0.discard();
            Fault::WrongAnswer(problem)
        })
    }

    fn discard(&mut self) {
        self.0.discard();
    }
}

pub(super) struct WasmTransform {
    pub slot: Slot<TransformWorld>,
    pub topic: Box<str>,
}

impl Transform for WasmTransform {
    fn transform(
        &mut self,
        records: &[TransformRecord<'_>],
        now: i64,
    ) -> Result<Vec<Outcome>, Fault> {
        let answer = convert::with_records(records, &self.topic, |wit| {
            self.slot.call(records.len(), now, |world, store| {
                world.pipeline_plugin_transforms().call_transform(store, wit, now)
            })
        })?;
        convert::outcomes(answer, self.slot.limits()).map_err(|problem| {
            self.slot.discard();
            Fault::WrongAnswer(problem)
        })
    }

    fn discard(&mut self) {
        self.slot.discard();
    }
}

impl World for RuleWorld {
    type Answer = Plan;

    fn instantiate(pre: &Pre, store: &mut Store<State>) -> wasmtime::Result<Self> {
        match pre {
            Pre::Rule(pre) => pre.instantiate(store),
            Pre::Transform(_) => unreachable!("a slot is made for the plugin's own world"),
        }
    }

    fn configure(
        &self,
        store: &mut Store<State>,
        settings: &str,
    ) -> wasmtime::Result<Result<Self::Answer, String>> {
        let answer = self.pipeline_plugin_rules().call_configure(store, settings)?;
        Ok(answer.map(convert::plan))
    }
}

impl World for TransformWorld {
    type Answer = ();

    fn instantiate(pre: &Pre, store: &mut Store<State>) -> wasmtime::Result<Self> {
        match pre {
            Pre::Transform(pre) => pre.instantiate(store),
            Pre::Rule(_) => unreachable!("a slot is made for the plugin's own world"),
        }
    }

    fn configure(
        &self,
        store: &mut Store<State>,
        settings: &str,
    ) -> wasmtime::Result<Result<Self::Answer, String>> {
        self.pipeline_plugin_transforms().call_configure(store, settings)
    }
}
