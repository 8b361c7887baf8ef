//! What a plugins folder holds at one moment: each file read once and whole, so that what is
//! checked is what runs, whatever happens to the folder meanwhile.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use crate::config::Draft;
use crate::plugin::{self, LoadError, LoadLimits};

/// Files by their name in the plugins folder, whole.
pub type Files = BTreeMap<String, Vec<u8>>;

/// A draft with the files of its plugins.
pub struct Content {
    pub(super) draft: Draft,
    /// By name of the plugin; a file that cannot be read is content as well.
    pub(super) plugins: BTreeMap<String, Result<Vec<u8>, LoadError>>,
    hash: String,
}

impl Content {
    /// Reads what the draft names, and takes a default plugin that is missing from this program if
    /// `with_defaults`. Nothing fails here: that a file is missing or too large is for whoever makes
    /// a generation of it.
    pub(super) fn read(path: impl Fn(&str) -> PathBuf, draft: Draft, with_defaults: bool) -> Self {
        let limits = load_limits(&draft);
        let mut plugins = BTreeMap::new();
        for stage in draft.all_stages() {
            plugins.entry(stage.plugin.clone()).or_insert_with(|| {
                let file = plugin::read(&path(&stage.plugin), limits);
                match (file, plugin::defaults::default(&stage.plugin)) {
                    (Err(error), Some(component)) if with_defaults && error.is_missing() => {
                        Ok(component.to_vec())
                    }
                    (file, _) => file,
                }
            });
        }
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        part(draft.text().as_bytes());
        for (name, file) in &plugins {
            part(name.as_bytes());
            match file {
                Ok(bytes) => part(bytes),
                Err(error) => part(error.to_string().as_bytes()),
            }
        }
        let hash = short(&hash.finalize());
        Self { draft, plugins, hash }
    }

    /// What names the files across processes, a comment in `pipeline.toml` included.
    pub fn hash(&self) -> &str {
        &self.hash
    }
}

pub(super) fn load_limits(draft: &Draft) -> LoadLimits {
    LoadLimits { file_bytes: draft.limits().wasm_file }
}

/// The first 12 hexadecimal digits.
pub(super) fn short(digest: &[u8]) -> String {
    digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}
