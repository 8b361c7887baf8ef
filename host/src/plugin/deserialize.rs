//! The one call into wasmtime that is `unsafe`.
#![allow(unsafe_code, reason = "machine code is loaded; the safety argument is at the call")]

use std::path::Path;

use wasmtime::component::Component;

/// Maps a compiled component. The caller, [`super::cache::Cache`], has made sure that only the
/// user of this process could have written `path`, and that it holds what this program once wrote.
pub(super) fn deserialize(engine: &wasmtime::Engine, path: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the file must be the unchanged output of `Component::serialize`. `Cache` only gives
    // out files whose SHA-256 is the one in their name, that belong to this user and are writable
    // by nobody else, in a folder of which the same holds; who can write there can also change
    // this program. wasmtime itself refuses the output of other versions and configurations.
    unsafe { Component::deserialize_file(engine, path) }
}
