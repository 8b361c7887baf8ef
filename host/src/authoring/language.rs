//! The languages that a plugin can be begun and built in.

mod c;
mod go;
mod javascript;
mod python;
mod rust;

use std::fmt;

use super::error::BuildError;
use super::project::Project;
use crate::plugin::World;

/// A language with templates and a way to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// With cargo alone.
    Rust,
    /// With the standard Go tool chain.
    Go,
    /// With npm; QuickJS is inside the component.
    JavaScript,
    /// With pip; CPython is inside the component.
    Python,
    /// With zig, or clang and wasi-libc.
    C,
}

/// A file of a template: its path below the folder, and its text.
pub(super) type File = (&'static str, &'static str);

impl Language {
    /// All of them, in the order in which they are offered.
    pub const ALL: [Self; 5] = [Self::Rust, Self::Go, Self::JavaScript, Self::Python, Self::C];

    /// As arguments and `plugin.toml` name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Go => "go",
            Self::JavaScript => "javascript",
            Self::Python => "python",
            Self::C => "c",
        }
    }

    /// The language of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.name() == name)
    }

    /// The files that a plugin begins with, but for those that are the same in all languages.
    pub(super) fn files(self, world: World) -> Vec<File> {
        match self {
            Self::Rust => rust::files(world),
            Self::Go => go::files(world),
            Self::JavaScript => javascript::files(world),
            Self::Python => python::files(world),
            Self::C => c::files(world),
        }
    }

    /// The file in which an author writes the rule.
    pub fn source(self, world: World) -> &'static str {
        self.files(world)[0].0
    }

    /// Makes the component.
    pub(super) fn build(self, project: &Project) -> Result<Vec<u8>, BuildError> {
        match self {
            Self::Rust => rust::build(project),
            Self::Go => go::build(project),
            Self::JavaScript => javascript::build(project),
            Self::Python => python::build(project),
            Self::C => c::build(project),
        }
    }

    /// What made it and does not say so in the component, with its version: for after the build.
    pub(super) fn tool(self, project: &Project) -> Option<(&'static str, String)> {
        match self {
            Self::Rust | Self::Go | Self::C => None,
            Self::JavaScript => javascript::tool(project),
            Self::Python => python::tool(project),
        }
    }
}

impl fmt::Display for Language {
    /// As people write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rust => "Rust",
            Self::Go => "Go",
            Self::JavaScript => "JavaScript",
            Self::Python => "Python",
            Self::C => "C",
        })
    }
}
