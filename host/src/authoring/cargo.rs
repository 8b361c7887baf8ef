//! What cargo needs to make a module: shared with `build.rs`, which makes the default plugins.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

/// The target whose modules import nothing.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// Installs the target where rustup can; the error is the one command that does.
pub fn ensure_target(rustc: impl AsRef<OsStr>) -> Result<(), String> {
    let has_target = || {
        let answer = Command::new(rustc.as_ref())
            .args(["--print", "target-libdir", "--target", TARGET])
            .output();
        answer.is_ok_and(|answer| {
            Path::new(String::from_utf8_lossy(&answer.stdout).trim()).is_dir()
                && answer.status.success()
        })
    };
    if has_target() {
        return Ok(());
    }
    let mut rustup = Command::new("rustup");
    let installed = rustup.args(["target", "add", TARGET]).stdout(Stdio::null()).status();
    if installed.is_ok_and(|status| status.success()) && has_target() {
        return Ok(());
    }
    Err(format!("run `rustup target add {TARGET}`"))
}

/// Whether a variable is about a build around this one and would lead it astray: the host's flags,
/// clippy's wrapper, profile overrides, another target. The job server's and those about the network
/// and the registry stay.
pub fn is_of_another_build(name: &str) -> bool {
    let about_the_build = [
        "CARGO_BUILD_",
        "CARGO_CFG_",
        "CARGO_FEATURE_",
        "CARGO_MANIFEST_",
        "CARGO_PKG_",
        "CARGO_PROFILE_",
        "CARGO_TARGET_",
    ];
    let exactly = [
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_INCREMENTAL",
        "CLIPPY_ARGS",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTFLAGS",
    ];
    exactly.contains(&name) || about_the_build.iter().any(|prefix| name.starts_with(prefix))
}
