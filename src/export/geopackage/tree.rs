//! Tables of a SQLite database, written front to back: pages are only ever added to the file.
//!
//! SQLite makes the schema in an empty file. The rows of its tables are then written here, in the
//! order of their row ids, and SQLite opens the file again for what is left. Section numbers are
//! those of the [database file format](https://www.sqlite.org/fileformat2.html).

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes of a page. None are reserved at its end.
pub(super) const PAGE: usize = 4096;
/// Bytes that are written at once.
const BUFFER: usize = 256 << 10;
/// The page that SQLite locks by its bytes holds nothing (1.2).
pub(super) const LOCK_PAGE: u32 = (1 << 30) / PAGE as u32 + 1;
/// Where the header of the file says how many pages there are (1.3).
const PAGES_AT: u64 = 28;

/// What a page of a table holds (1.6).
const LEAF: u8 = 0x0d;
const INTERIOR: u8 = 0x05;
/// Bytes of the header of each.
const LEAF_HEADER: usize = 8;
const INTERIOR_HEADER: usize = 12;
/// Bytes of the pointer to a cell.
const POINTER: usize = 2;

/// Bytes of a row that are in its leaf, at most; of a row that is longer, at least; and in each
/// page of its rest (1.6).
const MOST_LOCAL: usize = PAGE - 35;
const LEAST_LOCAL: usize = (PAGE - 12) * 32 / 255 - 23;
const OVERFLOW: usize = PAGE - 4;
/// Bytes of a row that SQLite reads at most (SQLITE_MAX_LENGTH).
const LONGEST_ROW: usize = 1_000_000_000;
/// Cells of an interior page: each has a pointer, a page number and a row id. The last child needs
/// none.
const CELLS: usize = (PAGE - INTERIOR_HEADER) / (POINTER + 4 + 9);

/// The file of a database that SQLite has closed.
#[derive(Debug)]
pub(super) struct Pages {
    file: BufWriter<File>,
    /// The number of the page that comes next. The first page is 1.
    next: u32,
}

impl Pages {
    pub(super) fn open(path: &Path) -> io::Result<Pages> {
        let mut file = OpenOptions::new().write(true).open(path)?;
        let length = file.seek(SeekFrom::End(0))?;
        let pages = u32::try_from(length / PAGE as u64).map_err(too_large)?;
        Ok(Pages { file: BufWriter::with_capacity(BUFFER, file), next: number_after(pages)? })
    }

    /// Adds a page and returns its number.
    fn add(&mut self, page: &[u8]) -> io::Result<u32> {
        let number = self.next;
        self.next = number_after(number)?;
        self.file.write_all(page)?;
        if self.next == number + 2 {
            self.file.write_all(&[0; PAGE])?;
        }
        Ok(number)
    }

    /// Writes a page that SQLite has made.
    fn put(&mut self, number: u32, page: &[u8]) -> io::Result<()> {
        self.file.get_ref().write_all_at(page, u64::from(number - 1) * PAGE as u64)
    }

    /// Says in the header how many pages there are now.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.file.flush()?;
        let file = self.file.get_ref();
        let pages = file.metadata()?.len() / PAGE as u64;
        let pages = u32::try_from(pages).map_err(too_large)?;
        file.write_all_at(&pages.to_be_bytes(), PAGES_AT)
    }
}

fn number_after(page: u32) -> io::Result<u32> {
    let next = page.checked_add(if page + 1 == LOCK_PAGE { 2 } else { 1 });
    next.filter(|next| *next < u32::MAX - 1).ok_or_else(|| too_large(()))
}

fn too_large<E>(_: E) -> io::Error {
    io::Error::other("the database has more pages than SQLite allows")
}

/// A table that gets its rows.
#[derive(Debug)]
pub(super) struct TableTree {
    /// The page that the schema names.
    root: u32,
    leaf: Cells,
    /// The highest row id.
    last: i64,
    /// The pages above the leaves that are not full yet, from the leaves to the top.
    levels: Vec<Vec<Child>>,
    page: Vec<u8>,
}

/// A page that is complete.
#[derive(Debug)]
struct Child {
    page: u32,
    /// The highest row id below it.
    last: i64,
}

/// Cells of a page, one behind the other.
#[derive(Debug, Default)]
struct Cells {
    bytes: Vec<u8>,
    /// Where each begins.
    starts: Vec<usize>,
}

impl TableTree {
    /// A table without rows whose root is this page.
    pub(super) fn at(root: u32) -> TableTree {
        TableTree { root, leaf: Cells::default(), last: 0, levels: Vec::new(), page: Vec::new() }
    }

    /// Adds a row; its id must be higher than those before.
    pub(super) fn append(&mut self, id: i64, record: &[u8], pages: &mut Pages) -> io::Result<()> {
        if record.len() > LONGEST_ROW {
            return Err(io::Error::other("a row has more bytes than SQLite allows"));
        }
        let (local, rest) = record.split_at(local_bytes(record.len()));
        // Two numbers of at most nine bytes, and the page of the rest.
        let most = 18 + local.len() + 4;
        let used = LEAF_HEADER + self.leaf.bytes.len() + self.leaf.starts.len() * POINTER;
        if used + POINTER + most > PAGE && !self.leaf.starts.is_empty() {
            self.end_leaf(pages)?;
        }
        self.leaf.begin();
        let cell = &mut self.leaf.bytes;
        varint(record.len() as u64, cell);
        varint(id.unsigned_abs(), cell);
        cell.extend_from_slice(local);
        if !rest.is_empty() {
            cell.extend_from_slice(&pages.next.to_be_bytes());
            overflow(rest, pages, &mut self.page)?;
        }
        self.last = id;
        Ok(())
    }

    /// Writes the pages that are not complete yet.
    pub(super) fn finish(mut self, pages: &mut Pages) -> io::Result<()> {
        if self.levels.is_empty() {
            page(LEAF, None, &self.leaf, &mut self.page);
            return pages.put(self.root, &self.page);
        }
        self.end_leaf(pages)?;
        let levels = std::mem::take(&mut self.levels);
        let mut below: Option<Child> = None;
        let top = levels.len() - 1;
        for (level, mut children) in levels.into_iter().enumerate() {
            children.extend(below.take());
            if level == top {
                interior(&children, &mut self.page);
                return pages.put(self.root, &self.page);
            }
            below = Some(self.add_interior(&children, pages)?);
        }
        Ok(())
    }

    fn end_leaf(&mut self, pages: &mut Pages) -> io::Result<()> {
        page(LEAF, None, &self.leaf, &mut self.page);
        let page = pages.add(&self.page)?;
        self.leaf.bytes.clear();
        self.leaf.starts.clear();
        self.add_child(0, Child { page, last: self.last }, pages)
    }

    /// Adds a page to those of a level. One that would be the only child of its parent never
    /// remains.
    fn add_child(&mut self, level: usize, child: Child, pages: &mut Pages) -> io::Result<()> {
        if self.levels.len() == level {
            self.levels.push(Vec::new());
        }
        let Some(children) = self.levels.get_mut(level) else { return Ok(()) };
        children.push(child);
        if children.len() > CELLS {
            let complete: Vec<_> = children.drain(..CELLS - 1).collect();
            let parent = self.add_interior(&complete, pages)?;
            self.add_child(level + 1, parent, pages)?;
        }
        Ok(())
    }

    fn add_interior(&mut self, children: &[Child], pages: &mut Pages) -> io::Result<Child> {
        interior(children, &mut self.page);
        let page = pages.add(&self.page)?;
        Ok(Child { page, last: children.last().map_or(0, |child| child.last) })
    }
}

impl Cells {
    fn begin(&mut self) {
        self.starts.push(self.bytes.len());
    }
}

/// Bytes of a row of this length that are in its leaf.
fn local_bytes(length: usize) -> usize {
    if length <= MOST_LOCAL {
        return length;
    }
    let local = LEAST_LOCAL + (length - LEAST_LOCAL) % OVERFLOW;
    if local <= MOST_LOCAL { local } else { LEAST_LOCAL }
}

/// Writes the rest of a row as a chain of pages.
fn overflow(rest: &[u8], pages: &mut Pages, page: &mut Vec<u8>) -> io::Result<()> {
    let mut pieces = rest.chunks(OVERFLOW).peekable();
    while let Some(piece) = pieces.next() {
        let next = if pieces.peek().is_some() { number_after(pages.next)? } else { 0 };
        page.clear();
        page.extend_from_slice(&next.to_be_bytes());
        page.extend_from_slice(piece);
        page.resize(PAGE, 0);
        pages.add(page)?;
    }
    Ok(())
}

fn interior(children: &[Child], out: &mut Vec<u8>) {
    let Some((right, others)) = children.split_last() else { return };
    let mut cells = Cells::default();
    for child in others {
        cells.begin();
        cells.bytes.extend_from_slice(&child.page.to_be_bytes());
        varint(child.last.unsigned_abs(), &mut cells.bytes);
    }
    page(INTERIOR, Some(right.page), &cells, out);
}

/// One page: header, pointers, and the cells at its end (1.6).
fn page(kind: u8, right: Option<u32>, cells: &Cells, out: &mut Vec<u8>) {
    let start = PAGE - cells.bytes.len();
    // Fewer than 2^16, as the page is.
    let short = |number: usize| (number as u16).to_be_bytes();
    out.clear();
    out.push(kind);
    // No free block.
    out.extend_from_slice(&short(0));
    out.extend_from_slice(&short(cells.starts.len()));
    out.extend_from_slice(&short(start));
    // No free bytes between cells.
    out.push(0);
    out.extend(right.map(u32::to_be_bytes).into_iter().flatten());
    for cell in &cells.starts {
        out.extend_from_slice(&short(start + cell));
    }
    out.resize(start, 0);
    out.extend_from_slice(&cells.bytes);
}

/// A number below 2^56 in groups of seven bits (1.6).
pub(super) fn varint(number: u64, out: &mut Vec<u8>) {
    let groups = (64 - (number | 1).leading_zeros()).div_ceil(7);
    for group in (0..groups).rev() {
        let bits = (number >> (group * 7)) as u8 & 0x7f;
        out.push(if group > 0 { bits | 0x80 } else { bits });
    }
}
