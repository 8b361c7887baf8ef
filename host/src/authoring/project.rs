//! A plugin's folder, and what building it does.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::component;
use super::error::BuildError;
use super::language::Language;
use crate::plugin::World;

/// What a plugin's folder says about itself.
pub const MANIFEST: &str = "plugin.toml";
/// For what is generated and made, in languages that have no place of their own.
const SCRATCH: &str = ".build";

/// A plugin's folder.
#[derive(Clone, Debug)]
pub struct Project {
    /// The folder, from the root.
    pub dir: PathBuf,
    /// The folder's name, which is the plugin's.
    pub name: String,
    /// What it is written in.
    pub language: Language,
    /// What it exports.
    pub world: World,
}

/// A component that was made.
pub struct Built {
    /// The component.
    pub component: Vec<u8>,
    /// How long it took.
    pub time: Duration,
}

impl Project {
    /// Reads `plugin.toml`.
    pub fn open(dir: &Path) -> Result<Self, BuildError> {
        if !dir.is_dir() {
            let text = format!("there is no folder {}: give that of a plugin", dir.display());
            return Err(BuildError::Project(text));
        }
        let whole = dir.canonicalize().map_err(BuildError::io("reading", dir))?;
        let name = whole.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let file = dir.join(MANIFEST);
        let text = match fs::read_to_string(&file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(BuildError::Project(format!(
                    "there is no {}: `host plugin new` begins a plugin that can be built; to an older \
                     one add that file, with `language = \"rust\"` and `world = \"rule\"`",
                    file.display()
                )));
            }
            text => text.map_err(BuildError::io("reading", &file))?,
        };
        let (language, world) = read(&text)
            .map_err(|problem| BuildError::Project(format!("{}: {problem}", file.display())))?;
        Ok(Self { dir: whole, name, language, world })
    }

    /// Makes the component; nothing outside the folder is touched.
    pub fn build(&self) -> Result<Built, BuildError> {
        let start = Instant::now();
        let component = self.language.build(self)?;
        let tool = self.language.tool(self);
        let component = component::made_with(&component, self.language, tool)?;
        Ok(Built { component, time: start.elapsed() })
    }

    /// A folder for what is generated and made, which git ignores.
    pub(super) fn scratch(&self) -> Result<PathBuf, BuildError> {
        let scratch = self.dir.join(SCRATCH);
        fs::create_dir_all(&scratch).map_err(BuildError::io("making the folder", &scratch))?;
        Ok(scratch)
    }

    /// Whether a change of this file, below the folder, changes what is built.
    pub fn is_source(&self, file: &Path) -> bool {
        let Ok(inside) = file.strip_prefix(&self.dir) else { return false };
        let first = inside.components().next().map(|part| part.as_os_str().to_string_lossy());
        let made = [
            "target",
            "node_modules",
            "cases",
            "__pycache__",
            // What tools write down about a build is no reason for the next one.
            "Cargo.lock",
            "package-lock.json",
        ];
        first.is_some_and(|first| !first.starts_with('.') && !made.contains(&&*first))
    }

    /// Puts the component where it belongs, in one step: whoever watches never sees a half.
    pub fn put(&self, component: &[u8], folder: &Path) -> Result<PathBuf, BuildError> {
        let path = folder.join(format!("{}.wasm", self.name));
        let new = folder.join(format!(".{}.wasm.new", self.name));
        fs::create_dir_all(folder).map_err(BuildError::io("making the folder", folder))?;
        fs::write(&new, component).map_err(BuildError::io("writing", &new))?;
        fs::rename(&new, &path).map_err(BuildError::io("writing", &path))?;
        Ok(path)
    }
}

/// Writes a file below a folder, which is made. What is the same stays as old as it is, for tools that
/// compile by time.
pub(super) fn lay(folder: &Path, name: &str, content: &[u8]) -> Result<PathBuf, BuildError> {
    let path = folder.join(name);
    let parent = path.parent().expect("it is below the folder");
    fs::create_dir_all(parent).map_err(BuildError::io("making the folder", parent))?;
    if fs::read(&path).ok().as_deref() != Some(content) {
        fs::write(&path, content).map_err(BuildError::io("writing", &path))?;
    }
    Ok(path)
}

fn read(text: &str) -> Result<(Language, World), String> {
    let table: toml::Table = text.parse().map_err(|error| format!("{error}"))?;
    if let Some(key) = table.keys().find(|key| !["language", "world"].contains(&key.as_str())) {
        return Err(format!("unknown key `{key}`: known are `language` and `world`"));
    }
    let names: Vec<_> = Language::ALL.iter().map(|language| language.name()).collect();
    let said = |key: &str| table.get(key).and_then(toml::Value::as_str);
    let language = said("language").and_then(Language::named);
    let language =
        language.ok_or_else(|| format!("`language` must be one of {}", names.join(", ")))?;
    let world = match said("world") {
        Some("rule") => World::Rule,
        Some("transform") => World::Transform,
        _ => return Err("`world` must be \"rule\" or \"transform\"".to_owned()),
    };
    Ok((language, world))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_says_language_and_world_and_nothing_else() {
        let good = read("language = \"c\"\nworld = \"transform\"\n");
        assert_eq!(good, Ok((Language::C, World::Transform)));
        let wrong = |text: &str| read(text).expect_err("wrong");
        let languages = "`language` must be one of rust, go, javascript, python, c";
        assert_eq!(wrong("world = \"rule\""), languages);
        assert_eq!(wrong("language = \"perl\"\nworld = \"rule\""), languages);
        assert_eq!(wrong("language = \"c\""), "`world` must be \"rule\" or \"transform\"");
        assert_eq!(
            wrong("language = \"c\"\nworld = \"rule\"\nx = 1"),
            "unknown key `x`: known are `language` and `world`"
        );
    }
}
