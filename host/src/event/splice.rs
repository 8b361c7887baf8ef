//! Puts the edits of an event into its text; every other byte stays as it is.

use std::ops::Range;

use super::Batch;
use super::layout::{Node, NodeId};
use super::pointer::array_place;
use super::scan::{self, Kind, Span};
use super::text;

/// What [`Batch::write`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// The event is as it came in; nothing was appended.
    Original,
    /// Its new text is this part of the output.
    Edited(Range<usize>),
}

/// One place where the text changes.
#[derive(Clone, Copy, Debug)]
struct Splice {
    start: u32,
    end: u32,
    piece: Piece,
}

#[derive(Clone, Copy, Debug)]
enum Piece {
    Nothing,
    /// The value of a write.
    Value {
        write: u16,
    },
    /// A new member or element, with the parents that it lacks.
    Item {
        write: u16,
        top: NodeId,
        comma: bool,
        named: bool,
    },
}

/// What the splicing of one event needs, kept for the next one.
#[derive(Clone, Debug, Default)]
pub(super) struct Splicer {
    splices: Vec<Splice>,
    /// The writes that set something, by turn.
    sets: Vec<u16>,
    /// Parents that lost members: where each ends, and whether others remain.
    emptied: Vec<(NodeId, bool)>,
    name: String,
}

impl Batch<'_> {
    /// Appends the text of the event at a live position, if any edit changed it.
    pub fn write(&mut self, position: u32, out: &mut Vec<u8>) -> Written {
        let (event, start) = (self.live[position as usize], out.len());
        let mut splicer = std::mem::take(&mut self.splicer);
        let spliced = splicer.splice(self, event, out);
        self.splicer = splicer;
        if !spliced {
            if !self.is_replaced(event) {
                return Written::Original;
            }
            out.extend_from_slice(self.text(event));
        }
        Written::Edited(start..out.len())
    }
}

impl Splicer {
    /// Appends the text of an event with its pending edits; nothing, and false, if it has none.
    pub fn splice(&mut self, batch: &Batch<'_>, event: u32, out: &mut Vec<u8>) -> bool {
        self.splices.clear();
        self.emptied.clear();
        self.sets.clear();
        let edits = Edited { batch, event, spans: batch.spans(event) };
        for write in 0..batch.pending.len() {
            if batch.pending[write].removes() && batch.pending[write].is_remove(event) {
                self.cut(&edits, write);
            }
        }
        for (write, pending) in batch.pending.iter().enumerate() {
            if pending.set(event).is_some() {
                self.sets.push(write as u16);
                let later =
                    |&other: &u16| batch.pending[other as usize].turn(event) > pending.turn(event);
                let place = self.sets.iter().rev().skip(1).take_while(|other| later(other)).count();
                if place > 0 {
                    let end = self.sets.len();
                    self.sets[end - 1 - place..].rotate_right(1);
                }
            }
        }
        for place in 0..self.sets.len() {
            self.set(&edits, self.sets[place]);
        }
        if self.splices.is_empty() {
            return false;
        }
        if !self.splices.is_sorted_by_key(|splice| splice.start) {
            self.splices.sort_by_key(|splice| splice.start);
        }
        let text = batch.text(event);
        let mut done = 0;
        for splice in &self.splices {
            out.extend_from_slice(&text[done..splice.start as usize]);
            edits.piece(splice.piece, &self.sets, out);
            done = splice.end as usize;
        }
        out.extend_from_slice(&text[done..]);
        true
    }

    fn set(&mut self, edits: &Edited<'_>, write: u16) {
        let layout = edits.batch.layout;
        let node = layout.writes[write as usize];
        let span = edits.spans[node as usize];
        if span.is_present() {
            let piece = Piece::Value { write };
            self.splices.push(Splice { start: span.start, end: span.end, piece });
            return;
        }
        let mut top = node;
        let parent = loop {
            let parent = layout.nodes[top as usize].parent;
            if edits.spans[parent as usize].is_present() {
                break parent;
            }
            top = parent;
        };
        let container = edits.spans[parent as usize];
        let close = container.end - 1;
        let mut comma = match self.emptied.iter().find(|(other, _)| *other == parent) {
            Some(&(_, remain)) => remain,
            None => has_items(edits.text(), container),
        };
        for splice in &self.splices {
            if let Piece::Item { top: other, .. } = splice.piece
                && splice.start == close
            {
                if other == top {
                    // Made together with the write that lacks the same parent.
                    return;
                }
                comma = true;
            }
        }
        let piece = Piece::Item { write, top, comma, named: container.kind == Kind::Object };
        self.splices.push(Splice { start: close, end: close, piece });
    }

    /// Takes out what is removed from the parent of `write`, with a comma beside each.
    fn cut(&mut self, edits: &Edited<'_>, write: usize) {
        let layout = edits.batch.layout;
        let node = layout.writes[write];
        let parent = layout.nodes[node as usize].parent;
        let known = self.emptied.iter().any(|(other, _)| *other == parent);
        if known || !edits.spans[node as usize].is_present() {
            return;
        }
        let (text, container) = (edits.text(), edits.spans[parent as usize]);
        let (mut place, mut last_end, mut kept) = (0, 0, false);
        // Where a removed item begins before which nothing is kept: it goes up to the next one.
        let mut open: Option<u32> = None;
        let splices = &mut self.splices;
        let mut cut = |start: u32, end: u32| {
            splices.push(Splice { start, end, piece: Piece::Nothing });
        };
        scan::items(text, container, |item| {
            if let Some(start) = open.take() {
                cut(start, item.start as u32);
            }
            let name = &text[item.start..item.name_end];
            let removed = edits.removed(parent, container.kind, name, place, &mut self.name);
            if !removed {
                kept = true;
            } else if kept {
                cut(last_end, item.end as u32);
            } else {
                open = Some(item.start as u32);
            }
            last_end = item.end as u32;
            place += 1;
        });
        if let Some(start) = open {
            // Up to the bracket, so that it comes out alike before and after something is appended.
            cut(start, container.end - 1);
        }
        self.emptied.push((parent, kept));
    }
}

/// One event and its edits.
struct Edited<'b> {
    batch: &'b Batch<'b>,
    event: u32,
    spans: &'b [Span],
}

impl Edited<'_> {
    fn text(&self) -> &[u8] {
        self.batch.text(self.event)
    }

    /// Whether a member or element of `parent` is removed from this event.
    fn removed(
        &self,
        parent: NodeId,
        kind: Kind,
        name: &[u8],
        place: u64,
        plain: &mut String,
    ) -> bool {
        let layout = self.batch.layout;
        let mut nodes = layout.writes.iter().zip(&self.batch.pending).filter(|(node, pending)| {
            layout.nodes[**node as usize].parent == parent && pending.is_remove(self.event)
        });
        if kind == Kind::Array {
            let named = |node: &Node| array_place(&node.token) == Some(place);
            return nodes.any(|(node, _)| named(&layout.nodes[*node as usize]));
        }
        plain.clear();
        text::unescape(&name[1..name.len() - 1], plain)
            && nodes.any(|(node, _)| layout.nodes[*node as usize].token == *plain)
    }

    fn piece(&self, piece: Piece, sets: &[u16], out: &mut Vec<u8>) {
        match piece {
            Piece::Nothing => {}
            Piece::Value { write } => {
                if let Some((_, value)) = self.batch.pending[write as usize].set(self.event) {
                    out.extend_from_slice(value);
                }
            }
            Piece::Item { write, top, comma, named } => {
                let layout = self.batch.layout;
                if layout.writes[write as usize] == top
                    && let Some((member, value)) =
                        self.batch.pending[write as usize].set(self.event)
                {
                    let whole = if named { &member[usize::from(!comma)..] } else { value };
                    if comma && !named {
                        out.push(b',');
                    }
                    out.extend_from_slice(whole);
                    return;
                }
                if comma {
                    out.push(b',');
                }
                if named {
                    out.extend_from_slice(&layout.nodes[top as usize].label);
                }
                self.made(top, sets, out);
            }
        }
    }

    /// Appends a value that the event lacks: what is written, or an object around it.
    fn made(&self, node: NodeId, sets: &[u16], out: &mut Vec<u8>) {
        let layout = self.batch.layout;
        let inside = node..layout.nodes[node as usize].end;
        let mut children: Vec<NodeId> = Vec::new();
        for &write in sets {
            let mut below = layout.writes[write as usize];
            if !inside.contains(&below) {
                continue;
            }
            if below == node {
                return self.piece(Piece::Value { write }, sets, out);
            }
            while layout.nodes[below as usize].parent != node {
                below = layout.nodes[below as usize].parent;
            }
            if !children.contains(&below) {
                children.push(below);
            }
        }
        out.push(b'{');
        for (place, &child) in children.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            out.extend_from_slice(&layout.nodes[child as usize].label);
            self.made(child, sets, out);
        }
        out.push(b'}');
    }
}

/// Whether an object or array has anything in it.
fn has_items(text: &[u8], container: Span) -> bool {
    let inner = &text[container.start as usize..container.end as usize - 1];
    let last = inner.iter().rev().find(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t'));
    // No value ends with an opening bracket.
    !matches!(last, Some(b'{' | b'['))
}
