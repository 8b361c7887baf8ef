//! The layout of the batches of one chain segment: which fields are found while an event is
//! scanned, and which of them a write to another one changes.

use super::pointer::{self, PointerError, array_place, is_array_token};
use super::{Source, render, scan};

/// How many nodes of the tree of pointers there may be: one place per node and event is kept.
pub(super) const NODES_MAX: usize = 1024;

/// A place in the tree of pointers, 0 being the whole event.
pub(super) type NodeId = u16;

/// A column that a layout knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ColumnId(pub(super) u16);

/// A field that a layout knows as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WriteId(pub(super) u16);

/// A field that is read event by event, without a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FieldId(pub(super) u16);

/// Where a column comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Field(NodeId),
    Timestamp,
    Key,
    Header(String),
}

/// A member or element that is looked for.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub token: String,
    pub parent: NodeId,
    /// How many tokens its pointer has.
    pub depth: u16,
    /// One past the last node of the tree below it: nodes are numbered parents first.
    pub end: NodeId,
    /// `"token":`, as it is written when the member is made.
    pub label: Vec<u8>,
    names: Names,
    /// The children that name a place in an array.
    places: Vec<(u64, NodeId)>,
}

/// The children of a node by name, grouped by the length of the name.
#[derive(Clone, Debug, Default)]
struct Names {
    names: Vec<Name>,
    /// Where the names of each length begin in `names`; one more at the end.
    starts: Vec<u16>,
}

/// A name in words: comparing its bytes would call out of the scan for each member.
#[derive(Clone, Debug)]
struct Name {
    /// The first eight bytes, zeros behind a shorter name.
    head: u64,
    /// The last eight bytes, zeros for a shorter name.
    tail: u64,
    /// What neither holds, of a name longer than 16 bytes.
    middle: Box<[u8]>,
    node: NodeId,
}

/// The last eight bytes of a name, 0 for a shorter one.
#[inline]
fn tail(name: &[u8]) -> u64 {
    name.last_chunk::<8>().map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

/// What lies between the first and the last eight bytes of a name.
#[inline]
fn middle(name: &[u8]) -> &[u8] {
    name.get(8..name.len().saturating_sub(8)).unwrap_or_default()
}

impl Names {
    fn new(mut children: Vec<(&[u8], NodeId)>) -> Self {
        children.sort_by_key(|(name, _)| name.len());
        let longest = children.last().map_or(0, |(name, _)| name.len() + 1);
        let starts = (0..=longest)
            .map(|length| children.partition_point(|(name, _)| name.len() < length) as u16)
            .collect();
        let names = children.iter().map(|&(name, node)| Name {
            head: scan::head(name),
            tail: tail(name),
            middle: middle(name).into(),
            node,
        });
        Self { names: names.collect(), starts }
    }

    #[inline]
    fn find(&self, name: &[u8], head: impl FnOnce() -> u64) -> Option<NodeId> {
        let bounds = self.starts.get(name.len()..)?.first_chunk::<2>()?;
        if bounds[0] == bounds[1] {
            return None;
        }
        let (head, tail) = (head(), tail(name));
        let same = self.names[bounds[0] as usize..bounds[1] as usize].iter().find(|child| {
            child.head == head
                && child.tail == tail
                && (name.len() <= 16 || *child.middle == *middle(name))
        });
        same.map(|child| child.node)
    }
}

impl Node {
    /// The child with this name; `head` gives [`scan::head`] of it.
    #[inline]
    pub fn child(&self, name: &[u8], head: impl FnOnce() -> u64) -> Option<NodeId> {
        self.names.find(name, head)
    }

    /// The child that is this place of an array.
    pub fn element(&self, place: u64) -> Option<NodeId> {
        self.places.iter().find(|(other, _)| *other == place).map(|&(_, node)| node)
    }

    /// Whether something is looked for inside of it.
    #[inline]
    pub fn has_children(&self) -> bool {
        !self.names.names.is_empty()
    }
}

/// Which fields of its events a batch finds, reads and writes; compiled once per chain segment.
#[derive(Clone, Debug)]
pub struct Layout {
    pub(super) nodes: Vec<Node>,
    pub(super) columns: Vec<Origin>,
    pub(super) writes: Vec<NodeId>,
    pub(super) fields: Vec<NodeId>,
    /// For each write, the writes that must be in the text before it can be added to them.
    pub(super) write_waits: Vec<Vec<WriteId>>,
    /// For each column, the writes that must be in the text before it can be read.
    pub(super) column_waits: Vec<Vec<WriteId>>,
    /// For each column, the write of the same field that it can follow without that.
    pub(super) column_write: Vec<Option<WriteId>>,
}

impl Layout {
    /// An empty layout to add to.
    pub fn builder() -> LayoutBuilder {
        LayoutBuilder::default()
    }

    /// A layout that looks for nothing.
    pub(super) const fn empty() -> Self {
        Self {
            nodes: Vec::new(),
            columns: Vec::new(),
            writes: Vec::new(),
            fields: Vec::new(),
            write_waits: Vec::new(),
            column_waits: Vec::new(),
            column_write: Vec::new(),
        }
    }

    /// How many bytes are made around a write where every parent is missing, at most.
    pub(super) fn around(&self, write: WriteId) -> usize {
        let path = self.path(self.writes[write.0 as usize]);
        let parents = path.iter().rev().skip(1);
        parents.map(|&node| self.nodes[node as usize].label.len() + 2).sum()
    }

    /// The JSON Pointer of a node.
    pub(super) fn pointer(&self, node: NodeId) -> String {
        let tokens = self.path(node).into_iter().skip(1);
        let token = |node: NodeId| &self.nodes[node as usize].token;
        tokens
            .map(|node| format!("/{}", token(node).replace('~', "~0").replace('/', "~1")))
            .collect()
    }

    /// How many columns it has.
    pub fn columns(&self) -> usize {
        self.columns.len()
    }

    /// The writes that change what a node is.
    fn touching(&self, node: NodeId) -> Vec<WriteId> {
        let touching = (0u16..).zip(&self.writes).filter(|&(_, &write)| self.touches(write, node));
        touching.map(|(write, _)| WriteId(write)).collect()
    }

    fn write_of(&self, node: NodeId) -> Option<WriteId> {
        self.writes.iter().position(|&write| write == node).map(|write| WriteId(write as u16))
    }

    /// The nodes of the pointer, from the first token to the last.
    fn path(&self, node: NodeId) -> Vec<NodeId> {
        let mut path = vec![node];
        while let Some(&first) = path.last()
            && first != 0
        {
            path.push(self.nodes[first as usize].parent);
        }
        path.reverse();
        path
    }

    /// Whether a write to `written` can change what `other` is, beyond becoming its value where
    /// both are the same field. A token that may mean a place in an array may move its neighbours,
    /// and `-` is another new element each time.
    fn touches(&self, written: NodeId, other: NodeId) -> bool {
        let (left, right) = (self.path(written), self.path(other));
        let shared = left.iter().zip(&right).take_while(|(left, right)| left == right).count();
        let token = |node: NodeId| self.nodes[node as usize].token.as_str();
        if left[1..shared].iter().any(|&node| token(node) == "-") {
            return true;
        }
        match (left.get(shared), right.get(shared)) {
            (None, None) => is_array_token(token(written)),
            (Some(&left), Some(&right)) => {
                is_array_token(token(left)) && is_array_token(token(right))
            }
            _ => true,
        }
    }
}

/// Collects what the stages of a chain segment read and write.
#[derive(Clone, Debug, Default)]
pub struct LayoutBuilder {
    tree: Tree,
    columns: Vec<Wanted>,
    writes: Vec<usize>,
    fields: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    Field(usize),
    Other(Source),
}

impl LayoutBuilder {
    /// A column of this source; asking for the same one again gives the same column.
    pub fn column(&mut self, source: &Source) -> Result<ColumnId, PointerError> {
        let wanted = match source {
            Source::Field(pointer) => Wanted::Field(self.tree.node(pointer::tokens(pointer)?)?),
            other => Wanted::Other(other.clone()),
        };
        Ok(ColumnId(place(&mut self.columns, wanted)?))
    }

    /// A field that is written; asking for the same one again gives the same one. Members that an
    /// event lacks are appended in the order in which the fields were first named here.
    pub fn write(&mut self, pointer: &str) -> Result<WriteId, PointerError> {
        let node = self.tree.node(pointer::write_tokens(pointer)?)?;
        Ok(WriteId(place(&mut self.writes, node)?))
    }

    /// A field whose value is read event by event, see [`super::Batch::value`].
    pub fn field(&mut self, pointer: &str) -> Result<FieldId, PointerError> {
        let node = self.tree.node(pointer::tokens(pointer)?)?;
        Ok(FieldId(place(&mut self.fields, node)?))
    }

    /// The finished layout.
    pub fn build(self) -> Layout {
        let (nodes, numbers) = self.tree.number();
        let columns = self.columns.into_iter().map(|wanted| match wanted {
            Wanted::Field(node) => Origin::Field(numbers[node]),
            Wanted::Other(Source::Timestamp) => Origin::Timestamp,
            Wanted::Other(Source::Key) => Origin::Key,
            Wanted::Other(Source::Header(name) | Source::Field(name)) => Origin::Header(name),
        });
        let mut layout = Layout {
            columns: columns.collect(),
            writes: self.writes.iter().map(|&node| numbers[node]).collect(),
            fields: self.fields.iter().map(|&node| numbers[node]).collect(),
            nodes,
            write_waits: Vec::new(),
            column_waits: Vec::new(),
            column_write: Vec::new(),
        };
        layout.write_waits = layout.writes.iter().map(|&node| layout.touching(node)).collect();
        for origin in &layout.columns {
            let (waits, write) = match origin {
                Origin::Field(node) => (layout.touching(*node), layout.write_of(*node)),
                _ => (Vec::new(), None),
            };
            layout.column_waits.push(waits);
            layout.column_write.push(write);
        }
        layout
    }
}

/// The place of an item in a list, at whose end it is put if it is not there.
fn place<T: PartialEq>(list: &mut Vec<T>, item: T) -> Result<u16, PointerError> {
    let place = list.iter().position(|other| *other == item).unwrap_or(list.len());
    if place >= NODES_MAX {
        return Err(PointerError::TooMany);
    }
    if place == list.len() {
        list.push(item);
    }
    Ok(place as u16)
}

/// The tree of pointers while it grows, its nodes in the order in which they came.
#[derive(Clone, Debug)]
struct Tree {
    nodes: Vec<Growing>,
}

#[derive(Clone, Debug, Default)]
struct Growing {
    token: String,
    children: Vec<usize>,
}

impl Default for Tree {
    fn default() -> Self {
        Self { nodes: vec![Growing::default()] }
    }
}

impl Tree {
    fn node(&mut self, tokens: Vec<String>) -> Result<usize, PointerError> {
        let mut node = 0;
        for token in tokens {
            let children = &self.nodes[node].children;
            node = match children.iter().find(|&&child| self.nodes[child].token == token) {
                Some(&child) => child,
                None if self.nodes.len() == NODES_MAX => return Err(PointerError::TooMany),
                None => {
                    let child = self.nodes.len();
                    self.nodes.push(Growing { token, children: Vec::new() });
                    self.nodes[node].children.push(child);
                    child
                }
            };
        }
        Ok(node)
    }

    /// The nodes, parents before children and every subtree in one piece, and the new number of
    /// each old one.
    fn number(&self) -> (Vec<Node>, Vec<NodeId>) {
        let mut numbers = vec![0; self.nodes.len()];
        let mut order = Vec::with_capacity(self.nodes.len());
        let mut open = vec![(0, 0, 0)];
        while let Some((old, parent, depth)) = open.pop() {
            numbers[old] = order.len() as NodeId;
            order.push((old, parent, depth));
            let children = self.nodes[old].children.iter().rev();
            open.extend(children.map(|&child| (child, numbers[old], depth + 1)));
        }
        let mut nodes: Vec<Node> = Vec::with_capacity(order.len());
        for &(old, parent, depth) in &order {
            let Growing { token, children } = &self.nodes[old];
            let children = || children.iter().map(|&old| (&self.nodes[old].token, numbers[old]));
            let place = |(token, node): (&String, NodeId)| Some((array_place(token)?, node));
            let mut label = Vec::new();
            render::text(token, &mut label);
            label.push(b':');
            nodes.push(Node {
                token: token.clone(),
                parent,
                depth,
                end: 0,
                label,
                names: Names::new(
                    children().map(|(token, node)| (token.as_bytes(), node)).collect(),
                ),
                places: children().filter_map(place).collect(),
            });
        }
        for node in (0..nodes.len()).rev() {
            let end = nodes[node].end.max(node as NodeId + 1);
            nodes[node].end = end;
            let parent = nodes[node].parent as usize;
            nodes[parent].end = nodes[parent].end.max(end);
        }
        (nodes, numbers)
    }
}
