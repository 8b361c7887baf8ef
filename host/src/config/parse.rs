//! The text of `pipeline.toml` into a [`Config`], table by table.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::document::Document;
use super::problem::{Problem, Problems};
use super::stages::Against;
use super::table::{Table, section, sections, table_in, unknown_help};
use super::types::{
    Config, DeadLetters, Delivery, Limits, Mode, OnExpired, Reload, Repartition, Sink, Source,
    Stage, State, Topic,
};
use super::{Property, limits, properties, stages, topics, windows};

/// What flags say; it beats the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--group`.
    pub name: Option<String>,
    /// `--delivery`.
    pub delivery: Option<Mode>,
    /// `-X`, in order; a later one beats an earlier one.
    pub properties: Vec<Property>,
}

/// What is wrong with a property of librdkafka, by its name and value, and how to mend it; none if it
/// can be set. The answer holds no secret.
pub type PropertyCheck<'a> = &'a dyn Fn(&str, &str) -> Option<(String, String)>;

/// A configuration that may still have problems, to which loading the plugins adds its own.
#[derive(Debug)]
pub struct Draft {
    config: Config,
    text: Arc<str>,
    /// What is wrong so far.
    pub problems: Problems,
}

impl Draft {
    /// The file's text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The stages, as far as they could be read: each names a plugin.
    pub fn stages(&self) -> &[Stage] {
        &self.config.stages
    }

    /// The candidates for the place of all stages.
    pub fn shadow(&self) -> &[Stage] {
        &self.config.shadow
    }

    /// Every stage and every candidate, as far as they could be read: each names a plugin.
    pub fn all_stages(&self) -> impl Iterator<Item = &Stage> {
        let stages = self.config.stages.iter().chain(&self.config.shadow);
        stages.flat_map(|stage| std::iter::once(stage).chain(stage.shadow.as_deref()))
    }

    /// The source's topic; empty where it is not named.
    pub fn topic(&self) -> &str {
        &self.config.source.topic.name
    }

    /// The limits, a wrong one being at its default.
    pub fn limits(&self) -> &Limits {
        &self.config.limits
    }

    /// Notes that a stage's plugin is missing or cannot be loaded.
    pub fn plugin_problem(&mut self, stage: &Stage, message: String, help: String) {
        self.problems.add(Some(stage.place), format!("stage {:?}", stage.name), message, help);
    }

    /// Notes that a stage cannot have its name.
    pub fn name_problem(&mut self, stage: &Stage, message: String, help: String) {
        self.problems.add(Some(stage.spots.name), format!("stage {:?}", stage.name), message, help);
    }

    /// Notes that a stage's plugin refuses its settings: all that its text tells, each problem at
    /// its place, or at the flag that gave the settings.
    pub fn settings_problem(&mut self, stage: &Stage, text: &str) {
        for remark in stage.spots.settings.remarks(text) {
            let key = format!("stage {:?} {}", stage.name, remark.key);
            match stage.spots.flag {
                None => self.problems.add(Some(remark.place), key, remark.message, ""),
                Some(flag) => self.problems.push(Problem {
                    file: flag.to_owned(),
                    place: None,
                    key,
                    message: remark.message,
                    help: String::new(),
                }),
            }
        }
    }

    /// Leaves the stages up to one, with two plugins for its place; or, with none, only these two,
    /// with what a stage has that says nothing. Where no settings are given both have the stage's.
    pub fn put_against(&mut self, stage: Option<usize>, old: Against, new: Against) {
        let config = &mut self.config;
        stages::put_against(&mut config.stages, &config.limits, stage, (old, new));
        (config.shadow, config.windows) = (Vec::new(), Vec::new());
    }

    /// A plugin in the place of a stage, or, with none, as a stage of this name that says nothing
    /// else. Where no settings are given it has the stage's.
    pub fn alone(&self, stage: Option<usize>, name: &str, plugin: Against) -> Stage {
        stages::alone(&self.config.stages, &self.config.limits, (stage, name), plugin)
    }

    /// Leaves this stage only, and nobody who looks at what comes out of it.
    pub fn leave(&mut self, stage: Stage) {
        let config = &mut self.config;
        (config.stages, config.shadow, config.windows) = (vec![stage], Vec::new(), Vec::new());
    }

    /// The configuration, if nothing is wrong with it.
    pub fn finish(self) -> Result<Config, Problems> {
        if self.problems.is_empty() { Ok(self.config) } else { Err(self.problems) }
    }
}

/// Reads the file and parses it. A file that cannot be read is a problem like any other.
pub fn read(
    path: &Path,
    overrides: &Overrides,
    check: PropertyCheck<'_>,
) -> Result<Draft, Problems> {
    let file = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(parse(&file, &text, overrides, check)),
        Err(error) => {
            let mut problems = Problems::default();
            problems.push(Problem {
                file,
                place: None,
                key: String::new(),
                message: format!("cannot be read: {error}"),
                help: "`host run` lays it down where it is missing".to_owned(),
            });
            Err(problems)
        }
    }
}

/// Parses a file's text; `file` is its name in messages. `check` judges the
/// properties of librdkafka.
pub fn parse(file: &str, text: &str, overrides: &Overrides, check: PropertyCheck<'_>) -> Draft {
    let shared: Arc<str> = Arc::from(text);
    let document = Document::new(file, Arc::clone(&shared));
    let source = document.text().to_owned();
    let (root, errors) = DeTable::parse_recoverable(&source);
    for error in &errors {
        let place = error.span().map(|span| document.place(span));
        document.add(place, "", format!("not TOML: {}", error.message()), "");
    }
    // A text that is no TOML is read for its stages' names only; what else would be found wrong
    // may follow from the same slip.
    let checked = Document::new(file, Arc::clone(&shared));
    let config = read_root(
        if errors.is_empty() { &document } else { &checked },
        file,
        root.get_ref(),
        overrides,
        check,
    );
    Draft { config, text: shared, problems: document.into_problems() }
}

fn read_root<'a>(
    document: &'a Document,
    file: &str,
    root: &'a DeTable<'a>,
    overrides: &Overrides,
    check: PropertyCheck<'_>,
) -> Config {
    check_sections(document, root);
    let section = |name: &str| section(document, root, name);

    let limits = limits::read(section("limits"));
    let source_table = section("source");
    let source = read_source(&source_table);
    let input = source.topic.clone();

    let name = read_name(section("pipeline"), &input.name, overrides);
    let beside = |name: String| Some(Topic { name, ..input.clone() });
    let sink_table = section("sink");
    let sink = read_sink(&sink_table, beside(format!("processed-{}", input.name)));
    let dead_letters_table = section("dead-letters");
    let dead_letters =
        read_dead_letters(&dead_letters_table, beside(format!("{}-dead-letters", input.name)));
    let late_table = section("late");
    let late = topics::read(&late_table, beside(format!("{}-late", input.name)));

    let config = Config {
        file: file.to_owned(),
        stages: stages::read(document, sections(document, root, "stage"), &limits),
        shadow: stages::read_shadow(document, section("shadow"), &limits),
        windows: windows::read(document, root, &input.name),
        source,
        sink,
        dead_letters,
        late,
        repartition: read_repartition(section("repartition"), &name, &input),
        state: read_state(section("state"), &name),
        delivery: read_delivery(section("delivery"), overrides),
        reload: read_reload(section("reload")),
        properties: properties::read(
            document,
            table_in(document, root, "kafka").map(|(table, _)| table),
            &overrides.properties,
            check,
        ),
        limits,
        name,
    };
    topics::check(document, &config, |key| match key {
        "[source] topic" => source_table.place_of("topic"),
        "[sink] topic" => sink_table.place_of("topic"),
        "[sink] topics" => sink_table.place_of("topics"),
        "[dead-letters] topic" => dead_letters_table.place_of("topic"),
        _ => late_table.place_of("topic"),
    });
    for table in [source_table, sink_table, dead_letters_table, late_table] {
        table.finish();
    }
    config
}

/// Every section that a file may have, and whether it stands for a list.
const SECTIONS: [(&str, bool); 14] = [
    ("pipeline", false),
    ("source", false),
    ("stage", true),
    ("shadow", false),
    ("window", true),
    ("sink", false),
    ("dead-letters", false),
    ("late", false),
    ("repartition", false),
    ("state", false),
    ("delivery", false),
    ("reload", false),
    ("limits", false),
    ("kafka", false),
];

/// Notes sections that nobody knows, and those written in the wrong form.
fn check_sections(document: &Document, root: &DeTable<'_>) {
    for (key, value) in root {
        let name: &str = key.get_ref();
        let place = Some(document.place(key.span()));
        let Some(&(_, list)) = SECTIONS.iter().find(|(known, _)| *known == name) else {
            let names: Vec<_> = SECTIONS.iter().map(|&(name, _)| name).collect();
            let help = unknown_help(name, &names);
            let what = if value.get_ref().is_table() { "unknown section" } else { "unknown key" };
            document.add(place, name, what, help);
            continue;
        };
        let fits = match value.get_ref() {
            DeValue::Table(_) => !list,
            DeValue::Array(items) => list && items.iter().all(|item| item.get_ref().is_table()),
            _ => false,
        };
        if !fits {
            let header = if list { format!("[[{name}]]") } else { format!("[{name}]") };
            let message = if list { "expected a list of tables" } else { "expected one table" };
            document.add(place, name, message, format!("write `{header}` above its keys"));
        }
    }
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn read_name(table: Table<'_>, input: &str, overrides: &Overrides) -> String {
    let found = table.checked_text("name", "logins", topics::check_name);
    table.finish();
    overrides.name.clone().or(found).unwrap_or_else(|| input.to_owned())
}

fn read_source(table: &Table<'_>) -> Source {
    let choices = [("stop", OnExpired::Stop), ("skip", OnExpired::Skip)];
    Source {
        topic: topics::read(table, None),
        on_expired: table.choice("on-expired", OnExpired::Stop, &choices),
    }
}

fn read_sink(table: &Table<'_>, default: Option<Topic>) -> Sink {
    let further = table.texts("topics", "[\"logins-by-device\"]", topics::check_name);
    let stamp = table.boolean("stamp", false);
    Sink { topic: topics::read(table, default), further, stamp }
}

fn read_dead_letters(table: &Table<'_>, default: Option<Topic>) -> DeadLetters {
    DeadLetters {
        topic: topics::read(table, default),
        reject_share_max: table.share("reject-share-max", 0.5),
        reject_share_over: table.integer("reject-share-over", 10_000, 100..=100_000_000) as u32,
    }
}

/// Its name is no key: two pipelines that shared it would add each other's counts to their own.
fn read_repartition(table: Table<'_>, pipeline: &str, input: &Topic) -> Repartition {
    let partitions = table.integer("partitions", i64::from(input.partitions), 1..=10_000) as i32;
    let replication = topics::read_replication(&table, input.replication);
    let retention = table.duration("retention", 7 * DAY, millis(60_000)..=3660 * DAY);
    table.finish();
    let name = format!("{pipeline}-repartition");
    Repartition { topic: Topic { name, partitions, replication }, retention }
}

fn read_state(table: Table<'_>, pipeline: &str) -> State {
    let state = State {
        progress_topic: format!("{pipeline}-progress"),
        windows_topic: format!("{pipeline}-windows"),
        replication: topics::read_replication(&table, -1),
        segment_age: table.duration("segment-age", millis(600_000), millis(10_000)..=7 * DAY),
        segment_bytes: table.bytes("segment-bytes", 16 << 20, 1 << 20..=1 << 30),
        dirty_ratio: table.share("dirty-ratio", 0.1),
    };
    table.finish();
    state
}

fn read_delivery(table: Table<'_>, overrides: &Overrides) -> Delivery {
    let choices = [Mode::ExactlyOnce, Mode::AtLeastOnce].map(|mode| (mode.name(), mode));
    let mode = table.choice("mode", Mode::default(), &choices);
    let delivery = Delivery {
        mode: overrides.delivery.unwrap_or(mode),
        commit_interval: table.duration(
            "commit-interval",
            millis(200),
            millis(10)..=millis(60_000),
        ),
        // A broker refuses more than its `transaction.max.timeout.ms`, by default 15 minutes.
        transaction_timeout: table.duration(
            "transaction-timeout",
            millis(10_000),
            millis(1000)..=millis(900_000),
        ),
    };
    if delivery.transaction_timeout <= 2 * delivery.commit_interval {
        let key = ["transaction-timeout", "commit-interval"];
        table.problem(
            if table.has(key[0]) { key[0] } else { key[1] },
            "the broker could abort a transaction before its commit",
            "make transaction-timeout more than twice commit-interval",
        );
    }
    table.finish();
    delivery
}

fn read_reload(table: Table<'_>) -> Reload {
    let reload = Reload {
        watch: table.boolean("watch", true),
        settle: table.duration("settle", millis(300), millis(10)..=millis(60_000)),
        probation_records: table.integer("probation-records", 10_000, 1..=1_000_000_000) as u64,
        probation_time: table.duration("probation-time", millis(30_000), millis(100)..=DAY),
        error_share_max: table.share("error-share-max", 0.05),
        errors_min: table.integer("errors-min", 20, 1..=1_000_000) as u64,
        history: table.integer("history", 20, 0..=1000) as usize,
    };
    table.finish();
    reload
}
