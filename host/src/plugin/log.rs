//! `log.write`: lines of a plugin into the host's log, cut and counted.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::component::{Linker, WasmStr};
use wasmtime::{Result, StoreContextMut};

use super::bindings::rule::pipeline::plugin::log::Level;
use super::limits::{Limits, WORDS_BYTES_MAX};
use super::state::State;
use super::wit;

/// Offers `log` to a plugin that imports it.
pub(super) fn add_to_linker(linker: &mut Linker<State>) -> Result<()> {
    linker.instance(wit::LOG)?.func_wrap("write", write)
}

/// The text stays in the guest until it is known to be written.
fn write(mut store: StoreContextMut<'_, State>, (level, text): (Level, WasmStr)) -> Result<()> {
    let Some(left_out) = store.data_mut().log.admit(level) else { return Ok(()) };
    let limit = store.data().log.line_bytes;
    let line = one_line(cut(&text.to_str(&store)?, limit)).into_owned();
    store.data_mut().log.write(level, line, left_out);
    Ok(())
}

/// Who speaks, and how much more it may say. Moves from an instance to the one that replaces it:
/// else a plugin that traps all the time could log without limit.
#[derive(Clone)]
pub(super) struct LogMeter {
    stage: Arc<str>,
    plugin: Arc<str>,
    line_bytes: usize,
    bucket: Bucket,
    last_error: Option<String>,
}

impl LogMeter {
    pub fn new(stage: Arc<str>, plugin: Arc<str>, limits: &Limits) -> Self {
        Self {
            stage,
            plugin,
            line_bytes: limits.log_line_bytes,
            bucket: Bucket::new(limits.log_lines_per_second, Instant::now()),
            last_error: None,
        }
    }

    /// The last line of level `error` since the call began: how a Rust panic tells its reason.
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    pub fn forget_error(&mut self) {
        self.last_error = None;
    }

    /// Whether a line is worth reading, and how many were left out before it. Lines of level
    /// `error` always are: they may become the reason of a fault.
    fn admit(&mut self, level: Level) -> Option<Admitted> {
        match self.bucket.take(Instant::now()) {
            Some(left_out) => Some(Admitted::Written { left_out }),
            None if level == Level::Error => Some(Admitted::ReasonOnly),
            None => None,
        }
    }

    fn write(&mut self, level: Level, line: String, admitted: Admitted) {
        if let Admitted::Written { left_out } = admitted {
            let (stage, plugin) = (&*self.stage, &*self.plugin);
            if left_out > 0 {
                tracing::warn!(target: "plugin", stage, plugin, lines = left_out, "lines left out");
            }
            match level {
                Level::Debug => tracing::debug!(target: "plugin", stage, plugin, "{line}"),
                Level::Info => tracing::info!(target: "plugin", stage, plugin, "{line}"),
                Level::Warn => tracing::warn!(target: "plugin", stage, plugin, "{line}"),
                Level::Error => tracing::error!(target: "plugin", stage, plugin, "{line}"),
            }
        }
        if level == Level::Error {
            self.last_error = Some(cut(&line, WORDS_BYTES_MAX).to_owned());
        }
    }
}

enum Admitted {
    Written { left_out: u64 },
    ReasonOnly,
}

/// So many lines per second, and as many at once.
#[derive(Clone)]
struct Bucket {
    per_second: u32,
    tokens: f64,
    filled: Instant,
    left_out: u64,
}

impl Bucket {
    fn new(per_second: u32, now: Instant) -> Self {
        Self { per_second, tokens: f64::from(per_second), filled: now, left_out: 0 }
    }

    /// None if the line is one too many; else how many were, since the last that was not.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let passed = now.duration_since(self.filled).min(Duration::from_secs(1));
        let full = f64::from(self.per_second);
        self.tokens = (self.tokens + passed.as_secs_f64() * full).min(full);
        self.filled = now;
        if self.tokens < 1.0 {
            self.left_out += 1;
            return None;
        }
        self.tokens -= 1.0;
        Some(std::mem::take(&mut self.left_out))
    }
}

/// The first `bytes` of a text at most, cut between two characters.
pub(super) fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// The same on one line and without control characters, which could forge lines or steer a
/// terminal.
pub(super) fn one_line(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) {
        Cow::Owned(text.replace(char::is_control, " ").trim().to_owned())
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_past_the_rate_are_counted_and_the_count_is_told() {
        let start = Instant::now();
        let mut bucket = Bucket::new(2, start);
        assert_eq!(bucket.take(start), Some(0));
        assert_eq!(bucket.take(start), Some(0));
        assert_eq!(bucket.take(start), None);
        assert_eq!(bucket.take(start + Duration::from_millis(100)), None);
        assert_eq!(bucket.take(start + Duration::from_millis(600)), Some(2));
        assert_eq!(bucket.take(start + Duration::from_millis(600)), None);
        let later = start + Duration::from_secs(3_600);
        assert_eq!(bucket.take(later), Some(1));
        assert_eq!(bucket.take(later), Some(0));
        assert_eq!(bucket.take(later), None);
    }

    #[test]
    fn a_line_is_cut_between_characters_and_holds_no_control_character() {
        assert_eq!(cut("häus", 2), "h");
        assert_eq!(cut("häus", 400), "häus");
        assert_eq!(one_line("\x1b[31mred\nINFO forged\n"), "[31mred INFO forged");
        assert_eq!(one_line("plain"), "plain");
    }
}
