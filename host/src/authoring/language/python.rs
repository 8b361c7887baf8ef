//! Python: CPython with the source inside, made by componentize-py, which pip fetches.

use std::fs;

use super::{File, Language};
use crate::authoring::error::BuildError;
use crate::authoring::project::Project;
use crate::authoring::tool::Tool;
use crate::authoring::{dependencies, install};
use crate::plugin::World;

const TOOL: &str = "componentize-py";
/// Where pip puts the tool: nothing outside the folder changes, and there is no environment to enter.
const PACKAGES: &str = ".build/python";
const COMPONENTIZE: &str = ".build/python/bin/componentize-py";

pub(super) fn files(world: World) -> Vec<File> {
    let [source, helper] = match world {
        World::Rule => [
            ("rule.py", include_str!("../../../templates/python/rule.py")),
            ("pipeline.py", include_str!("../../../templates/python/pipeline_rule.py")),
        ],
        World::Transform => [
            ("transform.py", include_str!("../../../templates/python/transform.py")),
            ("pipeline.py", include_str!("../../../templates/python/pipeline_transform.py")),
        ],
    };
    vec![
        source,
        helper,
        ("settings.py", include_str!("../../../templates/python/settings.py")),
        ("requirements.txt", include_str!("../../../templates/python/requirements.txt")),
        (".gitignore", "/.build/\n__pycache__/\n"),
    ]
}

pub(super) fn build(project: &Project) -> Result<Vec<u8>, BuildError> {
    dependencies::ensure(project, "requirements.txt", PACKAGES, || {
        ensure_pip(project)?;
        python(project)
            .args(["-m", "pip", "install", "--quiet", "--upgrade", "--target", PACKAGES])
            .args(["--disable-pip-version-check", "-r", "requirements.txt"])
            .env("PIP_ROOT_USER_ACTION", "ignore")
            .run()
    })?;
    if !project.dir.join(COMPONENTIZE).is_file() {
        return Err(BuildError::Project(
            "requirements.txt lacks the tool that builds the plugin: add `componentize-py==0.25.1`"
                .to_owned(),
        ));
    }
    let made = project.scratch()?.join("component.wasm");
    let source = Language::Python.source(project.world);
    python(project)
        .env("PYTHONPATH", project.dir.join(PACKAGES))
        // It would look for an environment's packages and take them along, and show thirty calls of
        // its own below a mistake of the author's.
        .without(|name| ["VIRTUAL_ENV", "RUST_BACKTRACE"].contains(&name))
        .args([COMPONENTIZE, "-q", "-d", "wit", "-w", &project.world.to_string(), "componentize"])
        .args(["--python-path", ".", "--output", ".build/component.wasm"])
        .args([source.trim_end_matches(".py")])
        .run()?;
    fs::read(&made).map_err(BuildError::io("reading", made))
}

/// Some systems have it in a package of its own.
fn ensure_pip(project: &Project) -> Result<(), BuildError> {
    python(project).args(["--version"]).output()?;
    if python(project).args(["-m", "pip", "--version"]).answers() {
        return Ok(());
    }
    let (tool, language) = ("pip".to_owned(), Language::Python);
    Err(BuildError::MissingTool { tool, language, get: install::pip() })
}

pub(super) fn tool(project: &Project) -> Option<(&'static str, String)> {
    let installed = fs::read_dir(project.dir.join(PACKAGES)).ok()?.flatten();
    let names = installed.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut versions = names.filter_map(|name| {
        let version = name.strip_prefix("componentize_py-")?.strip_suffix(".dist-info")?;
        Some(version.to_owned())
    });
    Some((TOOL, versions.next()?))
}

fn python(project: &Project) -> Tool {
    let mut python = Tool::new(Language::Python, "python3");
    python.at(&project.dir);
    python
}
