//! Programs of a language's tool chain.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::error::BuildError;
use super::language::Language;

/// A program that is run. What it says to people goes to stderr, as it says it.
pub(super) struct Tool {
    /// None where the author names the program himself.
    language: Option<Language>,
    command: Command,
}

impl Tool {
    /// One that plugins in this language are built with.
    pub fn new(language: Language, program: impl AsRef<OsStr>) -> Self {
        Self { language: Some(language), command: Command::new(program) }
    }

    /// One that `plugin.toml` names.
    pub fn of_author(program: &str) -> Self {
        Self { language: None, command: Command::new(program) }
    }

    pub fn at(&mut self, folder: &Path) -> &mut Self {
        self.command.current_dir(folder);
        self
    }

    pub fn args<S: AsRef<OsStr>>(&mut self, args: impl IntoIterator<Item = S>) -> &mut Self {
        self.command.args(args);
        self
    }

    pub fn env(&mut self, name: &str, value: impl AsRef<OsStr>) -> &mut Self {
        self.command.env(name, value);
        self
    }

    /// Takes variables of these names out of its environment.
    pub fn without(&mut self, is: impl Fn(&str) -> bool) -> &mut Self {
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(&is) {
                self.command.env_remove(name);
            }
        }
        self
    }

    /// Runs it; its stdout joins stderr.
    pub fn run(&mut self) -> Result<(), BuildError> {
        let own = std::io::stderr().as_fd().try_clone_to_owned();
        let stdout = own.map_or_else(|_| Stdio::null(), Stdio::from);
        self.command.stdin(Stdio::null()).stdout(stdout);
        let status = self.command.status();
        let status = status.map_err(|error| self.not_started(error))?;
        if status.success() { Ok(()) } else { Err(self.failed()) }
    }

    /// Runs it, and answers with its stdout.
    pub fn output(&mut self) -> Result<Vec<u8>, BuildError> {
        self.command.stdin(Stdio::null()).stderr(Stdio::inherit());
        let output = self.command.output();
        let output = output.map_err(|error| self.not_started(error))?;
        if output.status.success() { Ok(output.stdout) } else { Err(self.failed()) }
    }

    /// Whether it starts and says that all is well; it is not heard.
    pub fn answers(&mut self) -> bool {
        self.command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.command.status().is_ok_and(|status| status.success())
    }

    fn not_started(&self, error: std::io::Error) -> BuildError {
        let tool = self.command.get_program().to_string_lossy().into_owned();
        match error.kind() {
            ErrorKind::NotFound => match self.language {
                Some(language) => BuildError::missing(tool, language),
                None => BuildError::MissingCommand(tool),
            },
            _ => BuildError::Io { doing: "starting", path: tool.into(), error },
        }
    }

    fn failed(&self) -> BuildError {
        let words = std::iter::once(self.command.get_program()).chain(self.command.get_args());
        let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
        BuildError::ToolFailed(words.join(" "))
    }
}
