//! Rewriting whole records: what a `transform` is written with.

pub use crate::bindings::transform::exports::pipeline::plugin::transforms::{
    Header, KafkaRecord, Outcome, Output,
};

/// A transform: made from its settings, and asked batch after batch. [`export_transform!`] makes a
/// component of it.
///
/// What it answers must depend on the records, the time and the settings alone. It may keep caches;
/// it may keep no state, for the host throws instances away and runs many side by side.
///
/// ```
/// use pipeline_sdk::transform::{KafkaRecord, Outcome, Transform};
///
/// /// Leaves out records that are too long.
/// struct Short {
///     bytes_max: usize,
/// }
///
/// #[derive(serde::Deserialize)]
/// #[serde(deny_unknown_fields, rename_all = "kebab-case")]
/// struct Settings {
///     bytes_max: usize,
/// }
///
/// impl Transform for Short {
///     type Settings = Settings;
///
///     fn new(settings: Settings) -> Result<Self, String> {
///         Ok(Self { bytes_max: settings.bytes_max })
///     }
///
///     fn transform(&mut self, record: KafkaRecord, _now: i64) -> Outcome {
///         if record.value.len() > self.bytes_max { Outcome::Drop } else { Outcome::Pass }
///     }
/// }
///
/// pipeline_sdk::export_transform!(Short);
/// ```
///
/// [`export_transform!`]: crate::export_transform
pub trait Transform: Sized + 'static {
    /// As those of a [`Rule`](crate::Rule).
    type Settings: serde::de::DeserializeOwned;

    /// As that of a [`Rule`](crate::Rule::new).
    fn new(settings: Self::Settings) -> Result<Self, String>;

    /// What becomes of a record. `now` is the time of processing in milliseconds since 1970, the
    /// same for all records of a batch.
    fn transform(&mut self, record: KafkaRecord, now: i64) -> Outcome;
}

/// Makes the transform from its settings, one JSON object. The error has every problem that was
/// found, one a line.
pub fn configure<T: Transform>(settings: &str) -> Result<T, String> {
    crate::configure::read_with(settings, T::new)
}

/// Makes a component of a [`Transform`], as [`export!`](crate::export) does of a rule.
#[macro_export]
macro_rules! export_transform {
    ($transform:ty) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "exports of the canonical ABI")]
        const _: () = {
            use $crate::bindings::transform::exports::pipeline::plugin::transforms;

            std::thread_local! {
                static TRANSFORM: std::cell::RefCell<Option<$transform>> =
                    const { std::cell::RefCell::new(None) };
            }

            struct Component;

            impl transforms::Guest for Component {
                fn configure(settings: String) -> Result<(), String> {
                    $crate::log::report_panics();
                    let made = $crate::transform::configure::<$transform>(&settings)?;
                    TRANSFORM.set(Some(made));
                    Ok(())
                }

                fn transform(
                    records: Vec<transforms::KafkaRecord>,
                    now: i64,
                ) -> Vec<transforms::Outcome> {
                    use $crate::transform::Transform as _;
                    TRANSFORM.with_borrow_mut(|made| {
                        let made = made.as_mut().expect("the host configures before it transforms");
                        records.into_iter().map(|record| made.transform(record, now)).collect()
                    })
                }
            }

            $crate::bindings::transform::export_transform!(
                Component with_types_in $crate::bindings::transform
            );
        };
    };
}
