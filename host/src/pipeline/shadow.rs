//! Candidates beside the stages of a generation.

use std::sync::Arc;

use anyhow::Context as _;

use super::generation::{Generation, configure, limits};
use crate::chain::{self, Chain, OnError};
use crate::config;
use crate::plugin::Plugin;
use crate::shadow::{Info, Pair};

impl Generation {
    /// Each candidate with what it is held against.
    pub fn pairs(&self) -> anyhow::Result<Vec<(Info, Pair)>> {
        let mut pairs = Vec::new();
        let stages = &self.config.stages;
        for (place, stage) in stages.iter().enumerate() {
            let Some(candidate) = stage.shadow.as_deref() else { continue };
            let before = match place {
                0 => None,
                _ => Some(self.line(&stages[..place])?),
            };
            let pair = Pair::new(
                before,
                self.line(std::slice::from_ref(stage))?,
                self.line(std::slice::from_ref(candidate))?,
            );
            pairs.push((self.info(Some(&stage.name), std::slice::from_ref(candidate)), pair));
        }
        if !self.config.shadow.is_empty() {
            let pair = Pair::new(None, self.line(stages)?, self.line(&self.config.shadow)?);
            pairs.push((self.info(None, &self.config.shadow), pair));
        }
        Ok(pairs)
    }

    /// All stages of two generations against each other.
    pub fn against(&self, new: &Self) -> anyhow::Result<Pair> {
        Ok(Pair::new(None, self.line(&self.config.stages)?, new.line(&new.config.stages)?))
    }

    /// The candidates with their plugins, and the stage whose place each is for; none for that of
    /// all stages.
    pub fn candidates(&self) -> impl Iterator<Item = (Option<&str>, &config::Stage, &Plugin)> {
        let of_stages = self.config.stages.iter().filter_map(|stage| {
            let candidate = stage.shadow.as_deref()?;
            Some((Some(stage.name.as_str()), candidate))
        });
        let of_all = self.config.shadow.iter().map(|candidate| (None, candidate));
        of_stages.chain(of_all).map(|(of, candidate)| (of, candidate, self.plugin(candidate)))
    }

    /// Some of the stages by themselves. Errors are to be counted, so nothing stops for them.
    pub(super) fn line(&self, stages: &[config::Stage]) -> anyhow::Result<Chain> {
        let topics: Arc<[String]> = self.config.sink.further.clone().into();
        let stage = |stage: &config::Stage| -> anyhow::Result<chain::Stage> {
            let topic = &self.config.source.topic.name;
            let mut configured =
                configure(self.plugin(stage), stage, topic).with_context(|| {
                    format!("starting {:?} for stage {:?}", stage.plugin, stage.name)
                })?;
            configured.topics = topics.clone();
            if matches!(configured.on_error, OnError::Stop) {
                configured.on_error = OnError::DeadLetter;
            }
            Ok(configured)
        };
        let stages = stages.iter().map(stage).collect::<anyhow::Result<_>>()?;
        let limits = chain::Limits { reject_share_max: 1.0, ..limits(&self.config) };
        Chain::new(stages, Vec::new(), limits).map_err(|errors| {
            let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
            anyhow::anyhow!(errors.join("; "))
        })
    }

    fn info(&self, stage: Option<&str>, candidates: &[config::Stage]) -> Info {
        Info {
            stage: stage.map(str::to_owned),
            plugins: candidates.iter().map(|candidate| candidate.plugin.clone()).collect(),
            hashes: candidates.iter().map(|one| self.plugin(one).hash().short()).collect(),
        }
    }
}
