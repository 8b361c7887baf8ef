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

/// The other world. What is common to both is that of the first.
pub mod transform {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "transform",
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "export_transform",
        default_bindings_module: "pipeline_sdk::bindings::transform",
        with: {
            "pipeline:plugin/log@0.1.0": crate::bindings::pipeline::plugin::log,
            "pipeline:plugin/events@0.1.0": crate::bindings::pipeline::plugin::events,
        },
    });
}
