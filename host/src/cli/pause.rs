//! `host pause` and `host resume`: a running host takes no records for a while.

use std::io::Write as _;
use std::time::Duration;

use clap::Args;

use super::ask::{AdminArgs, ask, reachable};
use super::exit::{Exit, Failure};

/// The host waits up to 10 s for its workers.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// Let a running host commit what it has in hand, and take no more records until it is resumed.
#[derive(Args, Clone)]
#[command(after_help = "\
Example:
  host pause --admin 127.0.0.1:9600

The process stays in its group with its partitions, and goes on taking new rules. A pause is of this \
process only, and ends with it: other processes of the group go on, and the next start is not paused.

Exit codes:
  0  every worker rests
  1  not every one does yet
  3  nobody answers there")]
pub struct PauseArgs {
    /// Which host
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// End a pause.
#[derive(Args, Clone)]
#[command(after_help = "\
Example:
  host resume --admin 127.0.0.1:9600

Exit codes:
  0  done, also where nothing was paused
  3  nobody answers there")]
pub struct ResumeArgs {
    /// Which host
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// Runs `host pause`.
pub fn pause(args: &PauseArgs) -> anyhow::Result<()> {
    let answer = post(&args.admin, "/api/v1/pause")?;
    if answer["at_rest"] != true {
        let text = "asked for, but not every worker has committed what it has in hand yet; \
                    /api/v1/status says which";
        return Err(Failure::new(Exit::Runtime, text).into());
    }
    Ok(writeln!(std::io::stdout(), "paused: everything in hand is committed")?)
}

/// Runs `host resume`.
pub fn resume(args: &ResumeArgs) -> anyhow::Result<()> {
    post(&args.admin, "/api/v1/resume")?;
    Ok(writeln!(std::io::stdout(), "resumed")?)
}

fn post(admin: &AdminArgs, path: &str) -> Result<serde_json::Value, Failure> {
    let address = reachable(admin.admin);
    let doing = format!("asking {address} for {path}; is a host running there (--admin)?");
    let answer = ask(address, "POST", path, ANSWER_MAX)
        .map_err(|error| Failure::because(Exit::Environment, doing.clone(), error))?;
    match serde_json::from_str(&answer.body) {
        Ok(body) if answer.code == 200 => Ok(body),
        _ => {
            let message = format!("{doing} It answers {} {}", answer.code, answer.body.trim());
            Err(Failure::new(Exit::Environment, message))
        }
    }
}
