//! Rust: cargo for `wasm32-unknown-unknown`, and the component is made here.

use std::path::PathBuf;
use std::sync::LazyLock;

use serde_json::Value;

use super::{File, Language};
use crate::authoring::cargo::{TARGET, ensure_target, is_of_another_build};
use crate::authoring::error::BuildError;
use crate::authoring::project::Project;
use crate::authoring::tool::Tool;
use crate::authoring::{bindings, component, install};
use crate::plugin::World;

/// The SDK in a folder of its own beside the source: it is on no registry.
const SDK: [File; 15] = [
    ("sdk/Cargo.toml", include_str!("../../../templates/rust/sdk.toml")),
    ("sdk/src/answer.rs", include_str!("../../../../plugins/sdk/src/answer.rs")),
    ("sdk/src/column.rs", include_str!("../../../../plugins/sdk/src/column.rs")),
    ("sdk/src/combine.rs", include_str!("../../../../plugins/sdk/src/combine.rs")),
    ("sdk/src/component.rs", include_str!("../../../../plugins/sdk/src/component.rs")),
    ("sdk/src/configure.rs", include_str!("../../../../plugins/sdk/src/configure.rs")),
    ("sdk/src/lib.rs", include_str!("../../../../plugins/sdk/src/lib.rs")),
    ("sdk/src/log.rs", include_str!("../../../../plugins/sdk/src/log.rs")),
    ("sdk/src/node.rs", include_str!("../../../../plugins/sdk/src/node.rs")),
    ("sdk/src/plan.rs", include_str!("../../../../plugins/sdk/src/plan.rs")),
    ("sdk/src/problems.rs", include_str!("../../../../plugins/sdk/src/problems.rs")),
    ("sdk/src/settings.rs", include_str!("../../../../plugins/sdk/src/settings.rs")),
    ("sdk/src/testing.rs", include_str!("../../../../plugins/sdk/src/testing.rs")),
    ("sdk/src/transform.rs", include_str!("../../../../plugins/sdk/src/transform.rs")),
    ("sdk/LICENSE", include_str!("../../../../LICENSE")),
];

/// Generated, where the host's own SDK has a macro.
static BINDINGS: LazyLock<String> = LazyLock::new(bindings::rust);

pub(super) fn files(world: World) -> Vec<File> {
    let source = match world {
        World::Rule => include_str!("../../../templates/rust/rule.rs"),
        World::Transform => include_str!("../../../templates/rust/transform.rs"),
    };
    let own = [
        ("src/lib.rs", source),
        ("Cargo.toml", include_str!("../../../templates/rust/Cargo.toml")),
        (".gitignore", "/target\n"),
    ];
    let bindings = [("sdk/src/bindings.rs", BINDINGS.as_str())];
    own.into_iter().chain(SDK).chain(bindings).collect()
}

pub(super) fn build(project: &Project) -> Result<Vec<u8>, BuildError> {
    Tool::new(Language::Rust, "cargo").args(["--version"]).output()?;
    ensure_target("rustc").map_err(|_| missing_target())?;
    let mut cargo = Tool::new(Language::Rust, "cargo");
    cargo
        .at(&project.dir)
        .args(["build", "--release", "--target", TARGET, "--target-dir", "target"])
        // Messages for people go to stderr; what was made is told on stdout.
        .args(["--message-format", "json-render-diagnostics"])
        .without(is_of_another_build);
    let module = made(&cargo.output()?).ok_or_else(|| {
        let text =
            "cargo made no .wasm file: Cargo.toml needs `crate-type = [\"cdylib\"]` in [lib]";
        BuildError::Project(format!("{}: {text}", project.dir.display()))
    })?;
    let module = std::fs::read(&module).map_err(BuildError::io("reading", module))?;
    component::encode(&module)
}

fn missing_target() -> BuildError {
    let (tool, language) = (format!("the target {TARGET}"), Language::Rust);
    match install::has("rustup") {
        true => {
            let get = format!("rustup target add {TARGET}");
            BuildError::MissingTool { tool, language, get }
        }
        false => BuildError::missing(tool, language),
    }
}

/// The last module that cargo says it made: that of the package itself comes last.
fn made(messages: &[u8]) -> Option<PathBuf> {
    let artifacts = String::from_utf8_lossy(messages);
    let messages = artifacts.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let files = messages.filter(|message| message["reason"] == "compiler-artifact");
    let names =
        files.flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default());
    let mut names = names.filter_map(|name| name.as_str().map(PathBuf::from));
    let is_module = |name: &PathBuf| name.extension().is_some_and(|extension| extension == "wasm");
    names.rfind(is_module)
}
