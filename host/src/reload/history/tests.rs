//! The store, and what is put back from it, on a real folder.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use super::store::sha256;
use super::*;
use crate::pipeline::Files;

const TOML: &str = "[source]\ntopic = \"in\"\n[[stage]]\nplugin = \"own\"\n";

struct Place {
    root: tempfile::TempDir,
    store: Store,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a folder");
        fs::create_dir(root.path().join("plugins")).expect("a folder");
        let store = Store::new(&root.path().join("state"));
        Self { root, store }
    }

    fn plugins(&self) -> PathBuf {
        self.root.path().join("plugins")
    }

    fn entry(&self, outcome: Outcome, hash: &str, process: &str, generation: u64) -> Entry {
        Entry {
            plugins: folder_name(&self.plugins()),
            run: Some(Run {
                pipeline: "p".to_owned(),
                instance: process.split('-').next().unwrap_or_default().to_owned(),
                process: process.to_owned(),
                generation,
            }),
            hash: Some(hash.to_owned()),
            content: format!("c{hash}"),
            changes: String::new(),
            outcome,
        }
    }

    /// Keeps a generation whose plugin has these bytes; its number.
    fn keep(&self, outcome: Outcome, own: &str) -> u64 {
        let entry = self.entry(outcome, &sha256(own.as_bytes())[..12], "a-1", 1);
        self.store.add(entry, &files(own)).expect("a good folder")
    }

    fn records(&self) -> Vec<Record> {
        self.store.records(&folder_name(&self.plugins())).expect("they can be read")
    }

    fn record(&self, number: u64) -> Record {
        self.records().into_iter().find(|record| record.number == number).expect("it is kept")
    }

    fn numbers(&self) -> Vec<u64> {
        self.records().iter().map(|record| record.number).collect()
    }

    fn write(&self, own: &str) {
        for (name, bytes) in files(own) {
            fs::write(self.plugins().join(name), bytes).expect("written");
        }
    }

    fn own(&self) -> String {
        fs::read_to_string(self.plugins().join("own.wasm")).expect("it is there")
    }

    fn prune(&self, contents_max: usize) {
        self.store.prune(&folder_name(&self.plugins()), contents_max).expect("a good folder");
    }

    fn blobs(&self) -> usize {
        fs::read_dir(self.root.path().join("state/history/blobs")).expect("a folder").count()
    }
}

fn files(own: &str) -> Files {
    Files::from([
        ("pipeline.toml".to_owned(), TOML.as_bytes().to_vec()),
        ("own.wasm".to_owned(), own.as_bytes().to_vec()),
    ])
}

#[test]
fn what_is_kept_is_there_again_and_its_owners_alone() {
    let place = Place::new();
    assert!(place.records().is_empty());
    assert_eq!((place.keep(Outcome::Started, "one"), place.keep(Outcome::Offered, "two")), (1, 2));
    place.store.note(2, Outcome::RolledBack, Some("why".to_owned())).expect("it is there");
    place.store.note(9, Outcome::Passed, None).expect("what is gone is nothing to note");
    let second = place.record(2);
    assert_eq!((second.outcome, second.reason.as_deref()), (Outcome::RolledBack, Some("why")));
    assert_eq!(place.store.files(&second).expect("they are there"), files("two"));
    assert_eq!((place.numbers(), place.blobs()), (vec![2, 1], 3));
    let repeated = place.store.repeat(place.entry(Outcome::Passed, "h", "a-1", 3), 1);
    assert_eq!(place.record(repeated.expect("it is there")).files, place.record(1).files);
    let mut folders = vec![place.root.path().join("state/history")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let mode = entry.metadata().expect("it is there").permissions().mode();
            assert_eq!(mode & 0o077, 0, "{:?}", entry.path());
            folders.extend(entry.path().is_dir().then(|| entry.path()));
        }
    }
}

#[test]
fn old_generations_and_files_that_none_has_are_removed() {
    let place = Place::new();
    for own in ["one", "two", "one", "three"] {
        place.keep(Outcome::Offered, own);
    }
    // Another folder's are its own.
    let elsewhere =
        Entry { plugins: "/elsewhere".into(), ..place.entry(Outcome::Started, "h", "b-1", 1) };
    place.store.add(elsewhere, &files("zero")).expect("a good folder");
    fs::write(place.root.path().join("state/history/blobs/left.new"), "half").expect("written");
    place.prune(2);
    assert_eq!((place.numbers(), place.blobs()), (vec![4, 3, 1], 4));
    assert_eq!(place.keep(Outcome::Offered, "four"), 6);
    place.prune(1);
    assert_eq!((place.numbers(), place.blobs()), (vec![6], 3));
    assert_eq!(place.store.records("/elsewhere").expect("they can be read").len(), 1);
}

#[test]
fn a_process_that_starts_again_and_again_has_one_record() {
    let place = Place::new();
    place.keep(Outcome::Started, "one");
    place.keep(Outcome::Started, "one");
    assert_eq!(place.numbers(), [2]);
    let other = place.entry(Outcome::Started, "h", "b-1", 1);
    place.store.add(other, &files("one")).expect("a good folder");
    place.keep(Outcome::Offered, "two");
    place.keep(Outcome::Started, "two");
    assert_eq!(place.numbers(), [5, 4, 3, 2]);
}

#[test]
fn what_a_live_process_runs_is_known_and_kept() {
    let place = Place::new();
    let process = place.store.enter("a").expect("a good folder");
    let add = |outcome, own: &str| {
        let entry = place.entry(outcome, own, &process.name, 1);
        place.store.add(entry, &files(own)).expect("a good folder")
    };
    add(Outcome::Started, "one");
    add(Outcome::RolledBack, "two");
    place.keep(Outcome::Offered, "three");
    let running = || running(&place.records(), |process| place.store.is_running(process));
    assert_eq!(running(), [1]);
    place.prune(1);
    assert_eq!(place.numbers(), [3, 1]);
    drop(process);
    assert!(running().is_empty());
    place.prune(1);
    assert_eq!(place.numbers(), [3]);
}

#[test]
fn files_come_back_and_what_they_replace_is_saved_once() {
    let place = Place::new();
    place.keep(Outcome::Started, "one");
    place.write("edited");
    fs::write(place.plugins().join("other.wasm"), "stays").expect("written");
    let done = place.store.put_back(&place.plugins(), &place.record(1)).expect("a good folder");
    assert_eq!((done.saved, &*done.written), (Some(2), &["own.wasm".to_owned()][..]));
    assert_eq!(place.own(), "one");
    let saved = place.record(2);
    assert_eq!((saved.outcome, saved.run.as_ref()), (Outcome::Saved, None));
    let back = place.store.put_back(&place.plugins(), &saved).expect("a good folder");
    assert_eq!((back.saved, place.own().as_str()), (None, "edited"));
    let again = place.store.put_back(&place.plugins(), &saved).expect("a good folder");
    assert!(again.written.is_empty() && again.saved.is_none());
    // Another pipeline.toml that does not use the plugin: it would be lost with its file.
    fs::write(place.plugins().join("pipeline.toml"), "not TOML [").expect("written");
    place.write_only("own.wasm", "unused");
    let done = place.store.put_back(&place.plugins(), &place.record(1)).expect("a good folder");
    let saved = place.store.files(&place.record(done.saved.expect("saved"))).expect("whole");
    assert_eq!(saved["own.wasm"], b"unused");
    assert_eq!(done.written, ["own.wasm", "pipeline.toml"]);
    let left: Vec<_> = fs::read_dir(place.plugins()).expect("a folder").flatten().collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

impl Place {
    fn write_only(&self, name: &str, text: &str) {
        fs::write(self.plugins().join(name), text).expect("written");
    }
}

#[test]
fn a_folder_that_is_gone_is_made_again() {
    let place = Place::new();
    place.keep(Outcome::Started, "one");
    fs::remove_dir(place.plugins()).expect("it is empty");
    let done = place.store.put_back(&place.plugins(), &place.record(1)).expect("a good folder");
    assert_eq!((done.saved, place.own().as_str()), (None, "one"));
    assert_eq!(done.written, ["own.wasm", "pipeline.toml"]);
}

#[test]
fn a_link_gives_way_and_is_told() {
    let place = Place::new();
    place.keep(Outcome::Started, "one");
    place.write("two");
    let target = place.root.path().join("built.wasm");
    fs::rename(place.plugins().join("own.wasm"), &target).expect("moved");
    symlink(&target, place.plugins().join("own.wasm")).expect("a link");
    let done = place.store.put_back(&place.plugins(), &place.record(1)).expect("a good folder");
    assert_eq!(done.links, [("own.wasm".to_owned(), target.clone())]);
    assert_eq!((place.own().as_str(), &*fs::read(target).expect("it stays")), ("one", &b"two"[..]));
}

#[test]
fn damaged_files_and_names_outside_of_the_folder_are_refused() {
    let place = Place::new();
    place.keep(Outcome::Started, "one");
    let record = place.record(1);
    let mut files = record.files.clone();
    let digest = files.remove("own.wasm").expect("it has one");
    files.insert("../own.wasm".to_owned(), digest.clone());
    let outside = Record { files, ..record.clone() };
    let error = place.store.put_back(&place.plugins(), &outside).expect_err("a way out");
    assert!(matches!(error, PutBackError::Gone { number: 1, .. }), "{error:?}");
    let blob = place.root.path().join("state/history/blobs").join(digest);
    fs::write(blob, "other").expect("written");
    let error = place.store.put_back(&place.plugins(), &record).expect_err("damaged");
    assert!(matches!(error, PutBackError::Gone { number: 1, .. }), "{error:?}");
    assert!(!place.plugins().join("pipeline.toml").exists());
}

#[test]
fn a_generation_is_found_by_its_number_its_hash_or_as_the_one_before() {
    let place = Place::new();
    for (outcome, own) in [
        (Outcome::Started, "one"),
        (Outcome::Passed, "two"),
        (Outcome::RolledBack, "three"),
        (Outcome::Passed, "two"),
    ] {
        place.keep(outcome, own);
    }
    let records = place.records();
    let number = |found: Result<&Record, ChoiceError>| found.map(|record| record.number);
    let hash = |own: &str| sha256(own.as_bytes())[..6].to_owned();
    assert_eq!(number(find(&records, "2")), Ok(2));
    assert_eq!(number(find(&records, &hash("two"))), Ok(4));
    assert_eq!(number(find(&records, &hash("three").to_uppercase())), Ok(3));
    assert_eq!(find(&records, "7"), Err(ChoiceError::Unknown("7".to_owned())));
    assert!(find(&records, "c").is_err());
    let before = |own: &str| {
        place.write(own);
        let folder = Folder::read(&place.plugins(), ["own.wasm".to_owned()]).expect("a folder");
        number(previous(&records, &folder))
    };
    assert_eq!(before("two"), Ok(1));
    assert_eq!(before("three"), Ok(4), "given up in the folder: back to what runs");
    assert_eq!(before("one"), Ok(4));
    assert_eq!(given_up(&records, &records[1]), Some("for no known reason"));
    assert_eq!(given_up(&records, &records[0]), None);
    let only = &records[3..];
    place.write("one");
    let folder = Folder::read(&place.plugins(), ["own.wasm".to_owned()]).expect("a folder");
    assert_eq!(number(previous(only, &folder)), Err(ChoiceError::None));
}
