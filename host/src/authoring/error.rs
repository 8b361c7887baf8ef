//! Why there is no component.

use std::path::PathBuf;

use super::install;
use super::language::Language;

/// Why there is no component. The sentence says how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The folder is no plugin's, or says something that is not so.
    #[error("{0}")]
    Project(String),
    /// A tool is not on this machine.
    #[error("{tool} is missing, which plugins in {language} are built with: run `{get}`")]
    MissingTool {
        /// What is looked for.
        tool: String,
        /// What needs it.
        language: Language,
        /// The one command that gets it.
        get: String,
    },
    /// A program that an author wants is not on this machine.
    #[error("{0} is missing, which `command` in plugin.toml names")]
    MissingCommand(String),
    /// A tool says no, and has said why on stderr.
    #[error("`{0}` failed, as it says above")]
    ToolFailed(String),
    /// What the tools made cannot be made a component.
    #[error("making a component: {0}")]
    Component(String),
    /// The file system says no.
    #[error("{doing} {}: {error}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// What came of it.
        error: std::io::Error,
    },
}

impl BuildError {
    /// For a tool of a language that the language's own command gets.
    pub(super) fn missing(tool: impl Into<String>, language: Language) -> Self {
        Self::MissingTool { tool: tool.into(), language, get: install::command(language) }
    }

    /// For `map_err` behind a call to the file system.
    pub(super) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |error| Self::Io { doing, path, error }
    }
}
