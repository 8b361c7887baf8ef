//! From the JSON text of a value to the value, and of a text to its characters.

/// Appends the characters of a valid string (without its quotes) that may have escapes. Gives
/// false, and leaves some of them, if there is a lone surrogate, which no `str` can hold.
pub(super) fn unescape(string: &[u8], plain: &mut String) -> bool {
    let mut rest = string;
    loop {
        let run = memchr::memchr(b'\\', rest).unwrap_or(rest.len());
        // Strings are unescaped before the whole text is checked where a name has escapes.
        let Ok(run_text) = std::str::from_utf8(&rest[..run]) else { return false };
        plain.push_str(run_text);
        let Some((&letter, behind)) = rest[run..].get(1..).and_then(<[u8]>::split_first) else {
            return true;
        };
        rest = behind;
        plain.push(match letter {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => match unit(&mut rest) {
                Some(character) => character,
                None => return false,
            },
            other => char::from(other),
        });
    }
}

/// The character of one `\u` escape, or of the two that are a surrogate pair.
fn unit(rest: &mut &[u8]) -> Option<char> {
    let first = hex(rest)?;
    if !(0xd800..0xe000).contains(&first) {
        return char::from_u32(first);
    }
    let mut second = rest.strip_prefix(b"\\u")?;
    let low = hex(&mut second)?;
    if first >= 0xdc00 || !(0xdc00..0xe000).contains(&low) {
        return None;
    }
    *rest = second;
    char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (low - 0xdc00))
}

fn hex(rest: &mut &[u8]) -> Option<u32> {
    let (digits, behind) = rest.split_at_checked(4)?;
    *rest = behind;
    digits.iter().try_fold(0, |value, &digit| Some(value << 4 | char::from(digit).to_digit(16)?))
}

/// The value of a number without fraction and exponent, if 64 bits hold it; not `-0`.
#[inline]
pub(super) fn integer(digits: &[u8]) -> Option<i64> {
    let (negative, magnitude) = match digits {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, digits),
    };
    if magnitude.len() > 18 {
        return std::str::from_utf8(digits).ok()?.parse().ok();
    }
    let value = magnitude.iter().fold(0, |value, &digit| value * 10 + i64::from(digit - b'0'));
    match (negative, value) {
        (true, 0) => None,
        (true, value) => Some(-value),
        (false, value) => Some(value),
    }
}

/// The float nearest to a number, if it is finite.
pub(super) fn number(digits: &[u8]) -> Option<f64> {
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|value: &f64| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(string: &str, expected: Option<&str>) {
        let mut plain = String::new();
        let whole = unescape(string.as_bytes(), &mut plain);
        assert_eq!(whole.then_some(plain.as_str()), expected);
    }

    #[test]
    fn escapes_become_their_characters() {
        check("", Some(""));
        check("plain é", Some("plain é"));
        check(r#"\"\\\/\b\f\n\r\tx"#, Some("\"\\/\u{8}\u{c}\n\r\tx"));
        check(r"\u0061\u00e9\uD83D\ude00\u0000", Some("aé😀\0"));
    }

    #[test]
    fn a_lone_surrogate_is_no_text() {
        for string in [r"\ud800", r"\udc00\ud800", r"\ud800\ud800", r"\ud83dx", r"a\ud83d\n"] {
            check(string, None);
        }
    }

    #[test]
    fn integers_are_what_64_bits_hold() {
        let check = |digits: &str, expected| assert_eq!(integer(digits.as_bytes()), expected);
        check("0", Some(0));
        check("-12", Some(-12));
        check("9223372036854775807", Some(i64::MAX));
        check("-9223372036854775808", Some(i64::MIN));
        check("9223372036854775808", None);
        check("-0", None);
    }

    #[test]
    fn numbers_are_what_a_finite_float_holds() {
        assert_eq!(number(b"1e400"), None);
        assert_eq!(number(b"1e-400"), Some(0.0));
        assert_eq!(number(b"-0").map(f64::to_bits), Some((-0.0f64).to_bits()));
    }
}
