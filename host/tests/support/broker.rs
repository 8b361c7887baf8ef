//! A real Apache Kafka for tests: fetched once with Maven, started on free loopback ports, and ended
//! with the test process however that ends.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tempfile::TempDir;

const VERSION: &str = "4.4.0";
/// From the start of the process until all brokers serve.
const START: Duration = Duration::from_secs(90);
const INSTALL: &str = "apt-get install --yes openjdk-17-jre-headless maven";

/// Runs a broker, says its process id, and waits for a word: `term`, `kill`, or the end of the pipe,
/// which is also what the death of the test process looks like.
const WATCHDOG: &str = r#"
folder=$1; shift
exec 3<&0
"$@" </dev/null >>"$folder/broker.log" 2>&1 3<&- &
pid=$!
echo $pid
exec >/dev/null 2>&1
if read -r word <&3; then
  [ "$word" = term ] && kill -TERM $pid || kill -KILL $pid
  wait $pid
else
  kill -KILL $pid; wait $pid; rm -rf "$folder"
fi
"#;

/// What a cluster is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many brokers; with three, topics have three replicas.
    pub brokers: usize,
    /// More server properties, over the harness's.
    pub properties: Vec<(String, String)>,
    /// The port that a proxy listens on, per broker; see [`Broker::proxied`].
    pub proxies: Vec<u16>,
    /// SASL/PLAIN for [`Broker::secured`]: users `admin` (may all), `nobody` (may nothing) and `least`
    /// (may what a test allows it, see [`super::rights`]), each with the password `<name>-secret`.
    pub secured: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { brokers: 1, properties: Vec::new(), proxies: Vec::new(), secured: false }
    }
}

/// Ports of one broker.
#[derive(Clone, Copy, Debug)]
struct Ports {
    /// Clients and other brokers, straight.
    direct: u16,
    /// Clients that were told a proxy's address.
    proxied: u16,
    /// Clients with a password.
    secured: u16,
    controller: u16,
}

struct Node {
    folder: PathBuf,
    ports: Ports,
    running: Mutex<Option<Running>>,
}

struct Running {
    watchdog: Child,
    words: ChildStdin,
    pid: u32,
    /// It was asked to end.
    is_ending: bool,
}

/// A cluster of one or more brokers.
pub struct Broker {
    nodes: Vec<Node>,
    /// Of `KAFKA_BROKERS`.
    foreign: Option<String>,
    _folder: Option<TempDir>,
}

impl Broker {
    /// One broker for all tests of a binary that need nothing special: `KAFKA_BROKERS`, or one that
    /// ends with the process.
    pub fn shared() -> &'static Broker {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        SHARED.get_or_init(|| match std::env::var("KAFKA_BROKERS") {
            Ok(brokers) if !brokers.is_empty() => {
                Broker { nodes: Vec::new(), foreign: Some(brokers), _folder: None }
            }
            _ => Broker::start(&Options::default()),
        })
    }

    /// A cluster of its own; stopped when it is dropped.
    pub fn start(options: &Options) -> Broker {
        let jars = jars();
        let folder = tempfile::Builder::new().prefix("kafka-").tempdir().unwrap();
        let ports = free_ports(options.brokers);
        let voters: Vec<String> =
            (1..).zip(&ports).map(|(id, p)| format!("{id}@127.0.0.1:{}", p.controller)).collect();
        let nodes: Vec<Node> = (1..)
            .zip(&ports)
            .map(|(id, ports)| {
                let folder = folder.path().join(id.to_string());
                fs::create_dir(&folder).unwrap();
                let text = properties(options, id, *ports, &voters.join(","), &folder);
                fs::write(folder.join("server.properties"), text).unwrap();
                Node { folder, ports: *ports, running: Mutex::new(None) }
            })
            .collect();
        let broker = Broker { nodes, foreign: None, _folder: Some(folder) };
        let formats: Vec<(Child, &Node)> =
            broker.nodes.iter().map(|node| (format(&jars, node), node)).collect();
        for (mut child, node) in formats {
            assert!(child.wait().unwrap().success(), "formatting failed: {}", node.log());
        }
        for node in &broker.nodes {
            node.start(&jars);
        }
        broker.await_serving();
        broker
    }

    /// Where clients connect, straight.
    pub fn brokers(&self) -> String {
        if let Some(foreign) = &self.foreign {
            return foreign.clone();
        }
        self.addresses(|ports| ports.direct)
    }

    /// Where a proxy forwards to: whoever connects through it is told the proxy's address for more.
    pub fn proxied(&self, node: usize) -> std::net::SocketAddr {
        ([127, 0, 0, 1], self.nodes[node].ports.proxied).into()
    }

    /// Where clients connect with SASL/PLAIN.
    pub fn secured(&self) -> String {
        self.addresses(|ports| ports.secured)
    }

    fn addresses(&self, port: impl Fn(&Ports) -> u16) -> String {
        let all: Vec<String> =
            self.nodes.iter().map(|node| format!("127.0.0.1:{}", port(&node.ports))).collect();
        all.join(",")
    }

    /// SIGKILL.
    pub fn kill(&self, node: usize) {
        self.nodes[node].end("kill");
    }

    /// SIGTERM, and waits for the orderly end.
    pub fn stop(&self, node: usize) {
        self.nodes[node].end("term");
    }

    /// SIGTERM, without waiting; [`Broker::try_start`] brings it back.
    pub fn begin_stop(&self, node: usize) {
        self.nodes[node].say("term");
    }

    /// Starts a broker that was ended, if it has come to its end, and waits for nothing.
    pub fn try_start(&self, node: usize) -> bool {
        let has_ended = self.nodes[node].has_ended();
        if has_ended {
            self.nodes[node].start(&jars());
        }
        has_ended
    }

    /// Copies what the brokers have, logs and topics, for whoever looks for the cause of something.
    pub fn keep(&self, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for node in &self.nodes {
            // Files that go away meanwhile are no loss.
            let _ = Command::new("cp").arg("-a").args([&node.folder, to]).status();
        }
    }

    /// The lines of the brokers' logs that hold a text.
    pub fn logged(&self, text: &str) -> Vec<String> {
        let logs = self.nodes.iter().map(|node| fs::read_to_string(node.folder.join("broker.log")));
        let lines = logs
            .flat_map(|log| log.unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>());
        lines.filter(|line| line.contains(text)).collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    /// Fails if a broker that was not ended is dead.
    #[track_caller]
    pub fn assert_runs(&self) {
        let dead = self.nodes.iter().find(|node| !node.is_ending() && node.is_dead());
        assert!(dead.is_none(), "a broker ended by itself: {}", dead.unwrap().log());
    }

    /// Starts a broker that was ended, with its data and ports, and waits until all serve.
    pub fn restart(&self, node: usize) {
        self.nodes[node].start(&jars());
        self.await_serving();
    }

    /// SIGSTOP; `resume` ends it.
    pub fn pause(&self, node: usize) {
        self.nodes[node].signal("-STOP");
    }

    /// SIGCONT.
    pub fn resume(&self, node: usize) {
        self.nodes[node].signal("-CONT");
    }

    /// Waits until every broker is known to every broker and a coordinator could be.
    fn await_serving(&self) {
        let end = Instant::now() + START;
        for node in &self.nodes {
            let client: BaseConsumer = ClientConfig::new()
                .set("bootstrap.servers", format!("127.0.0.1:{}", node.ports.direct))
                .set("reconnect.backoff.max.ms", "100")
                .set("log_level", "0")
                .create()
                .unwrap();
            loop {
                let known = client
                    .fetch_metadata(None, Duration::from_millis(500))
                    .map_or(0, |metadata| metadata.brokers().len());
                if known == self.nodes.len() {
                    break;
                }
                assert!(!node.is_dead(), "broker ended: {}", node.log());
                assert!(Instant::now() < end, "broker does not serve: {}", node.log());
                thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        for node in &self.nodes {
            node.end("kill");
            if thread::panicking() {
                eprintln!("the end of the log of a broker:\n{}", node.log());
            }
        }
    }
}

impl Node {
    fn start(&self, jars: &Path) {
        let mut running = self.running.lock().unwrap();
        assert!(running.is_none(), "the broker runs already");
        let mut command = Command::new("sh");
        command.args(["-c", WATCHDOG, "watchdog"]).arg(&self.folder);
        command.arg("java").args(["-Xms64m", "-Xmx512m"]).args(JVM).arg("-cp").arg(jars.join("*"));
        command.arg("kafka.Kafka").arg(self.folder.join("server.properties"));
        let mut watchdog =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell starts");
        let words = watchdog.stdin.take().unwrap();
        let mut pid = String::new();
        BufReader::new(watchdog.stdout.take().unwrap()).read_line(&mut pid).unwrap();
        let pid = pid.trim().parse().unwrap();
        *running = Some(Running { watchdog, words, pid, is_ending: false });
    }

    fn end(&self, word: &str) {
        let Some(mut running) = self.running.lock().unwrap().take() else { return };
        // A watchdog that is gone has ended its broker.
        let _ = writeln!(running.words, "{word}");
        let _ = running.watchdog.wait();
    }

    fn say(&self, word: &str) {
        let mut running = self.running.lock().unwrap();
        let running = running.as_mut().expect("the broker runs");
        running.is_ending = true;
        writeln!(running.words, "{word}").expect("its watchdog runs");
    }

    /// Whether none runs; one that was asked to end, and did, is forgotten.
    fn has_ended(&self) -> bool {
        let mut running = self.running.lock().unwrap();
        let is_over = |running: &mut Running| running.watchdog.try_wait().unwrap().is_some();
        if running.as_mut().is_some_and(is_over) {
            *running = None;
        }
        running.is_none()
    }

    fn signal(&self, signal: &str) {
        let running = self.running.lock().unwrap();
        let pid = running.as_ref().expect("the broker runs").pid.to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    fn is_ending(&self) -> bool {
        self.running.lock().unwrap().as_ref().is_some_and(|running| running.is_ending)
    }

    /// By the state in its line of `/proc`: a zombie, as its watchdog waits for it only behind a word.
    /// (Its command line would not do: that is empty within `execve` as well.)
    fn is_dead(&self) -> bool {
        let running = self.running.lock().unwrap();
        let Some(running) = running.as_ref() else { return false };
        let Ok(line) = fs::read_to_string(format!("/proc/{}/stat", running.pid)) else {
            return true;
        };
        // Behind the name, which may hold anything.
        line.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
    }

    fn log(&self) -> String {
        let log = fs::read_to_string(self.folder.join("broker.log")).unwrap_or_default();
        // A line may name every partition.
        let lines: Vec<&str> =
            log.lines().map(|line| &line[..line.floor_char_boundary(300)]).collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

/// Quick to start, small to run; brokers of tests live for seconds.
const JVM: [&str; 6] = [
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-Djava.net.preferIPv4Stack=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.coordinator.transaction.TransactionMarkerChannelManager=info",
];

fn format(jars: &Path, node: &Node) -> Child {
    let log = File::create(node.folder.join("broker.log")).unwrap();
    Command::new("java")
        .arg("-Xmx128m")
        .args(JVM)
        .arg("-cp")
        .arg(jars.join("*"))
        .args([
            "kafka.tools.StorageTool",
            "format",
            "--cluster-id",
            "bG9vcGJhY2stdGVzdC1jMQ",
            "--config",
        ])
        .arg(node.folder.join("server.properties"))
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("java does not start ({error}), install it with: {INSTALL}"))
}

fn properties(options: &Options, id: usize, ports: Ports, voters: &str, folder: &Path) -> String {
    let replicas = options.brokers.min(3).to_string();
    let in_sync = options.brokers.clamp(1, 2).to_string();
    let proxy = options.proxies.get(id - 1).copied();
    let mut listeners = vec![("DIRECT", ports.direct, ports.direct, "PLAINTEXT")];
    if let Some(advertised) = proxy {
        listeners.push(("PROXIED", ports.proxied, advertised, "PLAINTEXT"));
    }
    if options.secured {
        listeners.push(("SECURED", ports.secured, ports.secured, "SASL_PLAINTEXT"));
    }
    /// Name, ports, address: one listener.
    type Each<'a> = &'a dyn Fn(&(&str, u16, u16, &str)) -> String;
    let join = |each: Each<'_>| listeners.iter().map(each).collect::<Vec<_>>().join(",");
    let mut lines: Vec<(String, String)> = Vec::new();
    let mut set = |key: &str, value: &str| lines.push((key.to_owned(), value.to_owned()));
    set("process.roles", "broker,controller");
    set("node.id", &id.to_string());
    set("controller.quorum.voters", voters);
    set("controller.listener.names", "CONTROLLER");
    let bound = join(&|(name, port, ..)| format!("{name}://127.0.0.1:{port}"));
    set("listeners", &format!("{bound},CONTROLLER://127.0.0.1:{}", ports.controller));
    set("advertised.listeners", &join(&|(name, _, told, _)| format!("{name}://127.0.0.1:{told}")));
    let protocols = join(&|(name, _, _, protocol)| format!("{name}:{protocol}"));
    set("listener.security.protocol.map", &format!("{protocols},CONTROLLER:PLAINTEXT"));
    set("inter.broker.listener.name", "DIRECT");
    set("log.dirs", &folder.join("data").display().to_string());
    set("default.replication.factor", &replicas);
    set("min.insync.replicas", &in_sync);
    for topic in ["offsets.topic", "transaction.state.log", "share.coordinator.state.topic"] {
        set(&format!("{topic}.replication.factor"), &replicas);
        set(&format!("{topic}.num.partitions"), "4");
    }
    set("transaction.state.log.min.isr", &in_sync);
    set("share.coordinator.state.topic.min.isr", &in_sync);
    set("auto.create.topics.enable", "false");
    set("group.initial.rebalance.delay.ms", "0");
    set("group.min.session.timeout.ms", "1000");
    // A broker that was killed serves again after this, not after the default 9 s.
    set("broker.session.timeout.ms", "2000");
    set("broker.heartbeat.interval.ms", "500");
    set("log.cleaner.dedupe.buffer.size", "4194304");
    set("num.network.threads", "2");
    set("num.io.threads", "4");
    if options.secured {
        set("sasl.enabled.mechanisms", "PLAIN");
        set(
            "listener.name.secured.plain.sasl.jaas.config",
            "org.apache.kafka.common.security.plain.PlainLoginModule required \
             user_admin=\"admin-secret\" user_nobody=\"nobody-secret\" user_least=\"least-secret\";",
        );
        set("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer");
        // Brokers and the straight listener are anonymous.
        set("super.users", "User:ANONYMOUS;User:admin");
    }
    // The last one of a key counts.
    lines.extend(options.properties.iter().cloned());
    lines.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
}

/// Binds them all at once, so that no two are the same, and lets them go.
fn free_ports(brokers: usize) -> Vec<Ports> {
    let bound: Vec<TcpListener> =
        (0..brokers * 4).map(|_| TcpListener::bind(("127.0.0.1", 0)).unwrap()).collect();
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    bound
        .chunks(4)
        .map(|four| Ports {
            direct: port(&four[0]),
            proxied: port(&four[1]),
            secured: port(&four[2]),
            controller: port(&four[3]),
        })
        .collect()
}

const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>test</groupId><artifactId>broker</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>VERSION</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"#;

/// The folder with the broker's jars; fetched by the first of all test processes that needs them.
fn jars() -> PathBuf {
    static JARS: OnceLock<PathBuf> = OnceLock::new();
    JARS.get_or_init(fetch_jars).clone()
}

fn fetch_jars() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kafka-{VERSION}"));
    fs::create_dir_all(&folder).unwrap();
    let lock = File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let (jars, done) = (folder.join("jars"), folder.join("done"));
    if done.exists() {
        return jars;
    }
    fs::write(folder.join("pom.xml"), POM.replace("VERSION", VERSION)).unwrap();
    let output = Command::new("mvn")
        .args(["--batch-mode", "--quiet", "--file"])
        .arg(folder.join("pom.xml"))
        .arg("org.apache.maven.plugins:maven-dependency-plugin:2.8:copy-dependencies")
        .arg(format!("-DoutputDirectory={}", jars.display()))
        .output()
        .unwrap_or_else(|error| panic!("mvn does not start ({error}), install it with: {INSTALL}"));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "fetching Kafka {VERSION} with Maven failed: {said}");
    File::create(done).unwrap();
    jars
}
