//! One pass over the text of an event: the grammar of RFC 8259 checked as strictly as any parser
//! does, and the places of the fields that the layout looks for written down.

use super::Invalid;
use super::layout::{Layout, NodeId};

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
    let mut scanner = Scanner { layout, spans, ..Scanner::new(text, 0, 0) };
    let result = scanner.document(0).and_then(|kind| scanner.check_utf8().map(|()| kind));
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
    let mut scanner = Scanner::new(text, 0, depth);
    scanner.space();
    let start = scanner.pos as u32;
    let result = scanner.value(UNTRACKED).and_then(|kind| {
        let end = scanner.pos as u32;
        scanner.finish()?;
        scanner.check_utf8()?;
        Ok(Span { start, end, kind })
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
    let mut scanner = Scanner::new(text, container.start as usize + 1, 0);
    let mut walk = || {
        loop {
            scanner.space();
            if matches!(scanner.peek(), Some(b'}' | b']')) {
                return Ok(());
            }
            let start = scanner.pos;
            let mut name_end = start;
            if object {
                scanner.pos += 1;
                scanner.string()?;
                name_end = scanner.pos;
                scanner.space();
                scanner.pos += 1;
                scanner.space();
            }
            scanner.value(UNTRACKED)?;
            each(Item { start, name_end, end: scanner.pos });
            scanner.space();
            if scanner.peek() == Some(b',') {
                scanner.pos += 1;
            }
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

struct Scanner<'t, 'l> {
    text: &'t [u8],
    pos: usize,
    /// How many more levels may be entered.
    levels: usize,
    /// Every word of a string so far, laid over each other: shows whether all of it was ASCII.
    seen: u64,
    layout: &'l Layout,
    spans: &'l mut [Span],
    what: &'static str,
    at: usize,
}

impl<'t> Scanner<'t, 'static> {
    fn new(text: &'t [u8], pos: usize, depth: usize) -> Self {
        static NO_LAYOUT: Layout = Layout::empty();
        let levels = NESTING_MAX.saturating_sub(depth);
        let (what, at) = ("", 0);
        Scanner { text, pos, levels, seen: 0, layout: &NO_LAYOUT, spans: &mut [], what, at }
    }
}

impl Scanner<'_, '_> {
    #[cold]
    fn bad<T>(&mut self, what: &'static str) -> Result<T, Bad> {
        (self.what, self.at) = (what, self.pos);
        Err(Bad)
    }

    fn reason(&self) -> Invalid {
        let what = if self.at >= self.text.len() { "the text ends too soon" } else { self.what };
        Invalid::Json { what, at: self.at }
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.get(self.pos).copied()
    }

    #[inline]
    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.pos += 1;
        }
    }

    /// Nothing but white space may follow.
    fn finish(&mut self) -> Result<(), Bad> {
        self.space();
        if self.pos == self.text.len() { Ok(()) } else { self.bad("nothing may follow the value") }
    }

    /// Outside of strings the grammar has refused whatever is not ASCII.
    fn check_utf8(&mut self) -> Result<(), Bad> {
        if self.seen & HIGH == 0 {
            return Ok(());
        }
        match std::str::from_utf8(self.text) {
            Ok(_) => Ok(()),
            Err(error) => {
                self.pos = error.valid_up_to();
                self.bad("not valid UTF-8")
            }
        }
    }

    fn document(&mut self, node: NodeId) -> Result<Kind, Bad> {
        self.space();
        let kind = self.tracked(node)?;
        self.finish()?;
        Ok(kind)
    }

    /// A value that the layout looks for; its place is written down.
    #[inline]
    fn tracked(&mut self, node: NodeId) -> Result<Kind, Bad> {
        let start = self.pos as u32;
        let kind = self.value(node)?;
        self.spans[node as usize] = Span { start, end: self.pos as u32, kind };
        Ok(kind)
    }

    #[inline]
    fn value(&mut self, node: NodeId) -> Result<Kind, Bad> {
        match self.peek() {
            Some(b'"') => {
                self.pos += 1;
                Ok(if self.string()? { Kind::Escaped } else { Kind::Text })
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'{') => self.nested(node, Self::object, Kind::Object),
            Some(b'[') => self.nested(node, Self::array, Kind::Array),
            Some(b't') => self.literal(b"true", Kind::True),
            Some(b'f') => self.literal(b"false", Kind::False),
            Some(b'n') => self.literal(b"null", Kind::Null),
            _ => self.bad("a value must stand here"),
        }
    }

    fn nested(
        &mut self,
        node: NodeId,
        inner: fn(&mut Self, NodeId) -> Result<(), Bad>,
        kind: Kind,
    ) -> Result<Kind, Bad> {
        if self.levels == 0 {
            return self.bad("nested too deep");
        }
        self.pos += 1;
        self.levels -= 1;
        let tracked = node != UNTRACKED && self.layout.nodes[node as usize].has_children();
        inner(self, if tracked { node } else { UNTRACKED })?;
        self.levels += 1;
        Ok(kind)
    }

    fn object(&mut self, node: NodeId) -> Result<(), Bad> {
        self.space();
        if self.peek() == Some(b'}') {
            self.pos += 1;
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return self.bad("a member's name must stand here");
            }
            self.pos += 1;
            let start = self.pos;
            let escaped = self.string()?;
            let child = self.child(node, start, escaped);
            self.space();
            if self.peek() != Some(b':') {
                return self.bad("\":\" must follow the name");
            }
            self.pos += 1;
            self.space();
            match child {
                None => self.value(UNTRACKED)?,
                Some(child) => self.member(child)?,
            };
            self.space();
            match self.peek() {
                Some(b',') => self.pos += 1,
                Some(b'}') => {
                    self.pos += 1;
                    return Ok(());
                }
                _ => return self.bad("\",\" or \"}\" must follow the member"),
            }
            self.space();
        }
    }

    /// The node of the member whose name begins at `start` and ended just before.
    #[inline]
    fn child(&self, node: NodeId, start: usize, escaped: bool) -> Option<NodeId> {
        if node == UNTRACKED {
            return None;
        }
        let (name, node) = (&self.text[start..self.pos - 1], &self.layout.nodes[node as usize]);
        if escaped {
            // A lone surrogate is in no name that a pointer can have.
            let mut plain = String::new();
            return super::text::unescape(name, &mut plain)
                .then(|| node.child(plain.as_bytes(), || head(plain.as_bytes())))
                .flatten();
        }
        node.child(name, || match self.text[start..].first_chunk::<8>() {
            Some(chunk) if name.len() < 8 => {
                u64::from_le_bytes(*chunk) & ((1 << (8 * name.len())) - 1)
            }
            _ => head(name),
        })
    }

    /// A member that is looked for. The last of several with one name counts.
    #[inline]
    fn member(&mut self, node: NodeId) -> Result<Kind, Bad> {
        if self.spans[node as usize].is_present() {
            let end = self.layout.nodes[node as usize].end as usize;
            self.spans[node as usize..end].fill(Span::default());
        }
        self.tracked(node)
    }

    fn array(&mut self, node: NodeId) -> Result<(), Bad> {
        self.space();
        if self.peek() == Some(b']') {
            self.pos += 1;
            return Ok(());
        }
        for place in 0.. {
            let child = match node {
                UNTRACKED => None,
                node => self.layout.nodes[node as usize].element(place),
            };
            match child {
                None => self.value(UNTRACKED)?,
                Some(child) => self.tracked(child)?,
            };
            self.space();
            match self.peek() {
                Some(b',') => self.pos += 1,
                Some(b']') => break,
                _ => return self.bad("\",\" or \"]\" must follow the element"),
            }
            self.space();
        }
        self.pos += 1;
        Ok(())
    }

    /// The rest of a string behind its opening quote; whether it has escapes.
    #[inline]
    fn string(&mut self) -> Result<bool, Bad> {
        let mut escaped = false;
        loop {
            self.pos = plain_end(self.text, self.pos, &mut self.seen);
            match self.peek() {
                Some(b'"') => {
                    self.pos += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    self.escape()?;
                    escaped = true;
                }
                Some(byte) if byte < b' ' => {
                    return self.bad("a control character must be escaped");
                }
                Some(byte) => {
                    self.seen |= u64::from(byte);
                    self.pos += 1;
                }
                None => return self.bad("the string does not end"),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Bad> {
        self.pos += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.pos += 1,
            Some(b'u') => {
                self.pos += 1;
                for _ in 0..4 {
                    if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                        return self.bad("four hexadecimal digits must follow \"\\u\"");
                    }
                    self.pos += 1;
                }
            }
            _ => return self.bad("no such escape"),
        }
        Ok(())
    }

    #[inline]
    fn number(&mut self) -> Result<Kind, Bad> {
        let mut kind = Kind::Integer;
        if self.peek() == Some(b'-') {
            self.pos += 1;
        }
        match self.peek() {
            Some(b'0') => self.pos += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return self.bad("a digit must stand here"),
        }
        if self.peek() == Some(b'.') {
            kind = Kind::Number;
            self.pos += 1;
            self.some_digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            kind = Kind::Number;
            self.pos += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.pos += 1;
            }
            self.some_digits()?;
        }
        Ok(kind)
    }

    #[inline]
    fn digits(&mut self) {
        while let Some(b'0'..=b'9') = self.peek() {
            self.pos += 1;
        }
    }

    fn some_digits(&mut self) -> Result<(), Bad> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return self.bad("a digit must stand here");
        }
        self.digits();
        Ok(())
    }

    #[inline]
    fn literal(&mut self, word: &'static [u8], kind: Kind) -> Result<Kind, Bad> {
        if !self.text[self.pos..].starts_with(word) {
            return self.bad("a value must stand here");
        }
        self.pos += word.len();
        Ok(kind)
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
