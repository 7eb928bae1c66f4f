//! The spatial index: an R-tree as SQLite keeps it, packed from sorted bounds.
//!
//! Entries are collected, sorted so that neighbours come together (sort-tile-recursive: slices by
//! longitude, each sorted by latitude), and fill one leaf after the other. The tables that hold an
//! R-tree and the bytes of its nodes are described at the head of SQLite's `ext/rtree/rtree.c`.

use super::record::Record;
use super::tree::{Pages, TableTree};
use crate::geometry::Bounds;
use std::io;

/// Entries that are sorted together; more are packed as several such groups, one after the other.
const GROUP: usize = 1 << 18;
/// Entries of a node: `RTREE_MAXCELLS`, which fit into a page.
const ENTRIES: usize = 51;
/// Bytes of a node: a header of 4, and in each entry its id and four coordinates.
const NODE: usize = 4 + ENTRIES * (8 + 4 * 4);
/// The number of the root.
const ROOT: i64 = 1;

/// The root pages of the tables of an R-tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct IndexRoots {
    pub(super) nodes: u32,
    pub(super) rows: u32,
    pub(super) parents: u32,
}

/// An index that gets its entries.
#[derive(Debug)]
pub(super) struct SpatialIndex {
    nodes: TableTree,
    /// The leaf of each row.
    rows: TableTree,
    parents: TableTree,
    /// How many entries are sorted together.
    group: usize,
    entries: Vec<Entry>,
    /// The leaves that are complete.
    leaves: Vec<Entry>,
    /// The number of the last node.
    last: i64,
    record: Record,
}

/// A row, or a node, and its bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Entry {
    id: i64,
    /// Lowest and highest longitude, lowest and highest latitude.
    bounds: [f32; 4],
}

impl Entry {
    fn middle(low: f32, high: f32) -> f32 {
        low / 2.0 + high / 2.0
    }

    fn x(&self) -> f32 {
        Entry::middle(self.bounds[0], self.bounds[1])
    }

    fn y(&self) -> f32 {
        Entry::middle(self.bounds[2], self.bounds[3])
    }
}

impl SpatialIndex {
    pub(super) fn at(roots: IndexRoots, pages: &mut Pages) -> io::Result<SpatialIndex> {
        SpatialIndex::grouped(roots, GROUP, pages)
    }

    pub(super) fn grouped(
        roots: IndexRoots,
        group: usize,
        pages: &mut Pages,
    ) -> io::Result<SpatialIndex> {
        let mut index = SpatialIndex {
            nodes: TableTree::at(roots.nodes),
            rows: TableTree::at(roots.rows),
            parents: TableTree::at(roots.parents),
            group,
            entries: Vec::new(),
            leaves: Vec::new(),
            last: ROOT,
            record: Record::default(),
        };
        // Its place: what it holds is known at the end.
        index.put_node(ROOT, &[0; NODE], pages)?;
        Ok(index)
    }

    /// Adds a row; its id must be higher than those before.
    pub(super) fn add(&mut self, row: i64, bounds: Bounds, pages: &mut Pages) -> io::Result<()> {
        if self.entries.len() == self.group {
            self.pack(pages)?;
        }
        let Bounds { west, south, east, north } = bounds;
        let bounds = [below(west), above(east), below(south), above(north)];
        self.entries.push(Entry { id: row, bounds });
        Ok(())
    }

    /// Writes what is left but the root node, which it returns.
    pub(super) fn finish(mut self, pages: &mut Pages) -> io::Result<Vec<u8>> {
        let mut depth = 0;
        let mut level = Vec::new();
        if self.leaves.is_empty() && self.entries.len() <= ENTRIES {
            level.append(&mut self.entries);
            for entry in &level {
                put_number(&mut self.rows, &mut self.record, (entry.id, ROOT), pages)?;
            }
        } else {
            self.pack(pages)?;
            level.append(&mut self.leaves);
            depth = 1;
        }
        let mut parents = Vec::new();
        while level.len() > ENTRIES {
            let below = std::mem::take(&mut level);
            for entries in below.chunks(ENTRIES) {
                let parent = self.add_node(entries, pages)?;
                parents.extend(entries.iter().map(|entry| (entry.id, parent.id)));
                level.push(parent);
            }
            depth += 1;
        }
        if depth > 0 {
            parents.extend(level.iter().map(|entry| (entry.id, ROOT)));
        }
        for pair in parents {
            put_number(&mut self.parents, &mut self.record, pair, pages)?;
        }
        for table in [self.nodes, self.rows, self.parents] {
            table.finish(pages)?;
        }
        Ok(node(depth, &level))
    }

    /// Writes the entries as leaves.
    fn pack(&mut self, pages: &mut Pages) -> io::Result<()> {
        let mut entries = std::mem::take(&mut self.entries);
        let mut leaf_of = Vec::with_capacity(entries.len());
        arrange(&mut entries);
        for entries in entries.chunks(ENTRIES) {
            let leaf = self.add_node(entries, pages)?;
            leaf_of.extend(entries.iter().map(|entry| (entry.id, leaf.id)));
            self.leaves.push(leaf);
        }
        leaf_of.sort_unstable();
        for pair in leaf_of {
            put_number(&mut self.rows, &mut self.record, pair, pages)?;
        }
        entries.clear();
        self.entries = entries;
        Ok(())
    }

    /// Adds a node that is not the root.
    fn add_node(&mut self, entries: &[Entry], pages: &mut Pages) -> io::Result<Entry> {
        self.last += 1;
        let id = self.last;
        self.put_node(id, &node(0, entries), pages)?;
        let none = [f32::INFINITY, f32::NEG_INFINITY, f32::INFINITY, f32::NEG_INFINITY];
        let bounds = entries.iter().fold(none, |[w, e, s, n], entry| {
            let [west, east, south, north] = entry.bounds;
            [w.min(west), e.max(east), s.min(south), n.max(north)]
        });
        Ok(Entry { id, bounds })
    }

    fn put_node(&mut self, id: i64, node: &[u8], pages: &mut Pages) -> io::Result<()> {
        self.record.begin();
        self.record.blob(node);
        self.nodes.append(id, self.record.bytes(), pages)
    }
}

/// Adds a row of an id and a number.
fn put_number(
    table: &mut TableTree,
    record: &mut Record,
    (id, number): (i64, i64),
    pages: &mut Pages,
) -> io::Result<()> {
    record.begin();
    record.integer(number);
    table.append(id, record.bytes(), pages)
}

/// Sorts so that the entries of a leaf are neighbours.
fn arrange(entries: &mut [Entry]) {
    let leaves = entries.len().div_ceil(ENTRIES);
    let slices = (1..).find(|slices| slices * slices >= leaves).unwrap_or(1);
    let slice = leaves.div_ceil(slices).max(1) * ENTRIES;
    entries.sort_unstable_by(|a, b| a.x().total_cmp(&b.x()).then(a.id.cmp(&b.id)));
    for entries in entries.chunks_mut(slice) {
        entries.sort_unstable_by(|a, b| a.y().total_cmp(&b.y()).then(a.id.cmp(&b.id)));
    }
}

/// The bytes of a node: its depth, which only the root says, and its entries.
fn node(depth: u16, entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(NODE);
    bytes.extend_from_slice(&depth.to_be_bytes());
    // At most 51.
    bytes.extend_from_slice(&(entries.len() as u16).to_be_bytes());
    for entry in entries {
        bytes.extend_from_slice(&entry.id.to_be_bytes());
        for number in entry.bounds {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
    }
    bytes.resize(NODE, 0);
    bytes
}

/// The nearest number of single precision that is not above.
fn below(number: f64) -> f32 {
    let near = number as f32;
    if f64::from(near) > number { near.next_down() } else { near }
}

/// The nearest number of single precision that is not below.
fn above(number: f64) -> f32 {
    let near = number as f32;
    if f64::from(near) < number { near.next_up() } else { near }
}
