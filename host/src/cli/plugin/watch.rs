//! `host plugin build --watch`: a build at each save, and what a running host makes of it.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use super::build::{Place, Told, build, shown};
use crate::authoring::{Project, Saves};
use crate::cli::ask::{ask, reachable};
use crate::demo::stop::Stop;
use crate::demo::view::harmless;

/// How often the sources are looked at: a save waits so long at most.
const LOOK: Duration = Duration::from_millis(100);
/// Proving a new component on a slow plugin takes seconds.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// A worker takes new rules with its next batch.
const TAKEN_MAX: Duration = Duration::from_secs(10);

/// Builds until it is asked to stop. What goes wrong is said, and mended with the next save.
pub(super) fn watch(
    project: &Project,
    place: &Place<'_>,
    admin: SocketAddr,
    stop: &Stop,
) -> anyhow::Result<()> {
    let mut saves = Saves::new(project);
    let (mut since, mut what) = (SystemTime::now(), "after the start");
    loop {
        // plugin.toml may have changed as well.
        let built = Project::open(&project.dir).map_err(super::build::failure);
        match built.map_err(anyhow::Error::from).and_then(|project| build(&project, place)) {
            Err(error) => writeln!(std::io::stderr(), "{error:#}")?,
            Ok(told) => {
                let mut stdout = std::io::stdout().lock();
                writeln!(stdout, "{}", shown(&told))?;
                let became = became(&told, admin, stop);
                let took = since.elapsed().unwrap_or_default().as_secs_f64();
                writeln!(stdout, "{} ({took:.1} s {what})", harmless(&became))?;
            }
        }
        writeln!(std::io::stderr(), "waiting for a save in {}", project.dir.display())?;
        while !saves.differ() {
            if stop.wait(LOOK) {
                return Ok(());
            }
        }
        // A file that was moved here, or away, is as old as it was.
        let noticed = SystemTime::now() - LOOK;
        since = saves.last().map_or(noticed, |saved| saved.max(noticed));
        what = "after the save";
    }
}

/// What the host there makes of the component, in a sentence.
fn became(told: &Told, admin: SocketAddr, stop: &Stop) -> String {
    let address = reachable(admin);
    let answer = ask(address, "POST", "/api/v1/reload", ANSWER_MAX);
    let Ok(answer) = answer else {
        return format!(
            "no host answers at {address} (--admin): the next one takes it at its start"
        );
    };
    let Ok(outcome) = serde_json::from_str::<Value>(&answer.body) else {
        return format!("the host at {address} answers {} {}", answer.code, answer.body.trim());
    };
    let message = outcome["message"].as_str().unwrap_or_default();
    if answer.code != 200 {
        return format!("refused, the rules are as they were: {message}");
    }
    let stages = stages(address, told);
    if stages.is_empty() {
        return format!(
            "the host at {address} has no stage with this component: it needs a [[stage]] with \
             `plugin = \"{}\"` in the pipeline.toml of the same folder",
            told.plugin
        );
    }
    let generation = outcome["generation"].as_u64().unwrap_or_default();
    let stages = stages.join(", ");
    match await_taken(address, generation, stop) {
        true => format!("generation {generation} runs it in stage {stages}"),
        false => {
            format!("generation {generation} has it in stage {stages}, and no worker runs it yet")
        }
    }
}

fn status(address: SocketAddr) -> Option<Value> {
    let answer = ask(address, "GET", "/api/v1/status", ANSWER_MAX).ok()?;
    serde_json::from_str(&answer.body).ok()
}

/// The stages that have exactly this component.
fn stages(address: SocketAddr, told: &Told) -> Vec<String> {
    let status = status(address).unwrap_or_default();
    let stages = status["stages"].as_array().cloned().unwrap_or_default();
    let has = |stage: &&Value| stage["plugin"] == told.plugin && told.is(stage["hash"].as_str());
    stages.iter().filter(has).filter_map(|stage| Some(stage["name"].as_str()?.to_owned())).collect()
}

/// Whether every worker runs that generation, or a later one, before long.
fn await_taken(address: SocketAddr, generation: u64, stop: &Stop) -> bool {
    let end = Instant::now() + TAKEN_MAX;
    loop {
        let status = status(address).unwrap_or_default();
        let workers = status["workers"].as_array().cloned().unwrap_or_default();
        let runs = |worker: &Value| worker["generation"].as_u64() >= Some(generation);
        if !workers.is_empty() && workers.iter().all(runs) {
            return true;
        }
        if Instant::now() >= end || stop.wait(LOOK) {
            return false;
        }
    }
}
