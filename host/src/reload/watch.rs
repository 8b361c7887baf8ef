//! Notices that something in the plugins folder may have changed. Never says what: whoever hears of
//! it reads the files.
//!
//! The system's events make it quick. Looking at the folder once a second makes it sure: events get
//! lost, some file systems have none, and a folder may be replaced as a whole.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use crate::config::FILE_NAME;

/// A watched folder.
pub(super) struct Watch {
    folder: PathBuf,
    /// None where the system does not offer events.
    watcher: Option<RecommendedWatcher>,
    seen: Seen,
}

/// What the folder looks like from outside: its own identity and that of each file.
type Seen = (Option<(u64, u64)>, BTreeMap<String, (u64, u64, u64, Option<SystemTime>)>);

impl Watch {
    /// Calls `hint` from another thread whenever something happened in the folder itself.
    pub fn start(folder: &Path, hint: impl Fn() + Send + 'static) -> Self {
        let heard = move |event: notify::Result<Event>| {
            if event.map_or(true, |event| is_hint(&event)) {
                hint();
            }
        };
        let watcher =
            notify::recommended_watcher(heard).inspect_err(|error| no_events(folder, error)).ok();
        let mut watch = Self { folder: folder.to_owned(), watcher, seen: Seen::default() };
        watch.attach();
        watch.seen = look(folder);
        watch
    }

    /// Whether the folder looks different from the last time.
    pub fn look(&mut self) -> bool {
        let seen = look(&self.folder);
        if seen.0 != self.seen.0 && seen.0.is_some() {
            // Another folder of the same name: the events are still those of the old one.
            self.attach();
        }
        let differs = seen != self.seen;
        self.seen = seen;
        differs
    }

    fn attach(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        let _ = watcher.unwatch(&self.folder);
        if let Err(error) = watcher.watch(&self.folder, RecursiveMode::NonRecursive) {
            no_events(&self.folder, &error);
        }
    }
}

fn no_events(folder: &Path, error: &notify::Error) {
    let folder = folder.display();
    tracing::warn!(%folder, %error, "no events of the plugins folder: it is looked at each second");
}

/// Reading the files must not look like a change of them.
fn is_hint(event: &Event) -> bool {
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => {}
        EventKind::Access(_) => return false,
        _ => {}
    }
    event.paths.is_empty() || event.paths.iter().any(|path| is_ours(path))
}

/// A plugin, the configuration, or the link by which Kubernetes swaps all files at once.
fn is_ours(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
    name == FILE_NAME || name == "..data" || is_plugin(name)
}

fn is_plugin(name: &str) -> bool {
    name.ends_with(".wasm") && !name.starts_with('.')
}

fn look(folder: &Path) -> Seen {
    let identity = std::fs::metadata(folder).ok().map(|folder| (folder.dev(), folder.ino()));
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name != FILE_NAME && !is_plugin(&name) {
            continue;
        }
        // Of what a link points to.
        if let Ok(file) = std::fs::metadata(entry.path()) {
            files.insert(name, (file.dev(), file.ino(), file.len(), file.modified().ok()));
        }
    }
    (identity, files)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    use super::*;

    /// Longer than any event takes.
    const SOON: Duration = Duration::from_secs(10);

    fn watched(folder: &Path) -> (Watch, Receiver<()>) {
        let (sender, hints) = channel();
        let watch = Watch::start(folder, move || _ = sender.send(()));
        (watch, hints)
    }

    #[test]
    fn each_way_of_saving_is_heard_of_and_seen() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("plugins");
        fs::create_dir(&folder).expect("a folder");
        let (mut watch, hints) = watched(&folder);
        let mut check = |what: &str, save: &dyn Fn()| {
            while hints.try_recv().is_ok() {}
            save();
            hints.recv_timeout(SOON).unwrap_or_else(|_| panic!("{what}: no event"));
            assert!(watch.look(), "{what}: not seen");
        };
        let (file, other) = (folder.join("a.wasm"), root.path().join("a.wasm"));
        check("made", &|| fs::write(&file, "1").expect("written"));
        check("written in place", &|| fs::write(&file, "12").expect("written"));
        check("moved over it", &|| {
            fs::write(&other, "34").expect("written");
            fs::rename(&other, &file).expect("moved");
        });
        check("copied over it", &|| {
            fs::write(&other, "567").expect("written");
            fs::copy(&other, &file).expect("copied");
        });
        check("deleted", &|| fs::remove_file(&file).expect("removed"));
    }

    #[test]
    fn files_of_others_are_no_hints() {
        let root = tempfile::tempdir().expect("a folder");
        let (mut watch, hints) = watched(root.path());
        fs::write(root.path().join("notes.txt"), "1").expect("written");
        fs::write(root.path().join(".a.wasm.swp"), "1").expect("written");
        fs::create_dir(root.path().join("filter")).expect("a folder");
        fs::write(root.path().join("filter/filter.wasm"), "1").expect("written");
        assert!(!watch.look());
        // What follows in the same queue is the first to be heard of.
        fs::write(root.path().join(FILE_NAME), "").expect("written");
        hints.recv_timeout(SOON).expect("an event");
        assert!(watch.look() && !watch.look());
    }

    #[test]
    fn the_links_of_kubernetes_and_a_link_in_the_place_of_the_folder_are_seen() {
        let root = tempfile::tempdir().expect("a folder");
        let at = |name: &str| root.path().join(name);
        for version in ["one", "two"] {
            fs::create_dir(at(version)).expect("a folder");
            fs::write(at(version).join("a.wasm"), version).expect("written");
        }
        fs::create_dir(at("mounted")).expect("a folder");
        symlink("../one", at("mounted/..data")).expect("a link");
        symlink("..data/a.wasm", at("mounted/a.wasm")).expect("a link");
        let (mut watch, hints) = watched(&at("mounted"));
        symlink("../two", at("mounted/..tmp")).expect("a link");
        fs::rename(at("mounted/..tmp"), at("mounted/..data")).expect("moved");
        hints.recv_timeout(SOON).expect("an event");
        assert!(watch.look());

        symlink("one", at("plugins")).expect("a link");
        let (mut watch, hints) = watched(&at("plugins"));
        symlink("two", at("tmp")).expect("a link");
        fs::rename(at("tmp"), at("plugins")).expect("moved");
        assert!(watch.look());
        while hints.try_recv().is_ok() {}
        fs::write(at("two/a.wasm"), "three").expect("written");
        hints.recv_timeout(SOON).expect("an event of the new folder");
    }
}
