//! One process of a run, through all its lives.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use crate::support::pipeline::Pipeline;
use crate::support::process::Process;

/// How long a process may take to say what it has in hand, before a fault strikes it.
const ANSWER: Duration = Duration::from_millis(500);

/// A name, and the process that has it.
pub struct Instance {
    pub name: String,
    workers: u32,
    process: Option<Process>,
    /// Where its log was when this life began.
    log_from: usize,
    /// A start is on its way.
    pub is_due: bool,
    /// SIGSTOP.
    pub is_stopped: bool,
    /// Its disk is, or was in this life.
    pub was_full: bool,
}

/// That of an instance.
pub fn name(number: usize) -> String {
    format!("i{number}")
}

impl Instance {
    pub fn new(number: usize, workers: u32) -> Instance {
        Instance {
            name: name(number),
            workers,
            process: None,
            log_from: 0,
            is_due: false,
            is_stopped: false,
            was_full: false,
        }
    }

    pub fn start(&mut self, pipeline: &Pipeline, brokers: &str) {
        self.log_from = fs::read(pipeline.log_of(&self.name)).map_or(0, |log| log.len());
        let workers = self.workers.to_string();
        let mut command = Process::command_for_a_full_disk();
        pipeline.prepare(&mut command, &self.name, brokers, &["--workers", &workers]);
        let log = pipeline.log_of(&self.name);
        self.process = Some(Process::start_logged_here(&mut command, &log));
        (self.is_due, self.is_stopped, self.was_full) = (false, false, false);
    }

    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Whether it will run on without anything done.
    pub fn is_alive(&self) -> bool {
        self.is_running() && !self.is_stopped
    }

    /// What it has logged in this life.
    fn log(&self, pipeline: &Pipeline) -> String {
        let log = fs::read(pipeline.log_of(&self.name)).unwrap_or_default();
        String::from_utf8_lossy(&log[self.log_from.min(log.len())..]).into_owned()
    }

    /// Whether its workers run.
    pub fn has_begun(&self, pipeline: &Pipeline) -> bool {
        self.is_running() && self.log(pipeline).contains("admin=")
    }

    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it runs")
    }

    /// The input partitions that it has, as far as it says so at once.
    pub fn partitions(&self) -> Vec<i32> {
        let Some(process) = &self.process else { return Vec::new() };
        let Ok((200, status)) = process.try_ask("GET", "/api/v1/status", ANSWER) else {
            return Vec::new();
        };
        if status["instance"] != self.name.as_str() {
            return Vec::new();
        }
        let workers = status["workers"].as_array().into_iter().flatten();
        let lags = workers.filter_map(|worker| worker["lag"].as_object());
        let all: BTreeSet<i32> =
            lags.flat_map(|lag| lag.keys()).filter_map(|key| key.parse().ok()).collect();
        all.into_iter().collect()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process().kill();
        self.process = None;
    }

    /// SIGTERM; how long it took to end, in time and with exit code 0.
    pub fn terminate(&mut self) -> Duration {
        let started = Instant::now();
        self.process().terminate();
        self.process = None;
        started.elapsed()
    }

    /// SIGCONT.
    pub fn resume(&mut self) {
        if std::mem::take(&mut self.is_stopped) {
            self.process().resume();
        }
    }

    /// Takes the process away.
    pub fn into_process(self) -> Option<Process> {
        self.process
    }

    /// Why it ended by itself, if it did and a supervisor would just start it again: brokers that did
    /// not answer while it started, a worker that hung (delivery rule 14), a full disk. Any other
    /// end fails the run.
    pub fn ended(&mut self, pipeline: &Pipeline) -> Option<&'static str> {
        let status = self.process.as_mut()?.ended()?;
        let log = self.log(pipeline);
        let why = match status.code() {
            Some(3) if !self.has_begun(pipeline) => "no broker at the start",
            Some(1) if log.contains("a worker hangs") => "a worker hung",
            Some(1..=3) if self.was_full && log.contains("(os error 27)") => "disk full",
            _ => panic!("{} ended by itself, {status}: {log}", self.name),
        };
        self.process = None;
        println!("{} ended by itself, {status}: {}", self.name, log.lines().last().unwrap_or("-"));
        Some(why)
    }
}
