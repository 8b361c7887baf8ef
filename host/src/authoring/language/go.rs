//! Go: the standard tool chain for WASI preview 1, on bindings that are generated here.

use std::fs;
use std::path::Path;

use super::{File, Language};
use crate::authoring::error::BuildError;
use crate::authoring::project::{Project, lay};
use crate::authoring::tool::Tool;
use crate::authoring::{bindings, component};
use crate::plugin::World;

/// The module of what a plugin is written with, and its folder below that for what is made.
const MODULE: &str = "pipeline";
/// Where the generator looks for what its code needs, and where it is here.
const SUPPORT: (&str, &str) = ("go.bytecodealliance.org/pkg/wit/", "pipeline/wit/");

/// What is the same in both worlds.
const COMMON: [File; 9] = [
    ("go.mod", include_str!("../../../templates/go/support/go.mod")),
    ("settings.go", include_str!("../../../templates/go/support/settings.go")),
    ("log.go", include_str!("../../../templates/go/support/log.go")),
    ("component/main.go", include_str!("../../../templates/go/support/main.go")),
    ("wit/LICENSE", include_str!("../../../templates/go/support/wit/LICENSE")),
    ("wit/types/option.go", include_str!("../../../templates/go/support/wit/option.go")),
    ("wit/types/result.go", include_str!("../../../templates/go/support/wit/result.go")),
    ("wit/types/unit.go", include_str!("../../../templates/go/support/wit/unit.go")),
    ("wit/runtime/runtime.go", include_str!("../../../templates/go/support/wit/runtime.go")),
];

const RULE: [File; 2] = [
    ("rule.go", include_str!("../../../templates/go/support/rule.go")),
    (
        "export_pipeline_plugin_rules/export.go",
        include_str!("../../../templates/go/support/export_rule.go"),
    ),
];

const TRANSFORM: [File; 2] = [
    ("transform.go", include_str!("../../../templates/go/support/transform.go")),
    (
        "export_pipeline_plugin_transforms/export.go",
        include_str!("../../../templates/go/support/export_transform.go"),
    ),
];

pub(super) fn files(world: World) -> Vec<File> {
    let source = match world {
        World::Rule => ("rule.go", include_str!("../../../templates/go/rule.go")),
        World::Transform => ("transform.go", include_str!("../../../templates/go/transform.go")),
    };
    let module = ("go.mod", include_str!("../../../templates/go/go.mod"));
    vec![source, module, (".gitignore", "/.build\n")]
}

pub(super) fn build(project: &Project) -> Result<Vec<u8>, BuildError> {
    let scratch = project.scratch()?;
    let own = module_of(project)?;
    lay_support(project.world, &scratch.join(MODULE), &own)?;
    let module = scratch.join("module.wasm");
    Tool::new(Language::Go, "go")
        .at(&project.dir)
        .env("GOOS", "wasip1")
        .env("GOARCH", "wasm")
        // What is built are these two modules, with the tools that are here.
        .env("GOWORK", "off")
        .env("GOTOOLCHAIN", "local")
        .args(["build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false"])
        .args(["-ldflags=-s -w -checklinkname=0", "-o"])
        .args([module.as_os_str()])
        .args([format!("{MODULE}/component")])
        .run()?;
    let module = fs::read(&module).map_err(BuildError::io("reading", module))?;
    component::encode_go(&bindings::with_world(&module, project.world)?)
}

/// The path that the author's go.mod gives his package.
fn module_of(project: &Project) -> Result<String, BuildError> {
    let file = project.dir.join("go.mod");
    let text = fs::read_to_string(&file).map_err(BuildError::io("reading", &file))?;
    let path = text.lines().find_map(|line| line.trim().strip_prefix("module "));
    let path = path.map(|path| path.split("//").next().unwrap_or(path).trim().trim_matches('"'));
    path.map(str::to_owned).ok_or_else(|| {
        BuildError::Project(format!("{}: add a line `module plugins/NAME`", file.display()))
    })
}

/// Writes the module that the author's imports, and that imports the author's.
fn lay_support(world: World, folder: &Path, own: &str) -> Result<(), BuildError> {
    let files: &[File] = match world {
        World::Rule => &RULE,
        World::Transform => &TRANSFORM,
    };
    for (name, text) in COMMON.iter().chain(files) {
        lay(folder, name, text.replace("{{module}}", own).as_bytes())?;
    }
    for (name, content) in bindings::go(world, MODULE)?.iter() {
        let text = String::from_utf8_lossy(content).replace(SUPPORT.0, SUPPORT.1);
        lay(folder, name, text.as_bytes())?;
    }
    Ok(())
}
