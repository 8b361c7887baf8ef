//! The candidates of one generation at work.

use std::sync::Arc;

use anyhow::Context as _;

use crate::pipeline::Generation;
use crate::shadow::{Feed, Shadow};

/// What compares, and what the workers feed it with.
#[derive(Default)]
pub struct Shadows {
    /// What each candidate shows.
    pub shown: Vec<Arc<Shadow>>,
    /// For the workers; the comparisons end when these are gone.
    pub feeds: Vec<Feed>,
}

impl Shadows {
    /// Starts a thread for each candidate of a generation.
    pub fn start(generation: &Generation) -> anyhow::Result<Self> {
        let mut shadows = Self::default();
        for (info, pair) in generation.pairs()? {
            let (shown, feed) =
                Shadow::start(info, pair).context("starting a candidate's thread")?;
            shadows.shown.push(shown);
            shadows.feeds.push(feed);
        }
        Ok(shadows)
    }
}
