//! From a value to its JSON text, written as `serde_json` writes it.

use super::scan::plain_end;

/// Appends a text with its quotes; whether it took escapes.
pub(super) fn text(text: &str, out: &mut Vec<u8>) -> bool {
    let bytes = text.as_bytes();
    let mut end = plain_end(bytes, 0, &mut 0);
    while bytes.get(end).is_some_and(|&byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        end += 1;
    }
    let plain = end == bytes.len();
    if plain {
        out.reserve(bytes.len() + 2);
        out.push(b'"');
        out.extend_from_slice(bytes);
        out.push(b'"');
    } else {
        serde_json::to_writer(out, text).expect("a Vec takes every text");
    }
    !plain
}

/// Appends a number in its shortest form that reads back as the same float.
pub(super) fn number(value: f64, out: &mut Vec<u8>) {
    serde_json::to_writer(out, &value).expect("a Vec takes every number");
}

/// Appends an integer.
pub(super) fn integer(value: i64, out: &mut Vec<u8>) {
    serde_json::to_writer(out, &value).expect("a Vec takes every number");
}
