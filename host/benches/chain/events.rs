//! The events that the chains are measured with: login events of about 180 bytes.

use std::fmt::Write as _;

use host::chain::Record;
use host::demo::generate::{Generator, Mix, Spec};

/// How often values repeat in a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Values {
    /// Every field has one of 16 values.
    Few,
    /// As `host generate` makes them: users, addresses and devices differ, types, versions and
    /// locales repeat, times are a second apart each thousandth event.
    Logins,
    /// No value of any field comes twice.
    Distinct,
}

impl Values {
    pub const ALL: [Values; 3] = [Values::Few, Values::Logins, Values::Distinct];

    pub fn name(self) -> &'static str {
        match self {
            Values::Few => "few",
            Values::Logins => "logins",
            Values::Distinct => "distinct",
        }
    }

    /// So many events.
    pub fn events(self, count: usize) -> Vec<Vec<u8>> {
        match self {
            Values::Logins => logins(count),
            Values::Few => (0..count).map(|n| event(n * 7 % 16)).collect(),
            Values::Distinct => (0..count).map(event).collect(),
        }
    }
}

fn logins(count: usize) -> Vec<Vec<u8>> {
    let spec = Spec { seed: 1, start_ms: 1_694_479_551_000, rate: 1_000, ..Spec::default() };
    let mut generator = Generator::new(Spec { mix: Mix::default(), ..spec });
    (0..count).map(|_| generator.advance().value.to_vec()).collect()
}

/// An event none of whose values is one of another number.
fn event(n: usize) -> Vec<u8> {
    const DEVICES: [&str; 4] = ["android", "iOS", "tablet", "desktop"];
    const LOCALES: [&str; 4] = ["US", "RU", "DE", "BR"];
    let own = |name: &str| if n < 4 { name.to_owned() } else { format!("{name}{n}") };
    let mut text = String::with_capacity(200);
    write!(
        text,
        r#"{{"user_id":"424cdd21-063a-43a7-b91b-{:012x}","app_version":"2.{}.{}","#,
        n,
        n / 100,
        n % 100,
    )
    .and_then(|()| {
        write!(
            text,
            r#""device_type":"{}","ip":"199.{}.{}.{}","locale":"{}","#,
            own(DEVICES[n % 4]),
            n >> 16 & 255,
            n >> 8 & 255,
            n & 255,
            own(LOCALES[n % 4]),
        )
    })
    .and_then(|()| {
        write!(text, r#""device_id":"593-47-{n:04}","timestamp":{}}}"#, 1_694_479_551 + n)
    })
    .expect("a String takes all");
    text.into_bytes()
}

/// The records of these values, dealt out to so many partitions.
pub fn records(values: &[Vec<u8>], partitions: i32) -> Vec<Record<'_>> {
    let mut records = Vec::with_capacity(values.len());
    for (offset, value) in values.iter().enumerate() {
        records.push(Record {
            key: Some(b"424cdd21-063a-43a7-b91b-7ca1a833afae"),
            value: Some(value),
            headers: &[],
            timestamp: Some(1_694_479_551_000),
            partition: offset as i32 % partitions,
            offset: offset as i64,
        });
    }
    records
}
