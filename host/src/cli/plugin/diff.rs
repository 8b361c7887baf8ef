//! `host plugin diff`: real records through two plugins, or two pipelines.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;

use super::difference::Shown;
use super::{Object, draft, file, object, stem};
use crate::chain::{Copied, Record};
use crate::cli::args::PluginsArgs;
use crate::cli::connect::ConnectArgs;
use crate::cli::exit::{Exit, Failure};
use crate::config::{Against, Draft, FILE_NAME, GivenSettings};
use crate::demo::client::ConnectError;
use crate::demo::stop::Stop;
use crate::demo::tail::Tail;
use crate::pipeline::{Generation, Loader};
use crate::shadow::{Keep, Pair, Report};

/// Run real records through two plugins, or two folders of plugins, and print what comes out
/// differently. Nothing is written, no group is joined.
#[derive(Args, Clone)]
#[command(after_help = "\
Examples:
  host plugin diff filter filter-next --brokers localhost:9092 --last 100000
  host plugin diff filter ../filter/filter.wasm --input events.jsonl
  host plugin diff categorize categorize --new-settings '{\"fallback\": false}' \\
      --brokers localhost:9092
  host plugin diff plugins/ ../plugins-next/ --brokers localhost:9092
      (all stages)

A plugin takes the place of the stage that has it, with the stage's settings, behind the \
stages in front of that one.

Exit codes:
  0  nothing differs
  1  something does
  2  wrong arguments or plugins, or no such topic
  3  a broker or right is missing")]
pub struct DiffArgs {
    /// The one to compare with: a .wasm file, the name of a plugin in --plugins, or a folder with
    /// pipeline.toml
    #[arg(env = "HOST_DIFF_OLD", value_name = "OLD")]
    old: PathBuf,

    /// The one that is to take its place, of the same kind
    #[arg(env = "HOST_DIFF_NEW", value_name = "NEW")]
    new: PathBuf,

    /// Whose pipeline.toml says what topic, stages and settings there are
    #[command(flatten)]
    plugins: PluginsArgs,

    /// Which Kafka; not needed with --input
    #[command(flatten)]
    connect: ConnectArgs,

    /// The stage whose place they take [default: the first one that has OLD or NEW as its plugin;
    /// if none has, a pipeline of only this stage]
    #[arg(long, env = "HOST_STAGE", value_name = "NAME")]
    stage: Option<String>,

    /// Settings as a JSON object, for both [default: the stage's]
    #[arg(long, env = "HOST_SETTINGS", value_name = "JSON", value_parser = object)]
    settings: Option<Object>,

    /// Settings as a JSON object, for NEW
    #[arg(long, env = "HOST_NEW_SETTINGS", value_name = "JSON", value_parser = object)]
    new_settings: Option<Object>,

    /// The topic to read [default: the source's]
    #[arg(long, env = "HOST_TOPIC", value_name = "TOPIC")]
    topic: Option<String>,

    /// How many of the topic's last records, over all partitions
    #[arg(long, env = "HOST_LAST", value_name = "N", default_value_t = 100_000)]
    last: u64,

    /// Read records' values from a file, one a line, instead of a topic
    #[arg(long, env = "HOST_INPUT", value_name = "FILE", conflicts_with_all = ["brokers", "topic"])]
    input: Option<PathBuf>,

    /// So many examples
    #[arg(long, env = "HOST_SHOW", value_name = "N", default_value_t = 10)]
    show: usize,

    /// The result as one JSON object
    #[arg(long, env = "HOST_JSON")]
    json: bool,
}

/// Records that go through both sides at a time.
const BATCH: usize = 1_000;

/// Runs the command.
pub fn run(args: &DiffArgs) -> Result<()> {
    let stop = Stop::on_signal().context("listening for signals")?;
    let (generation, mut pair, what) = sides(args)?;
    let topic = args.topic.as_ref().unwrap_or(&generation.config.source.topic.name);
    let mut report = Report::new(Keep::First(args.show));
    let now = chrono::Utc::now().timestamp_millis();
    let mut compare = |batch: &Copied| {
        batch.with(|records| pair.compare(records, now, &mut report));
    };
    let source = match &args.input {
        Some(file) => {
            read_file(file, now, &mut compare)?;
            file.display().to_string()
        }
        None => {
            let settings = args.connect.settings()?.ok_or_else(|| {
                let help = "no records: give --brokers HOST:PORT, or --input FILE";
                Failure::new(Exit::Input, help)
            })?;
            let mut tail = match Tail::open(&settings, topic, args.last, &stop) {
                Err(ConnectError::Stopped) => return Ok(()),
                opened => opened?,
            };
            while let Some(batch) = tail.next(BATCH, now, &stop)? {
                compare(&batch);
            }
            topic.clone()
        }
    };
    let shown = Shown { report: &report, what: &what, source: &source };
    let mut out = anstream::AutoStream::auto(std::io::stdout());
    match args.json {
        true => writeln!(out, "{}", serde_json::to_string(&report)?)?,
        false => write!(out, "{shown}")?,
    }
    match report.differing() {
        0 if report.not_compared == 0 => Ok(()),
        0 => {
            let why = report.stopped.as_deref().unwrap_or_default();
            let text = format!("{} records could not be compared: {why}", report.not_compared);
            Err(Failure::new(Exit::Runtime, text).into())
        }
        differing => {
            let text = format!("{differing} of {} records come out differently", report.records);
            Err(Failure::new(Exit::Runtime, text).into())
        }
    }
}

/// Both sides, and what is compared in a few words.
fn sides(args: &DiffArgs) -> Result<(Generation, Pair, String)> {
    let folder = &args.plugins.plugins;
    if args.old.is_dir() || args.new.is_dir() {
        if args.stage.is_some() || args.settings.is_some() || args.new_settings.is_some() {
            let text = "--stage and settings are for two plugins; two folders have their own";
            return Err(Failure::new(Exit::Input, text).into());
        }
        let load = |folder: &Path| {
            Loader::new(folder, None)?.load(draft(folder, false)?).map_err(anyhow::Error::from)
        };
        let (old, new) = (load(&args.old)?, load(&args.new)?);
        let pair = old.against(&new)?;
        let what = format!("all stages of {} against {}", args.old.display(), args.new.display());
        return Ok((old, pair, what));
    }
    let (old, new) = (component(folder, &args.old)?, component(folder, &args.new)?);
    let mut draft = draft(folder, true)?;
    let stage = stage(args, &draft)?;
    // Both may be of the same name: each has one that no plugin of the folder can have.
    let names = [format!("old {}", old.display()), format!("new {}", new.display())];
    let given = |flag, json: &Option<Object>| json.clone().map(|json| GivenSettings { flag, json });
    let settings = given("--settings", &args.settings);
    let new_settings = given("--new-settings", &args.new_settings).or_else(|| settings.clone());
    let against = |plugin: &String, settings| Against { plugin: plugin.clone(), settings };
    let place = stage.map(|stage| draft.stages()[stage].name.clone());
    draft.put_against(stage, against(&names[0], settings), against(&names[1], new_settings));
    let loader = Loader::new(folder, None)?.with_defaults();
    let loader = loader.with_file(&names[0], &old).with_file(&names[1], &new);
    let generation = loader.load(draft)?;
    let pairs = generation.pairs()?;
    let (_, pair) = pairs.into_iter().next().expect("there is one candidate");
    let place = match place {
        Some(stage) => format!("stage {stage}"),
        None => "no stage has either, so by themselves".to_owned(),
    };
    let what = format!("{} against {} ({place})", old.display(), new.display());
    Ok((generation, pair, what))
}

/// The component that is meant.
fn component(folder: &Path, named: &Path) -> Result<PathBuf> {
    let missing = || {
        let in_folder = folder.join(format!("{}.wasm", named.display()));
        let (named, in_folder) = (named.display(), in_folder.display());
        let text = format!(
            "there is neither {named} nor {in_folder}: give a .wasm file, the name of a plugin in \
             --plugins, or a folder with {FILE_NAME}"
        );
        Failure::new(Exit::Input, text)
    };
    Ok(file(folder, named).ok_or_else(missing)?)
}

/// The stage whose place the two take.
fn stage(args: &DiffArgs, draft: &Draft) -> Result<Option<usize>> {
    let stages = draft.stages();
    if let Some(name) = &args.stage {
        let found = stages.iter().position(|stage| stage.name == *name);
        let names: Vec<_> = stages.iter().map(|stage| stage.name.as_str()).collect();
        let text = || format!("there is no stage {name:?}; there are {}", names.join(", "));
        return Ok(Some(found.ok_or_else(|| Failure::new(Exit::Input, text()))?));
    }
    let has = |path: &Path| stages.iter().position(|stage| stage.plugin == stem(path));
    Ok(has(&args.old).or_else(|| has(&args.new)))
}

fn read_file(path: &Path, now: i64, compare: &mut impl FnMut(&Copied)) -> Result<()> {
    let context =
        |error| Failure::because(Exit::Input, format!("reading {}", path.display()), error);
    let file = File::open(path).map_err(context)?;
    let mut batch = Copied::at(now);
    for (offset, line) in (0..).zip(BufReader::new(file).split(b'\n')) {
        let line = line.map_err(context)?;
        if line.is_empty() {
            continue;
        }
        batch.push(&Record {
            key: None,
            value: Some(&line),
            headers: &[],
            timestamp: None,
            partition: 0,
            offset,
        });
        if batch.len() == BATCH {
            compare(&std::mem::replace(&mut batch, Copied::at(now)));
        }
    }
    if !batch.is_empty() {
        compare(&batch);
    }
    Ok(())
}
