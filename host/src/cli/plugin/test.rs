//! `host plugin test`: a plugin on its test cases.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anstyle::{AnsiColor, Style};
use anyhow::{Context as _, Result};
use clap::Args;
use serde::Serialize;

use super::stem;
use crate::cli::args::{PluginsArgs, StateArgs};
use crate::cli::exit::{Exit, Failure as Ended};
use crate::demo::view::harmless;
use crate::offline::{Case, Failure, Subject};
use crate::plugin::defaults::default;

/// Run plugins on their test cases, without Kafka, in the chain and limits of production.
#[derive(Args, Clone)]
#[command(after_help = "\
Examples:
  host plugin test plugins/filter
  host plugin test plugins/
  host plugin test region/cases/one-region.toml --bless

A case is a file NAME/cases/CASE.toml beside the source of the plugin NAME:

  [settings]
  field = \"/locale\"
  region = \"RU\"

  [[event]]
  in = '{\"locale\":\"RU\"}'
  kept = true

  [[event]]
  in = '{\"locale\":\"DE\"}'
  dropped = true

Instead of `kept` (as it came) an event may have `out = '{...}'` (JSON is compared by what it \
says), or a list of these, or `dead-letter = \"rejected: why\"`; beside `in` a `key`, \
`headers` and a `timestamp`. `now` at the top is the time of processing. A [[refused]] has \
`settings` that the plugin must not take and `says`, all that it says about them.

The component is --plugin, or the newest of NAME.wasm beside the source, what cargo built for \
wasm32-wasip2, and NAME.wasm in --plugins; else the one of this name that ships with the host.

Exit codes:
  0  every case passes
  1  a case fails
  2  there is no case, a file is no case, or there is no plugin")]
pub(super) struct TestArgs {
    /// The folder of a plugin's source, one with several of these, a case, or a .wasm file
    #[arg(env = "HOST_TEST_PATH", value_name = "DIR|FILE", default_value = ".")]
    path: PathBuf,

    /// The component to test
    #[arg(long, env = "HOST_PLUGIN", value_name = "FILE")]
    plugin: Option<PathBuf>,

    /// Where components are
    #[command(flatten)]
    plugins: PluginsArgs,

    /// Compiled plugins are kept there, if it is there
    #[command(flatten)]
    state: StateArgs,

    /// Make what comes out what must come out: rewrites the cases that fail
    #[arg(long, env = "HOST_BLESS")]
    bless: bool,

    /// A JSON array in the place of the text
    #[arg(long, env = "HOST_JSON")]
    json: bool,
}

/// A plugin with its cases.
struct Found {
    name: String,
    component: Option<PathBuf>,
    cases: Vec<PathBuf>,
}

#[derive(Serialize)]
struct Told {
    plugin: String,
    component: String,
    cases: Vec<ToldCase>,
}

#[derive(Serialize)]
struct ToldCase {
    case: String,
    passed: bool,
    blessed: bool,
    failures: Vec<Failure>,
}

pub(super) fn run(args: &TestArgs) -> Result<()> {
    let (all, unbuilt) = found(args)?;
    let told: Vec<Told> = all.iter().map(|found| test(found, args)).collect::<Result<_>>()?;
    let mut out = anstream::AutoStream::auto(std::io::stdout().lock());
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&told)?)?;
    } else {
        told.iter().try_for_each(|told| show(&mut out, told))?;
    }
    let cases = || told.iter().flat_map(|told| &told.cases);
    match cases().filter(|case| !case.passed && !case.blessed).count() {
        0 => unbuilt.map_or(Ok(()), Err),
        failed => {
            let text = format!("{failed} of {} cases failed", cases().count());
            Err(Ended::new(Exit::Runtime, text).into())
        }
    }
}

fn wrong(text: String) -> anyhow::Error {
    Ended::new(Exit::Input, text).into()
}

/// The plugins that are meant, and what to say of one that could not be found: the others of a folder
/// are tested all the same.
fn found(args: &TestArgs) -> Result<(Vec<Found>, Option<anyhow::Error>)> {
    let path = &args.path;
    let is = |extension: &str| path.extension().is_some_and(|found| found == extension);
    let parent = |path: &Path| path.parent().map(Path::to_owned).unwrap_or_default();
    if path.is_file() && is("toml") {
        let source = path.canonicalize().map(|path| parent(&parent(&path)))?;
        return Ok((vec![of_source(args, &source, vec![path.clone()])?], None));
    }
    if path.is_file() && is("wasm") {
        let (folder, name) = (parent(path), stem(path));
        let cases = [folder.join("cases"), folder.join(&name).join("cases")];
        let cases = cases.iter().find(|cases| cases.is_dir()).map(|cases| cases_in(cases));
        let cases = cases.transpose()?.unwrap_or_default();
        if cases.is_empty() {
            let text = "neither cases/ nor {name}/cases/ beside it has a .toml file";
            return Err(wrong(format!("{}: {}", path.display(), text.replace("{name}", &name))));
        }
        return Ok((vec![Found { name, component: Some(path.clone()), cases }], None));
    }
    if !path.is_dir() {
        return Err(wrong(format!(
            "{} is no folder, case or component: give the folder of a plugin's source",
            path.display()
        )));
    }
    let mut sources = vec![path.clone()];
    if !path.join("cases").is_dir() {
        sources = folders_in(path)?;
    }
    let (mut all, mut unbuilt) = (Vec::new(), None);
    for source in sources {
        let cases = cases_in(&source.join("cases"))?;
        if cases.is_empty() {
            continue;
        }
        match of_source(args, &source, cases) {
            Ok(found) => all.push(found),
            Err(error) => unbuilt = unbuilt.or(Some(error)),
        }
    }
    if let Some(error) = unbuilt.take_if(|_| all.is_empty()) {
        return Err(error);
    }
    if all.is_empty() {
        return Err(wrong(format!(
            "there is no case below {0}: write {0}/cases/NAME.toml; `host plugin test --help` shows one",
            path.display()
        )));
    }
    if args.plugin.is_some() && all.len() > 1 {
        let text = "--plugin is for the cases of one plugin: name its folder".to_owned();
        return Err(wrong(text));
    }
    Ok((all, unbuilt))
}

fn folders_in(path: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(path).with_context(|| format!("reading {}", path.display()))?;
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    folders.retain(|path| path.join("cases").is_dir());
    folders.sort();
    Ok(folders)
}

fn cases_in(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut cases: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    cases.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    cases.sort();
    Ok(cases)
}

/// A plugin by the folder of its source, whose name it has.
fn of_source(args: &TestArgs, source: &Path, cases: Vec<PathBuf>) -> Result<Found> {
    let whole = source.canonicalize().with_context(|| format!("reading {}", source.display()))?;
    let name = whole.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let component = args.plugin.clone().or_else(|| newest(&whole, &name, &args.plugins.plugins));
    if component.is_none() && default(&name).is_none() {
        let folder = args.plugins.plugins.display();
        return Err(wrong(format!(
            "there is no component of {}: build it, or put it into {folder}/{name}.wasm, or name it \
             with --plugin",
            source.display()
        )));
    }
    Ok(Found { name, component, cases })
}

/// Of the places where a component of this source may be, the file that was written last.
fn newest(source: &Path, name: &str, plugins: &Path) -> Option<PathBuf> {
    let built = format!("target/wasm32-wasip2/release/{}.wasm", name.replace('-', "_"));
    // The target folder is that of the package, or of the workspace that it is in.
    let targets = source.ancestors().take(3).map(|folder| folder.join(&built));
    let file = format!("{name}.wasm");
    // `host plugin build` puts it beside the folder.
    let beside = source.parent().map(|around| around.join(&file));
    let others = [source.join(&file), plugins.join(&file)];
    let files = targets.chain(beside).chain(others).filter(|path| path.is_file());
    files.max_by_key(|path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok())
}

fn test(found: &Found, args: &TestArgs) -> Result<Told> {
    let cases = found.cases.iter().map(|path| Case::read(path));
    let cases: Vec<Case> =
        cases.collect::<Result<_, _>>().map_err(|error| wrong(error.to_string()))?;
    let subject = Subject::load(&found.name, found.component.as_deref(), args.state.existing());
    let subject = subject.map_err(|error| wrong(format!("{error:#}")))?;
    let component = found.component.as_ref();
    let mut told = Told {
        plugin: found.name.clone(),
        component: component
            .map_or_else(|| "built in".to_owned(), |path| path.display().to_string()),
        cases: Vec::new(),
    };
    for case in &cases {
        let tested = subject.test(case)?;
        let passed = tested.failures.is_empty();
        let text = (args.bless && !passed).then(|| tested.blessed(case)).flatten();
        if let Some(text) = &text {
            fs::write(&case.path, text)
                .with_context(|| format!("writing {}", case.path.display()))?;
        }
        let (blessed, failures) = (text.is_some(), tested.failures);
        told.cases.push(ToldCase {
            case: case.path.display().to_string(),
            passed,
            blessed,
            failures,
        });
    }
    Ok(told)
}

const RED: Style = AnsiColor::Red.on_default();
const GREEN: Style = AnsiColor::Green.on_default();
const BOLD: Style = Style::new().bold();

/// What must be is red, as what is taken away in a diff; what came out is green.
fn show(out: &mut impl std::io::Write, told: &Told) -> std::io::Result<()> {
    for ToldCase { case, blessed, failures, .. } in &told.cases {
        if *blessed {
            writeln!(out, "{case}: {} accepted", failures.len())?;
            continue;
        }
        for Failure { line, of, expected, found, changes } in failures {
            writeln!(out, "{BOLD}{case}:{line}{BOLD:#} {}", harmless(of))?;
            if !changes.is_empty() {
                for change in changes {
                    let field = harmless(&change.field);
                    if let Some(old) = &change.old {
                        writeln!(out, "{RED}- {field} {}{RED:#}", harmless(&old.to_string()))?;
                    }
                    if let Some(new) = &change.new {
                        writeln!(out, "{GREEN}+ {field} {}{GREEN:#}", harmless(&new.to_string()))?;
                    }
                }
                continue;
            }
            for line in expected.as_deref().unwrap_or("nothing is said").lines() {
                writeln!(out, "{RED}- {}{RED:#}", harmless(line))?;
            }
            for line in found.lines() {
                writeln!(out, "{GREEN}+ {}{GREEN:#}", harmless(line))?;
            }
        }
    }
    let passed = told.cases.iter().filter(|case| case.passed || case.blessed).count();
    let (plugin, component) = (&told.plugin, &told.component);
    writeln!(out, "{plugin} ({component}): {passed} of {} cases pass", told.cases.len())
}
