//! What a chain costs per event: the default rules in wasm, the same rules as native code, and the
//! naive way, JSON into and out of each plugin.
//!
//! `cargo bench --bench chain` measures; the last lines are the ratios that the aims speak of.

mod events;
mod naive;
mod native;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use host::chain::guest::Guest;
use host::chain::{Chain, Limits, Observer, OnError, Record, Stage, TimeSource, TimeUnit};
use host::plugin::{Engine, Plugin};

use events::{Values, records};

const NOW: i64 = 1_700_000_000_123;
const TOPIC: &str = "user-login";

/// The default rules, with their settings here: as shipped, but for a filter that keeps all.
const RULES: [(&str, &str); 4] = [
    ("filter", r#"{"conditions":[{"field":"/device_type","present":true}]}"#),
    ("timestamps", "{}"),
    ("categorize", "{}"),
    ("anomaly", "{}"),
];

/// One more rule, to see what that costs.
const ONE_MORE: (&str, &str) =
    ("categorize", r#"{"field":"/locale","into":"/region","map":{"US":"NA","DE":"EU"}}"#);

/// Where the rules run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Wasm,
    Native,
    Naive,
}

impl Way {
    const ALL: [Way; 3] = [Way::Wasm, Way::Native, Way::Naive];

    fn name(self) -> &'static str {
        match self {
            Way::Wasm => "wasm",
            Way::Native => "native",
            Way::Naive => "naive",
        }
    }
}

struct Plugins {
    defaults: Vec<(&'static str, Plugin)>,
    naive: Plugin,
}

impl Plugins {
    fn load() -> Self {
        let engine = Engine::new(None).expect("wasmtime runs here");
        let load = |name: &str, bytes: &[u8]| {
            engine.load_bytes(name, bytes, Default::default()).expect("a good plugin")
        };
        let defaults =
            host::plugin::defaults::DEFAULTS.iter().map(|(name, bytes)| (*name, load(name, bytes)));
        Self { defaults: defaults.collect(), naive: load("naive", &naive::component()) }
    }

    fn guest(&self, way: Way, (rule, settings): (&str, &str)) -> Guest {
        let configure = |plugin: &Plugin, settings: &str| {
            plugin.configure(settings, rule, TOPIC, &Default::default()).expect("good settings")
        };
        match (way, rule) {
            (Way::Wasm, _) => {
                let found = self.defaults.iter().find(|(name, _)| *name == rule);
                configure(&found.expect("a default plugin").1, settings)
            }
            (Way::Naive, _) => configure(&self.naive, &format!("{{\"rule\":{rule:?}}}")),
            (Way::Native, "filter") => native::native::<filter::Filter>(settings),
            (Way::Native, "timestamps") => native::native::<timestamps::Timestamps>(settings),
            (Way::Native, "categorize") => native::native::<categorize::Categorize>(settings),
            (Way::Native, "anomaly") => native::native::<anomaly::Anomaly>(settings),
            (Way::Native, other) => panic!("no rule {other}"),
        }
    }

    /// A chain of these rules that the default window observes.
    fn chain(&self, way: Way, rules: &[(&str, &str)]) -> Chain {
        let stage = |(place, rule): (usize, &(&str, &str))| Stage {
            name: format!("{}-{place}", rule.0),
            guest: self.guest(way, *rule),
            on_error: OnError::Stop,
            topics: Vec::new().into(),
        };
        let window = Observer {
            time: TimeSource::Field { pointer: "/timestamp".into(), unit: TimeUnit::Auto },
            group: vec!["/app_version".into()],
            values: Vec::new(),
            filter: None,
        };
        let stages = rules.iter().enumerate().map(stage).collect();
        Chain::new(stages, vec![window], Limits::default()).expect("a good chain")
    }
}

/// What comes out, as parsed JSON.
fn outputs(chain: &mut Chain, records: &[Record<'_>]) -> Vec<serde_json::Value> {
    let processed = chain.run(records, NOW).expect("no stop");
    let value = |output| processed.view(output, records).value.expect("no tombstones");
    let parse = |output| serde_json::from_slice(value(output)).expect("JSON comes out");
    processed.outputs.iter().map(parse).collect()
}

/// The three ways must do the same, or there is nothing to compare.
fn check_that_they_agree(plugins: &Plugins) {
    for values in Values::ALL {
        let events = values.events(500);
        let records = records(&events, 4);
        let [wasm, native, naive] =
            Way::ALL.map(|way| outputs(&mut plugins.chain(way, &RULES), &records));
        assert_eq!(wasm.len(), records.len(), "all events are kept");
        assert_eq!(wasm, native, "{values:?}");
        assert_eq!(wasm, naive, "{values:?}");
    }
}

fn bench(criterion: &mut Criterion, plugins: &Plugins) {
    for values in Values::ALL {
        let mut group = criterion.benchmark_group(format!("chain/{}", values.name()));
        for batch in [1, 10, 100, 1_000] {
            let events = values.events(batch);
            let records = records(&events, 4);
            group.throughput(Throughput::Elements(batch as u64));
            for way in Way::ALL {
                let mut chain = plugins.chain(way, &RULES);
                group.bench_function(BenchmarkId::new(way.name(), batch), |bencher| {
                    bencher.iter(|| black_box(chain.run(&records, NOW)).is_ok());
                });
            }
        }
    }
    let mut group = criterion.benchmark_group("one-more-rule");
    for values in Values::ALL {
        let events = values.events(1_000);
        let records = records(&events, 4);
        group.throughput(Throughput::Elements(1_000));
        for way in [Way::Wasm, Way::Native] {
            let rules = [&RULES[..], &[ONE_MORE]].concat();
            let mut chain = plugins.chain(way, &rules);
            group.bench_function(BenchmarkId::new(way.name(), values.name()), |bencher| {
                bencher.iter(|| black_box(chain.run(&records, NOW)).is_ok());
            });
        }
    }
    drop(group);
    let mut group = criterion.benchmark_group("64-partitions");
    let events = Values::Logins.events(1_024);
    group.throughput(Throughput::Elements(1_024));
    let mut chain = plugins.chain(Way::Wasm, &RULES);
    for partitions in [1, 64] {
        let records = records(&events, partitions);
        group.bench_function(BenchmarkId::new("one call for all", partitions), |bencher| {
            bencher.iter(|| black_box(chain.run(&records, NOW)).is_ok());
        });
    }
    let records = records(&events, 64);
    group.bench_function("one call for each of 64", |bencher| {
        bencher.iter(|| records.chunks(16).all(|part| black_box(chain.run(part, NOW)).is_ok()));
    });
}

/// Nanoseconds per event of some ways, measured in turns so that all see the same machine: the
/// median of many rounds.
fn compare(plugins: &Plugins, values: Values) -> [f64; 3] {
    let events = values.events(1_000);
    let records = records(&events, 4);
    let mut chains = Way::ALL.map(|way| plugins.chain(way, &RULES));
    let mut rounds: [Vec<Duration>; 3] = Default::default();
    for _ in 0..301 {
        for (chain, rounds) in chains.iter_mut().zip(&mut rounds) {
            // Once before, so that none pays for the caches that the one before it left.
            assert!(black_box(chain.run(&records, NOW)).is_ok());
            let started = Instant::now();
            assert!(black_box(chain.run(&records, NOW)).is_ok());
            rounds.push(started.elapsed());
        }
    }
    rounds.map(|mut rounds| {
        rounds.sort_unstable();
        rounds[rounds.len() / 2].as_nanos() as f64 / records.len() as f64
    })
}

#[expect(clippy::print_stdout, reason = "the figures are the output of a benchmark")]
fn print_aims(plugins: &Plugins) {
    println!("\nbatches of 1000, ns per event:");
    println!(
        "{:>10} {:>8} {:>8} {:>8}   wasm/native   naive/wasm",
        "values", "wasm", "native", "naive"
    );
    for values in Values::ALL {
        let [wasm, native, naive] = compare(plugins, values);
        let aim = match values {
            Values::Few => "(aims: at most 1.15, at least 12)",
            Values::Distinct => "(aims: at most 1.6, at least 5)",
            Values::Logins => "",
        };
        println!(
            "{:>10} {wasm:>8.0} {native:>8.0} {naive:>8.0}   {:>11.2}   {:>10.1}   {aim}",
            values.name(),
            wasm / native,
            naive / wasm,
        );
    }
}

fn main() {
    let plugins = Plugins::load();
    check_that_they_agree(&plugins);
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20)
        .configure_from_args();
    bench(&mut criterion, &plugins);
    criterion.final_summary();
    print_aims(&plugins);
}
