//! Any other language: a command of the author's makes a module, and the component is made here.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::component;
use super::error::BuildError;
use super::language::Language;
use super::project::Project;
use super::tool::Tool;

/// What a plugin is written in, and so how it is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WrittenIn {
    /// A language with templates.
    Known(Language),
    /// Another.
    Other(Other),
}

/// A language that the host knows nothing of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// Its name, for people.
    pub language: String,
    /// What makes the module, run in the plugin's folder; never empty.
    pub command: Vec<String>,
    /// What it makes, below the plugin's folder: a module by the canonical ABI, or a component.
    pub module: PathBuf,
}

impl WrittenIn {
    /// As `plugin.toml` names it.
    pub fn name(&self) -> &str {
        match self {
            Self::Known(language) => language.name(),
            Self::Other(other) => &other.language,
        }
    }

    /// Whether a file below the plugin's folder is made by a build.
    pub(super) fn makes(&self, file: &Path) -> bool {
        matches!(self, Self::Other(other) if other.module == file)
    }

    /// Makes the component, which says what it was written in.
    pub(super) fn build(&self, project: &Project) -> Result<Vec<u8>, BuildError> {
        let (component, tool) = match self {
            Self::Known(language) => (language.build(project)?, language.tool(project)),
            Self::Other(other) => (other.build(project)?, None),
        };
        component::made_with(&component, &self.to_string(), tool)
    }
}

impl fmt::Display for WrittenIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(language) => language.fmt(f),
            Self::Other(other) => f.write_str(&other.language),
        }
    }
}

impl Other {
    fn build(&self, project: &Project) -> Result<Vec<u8>, BuildError> {
        // Commands may write there, as those of the languages with templates do.
        project.scratch()?;
        let (program, args) = self.command.split_first().expect("plugin.toml was checked");
        Tool::of_author(program).at(&project.dir).args(args).run()?;
        let made = project.dir.join(&self.module);
        let made = fs::read(&made).map_err(BuildError::io("reading what was to be made", made))?;
        component::of_whatever(&made, project.world)
    }
}
