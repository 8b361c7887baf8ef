//! The folder that an author begins with.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::bindings::WIT;
use super::language::{File, Language};
use super::project::MANIFEST;
use crate::plugin::World;

/// Why there is no new folder.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    /// The name would not do in every language.
    #[error(
        "{0:?} cannot be a plugin's name: use small letters, digits and `-`, with a letter first, at most 40"
    )]
    Name(String),
    /// Something is there.
    #[error("{} is there already: nothing was written; give another name", .0.display())]
    There(PathBuf),
    /// A component that no source beside it made.
    #[error(
        "{} is there already, and building the new plugin would replace it: give another name, or take \
         that file away",
        .0.display()
    )]
    Component(PathBuf),
    /// The file system says no.
    #[error("writing {}", path.display())]
    Io {
        /// What was written.
        path: PathBuf,
        /// What came of it.
        #[source]
        source: io::Error,
    },
}

const NAME_LENGTH_MAX: usize = 40;

/// Lays a new plugin down in `folder`, below a folder of its own with its name. Never overwrites; an
/// error leaves nothing behind.
pub fn lay_down(
    folder: &Path,
    name: &str,
    language: Language,
    world: World,
) -> Result<PathBuf, NewError> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
    if !begins || !name.chars().all(fits) || name.len() > NAME_LENGTH_MAX || name.ends_with('-') {
        return Err(NewError::Name(name.to_owned()));
    }
    let dir = folder.join(name);
    let component = folder.join(format!("{name}.wasm"));
    if component.exists() && !dir.exists() {
        return Err(NewError::Component(component));
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| NewError::Io { path, source }
    };
    fs::create_dir_all(folder).map_err(failed(folder))?;
    match fs::create_dir(&dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(NewError::There(dir));
        }
        made => made.map_err(failed(&dir))?,
    }
    let written = files(name, language, world).into_iter().try_for_each(|(inside, text)| {
        let path = dir.join(inside);
        let parent = path.parent().expect("it is below the folder");
        fs::create_dir_all(parent).and_then(|()| fs::write(&path, text)).map_err(failed(&path))
    });
    if written.is_err() {
        // It was made just now, and has nothing of anybody else's.
        let _ = fs::remove_dir_all(&dir);
    }
    written.map(|()| dir)
}

/// The files, with the plugin's name in its places.
fn files(name: &str, language: Language, world: World) -> Vec<(&'static str, String)> {
    let cases: &[File] = match world {
        World::Rule => &[
            ("cases/region.toml", include_str!("../../templates/common/rule/region.toml")),
            ("cases/settings.toml", include_str!("../../templates/common/rule/settings.toml")),
        ],
        World::Transform => {
            &[("cases/lines.toml", include_str!("../../templates/common/transform/lines.toml"))]
        }
    };
    let readme = match world {
        World::Rule => include_str!("../../templates/common/rule/README.md"),
        World::Transform => include_str!("../../templates/common/transform/README.md"),
    };
    let manifest = include_str!("../../templates/common/plugin.toml");
    let common = [("README.md", readme), (MANIFEST, manifest)];
    let all = language.files(world).into_iter().chain(common).chain(cases.iter().copied());
    let snake = name.replace('-', "_");
    let fill = |text: &str| {
        text.replace("{{name}}", name)
            .replace("{{snake}}", &snake)
            .replace("{{language}}", language.name())
            .replace("{{source}}", language.source(world))
            .replace("{{world}}", &world.to_string())
    };
    all.chain(WIT).map(|(path, text)| (path, fill(text))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_overwritten_and_bad_names_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let new = |name: &str| lay_down(folder.path(), name, Language::C, World::Rule);
        new("mine").expect("nothing is in its way");
        let error = new("mine").expect_err("it is there");
        assert!(matches!(error, NewError::There(_)), "{error}");
        for name in ["", "1a", "A", "a/b", "../a", "a_b", "a-", "-a", &"a".repeat(41)] {
            assert!(matches!(new(name), Err(NewError::Name(_))), "{name}");
        }
    }

    #[test]
    fn every_place_of_a_name_is_filled() {
        for language in Language::ALL {
            for world in [World::Rule, World::Transform] {
                for (path, text) in files("my-rule", language, world) {
                    for place in ["name", "snake", "language", "source", "world"] {
                        let place = format!("{{{{{place}}}}}");
                        assert!(!text.contains(&place), "{language} {world}: {path}: {place}");
                    }
                }
            }
        }
    }
}
