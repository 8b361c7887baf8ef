//! What `wit-bindgen` makes of `wit/`: the only generated code, and the only `unsafe` of a plugin.
#![allow(unsafe_code, reason = "the canonical ABI passes raw pointers; nothing here is by hand")]
#![allow(missing_docs, reason = "the WIT's own documentation stands at the types")]
#![allow(clippy::all, reason = "generated")]

wit_bindgen::generate!({
    path: "../../wit",
    world: "rule",
    additional_derives: [PartialEq],
    pub_export_macro: true,
    export_macro_name: "export_rules",
    default_bindings_module: "pipeline_sdk::bindings",
    generate_all,
});
