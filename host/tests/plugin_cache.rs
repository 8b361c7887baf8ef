//! Compiled plugins on disk: found again, never trusted blindly, never an error.

mod plugin_support;

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use host::plugin::{Engine, LoadLimits, Plugin};
use plugin_support::{ANSWER, component, rule_core};

fn load(cache: &Path) -> Plugin {
    let bytes = component("rule", &rule_core(ANSWER, ANSWER, "", ""));
    let engine = Engine::new(Some(cache)).expect("engine");
    let plugin = engine.load_bytes("a.wasm", &bytes, LoadLimits::default()).expect("a plugin");
    plugin.configure("{}", "stage", "topic", &Default::default()).expect("configured");
    plugin
}

fn files(cache: &Path) -> Vec<PathBuf> {
    fs::read_dir(cache).expect("folder").map(|entry| entry.expect("entry").path()).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("metadata").permissions().mode() & 0o777
}

#[test]
fn the_second_start_does_not_compile() {
    let folder = tempfile::tempdir().expect("folder");
    let cache = folder.path().join("state/compiled");
    assert!(!load(&cache).from_cache());
    assert!(load(&cache).from_cache());
    let [file] = &files(&cache)[..] else { panic!("one file: {:?}", files(&cache)) };
    assert_eq!((mode(&cache), mode(file)), (0o700, 0o600));
}

/// Damages the one file there is, and expects it to be replaced by a good one.
#[track_caller]
fn check_damage(damage: impl FnOnce(&Path)) {
    let cache = tempfile::tempdir().expect("folder");
    load(cache.path());
    damage(&files(cache.path())[0]);
    assert!(!load(cache.path()).from_cache());
    assert!(load(cache.path()).from_cache());
    assert_eq!(files(cache.path()).len(), 1);
}

#[test]
fn a_damaged_file_is_compiled_anew() {
    check_damage(|file| {
        let mut bytes = fs::read(file).expect("read");
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        fs::write(file, bytes).expect("written");
    });
    check_damage(|file| {
        let bytes = fs::read(file).expect("read");
        fs::write(file, &bytes[..bytes.len() / 2]).expect("written");
    });
    check_damage(|file| fs::write(file, b"").expect("written"));
}

#[test]
fn a_file_that_others_can_write_is_compiled_anew() {
    check_damage(|file| fs::set_permissions(file, Permissions::from_mode(0o620)).expect("mode"));
}

#[test]
fn a_link_is_compiled_anew() {
    let elsewhere = tempfile::tempdir().expect("folder");
    check_damage(|file| {
        let target = elsewhere.path().join("code");
        fs::rename(file, &target).expect("moved");
        std::os::unix::fs::symlink(target, file).expect("linked");
    });
}

#[test]
fn a_folder_that_others_can_write_is_not_used() {
    let cache = tempfile::tempdir().expect("folder");
    load(cache.path());
    fs::set_permissions(cache.path(), Permissions::from_mode(0o777)).expect("mode");
    assert!(!load(cache.path()).from_cache());
    fs::set_permissions(cache.path(), Permissions::from_mode(0o755)).expect("mode");
    assert!(load(cache.path()).from_cache());
}

#[test]
fn a_folder_that_cannot_be_made_is_done_without() {
    let file = tempfile::NamedTempFile::new().expect("file");
    assert!(!load(&file.path().join("compiled")).from_cache());
}

#[test]
fn old_files_are_deleted_and_those_in_use_stay() {
    let cache = tempfile::tempdir().expect("folder");
    let old = |name: String, age: u64| {
        let path = cache.path().join(name);
        let time = SystemTime::now() - Duration::from_secs(age);
        File::create(&path).and_then(|file| file.set_modified(time)).expect("file");
        path
    };
    let others: Vec<_> =
        (0..80).map(|number| old(format!("{number}.cwasm"), 60 + number)).collect();
    let (left_behind, being_written) = (old(".new-1".into(), 7_200), old(".new-2".into(), 60));
    let stranger = old("README".into(), 1_000_000);
    load(cache.path());
    let kept = others.iter().take_while(|path| path.exists()).count();
    assert_eq!(kept, 63);
    assert!(others[kept..].iter().all(|path| !path.exists()));
    assert!(!left_behind.exists() && being_written.exists() && stranger.exists());
    assert!(load(cache.path()).from_cache());
}
