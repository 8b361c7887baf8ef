//! What a rule of the pipeline is written with: a type with typed settings, a plan and a judgement
//! of batches. [`export!`] makes a component of it; without that it is plain Rust, which tests and
//! benchmarks call natively.
//!
//! A rule gets columns: each distinct value of a field once, and an index that says which event has
//! which. Answer once per distinct value wherever one column decides ([`keep_where`],
//! [`change_by_value`]), and combine bits per distinct value where several do ([`combine()`]).
//!
//! ```
//! use pipeline_sdk::{Batch, Plan, Pointer, Rule, Value, Verdict, keep_where};
//!
//! /// Keeps the events of one region.
//! struct Region {
//!     settings: Settings,
//! }
//!
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Settings {
//!     field: Pointer,
//!     region: String,
//! }
//!
//! impl Rule for Region {
//!     type Settings = Settings;
//!
//!     fn new(settings: Settings) -> Result<Self, String> {
//!         Ok(Self { settings })
//!     }
//!
//!     fn plan(&self) -> Plan {
//!         let mut plan = Plan::default();
//!         plan.read(&self.settings.field);
//!         plan
//!     }
//!
//!     fn evaluate(&mut self, batch: &Batch<'_>) -> Verdict {
//!         let region = Value::Text(&self.settings.region);
//!         Verdict { fates: keep_where(batch, 0, |value| value == region), changes: Vec::new() }
//!     }
//! }
//!
//! pipeline_sdk::export!(Region);
//! ```

mod answer;
pub mod bindings;
mod column;
mod combine;
pub mod component;
mod configure;
pub mod log;
mod node;
mod plan;
mod problems;
mod settings;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod transform;

pub use answer::{EditList, change_by_value, change_constant, fates_by_value, keep_where};
pub use bindings::exports::pipeline::plugin::rules::{
    Change, Edit, Edits, Fate, Fates, Form, Index, Plan, Read, Source, Verdict,
};
pub use bindings::pipeline::plugin::events::{Packed, Value as OwnedValue};
pub use column::{Batch, Column, Value};
pub use combine::{Bits, Combined, combine};
pub use configure::configure;
pub use problems::{Problems, pointer_to};
pub use settings::{OneOf, Pointer, Range, Scalar};

/// A rule: made from its settings, and asked batch after batch.
///
/// What it answers must depend on the batch and the settings alone. It may keep caches; it may keep
/// no state, for the host throws instances away and runs many side by side.
pub trait Rule: Sized + 'static {
    /// The stage's `[stage.settings]` table. Derive `Deserialize` with
    /// `#[serde(deny_unknown_fields)]`, so that a mistyped setting is an error. Everything that serde
    /// finds wrong is told at once, each with its place.
    type Settings: serde::de::DeserializeOwned;

    /// Checks what serde cannot, and prepares. The error has one problem a line, each with its place
    /// and how to mend it: collect them in [`Problems`], so that all are told at once.
    fn new(settings: Self::Settings) -> Result<Self, String>;

    /// What the rule reads and writes: asked once, after [`Rule::new`].
    fn plan(&self) -> Plan;

    /// Judges one batch, whose columns are the plan's reads in their order.
    fn evaluate(&mut self, batch: &Batch<'_>) -> Verdict;
}

/// Makes a component of a rule, where it is compiled to wasm; natively it expands to nothing, so
/// that many rules can be linked into one program.
///
/// `export!(Rule)` imports the host's log, and a panic says there what happened and where.
/// `export!(Rule, silent)` imports nothing: a panic is a bare `unreachable`.
#[macro_export]
macro_rules! export {
    ($rule:ty) => {
        $crate::export!($rule, $crate::log::report_panics());
    };
    ($rule:ty, silent) => {
        $crate::export!($rule, ());
    };
    ($rule:ty, $start:expr) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "exports of the canonical ABI")]
        const _: () = {
            use $crate::bindings::exports::pipeline::plugin::rules;

            std::thread_local! {
                static RULE: std::cell::RefCell<Option<$rule>> =
                    const { std::cell::RefCell::new(None) };
            }

            struct Component;

            impl rules::Guest for Component {
                fn configure(settings: String) -> Result<rules::Plan, String> {
                    $start;
                    RULE.with_borrow_mut(|rule| $crate::component::configure(rule, &settings))
                }

                fn evaluate(batch: rules::Batch) -> rules::Verdict {
                    RULE.with_borrow_mut(|rule| $crate::component::evaluate(rule, &batch))
                }
            }

    $crate::bindings::export_rules!(Component with_types_in $crate::bindings);
        };
    };
}
