//! `[[stage]]` and the candidates for the place of one or of all stages.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::document::Document;
use super::problem::Place;
use super::settings::{self, Spot};
use super::table::Table;
use super::types::{Limits, OnError, Stage};
use super::{limits, topics};

/// Where a stage says what, besides its plugin.
#[derive(Debug, PartialEq)]
pub(super) struct Spots {
    /// Its name, or what it has its name from.
    pub name: Place,
    pub settings: Spot,
    /// The flag that the settings are from, where that is not the file.
    pub flag: Option<&'static str>,
}

/// A plugin for the place of a stage.
#[derive(Clone, Debug)]
pub struct Against {
    /// Its name.
    pub plugin: String,
    /// Its settings, where they are not the stage's.
    pub settings: Option<GivenSettings>,
}

/// Settings that are in no file.
#[derive(Clone, Debug)]
pub struct GivenSettings {
    /// The flag that they were given with.
    pub flag: &'static str,
    /// A JSON object.
    pub json: serde_json::Map<String, serde_json::Value>,
}

/// The stages that name a plugin.
pub(super) fn read(document: &Document, tables: Vec<Table<'_>>, limits: &Limits) -> Vec<Stage> {
    let mut names = BTreeSet::new();
    tables.into_iter().filter_map(|table| read_stage(document, table, limits, &mut names)).collect()
}

/// `[[shadow.stage]]`: stages like any others.
pub(super) fn read_shadow(document: &Document, table: Table<'_>, limits: &Limits) -> Vec<Stage> {
    let stages = read(document, table.tables("stage"), limits);
    for inner in stages.iter().filter_map(|stage| stage.shadow.as_ref()) {
        let message = "a candidate has no candidate of its own";
        document.add(Some(inner.place), "[[shadow.stage]] shadow", message, "take it out");
    }
    if table.place().is_some() && !table.has("stage") {
        table.problem("stage", "missing", "add `[[shadow.stage]]`, or take `[shadow]` out");
    }
    table.finish();
    stages
}

/// None if it names no plugin.
fn read_stage(
    document: &Document,
    table: Table<'_>,
    limits: &Limits,
    names: &mut BTreeSet<String>,
) -> Option<Stage> {
    // The plugin's name is a file's: no separators, no way out of the folder.
    let plugin = table.checked_text("plugin", "filter", topics::check_name);
    if !table.has("plugin") {
        table.problem("plugin", "missing", "add `plugin = \"filter\"`, for filter.wasm");
    }
    let name = table.checked_text("name", "filter", topics::check_name).or_else(|| plugin.clone());
    let on_error = table.choice(
        "on-error",
        OnError::DeadLetter,
        &[
            ("dead-letter", OnError::DeadLetter),
            ("skip", OnError::Skip),
            ("pass", OnError::Pass),
            ("stop", OnError::Stop),
        ],
    );
    let (settings, spot) = settings::read(document, &table);
    let stage_limits = limits::read_stage(table.table("limits"), &limits.stage);
    let name_key = if table.has("name") { "name" } else { "plugin" };
    if let Some(name) = &name
        && !names.insert(name.clone())
    {
        let message = format!("there is a stage {name:?} already");
        table.problem(name_key, message, "give this one a `name` of its own");
    }
    let place_of = |key| table.place_of(key).expect("the table was read");
    let spots = Arc::new(Spots { name: place_of(name_key), settings: spot, flag: None });
    let candidate = table.table("shadow");
    let stage = plugin.zip(name).map(|(plugin, name)| {
        let place = place_of("plugin");
        let mut stage = Stage {
            name,
            plugin,
            on_error,
            settings,
            limits: stage_limits,
            place,
            spots,
            shadow: None,
        };
        stage.shadow = read_candidate(document, candidate, &stage);
        stage
    });
    table.finish();
    stage
}

/// `[stage.shadow]`: what it does not say is as the stage has it.
fn read_candidate(document: &Document, table: Table<'_>, stage: &Stage) -> Option<Box<Stage>> {
    table.place()?;
    let plugin = table.checked_text("plugin", "filter-next", topics::check_name);
    if !table.has("plugin") {
        let help = "add `plugin = \"filter-next\"`, for filter-next.wasm";
        table.problem("plugin", "missing", help);
    }
    let mut candidate = stage.clone();
    if table.value("settings").is_some() {
        let (settings, spot) = settings::read(document, &table);
        candidate.settings = settings;
        candidate.spots = Arc::new(Spots { name: stage.spots.name, settings: spot, flag: None });
    }
    candidate.place = table.place_of("plugin").expect("the table is there");
    table.finish();
    plugin.map(|plugin| Box::new(Stage { plugin, ..candidate }))
}

/// Leaves of the stages those up to one, with two plugins for its place; without one, only these two,
/// as a stage that says nothing else. Where no settings are given both have the stage's.
pub(super) fn put_against(
    stages: &mut Vec<Stage>,
    limits: &Limits,
    stage: Option<usize>,
    (old, new): (Against, Against),
) {
    stages.truncate(stage.map_or(0, |stage| stage + 1));
    stages.iter_mut().for_each(|stage| stage.shadow = None);
    let mut live = stages.pop().unwrap_or_else(|| plain("stage", &old.plugin, limits));
    live.plugin = old.plugin;
    if let Some(given) = old.settings {
        give(&mut live, given);
    }
    let mut candidate = Stage { plugin: new.plugin, ..live.clone() };
    if let Some(given) = new.settings {
        give(&mut candidate, given);
    }
    live.shadow = Some(Box::new(candidate));
    stages.push(live);
}

fn give(stage: &mut Stage, given: GivenSettings) {
    let GivenSettings { flag, json } = given;
    let (name, json) = (stage.spots.name, serde_json::Value::from(json));
    stage.settings = Arc::from(json.to_string());
    let settings = Spot::all_at(stage.place, &json);
    stage.spots = Arc::new(Spots { name, settings, flag: Some(flag) });
}

/// A stage that says nothing but its plugin.
fn plain(name: &str, plugin: &str, limits: &Limits) -> Stage {
    let place = Place { line: 1, column: 1, width: 1 };
    Stage {
        name: name.to_owned(),
        plugin: plugin.to_owned(),
        on_error: OnError::default(),
        settings: Arc::from("{}"),
        limits: limits.stage,
        place,
        spots: Arc::new(Spots { name: place, settings: Spot::empty(place), flag: None }),
        shadow: None,
    }
}

/// A plugin in the place of a stage, or as a stage of this name that says nothing else.
pub(super) fn alone(
    stages: &[Stage],
    limits: &Limits,
    (stage, name): (Option<usize>, &str),
    plugin: Against,
) -> Stage {
    let found = stage.map(|stage| stages[stage].clone());
    let mut alone = found.unwrap_or_else(|| plain(name, &plugin.plugin, limits));
    (alone.plugin, alone.shadow) = (plugin.plugin, None);
    if let Some(given) = plugin.settings {
        give(&mut alone, given);
    }
    alone
}
