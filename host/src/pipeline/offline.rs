//! The stages of a generation for whoever has records of his own.

use std::sync::Arc;

use super::generation::{Generation, Loader};
use crate::chain::Chain;
use crate::config::{self, OnError};
use crate::plugin::{self, LoadError, LoadLimits, Plugin, defaults};

impl Loader {
    /// The plugin of this name, or, where it may, the one that ships with this program. As long as
    /// it is there, generations of this loader do not compile it again.
    pub fn plugin_of(&self, name: &str, is_default: bool) -> Result<Arc<Plugin>, LoadError> {
        let limits = LoadLimits::default();
        let shipped = defaults::default(name).filter(|_| is_default);
        let read = || plugin::read(&self.path(name), limits);
        let bytes = shipped.map_or_else(read, |component| Ok(component.to_vec()))?;
        self.plugin(name, &bytes, limits)
    }
}

impl Generation {
    /// As [`Generation::chain`], with nobody who looks at what comes out.
    pub fn unobserved(&self) -> anyhow::Result<Chain> {
        self.chain_with(Vec::new())
    }

    /// Each stage as a chain by itself, in which whatever it fails on is a dead letter and no share
    /// of them is too much.
    pub fn each_stage(&self) -> anyhow::Result<Vec<(&config::Stage, Chain)>> {
        let alone = |stage| {
            let mut plain = config::Stage::clone(stage);
            plain.on_error = OnError::DeadLetter;
            Ok((stage, self.line(std::slice::from_ref(&plain))?))
        };
        self.config.stages.iter().map(alone).collect()
    }
}
