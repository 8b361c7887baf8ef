//! The host's side of `wit/`, generated. Nothing else in the host spells out a WIT type.
#![allow(unsafe_code, reason = "generated: wasmtime's traits for lifting and lowering are unsafe")]
#![allow(missing_docs, reason = "generated; what the WIT documents is documented there")]

/// World `rule`.
pub mod rule {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "rule",
        // A batch goes down as slices of the host's own columns.
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

/// World `transform`.
pub mod transform {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "transform",
        // Its one type in use; generated for this world alone, the others would not compile.
        with: { "pipeline:plugin/events": super::rule::pipeline::plugin::events },
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}
