"""GeoPackages, read by Python's sqlite3 and by GDAL.

The rules of the standard (OGC 12-128r17) that concern a file with feature tables are checked one by
one, then every value is compared with the document's.
"""

import json
import math
import re
import sqlite3
import struct
import subprocess

import shapely

import documents
from documents import Instant
from checking import Exporter, changes_of, common_changes, count, same, typed, unique_names

TYPES = {"integer": "INTEGER", "double": "DOUBLE", "boolean": "BOOLEAN", "instant": "DATETIME"}


def table_names(snapshot):
    names = [snapshot.source]
    if len(snapshot.types) > 1:
        names = [f"{snapshot.source}_{type.name}" for type in snapshot.types]
    names = [f"_{n}" if re.match("(gpkg_|sqlite_|rtree_)", n, re.I) else n for n in names]
    return unique_names(names, [], str.lower)


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def check_standard(database, file):
    """The requirements on the file and on its tables of contents."""
    one = lambda sql, *values: database.execute(sql, values).fetchall()
    with open(file, "rb") as raw:
        header = raw.read(100)
    assert header[:16] == b"SQLite format 3\0"
    assert header[68:72] == b"GPKG", "requirement 2: application_id"
    assert struct.unpack(">I", header[60:64])[0] == 10300, "requirement 2: user_version"
    assert one("PRAGMA integrity_check") == [("ok",)], "requirement 6"
    assert one("PRAGMA foreign_key_check") == [], "requirement 7"
    systems = dict(one("SELECT srs_id, organization || ':' || organization_coordsys_id FROM gpkg_spatial_ref_sys"))
    assert systems == {-1: "NONE:-1", 0: "NONE:0", 4326: "EPSG:4326"}, "requirement 11"
    definitions = one("SELECT definition FROM gpkg_spatial_ref_sys WHERE srs_id <= 0")
    assert definitions == [("undefined",)] * 2, "requirement 11"
    columns = {
        "gpkg_spatial_ref_sys": "srs_name:TEXT:1 srs_id:INTEGER:0 organization:TEXT:1 "
        "organization_coordsys_id:INTEGER:1 definition:TEXT:1 description:TEXT:0",
        "gpkg_contents": "table_name:TEXT:1 data_type:TEXT:1 identifier:TEXT:0 description:TEXT:0 "
        "last_change:DATETIME:1 min_x:DOUBLE:0 min_y:DOUBLE:0 max_x:DOUBLE:0 max_y:DOUBLE:0 srs_id:INTEGER:0",
        "gpkg_geometry_columns": "table_name:TEXT:1 column_name:TEXT:1 geometry_type_name:TEXT:1 "
        "srs_id:INTEGER:1 z:TINYINT:1 m:TINYINT:1",
        "gpkg_extensions": "table_name:TEXT:0 column_name:TEXT:0 extension_name:TEXT:1 definition:TEXT:1 scope:TEXT:1",
    }
    for table, wanted in columns.items():
        found = one(f"SELECT name, type, \"notnull\" FROM pragma_table_info('{table}')")
        assert " ".join(f"{name}:{type}:{notnull}" for name, type, notnull in found) == wanted, table
    tables = one("SELECT table_name, data_type, identifier, last_change, srs_id FROM gpkg_contents")
    for table, data_type, identifier, last_change, srs_id in tables:
        assert data_type == "features" and srs_id == 4326 and identifier == table
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", last_change), "requirement 15"
        assert not re.match("gpkg_", table, re.I)
        columns = one(f"SELECT name, type, pk FROM pragma_table_info(?)", table)
        assert columns[0] == ("fid", "INTEGER", 1), "requirement 29: an integer primary key"
        assert [name for name, type, _ in columns if type == "GEOMETRY"] == ["geom"], "requirement 30"
        allowed = {"INTEGER", "DOUBLE", "BOOLEAN", "DATETIME", "TEXT", "GEOMETRY"}
        assert {type for _, type, _ in columns} <= allowed, "requirement 5"
        registered = one("SELECT * FROM gpkg_geometry_columns WHERE table_name = ?", table)
        assert registered == [(table, "geom", "GEOMETRY", 4326, 0, 0)], "requirements 22 to 28"
        rows = one("SELECT column_name, extension_name, scope FROM gpkg_extensions WHERE table_name = ?", table)
        assert rows == [("geom", "gpkg_rtree_index", "write-only")], "requirement 75"
        index = f"rtree_{table}_geom"
        kinds = one("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", index)
        assert "USING rtree(id, minx, maxx, miny, maxy)" in kinds[0][0], "requirement 77"
        triggers = [name for name, in one("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?", table)]
        suffixes = ("insert", "update1", "update2", "update3", "update4", "delete")
        assert sorted(triggers) == sorted(f"{index}_{suffix}" for suffix in suffixes), "requirement 78"
        assert one("SELECT rtreecheck(?)", index) == [("ok",)]
    return [table for table, *_ in tables]


def geometry(blob):
    """(well-known binary, envelope) of the standard's binary form."""
    magic, version, flags, srs_id = struct.unpack("<2sBBi", blob[:8])
    assert (magic, version, srs_id) == (b"GP", 0, 4326) and flags & 0b11100001 == 1
    sizes = {0: 0, 1: 32}
    size = sizes[flags >> 1 & 7]
    envelope = struct.unpack("<4d", blob[8:40]) if size else None
    wkb = blob[8 + size :]
    shape = shapely.from_wkb(wkb)
    assert bool(flags & 16) == shape.is_empty, "the empty flag"
    if shape.is_empty:
        assert envelope is None
    elif envelope:
        west, south, east, north = documents.bounds(shape)
        assert envelope == (west, east, south, north), ("the envelope", envelope, shape)
    return wkb, shape


def add_functions(database):
    """What the triggers of the spatial index need, which GeoPackage software brings."""
    for index, name in ((0, "ST_MinX"), (2, "ST_MaxX"), (1, "ST_MinY"), (3, "ST_MaxY")):
        database.create_function(name, 1, lambda blob, index=index: documents.bounds(geometry(blob)[1])[index])
    database.create_function("ST_IsEmpty", 1, lambda blob: blob is not None and geometry(blob)[1].is_empty)


def check_index(database, table, bounds):
    """The spatial index answers as looking at all geometries does."""
    index = quoted(f"rtree_{table}_geom")
    assert database.execute(f"SELECT count(*) FROM {index}").fetchone() == (len(bounds),)
    boxes = [(-10, -10, 10, 10), (0, 0, 1, 1), (-180, -90, 180, 90), (5, -20, 6, 20), (100, 30, 140, 60)]
    for west, south, east, north in boxes:
        sql = f"SELECT id FROM {index} WHERE maxx >= ? AND minx <= ? AND maxy >= ? AND miny <= ?"
        found = {fid for fid, in database.execute(sql, (west, east, south, north))}
        expected = {f for f, (w, s, e, n) in bounds.items() if e >= west and w <= east and n >= south and s <= north}
        assert expected <= found, "the index misses geometries"
        # The index holds single precision, rounded outwards.
        near = {
            f
            for f, (w, s, e, n) in bounds.items()
            if e >= west - 1e-4 and w <= east + 1e-4 and n >= south - 1e-4 and s <= north + 1e-4
        }
        assert found <= near, "the index finds too much"


def check_triggers(database, table):
    """An edit by other software keeps the index right. It is undone again."""
    index, name = quoted(f"rtree_{table}_geom"), quoted(table)
    count_of = lambda: database.execute(f"SELECT count(*) FROM {index}").fetchone()[0]
    before = count_of()
    blob = struct.pack("<2sBBi", b"GP", 0, 1, 4326) + shapely.to_wkb(shapely.Point(1, 2), byte_order=1)
    fid = database.execute(f"INSERT INTO {name} (geom) VALUES (?)", (blob,)).lastrowid
    assert count_of() == before + 1
    database.execute(f"UPDATE {name} SET geom = NULL WHERE fid = ?", (fid,))
    assert count_of() == before
    database.execute(f"UPDATE {name} SET geom = ? WHERE fid = ?", (blob, fid))
    database.execute(f"UPDATE {name} SET fid = ? WHERE fid = ?", (fid + 1, fid))
    assert count_of() == before + 1
    database.execute(f"DELETE FROM {name} WHERE fid = ?", (fid + 1,))
    assert count_of() == before
    database.rollback()


def expected_rows(snapshot, changes):
    """By type: the rows as Python's sqlite3 should read them, and their geometries."""
    rows = {type.name: [] for type in snapshot.types}
    for entity in snapshot.entities:
        shape, source = documents.chosen(entity, snapshot.known, changes)
        cells = []
        for name, type in entity.type.columns:
            text = entity.values.get(name)
            if name == source and shape is not None:
                cells.append(None)
                continue
            cell = typed(type, text, name, changes)
            if isinstance(cell, Instant):
                cell = instant_text(cell.millis) or count(changes, name, "out_of_range")
            elif isinstance(cell, bool):
                cell = int(cell)
            elif isinstance(cell, float) and math.isnan(cell):
                cell = count(changes, name, "not_finite")
            cells.append(cell)
        rows[entity.type.name].append((shape, cells))
    return rows


def instant_text(millis):
    day, rest = divmod(millis, 86_400_000)
    low, high = documents.days(0, 1, 1), documents.days(10_000, 1, 1)
    if not low <= day < high:
        return None
    year = 1970 + day // 366 - 6
    while documents.days(year + 1, 1, 1) <= day:
        year += 1
    while documents.days(year, 1, 1) > day:
        year -= 1
    month = max(m for m in range(1, 13) if documents.days(year, m, 1) <= day)
    seconds, millis = divmod(rest, 1000)
    date = f"{year:04}-{month:02}-{day - documents.days(year, month, 1) + 1:02}"
    return f"{date}T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{millis:03}Z"


def check_snapshot(exporter, snapshot):
    file, report = exporter.export(snapshot, "geopackage", "out.gpkg")
    database = sqlite3.connect(file)
    tables = check_standard(database, file)
    assert tables == table_names(snapshot), tables
    changes = common_changes(snapshot, snapshot.entities)
    rows = expected_rows(snapshot, changes)
    assert changes_of(report) == changes, (snapshot.manifest, changes_of(report), changes)
    without = sum(shape is None for found in rows.values() for shape, _ in found)
    assert (report["written"], report["without_geometry"]) == (len(snapshot.entities), without)
    add_functions(database)
    for table, type in zip(tables, snapshot.types):
        names = unique_names([name for name, _ in type.columns], ["fid", "geom"], str.lower)
        found = [tuple(row) for row in database.execute("SELECT name, type FROM pragma_table_info(?)", (table,))]
        types = [TYPES.get(documents.kind_of(column), "TEXT") for _, column in type.columns]
        assert found[2:] == list(zip(names, types)), (found, names)
        cursor = database.execute(f"SELECT * FROM {quoted(table)} ORDER BY fid")
        bounds = {}
        for fid, ((shape, cells), row) in enumerate(zip(rows[type.name], cursor, strict=True), 1):
            assert row[0] == fid
            if shape is None:
                assert row[1] is None, row
            else:
                wkb, read = geometry(row[1])
                assert documents.unnamed_nan(wkb) == documents.unnamed_nan(documents.wkb(shape)), (read, shape)
                if not shape.is_empty:
                    bounds[fid] = documents.bounds(shape)
            for name, one, expected in zip(names, row[2:], cells, strict=True):
                assert same(one, expected), (snapshot.manifest, fid, name, one, expected)
        extent = database.execute("SELECT min_x, min_y, max_x, max_y FROM gpkg_contents WHERE table_name = ?", (table,)).fetchone()
        if bounds:
            west, south, east, north = zip(*bounds.values())
            assert extent == (min(west), min(south), max(east), max(north)), extent
        else:
            assert extent == (None,) * 4
        check_index(database, table, bounds)
        check_key(database, snapshot, table, type, names, rows[type.name])
        check_triggers(database, table)
    database.close()
    check_gdal(exporter, file, tables, rows, snapshot)
    again, _ = exporter.export(snapshot, "geopackage", "again.gpkg")
    assert open(file, "rb").read() == open(again, "rb").read(), "the same snapshot gives the same bytes"


def check_key(database, snapshot, table, type, names, rows):
    position = [name for name, _ in type.columns].index(type.key)
    indexes = database.execute("SELECT name, \"unique\" FROM pragma_index_list(?)", (table,)).fetchall()
    assert len(indexes) == 1, indexes
    columns = database.execute("SELECT name FROM pragma_index_info(?)", (indexes[0][0],)).fetchall()
    assert columns == [(names[position],)]
    with open(snapshot.manifest) as text:
        proven = "keys" not in json.load(text)["unproven"]
    values = [cells[position] for _, cells in rows if cells[position] is not None]
    assert indexes[0][1] == int(proven and len(set(values)) == len(values)), snapshot.manifest


def check_gdal(exporter, file, tables, rows, snapshot):
    """GDAL reads every layer without a warning, and converts it to GeoJSON with the same values."""
    done = subprocess.run(["ogrinfo", "-al", file], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 0 and done.stderr == b"", (snapshot.manifest, done.stderr)
    assert b"Warning" not in done.stdout.split(b"Layer name")[0], done.stdout[:500]
    for table, type in zip(tables, snapshot.types):
        command = ["ogr2ogr", "-f", "GeoJSON", "/vsistdout/", file, table, "-lco", "COORDINATE_PRECISION=17"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert done.returncode == 0, (snapshot.manifest, done.stderr)
        features = json.loads(done.stdout)["features"]
        assert len(features) == len(rows[type.name])
        names = unique_names([name for name, _ in type.columns], ["fid", "geom"], str.lower)
        for feature, (shape, cells) in zip(features, rows[type.name]):
            if shape is None or not shape.is_empty:
                assert (feature["geometry"] is None) == (shape is None), (snapshot.manifest, shape)
            for name, (_, column), expected in zip(names, type.columns, cells):
                if documents.kind_of(column) in ("text", "integer", "geography"):
                    if isinstance(expected, str) and expected.lstrip().startswith(("{", "[")):
                        # GDAL writes text that is JSON as JSON.
                        continue
                    found = feature["properties"][name]
                    assert found == expected, (snapshot.manifest, name, found, expected)


def main():
    exporter, checked = Exporter(), 0
    for snapshot in exporter.snapshots():
        check_snapshot(exporter, snapshot)
        checked += 1
    print(f"ok: geopackage: {checked} snapshots equal their documents, by sqlite3 {sqlite3.sqlite_version} and GDAL")


main()
