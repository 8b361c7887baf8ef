//! `host run` with nothing but a plugins folder: the demo, on its own broker.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use support::SOON;
use support::process::Process;

/// Whether some dead letters are committed: one of 200 generated records is invalid.
fn is_flowing(log: &str) -> bool {
    log.split("committed_so_far=").skip(1).any(|count| !count.starts_with('0'))
}

#[test]
fn the_demo_comes_up_by_itself_and_ends_with_everything_committed() {
    let folder = tempfile::Builder::new().prefix("demo-").tempdir().unwrap();
    let mut command = Process::command();
    command.current_dir(folder.path()).args(["run", "--plugins", "plugins"]);
    command.args(["--state-dir", "state", "--admin", "127.0.0.1:0"]);
    let mut process = Process::start(&mut command, &folder.path().join("log"));
    process.await_log("this is the demo broker", SOON);
    process.await_in_log("dead letters committed", is_flowing, SOON);
    process.terminate();
    let log = process.log();
    assert!(log.contains("stopped: everything in hand is committed"), "{log}");
    assert!(!log.contains("going back to what is committed"), "{log}");
}
