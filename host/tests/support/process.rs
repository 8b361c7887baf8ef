//! The host as a process of its own, as a supervisor starts it: signals, exit codes, its log.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

/// What delivery rule 14 promises: from SIGTERM to the end, whatever the brokers do.
pub const STOP_MAX: Duration = Duration::from_secs(10);
/// What a busy machine may add to starting and ending a process.
const SLACK: Duration = Duration::from_secs(2);
/// How often something is asked that cannot be waited for.
const LOOK: Duration = Duration::from_millis(20);

/// A running command; killed when it is dropped.
pub struct Process {
    child: Child,
    log: PathBuf,
    /// What writes its log, unless it does so itself.
    words: Option<JoinHandle<io::Result<u64>>>,
}

impl Process {
    /// Starts it. Its log is appended to `log`, so that the lives of one instance follow each other.
    pub fn start(command: &mut Command, log: &Path) -> Process {
        let file = File::options().create(true).append(true).open(log).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn();
        Process { child: child.expect("the command starts"), log: log.to_owned(), words: None }
    }

    /// The same with a log that this process writes, so that it goes on where the disk of that one is
    /// full.
    pub fn start_logged_here(command: &mut Command, log: &Path) -> Process {
        let mut file = File::options().create(true).append(true).open(log).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = child.spawn().expect("the command starts");
        let mut lines = child.stderr.take().expect("it is piped");
        // Ends with the process.
        let words = Some(thread::spawn(move || io::copy(&mut lines, &mut file)));
        Process { child, log: log.to_owned(), words }
    }

    /// The same, with what it writes to stdout in a file.
    pub fn start_with_output(command: &mut Command, log: &Path, output: &Path) -> Process {
        let file = File::options().create(true).append(true).open(log).unwrap();
        let output = File::create(output).unwrap();
        let child = command.stdin(Stdio::null()).stdout(output).stderr(file).spawn();
        Process { child: child.expect("the command starts"), log: log.to_owned(), words: None }
    }

    /// `host` with nothing of this process's environment that it would read.
    pub fn command() -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_host"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HOST_") {
                command.env_remove(name);
            }
        }
        command
    }

    /// The same, for [`Process::set_disk_full`]: a write beyond the limit is an error, as on a full
    /// disk, and no signal.
    pub fn command_for_a_full_disk() -> Command {
        let plain = Process::command();
        let mut command = Command::new("sh");
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(plain.get_program());
        command
    }

    /// While set, whatever it writes to a file fails.
    pub fn set_disk_full(&self, full: bool) {
        let limit = Rlimit { current: full.then_some(0), maximum: None };
        let pid = Pid::from_child(&self.child);
        prlimit(Some(pid), Resource::Fsize, limit).expect("a child may be limited");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// SIGSTOP; `resume` ends it.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    /// SIGKILL, and waits for the end.
    #[track_caller]
    pub fn kill(&mut self) {
        self.assert_runs();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; it must end by itself in time, with exit code 0.
    #[track_caller]
    pub fn terminate(&mut self) {
        self.assert_runs();
        self.signal("-TERM");
        let status = self.wait(STOP_MAX + SLACK);
        assert_eq!(status.code(), Some(0), "after SIGTERM: {}", self.log_tail());
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub fn wait(&mut self, timeout: Duration) -> ExitStatus {
        let end = Instant::now() + timeout;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "runs after {timeout:?}: {}", self.log_tail());
            thread::sleep(LOOK);
        }
    }

    /// Waits until it ends by itself, with this exit code and all of these in its log.
    #[track_caller]
    pub fn assert_ends(&mut self, timeout: Duration, code: i32, sentences: &[&str]) {
        let status = self.wait(timeout);
        let log = self.log();
        assert_eq!(status.code(), Some(code), "{log}");
        for sentence in sentences {
            assert!(log.contains(sentence), "no {sentence:?} in\n{log}");
        }
    }

    /// How it ended, if it did; its log holds its last words then.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().unwrap()?;
        if let Some(words) = self.words.take() {
            // It ends where the process does, however that came about.
            let _ = words.join();
        }
        Some(status)
    }

    /// Fails if it ended by itself.
    #[track_caller]
    pub fn assert_runs(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("the host ended by itself, {status}: {}", self.log_tail());
        }
    }

    /// Waits until this is in its log.
    #[track_caller]
    pub fn await_log(&mut self, text: &str, timeout: Duration) {
        self.await_in_log(text, |log| log.contains(text), timeout);
    }

    /// Waits until its log fulfils this condition.
    #[track_caller]
    pub fn await_in_log(&mut self, what: &str, holds: impl Fn(&str) -> bool, timeout: Duration) {
        let end = Instant::now() + timeout;
        while !holds(&self.log()) {
            self.assert_runs();
            assert!(Instant::now() < end, "no {what:?} in {}", self.log_tail());
            thread::sleep(LOOK);
        }
    }

    /// All that it, and its earlier lives, logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// The address of its admin server, in its last life.
    pub fn admin(&self) -> String {
        let log = self.log();
        log.rsplit("admin=").next().unwrap().split_whitespace().next().unwrap().to_owned()
    }

    /// Asks its admin server: the status, and the body as JSON.
    pub fn ask(&self, method: &str, path: &str) -> (u16, serde_json::Value) {
        const ANSWER: Duration = Duration::from_secs(30);
        self.try_ask(method, path, ANSWER).unwrap()
    }

    /// The same where there may be no answer.
    pub fn try_ask(
        &self,
        method: &str,
        path: &str,
        timeout: Duration,
    ) -> io::Result<(u16, serde_json::Value)> {
        let mut stream = TcpStream::connect(self.admin())?;
        stream.set_read_timeout(Some(timeout))?;
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: host\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = serde_json::from_str(body).unwrap_or_else(|_| body.into());
        Ok((status, body))
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that ended already is none.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `host` in a folder to its end; what it writes to stdout and stderr.
#[track_caller]
pub fn run_in(folder: &Path, args: &[&str], code: i32) -> (String, String) {
    let output = Process::command().current_dir(folder).args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(code), "{stdout}{stderr}");
    (stdout, stderr)
}

/// Fails unless all of these are in the text.
#[track_caller]
pub fn assert_holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}
