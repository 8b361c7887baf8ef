//! A plugin's folder, and what building it does.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::error::BuildError;
use super::language::Language;
use super::other::{Other, WrittenIn};
use crate::plugin::World;

/// What a plugin's folder says about itself.
pub const MANIFEST: &str = "plugin.toml";
/// For what is generated and made, in languages that have no place of their own.
const SCRATCH: &str = ".build";
/// Of a language's name, in bytes.
const NAME_LENGTH_MAX: usize = 40;

/// A plugin's folder.
#[derive(Clone, Debug)]
pub struct Project {
    /// The folder, from the root.
    pub dir: PathBuf,
    /// The folder's name, which is the plugin's.
    pub name: String,
    /// What it is written in.
    pub language: WrittenIn,
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
        if self.language.makes(inside) {
            return false;
        }
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

fn read(text: &str) -> Result<(WrittenIn, World), String> {
    const KEYS: [&str; 4] = ["language", "world", "command", "module"];
    let table: toml::Table = text.parse().map_err(|error| format!("{error}"))?;
    if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
        let others = "and, for a language without a template, `command` and `module`";
        return Err(format!("unknown key `{key}`: known are `language` and `world`, {others}"));
    }
    let language = match table.contains_key("command") || table.contains_key("module") {
        true => WrittenIn::Other(other(&table)?),
        false => WrittenIn::Known(known(&table)?),
    };
    let world = match table.get("world").and_then(toml::Value::as_str) {
        Some("rule") => World::Rule,
        Some("transform") => World::Transform,
        _ => return Err("`world` must be \"rule\" or \"transform\"".to_owned()),
    };
    Ok((language, world))
}

fn known(table: &toml::Table) -> Result<Language, String> {
    let language = table.get("language").and_then(toml::Value::as_str).and_then(Language::named);
    language.ok_or_else(|| {
        let names: Vec<_> = Language::ALL.iter().map(|language| language.name()).collect();
        let names = names.join(", ");
        format!("`language` must be one of {names}, or `command` and `module` say how it is built")
    })
}

fn other(table: &toml::Table) -> Result<Other, String> {
    let text =
        |value: &toml::Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let said = |key| table.get(key).and_then(text);
    let fits = |name: &String| name.len() <= NAME_LENGTH_MAX && !name.chars().any(char::is_control);
    let language = said("language").filter(fits);
    let language = language.ok_or("`language` must be the name of a language")?;
    let command = table.get("command").and_then(toml::Value::as_array);
    let command: Option<Vec<String>> = command.and_then(|words| words.iter().map(text).collect());
    let command = command.filter(|words| !words.is_empty());
    let command =
        command.ok_or("`command` must be a list: the program that builds, and its arguments")?;
    let module = said("module").map(PathBuf::from);
    let inside = |module: &PathBuf| {
        module.components().all(|part| matches!(part, std::path::Component::Normal(_)))
    };
    let module = module.filter(inside);
    let module = module.ok_or("`module` must be the file in this folder that `command` makes")?;
    Ok(Other { language, command, module })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_says_language_and_world_and_nothing_else() {
        let good = read("language = \"c\"\nworld = \"transform\"\n");
        assert_eq!(good, Ok((WrittenIn::Known(Language::C), World::Transform)));
        let wrong = |text: &str| read(text).expect_err("wrong");
        let languages = "`language` must be one of rust, go, javascript, python, c, or `command` and \
                         `module` say how it is built";
        assert_eq!(wrong("world = \"rule\""), languages);
        assert_eq!(wrong("language = \"perl\"\nworld = \"rule\""), languages);
        assert_eq!(wrong("language = \"c\""), "`world` must be \"rule\" or \"transform\"");
        assert_eq!(
            wrong("language = \"c\"\nworld = \"rule\"\nx = 1"),
            "unknown key `x`: known are `language` and `world`, and, for a language without a \
             template, `command` and `module`"
        );
    }

    #[test]
    fn another_language_has_a_command_and_what_it_makes() {
        let manifest = |command: &str, module: &str| {
            let text = "language = \"zig\"\nworld = \"rule\"\n";
            read(&format!("{text}command = {command}\nmodule = {module}\n"))
        };
        let (language, _) = manifest("[\"zig\", \"build\"]", "\"out/a.wasm\"").expect("it is good");
        assert_eq!(language.name(), "zig");
        assert!(language.makes(Path::new("out/a.wasm")) && !language.makes(Path::new("a.zig")));
        let module = "\"a.wasm\"";
        for command in ["[]", "\"zig\"", "[1]", "[\"\"]"] {
            let problem = manifest(command, module).expect_err("it is no command");
            assert!(problem.starts_with("`command` must be a list"), "{command}: {problem}");
        }
        for module in ["\"/a.wasm\"", "\"../a.wasm\"", "\"\"", "1"] {
            let problem = manifest("[\"zig\"]", module).expect_err("it is no file of the folder");
            assert!(problem.starts_with("`module` must be the file"), "{module}: {problem}");
        }
    }
}
