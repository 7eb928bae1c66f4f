//! Tables and R-trees that are written as pages, read by SQLite.

use super::super::record::Record;
use super::super::spatial::{IndexRoots, SpatialIndex};
use super::super::tree::{LOCK_PAGE, PAGE, Pages, TableTree};
use super::{Opened, folder};
use crate::geometry::Bounds;
use proptest::prelude::*;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Runs statements on a database, which is made if it is not there.
fn script(file: &Path, sql: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    let mut connection = runtime.block_on(options.connect()).unwrap();
    let sql = sqlx::AssertSqlSafe(sql.to_owned());
    runtime.block_on(sqlx::raw_sql(sql).execute(&mut connection)).unwrap();
    runtime.block_on(sqlx::Connection::close(connection)).unwrap();
}

fn root(opened: &mut Opened, table: &str) -> u32 {
    let rows = opened.rows("rootpage", &format!("FROM sqlite_master WHERE name = '{table}'"));
    rows[0][0].parse().unwrap()
}

/// A text of so many bytes that tells its row.
fn text(id: i64, length: usize) -> String {
    let mut text = id.to_string();
    while text.len() < length {
        text.push_str(&text.clone());
    }
    text.truncate(length);
    text
}

/// Writes rows of these lengths into two tables in turn; SQLite must find them and no fault.
fn check_rows(lengths: &[usize], gap: i64) {
    let folder = folder();
    let file = folder.path().join("file");
    let schema = "CREATE TABLE \"a\" (id INTEGER PRIMARY KEY, v TEXT);";
    script(&file, &format!("{schema}{}", schema.replace("\"a\"", "\"b\"")));
    let mut opened = Opened::at(&file);
    let mut tables = ["a", "b"].map(|table| TableTree::at(root(&mut opened, table)));
    drop(opened);
    let mut pages = Pages::open(&file).unwrap();
    let mut record = Record::default();
    let mut expected = [Vec::new(), Vec::new()];
    for (number, length) in lengths.iter().enumerate() {
        let id = 1 + number as i64 * gap;
        record.begin();
        record.text(&text(id, *length));
        tables[number % 2].append(id, record.bytes(), &mut pages).unwrap();
        expected[number % 2].push([id.to_string(), format!("'{}'", text(id, *length))]);
    }
    for table in tables {
        table.finish(&mut pages).unwrap();
    }
    pages.finish().unwrap();
    let mut opened = Opened::at(&file);
    let faults = opened.rows("integrity_check", "FROM pragma_integrity_check");
    assert_eq!(faults, [["'ok'"]]);
    for (table, expected) in ["a", "b"].into_iter().zip(expected) {
        assert_eq!(opened.rows("id v", &format!("FROM {table}")), expected);
        // By the interior pages.
        for [id, value] in expected.iter().step_by(37) {
            let row = opened.rows("v", &format!("FROM {table} WHERE id = {id}"));
            assert_eq!(row, [[value.clone()]]);
        }
    }
    drop(opened);
    // SQLite may go on writing.
    script(
        &file,
        "UPDATE a SET v = v || 'x'; DELETE FROM b WHERE id % 2; INSERT INTO b(v) VALUES('y');",
    );
    let faults = Opened::at(&file).rows("integrity_check", "FROM pragma_integrity_check");
    assert_eq!(faults, [["'ok'"]]);
}

#[test]
fn rows_of_any_number_are_found() {
    for rows in [0, 1, 2, 3, 300, 2_000] {
        check_rows(&vec![1_300; rows], 1);
    }
    check_rows(&vec![1; 20_000], 1_000_003);
}

#[test]
fn rows_that_a_page_just_holds_and_just_does_not_are_found() {
    // Where the rest takes no page, one, or two, and where the leaf keeps as little as it may.
    for middle in [PAGE - 35, 2 * PAGE - 8, PAGE - 35 + PAGE - 4, 3 * PAGE - 12, 489 + PAGE] {
        let lengths: Vec<_> = (middle - 30..middle + 30).collect();
        check_rows(&lengths, 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn rows_of_any_length_are_found(
        lengths in prop::collection::vec(
            prop_oneof![0..60_usize, 900..1_500_usize, 3_900..4_200_usize, 0..30_000_usize],
            0..150,
        ),
        gap in 1..100_000_i64,
    ) {
        check_rows(&lengths, gap);
    }
}

#[test]
fn the_page_that_sqlite_locks_is_left_out() {
    let folder = folder();
    let file = folder.path().join("file");
    script(&file, "CREATE TABLE a (id INTEGER PRIMARY KEY, v TEXT)");
    let mut table = TableTree::at(root(&mut Opened::at(&file), "a"));
    // Pages that nothing uses, up to the third before.
    let length = u64::from(LOCK_PAGE - 3) * PAGE as u64;
    File::options().write(true).open(&file).unwrap().set_len(length).unwrap();
    let mut pages = Pages::open(&file).unwrap();
    let mut record = Record::default();
    // One row's rest goes over it, and leaves come behind.
    for (id, length) in [(1, 10), (2, 30_000), (3, 4_000), (4, 4_000)] {
        record.begin();
        record.text(&text(id, length));
        table.append(id, record.bytes(), &mut pages).unwrap();
    }
    table.finish(&mut pages).unwrap();
    pages.finish().unwrap();
    let mut opened = Opened::at(&file);
    let found = opened.rows("length(v)", "FROM a");
    assert_eq!(found.concat(), ["10", "30000", "4000", "4000"]);
    // Faults of tables come before pages without a use, of which there are many here.
    let faults = opened.rows("quick_check", "FROM pragma_quick_check").concat();
    assert_eq!(faults.iter().find(|fault| !fault.contains("never used")), None);
    let mut zeros = vec![1; PAGE];
    let position = u64::from(LOCK_PAGE - 1) * PAGE as u64;
    File::open(&file).unwrap().read_exact_at(&mut zeros, position).unwrap();
    assert_eq!(zeros, [0; PAGE]);
}

/// Numbers that look random, the same each time.
fn numbers(seed: u64) -> impl Iterator<Item = f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    })
}

/// A file with an index that has no entry yet, opened as pages.
fn empty_index(file: &Path) -> (IndexRoots, Pages) {
    script(file, "CREATE VIRTUAL TABLE i USING rtree(id, minx, maxx, miny, maxy)");
    let mut opened = Opened::at(file);
    let [nodes, rows, parents] =
        ["i_node", "i_rowid", "i_parent"].map(|table| root(&mut opened, table));
    drop(opened);
    (IndexRoots { nodes, rows, parents }, Pages::open(file).unwrap())
}

/// Packs an index of so many boxes, and compares its answers with those of looking at each.
fn check_index(count: usize, group: usize) {
    let folder = folder();
    let file = folder.path().join("file");
    let (roots, mut pages) = empty_index(&file);
    let mut index = SpatialIndex::grouped(roots, group, &mut pages).unwrap();
    let mut random = numbers(count as u64 + 1);
    let mut number = || random.next().unwrap();
    let mut boxes = Vec::new();
    for row in 0..count {
        let (west, south) = (number() * 360.0 - 180.0, number() * 180.0 - 90.0);
        // Half of them are points.
        let size = if row % 2 == 0 { 0.0 } else { number() * 3.0 };
        let bounds = Bounds { west, south, east: west + size, north: south + size };
        let id = 1 + row as i64 * 3;
        index.add(id, bounds, &mut pages).unwrap();
        boxes.push((id, bounds));
    }
    let node = index.finish(&mut pages).unwrap();
    pages.finish().unwrap();
    let hex: String = node.iter().map(|byte| format!("{byte:02x}")).collect();
    script(&file, &format!("UPDATE i_node SET data = x'{hex}' WHERE nodeno = 1"));
    let mut opened = Opened::at(&file);
    let faults = opened.rows("integrity_check", "FROM pragma_integrity_check");
    assert_eq!(faults, [["'ok'"]]);
    assert_eq!(opened.rows("rtreecheck('i')", ""), [["'ok'"]], "{count} boxes");
    for round in 0..20 {
        let (west, south) = (number() * 360.0 - 180.0, number() * 180.0 - 90.0);
        let size = f64::from(round) * 9.0;
        let (east, north) = (west + size, south + size);
        let touches = |it: &Bounds, more: f64| {
            it.east >= west - more
                && it.west <= east + more
                && it.north >= south - more
                && it.south <= north + more
        };
        let found = opened.rows(
            "id",
            &format!(
                "FROM i WHERE maxx >= {west} AND minx <= {east} AND maxy >= {south} \
                 AND miny <= {north} ORDER BY id"
            ),
        );
        let found: Vec<i64> = found.concat().iter().map(|id| id.parse().unwrap()).collect();
        // The index holds single precision, rounded outwards.
        let near = |id: &i64| boxes.iter().any(|(own, it)| own == id && touches(it, 1e-4));
        assert!(found.iter().all(near), "{count} boxes, round {round}");
        let exact = boxes.iter().filter(|(_, it)| touches(it, 0.0)).map(|(id, _)| *id);
        let missed = exact.into_iter().find(|id| found.binary_search(id).is_err());
        assert_eq!(missed, None, "{count} boxes, round {round}");
    }
    drop(opened);
    // SQLite may go on writing.
    script(
        &file,
        "DELETE FROM i WHERE id % 2; INSERT INTO i SELECT 1000000 + value, value, value, 0, 1 \
         FROM (WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 200) \
         SELECT value FROM n)",
    );
    assert_eq!(Opened::at(&file).rows("rtreecheck('i')", ""), [["'ok'"]], "{count} boxes");
}

#[test]
fn a_packed_index_answers_as_looking_at_every_box_does() {
    for count in [0, 1, 51, 52, 102, 2_601, 2_602, 3_000] {
        check_index(count, 1 << 18);
    }
    // Several groups, one of them a single box.
    for count in [60, 61, 120, 601, 6_001] {
        check_index(count, 60);
    }
}

#[test]
fn bounds_are_rounded_outwards() {
    let folder = folder();
    let file = folder.path().join("file");
    let (roots, mut pages) = empty_index(&file);
    let mut index = SpatialIndex::at(roots, &mut pages).unwrap();
    let bounds = Bounds { west: 0.1, south: -0.1, east: 0.1, north: -0.1 };
    index.add(1, bounds, &mut pages).unwrap();
    let bounds = Bounds { west: -1e300, south: 5e-324, east: 1e300, north: 5e-324 };
    index.add(2, bounds, &mut pages).unwrap();
    let node = index.finish(&mut pages).unwrap();
    let number = |at: usize| f32::from_be_bytes(node[at..at + 4].try_into().unwrap());
    let found: Vec<_> = [12, 16, 20, 24, 36, 40, 44, 48].map(number).to_vec();
    assert!(f64::from(found[0]) < 0.1 && f64::from(found[1]) > 0.1, "{found:?}");
    assert!(f64::from(found[2]) < -0.1 && f64::from(found[3]) > -0.1, "{found:?}");
    assert_eq!(found[1], found[0].next_up());
    assert_eq!(found[4..6], [f32::NEG_INFINITY, f32::INFINITY]);
    assert!(found[6] == 0.0 && found[7] > 0.0, "{found:?}");
}
