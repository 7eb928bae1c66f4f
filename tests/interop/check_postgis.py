"""Scripts for PostGIS, run by psql in a PostgreSQL cluster of the check's own.

Every value is read back and compared with the document's; the functions are compared with the answers
of geographiclib for every row.
"""

import glob
import json
import math
import random
import shutil
import sys

import shapely
from geographiclib.geodesic import Geodesic

import documents
from documents import Instant, UNREADABLE, kind_of
from cluster import Cluster
from checking import Exporter, changes_of, common_changes, count, same, typed, unique_names

TYPES = {
    "text": "text",
    "integer": "bigint",
    "double": "double precision",
    "boolean": "boolean",
    "instant": "timestamp with time zone",
    "geography": "geometry(Geometry,4326)",
}
RESERVED = ["geom", "distance_km", "ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"]


class Database(Cluster):
    def fresh(self):
        self.psql("-qc", "DROP DATABASE IF EXISTS checked", "-c", "CREATE DATABASE checked TEMPLATE prepared")

    def prepare(self):
        self.psql("-qc", "CREATE DATABASE prepared")
        self.psql("-qc", "CREATE EXTENSION postgis", database="prepared")

    def load(self, file, codes=(0,)):
        return self.psql("-q", "-v", "ON_ERROR_STOP=1", "-f", file, database="checked", codes=codes)

    def rows(self, sql):
        """Rows as lists of text or None."""
        sql = f"SELECT to_json(ARRAY[{sql}"
        done = self.psql("-qAt", "-f", "-", database="checked", input=sql.encode())
        assert done.stderr == b"", done.stderr
        return [json.loads(line) for line in done.stdout.decode().split("\n") if line]


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def table_names(snapshot):
    if len(snapshot.types) == 1:
        return [snapshot.source]
    return unique_names([f"{snapshot.source}_{type.name}" for type in snapshot.types], [])


def without_empty_members(shape):
    """What `geom` leaves out: members of collections that have no position."""
    if shape.geom_type in ("MultiLineString", "MultiPolygon", "GeometryCollection", "MultiPoint"):
        members = [without_empty_members(member) for member in shape.geoms if not member.is_empty]
        return type(shape)(members)
    return shape


class Plan:
    """The columns of a type's table, and how its key is kept."""

    def __init__(self, snapshot, type, has_geometry, key_rule):
        entities = [entity for entity in snapshot.entities if entity.type is type]
        self.has_unique_keys, key_kind = key_rule(snapshot, type, entities)
        wanted = []
        for name, column in type.columns:
            kind = key_kind if name == type.key else kind_of(column)
            wanted.append((name, name, kind))
            texts = [entity.values.get(name) for entity in entities]
            if kind == "geography" and not all(text is None or has_geometry(text) for text in texts):
                wanted.append((f"{name}_text", name, "other text"))
        self.wanted = wanted

    def names(self, reserved, fold=str):
        return unique_names([name for name, _, _ in self.wanted], reserved, fold)


def key_rule(snapshot, type, entities):
    """Whether the keys are a primary key, and the kind of its column."""
    with open(snapshot.manifest) as text:
        proven = "keys" not in json.load(text)["unproven"]
    keys = [entity.key for entity in entities]
    column = dict(type.columns)[type.key]
    numbers = [documents.value(column, key) for key in keys]
    are_numbers = kind_of(column) == "integer" and UNREADABLE not in numbers and None not in numbers
    are_numbers = are_numbers and len(set(numbers)) == len(numbers)
    present = [key for key in keys if key is not None]
    return proven and len(set(present)) == len(present), "integer" if are_numbers else "text"


def in_range(millis):
    return documents.days(1, 1, 1) * 86_400_000 <= millis < documents.days(10_000, 1, 1) * 86_400_000


def expected(snapshot, entity, plan, changes):
    """The values of an entity's row: geometries as shapely's, `geom` last."""
    values, shapes = [], {}
    for name, column in entity.type.columns:
        if column == "xs:anyType" and entity.values.get(name) is not None:
            shapes[name], change = snapshot.known.geometry(entity.values[name])
            if change:
                count(changes, name, change)
    types = dict(entity.type.columns)
    for _, source, kind in plan.wanted:
        text = entity.values.get(source)
        if kind == "geography":
            value = shapes.get(source)
        elif kind == "other text":
            value = text if shapes.get(source) is None else None
        elif kind == "text":
            value = text
        else:
            value = typed(types[source], text, source, changes)
            if isinstance(value, Instant):
                value = value.millis if in_range(value.millis) else count(changes, source, "out_of_range")
        values.append(value)
    chosen, _ = documents.chosen(entity, snapshot.known, {})
    return [*values, None if chosen is None else without_empty_members(chosen)]


def expression(name, kind):
    name = quoted(name)
    if kind == "geography":
        return f"encode(ST_AsEWKB({name}, 'NDR'), 'hex')"
    if kind == "instant":
        return f"(extract(epoch from {name}) * 1000)::bigint::text"
    return f"{name}::text"


def parsed(text, kind):
    if text is None:
        return None
    if kind in ("integer", "instant"):
        return int(text)
    if kind == "double":
        return float(text)
    if kind == "boolean":
        return {"true": True, "false": False}[text]
    return text


def ewkb(shape):
    binary = shapely.to_wkb(shapely.set_srid(shapely.force_2d(shape), 4326), byte_order=1, include_srid=True)
    # An empty point's SRID is left out by GEOS.
    if shape.geom_type == "Point" and shape.is_empty:
        binary = b"\x01\x01\x00\x00\x20\xe6\x10\x00\x00" + binary[-16:]
    return documents.unnamed_nan(binary).hex()


def check_snapshot(exporter, cluster, snapshot):
    file, report = exporter.export(snapshot, "postgis", "out.sql")
    cluster.fresh()
    cluster.load(file)
    changes = common_changes(snapshot, snapshot.entities)
    has_geometry = lambda text: snapshot.known.geometry(text)[0] is not None
    assert report["written"] == len(snapshot.entities)
    for table, type in zip(table_names(snapshot), snapshot.types):
        plan = Plan(snapshot, type, has_geometry, key_rule)
        names = plan.names(RESERVED)
        kinds = [kind for _, _, kind in plan.wanted]
        columns = list(zip([*names, "geom"], [*kinds, "geography"]))
        found = cluster.rows(
            "attname::text, format_type(atttypid, atttypmod)]) FROM pg_attribute "
            f"WHERE attrelid = '{quoted(table)}'::regclass AND attnum > 0 ORDER BY attnum"
        )
        assert found == [[name, TYPES.get(kind, "text")] for name, kind in columns], (found, columns)
        check_indexes(cluster, table, plan, names, type)
        sql = ", ".join(expression(name, kind) for name, kind in columns)
        rows = cluster.rows(f"{sql}]) FROM {quoted(table)} ORDER BY ctid")
        entities = [entity for entity in snapshot.entities if entity.type is type]
        for row, entity in zip(rows, entities, strict=True):
            values = expected(snapshot, entity, plan, changes)
            for (name, kind), text, value in zip(columns, row, values, strict=True):
                if isinstance(value, shapely.Geometry):
                    read = documents.unnamed_nan(bytes.fromhex(text)).hex()
                    assert read == ewkb(value), (snapshot.manifest, entity.key, name, read, value)
                else:
                    read = parsed(text, kind)
                    assert same(read, value), (snapshot.manifest, entity.key, name, read, value)
        for function, arguments in (
            ("nearby", "0, 0, 3000"),
            ("bbox", "-60, 170, 60, -10"),
            ("intersects", "'POLYGON((0 0,5 0,5 5,0 0))'"),
        ):
            name = quoted(f"{table}_{function}")
            cluster.rows(f"1]) FROM {name}({arguments})")
    assert changes_of(report) == changes, (snapshot.manifest, changes_of(report), changes)


def check_indexes(cluster, table, plan, names, type):
    found = cluster.rows(
        "indexdef, indisprimary::text, indisunique::text]) FROM pg_index JOIN pg_class c ON c.oid = indexrelid "
        f"JOIN pg_indexes ON indexname = relname WHERE indrelid = '{quoted(table)}'::regclass ORDER BY indexrelid"
    )
    position = [source for _, source, _ in plan.wanted].index(type.key)
    is_unique = "true" if plan.has_unique_keys else "false"
    assert found[0][1:] == [is_unique, is_unique], (table, found)
    assert names[position] in found[0][0].split(" USING btree ")[1], found
    assert [row[0].split(" USING ")[1] for row in found[1:]] == ["gist (geom)", "gist (((geom)::geography))"], found


# The functions.

HEAD = (
    '<Root><xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:msdata="urn:schemas-microsoft-com:xml-msdata">'
    '<xs:element name="Data" msdata:IsDataSet="true"><xs:complexType><xs:choice><xs:element name="Place">'
    "<xs:complexType><xs:sequence>{}</xs:sequence></xs:complexType></xs:element></xs:choice></xs:complexType>"
    '<xs:unique name="K" msdata:PrimaryKey="true"><xs:selector xpath=".//Place"/><xs:field xpath="EntityID"/>'
    "</xs:unique></xs:element></xs:schema>{}</Root>"
)
COLUMNS = [("EntityID", "string"), ("Latitude", "double"), ("Longitude", "double"), ("Shape", "anyType")]


def document(columns, rows):
    schema = "".join(f'<xs:element name="{name}" type="xs:{type}" minOccurs="0"/>' for name, type in columns)
    escape = lambda text: str(text).replace("&", "&amp;").replace("<", "&lt;")
    body = ""
    for row in rows:
        cells = "".join(f"<{name}>{escape(row[name])}</{name}>" for name, _ in columns if row.get(name) is not None)
        body += f"<Place>{cells}</Place>"
    return HEAD.format(schema, body).encode()


def line(start, end, step=20_000):
    """Positions on the shortest way between two, about `step` metres apart."""
    way = Geodesic.WGS84.InverseLine(start[1], start[0], end[1], end[0])
    parts = max(1, math.ceil(way.s13 / step))
    points = (way.Position(way.s13 * part / parts) for part in range(parts + 1))
    return [(point["lon2"], point["lat2"]) for point in points]


def distance(a, b):
    return Geodesic.WGS84.Inverse(a[1], a[0], b[1], b[0])["s12"]


def contains(span, lon, lat, margin=0.0):
    """Whether a box (south, west, north, east) contains a position, `margin` degrees wider."""
    south, west, north, east = span
    width = east - west + (360 if west > east else 0) + 2 * margin
    return south - margin <= lat <= north + margin and (lon - west + margin) % 360 <= width


def check_functions(exporter, cluster):
    maker = random.Random(7)
    place = lambda: (maker.uniform(-180, 180), math.degrees(math.asin(maker.uniform(-1, 1))))
    rows, points, lines = [], {}, {}
    for number in range(1500):
        lon, lat = maker.choice([place(), (maker.uniform(178, 180), maker.uniform(-30, 30)), (-179.99, 5.0)])
        lon, lat = maker.choice([(lon, lat), (-lon, lat)])
        rows.append({"EntityID": f"p{number}", "Latitude": repr(lat), "Longitude": repr(lon)})
        points[f"p{number}"] = (lon, lat)
    for number, (lon, lat) in enumerate([(180, 0), (-180, 1), (0, 90), (0, -90), (0, 0), (10, 0), (10, 10), (0, 10)]):
        rows.append({"EntityID": f"e{number}", "Latitude": lat, "Longitude": lon})
        points[f"e{number}"] = (lon, lat)
    for number in range(150):
        (x, y), (dx, dy) = place(), (maker.uniform(-9, 9), maker.uniform(-4, 4))
        end = ((x + dx + 180) % 360 - 180, max(-89, min(89, y + dy)))
        rows.append({"EntityID": f"l{number}", "Shape": f"LINESTRING ({x} {y}, {end[0]} {end[1]})"})
        lines[f"l{number}"] = line((x, y), end)
    # Not measurable, and no reason to fail.
    for number, text in enumerate(["POINT EMPTY", "GEOMETRYCOLLECTION (POINT EMPTY, POINT (3 3))", "no shape", "POINT (200 95)"]):
        rows.append({"EntityID": f"x{number}", "Shape": text})
    xml = document(COLUMNS, rows)
    file = f"{exporter.folder}/functions.sql"
    exporter.run("export", exporter.archive.add("functions", xml), "--format", "postgis", "--output", file, "--force", codes=(3,))
    cluster.fresh()
    cluster.load(file)
    ask = lambda call: [
        (key, float(km)) for key, km in cluster.rows(f'"EntityID", distance_km::text]) FROM functions_{call}')
    ]
    compared = 0
    for _ in range(40):
        here, km = maker.choice([place(), (179.5, 2.0), (-179.9, -3.0), (0.0, 89.9)]), maker.choice([50, 500, 3000, 19000])
        found = ask(f"nearby({here[1]!r}, {here[0]!r}, {km})")
        assert [km for _, km in found] == sorted(km for _, km in found), "nearest first"
        found = dict(found)
        for key, point in points.items():
            exact = distance(here, point) / 1000
            assert (key in found) == (exact <= km) or abs(exact - km) < 1e-6, (key, exact, km)
            assert key not in found or abs(found[key] - exact) < 1e-6, (key, exact, found[key])
            compared += 1
        for key, positions in lines.items():
            near = min(distance(here, position) for position in positions) / 1000
            if key in found:
                # Between two of the positions the line may be nearer.
                assert near - 11 <= found[key] * 1.006 and found[key] <= near * 1.006 + 0.01, (key, near, found[key])
            else:
                assert near * 1.006 >= km - 11, (key, near, km)
    boxes = [(-10, 170, 10, -170), (-90, -180, 90, 180), (0, 0, 10, 10), (40, -30, 80, 60), (-5, 180, 5, -180), (-20, 1, 20, 0)]
    for _ in range(30):
        (west, a), (east, b) = place(), place()
        boxes.append((min(a, b), west, max(a, b), east))
    for box in boxes:
        south, west, north, east = box
        found = ask("bbox({!r}, {!r}, {!r}, {!r})".format(*box))
        assert [km for _, km in found] == sorted(km for _, km in found), "nearest first"
        found = dict(found)
        middle = ((west + east + (360 if west > east else 0)) / 2, (south + north) / 2)
        for key, point in points.items():
            assert (key in found) == contains(box, *point), (key, point, box)
            exact = distance(middle, point) / 1000
            assert key not in found or abs(found[key] - exact) < 1e-6, (key, exact, found[key])
            compared += 1
        for key, positions in lines.items():
            if any(contains(box, *position, margin=-0.01) for position in positions):
                assert key in found, (key, box)
            elif not any(contains(box, *position, margin=0.2) for position in positions):
                assert key not in found, (key, box)
    for _ in range(30):
        x, y = maker.choice([(maker.uniform(-170, 170), maker.uniform(-60, 60)), (179.0, 3.0), (-179.5, -20.0)])
        corners = [(x, y), (x + 6, y), (x + 6, y + 5), (x, y + 5), (x, y)]
        corners = [((a + 180) % 360 - 180, b) for a, b in maker.choice([corners, corners[::-1]])]
        edge = [position for a, b in zip(corners, corners[1:]) for position in line(a, b, 1000)]
        turned = [((lon - x + 180) % 360 - 180, lat) for lon, lat in edge]
        polygon = shapely.Polygon(turned)
        wkt = "POLYGON((" + ", ".join(f"{a!r} {b!r}" for a, b in corners) + "))"
        found = dict(ask(f"intersects('{wkt}')"))
        assert set(found.values()) <= {0.0}
        for key, (lon, lat) in points.items():
            point = shapely.Point((lon - x + 180) % 360 - 180, lat)
            if polygon.exterior.distance(point) > 0.001:
                assert (key in found) == polygon.contains(point), (key, lon, lat, wkt)
                compared += 1
    plan = cluster.psql("-qAtc", "SET enable_seqscan = off", "-c", "EXPLAIN SELECT * FROM functions_nearby(1, 2, 3)", database="checked")
    assert b"functions_geom_idx1" in plan.stdout or b"functions_geography" in plan.stdout, plan.stdout
    return compared


# The script's own rules.


def check_rules(exporter, cluster):
    columns = [("EntityID", "string"), ("Latitude", "double"), ("Longitude", "double"), ("lat", "string"), ("distance_km", "double")]
    rows = [{"EntityID": "a", "Latitude": 1, "Longitude": 2, "lat": "x", "distance_km": 3}]
    manifest = exporter.archive.add("rules", document(columns, rows))
    file = f"{exporter.folder}/rules.sql"
    export = lambda *options, codes=(0,): exporter.run(
        "export", manifest, "--format", "postgis", "--output", file, "--force", *options, codes=codes
    )
    cluster.fresh()
    export("--table", 'new "one.My Places')
    cluster.load(file)
    assert cluster.rows('distance_km_2::text]) FROM "new ""one"."My Places_nearby"(1, 2, 1)') == [["3"]]
    refused = cluster.load(file, codes=(3,))
    assert b"already exists" in refused.stderr, refused.stderr
    assert cluster.rows('count(*)::text]) FROM "new ""one"."My Places"') == [["1"]], "the old table is whole"
    export("--table", 'new "one.My Places', "--replace")
    cluster.psql("-qc", 'CREATE VIEW mine AS SELECT "EntityID" FROM "new ""one"."My Places"', database="checked")
    refused = cluster.load(file, codes=(3,))
    assert b"depend" in refused.stderr, "what others made of the table is not dropped"
    cluster.psql("-qc", "DROP VIEW mine", "-c", 'TRUNCATE "new ""one"."My Places"', database="checked")
    cluster.load(file)
    cluster.load(file)
    assert cluster.rows('count(*)::text]) FROM "new ""one"."My Places"') == [["1"]]
    cluster.psql("-qc", "SET search_path = pg_temp, public", "-c", 'SELECT * FROM "new ""one"."My Places_bbox"(0, 0, 9, 9)', database="checked")
    for name in ("", ".x", "x.", "a\nb", "x" * 64):
        export("--table", name, codes=(2,))
    export("--geometry", "none")
    cluster.fresh()
    cluster.load(file)
    assert cluster.rows("count(*)::text]) FROM pg_proc WHERE proname LIKE 'rules_%'") == [["0"]]
    # The longest key that an index holds, and one byte more.
    wide = random.Random(1)
    for length, code in ((2692, 0), (2693, 1)):
        key = "".join(chr(wide.randrange(0x61, 0x7B)) for _ in range(length))
        manifest = exporter.archive.add("long", document(COLUMNS, [{"EntityID": key}]))
        export(codes=(code,))
        if code == 0:
            cluster.load(file)
    # Keys that are one number, and a key that is not one.
    for source, keys, type, is_key in (
        ("spelled", ["01", "1"], "text", True),
        ("numbers", ["01", "2"], "bigint", True),
        ("mixed", ["x", "2"], "text", True),
        ("twice", ["2", "2"], "text", False),
    ):
        typed_columns = [("EntityID", "long"), *COLUMNS[1:]]
        manifest = exporter.archive.add(source, document(typed_columns, [{"EntityID": key} for key in keys]))
        export()
        cluster.load(file)
        found = cluster.rows(f"format_type(atttypid, -1)]) FROM pg_attribute WHERE attrelid = '{source}'::regclass AND attnum = 1")
        assert found == [[type]], (source, found)
        found = cluster.rows(f"indisprimary::text]) FROM pg_index WHERE indrelid = '{source}'::regclass ORDER BY indexrelid LIMIT 1")
        assert found == [["true" if is_key else "false"]], source


def check_requirements():
    """Ends with 77 where the machine cannot run this."""
    if shutil.which("psql") is None or not glob.glob("/usr/lib/postgresql/*/bin/initdb"):
        print("skipped: there is no PostgreSQL server with PostGIS (packages postgresql, postgis)")
        sys.exit(77)


def main():
    check_requirements()
    exporter, checked = Exporter(), 0
    cluster = Database()
    cluster.prepare()
    check_rules(exporter, cluster)
    compared = check_functions(exporter, cluster)
    for snapshot in exporter.snapshots():
        check_snapshot(exporter, cluster, snapshot)
        checked += 1
    version = cluster.psql("-Atc", "SELECT current_setting('server_version'), postgis_lib_version()", database="prepared")
    print(f"ok: postgis: {checked} snapshots equal their documents, {compared} answers of the functions are right "
          f"({version.stdout.decode().strip()})")


if __name__ == "__main__":
    main()
