//! Lines for the operator. A plugin that calls nothing of this module does not import the log.

use crate::bindings::pipeline::plugin::log::{Level, write};

/// For the plugin's author; not shown unless asked for.
pub fn debug(text: &str) {
    line(Level::Debug, text);
}

/// Worth a line in normal operation.
pub fn info(text: &str) {
    line(Level::Info, text);
}

/// The operator should look at it some time.
pub fn warn(text: &str) {
    line(Level::Warn, text);
}

/// A human must act.
pub fn error(text: &str) {
    line(Level::Error, text);
}

/// From now on a panic says its message and its place in the host's log, before it traps.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic| error(&panic.to_string())));
}

fn line(level: Level, text: &str) {
    // Natively there is no host: a rule under test stays quiet.
    if cfg!(target_arch = "wasm32") {
        write(level, text);
    }
}
