//! Settings as serde reads them, with errors that say where and what in words for whoever wrote
//! `pipeline.toml`. serde_json's own would have to be taken apart from their texts.

use std::fmt::{self, Display};

use serde::Deserializer;
use serde::de::value::MapAccessDeserializer;
use serde::de::{
    self, DeserializeSeed, EnumAccess, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value};

use crate::pointer_to;

/// A tree to read settings from.
#[derive(Clone, Copy)]
pub(crate) struct Node<'a>(pub &'a Value);

/// Why a tree is refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// Where: a JSON Pointer, also to a member that is missing.
    pub at: String,
    /// What is wrong and how to mend it.
    pub message: String,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Nobody knows the member; this one may be meant.
    Unknown(Option<&'static str>),
    Missing,
    /// A word that is none of those that are known; this is one.
    Word(Option<&'static str>),
    Other,
}

impl Refusal {
    fn new(message: String, kind: Kind) -> Self {
        Self { at: String::new(), message, kind }
    }

    fn within(mut self, name: &str) -> Self {
        self.at.insert_str(0, &pointer_to("", name));
        self
    }
}

impl Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}

impl de::Error for Refusal {
    fn custom<T: Display>(message: T) -> Self {
        Self::new(message.to_string(), Kind::Other)
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = expected.to_string();
        let wanted = match expected.as_str() {
            "a string" | "a character" => "a text",
            "a boolean" => "true or false",
            "f32" | "f64" => "a number",
            "a sequence" => "a list",
            "a map" => "a table",
            other if whole_numbers(other).is_some() => "a whole number",
            other if other.starts_with("struct ") => "a table",
            other if other.starts_with("a tuple of size ") => "a list",
            other => other,
        };
        let scalar = !matches!(found, Unexpected::Seq | Unexpected::Map | Unexpected::Unit);
        let mend = match (wanted, found) {
            ("a text", _) if scalar => ": put it in quotes",
            ("true or false", Unexpected::Str("true" | "false")) => ": take the quotes away",
            ("a number" | "a whole number", Unexpected::Str(text)) if is_number(text) => {
                ": take the quotes away"
            }
            ("a list", _) => ": put it in `[ ]`",
            ("a table", _) => ": write `{ … }`",
            _ => "",
        };
        let found = match found {
            Unexpected::Bool(_) => "true or false",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a whole number",
            Unexpected::Float(_) => "a number with a fraction",
            Unexpected::Char(_) | Unexpected::Str(_) => "a text",
            Unexpected::Unit | Unexpected::Option => "null",
            Unexpected::Seq => "a list",
            _ => "a table",
        };
        Self::new(format!("expected {wanted}, found {found}{mend}"), Kind::Other)
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = expected.to_string();
        let found = match found {
            Unexpected::Signed(number) => number.to_string(),
            Unexpected::Unsigned(number) => number.to_string(),
            Unexpected::Str(text) => format!("`{text}`"),
            other => other.to_string(),
        };
        let message = match whole_numbers(&expected) {
            Some((least, most)) => format!("{found} is not between {least} and {most}"),
            None => format!("expected {expected}, found {found}"),
        };
        Self::new(message, Kind::Other)
    }

    fn invalid_length(found: usize, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {expected}, found {found} entries"), Kind::Other)
    }

    fn unknown_variant(found: &str, known: &'static [&'static str]) -> Self {
        let mend = match nearest(found, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("write {}", list(known, " or ")),
        };
        let word = Kind::Word(known.first().copied());
        Self::new(format!("`{found}` is not known: {mend}"), word)
    }

    fn unknown_field(found: &str, known: &'static [&'static str]) -> Self {
        let near = nearest(found, known);
        let mend = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "take it out; there are none here".to_owned(),
            None => format!("take it out; known are {}", list(known, " and ")),
        };
        Self::new(format!("unknown key: {mend}"), Kind::Unknown(near)).within(found)
    }

    fn missing_field(name: &'static str) -> Self {
        Self::new(format!("missing: add `{name} = …`"), Kind::Missing).within(name)
    }

    fn duplicate_field(name: &'static str) -> Self {
        let message = format!("`{name}` is there twice, under two names: take one out");
        Self::new(message, Kind::Other)
    }
}

/// The bounds of one of Rust's types of whole numbers.
fn whole_numbers(name: &str) -> Option<(i128, i128)> {
    let bits: u32 = name.get(1..)?.parse().ok().filter(|bits| *bits <= 64)?;
    match name.as_bytes()[0] {
        b'u' => Some((0, (1 << bits) - 1)),
        b'i' => Some((-(1 << (bits - 1)), (1 << (bits - 1)) - 1)),
        _ => None,
    }
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || b"+-._eE".contains(&byte))
}

/// What was probably meant.
fn nearest(found: &str, known: &'static [&'static str]) -> Option<&'static str> {
    let close = known
        .iter()
        .map(|name| (strsim::osa_distance(found, name), *name))
        .filter(|(distance, name)| *distance <= 1.max(name.len() / 3));
    close.min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

fn list(names: &[&str], last: &str) -> String {
    let mut text = String::new();
    for (number, name) in names.iter().enumerate() {
        text += match number {
            0 => "",
            _ if number + 1 == names.len() => last,
            _ => ", ",
        };
        text += &format!("`{name}`");
    }
    text
}

impl<'de> Deserializer<'de> for Node<'_> {
    type Error = Refusal;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(boolean) => visitor.visit_bool(*boolean),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => visitor.visit_u64(number),
                (_, Some(number)) => visitor.visit_i64(number),
                _ => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_str(text),
            Value::Array(items) => {
                let mut rest = Items { items, next: 0 };
                let value = visitor.visit_seq(&mut rest)?;
                if rest.next < items.len() {
                    let expected = format!("a list of {}", rest.next);
                    return Err(de::Error::invalid_length(items.len(), &expected.as_str()));
                }
                Ok(value)
            }
            Value::Object(members) => visitor.visit_map(Members::of(members)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        visitor.visit_newtype_struct(self)
    }

    /// serde would take a list for the members in their order, which no one means in settings.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _members: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        match self.0 {
            Value::Array(_) => Err(de::Error::invalid_type(Unexpected::Seq, &visitor)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        match self.0 {
            Value::String(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            Value::Object(members) if members.len() == 1 => {
                visitor.visit_enum(MapAccessDeserializer::new(Members::of(members)))
            }
            _ => {
                let message = format!("write {}", list(variants, " or "));
                Err(Refusal::new(message, Kind::Word(variants.first().copied())))
            }
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

struct Items<'a> {
    items: &'a [Value],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Refusal;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Refusal> {
        let Some(item) = self.items.get(self.next) else { return Ok(None) };
        let number = self.next;
        self.next += 1;
        let value = seed.deserialize(Node(item));
        value.map(Some).map_err(|refusal| refusal.within(&number.to_string()))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len() - self.next)
    }
}

struct Members<'a> {
    members: serde_json::map::Iter<'a>,
    last: Option<(&'a str, &'a Value)>,
}

impl<'a> Members<'a> {
    fn of(members: &'a Map<String, Value>) -> Self {
        Self { members: members.iter(), last: None }
    }
}

impl<'de> MapAccess<'de> for Members<'_> {
    type Error = Refusal;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Refusal> {
        let Some((name, value)) = self.members.next() else { return Ok(None) };
        self.last = Some((name, value));
        let key = seed.deserialize(Key(name));
        key.map(Some).map_err(|refusal| match refusal.kind {
            Kind::Unknown(_) => refusal,
            _ => refusal.within(name),
        })
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Refusal> {
        let (name, value) = self.last.take().expect("serde asks for a key first");
        seed.deserialize(Node(value)).map_err(|refusal| refusal.within(name))
    }
}

/// The name of a member, which may be meant as a number.
struct Key<'a>(&'a str);

macro_rules! parsed {
    ($($method:ident $visit:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
            match self.0.parse() {
                Ok(parsed) => visitor.$visit(parsed),
                Err(_) => visitor.visit_str(self.0),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for Key<'_> {
    type Error = Refusal;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_str(self.0)
    }

    parsed! {
        deserialize_i8 visit_i8 deserialize_i16 visit_i16 deserialize_i32 visit_i32
        deserialize_i64 visit_i64 deserialize_u8 visit_u8 deserialize_u16 visit_u16
        deserialize_u32 visit_u32 deserialize_u64 visit_u64 deserialize_bool visit_bool
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        visitor.visit_enum(self)
    }

    forward_to_deserialize_any! {
        i128 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct
        map struct identifier ignored_any
    }
}

impl<'de> EnumAccess<'de> for Key<'_> {
    type Error = Refusal;
    type Variant = <de::value::StrDeserializer<'static, Refusal> as EnumAccess<'de>>::Variant;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self::Variant), Refusal> {
        let text: de::value::StrDeserializer<'_, Refusal> = self.0.into_deserializer();
        text.variant_seed(seed)
    }
}
