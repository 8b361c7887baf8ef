//! `host plugin build`: source into a component in the plugins folder.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use super::draft;
use super::look::{shown_bytes, shown_millis};
use crate::authoring::{BuildError, Project, WrittenIn};
use crate::cli::args::StateArgs;
use crate::cli::ask::AdminArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::properties;
use crate::config::{self, Against, Overrides};
use crate::demo::stop::Stop;
use crate::pipeline::probe;
use crate::plugin::defaults::PIPELINE_TOML;
use crate::plugin::{ConfigureError, ContentHash, Engine, LoadLimits, Plugin};

/// Build a plugin with its language's own tools, check the component, and put it into the plugins
/// folder in one step.
#[derive(Args, Clone)]
#[command(after_help = "\
Examples:
  host plugin build plugins/region
  host plugin build --into /srv/plugins
  host plugin build plugins/region --watch
      at each save; a host that runs on the same folder takes it at once

What the tools say is shown as they say it. Nothing is put anywhere unless it is a plugin that this \
host takes. For a language without a template, `command` and `module` in plugin.toml say how a \
module is made.

Exit codes:
  0  done
  1  a tool says no, or what it made is no plugin
  2  wrong arguments, or no plugin's folder
  3  a tool is missing, or a file cannot be written")]
pub(super) struct BuildArgs {
    /// The plugin's folder
    #[arg(env = "HOST_BUILD_DIR", value_name = "DIR", default_value = ".")]
    dir: PathBuf,

    /// Where the component goes [default: the folder around DIR]
    #[arg(long, env = "HOST_BUILD_INTO", value_name = "FOLDER")]
    into: Option<PathBuf>,

    /// Build again at each save, and say what the host at --admin makes of it
    #[arg(long, env = "HOST_WATCH", conflicts_with = "json")]
    watch: bool,

    /// Which running host to tell
    #[command(flatten)]
    admin: AdminArgs,

    /// That of the pipeline: if it is there, the component is compiled for it as well
    #[command(flatten)]
    state: StateArgs,

    /// One JSON object
    #[arg(long, env = "HOST_JSON")]
    json: bool,
}

/// Where components go.
pub(super) struct Place<'a> {
    /// Keeps what it compiled, if there is a state folder: a host on that finds it there.
    engine: Engine,
    into: &'a Path,
}

/// What was built.
#[derive(Serialize)]
pub(super) struct Told {
    pub plugin: String,
    file: String,
    language: String,
    #[serde(skip)]
    written_in: WrittenIn,
    world: String,
    bytes: usize,
    hash: String,
    build_ms: f64,
    compile_ms: f64,
}

pub(super) fn run(args: &BuildArgs) -> anyhow::Result<()> {
    let project = Project::open(&args.dir).map_err(failure)?;
    let around = project.dir.parent().unwrap_or(Path::new("/"));
    let into = args.into.as_deref().unwrap_or(around);
    let kept = args.state.existing().map(|folder| folder.join("compiled"));
    let engine = Engine::new(kept.as_deref())?;
    let place = Place { engine, into };
    if args.watch {
        let stop = Stop::on_signal().context("listening for signals")?;
        return super::watch::watch(&project, &place, args.admin.admin, &stop);
    }
    let told = build(&project, &place)?;
    let mut stdout = std::io::stdout().lock();
    match args.json {
        true => writeln!(stdout, "{}", serde_json::to_string(&told)?)?,
        false => writeln!(stdout, "{}", shown(&told))?,
    }
    Ok(())
}

/// One line of it.
pub(super) fn shown(told: &Told) -> String {
    format!(
        "{} ({}, {}), a {} in {}: built in {}, compiled in {}",
        told.file,
        shown_bytes(told.bytes),
        told.hash,
        told.world,
        told.written_in,
        shown_millis(told.build_ms),
        shown_millis(told.compile_ms)
    )
}

impl Told {
    /// Whether a hash, as the status shows it, is that of this component.
    pub fn is(&self, hash: Option<&str>) -> bool {
        hash.is_some_and(|hash| hash == self.hash)
    }
}

/// Builds, checks and puts.
pub(super) fn build(project: &Project, place: &Place<'_>) -> anyhow::Result<Told> {
    let built = project.build().map_err(failure)?;
    let name = format!("what was built of {}", project.dir.display());
    let plugin = place
        .engine
        .load_bytes(&name, &built.component, LoadLimits::default())
        .map_err(|error| Failure::because(Exit::Runtime, "the host would not take it", error))?;
    if plugin.world() != project.world {
        let text = format!(
            "{name} is a {}, and plugin.toml says {}: mend one of them",
            plugin.world(),
            project.world
        );
        return Err(Failure::new(Exit::Runtime, text).into());
    }
    expect_start(&project.name, &plugin, place.into)?;
    let file = project.put(&built.component, place.into).map_err(failure)?;
    Ok(Told {
        plugin: project.name.clone(),
        file: shown_path(&file),
        language: project.language.name().to_owned(),
        written_in: project.language.clone(),
        world: project.world.to_string(),
        bytes: built.component.len(),
        hash: ContentHash::of(&built.component).short(),
        build_ms: built.time.as_secs_f64() * 1e3,
        compile_ms: plugin.compile_time().as_secs_f64() * 1e3,
    })
}

/// As short as it is from here.
fn shown_path(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let below = here.and_then(|here| path.strip_prefix(here).ok());
    below.unwrap_or(path).display().to_string()
}

/// Whether it starts with the settings of its stage, or with none where it is in no stage. Settings
/// that it refuses are another matter: pipeline.toml can be changed.
fn expect_start(name: &str, plugin: &Plugin, folder: &Path) -> Result<(), Failure> {
    // A pipeline.toml that is not right yet says nothing of the plugin.
    let shipped = || config::parse("", PIPELINE_TOML, &Overrides::default(), &properties::problem);
    let draft = draft(folder, true).unwrap_or_else(|_| shipped());
    let stage = draft.stages().iter().position(|stage| stage.plugin == name);
    let against = Against { plugin: name.to_owned(), settings: None };
    match probe(plugin, &draft.alone(stage, name, against), draft.topic(), &[], 0) {
        Ok(_) | Err(ConfigureError::Refused(_)) => Ok(()),
        Err(error @ ConfigureError::Failed(_)) => {
            let what = "nothing was put into the folder: it does not start";
            Err(Failure::because(Exit::Runtime, what, error))
        }
    }
}

pub(super) fn failure(error: BuildError) -> Failure {
    let exit = match error {
        BuildError::Project(_) => Exit::Input,
        BuildError::MissingTool { .. } | BuildError::MissingCommand(_) | BuildError::Io { .. } => {
            Exit::Environment
        }
        BuildError::ToolFailed(_) | BuildError::Component(_) => Exit::Runtime,
    };
    Failure::because(exit, "nothing was built", error)
}
