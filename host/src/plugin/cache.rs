//! Compiled plugins on disk, so that a second start does not compile. Never an error: what cannot
//! be read, trusted or written is compiled anew, and a warning says why.

use std::fs::{self, DirBuilder, DirEntry, File, Metadata, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use tracing::warn;
use wasmtime::component::Component;

use super::deserialize::deserialize;
use super::load::ContentHash;

/// Compiled plugins that are kept, the most recently used ones; others are deleted.
const ENTRIES_MAX: usize = 64;

/// A temporary file this old was left behind by a process that is gone.
const STALE: Duration = Duration::from_secs(3_600);

const TEMPORARY: &str = ".new-";

/// A folder of files `<plugin>-<engine>-<content>.cwasm`: the hash of the plugin's file, of
/// wasmtime's version and settings, and of the compiled file itself, which finds a damaged one.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    engine: String,
    /// The user of this process.
    user: u32,
}

impl Cache {
    /// None, with a warning, where the folder cannot be made, or others could put machine code
    /// into it.
    pub fn open(folder: &Path, engine: &wasmtime::Engine) -> Option<Self> {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let engine = format!("{:016x}", hasher.finish());
        let opened = (|| {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            let user = user(folder)?;
            let metadata = fs::metadata(folder)?;
            Ok::<_, io::Error>((user, private(&metadata, user)))
        })();
        match opened {
            Ok((user, true)) => Some(Self { folder: folder.into(), engine, user }),
            Ok((_, false)) => {
                let folder = folder.display();
                warn!(%folder, "the folder for compiled plugins is another user's or writable by others (chmod go-w mends it): plugins are compiled at each start");
                None
            }
            Err(error) => {
                let folder = folder.display();
                warn!(%folder, %error, "the folder for compiled plugins cannot be used: plugins are compiled at each start");
                None
            }
        }
    }

    /// The compiled plugin, if it is there and whole.
    pub fn load(&self, engine: &wasmtime::Engine, plugin: &ContentHash) -> Option<Component> {
        let prefix = self.prefix(plugin);
        let entries = fs::read_dir(&self.folder).ok()?.flatten();
        let found = entries.filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let content = name.strip_prefix(&prefix)?.strip_suffix(".cwasm")?.to_owned();
            Some((entry.path(), content))
        });
        for (path, content) in found.collect::<Vec<_>>() {
            match self.read(engine, &path, &content) {
                Ok(component) => return Some(component),
                Err(reason) => {
                    warn!(path = %path.display(), reason, "compiled plugin is not used and made anew");
                    let _ = fs::remove_file(&path);
                }
            }
        }
        None
    }

    fn read(
        &self,
        engine: &wasmtime::Engine,
        path: &Path,
        content: &str,
    ) -> Result<Component, String> {
        let metadata = fs::symlink_metadata(path).map_err(|error| error.to_string())?;
        if !metadata.is_file() || !private(&metadata, self.user) {
            return Err("others can write it".into());
        }
        let bytes = fs::read(path).map_err(|error| error.to_string())?;
        if ContentHash::of(&bytes).to_string() != content {
            return Err("it is damaged".into());
        }
        let component = deserialize(engine, path).map_err(|error| format!("{error:#}"))?;
        // The order of deletion: by last use. A failure only changes that order.
        let _ = File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
        Ok(component)
    }

    /// Keeps a compiled plugin for the next start.
    pub fn store(&self, plugin: &ContentHash, component: &Component) {
        let stored = component
            .serialize()
            .map_err(|error| format!("{error:#}"))
            .and_then(|bytes| self.write(plugin, &bytes).map_err(|error| error.to_string()));
        if let Err(error) = stored {
            let folder = self.folder.display();
            warn!(%folder, error, "compiled plugin cannot be kept for the next start");
        }
        self.prune();
    }

    fn write(&self, plugin: &ContentHash, bytes: &[u8]) -> io::Result<()> {
        let content = ContentHash::of(bytes);
        let path = self.folder.join(format!("{}{content}.cwasm", self.prefix(plugin)));
        let temporary = temporary(&self.folder);
        let written = create(&temporary)
            .and_then(|mut file| file.write_all(bytes))
            .and_then(|()| fs::rename(&temporary, &path));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    fn prefix(&self, plugin: &ContentHash) -> String {
        format!("{plugin}-{}-", self.engine)
    }

    /// Deletes what is too much or left behind. Another process may do the same at this moment:
    /// a file that is gone is as good as deleted.
    fn prune(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let now = SystemTime::now();
        let mut compiled = Vec::new();
        for entry in entries.flatten() {
            let Some((name, used)) = dated(&entry) else { continue };
            if name.ends_with(".cwasm") {
                compiled.push((used, entry.path()));
            } else if name.starts_with(TEMPORARY)
                && now.duration_since(used).is_ok_and(|age| age > STALE)
            {
                let _ = fs::remove_file(entry.path());
            }
        }
        compiled.sort_unstable_by(|a, b| b.cmp(a));
        for (_, path) in compiled.iter().skip(ENTRIES_MAX) {
            let _ = fs::remove_file(path);
        }
    }
}

fn dated(entry: &DirEntry) -> Option<(String, SystemTime)> {
    let name = entry.file_name().into_string().ok()?;
    Some((name, entry.metadata().ok()?.modified().ok()?))
}

/// Whether this user owns it and nobody else can write it.
fn private(metadata: &Metadata, user: u32) -> bool {
    metadata.uid() == user && metadata.mode() & 0o022 == 0
}

/// Whom a file that this process makes belongs to.
fn user(folder: &Path) -> io::Result<u32> {
    let path = temporary(folder);
    let user = create(&path)?.metadata()?.uid();
    fs::remove_file(path)?;
    Ok(user)
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn temporary(folder: &Path) -> PathBuf {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Relaxed);
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    folder.join(format!("{TEMPORARY}{}-{number}-{}", std::process::id(), time.as_nanos()))
}
