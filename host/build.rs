//! Makes the default plugins: compiles `plugins/<name>` to wasm, turns each into a component and
//! leaves it in `OUT_DIR`, where `src/plugin/defaults.rs` embeds it.

#[path = "src/authoring/cargo.rs"]
mod cargo;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use cargo::{TARGET, ensure_target, is_of_another_build};

/// Also listed in `src/plugin/defaults.rs`.
const PLUGINS: [&str; 4] = ["filter", "timestamps", "categorize", "anomaly"];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let host = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let workspace = host.parent().ok_or("the host lies in no workspace")?;
    mend_librdkafka()?;
    watch_sources(workspace);
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    ensure_target(rustc)
        .map_err(|help| format!("the default plugins need the Rust target {TARGET}: {help}"))?;
    let built = compile(workspace, &out)?;
    for name in PLUGINS {
        let module = built.join(format!("{}.wasm", name.replace('-', "_")));
        let module =
            fs::read(&module).map_err(|error| format!("reading {}: {error}", module.display()))?;
        let component = wit_component::ComponentEncoder::default()
            .validate(true)
            .module(&module)
            .and_then(|mut encoder| encoder.encode())
            .map_err(|error| format!("making a component of the plugin {name}: {error:#}"))?;
        fs::write(out.join(format!("{name}.wasm")), component)?;
    }
    Ok(())
}

/// See `src/kafka/raw/leaders.rs`. The linkers of other systems have no `--wrap`.
fn mend_librdkafka() -> Result<(), Box<dyn Error>> {
    if env::var("CARGO_CFG_TARGET_OS")? == "linux" {
        for function in ["set_topic", "set_CurrentLeader"] {
            let symbol = format!("rd_kafkap_leader_discovery_{function}");
            println!("cargo::rustc-link-arg=-Wl,--wrap={symbol}");
        }
    }
    Ok(())
}

/// Only what the plugins are made of: a built plugin or a `pipeline.toml` that a run lays down
/// beside the sources must not start a build.
fn watch_sources(workspace: &Path) {
    for file in ["Cargo.toml", "Cargo.lock", "wit", "host/build.rs", "host/src/authoring/cargo.rs"]
    {
        println!("cargo::rerun-if-changed={}", workspace.join(file).display());
    }
    for name in ["sdk"].iter().chain(&PLUGINS) {
        for file in ["Cargo.toml", "src"] {
            let path = workspace.join("plugins").join(name).join(file);
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
}

/// Runs cargo for the plugins and answers with the folder of their modules.
///
/// The target folder is one of its own, since the outer cargo holds the lock of the common one; it
/// lies beside the outer profiles, so that build, clippy, doc, debug and release share its work.
fn compile(workspace: &Path, out: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let common = out.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists());
    let folder = common.unwrap_or(out).join("default-plugins");
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(workspace)
        .args(["build", "--quiet", "--locked", "--profile", "plugin", "--target", TARGET])
        .arg("--target-dir")
        .arg(&folder);
    for name in PLUGINS {
        command.args(["--package", name]);
    }
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_of_another_build) {
            command.env_remove(name);
        }
    }
    command.env("CARGO_ENCODED_RUSTFLAGS", remapped_paths(workspace));
    let status = command.status().map_err(|error| format!("starting cargo: {error}"))?;
    if !status.success() {
        return Err("compiling the default plugins failed, as cargo says above".into());
    }
    Ok(folder.join(TARGET).join("plugin"))
}

/// Takes this machine's folders out of the panic messages, so that the same sources make the same
/// component everywhere.
fn remapped_paths(workspace: &Path) -> String {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| {
        let home = env::var_os("HOME").or_else(|| env::var_os("USERPROFILE"));
        home.map(|home| PathBuf::from(home).join(".cargo"))
    });
    let mut flags = vec![format!("--remap-path-prefix={}=pipeline", workspace.display())];
    if let Some(home) = home {
        flags.push(format!("--remap-path-prefix={}=cargo", home.display()));
    }
    flags.join("\u{1f}")
}
