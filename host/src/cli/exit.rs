//! How the process ends, and which error ends it how.

use std::process::ExitCode;

use crate::admin::ListenError;
use crate::config::Problems;
use crate::demo::client::ConnectError;
use crate::kafka::KafkaError;
use crate::plugin::defaults::LayDownError;

/// The exit codes; scripts and supervisors may rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or asked to stop.
    Done = 0,
    /// Something failed while it ran.
    Runtime = 1,
    /// What was given is wrong: arguments, `pipeline.toml`, a plugin, a topic that does not fit.
    Input = 2,
    /// What is needed is not there: a broker, a port, a right.
    Environment = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that says how the process ends.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The code.
    pub exit: Exit,
    message: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Failure {
    /// One sentence: what was being done, to what, how to mend it.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), source: None }
    }

    /// The same with its cause, which is shown behind it.
    pub fn because(
        exit: Exit,
        message: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { exit, message: message.into(), source: Some(source.into()) }
    }
}

/// The code of the first error in the chain that has one; [`Exit::Runtime`] if none has.
pub fn exit_of(error: &anyhow::Error) -> Exit {
    for cause in error.chain() {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return failure.exit;
        }
        if cause.is::<Problems>() {
            return Exit::Input;
        }
        if cause.is::<ListenError>() || cause.is::<LayDownError>() {
            return Exit::Environment;
        }
        if let Some(error) = cause.downcast_ref::<KafkaError>() {
            return of_kafka(error);
        }
        if let Some(error) = cause.downcast_ref::<ConnectError>() {
            return of_connecting(error);
        }
    }
    Exit::Runtime
}

fn of_kafka(error: &KafkaError) -> Exit {
    match error {
        KafkaError::Auth(_) | KafkaError::Unreachable(_) | KafkaError::OldBroker(_) => {
            Exit::Environment
        }
        KafkaError::Config(_) | KafkaError::MissingTopic(_) => Exit::Input,
        _ => Exit::Runtime,
    }
}

fn of_connecting(error: &ConnectError) -> Exit {
    match error {
        ConnectError::Unreachable { .. } | ConnectError::Refused { .. } => Exit::Environment,
        ConnectError::MissingTopic { .. } | ConnectError::Client(_) => Exit::Input,
        _ => Exit::Runtime,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn the_code_is_found_below_any_context() {
        let check = |error: anyhow::Error, exit| assert_eq!(exit_of(&error), exit, "{error:#}");
        check(anyhow::anyhow!("no code"), Exit::Runtime);
        check(Problems::default().into(), Exit::Input);
        let failure = || Err::<(), _>(Failure::new(Exit::Environment, "no broker"));
        check(failure().context("starting").expect_err("a failure"), Exit::Environment);
        let nested = Failure::because(Exit::Input, "checking", Failure::new(Exit::Runtime, "x"));
        check(nested.into(), Exit::Input);
    }

    #[test]
    fn a_cause_is_shown_behind_its_message() {
        let failure =
            Failure::because(Exit::Runtime, "reading the file", std::io::Error::other("x"));
        assert_eq!(format!("{:#}", anyhow::Error::from(failure)), "reading the file: x");
    }
}
