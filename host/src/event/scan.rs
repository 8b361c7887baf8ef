//! One pass over the text of an event: the grammar of RFC 8259 checked as strictly as any parser
//! does, and the places of the fields that the layout looks for written down.

use super::Invalid;
use super::layout::{Layout, Node, NodeId};
use super::text;

/// How deep arrays and objects may nest, the event itself included: as deep as `serde_json` goes.
pub(super) const NESTING_MAX: usize = 127;

/// The longest event: positions within it, and within what edits make of it, fit 32 bits.
pub(super) const TEXT_BYTES_MAX: usize = 1 << 30;

/// What kind of value stands at a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    #[default]
    Absent,
    Null,
    True,
    False,
    /// Without fraction and exponent, of any size.
    Integer,
    /// With one of them.
    Number,
    /// Without escapes.
    Text,
    Escaped,
    Object,
    Array,
}

/// Where a value stands in the text of its event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub start: u32,
    pub end: u32,
    pub kind: Kind,
}

impl Span {
    pub fn is_present(&self) -> bool {
        self.kind != Kind::Absent
    }

    /// The value's text.
    pub fn of<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        &text[self.start as usize..self.end as usize]
    }
}

/// The text is not as it must be; the scanner has the reason.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bad;

/// No place is written down below this.
const UNTRACKED: NodeId = NodeId::MAX;

/// The places of the layout's fields in an event, one for each node. They are only right if this
/// succeeds.
pub(super) fn event(text: &[u8], layout: &Layout, spans: &mut [Span]) -> Result<(), Invalid> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Invalid::TooLong(text.len()));
    }
    let mut scanner = Scanner { layout, spans, ..Scanner::new(text, 0) };
    let start = scanner.space(0);
    let result = scanner.tracked(0, start);
    let result = result.and_then(|(end, kind)| scanner.finish(end).map(|()| kind));
    match result {
        Err(Bad) => Err(scanner.reason()),
        Ok(Kind::Object) => Ok(()),
        Ok(Kind::Array) => Err(Invalid::NotAnObject("an array")),
        Ok(Kind::Text | Kind::Escaped) => Err(Invalid::NotAnObject("a text")),
        Ok(Kind::Integer | Kind::Number) => Err(Invalid::NotAnObject("a number")),
        Ok(Kind::True | Kind::False) => Err(Invalid::NotAnObject("a boolean")),
        Ok(Kind::Null | Kind::Absent) => Err(Invalid::NotAnObject("null")),
    }
}

/// The span of the one value in a JSON text that will stand inside `depth` arrays or objects.
pub(super) fn value(text: &[u8], depth: usize) -> Result<Span, Invalid> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Invalid::TooLong(text.len()));
    }
    let mut scanner = Scanner::new(text, depth);
    let start = scanner.space(0);
    let result = scanner.value(UNTRACKED, start).and_then(|(end, kind)| {
        scanner.finish(end)?;
        Ok(Span { start: start as u32, end: end as u32, kind })
    });
    result.map_err(|Bad| scanner.reason())
}

/// A member of an object or an element of an array.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    /// Where its name begins, or the element itself.
    pub start: usize,
    /// Where the name ends, quotes included; `start` in an array.
    pub name_end: usize,
    /// Where the value ends.
    pub end: usize,
}

/// Gives each item of an object or array that was scanned before, in order.
pub(super) fn items(text: &[u8], container: Span, mut each: impl FnMut(Item)) {
    let object = container.kind == Kind::Object;
    let mut scanner = Scanner::new(text, 0);
    let mut pos = container.start as usize + 1;
    let mut walk = || {
        loop {
            let start = scanner.space(pos);
            if matches!(scanner.peek(start), b'}' | b']') {
                return Ok(());
            }
            let (mut name_end, mut value) = (start, start);
            if object {
                (name_end, _) = scanner.string(start + 1)?;
                value = scanner.space(scanner.space(name_end) + 1);
            }
            let (end, _) = scanner.value(UNTRACKED, value)?;
            each(Item { start, name_end, end });
            pos = scanner.space(end);
            pos += usize::from(scanner.peek(pos) == b',');
        }
    };
    let result: Result<(), Bad> = walk();
    debug_assert!(result.is_ok(), "the text was valid when it was scanned first");
}

/// The first eight bytes of a name, zeros behind a shorter one.
#[inline]
pub(super) fn head(name: &[u8]) -> u64 {
    match name.first_chunk::<8>() {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => name.iter().rev().fold(0, |head, &byte| head << 8 | u64::from(byte)),
    }
}

/// The text is walked by passing positions on, so that they stay in registers.
struct Scanner<'t, 'l> {
    text: &'t [u8],
    /// How many more levels may be entered.
    levels: usize,
    /// Words of strings laid over each other: shows whether all of them were ASCII.
    seen: u64,
    layout: &'l Layout,
    spans: &'l mut [Span],
    what: &'static str,
    at: usize,
}

impl<'t> Scanner<'t, 'static> {
    fn new(text: &'t [u8], depth: usize) -> Self {
        static NO_LAYOUT: Layout = Layout::empty();
        let levels = NESTING_MAX.saturating_sub(depth);
        Scanner { text, levels, seen: 0, layout: &NO_LAYOUT, spans: &mut [], what: "", at: 0 }
    }
}

impl Scanner<'_, '_> {
    #[cold]
    #[inline(never)]
    fn bad<T>(&mut self, at: usize, what: &'static str) -> Result<T, Bad> {
        (self.what, self.at) = (what, at);
        Err(Bad)
    }

    fn reason(&self) -> Invalid {
        let what = if self.at >= self.text.len() { "the text ends too soon" } else { self.what };
        Invalid::Json { what, at: self.at }
    }

    /// The byte at a position; at the end 0, which no grammar rule takes.
    #[inline(always)]
    fn peek(&self, pos: usize) -> u8 {
        self.text.get(pos).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn space(&self, mut pos: usize) -> usize {
        while matches!(self.peek(pos), b' ' | b'\n' | b'\r' | b'\t') {
            pos += 1;
        }
        pos
    }

    /// Nothing but white space may follow.
    fn finish(&mut self, pos: usize) -> Result<(), Bad> {
        let pos = self.space(pos);
        if pos < self.text.len() {
            return self.bad(pos, "nothing may follow the value");
        }
        if self.seen & HIGH == 0 {
            return Ok(());
        }
        // Outside of strings the grammar has refused whatever is not ASCII.
        match std::str::from_utf8(self.text) {
            Ok(_) => Ok(()),
            Err(error) => self.bad(error.valid_up_to(), "not valid UTF-8"),
        }
    }

    /// A value that the layout looks for; its place is written down.
    #[inline(always)]
    fn tracked(&mut self, node: NodeId, start: usize) -> Result<(usize, Kind), Bad> {
        let (end, kind) = self.value(node, start)?;
        self.spans[node as usize] = Span { start: start as u32, end: end as u32, kind };
        Ok((end, kind))
    }

    /// A value; gives where it ends.
    #[inline(always)]
    fn value(&mut self, node: NodeId, pos: usize) -> Result<(usize, Kind), Bad> {
        match self.peek(pos) {
            b'"' => {
                let (end, escaped) = self.string(pos + 1)?;
                Ok((end, if escaped { Kind::Escaped } else { Kind::Text }))
            }
            b'-' | b'0'..=b'9' => self.number(pos),
            b'{' | b'[' => self.nested(node, pos),
            b't' => self.literal(pos, b"true", Kind::True),
            b'f' => self.literal(pos, b"false", Kind::False),
            b'n' => self.literal(pos, b"null", Kind::Null),
            _ => self.bad(pos, "a value must stand here"),
        }
    }

    #[inline(never)]
    fn nested(&mut self, node: NodeId, pos: usize) -> Result<(usize, Kind), Bad> {
        if self.levels == 0 {
            return self.bad(pos, "nested too deep");
        }
        self.levels -= 1;
        let tracked = node != UNTRACKED && self.layout.nodes[node as usize].has_children();
        let node = if tracked { node } else { UNTRACKED };
        let object = self.peek(pos) == b'{';
        let end = if object { self.object(node, pos + 1) } else { self.array(node, pos + 1) }?;
        self.levels += 1;
        Ok((end, if object { Kind::Object } else { Kind::Array }))
    }

    fn object(&mut self, node: NodeId, pos: usize) -> Result<usize, Bad> {
        let mut pos = self.space(pos);
        if self.peek(pos) == b'}' {
            return Ok(pos + 1);
        }
        loop {
            if self.peek(pos) != b'"' {
                return self.bad(pos, "a member's name must stand here");
            }
            let start = pos + 1;
            let (end, escaped) = self.string(start)?;
            let child =
                if node == UNTRACKED { None } else { self.child(node, start, end - 1, escaped) };
            pos = self.space(end);
            if self.peek(pos) != b':' {
                return self.bad(pos, "\":\" must follow the name");
            }
            pos = self.space(pos + 1);
            let (end, _) = match child {
                None => self.value(UNTRACKED, pos)?,
                Some(child) => self.member(child, pos)?,
            };
            pos = self.space(end);
            match self.peek(pos) {
                b',' => pos = self.space(pos + 1),
                b'}' => return Ok(pos + 1),
                _ => return self.bad(pos, "\",\" or \"}\" must follow the member"),
            }
        }
    }

    /// The node of the member with this name.
    #[inline(always)]
    fn child(&self, node: NodeId, start: usize, end: usize, escaped: bool) -> Option<NodeId> {
        let (name, node) = (&self.text[start..end], &self.layout.nodes[node as usize]);
        if escaped {
            return self.escaped_child(name, node);
        }
        node.child(name, || match self.text[start..].first_chunk::<8>() {
            Some(chunk) if name.len() < 8 => {
                u64::from_le_bytes(*chunk) & ((1 << (8 * name.len())) - 1)
            }
            Some(chunk) => u64::from_le_bytes(*chunk),
            None => head(name),
        })
    }

    #[cold]
    fn escaped_child(&self, name: &[u8], node: &Node) -> Option<NodeId> {
        let mut plain = String::new();
        // A lone surrogate is in no name that a pointer can have.
        text::unescape(name, &mut plain)
            .then(|| node.child(plain.as_bytes(), || head(plain.as_bytes())))
            .flatten()
    }

    /// A member that is looked for. The last of several with one name counts.
    #[inline(always)]
    fn member(&mut self, node: NodeId, pos: usize) -> Result<(usize, Kind), Bad> {
        if self.spans[node as usize].is_present() {
            let end = self.layout.nodes[node as usize].end as usize;
            self.spans[node as usize..end].fill(Span::default());
        }
        self.tracked(node, pos)
    }

    fn array(&mut self, node: NodeId, pos: usize) -> Result<usize, Bad> {
        let mut pos = self.space(pos);
        if self.peek(pos) == b']' {
            return Ok(pos + 1);
        }
        let mut place = 0;
        loop {
            let child = match node {
                UNTRACKED => None,
                node => self.layout.nodes[node as usize].element(place),
            };
            let (end, _) = match child {
                None => self.value(UNTRACKED, pos)?,
                Some(child) => self.tracked(child, pos)?,
            };
            pos = self.space(end);
            match self.peek(pos) {
                b',' => pos = self.space(pos + 1),
                b']' => return Ok(pos + 1),
                _ => return self.bad(pos, "\",\" or \"]\" must follow the element"),
            }
            place += 1;
        }
    }

    /// The rest of a string behind its opening quote; whether it has escapes.
    #[inline(always)]
    fn string(&mut self, pos: usize) -> Result<(usize, bool), Bad> {
        let end = plain_end(self.text, pos, &mut self.seen);
        if self.peek(end) == b'"' { Ok((end + 1, false)) } else { self.string_rest(end) }
    }

    /// The rest of a string from its first unusual byte on.
    #[inline(never)]
    fn string_rest(&mut self, mut pos: usize) -> Result<(usize, bool), Bad> {
        let mut escaped = false;
        loop {
            match self.text.get(pos) {
                Some(b'"') => return Ok((pos + 1, escaped)),
                Some(b'\\') => {
                    pos = self.escape(pos + 1)?;
                    escaped = true;
                }
                Some(&byte) if byte < b' ' => {
                    return self.bad(pos, "a control character must be escaped");
                }
                Some(&byte) => {
                    self.seen |= u64::from(byte);
                    pos += 1;
                }
                None => return self.bad(pos, "the string does not end"),
            }
            pos = plain_end(self.text, pos, &mut self.seen);
        }
    }

    fn escape(&mut self, pos: usize) -> Result<usize, Bad> {
        match self.peek(pos) {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(pos + 1),
            b'u' => {
                let digits = self.text[pos + 1..].iter().take(4);
                let digits = digits.take_while(|byte| byte.is_ascii_hexdigit()).count();
                if digits == 4 {
                    return Ok(pos + 5);
                }
                self.bad(pos + 1 + digits, "four hexadecimal digits must follow \"\\u\"")
            }
            _ => self.bad(pos, "no such escape"),
        }
    }

    #[inline(always)]
    fn number(&mut self, pos: usize) -> Result<(usize, Kind), Bad> {
        let first = pos + usize::from(self.peek(pos) == b'-');
        let end = match self.peek(first) {
            b'0' => first + 1,
            b'1'..=b'9' => self.digits(first + 1),
            _ => return self.bad(first, "a digit must stand here"),
        };
        if matches!(self.peek(end), b'.' | b'e' | b'E') {
            return self.fraction(end);
        }
        Ok((end, Kind::Integer))
    }

    /// The fraction and exponent of a number, of which there is at least one.
    #[inline(never)]
    fn fraction(&mut self, mut pos: usize) -> Result<(usize, Kind), Bad> {
        if self.peek(pos) == b'.' {
            pos = self.some_digits(pos + 1)?;
        }
        if matches!(self.peek(pos), b'e' | b'E') {
            let sign = matches!(self.peek(pos + 1), b'+' | b'-');
            pos = self.some_digits(pos + 1 + usize::from(sign))?;
        }
        Ok((pos, Kind::Number))
    }

    #[inline(always)]
    fn digits(&self, mut pos: usize) -> usize {
        while self.peek(pos).is_ascii_digit() {
            pos += 1;
        }
        pos
    }

    fn some_digits(&mut self, pos: usize) -> Result<usize, Bad> {
        let end = self.digits(pos);
        if end > pos { Ok(end) } else { self.bad(pos, "a digit must stand here") }
    }

    #[inline(always)]
    fn literal(&mut self, pos: usize, word: &[u8], kind: Kind) -> Result<(usize, Kind), Bad> {
        if self.text[pos..].starts_with(word) {
            return Ok((pos + word.len(), kind));
        }
        self.bad(pos, "a value must stand here")
    }
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Where the run of whole words that begins at `pos` and needs no second look ends: at a quote, a
/// backslash or a control character, or less than a word before the end of the text.
#[inline]
pub(super) fn plain_end(text: &[u8], mut pos: usize, seen: &mut u64) -> usize {
    while let Some(chunk) = text.get(pos..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        *seen |= word;
        let (quote, slash) = (word ^ (ONES * b'"' as u64), word ^ (ONES * b'\\' as u64));
        // In each term the lowest bit that is set is right; higher ones may come from a borrow.
        let quotes = quote.wrapping_sub(ONES) & !quote;
        let slashes = slash.wrapping_sub(ONES) & !slash;
        let controls = word.wrapping_sub(ONES * b' ' as u64) & !word;
        let special = (quotes | slashes | controls) & HIGH;
        if special != 0 {
            return pos + (special.trailing_zeros() / 8) as usize;
        }
        pos += 8;
    }
    pos
}
