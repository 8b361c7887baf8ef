//! Plugins from source: the folder that an author begins with, and what makes a component of it.
//! Runs the language's own tools, and knows nothing of pipelines that run.

mod bindings;
pub mod cargo;
mod component;
mod dependencies;
mod error;
mod install;
mod integers;
mod language;
mod nothing;
mod other;
mod project;
mod saves;
mod template;
mod tool;

pub use error::BuildError;
pub use language::Language;
pub use nothing::nothing;
pub use other::{Other, WrittenIn};
pub use project::{Built, MANIFEST, Project};
pub use saves::Saves;
pub use template::{NewError, lay_down};
