//! Maps the values of a field to categories, whatever their case, into another field.

use std::collections::BTreeMap;

use pipeline_sdk::{
    Batch, EditList, Plan, Pointer, Problems, Rule, Value, Verdict, change_by_value, pointer_to,
};
use serde::Deserialize;

/// What `device_type` means unless `map` says otherwise.
const DEVICES: [(&str, &str); 15] = [
    ("android", "Mobile"),
    ("ios", "Mobile"),
    ("iphone", "Mobile"),
    ("mobile", "Mobile"),
    ("phone", "Mobile"),
    ("smartphone", "Mobile"),
    ("ipad", "Tablet"),
    ("tablet", "Tablet"),
    ("chromeos", "Desktop"),
    ("desktop", "Desktop"),
    ("laptop", "Desktop"),
    ("linux", "Desktop"),
    ("mac", "Desktop"),
    ("macos", "Desktop"),
    ("windows", "Desktop"),
];

/// The settings table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Settings {
    /// `field = "/device_type"`
    field: Pointer,
    /// `into = "/device_category"`
    into: Pointer,
    /// `map = { android = "Mobile", ipad = "Tablet" }`
    map: Option<BTreeMap<String, String>>,
    /// `fallback = "Unknown"`, or `false` to write nothing
    fallback: Fallback,
}

impl Default for Settings {
    fn default() -> Self {
        let pointer = |text| Pointer::new(text).expect("it begins with a slash");
        Self {
            field: pointer("/device_type"),
            into: pointer("/device_category"),
            map: None,
            fallback: Fallback(Some("Unknown".to_owned())),
        }
    }
}

struct Fallback(Option<String>);

impl<'de> Deserialize<'de> for Fallback {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use pipeline_sdk::Scalar;
        match Scalar::deserialize(deserializer)? {
            Scalar::Text(text) => Ok(Self(Some(text))),
            Scalar::Boolean(false) => Ok(Self(None)),
            _ => Err(serde::de::Error::custom("give a text, or `false` to write nothing")),
        }
    }
}

/// The rule.
pub struct Categorize {
    settings: Settings,
    /// Keys in lower case.
    categories: BTreeMap<String, String>,
}

impl Rule for Categorize {
    type Settings = Settings;

    fn new(mut settings: Settings) -> Result<Self, String> {
        let mut categories = BTreeMap::new();
        let Some(map) = settings.map.take() else {
            let owned = DEVICES.map(|(value, category)| (value.to_owned(), category.to_owned()));
            return Ok(Self { settings, categories: owned.into() });
        };
        let mut problems = Problems::default();
        for (value, category) in map {
            let lower = value.to_lowercase();
            if categories.insert(lower, category).is_some() {
                let message =
                    format!("`{value}` is there twice, for case does not count: take one out");
                problems.add(pointer_to("/map", &value), message);
            }
        }
        problems.finish()?;
        Ok(Self { settings, categories })
    }

    fn plan(&self) -> Plan {
        let mut plan = Plan::default();
        plan.read(&self.settings.field);
        plan.write(&self.settings.into);
        plan
    }

    fn evaluate(&mut self, batch: &Batch<'_>) -> Verdict {
        let edit = |value: Value<'_>, edits: &mut EditList| match self.category(value) {
            Some(category) => edits.text(category),
            None => edits.leave(),
        };
        let change = change_by_value(batch, 0, 0, edit);
        Verdict { fates: None, changes: change.into_iter().collect() }
    }
}

impl Categorize {
    fn category(&self, value: Value<'_>) -> Option<&str> {
        let known = match value {
            Value::Text(text) => self.categories.get(text).or_else(|| {
                // Most values are in lower case already, and found without a copy.
                self.categories.get(&text.to_lowercase())
            }),
            _ => None,
        };
        known.or(self.settings.fallback.0.as_ref()).map(String::as_str)
    }
}

pipeline_sdk::export!(Categorize, silent);
