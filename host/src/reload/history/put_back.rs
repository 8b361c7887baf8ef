//! Puts the files of an earlier generation back into the plugins folder. The folder stays the one
//! truth: whatever runs takes them from there as any other change, and a restart has the same rules.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::store::{Store, sha256};
use super::{Entry, HistoryError, Outcome, Record, folder_name};
use crate::config::{self, FILE_NAME, Overrides};
use crate::pipeline::Files;

/// What a plugins folder holds, as far as it matters.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    files: Files,
    /// `pipeline.toml` and the plugins that it names.
    in_use: BTreeMap<String, String>,
}

/// What a rollback has done to the folder.
#[derive(Debug)]
pub struct PutBack {
    /// The number under which the folder's files were saved first, where the history did not have
    /// them.
    pub saved: Option<u64>,
    /// Files that are other ones now, in the order in which they were written.
    pub written: Vec<String>,
    /// Those of them that were links, with what each pointed to: the link is gone, its target as it
    /// was.
    pub links: Vec<(String, PathBuf)>,
}

/// Why the files are not, or not all, back.
#[derive(Debug, thiserror::Error)]
pub enum PutBackError {
    /// The folder cannot be read or written; nothing was changed, or the message says what.
    #[error("{doing} {}{after}", path.display())]
    Folder {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What has been changed before that.
        after: String,
        /// Why not.
        source: io::Error,
    },
    /// The files are not whole in the history.
    #[error("reading the files of generation {number}")]
    Gone {
        /// Its number in the history.
        number: u64,
        /// Why not.
        source: HistoryError,
    },
    /// What the folder holds would be lost. Nothing was changed.
    #[error("saving what the plugins folder holds, without which nothing is replaced")]
    Save(#[source] HistoryError),
}

impl PutBackError {
    fn folder(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Folder { doing, path, after: String::new(), source }
    }
}

impl Folder {
    /// Reads `pipeline.toml`, the plugins that it names, and these others. What is not there is left
    /// out; a file that is no TOML names what can be read of it.
    pub fn read(
        folder: &Path,
        others: impl IntoIterator<Item = String>,
    ) -> Result<Self, PutBackError> {
        let mut files = Files::new();
        let mut in_use = BTreeMap::new();
        if let Some(bytes) = read_if_there(&folder.join(FILE_NAME))? {
            let text = String::from_utf8_lossy(&bytes);
            let draft = config::parse(FILE_NAME, &text, &Overrides::default(), &|_, _| None);
            in_use.insert(FILE_NAME.to_owned(), sha256(&bytes));
            let plugins: BTreeSet<_> =
                draft.stages().iter().map(|stage| format!("{}.wasm", stage.plugin)).collect();
            files.insert(FILE_NAME.to_owned(), bytes);
            for name in plugins {
                if let Some(bytes) = read_if_there(&folder.join(&name))? {
                    in_use.insert(name.clone(), sha256(&bytes));
                    files.insert(name, bytes);
                }
            }
        }
        for name in others {
            if let std::collections::btree_map::Entry::Vacant(free) = files.entry(name)
                && let Some(bytes) = read_if_there(&folder.join(free.key()))?
            {
                free.insert(bytes);
            }
        }
        Ok(Self { path: folder.to_owned(), files, in_use })
    }

    /// Whether it has all files of this generation already.
    pub fn holds(&self, record: &Record) -> bool {
        let mut files = record.files.iter();
        files.all(|(name, digest)| self.files.get(name).is_some_and(|at| sha256(at) == *digest))
    }

    /// Whether nothing is lost if the files of `target` come into their place.
    fn is_kept(&self, records: &[Record], target: &Record) -> bool {
        let has = |record: &Record, (name, digest): (&String, &String)| {
            record.files.get(name) == Some(digest)
        };
        let all_in_use = |record: &Record| self.in_use.iter().all(|in_use| has(record, in_use));
        let replaced = target.files.keys().filter_map(|name| Some((name, self.files.get(name)?)));
        records.iter().any(all_in_use)
            && replaced
                .map(|(name, bytes)| (name, sha256(bytes)))
                .all(|(name, digest)| records.iter().any(|record| has(record, (name, &digest))))
    }
}

impl Store {
    /// Puts the files of a generation back, each whole, `pipeline.toml` last; files that other
    /// generations added stay. What is replaced is saved first where the history does not have it.
    pub fn put_back(&self, folder: &Path, target: &Record) -> Result<PutBack, PutBackError> {
        let files = self.files(target).and_then(named);
        let files = files.map_err(|source| PutBackError::Gone { number: target.number, source })?;
        let found = Folder::read(folder, files.keys().cloned())?;
        if found.holds(target) {
            return Ok(PutBack { saved: None, written: Vec::new(), links: Vec::new() });
        }
        fs::create_dir_all(folder).map_err(PutBackError::folder("making the folder", folder))?;
        // Before anything is saved: a folder that cannot be written needs nothing saved.
        let beside = write_beside(&found, files)?;
        let records = self.records(&folder_name(folder)).map_err(PutBackError::Save)?;
        let saved = if found.files.is_empty() || found.is_kept(&records, target) {
            None
        } else {
            Some(self.save(&found).map_err(PutBackError::Save)?)
        };
        beside.put(saved)
    }

    fn save(&self, found: &Folder) -> Result<u64, HistoryError> {
        let mut names = String::new();
        for (name, bytes) in &found.files {
            names += &format!("{name}\0{}\0", sha256(bytes));
        }
        let mut content = sha256(names.as_bytes());
        content.truncate(12);
        let entry = Entry {
            plugins: folder_name(&found.path),
            run: None,
            hash: None,
            content,
            changes: "what the folder held before a rollback".to_owned(),
            outcome: Outcome::Saved,
        };
        self.add(entry, &found.files)
    }
}

/// Files that lie beside those that they will replace. Dropped, they are removed.
struct Beside {
    folder: PathBuf,
    /// Temporary name and name, `pipeline.toml` last.
    files: Vec<(PathBuf, String)>,
}

/// Only the files that differ.
fn write_beside(found: &Folder, files: Files) -> Result<Beside, PutBackError> {
    let mut beside = Beside { folder: found.path.clone(), files: Vec::new() };
    let (last, plugins): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|(name, _)| name == FILE_NAME);
    for (name, bytes) in plugins.into_iter().chain(last) {
        if found.files.get(&name) == Some(&bytes) {
            continue;
        }
        let path = found.path.join(&name);
        // Hidden, so that the watcher of a running pipeline takes no notice.
        let temporary = found.path.join(format!(".{name}.{}.tmp", std::process::id()));
        beside.files.push((temporary.clone(), name));
        let write = || {
            let mut file = fs::File::create(&temporary)?;
            if let Ok(before) = fs::metadata(&path) {
                file.set_permissions(before.permissions())?;
            }
            file.write_all(&bytes)?;
            file.sync_all()
        };
        write().map_err(PutBackError::folder("writing", &path))?;
    }
    Ok(beside)
}

impl Beside {
    fn put(mut self, saved: Option<u64>) -> Result<PutBack, PutBackError> {
        let mut done = PutBack { saved, written: Vec::new(), links: Vec::new() };
        // What is left in the list when this ends early is removed.
        while let Some((temporary, name)) = self.files.first() {
            let path = self.folder.join(name);
            if let Ok(target) = fs::read_link(&path) {
                done.links.push((name.clone(), target));
            }
            if let Err(source) = fs::rename(temporary, &path) {
                let after = match done.written.is_empty() {
                    true => String::new(),
                    false => format!(" (replaced before: {})", done.written.join(", ")),
                };
                return Err(PutBackError::Folder { doing: "replacing", path, after, source });
            }
            done.written.push(self.files.remove(0).1);
        }
        Ok(done)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        for (temporary, _) in &self.files {
            let _ = fs::remove_file(temporary);
        }
    }
}

/// The files, if each of them is one of a plugins folder: a record is no way out of it.
fn named(files: Files) -> Result<Files, HistoryError> {
    for name in files.keys() {
        let is_plugin = name.ends_with(".wasm") && !name.contains(['/', '\\']);
        if name != FILE_NAME && !is_plugin {
            let wrong = io::Error::other("no name of a file in a plugins folder");
            return Err(HistoryError::at("using the name", Path::new(name))(wrong));
        }
    }
    Ok(files)
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, PutBackError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(PutBackError::folder("reading", path)(error)),
    }
}
