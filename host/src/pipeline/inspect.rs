//! Plugins looked at one by one, apart from the chain that they are made for.

use std::path::Path;

use super::content::load_limits;
use super::generation::{Loader, stage_limits};
use crate::chain::Record;
use crate::chain::guest::Fault;
use crate::config::{self, Draft};
use crate::plugin::{self, ConfigureError, Inspection, LoadError, Plugin, Probe, Timed, Timing};

impl Loader {
    /// Reads a file and looks at it. The error is that of a file that cannot be read.
    pub fn inspect(&self, file: &Path, draft: &Draft) -> Result<Inspection, LoadError> {
        let limits = load_limits(draft);
        let bytes = plugin::read(file, limits)?;
        Ok(self.engine.inspect(&file.display().to_string(), &bytes, limits))
    }

    /// Looks at a plugin that ships with this program.
    pub fn inspect_default(&self, name: &str, bytes: &[u8], draft: &Draft) -> Inspection {
        self.engine.inspect(&self.path(name).display().to_string(), bytes, load_limits(draft))
    }
}

/// What the plugin does and needs with a stage's settings and limits; see [`Plugin::probe`].
pub fn probe(
    plugin: &Plugin,
    stage: &config::Stage,
    topic: &str,
    records: &[Record<'_>],
    now: i64,
) -> Result<Probe, ConfigureError> {
    let limits = stage_limits(&stage.limits);
    plugin.probe(&stage.settings, &stage.name, topic, &limits, records, now)
}

/// Times a plugin with a stage's settings and limits; see [`Plugin::time`].
pub fn time(
    plugin: &Plugin,
    stage: &config::Stage,
    topic: &str,
    records: &[Record<'_>],
    batch: usize,
    go_on: &mut dyn FnMut(&Timing) -> bool,
) -> Result<Result<Timing, Fault>, ConfigureError> {
    let limits = stage_limits(&stage.limits);
    let (settings, stage, now) = (&*stage.settings, &*stage.name, 0);
    let timed = Timed { settings, stage, topic, limits: &limits, records, batch, now };
    plugin.time(&timed, go_on)
}
