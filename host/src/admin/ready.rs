//! Whether the pipeline is ready, and what keeps it from being so.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::Pipeline;

/// A worker that has been in one call for longer is not ready. Half of what ends the process.
const STEP_MAX: Duration = Duration::from_secs(15);

/// The text of `/readyz`: good news, or what is missing.
pub(super) fn check(pipeline: &Pipeline) -> Result<String, String> {
    let mut problems = String::new();
    for (number, worker) in pipeline.workers.iter().enumerate() {
        let (since, call) = worker.stuck_in();
        if !worker.ready.load(Relaxed) {
            problems += &format!("not ready: worker {number} does not take part yet ({call})\n");
        } else if since > STEP_MAX {
            let seconds = since.as_secs();
            problems += &format!("not ready: worker {number} has been {call} for {seconds} s\n");
        }
    }
    if pipeline.workers.is_empty() {
        problems += "not ready: no worker has started\n";
    }
    let mode = if pipeline.demo { "demo: in memory, at-least-once\n" } else { "" };
    let paused = match pipeline.pause.is_on() {
        true => "paused: no records are taken until POST /api/v1/resume\n",
        false => "",
    };
    if problems.is_empty() {
        Ok(format!("ready\n{paused}{mode}"))
    } else {
        Err(format!("{problems}{mode}"))
    }
}
