//! Login events, made up: the same seed gives the same bytes for ever. Does no I/O and reads no
//! clock; who sends them decides when.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Values with their weights; the weights of a set add up to [`WEIGHTS`].
type Weighted = [(&'static str, u32)];
const WEIGHTS: u32 = 100;

const DEVICE_TYPES: &Weighted =
    &[("android", 44), ("iOS", 33), ("desktop", 11), ("tablet", 9), ("smart-tv", 3)];
const APP_VERSIONS: &Weighted = &[
    ("2.3.0", 46),
    ("2.2.1", 19),
    ("2.2.0", 12),
    ("2.1.4", 9),
    ("2.0.9", 5),
    ("1.9.7", 5),
    ("3.0.0-beta.2", 4),
];
const LOCALES: &Weighted = &[
    ("US", 18),
    ("IN", 14),
    ("BR", 9),
    ("DE", 8),
    ("GB", 7),
    ("FR", 6),
    ("JP", 6),
    ("MX", 5),
    ("ID", 5),
    ("RU", 4),
    ("TR", 3),
    ("NG", 3),
    ("ES", 3),
    ("IT", 2),
    ("PL", 2),
    ("UA", 1),
    ("CA", 1),
    ("KR", 1),
    ("ZA", 1),
    ("KP", 1),
];

/// What the records are keyed by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Keys {
    /// No key: the client spreads the records over the partitions.
    None,
    /// The user: all logins of one user come to one partition.
    #[default]
    #[value(name = "user_id")]
    UserId,
    /// The device.
    #[value(name = "device_id")]
    DeviceId,
    /// The country: few keys, so unevenly filled partitions.
    Locale,
    /// The version of the app.
    #[value(name = "app_version")]
    AppVersion,
}

/// How the events go wrong. Every share is a probability per event, from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mix {
    /// Values that are not one JSON object: cut off, wrong quotes, an array, bytes that are no UTF-8.
    pub invalid: f64,
    /// Events that lack one field.
    pub missing: f64,
    /// Events with one field of a wrong type or format.
    pub malformed: f64,
    /// Events whose timestamp lies in the past, by 1 s to `late_by`.
    pub late: f64,
    /// The most that a late event is late; at least 1 s.
    pub late_by: Duration,
    /// Events that repeat, byte for byte, one of the [`RECENT`] before them that are no repetition.
    pub duplicates: f64,
    /// Every timestamp lies in the past by 0 to this, so that events come out of order.
    pub jitter: Duration,
}

/// What to generate.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// The seed.
    pub seed: u64,
    /// The time of the first event, in milliseconds since the epoch.
    pub start_ms: i64,
    /// Events per second of event time, at least 1.
    pub rate: u32,
    /// How many users there are, each with one device; 0: every event has a user of its own.
    pub users: u32,
    /// What the records are keyed by.
    pub keys: Keys,
    /// How the events go wrong.
    pub mix: Mix,
}

impl Default for Spec {
    /// A thousand good events a second from 10,000 users.
    fn default() -> Self {
        Self {
            seed: 1,
            start_ms: 0,
            rate: 1_000,
            users: 10_000,
            keys: Keys::default(),
            mix: Mix { late_by: Duration::from_secs(300), ..Mix::default() },
        }
    }
}

/// What an event is, if anything is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing is wrong, except that it may be late.
    Good,
    /// Not one JSON object.
    Invalid,
    /// One field is missing.
    Missing,
    /// One field has a wrong type or format.
    Malformed,
    /// A repetition.
    Duplicate,
}

/// One event, in the generator's own buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generated<'a> {
    /// The record's key.
    pub key: Option<&'a [u8]>,
    /// The record's value; never holds a line break.
    pub value: &'a [u8],
    /// When it is due, in milliseconds since the epoch; its own timestamp may be earlier.
    pub due_ms: i64,
    /// What is wrong with it.
    pub kind: Kind,
    /// Whether its timestamp was made one of a late event; not said of a repetition.
    pub is_late: bool,
}

/// A duplicate repeats one of so many events before it, themselves no duplicates.
pub const RECENT: usize = 64;

const FIELDS: u32 = 7;
const NO_FIELD: u32 = FIELDS;

/// Makes one event after the other, without an end.
#[derive(Debug)]
pub struct Generator {
    spec: Spec,
    rng: ChaCha8Rng,
    made: u64,
    key: Vec<u8>,
    value: Vec<u8>,
    /// The last events, if there are duplicates to be made.
    recent: Vec<(Vec<u8>, Vec<u8>)>,
    /// Which of them is the oldest.
    oldest: usize,
}

impl Generator {
    /// A generator at its first event.
    pub fn new(spec: Spec) -> Self {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&spec.seed.to_le_bytes());
        Self {
            rng: ChaCha8Rng::from_seed(seed),
            made: 0,
            key: Vec::with_capacity(64),
            value: Vec::with_capacity(256),
            recent: Vec::new(),
            oldest: 0,
            spec,
        }
    }

    /// The next event. Allocates nothing once the buffers have grown.
    pub fn advance(&mut self) -> Generated<'_> {
        let due_ms = due_ms(&self.spec, self.made);
        let number = self.made;
        self.made += 1;
        let duplicates = self.spec.mix.duplicates > 0.0;
        if duplicates && !self.recent.is_empty() && self.happens(self.spec.mix.duplicates) {
            let place = self.below(self.recent.len() as u32) as usize;
            let (key, value) = &self.recent[place];
            let keys = self.spec.keys;
            return generated(keys, key, value, due_ms, (Kind::Duplicate, false));
        }
        let made = self.make(number, due_ms);
        if duplicates {
            self.remember();
        }
        generated(self.spec.keys, &self.key, &self.value, due_ms, made)
    }

    fn remember(&mut self) {
        if self.recent.len() < RECENT {
            self.recent.push((self.key.clone(), self.value.clone()));
        } else {
            let (key, value) = &mut self.recent[self.oldest];
            key.clone_from(&self.key);
            value.clone_from(&self.value);
            self.oldest = (self.oldest + 1) % RECENT;
        }
    }

    /// What is wrong with the event, and whether it is late.
    fn make(&mut self, number: u64, due_ms: i64) -> (Kind, bool) {
        let kind = self.kind();
        let (missing, malformed) = match kind {
            Kind::Missing => (self.below(FIELDS), NO_FIELD),
            Kind::Malformed => (NO_FIELD, self.below(FIELDS)),
            _ => (NO_FIELD, NO_FIELD),
        };
        let (timestamp, is_late) = self.timestamp(due_ms);
        let user = match self.spec.users {
            0 => number,
            users => u64::from(self.below(users)),
        };
        let login = Login {
            user: User::new(self.spec.seed, user),
            ip: self.rng.next_u32().to_be_bytes(),
            timestamp,
        };
        login.write_key(self.spec.keys, &mut self.key);
        login.write_value(missing, malformed, &mut self.value);
        if kind == Kind::Invalid {
            self.spoil();
        }
        (kind, is_late)
    }

    fn kind(&mut self) -> Kind {
        let mix = self.spec.mix;
        if self.happens(mix.invalid) {
            Kind::Invalid
        } else if self.happens(mix.missing) {
            Kind::Missing
        } else if self.happens(mix.malformed) {
            Kind::Malformed
        } else {
            Kind::Good
        }
    }

    /// Epoch seconds, and whether they are those of a late event.
    fn timestamp(&mut self, due_ms: i64) -> (i64, bool) {
        let mix = self.spec.mix;
        let mut time = due_ms;
        if mix.jitter > Duration::ZERO {
            time -= i64::from(self.below(millis(mix.jitter).saturating_add(1)));
        }
        let is_late = self.happens(mix.late);
        if is_late {
            time -= 1_000 + i64::from(self.below(millis(mix.late_by).saturating_sub(999).max(1)));
        }
        (time.div_euclid(1_000), is_late)
    }

    /// Makes the value something that is not one JSON object.
    fn spoil(&mut self) {
        match self.below(6) {
            0 => {
                let length = 1 + self.below(self.value.len() as u32 - 1) as usize;
                self.value.truncate(length);
            }
            1 => {
                self.value.clear();
                self.value.extend_from_slice(b"login failed, see the log");
            }
            2 => self.value.iter_mut().filter(|byte| **byte == b'"').for_each(|byte| *byte = b'\''),
            3 => self.value.push(b'}'),
            4 => {
                self.value.insert(0, b'[');
                self.value.push(b']');
            }
            _ => {
                // Inside the first name, where only UTF-8 may be.
                self.value[3] = 0xff;
            }
        }
    }

    fn happens(&mut self, share: f64) -> bool {
        // Nothing is drawn for what is switched off: cheaper, and as fixed as anything else.
        share > 0.0 && f64::from(self.rng.next_u32()) < share * (f64::from(u32::MAX) + 1.0)
    }

    /// 0 to `bound - 1`.
    fn below(&mut self, bound: u32) -> u32 {
        scale(self.rng.next_u32(), bound)
    }
}

/// When event `number` is due, in milliseconds since the epoch.
pub fn due_ms(spec: &Spec, number: u64) -> i64 {
    let rate = u64::from(spec.rate.max(1));
    let seconds = number / rate;
    let rest = number % rate * 1_000 / rate;
    spec.start_ms.saturating_add((seconds * 1_000 + rest) as i64)
}

fn generated<'a>(
    keys: Keys,
    key: &'a [u8],
    value: &'a [u8],
    due_ms: i64,
    (kind, is_late): (Kind, bool),
) -> Generated<'a> {
    Generated { key: (keys != Keys::None).then_some(key), value, due_ms, kind, is_late }
}

/// A user, made from nothing but the seed and the user's number.
struct User {
    id: u128,
    device: u32,
    device_type: &'static str,
    app_version: &'static str,
    locale: &'static str,
}

impl User {
    fn new(seed: u64, number: u64) -> Self {
        let mut state = seed.wrapping_mul(0xd134_2543_de82_ef95) ^ number;
        let high = split_mix(&mut state);
        let low = split_mix(&mut state);
        let picks = split_mix(&mut state);
        let more = split_mix(&mut state);
        Self {
            id: (u128::from(high) << 64) | u128::from(low),
            device: picks as u32,
            device_type: pick(DEVICE_TYPES, (picks >> 32) as u32),
            app_version: pick(APP_VERSIONS, more as u32),
            locale: pick(LOCALES, (more >> 32) as u32),
        }
    }

    fn write_id(&self, out: &mut Vec<u8>) {
        // Version 4, variant 1, as a real one has.
        let id = (self.id & !((0xf << 76) | (0x3 << 62))) | (0x4 << 76) | (0x2 << 62);
        for (place, byte) in id.to_be_bytes().into_iter().enumerate() {
            if matches!(place, 4 | 6 | 8 | 10) {
                out.push(b'-');
            }
            out.extend_from_slice(&[hex(byte >> 4), hex(byte & 0xf)]);
        }
    }

    fn write_device_id(&self, out: &mut Vec<u8>) {
        push_padded(out, self.device % 1_000, 3);
        out.push(b'-');
        push_padded(out, self.device / 1_000 % 100, 2);
        out.push(b'-');
        push_padded(out, self.device / 100_000 % 10_000, 4);
    }
}

struct Login {
    user: User,
    ip: [u8; 4],
    timestamp: i64,
}

impl Login {
    fn write_key(&self, keys: Keys, out: &mut Vec<u8>) {
        out.clear();
        match keys {
            Keys::None => {}
            Keys::UserId => self.user.write_id(out),
            Keys::DeviceId => self.user.write_device_id(out),
            Keys::Locale => out.extend_from_slice(self.user.locale.as_bytes()),
            Keys::AppVersion => out.extend_from_slice(self.user.app_version.as_bytes()),
        }
    }

    /// The event as JSON, without the field number `missing` and with nonsense in `malformed`.
    fn write_value(&self, missing: u32, malformed: u32, out: &mut Vec<u8>) {
        out.clear();
        for field in (0..FIELDS).filter(|&field| field != missing) {
            out.push(if out.is_empty() { b'{' } else { b',' });
            out.extend_from_slice(NAMES[field as usize].as_bytes());
            if field == malformed {
                out.extend_from_slice(NONSENSE[field as usize].as_bytes());
            } else {
                self.write_field(field, out);
            }
        }
        out.push(b'}');
    }

    fn write_field(&self, field: u32, out: &mut Vec<u8>) {
        if field == FIELDS - 1 {
            return push_decimal(out, self.timestamp);
        }
        out.push(b'"');
        match field {
            0 => self.user.write_id(out),
            1 => out.extend_from_slice(self.user.app_version.as_bytes()),
            2 => out.extend_from_slice(self.user.device_type.as_bytes()),
            3 => {
                for (place, part) in self.ip.into_iter().enumerate() {
                    if place > 0 {
                        out.push(b'.');
                    }
                    push_decimal(out, i64::from(part));
                }
            }
            4 => out.extend_from_slice(self.user.locale.as_bytes()),
            _ => self.user.write_device_id(out),
        }
        out.push(b'"');
    }
}

/// The members in their order, ready to be written.
const NAMES: [&str; FIELDS as usize] = [
    r#""user_id":"#,
    r#""app_version":"#,
    r#""device_type":"#,
    r#""ip":"#,
    r#""locale":"#,
    r#""device_id":"#,
    r#""timestamp":"#,
];

/// What a malformed member holds instead of its value.
const NONSENSE: [&str; FIELDS as usize] =
    [r#""guest""#, r#""latest""#, "7", r#""999.1.1.1""#, "null", "[]", r#""yesterday""#];

fn pick(set: &Weighted, draw: u32) -> &'static str {
    let mut left = scale(draw, WEIGHTS);
    for &(value, weight) in set {
        if left < weight {
            return value;
        }
        left -= weight;
    }
    set[0].0
}

/// Maps all of `u32` evenly on 0 to `bound - 1`.
fn scale(draw: u32, bound: u32) -> u32 {
    ((u64::from(draw) * u64::from(bound)) >> 32) as u32
}

/// SplitMix64: a step of the state, and a number well mixed from it.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

fn hex(nibble: u8) -> u8 {
    b"0123456789abcdef"[usize::from(nibble)]
}

fn push_padded(out: &mut Vec<u8>, number: u32, digits: usize) {
    let start = out.len();
    out.resize(start + digits, b'0');
    let mut left = number;
    for digit in out[start..].iter_mut().rev() {
        *digit = b'0' + (left % 10) as u8;
        left /= 10;
    }
}

fn push_decimal(out: &mut Vec<u8>, number: i64) {
    let mut digits = [0; 20];
    let mut place = digits.len();
    let mut left = number.unsigned_abs();
    loop {
        place -= 1;
        digits[place] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    if number < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[place..]);
}

#[cfg(test)]
mod tests;
