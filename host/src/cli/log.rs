//! Logging: human lines or JSON, to stderr.

use std::fmt;

use anstream::ColorChoice;
use chrono::{Local, SecondsFormat, Utc};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use super::args::{LogArgs, LogFormat};
use super::exit::{Exit, Failure};

/// Sets the log up for the whole process. Once only.
pub fn set_up(args: &LogArgs) -> Result<(), Failure> {
    let filter = EnvFilter::builder().parse(&args.log).map_err(|error| {
        let message = format!(
            "--log {:?}: expected error, warn, info, debug or trace, or parts as host::worker=debug",
            args.log
        );
        Failure::because(Exit::Input, message, error)
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(crate::demo::screen::log_writer);
    let set = match args.log_format {
        LogFormat::Human => {
            // Says no where stderr is no terminal, or NO_COLOR is set.
            let colours = anstream::AutoStream::choice(&std::io::stderr()) != ColorChoice::Never;
            builder
                .compact()
                .with_target(false)
                .with_ansi(colours)
                .with_timer(if colours { Clock::Local } else { Clock::Utc })
                .try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).with_timer(Clock::Utc).try_init(),
    };
    set.map_err(|error| Failure::because(Exit::Runtime, "setting the log up", error))
}

enum Clock {
    /// The time of day, for someone who watches.
    Local,
    /// The whole time, for what is kept.
    Utc,
}

impl FormatTime for Clock {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        match self {
            Self::Local => write!(writer, "{}", Local::now().format("%H:%M:%S%.3f")),
            Self::Utc => {
                write!(writer, "{}", Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true))
            }
        }
    }
}
