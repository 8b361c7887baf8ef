//! The default plugins, which ship inside the binary, and how they get into the plugins folder.
//! Never overwrites what is not, byte for byte, a file that the host itself laid down.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::{fs, process};

use sha2::{Digest, Sha256};

/// The default plugins: name, and component.
pub const DEFAULTS: &[(&str, &[u8])] = &[
    ("filter", include_bytes!(concat!(env!("OUT_DIR"), "/filter.wasm"))),
    ("timestamps", include_bytes!(concat!(env!("OUT_DIR"), "/timestamps.wasm"))),
    ("categorize", include_bytes!(concat!(env!("OUT_DIR"), "/categorize.wasm"))),
    ("anomaly", include_bytes!(concat!(env!("OUT_DIR"), "/anomaly.wasm"))),
];

/// The `pipeline.toml` that is laid down where there is none.
pub const PIPELINE_TOML: &str = include_str!("../../../plugins/pipeline.toml");

/// Within the state folder: the hash of every file that was ever laid down, one a line.
const RECORD: &str = "laid-down";

/// What became of one default file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It was missing and is there now.
    Written,
    /// It was, byte for byte, one that an earlier version had laid down, and is the newer one now.
    Replaced,
    /// It is the one that this version ships.
    Current,
    /// Someone changed it: it is theirs and stayed as it is.
    Kept,
}

/// One default file of the plugins folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaidDown {
    /// Where it lies.
    pub path: PathBuf,
    /// What became of it.
    pub action: Action,
}

/// A file that could not be read or written; the source says why.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {}", path.display())]
pub struct LayDownError {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// The default plugin of this name.
pub fn default(name: &str) -> Option<&'static [u8]> {
    DEFAULTS.iter().find(|(other, _)| *other == name).map(|(_, component)| *component)
}

/// Puts the default plugins and `pipeline.toml` into the folder, made if need be, where it lacks
/// them. A plugin that an earlier version laid down, and nobody changed, is replaced; the state
/// folder remembers which those are. Files appear whole or not at all.
pub fn lay_down(folder: &Path, state_dir: &Path) -> Result<Vec<LaidDown>, LayDownError> {
    lay_down_files(folder, state_dir, DEFAULTS, PIPELINE_TOML, Action::Replaced)
}

/// The same for a folder of someone's own, with this text as its `pipeline.toml`: whatever is there
/// stays as it is.
pub fn begin(
    folder: &Path,
    state_dir: &Path,
    pipeline_toml: &str,
) -> Result<Vec<LaidDown>, LayDownError> {
    lay_down_files(folder, state_dir, DEFAULTS, pipeline_toml, Action::Kept)
}

fn lay_down_files(
    folder: &Path,
    state_dir: &Path,
    plugins: &[(&str, &[u8])],
    pipeline_toml: &str,
    of_an_earlier_version: Action,
) -> Result<Vec<LaidDown>, LayDownError> {
    make_folder(folder)?;
    let record_path = state_dir.join(RECORD);
    let before = read_record(&record_path)?;
    let mut record = before.clone();
    let mut laid_down = Vec::new();
    for (name, component) in plugins {
        let path = folder.join(format!("{name}.wasm"));
        let hash = hash(component);
        let action = match read_if_there(&path)? {
            None => Action::Written,
            Some(Found::Link) => Action::Kept,
            Some(Found::File(bytes)) if bytes == *component => Action::Current,
            Some(Found::File(bytes)) if before.contains(&self::hash(&bytes)) => {
                of_an_earlier_version
            }
            Some(Found::File(_)) => Action::Kept,
        };
        if action != Action::Kept {
            record.insert(hash);
        }
        laid_down.push((LaidDown { path, action }, *component));
    }
    let path = folder.join("pipeline.toml");
    let action = match read_if_there(&path)? {
        None => Action::Written,
        Some(Found::File(bytes)) if bytes == pipeline_toml.as_bytes() => Action::Current,
        Some(_) => Action::Kept,
    };
    laid_down.push((LaidDown { path, action }, pipeline_toml.as_bytes()));

    // The record first: a hash of a file that never came to be does no harm, while a file that the
    // record does not know would count as someone's own for ever.
    if record != before {
        make_folder(state_dir)?;
        write_record(&record_path, &record)?;
    }
    for (file, bytes) in &laid_down {
        if matches!(file.action, Action::Written | Action::Replaced) {
            write_whole(&file.path, bytes)?;
        }
    }
    Ok(laid_down.into_iter().map(|(file, _)| file).collect())
}

/// Makes these files someone's own, by their SHA-256 in hexadecimal: [`lay_down`] leaves them as they
/// are from now on, unless they are the ones that this version ships. For files of an earlier version
/// that a person put back.
pub fn disown<'a>(
    state_dir: &Path,
    digests: impl IntoIterator<Item = &'a str>,
) -> Result<(), LayDownError> {
    let path = state_dir.join(RECORD);
    let before = read_record(&path)?;
    let mut record = before.clone();
    for digest in digests {
        record.remove(digest);
    }
    if record == before { Ok(()) } else { write_record(&path, &record) }
}

enum Found {
    File(Vec<u8>),
    /// A symbolic link to nothing: someone's own, as it stands.
    Link,
}

fn read_if_there(path: &Path) -> Result<Option<Found>, LayDownError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(Found::File(bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok(path.is_symlink().then_some(Found::Link))
        }
        Err(source) => Err(LayDownError { doing: "reading", path: path.to_owned(), source }),
    }
}

fn read_record(path: &Path) -> Result<BTreeSet<String>, LayDownError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(source) => Err(LayDownError { doing: "reading", path: path.to_owned(), source }),
    }
}

fn write_record(path: &Path, record: &BTreeSet<String>) -> Result<(), LayDownError> {
    let lines = record.iter().fold(String::new(), |lines, hash| lines + hash + "\n");
    write_whole(path, lines.as_bytes())
}

fn make_folder(path: &Path) -> Result<(), LayDownError> {
    fs::create_dir_all(path).map_err(|source| LayDownError {
        doing: "making the folder",
        path: path.to_owned(),
        source,
    })
}

/// Writes beside the file and renames, so that a reader (the watcher of another process) never
/// sees a part of it.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), LayDownError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}.tmp", process::id()));
    let write = || {
        let mut file = fs::File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(|source| {
        // A leftover would only be clutter; the error that counts is the first one.
        let _ = fs::remove_file(&beside);
        LayDownError { doing: "writing", path: path.to_owned(), source }
    })
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &[(&str, &[u8])] = &[("filter", b"old filter"), ("anomaly", b"old anomaly")];
    const NEW: &[(&str, &[u8])] = &[("filter", b"new filter"), ("anomaly", b"old anomaly")];

    struct Folders {
        root: tempfile::TempDir,
    }

    impl Folders {
        fn new() -> Self {
            Self { root: tempfile::tempdir().expect("a folder for the test") }
        }

        fn plugins(&self) -> PathBuf {
            self.root.path().join("some/plugins")
        }

        fn file(&self, name: &str) -> PathBuf {
            self.plugins().join(name)
        }

        fn text(&self, name: &str) -> String {
            fs::read_to_string(self.file(name)).expect("a file that was laid down")
        }

        #[track_caller]
        fn check(&self, plugins: &[(&str, &[u8])], expected: [Action; 3]) {
            let state = self.root.path().join("state");
            let laid_down =
                lay_down_files(&self.plugins(), &state, plugins, PIPELINE_TOML, Action::Replaced)
                    .expect("a good folder");
            let names = ["filter.wasm", "anomaly.wasm", "pipeline.toml"];
            let expected: Vec<LaidDown> = (names.iter().zip(expected))
                .map(|(name, action)| LaidDown { path: self.file(name), action })
                .collect();
            assert_eq!(laid_down, expected);
            let hidden = fs::read_dir(self.plugins()).expect("it was made").count();
            assert_eq!(hidden, names.len(), "nothing else is left in the folder");
        }
    }

    #[test]
    fn what_is_missing_is_written_and_stays_as_it_is_then() {
        let folders = Folders::new();
        folders.check(OLD, [Action::Written; 3]);
        assert_eq!(folders.text("filter.wasm"), "old filter");
        assert_eq!(folders.text("pipeline.toml"), PIPELINE_TOML);
        folders.check(OLD, [Action::Current; 3]);
        fs::remove_file(folders.file("anomaly.wasm")).expect("it is there");
        folders.check(OLD, [Action::Current, Action::Written, Action::Current]);
    }

    #[test]
    fn a_newer_version_replaces_what_an_older_one_laid_down() {
        let folders = Folders::new();
        folders.check(OLD, [Action::Written; 3]);
        folders.check(NEW, [Action::Replaced, Action::Current, Action::Current]);
        assert_eq!(folders.text("filter.wasm"), "new filter");
        // And an older one, started again, its successor: both are the host's own.
        folders.check(OLD, [Action::Replaced, Action::Current, Action::Current]);
    }

    #[test]
    fn a_folder_of_ones_own_is_begun_without_replacing_anything() {
        let folders = Folders::new();
        folders.check(OLD, [Action::Written; 3]);
        let (plugins, state) = (folders.plugins(), folders.root.path().join("state"));
        let begun = lay_down_files(&plugins, &state, NEW, "# own", Action::Kept);
        let actions = begun.expect("a good folder").into_iter().map(|file| file.action);
        let expected = [Action::Kept, Action::Current, Action::Kept];
        assert_eq!(actions.collect::<Vec<_>>(), expected);
        assert_eq!(folders.text("filter.wasm"), "old filter");
        assert_eq!(folders.text("pipeline.toml"), PIPELINE_TOML);
    }

    #[test]
    fn what_someone_changed_is_theirs_and_stays() {
        let folders = Folders::new();
        folders.check(OLD, [Action::Written; 3]);
        fs::write(folders.file("filter.wasm"), "mine").expect("it can be written");
        fs::write(folders.file("pipeline.toml"), "# mine").expect("it can be written");
        folders.check(NEW, [Action::Kept, Action::Current, Action::Kept]);
        assert_eq!(folders.text("filter.wasm"), "mine");
        assert_eq!(folders.text("pipeline.toml"), "# mine");
    }

    #[test]
    fn what_someone_put_back_is_theirs() {
        let folders = Folders::new();
        folders.check(OLD, [Action::Written; 3]);
        disown(&folders.root.path().join("state"), [&*hash(b"old filter")]).expect("it is there");
        folders.check(NEW, [Action::Kept, Action::Current, Action::Current]);
        assert_eq!(folders.text("filter.wasm"), "old filter");
    }

    #[test]
    fn a_file_that_no_record_knows_is_someones_own() {
        let folders = Folders::new();
        folders.check(OLD, [Action::Written; 3]);
        fs::remove_dir_all(folders.root.path().join("state")).expect("it was made");
        folders.check(NEW, [Action::Kept, Action::Current, Action::Current]);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_nothing_is_not_overwritten() {
        let folders = Folders::new();
        folders.check(OLD, [Action::Written; 3]);
        fs::remove_file(folders.file("filter.wasm")).expect("it is there");
        std::os::unix::fs::symlink("not-built-yet.wasm", folders.file("filter.wasm"))
            .expect("a link can be made");
        folders.check(OLD, [Action::Kept, Action::Current, Action::Current]);
        assert!(folders.file("filter.wasm").is_symlink());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folders = Folders::new();
        fs::write(folders.root.path().join("some"), "a file").expect("it can be written");
        let error = lay_down(&folders.plugins(), folders.root.path()).expect_err("no folder");
        assert_eq!(error.to_string(), format!("making the folder {}", folders.plugins().display()));
    }

    #[test]
    fn the_default_plugins_are_rules_that_import_nothing() {
        for (name, component) in DEFAULTS {
            let decoded = wit_component::decode(component).expect("a component");
            let wit_component::DecodedWasm::Component(resolve, world) = decoded else {
                panic!("{name} is no component");
            };
            let world = &resolve.worlds[world];
            for (key, import) in &world.imports {
                // The types that the exports are made of; not a thing to be called.
                let wit_parser::WorldItem::Interface { id, .. } = import else {
                    panic!("{name} imports {key:?}");
                };
                let interface = &resolve.interfaces[*id];
                assert_eq!(interface.name.as_deref(), Some("events"), "{name}");
                assert!(interface.functions.is_empty(), "{name}");
            }
            let exports: Vec<String> =
                world.exports.keys().map(|key| resolve.name_world_key(key)).collect();
            assert_eq!(exports, ["pipeline:plugin/rules@0.1.0"], "{name}");
        }
    }
}
