//! `host plugin new`: the folder of a plugin of one's own.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::authoring::{Language, NewError, lay_down};
use crate::cli::args::PluginsArgs;
use crate::cli::exit::{Exit, Failure};
use crate::plugin::World;

/// Begin a plugin: a folder with a small source that works, its settings, test cases and the WIT.
/// Never overwrites.
#[derive(Args, Clone)]
#[command(after_help = "\
Examples:
  host plugin new region --lang python
  host plugin new lines --lang go --world transform
  host plugin build plugins/region
  host plugin test plugins/region

A rule judges JSON events and edits their fields; it gets only the fields that it asks for. A \
transform rewrites whole records of any format.

Exit codes:
  0  done
  2  wrong arguments, or something of that name is there
  3  the folder cannot be written")]
pub(super) struct NewArgs {
    /// The plugin's name, and its folder's: small letters, digits and `-`
    #[arg(env = "HOST_NEW_NAME", value_name = "NAME")]
    name: String,

    /// The language; asked for where it is missing and there is a terminal
    #[arg(long, env = "HOST_LANG", value_name = "LANGUAGE", value_enum)]
    lang: Option<Language>,

    /// What it is going to be
    #[arg(long, env = "HOST_WORLD", value_name = "WORLD", value_enum, default_value_t = World::Rule)]
    world: World,

    /// The folder in which the plugin's own is made, and which has pipeline.toml
    #[command(flatten)]
    plugins: PluginsArgs,

    /// One JSON object
    #[arg(long, env = "HOST_JSON")]
    json: bool,
}

pub(super) fn run(args: &NewArgs) -> anyhow::Result<()> {
    let language = match args.lang {
        Some(language) => language,
        None => ask()?,
    };
    let dir = lay_down(&args.plugins.plugins, &args.name, language, args.world);
    let dir = dir.map_err(|error| {
        let exit = match error {
            NewError::Name(_) | NewError::There(_) | NewError::Component(_) => Exit::Input,
            NewError::Io { .. } => Exit::Environment,
        };
        Failure::because(exit, "no plugin was begun", error)
    })?;
    let mut stdout = std::io::stdout().lock();
    let source = dir.join(language.source(args.world));
    if args.json {
        let told = json!({
            "plugin": args.name,
            "folder": dir.display().to_string(),
            "source": source.display().to_string(),
            "language": language.name(),
            "world": args.world.to_string(),
        });
        writeln!(stdout, "{told}")?;
        return Ok(());
    }
    write!(stdout, "{}", next(&args.name, &dir, &source))?;
    Ok(())
}

/// What to do now.
fn next(name: &str, dir: &Path, source: &Path) -> String {
    let (dir, source) = (dir.display(), source.display());
    format!(
        "{source} is the place to write\n  host plugin build {dir}    makes {dir}.wasm\n  host plugin \
         test {dir}     runs {dir}/cases/\nand in pipeline.toml, where the stage belongs:\n  \
         [[stage]]\n  plugin = \"{name}\"\n"
    )
}

/// Asks on a terminal.
fn ask() -> anyhow::Result<Language> {
    let names: Vec<_> = Language::ALL.iter().map(|language| language.name()).collect();
    let names = names.join(", ");
    let missing = |text: &str| {
        let text = format!("{text}: give --lang, one of {names}");
        anyhow::Error::from(Failure::new(Exit::Input, text))
    };
    if !std::io::stdin().is_terminal() {
        return Err(missing("no language"));
    }
    loop {
        write!(std::io::stderr(), "Which language ({names})? ")?;
        let mut answer = String::new();
        if std::io::stdin().read_line(&mut answer)? == 0 {
            return Err(missing("no language"));
        }
        let answer = answer.trim().to_lowercase();
        match chosen(&answer) {
            Some(language) => return Ok(language),
            None => writeln!(std::io::stderr(), "{answer:?} is none of these")?,
        }
    }
}

/// The one language that begins like this.
fn chosen(answer: &str) -> Option<Language> {
    let begins = |language: &&Language| language.name().starts_with(answer);
    let mut found = Language::ALL.iter().filter(begins);
    let first = found.next().filter(|_| !answer.is_empty())?;
    found.next().is_none().then_some(*first)
}

impl ValueEnum for Language {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.name()))
    }
}

impl ValueEnum for World {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Rule, Self::Transform]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(match self {
            Self::Rule => "rule",
            Self::Transform => "transform",
        }))
    }
}
