//! `host plugin rollback`: the files of an earlier generation back into the plugins folder, and what a
//! running pipeline makes of them.

use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use super::super::ask::{AdminArgs, Answer, ask, reachable};
use super::super::exit::{Exit, Failure};
use super::{WhichArgs, time};
use crate::config::FILE_NAME;
use crate::plugin::defaults;
use crate::reload::history::{
    self, ChoiceError, Folder, PutBack, PutBackError, Record, given_up, previous,
};

/// How long a pipeline may take to build the rules, try them, and hand them to its workers.
const ANSWER_MAX: Duration = Duration::from_secs(120);

/// Put the files of an earlier generation back into the plugins folder, and have them taken.
#[derive(Args, Clone)]
#[command(after_help = "\
Examples:
  host plugin rollback --plugins plugins/
  host plugin rollback --plugins plugins/ 12

The folder stays the one truth: a running pipeline takes the files as any other change, as a new \
generation that is tried and on probation, and the next start has the same rules. Files that the \
generation did not have stay. What is replaced is saved in the history first, unless it is there.

Exit codes:
  0  done, and taken by the pipeline if one runs
  1  refused, with the reason
  2  no such generation
  3  the folder or the history cannot be read or written")]
pub(super) struct RollbackArgs {
    /// Which one: its number in `host plugin history`, or the first digits of its hash [default: the
    /// newest that ran, was not given up, and is not what the folder holds]
    #[arg(env = "HOST_GENERATION", value_name = "GENERATION")]
    generation: Option<String>,

    /// Whose history
    #[command(flatten)]
    which: WhichArgs,

    /// Which pipeline to ask
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) fn run(args: &RollbackArgs) -> anyhow::Result<()> {
    let folder = &args.which.plugins.plugins;
    let records = args.which.records()?;
    if records.is_empty() {
        return Err(Failure::new(Exit::Input, args.which.nothing()).into());
    }
    let target = choose(args, &records)?;
    if let Some(reason) = given_up(&records, target) {
        let message = format!(
            "generation {} was given up: {reason}; nothing is changed: choose another, or change \
             its files and save them in {}",
            target.number,
            folder.display()
        );
        return Err(Failure::new(Exit::Runtime, message).into());
    }
    let done = args.which.store().put_back(folder, target).map_err(failed)?;
    // A default of an earlier version would be replaced by its successor at the next start.
    let digests = target.files.values().map(String::as_str);
    defaults::disown(&args.which.state.state_dir, digests)
        .context("noting that the files are not to be replaced at the next start")?;
    io::stdout().write_all(told(target, &done).as_bytes())?;
    taken(args, target)
}

fn choose<'a>(args: &RollbackArgs, records: &'a [Record]) -> Result<&'a Record, Failure> {
    let wrong = |error: ChoiceError| Failure::new(Exit::Input, error.to_string());
    match &args.generation {
        Some(text) => history::find(records, text).map_err(wrong),
        None => {
            let names = records.iter().flat_map(|record| record.files.keys().cloned());
            let folder = Folder::read(&args.which.plugins.plugins, names).map_err(failed)?;
            previous(records, &folder).map_err(wrong)
        }
    }
}

fn failed(error: PutBackError) -> Failure {
    let (exit, message) = match &error {
        PutBackError::Gone { .. } => {
            (Exit::Environment, "these files cannot be had any more; nothing is changed".to_owned())
        }
        PutBackError::Save(_) => (Exit::Environment, "nothing is changed".to_owned()),
        PutBackError::Folder { .. } => (
            Exit::Environment,
            "the plugins folder cannot be used as it is; if it is mounted read-only, as a \
             ConfigMap is, change it where it comes from"
                .to_owned(),
        ),
    };
    Failure::because(exit, message, error)
}

/// What was done to the folder.
fn told(target: &Record, done: &PutBack) -> String {
    let mut text = String::new();
    if let Some(saved) = done.saved {
        text += &format!("saved what the folder held as {saved}\n");
    }
    let (number, at) = (target.number, time(target.at));
    text += &match done.written[..] {
        [] => format!("the folder holds the files of {number}, of {at}, already\n"),
        _ => format!("put back {number}, of {at}: {}\n", done.written.join(", ")),
    };
    for (name, to) in &done.links {
        text += &format!("{name} was a link to {} and is a file now\n", to.display());
    }
    text
}

/// Asks the pipeline, if one runs, what it makes of the folder.
fn taken(args: &RollbackArgs, target: &Record) -> anyhow::Result<()> {
    let address = reachable(args.admin.admin);
    let mut stdout = io::stdout();
    match ask(address, "POST", "/api/v1/reload", ANSWER_MAX) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            writeln!(stdout, "no pipeline answers at {address}: the next start takes it")?;
            Ok(())
        }
        Err(error) => {
            let message = format!(
                "the files are in their place, but no answer came from {address} (--admin): \
                 /api/v1/status there says whether they are taken"
            );
            Err(Failure::because(Exit::Runtime, message, error).into())
        }
        Ok(Answer { code: 503, .. }) => {
            writeln!(stdout, "the pipeline at {address} is about to end: the next start takes it")?;
            Ok(())
        }
        Ok(answer) => Ok(writeln!(stdout, "{}", judge(&answer, target, address)?)?),
    }
}

/// The pipeline's answer in one line.
fn judge(
    answer: &Answer,
    target: &Record,
    address: std::net::SocketAddr,
) -> Result<String, Failure> {
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let text = |key: &str| body[key].as_str().unwrap_or_default();
    let (outcome, message, hash) = (text("outcome"), text("message"), text("hash"));
    let generation = &body["generation"];
    if answer.code != 200 {
        let why = if message.is_empty() { answer.body.trim() } else { message };
        let message = format!(
            "the files are in their place, but the pipeline at {address} does not take them, and \
             runs generation {generation} ({hash}) as before: {why}"
        );
        return Err(Failure::new(Exit::Runtime, message));
    }
    if target.hash.as_deref().is_some_and(|expected| expected != hash) {
        let message = format!(
            "the files are in their place, but the pipeline at {address} runs other rules ({hash}): \
             is it another one's address (--admin), or has it another folder than this with {FILE_NAME}?"
        );
        return Err(Failure::new(Exit::Runtime, message));
    }
    if outcome == "unchanged" {
        return Ok(format!("generation {generation} ({hash}) has these rules already"));
    }
    Ok(match body["taken"].as_bool() {
        Some(true) => format!(
            "taken: every worker runs it as generation {generation} ({hash}), {message}; \
             `host plugin history` says how its probation ends"
        ),
        _ => format!(
            "taken as generation {generation} ({hash}), {message}; not every worker has come to it \
             yet, /api/v1/status says when"
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::super::exit::exit_of;
    use super::*;
    use crate::reload::history::Outcome;

    #[test]
    fn the_answer_of_the_pipeline_decides() {
        let target = Record {
            number: 3,
            at: 0,
            plugins: String::new(),
            run: None,
            hash: Some("abc".to_owned()),
            content: String::new(),
            changes: String::new(),
            outcome: Outcome::Passed,
            reason: None,
            files: BTreeMap::new(),
        };
        let check = |code, outcome: &str, hash: &str, expected: Result<&str, &str>| {
            let body = format!(
                r#"{{"outcome":"{outcome}","hash":"{hash}","message":"why","generation":7,"taken":true}}"#
            );
            let address = "127.0.0.1:1".parse().expect("an address");
            match (judge(&Answer { code, body }, &target, address), expected) {
                (Ok(text), Ok(part)) => assert!(text.contains(part), "{text}"),
                (Err(error), Err(part)) => {
                    assert!(error.to_string().contains(part), "{error}");
                    assert_eq!(exit_of(&error.into()), Exit::Runtime);
                }
                (other, _) => panic!("{other:?}"),
            }
        };
        check(200, "offered", "abc", Ok("every worker runs it as generation 7 (abc), why"));
        check(200, "unchanged", "abc", Ok("has these rules already"));
        check(200, "offered", "abd", Err("another one's address"));
        check(409, "refused", "abd", Err("runs generation 7 (abd) as before: why"));
        check(422, "invalid", "abd", Err("does not take them"));
    }
}
