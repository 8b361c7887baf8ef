//! Notices that an author saved something.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::project::Project;

/// Deeper than any source lies; links that go round end here.
const DEPTH_MAX: usize = 12;

/// What a plugin's sources looked like when somebody looked last. Looking at some thirty files is
/// cheaper than watching what a build writes among them, and works on every file system.
pub struct Saves {
    project: Project,
    seen: Seen,
}

type Seen = BTreeMap<PathBuf, (u64, Option<SystemTime>)>;

impl Saves {
    /// From how they look now.
    pub fn new(project: &Project) -> Self {
        Self { project: project.clone(), seen: look(project) }
    }

    /// When the last of them was saved, as the file system says; none if it says nothing.
    pub fn last(&self) -> Option<SystemTime> {
        self.seen.values().filter_map(|(_, at)| *at).max()
    }

    /// Whether they look different from the last time.
    pub fn differ(&mut self) -> bool {
        let seen = look(&self.project);
        let differ = seen != self.seen;
        self.seen = seen;
        differ
    }
}

fn look(project: &Project) -> Seen {
    let mut seen = Seen::new();
    collect(project, &project.dir, 0, &mut seen);
    seen
}

fn collect(project: &Project, folder: &Path, depth: usize, seen: &mut Seen) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if !project.is_source(&path) {
            continue;
        }
        // Of what a link points to.
        match fs::metadata(&path) {
            Ok(found) if found.is_dir() && depth < DEPTH_MAX => {
                collect(project, &path, depth + 1, seen);
            }
            Ok(found) if found.is_file() => {
                seen.insert(path, (found.len(), found.modified().ok()));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authoring::{Language, WrittenIn};
    use crate::plugin::World;

    #[test]
    fn sources_count_and_what_is_made_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = folder.path().join("mine");
        let write = |path: &str, text: &str| {
            let path = dir.join(path);
            fs::create_dir_all(path.parent().expect("it has one")).expect("it can be made");
            fs::write(path, text).expect("it can be written");
        };
        write("src/lib.rs", "one");
        let (language, world) = (WrittenIn::Known(Language::Rust), World::Rule);
        let project = Project { dir: dir.clone(), name: "mine".to_owned(), language, world };
        let mut saves = Saves::new(&project);
        assert!(!saves.differ());
        for made in ["target/a", "node_modules/a/b", ".build/a", ".git/a", "cases/a.toml"] {
            write(made, "made");
            assert!(!saves.differ(), "{made}");
        }
        write("src/lib.rs", "more");
        assert!(saves.differ());
        assert!(!saves.differ());
        write("src/deep/new.rs", "");
        assert!(saves.differ());
        fs::remove_file(dir.join("src/deep/new.rs")).expect("it is there");
        assert!(saves.differ());
    }
}
