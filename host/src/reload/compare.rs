//! What is different between two generations: what a running pipeline cannot take, and what a
//! person wants to read in the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::{BatchLimits, Config, Limits, Properties, Topic, Window};
use crate::pipeline::Generation;

/// The keys whose change needs a restart.
pub(super) fn restart_keys(running: &Config, new: &Config) -> Vec<String> {
    // Every part is named, so that a new one is decided about.
    let Config {
        file: _,
        name,
        source,
        stages: _,
        shadow: _,
        windows,
        sink,
        dead_letters,
        late,
        repartition,
        state,
        delivery,
        reload: _,
        limits,
        properties,
    } = new;
    let mut keys = Keys::default();
    keys.add("[pipeline] name", running.name != *name);
    keys.topic("source", &running.source.topic, &source.topic);
    keys.add("[source] on-expired", running.source.on_expired != source.on_expired);
    keys.topic("sink", &running.sink.topic, &sink.topic);
    keys.add("[sink] topics", running.sink.further != sink.further);
    keys.add("[sink] stamp", running.sink.stamp != sink.stamp);
    keys.topic("dead-letters", &running.dead_letters.topic, &dead_letters.topic);
    keys.topic("late", &running.late, late);
    keys.topic("repartition", &running.repartition.topic, &repartition.topic);
    let retention = running.repartition.retention != repartition.retention;
    keys.add("[repartition] retention", retention);
    keys.add("[state]", running.state != *state);
    keys.add("[delivery] mode", running.delivery.mode != delivery.mode);
    let interval = running.delivery.commit_interval != delivery.commit_interval;
    keys.add("[delivery] commit-interval", interval);
    let timeout = running.delivery.transaction_timeout != delivery.transaction_timeout;
    keys.add("[delivery] transaction-timeout", timeout);
    keys.windows(&running.windows, windows);
    keys.batches(&running.limits, limits);
    keys.properties(&running.properties, properties);
    keys.0
}

#[derive(Default)]
struct Keys(Vec<String>);

impl Keys {
    fn add(&mut self, key: &str, differs: bool) {
        if differs {
            self.0.push(key.to_owned());
        }
    }

    fn topic(&mut self, table: &str, running: &Topic, new: &Topic) {
        self.add(&format!("[{table}] topic"), running.name != new.name);
        self.add(&format!("[{table}] partitions"), running.partitions != new.partitions);
        self.add(&format!("[{table}] replication"), running.replication != new.replication);
    }

    /// By name, wherever they stand in the file.
    fn windows(&mut self, running: &[Window], new: &[Window]) {
        let before = self.0.len();
        for window in new {
            match running.iter().find(|other| other.name == window.name) {
                Some(other) => self.window(other, window),
                None => self.0.push(format!("[[window]] {:?} (added)", window.name)),
            }
        }
        let is_in = |name: &str, list: &[Window]| list.iter().any(|window| window.name == name);
        let gone = running.iter().filter(|window| !is_in(&window.name, new));
        self.0.extend(gone.map(|window| format!("[[window]] {:?} (taken out)", window.name)));
        let same_order = running.iter().map(|window| &window.name).eq(new.iter().map(|w| &w.name));
        self.add("[[window]] (their order)", self.0.len() == before && !same_order);
    }

    fn window(&mut self, running: &Window, new: &Window) {
        // The topics' names follow from keys that are compared by themselves.
        let Window {
            name,
            shape,
            grace,
            by,
            time,
            aggregates,
            filter,
            emit,
            idle,
            future_max,
            keys_max,
            bytes_max,
            results_topic: _,
            place: _,
        } = new;
        for (key, differs) in [
            ("size", running.shape.size() != shape.size()),
            ("every", running.shape.every() != shape.every()),
            ("gap", running.shape.gap() != shape.gap()),
            ("grace", running.grace != *grace),
            ("by", running.by != *by),
            ("time", running.time != *time),
            ("aggregates", running.aggregates != *aggregates),
            ("where", running.filter != *filter),
            ("emit", running.emit != *emit),
            ("idle", running.idle != *idle),
            ("future-max", running.future_max != *future_max),
            ("keys-max", running.keys_max != *keys_max),
            ("bytes-max", running.bytes_max != *bytes_max),
        ] {
            self.add(&format!("[[window]] {name:?} {key}"), differs);
        }
    }

    fn batches(&mut self, running: &Limits, new: &Limits) {
        let BatchLimits { records, bytes, wait } = new.batch;
        self.add("[limits] batch-records", running.batch.records != records);
        self.add("[limits] batch-bytes", running.batch.bytes != bytes);
        self.add("[limits] batch-wait", running.batch.wait != wait);
    }

    /// By name: values may be secrets.
    fn properties(&mut self, running: &Properties, new: &Properties) {
        for (key, value) in new.iter() {
            self.add(&format!("[kafka] {key}"), running.get(key) != Some(value));
        }
        for (key, _) in running.iter() {
            self.add(&format!("[kafka] {key}"), new.get(key).is_none());
        }
    }
}

/// What is run beside each stage, or beside all of them: hashes of the plugins, and settings.
fn candidates(generation: &Generation) -> BTreeMap<String, (Vec<String>, Vec<Arc<str>>)> {
    let mut candidates = BTreeMap::<_, (Vec<_>, Vec<_>)>::new();
    for (of, stage, plugin) in generation.candidates() {
        let of = of.map_or_else(|| "all stages".to_owned(), str::to_owned);
        let (hashes, settings) = candidates.entry(of).or_default();
        hashes.push(format!("{} ({})", stage.plugin, plugin.hash().short()));
        settings.push(stage.settings.clone());
    }
    candidates
}

/// What changes for the stages, in one line.
pub(super) fn changes(running: &Generation, new: &Generation) -> String {
    let before: Vec<_> = running.stages().collect();
    let after: Vec<_> = new.stages().collect();
    let mut changes = Vec::new();
    for (stage, plugin) in &after {
        let name = &stage.name;
        let Some((old, old_plugin)) = before.iter().find(|(old, _)| old.name == *name) else {
            changes.push(format!("{name} added ({})", plugin.hash().short()));
            continue;
        };
        let (from, to) = (old_plugin.hash(), plugin.hash());
        if from != to {
            changes.push(format!("{name}: plugin {} to {}", from.short(), to.short()));
        }
        if old.settings != stage.settings {
            changes.push(format!("{name}: settings"));
        }
        if old.on_error != stage.on_error {
            changes.push(format!("{name}: on-error"));
        }
        if old.limits != stage.limits {
            changes.push(format!("{name}: limits"));
        }
    }
    let is_in = |name: &str, stages: &[(&crate::config::Stage, _)]| {
        stages.iter().any(|(stage, _): &(&crate::config::Stage, _)| stage.name == name)
    };
    let names = |stages: &[(&crate::config::Stage, _)], others: &[(&crate::config::Stage, _)]| {
        let kept = stages.iter().map(|(stage, _)| stage.name.clone());
        kept.filter(|name| is_in(name, others)).collect::<Vec<String>>()
    };
    let kept = names(&after, &before);
    if kept != names(&before, &after) {
        changes.push(format!("order: {}", kept.join(", ")));
    }
    let gone = before.iter().filter(|(stage, _)| !is_in(&stage.name, &after));
    changes.extend(gone.map(|(stage, _)| format!("{} removed", stage.name)));
    let (before, after) = (candidates(running), candidates(new));
    for (of, (hash, _)) in after.iter().filter(|(of, now)| before.get(*of) != Some(now)) {
        changes.push(format!("shadow of {of}: {}", hash.join(", ")));
    }
    let gone = before.keys().filter(|of| !after.contains_key(*of));
    changes.extend(gone.map(|of| format!("shadow of {of} removed")));
    if changes.is_empty() { "limits".to_owned() } else { changes.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, parse};

    const BASE: &str = "[source]\ntopic = \"in\"\n[[window]]\nname = \"w\"\nsize = \"1m\"\n";

    fn config(text: &str) -> Config {
        parse("pipeline.toml", text, &Overrides::default(), &|_, _| None).finish().expect("right")
    }

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(restart_keys(&config(BASE), &config(text)), expected);
    }

    #[test]
    fn what_needs_a_restart_is_named() {
        check(BASE, &[]);
        let more = |more: &str| format!("{BASE}{more}");
        check(
            &more("[sink]\nstamp = true\npartitions = 3\n"),
            &["[sink] partitions", "[sink] stamp"],
        );
        check(&more("[delivery]\ncommit-interval = \"1s\"\n"), &["[delivery] commit-interval"]);
        check(&more("[kafka]\n\"client.rack\" = \"a\"\n"), &["[kafka] client.rack"]);
        check(&more("[limits]\nbatch-wait = \"1ms\"\n"), &["[limits] batch-wait"]);
        check(&more("[state]\ndirty-ratio = 0.2\n"), &["[state]"]);
        check(
            &BASE.replace("\"1m\"", "\"2m\"\nby = \"/a\"\nidle = \"9s\""),
            &["[[window]] \"w\" size", "[[window]] \"w\" by", "[[window]] \"w\" idle"],
        );
        let second = "[[window]]\nname = \"v\"\nsize = \"1h\"\n";
        check(&more(second), &["[[window]] \"v\" (added)"]);
        check(
            &BASE.replace("\"w\"", "\"x\""),
            &["[[window]] \"x\" (added)", "[[window]] \"w\" (taken out)"],
        );
        let reversed = BASE.replace("[[window]]", &format!("{second}[[window]]"));
        let order = restart_keys(&config(&more(second)), &config(&reversed));
        assert_eq!(order, ["[[window]] (their order)"]);
        check(&BASE.replace("[source]", "# a comment\n[source]"), &[]);
        check("[source]\ntopic = \"in\"\n", &["[[window]] \"w\" (taken out)"]);
    }

    #[test]
    fn what_is_hot_needs_none() {
        check(&format!("{BASE}[limits]\ncall = \"1s\"\n[reload]\nsettle = \"1s\"\n"), &[]);
        check(&format!("{BASE}[dead-letters]\nreject-share-max = 0.1\n"), &[]);
    }
}
