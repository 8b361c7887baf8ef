//! The stages of a generation for whoever has records of his own.

use super::generation::Generation;
use crate::chain::Chain;
use crate::config::{self, OnError};

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
