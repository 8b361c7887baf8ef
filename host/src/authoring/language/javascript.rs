//! JavaScript: QuickJS with the source inside, made by componentize-qjs, which npm fetches.

use std::fs;

use serde_json::Value;

use super::{File, Language};
use crate::authoring::error::BuildError;
use crate::authoring::project::{Project, lay};
use crate::authoring::tool::Tool;
use crate::authoring::{dependencies, integers};
use crate::plugin::World;

const TOOL: &str = "componentize-qjs";
const COMPONENTIZE: &str = "node_modules/componentize-qjs/cli.mjs";
/// Says the version of it.
const INSTALLED: &str = "node_modules/componentize-qjs/package.json";

pub(super) fn files(world: World) -> Vec<File> {
    let [source, helper] = match world {
        World::Rule => [
            ("rule.js", include_str!("../../../templates/javascript/rule.js")),
            ("pipeline.js", include_str!("../../../templates/javascript/pipeline-rule.js")),
        ],
        World::Transform => [
            ("transform.js", include_str!("../../../templates/javascript/transform.js")),
            ("pipeline.js", include_str!("../../../templates/javascript/pipeline-transform.js")),
        ],
    };
    vec![
        source,
        helper,
        ("settings.js", include_str!("../../../templates/javascript/settings.js")),
        ("package.json", include_str!("../../../templates/javascript/package.json")),
        (".gitignore", "/.build/\n/node_modules/\n"),
    ]
}

pub(super) fn build(project: &Project) -> Result<Vec<u8>, BuildError> {
    // npm without it says something else.
    if !Tool::new(Language::JavaScript, "node").args(["--version"]).answers() {
        return Err(BuildError::missing("node", Language::JavaScript));
    }
    dependencies::ensure(project, "package.json", "node_modules", || {
        let mut npm = Tool::new(Language::JavaScript, "npm");
        npm.at(&project.dir).args(["install", "--no-audit", "--no-fund", "--loglevel=error"]).run()
    })?;
    if !project.dir.join(COMPONENTIZE).is_file() {
        return Err(BuildError::Project(
            "package.json lacks the tool that builds the plugin: run `npm install --save-dev \
             --save-exact componentize-qjs@0.4.5`"
                .to_owned(),
        ));
    }
    let scratch = project.scratch()?;
    for (path, text) in integers::halved() {
        lay(&scratch, path, text.as_bytes())?;
    }
    let made = scratch.join("component.wasm");
    Tool::new(Language::JavaScript, "node")
        .at(&project.dir)
        .args([COMPONENTIZE, "--wit", ".build/wit", "--world", &project.world.to_string()])
        .args(["--js", Language::JavaScript.source(project.world), "--sync"])
        .args(["--output", ".build/component.wasm"])
        .run()?;
    let component = fs::read(&made).map_err(BuildError::io("reading", made))?;
    integers::joined(&component)
}

pub(super) fn tool(project: &Project) -> Option<(&'static str, String)> {
    let installed = fs::read(project.dir.join(INSTALLED)).ok()?;
    let installed: Value = serde_json::from_slice(&installed).ok()?;
    Some((TOOL, installed["version"].as_str()?.to_owned()))
}
