//! Files by content and one small record for each generation. A file appears whole or not at all, and
//! whoever changes anything holds one lock meanwhile, so that nothing that is just being written
//! counts as left over.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{Entry, HistoryError, Outcome, Record};
use crate::pipeline::Files;

/// How long another process may take with the history. It writes a few files; one that takes longer
/// hangs with its disk.
const LOCK_MAX: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(10);
/// Records that are kept of the same files: many processes, and many starts, have the same.
const RECORDS_PER_CONTENT: usize = 50;
/// What a file is called until it is whole.
const TEMPORARY: &str = ".new";

/// The history in one state folder.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// Held while something is changed.
struct Locked(#[allow(dead_code, reason = "closing the file lets the lock go")] File);

/// Says that this process runs, until it is dropped or the process ends, however it ends.
pub(super) struct Process {
    pub name: String,
    path: PathBuf,
    _lock: File,
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that stays is removed by whoever prunes next.
        let _ = fs::remove_file(&self.path);
    }
}

impl Store {
    /// The history in this state folder, whether there is one or not.
    pub fn new(state_dir: &Path) -> Self {
        Self { root: state_dir.join("history") }
    }

    /// The generations of a plugins folder (see [`super::folder_name`]), the newest first. None where
    /// nothing was ever kept.
    pub fn records(&self, plugins: &str) -> Result<Vec<Record>, HistoryError> {
        let mut records = self.all_records()?;
        records.retain(|record| record.plugins == plugins);
        Ok(records)
    }

    /// The files of a generation, as they were.
    pub fn files(&self, record: &Record) -> Result<Files, HistoryError> {
        let mut files = Files::new();
        for (name, digest) in &record.files {
            let path = self.blob(digest);
            let bytes = fs::read(&path).map_err(HistoryError::at("reading", &path))?;
            if sha256(&bytes) != *digest {
                let damaged = io::Error::other("it is damaged: its name says another content");
                return Err(HistoryError::at("reading", &path)(damaged));
            }
            files.insert(name.clone(), bytes);
        }
        Ok(files)
    }

    /// Whether the process of this name still runs, on this machine or on one with the same folder.
    pub fn is_running(&self, process: &str) -> bool {
        let path = self.root.join("processes").join(format!("{process}.lock"));
        File::open(path).is_ok_and(|file| is_held(&file))
    }

    /// Makes this process known under a name that no other has.
    pub(super) fn enter(&self, instance: &str) -> Result<Process, HistoryError> {
        let _locked = self.lock()?;
        let now = super::super::now_millis();
        let name = format!("{instance}-{now:x}-{:x}", std::process::id());
        let path = self.root.join("processes").join(format!("{name}.lock"));
        let opened = create(&path).and_then(|file| {
            file.try_lock()?;
            Ok(file)
        });
        let lock = opened.map_err(HistoryError::at("writing", &path))?;
        Ok(Process { name, path, _lock: lock })
    }

    /// Keeps a generation with these files; its number. A process that starts again and again with
    /// the same files has one record only.
    pub(super) fn add(&self, entry: Entry, files: &Files) -> Result<u64, HistoryError> {
        let _locked = self.lock()?;
        let mut digests = BTreeMap::new();
        for (name, bytes) in files {
            let digest = sha256(bytes);
            let path = self.blob(&digest);
            // One of this name that has another length was cut off by a crash of the machine.
            if fs::metadata(&path).map_or(true, |found| found.len() != bytes.len() as u64) {
                write(&path, bytes)?;
            }
            digests.insert(name.clone(), digest);
        }
        self.write_new(entry, digests)
    }

    /// Keeps a generation that has the files of another; its number.
    pub(super) fn repeat(&self, entry: Entry, of: u64) -> Result<u64, HistoryError> {
        let _locked = self.lock()?;
        let files = self.read_record(of)?.files;
        self.write_new(entry, files)
    }

    fn write_new(
        &self,
        entry: Entry,
        files: BTreeMap<String, String>,
    ) -> Result<u64, HistoryError> {
        let records = self.all_records()?;
        let number = records.first().map_or(0, |newest| newest.number) + 1;
        let Entry { plugins, run, hash, content, changes, outcome } = entry;
        let at = super::super::now_millis();
        let reason = None;
        let record =
            Record { number, at, plugins, run, hash, content, changes, outcome, reason, files };
        self.write_record(&record)?;
        let of_instance = |other: &&Record| {
            let names = |record: &Record| Some(record.run.as_ref()?.instance.clone());
            other.plugins == record.plugins && other.run.is_some() && names(other) == names(&record)
        };
        if outcome == Outcome::Started
            && let Some(before) = records.iter().find(of_instance)
            && before.outcome == Outcome::Started
            && before.files == record.files
        {
            self.remove(&self.record(before.number))?;
        }
        Ok(number)
    }

    /// Notes what became of a generation; nothing if it is not kept any more.
    pub(super) fn note(
        &self,
        number: u64,
        outcome: Outcome,
        reason: Option<String>,
    ) -> Result<(), HistoryError> {
        let _locked = self.lock()?;
        match self.read_record(number) {
            Ok(record) => self.write_record(&Record { outcome, reason, ..record }),
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Leaves so many generations of a plugins folder, counted by their files, and those that run;
    /// removes the files that no generation of any folder has.
    pub(super) fn prune(&self, plugins: &str, contents_max: usize) -> Result<(), HistoryError> {
        let _locked = self.lock()?;
        let records = self.records(plugins)?;
        let running = super::running(&records, |process| self.is_running(process));
        let mut contents: Vec<(&BTreeMap<String, String>, usize)> = Vec::new();
        for record in &records {
            let known = contents.iter().position(|(files, _)| *files == &record.files);
            let is_kept = match known {
                Some(place) => {
                    contents[place].1 += 1;
                    contents[place].1 <= RECORDS_PER_CONTENT
                }
                None if contents.len() < contents_max => {
                    contents.push((&record.files, 1));
                    true
                }
                None => false,
            };
            if !is_kept && !running.contains(&record.number) {
                self.remove(&self.record(record.number))?;
            }
        }
        self.remove_unused()
    }

    fn remove_unused(&self) -> Result<(), HistoryError> {
        /// What any version's record has.
        #[derive(Deserialize)]
        struct Named {
            files: BTreeMap<String, String>,
        }
        let mut used = BTreeSet::new();
        for path in list(&self.root.join("generations"))? {
            if is_temporary(&path) {
                self.remove(&path)?;
            } else if let Ok(bytes) = fs::read(&path)
                && let Ok(named) = serde_json::from_slice::<Named>(&bytes)
            {
                used.extend(named.files.into_values());
            }
        }
        for path in list(&self.root.join("blobs"))? {
            if !path.file_name().and_then(|name| name.to_str()).is_some_and(|n| used.contains(n)) {
                self.remove(&path)?;
            }
        }
        for path in list(&self.root.join("processes"))? {
            if File::open(&path).is_ok_and(|file| !is_held(&file)) {
                self.remove(&path)?;
            }
        }
        Ok(())
    }

    /// Every generation that this version can read, the newest first. One that is removed at this
    /// moment is none.
    fn all_records(&self) -> Result<Vec<Record>, HistoryError> {
        let mut records = Vec::new();
        for path in list(&self.root.join("generations"))? {
            if let Ok(bytes) = fs::read(&path)
                && let Ok(record) = serde_json::from_slice::<Record>(&bytes)
            {
                records.push(record);
            }
        }
        records.sort_by_key(|record| std::cmp::Reverse(record.number));
        Ok(records)
    }

    fn read_record(&self, number: u64) -> Result<Record, HistoryError> {
        let path = self.record(number);
        let read = fs::read(&path).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
        read.map_err(HistoryError::at("reading", &path))
    }

    fn write_record(&self, record: &Record) -> Result<(), HistoryError> {
        let bytes = serde_json::to_vec_pretty(record).expect("a record is always JSON");
        write(&self.record(record.number), &bytes)
    }

    fn record(&self, number: u64) -> PathBuf {
        self.root.join("generations").join(format!("{number:08}.json"))
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.root.join("blobs").join(digest)
    }

    fn remove(&self, path: &Path) -> Result<(), HistoryError> {
        fs::remove_file(path).map_err(HistoryError::at("removing", path))
    }

    /// Makes the folders if need be, and waits until nobody else changes anything.
    fn lock(&self) -> Result<Locked, HistoryError> {
        for folder in ["blobs", "generations", "processes"] {
            let folder = self.root.join(folder);
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
            made.map_err(HistoryError::at("making the folder", &folder))?;
        }
        let path = self.root.join("lock");
        let failed = || HistoryError::at("locking", &path);
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        let file = file.map_err(failed())?;
        let end = Instant::now() + LOCK_MAX;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Locked(file)),
                Err(TryLockError::WouldBlock) if Instant::now() < end => std::thread::sleep(LOOK),
                Err(error) => return Err(failed()(error.into())),
            }
        }
    }
}

/// Whether a process holds the lock of this file. Several may ask at a time.
fn is_held(file: &File) -> bool {
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// The files of a folder; none of one that is not there.
fn list(folder: &Path) -> Result<Vec<PathBuf>, HistoryError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(HistoryError::at("reading", folder)(error)),
    };
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

fn is_temporary(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == &TEMPORARY[1..])
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Under the lock there is one writer: what is there under the temporary name was left behind.
fn write(path: &Path, bytes: &[u8]) -> Result<(), HistoryError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(TEMPORARY);
    let temporary = PathBuf::from(temporary);
    let write = || {
        let mut file = create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&temporary);
        HistoryError::at("writing", path)(error)
    })
}

/// In hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
