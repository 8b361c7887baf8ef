//! The naive way: the same rules as transforms that are handed JSON, parse it and write it again.

use std::path::Path;
use std::process::Command;

/// Builds `benches/naive` and gives the component.
pub fn component() -> Vec<u8> {
    let host = Path::new(env!("CARGO_MANIFEST_DIR"));
    // A folder of its own: cargo may still hold the lock of the common one.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("naive");
    let status = Command::new(env!("CARGO"))
        .current_dir(host)
        .args(["build", "--quiet", "--locked", "--package", "naive-rules", "--profile", "plugin"])
        .args(["--target", "wasm32-unknown-unknown", "--target-dir"])
        .arg(&target)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTFLAGS")
        .status()
        .expect("cargo starts");
    assert!(status.success(), "building benches/naive failed, as cargo says above");
    let module = target.join("wasm32-unknown-unknown/plugin/naive_rules.wasm");
    let module = std::fs::read(module).expect("cargo has made the module");
    wit_component::ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|mut encoder| encoder.encode())
        .expect("the module is one of the transform world")
}
