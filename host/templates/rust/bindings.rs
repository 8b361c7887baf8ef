//! What `wit-bindgen` makes of `wit/`: the only generated code, and the only `unsafe` of a plugin.
#![allow(unsafe_code, reason = "the canonical ABI passes raw pointers; nothing here is by hand")]
#![allow(missing_docs, reason = "the WIT's own documentation stands at the types")]
#![allow(clippy::all, reason = "generated")]

{{rule}}
/// The other world. What is common to both is that of the first.
pub mod transform {
{{transform}}
}
