"""GeoJSON, CSV, Cosmos documents and XML, read by Python's json and csv, by GDAL and PostgreSQL."""

import csv
import io
import json
import math
import re
import subprocess

import shapely

import documents
from documents import UNREADABLE
from checking import Exporter, changes_of, common_changes, count, unique_names

csv.field_size_limit(1 << 30)
EXACT = 2**53
# Bytes of a document that Cosmos DB accepts.
LARGEST = 2 << 20


def parse(text):
    """JSON that keeps numbers as they are written, and refuses what is not JSON."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    def pairs(members):
        names = [name for name, _ in members]
        assert len(set(names)) == len(names), f"a name occurs twice: {names}"
        return dict(members)

    return json.loads(text, parse_constant=refuse, object_pairs_hook=pairs)


def expected_member(type, text, column, changes, as_strings):
    """A member of a JSON object that holds the value."""
    value = documents.value(type, text)
    if documents.kind_of(type) in ("text", "geography", "instant"):
        if type == "xs:unsignedLong" and re.fullmatch("[0-9]+", (text or "").strip(documents.BLANKS)):
            value = int(text)
        else:
            return text
    if value is None or value is UNREADABLE:
        return text
    if isinstance(value, float):
        return value if math.isfinite(value) else count(changes, column, "not_finite")
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > EXACT and as_strings:
        count(changes, column, "number_as_text")
        return str(value)
    return value


def same_json(found, expected):
    """Equal as values. A number without a point may stand for a double."""
    if isinstance(expected, float):
        number = float(found) if isinstance(found, int) and not isinstance(found, bool) else found
        assert isinstance(number, float), (found, expected)
        # A reader may take -0 for a whole number, which has no sign.
        return number == expected
    return type(found) is type(expected) and found == expected


def area(ring):
    x0, y0 = ring[0]
    points = [(x - x0, y - y0) for x, y in ring]
    return sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in zip(points, points[1:]))


def polygons(geometry):
    """Rings of all polygons: lists of rings, the exterior first."""
    if geometry.geom_type == "Polygon":
        return [[list(ring.coords) for ring in (geometry.exterior, *geometry.interiors)]] if not geometry.is_empty else []
    return [one for part in getattr(geometry, "geoms", []) for one in polygons(part)]


def check_geometry(found, expected):
    """Equal but for the direction of rings, which must be that of RFC 7946. Says if one was turned."""
    shape = shapely.from_geojson(json.dumps(found))
    if shape.is_empty or expected.is_empty:
        assert shape.is_empty and expected.is_empty and found["type"] == expected.geom_type
        return False
    assert shape.geom_type == expected.geom_type
    turned = False
    one, other = polygons(shape), polygons(expected)
    assert len(one) == len(other)
    for rings, originals in zip(one, other):
        assert len(rings) == len(originals)
        for index, (ring, original) in enumerate(zip(rings, originals)):
            assert ring in (original, original[::-1]), (ring, original)
            size = area(ring)
            assert size >= -1e-12 if index == 0 else size <= 1e-12, (index, ring)
            turned |= ring != original
    if not one:
        assert shapely.equals_identical(shape, expected), (shape, expected)
    return turned


def expected_object(snapshot, entity, names, without, changes, as_strings):
    several = {"entity_type": entity.type.name} if len(snapshot.types) > 1 else {}
    members = {}
    for name, (column, type) in zip(names, entity.type.columns):
        if column != without:
            members[name] = expected_member(type, entity.values.get(column), column, changes, as_strings)
    return {**several, **members}


def check_members(found, expected, where):
    assert list(found) == list(expected), (where, list(found), list(expected))
    for name in expected:
        assert same_json(found[name], expected[name]), (where, name, found[name], expected[name])


def check_features(exporter, snapshot, format, ending):
    path, report = exporter.export(snapshot, format, f"out.{ending}")
    with open(path, encoding="utf-8", newline="") as file:
        text = file.read()
    if format == "geojson":
        collection = parse(text)
        assert list(collection) == ["type", "features"] and collection["type"] == "FeatureCollection"
        features = collection["features"]
    else:
        assert text == "" or text[0] == "\x1e"
        texts = text.split("\x1e")[1:]
        assert all(one.endswith("\n") for one in texts)
        features = [parse(one) for one in texts]
    changes = common_changes(snapshot, snapshot.entities)
    assert len(features) == len(snapshot.entities)
    without = 0
    taken = ["entity_type"] if len(snapshot.types) > 1 else []
    for entity, feature in zip(snapshot.entities, features):
        shape, source = documents.chosen(entity, snapshot.known, changes)
        key = {"id"} if entity.key else set()
        assert set(feature) == {"type", "geometry", "properties"} | key
        assert feature["type"] == "Feature" and feature.get("id") == entity.key
        if shape is None:
            assert feature["geometry"] is None
            without += 1
        elif check_geometry(feature["geometry"], shape):
            count(changes, source, "ring_orientation")
        names = unique_names([name for name, _ in entity.type.columns], taken)
        became = source if shape is not None else None
        expected = expected_object(snapshot, entity, names, became, changes, False)
        check_members(feature["properties"], expected, (snapshot.manifest, entity.key))
    assert changes_of(report) == changes, (snapshot.manifest, changes_of(report), changes)
    assert report["without_geometry"] == without
    return path, features


def check_gdal(path, features):
    done = subprocess.run(["ogrinfo", "-al", "-so", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    # Numbers of 64 bits without a sign are exact in the file, but GDAL has none.
    warnings = [line for line in done.stderr.splitlines() if b"out of 64bit integer range" not in line]
    assert done.returncode == 0 and not warnings, warnings
    assert f"Feature Count: {len(features)}".encode() in done.stdout or not features, done.stdout


def check_cosmos(exporter, snapshot):
    keys = [entity.key for entity in snapshot.entities]
    if None in keys or len(set(keys)) < len(keys):
        arguments = ["export", snapshot.manifest, "--format", "cosmos", "--output", f"{exporter.folder}/none"]
        exporter.run(*arguments, codes=(1,))
        return
    path, report = exporter.export(snapshot, "cosmos", "out.jsonl")
    with open(path, encoding="utf-8", newline="") as file:
        lines = file.read().split("\n")
    assert lines.pop() == ""
    changes = common_changes(snapshot, snapshot.entities)
    assert len(lines) == len(snapshot.entities)
    for entity, line in zip(snapshot.entities, lines):
        document = parse(line)
        if len(line.encode()) > LARGEST:
            count(changes, entity.type.key, "too_large")
        shape, source = documents.chosen(entity, snapshot.known, changes)
        encoded = "".join(f"%{ord(c):02X}" if c in "/\\?#%" else c for c in entity.key)
        assert document.pop("id") == encoded
        if encoded != entity.key:
            count(changes, entity.type.key, "id_encoded")
        location = document.pop("location")
        became = None
        if shape is not None:
            indexed = ("Point", "LineString", "Polygon", "MultiPolygon")
            if shape.geom_type in indexed and not shape.is_empty:
                became = source
                if check_geometry(location, shape):
                    count(changes, source, "ring_orientation")
            else:
                assert location is None
                count(changes, source, "geometry_unsupported")
        else:
            assert location is None
        columns = [name for name, _ in entity.type.columns]
        columns = [f"{n}_2" if n in ("id", "location", "ttl") or n.startswith("_") else n for n in columns]
        taken = ["entity_type"] if len(snapshot.types) > 1 else []
        names = unique_names(columns, taken)
        expected = expected_object(snapshot, entity, names, became, changes, True)
        check_members(document, expected, (snapshot.manifest, entity.key))
    assert changes_of(report) == changes, (snapshot.manifest, changes_of(report), changes)


def fields(text):
    """Rows of RFC 4180, with nulls and empty strings kept apart, which Python's reader cannot."""
    rows, row, position = [], [], 0
    while position < len(text):
        if text[position] == '"':
            end = position + 1
            while text[end] != '"' or text[end + 1 : end + 2] == '"':
                end += 2 if text[end] == '"' else 1
            row.append(text[position + 1 : end].replace('""', '"'))
            position = end + 1
        else:
            end = position
            while text[end] not in ",\r":
                assert text[end] not in '"\n', "a field that must be quoted"
                end += 1
            row.append(text[position:end] or None)
            position = end
        if text[position] == ",":
            position += 1
            if text[position] == "\r":
                row.append(None)
            else:
                continue
        assert text[position : position + 2] == "\r\n"
        rows.append(row)
        row, position = [], position + 2
    return rows


def check_csv(exporter, snapshot, type, tables):
    options = ["--entity", type.name] if len(snapshot.types) > 1 else []
    path, report = exporter.export(snapshot, "csv", "out.csv", *options)
    with open(path, encoding="utf-8", newline="") as file:
        text = file.read()
    entities = [entity for entity in snapshot.entities if entity.type is type]
    changes = common_changes(snapshot, entities)
    assert not text.startswith("\ufeff")
    rows = fields(text)
    names = [name for name, _ in type.columns]
    expected = [[entity.values.get(name) for name in names] for entity in entities]
    assert rows == [names, *expected], snapshot.manifest
    by_python = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert by_python == [names, *[[cell or "" for cell in row] for row in expected]]
    assert changes_of(report) == changes, (snapshot.manifest, changes_of(report), changes)
    tables.append((path, names, expected))


def main():
    exporter, checked = Exporter(), 0
    for snapshot in exporter.snapshots():
        xml = exporter.run("export", snapshot.manifest, "--format", "xml", "--output", "-")
        assert xml == snapshot.xml
        path, features = check_features(exporter, snapshot, "geojson", "geojson")
        check_gdal(path, features)
        check_features(exporter, snapshot, "geojsonseq", "geojsonl")
        check_cosmos(exporter, snapshot)
        for type in snapshot.types:
            check_csv(exporter, snapshot, type, [])
        checked += 1
    print(f"ok: text: {checked} snapshots as geojson, geojsonseq, csv, cosmos and xml equal their documents")


main()
