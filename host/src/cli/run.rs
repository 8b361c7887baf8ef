//! `host run`: the pipeline, until it is asked to stop.

use super::args::RunArgs;
use super::exit::{Exit, Failure};
use super::properties;
use crate::admin::Bound;
use crate::config::{self, FILE_NAME};

/// Runs the command.
pub fn run(args: &RunArgs) -> anyhow::Result<()> {
    let overrides = args.overrides().map_err(|text| Failure::new(Exit::Input, text))?;
    let file = args.plugins.plugins.join(FILE_NAME);
    let config = config::read(&file, &overrides, &properties::problem)?.finish()?;
    let admin = Bound::new(args.admin)?;
    tracing::info!(pipeline = config.name, admin = %admin.address(), "starting");
    Err(Failure::new(Exit::Runtime, "starting the workers: this build has none").into())
}
