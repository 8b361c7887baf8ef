//! One run: processes on their pipeline, and faults that strike them while events flow.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use chrono::Utc;
use rand_chacha::ChaCha8Rng;

use crate::cluster::Cluster;
use crate::fault::{Bag, Counts, Kind, cut, lasts};
use crate::instance::Instance;
use crate::plugin_support::{ANSWER, component, rule_core};
use crate::recovery::{Struck, What};
use crate::setting::{PROCESSES_MAX, Setting, below, between};
use crate::support::pipeline::Pipeline;
use crate::support::process::Process;

/// Between two faults, in milliseconds.
const GAP: std::ops::Range<u32> = 300..2_000;
/// What cannot be waited for is looked at that often.
const LOOK: Duration = Duration::from_millis(100);
/// From a broker's end until all brokers serve and all replicas are in sync.
const WHOLE: Duration = Duration::from_secs(120);
/// From the start of a process until its workers run.
const BEGUN: Duration = Duration::from_secs(120);

/// What is to be done at its time.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// The next fault.
    Strike,
    /// Of an instance.
    Start(usize),
    Resume(usize),
    FreeDisk(usize),
    /// Of a broker.
    Thaw(usize),
    StopBroker(usize),
    StartBroker(usize),
    /// Looks whether all brokers are back, and goes on with the next of a rolling restart.
    AwaitWhole(Option<usize>),
    /// Puts the plugins folder in order.
    Mend,
}

/// What is wrong in the plugins folder.
enum Broken {
    Refused,
    HalfWritten(Vec<u8>),
    Trapping,
}

/// Not valid in any `pipeline.toml`.
const NONSENSE: &str = "\n[nonsense]\n";
/// A stage before all others.
const OWN: &str = "[[stage]]\nplugin = \"own\"\n\n[[stage]]";

/// What a plugin does that is worse than none.
const DEEDS: [(&str, &str); 3] = [
    ("traps", "unreachable"),
    ("loops for ever", "(loop $again (br $again)) unreachable"),
    ("eats memory", "(loop $again (drop (memory.grow (i32.const 64))) (br $again)) unreachable"),
];

/// A plugin that does such a thing to every batch.
fn harmful(deed: &str, number: u64) -> Vec<u8> {
    let mark = format!("(data (i32.const 0) \"{number}\")");
    component("rule", &rule_core(ANSWER, deed, "", &mark))
}

/// What was done to a run, and what it went through.
pub struct Past {
    pub counts: Counts,
    pub struck: Vec<Struck>,
    /// Processes that ended by themselves and were started again, by why.
    pub ended: BTreeMap<&'static str, u64>,
    /// From SIGTERM to the end, the longest.
    pub slowest_stop: Duration,
    /// Since when no fault strikes any more.
    pub mended: Instant,
}

/// Processes, and the faults that are on their way.
pub struct Run<'a> {
    cluster: &'a Cluster,
    pipeline: &'a Pipeline,
    random: ChaCha8Rng,
    bag: Bag,
    instances: Vec<Instance>,
    /// In the order of their times.
    due: BTreeMap<(Instant, u64), Act>,
    numbered: u64,
    broken: Option<Broken>,
    /// Of a broker that is not back yet.
    broker_away: Option<Instant>,
    frozen: BTreeSet<usize>,
    pub past: Past,
}

impl<'a> Run<'a> {
    /// Starts the processes of a setting, and waits until their workers run.
    pub fn start(
        cluster: &'a Cluster,
        pipeline: &'a Pipeline,
        setting: &Setting,
        random: ChaCha8Rng,
    ) -> Run<'a> {
        let instances = (0..PROCESSES_MAX)
            .map(|number| Instance::new(number, setting.workers.get(number).copied().unwrap_or(1)));
        let mut run = Run {
            cluster,
            pipeline,
            random,
            bag: Bag::new(setting.brokers),
            instances: instances.collect(),
            due: BTreeMap::new(),
            numbered: 0,
            broken: None,
            broker_away: None,
            frozen: BTreeSet::new(),
            past: Past {
                counts: Counts::default(),
                struck: Vec::new(),
                ended: BTreeMap::new(),
                slowest_stop: Duration::ZERO,
                mended: Instant::now(),
            },
        };
        for number in 0..setting.workers.len() {
            run.start_instance(number);
        }
        run.await_begun();
        run
    }

    /// Strikes until then, and mends everything after it.
    pub fn drive(&mut self, until: Instant) {
        self.after(GAP, Act::Strike);
        while let Some(((at, _), act)) = self.due.pop_first() {
            thread::sleep(at.saturating_duration_since(Instant::now()));
            self.look_after();
            match act {
                Act::Strike if Instant::now() >= until => {}
                Act::Strike => self.strike(),
                act => self.act(act),
            }
        }
        self.cluster.proxies.iter().for_each(|proxy| proxy.disarm());
        self.past.mended = Instant::now();
        self.await_begun();
    }

    /// The processes that run, once no fault strikes them any more.
    pub fn into_processes(self) -> (Vec<Process>, Past) {
        let processes = self.instances.into_iter().filter_map(Instance::into_process);
        (processes.collect(), self.past)
    }

    fn at(&mut self, delay: Duration, act: Act) {
        self.numbered += 1;
        self.due.insert((Instant::now() + delay, self.numbered), act);
    }

    fn after(&mut self, millis: std::ops::Range<u32>, act: Act) {
        let delay = between(&mut self.random, millis);
        self.at(delay, act);
    }

    /// For whoever looks for the cause of something.
    fn tell(&self, text: impl FnOnce() -> String) {
        let at = Utc::now().format("%H:%M:%S%.3f");
        println!("  {at} {}", text());
    }

    fn start_instance(&mut self, number: usize) {
        self.instances[number].start(self.pipeline, &self.cluster.through_proxies());
    }

    /// What a supervisor does.
    fn look_after(&mut self) {
        self.cluster.broker.assert_runs();
        for number in 0..self.instances.len() {
            if let Some(why) = self.instances[number].ended(self.pipeline) {
                *self.past.ended.entry(why).or_default() += 1;
                self.tell(|| format!("instance {number} ended by itself: {why}"));
                self.start_soon(number, Duration::ZERO);
            }
        }
    }

    fn await_begun(&mut self) {
        let end = Instant::now() + BEGUN;
        let has_begun = |run: &Run<'_>| {
            let begun = |one: &Instance| !one.is_running() || one.has_begun(run.pipeline);
            run.due.is_empty() && run.instances.iter().all(begun)
        };
        while !has_begun(self) {
            assert!(Instant::now() < end, "a process does not begin");
            thread::sleep(LOOK);
            self.look_after();
            while let Some((_, act)) = self.due.pop_first() {
                self.act(act);
            }
        }
    }

    fn start_soon(&mut self, number: usize, delay: Duration) {
        self.instances[number].is_due = true;
        self.at(delay, Act::Start(number));
    }

    /// Does what is due. What cannot be done yet is due again.
    fn act(&mut self, act: Act) {
        match act {
            Act::Strike => self.strike(),
            // A process cannot start with files that are broken, and would be no fault of its own.
            Act::Start(_) if self.broken.is_some() => self.at(LOOK, act),
            Act::Start(number) => self.start_instance(number),
            Act::Resume(number) => self.instances[number].resume(),
            Act::FreeDisk(number) if self.instances[number].is_running() => {
                self.instances[number].process().set_disk_full(false);
            }
            Act::FreeDisk(_) => {}
            Act::Thaw(node) => {
                self.frozen.remove(&node);
                self.cluster.proxies[node].set_frozen(false);
            }
            Act::StopBroker(node) => self.stop_broker(node),
            Act::StartBroker(node) => self.start_broker(node),
            Act::AwaitWhole(next) => self.await_whole(next),
            Act::Mend => self.mend(),
        }
    }

    /// One of the instances of which this is true.
    fn pick(&mut self, is_right: impl Fn(&Instance) -> bool) -> usize {
        let right: Vec<usize> =
            (0..self.instances.len()).filter(|at| is_right(&self.instances[*at])).collect();
        right[below(&mut self.random, right.len() as u32) as usize]
    }

    fn is_possible(&self, kind: Kind) -> bool {
        let count = |is: &dyn Fn(&Instance) -> bool| {
            self.instances.iter().filter(|instance| is(instance)).count()
        };
        let running = count(&Instance::is_running);
        let begun = || count(&|one| one.is_alive() && one.has_begun(self.pipeline));
        match kind {
            Kind::Kill => running > 0,
            Kind::Terminate | Kind::Stop | Kind::DiskFull => begun() > 0,
            Kind::Fence => self.broker_away.is_none() && begun() > 0,
            Kind::Add => running + count(&|one| one.is_due) < PROCESSES_MAX,
            Kind::Remove => running > 1 && begun() > 0,
            Kind::BrokerKill | Kind::RollingRestart => self.broker_away.is_none(),
            Kind::Partitioned => self.frozen.is_empty(),
            Kind::CutBefore | Kind::CutAfter | Kind::Late => true,
            Kind::Swap => self.broken.is_none(),
            Kind::Refused | Kind::HalfWritten | Kind::Trapping => {
                self.broken.is_none() && running == begun()
            }
        }
    }

    fn strike(&mut self) {
        let possible: Vec<Kind> = Kind::ALL.into_iter().filter(|k| self.is_possible(*k)).collect();
        let drawn = self.bag.draw(&mut self.random, |kind| possible.contains(&kind));
        if let Some(kind) = drawn {
            self.past.counts.add(kind);
            let lasting = lasts(kind, &mut self.random);
            self.tell(|| format!("{} ({lasting:?})", kind.name()));
            self.apply(kind, lasting);
        }
        let is_quick = drawn.is_some_and(Kind::is_quick);
        self.after(if is_quick { 0..GAP.start } else { GAP }, Act::Strike);
    }

    fn apply(&mut self, kind: Kind, lasting: Duration) {
        match kind {
            Kind::Kill
            | Kind::Terminate
            | Kind::Remove
            | Kind::Stop
            | Kind::Fence
            | Kind::DiskFull => self.apply_to_process(kind, lasting),
            Kind::Add => {
                let number = self.pick(|one| !one.is_running() && !one.is_due);
                self.start_soon(number, Duration::ZERO);
            }
            Kind::BrokerKill => self.kill_broker(lasting),
            Kind::RollingRestart => {
                self.broker_away = Some(Instant::now());
                self.at(Duration::ZERO, Act::StopBroker(0));
            }
            Kind::Partitioned => {
                let node = self.any_broker();
                self.frozen.insert(node);
                self.cluster.proxies[node].set_frozen(true);
                self.at(lasting, Act::Thaw(node));
            }
            // It strikes when such a request comes, which may be in the middle of the next fault.
            Kind::CutBefore | Kind::CutAfter | Kind::Late => {
                let node = self.any_broker();
                let cut = cut(kind, &mut self.random);
                self.tell(|| format!("  {cut:?} at broker {node}"));
                drop(self.cluster.proxies[node].arm(cut));
            }
            Kind::Swap if self.numbered.is_multiple_of(2) => swap(self.pipeline),
            Kind::Swap => swap_plugin(self.pipeline),
            Kind::Refused | Kind::HalfWritten | Kind::Trapping => {
                self.spoil(kind);
                self.at(lasting, Act::Mend);
            }
        }
    }

    fn apply_to_process(&mut self, kind: Kind, lasting: Duration) {
        let pipeline = self.pipeline;
        let number = match kind {
            Kind::Kill => self.pick(Instance::is_running),
            _ => self.pick(|one| one.is_alive() && one.has_begun(pipeline)),
        };
        self.tell(|| format!("  instance {number}"));
        let instance = &mut self.instances[number];
        match kind {
            Kind::Kill => {
                let partitions = if instance.is_stopped { vec![] } else { instance.partitions() };
                instance.kill();
                let gone = now_ms();
                self.struck(What::Kill, gone, gone, partitions);
                self.start_soon(number, lasting);
            }
            Kind::Terminate | Kind::Remove => {
                let (partitions, at) = (instance.partitions(), now_ms());
                let took = instance.terminate();
                self.past.slowest_stop = self.past.slowest_stop.max(took);
                self.struck(What::Terminate, at, now_ms(), partitions);
                if kind == Kind::Terminate {
                    self.start_soon(number, Duration::ZERO);
                }
            }
            Kind::Stop => {
                instance.is_stopped = true;
                instance.process().pause();
                self.at(lasting, Act::Resume(number));
            }
            Kind::Fence => self.pipeline.fence(&instance.name),
            _ => {
                instance.was_full = true;
                instance.process().set_disk_full(true);
                // New rules are what is written to the state folder.
                if self.broken.is_none() {
                    swap(self.pipeline);
                }
                self.at(lasting, Act::FreeDisk(number));
            }
        }
    }

    fn struck(&mut self, what: What, at_ms: i64, gone_ms: i64, partitions: Vec<i32>) {
        self.past.struck.push(Struck { what, at_ms, gone_ms, partitions });
    }

    fn any_broker(&mut self) -> usize {
        below(&mut self.random, self.cluster.broker.count() as u32) as usize
    }

    fn led_by(&self, node: usize) -> Vec<i32> {
        self.cluster.led_by(node, &[&self.pipeline.name, &self.pipeline.processed()])
    }

    fn kill_broker(&mut self, lasting: Duration) {
        let node = self.any_broker();
        let partitions = self.led_by(node);
        self.cluster.kill(node, self.frozen.contains(&node));
        self.broker_away = Some(Instant::now());
        let gone = now_ms();
        self.struck(What::Broker, gone, gone, partitions);
        self.at(lasting, Act::StartBroker(node));
    }

    fn stop_broker(&mut self, node: usize) {
        if !self.cluster.is_whole() {
            return self.at(LOOK, Act::StopBroker(node));
        }
        self.broker_away = Some(Instant::now());
        let partitions = self.led_by(node);
        self.cluster.broker.begin_stop(node);
        // Until it has ended it serves, or hands over in order.
        self.struck(What::Broker, i64::MAX, i64::MAX, partitions);
        self.at(LOOK, Act::StartBroker(node));
    }

    fn start_broker(&mut self, node: usize) {
        if !self.cluster.broker.try_start(node) {
            return self.at(LOOK / 4, Act::StartBroker(node));
        }
        let mut of_brokers = self.past.struck.iter_mut().rev();
        let last = of_brokers.find(|one| one.what == What::Broker).expect("it was stopped");
        let is_rolling = last.at_ms == i64::MAX;
        if is_rolling {
            (last.at_ms, last.gone_ms) = (now_ms(), now_ms());
        }
        let next = (is_rolling && node + 1 < self.cluster.broker.count()).then_some(node + 1);
        self.at(LOOK, Act::AwaitWhole(next));
    }

    fn await_whole(&mut self, next: Option<usize>) {
        if !self.cluster.is_whole() {
            let since = self.broker_away.expect("one was away");
            assert!(since.elapsed() < WHOLE, "the brokers do not come back");
            return self.at(LOOK, Act::AwaitWhole(next));
        }
        match next {
            Some(node) => self.at(LOOK, Act::StopBroker(node)),
            None => self.broker_away = None,
        }
    }

    fn spoil(&mut self, kind: Kind) {
        let pipeline = self.pipeline;
        let broken = match kind {
            Kind::Refused => {
                pipeline.edit(|text| text + NONSENSE);
                Broken::Refused
            }
            Kind::HalfWritten => {
                let path = pipeline.plugins().join("filter.wasm");
                let whole = fs::read(&path).unwrap();
                fs::write(&path, &whole[..whole.len() / 2]).unwrap();
                Broken::HalfWritten(whole)
            }
            _ => {
                let (name, deed) = DEEDS[below(&mut self.random, DEEDS.len() as u32) as usize];
                self.tell(|| format!("  it {name}"));
                // Files that were given up are not tried again, so each is another.
                pipeline.add_plugin("own", &harmful(deed, self.numbered));
                pipeline.edit(|text| text.replacen("[[stage]]", OWN, 1));
                Broken::Trapping
            }
        };
        self.broken = Some(broken);
    }

    fn mend(&mut self) {
        match self.broken.take().expect("it was broken") {
            Broken::Refused => self.pipeline.edit(|text| text.replace(NONSENSE, "")),
            Broken::HalfWritten(whole) => {
                fs::write(self.pipeline.plugins().join("filter.wasm"), whole).unwrap();
            }
            Broken::Trapping => self.pipeline.edit(|text| text.replacen(OWN, "[[stage]]", 1)),
        }
    }
}

/// Other rules of the same behaviour.
pub fn swap(pipeline: &Pipeline) {
    pipeline.edit(|text| {
        let (short, long) = ("call = \"100ms\"", "call = \"200ms\"");
        let (from, to) = if text.contains(short) { (short, long) } else { (long, short) };
        assert!(text.contains(from));
        text.replace(from, to)
    });
}

/// Another component of the same behaviour: with one custom section more, which nobody reads.
fn swap_plugin(pipeline: &Pipeline) {
    let path = pipeline.plugins().join("filter.wasm");
    let mut component = fs::read(&path).unwrap();
    component.extend([0, 5, 4, b'm', b'o', b'r', b'e']);
    fs::write(path.with_extension("new"), component).unwrap();
    fs::rename(path.with_extension("new"), path).unwrap();
}

fn now_ms() -> i64 {
    Utc::now().timestamp_millis()
}

#[test]
fn every_harmful_plugin_can_be_made() {
    for (_, deed) in DEEDS {
        assert!(!harmful(deed, 1).is_empty());
    }
}
