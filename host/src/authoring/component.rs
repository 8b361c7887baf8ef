//! A core module into a component.

use wasm_metadata::AddMetadata;
use wasmparser::{Parser, Payload};
use wit_component::ComponentEncoder;

use super::error::BuildError;
use crate::plugin::World;

/// What a module built for WASI preview 1 wants, answered inside the component: clocks, random
/// numbers and an empty environment; what it prints goes to the host's log, a line each. So the
/// component imports nothing but the log, and no call leaves it in the middle of an allocation,
/// which the official adapter's do (a Go guest traps by it when its garbage collector starts there:
/// <https://github.com/bytecodealliance/wasmtime/issues/14318>).
const PREVIEW1: &str = include_str!("preview1.wat");

/// For a module that says of which world it is, and imports nothing else.
pub(super) fn encode(module: &[u8]) -> Result<Vec<u8>, BuildError> {
    let encoder = ComponentEncoder::default().validate(true).module(module);
    encoder.and_then(|mut encoder| encoder.encode()).map_err(failed)
}

/// The same for a module built for WASI preview 1, whose allocator bears that memory grows elsewhere.
pub(super) fn encode_preview1(module: &[u8]) -> Result<Vec<u8>, BuildError> {
    encode_with(module, PREVIEW1)
}

/// The same for a module of Go's, which takes all that memory grows by for its own, whoever grew it.
/// Its linker leaves 8 KiB behind the first 4 free, for arguments that there are none of here.
pub(super) fn encode_go(module: &[u8]) -> Result<Vec<u8>, BuildError> {
    const NO_LINE: &str = "(global $line (mut i32) (i32.const 0))";
    debug_assert!(PREVIEW1.contains(NO_LINE), "the adapter has no other place for its line");
    encode_with(module, &PREVIEW1.replace(NO_LINE, "(global $line (mut i32) (i32.const 4096))"))
}

/// Of a component itself, or of a module by the canonical ABI, which need not say of which world it
/// is.
pub(super) fn of_whatever(made: &[u8], world: World) -> Result<Vec<u8>, BuildError> {
    if Parser::is_component(made) {
        return Ok(made.to_owned());
    }
    match says_its_world(made)? {
        true => encode_preview1(made),
        false => encode_preview1(&super::bindings::with_world(made, world)?),
    }
}

/// Whether bindings that were generated left their section in it.
fn says_its_world(module: &[u8]) -> Result<bool, BuildError> {
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.map_err(failed)?;
        if matches!(payload, Payload::CustomSection(section) if section.name().starts_with("component-type"))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn encode_with(module: &[u8], adapter: &str) -> Result<Vec<u8>, BuildError> {
    let adapter = super::bindings::with_log(&wat::parse_str(adapter).map_err(failed)?)?;
    let encoder = ComponentEncoder::default().validate(true).module(module);
    let encoder = encoder.and_then(|encoder| encoder.adapter("wasi_snapshot_preview1", &adapter));
    encoder.and_then(|mut encoder| encoder.encode()).map_err(failed)
}

/// The same component, which says what it was written in, and with what tool of the language it was
/// made: some tools say neither, and what they put around the source says what that was written in.
pub(super) fn made_with(
    component: &[u8],
    language: &str,
    tool: Option<(&str, String)>,
) -> Result<Vec<u8>, BuildError> {
    let mut metadata = AddMetadata::default();
    metadata.language.push((language.to_owned(), String::new()));
    metadata.processed_by.extend(tool.map(|(name, version)| (name.to_owned(), version)));
    metadata.to_wasm(component).map_err(failed)
}

fn failed(error: impl Into<anyhow::Error>) -> BuildError {
    BuildError::Component(format!("{:#}", error.into()))
}
