"""Scripts for Azure SQL, without a SQL Server: none runs on the machines that run this.

sqlglot parses every batch as T-SQL, and a small reader of the check's own does what sqlcmd and the
server do with batches and literals, until it has the rows again, which are compared with the
document's. What only a server can tell is listed in docs/leaving.md.
"""

import datetime
import math
import re
import subprocess

import shapely
import sqlglot
from sqlglot import exp

import documents
from checking import Exporter, changes_of, common_changes, count, same, typed, unique_names
from documents import Instant, kind_of
from check_postgis import COLUMNS, Plan, document, in_range, key_rule, without_empty_members

STAGING = "__nightjar_staging"


def batches(script):
    """What sqlcmd sends: the text between lines that are GO, in which nothing is left for it to change."""
    text = script.decode("utf-8")
    assert text[0] == "\ufeff" and "\ufeff" not in text[1:20]
    lines = text[1:].split("\n")
    assert lines[-1] == "" and "\r" not in text, "line ends are line feeds"
    assert not re.search("[\x85\u2028\u2029]", text), "no other line ends"
    assert lines.index(":on error exit") == 2
    sent, batch = [], []
    for line in lines[:-1]:
        assert "$(" not in line, ("a variable of sqlcmd", line)
        assert not line.endswith("\\"), ("a continued line", line)
        if line.strip().upper() == "GO":
            assert line == "GO"
            sent.append("\n".join(batch))
            batch = []
        elif line.startswith(":"):
            assert line == ":on error exit"
        else:
            words = line.split()
            assert not words or words[0].upper() not in ("EXIT", "QUIT", "RESET", "ED", "!!"), line
            # Literals do not go on over a line end.
            assert not line.startswith("(") or line.count("'") % 2 == 0, line
            batch.append(line)
    assert batch == [], "the last batch ends with GO"
    return sent


TOKEN = re.compile(
    r"\s*(?:(?P<string>N?'(?:[^']|'')*')|(?P<name>\[(?:[^\]]|\]\])*\])|(?P<number>-?[0-9.]+(?:e-?[0-9]+)?)"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*(?:::[A-Za-z]+)?)|(?P<sign>[(),.;=*<>]+?))",
    re.S,
)


class Reader:
    """Evaluates the expressions of INSERT ... VALUES."""

    def __init__(self, text):
        self.text, self.at = text, 0

    def next(self):
        match = TOKEN.match(self.text, self.at)
        assert match, self.text[self.at : self.at + 80]
        self.at = match.end()
        return match.lastgroup, match.group(match.lastgroup)

    def peek(self):
        at = self.at
        if self.text[at:].strip() == "":
            return None, None
        found = self.next()
        self.at = at
        return found

    def want(self, *texts):
        for text in texts:
            kind, found = self.next()
            assert found == text, (found, text, self.text[self.at - 60 : self.at + 20])

    def string(self):
        kind, text = self.next()
        assert kind == "string" and text[0] == "N", text
        return text[2:-1].replace("''", "'")

    def value(self):
        kind, token = self.peek()
        if kind == "string" and token[0] == "N":
            return self.string()
        if kind == "string":
            self.next()
            assert re.fullmatch(r"'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}'", token), token
            instant = datetime.datetime.fromisoformat(token[1:-1]).replace(tzinfo=datetime.timezone.utc)
            since = instant - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
            return ("instant", since // datetime.timedelta(milliseconds=1))
        if kind == "number":
            self.next()
            return float(token) if "e" in token else int(token)
        if token == "NULL":
            self.next()
            return None
        if token == "CAST":
            self.want("CAST", "(", "NULL", "AS")
            _, type = self.next()
            if type == "datetime2":
                self.want("(", "3", ")")
            self.want(")")
            return ("null", type)
        if token == "REPLACE":
            return self.replaced()[0]
        if token == "geography::STGeomFromText":
            self.want(token, "(")
            wkt = self.string()
            self.want(",", "4326", ")")
            is_valid = self.peek()[1] == "."
            if is_valid:
                self.want(".", "MakeValid", "(", ")")
            return ("geography", wkt, is_valid)
        raise AssertionError(token)

    def replaced(self):
        """(text, whether a collation is named within)."""
        self.want("REPLACE", "(")
        if self.peek()[1] == "REPLACE":
            text, has_collation = self.replaced()
        else:
            text, has_collation = self.string(), False
            self.want("COLLATE", "Latin1_General_100_BIN2")
            has_collation = True
        self.want(",")
        stand_in = self.string()
        self.want(",", "NCHAR", "(")
        code = int(self.next()[1])
        self.want(")", ")")
        assert len(stand_in) == 1 and has_collation and code < 0x10000
        return text.replace(stand_in, chr(code)), has_collation

    def row(self):
        self.want("(")
        values = [self.value()]
        while self.peek()[1] == ",":
            self.want(",")
            values.append(self.value())
        self.want(")")
        return values


def unbracketed(name):
    assert name[0] == "[" and name[-1] == "]", name
    return name[1:-1].replace("]]", "]")


NAME = r"\[(?:[^\]]|\]\])*\]"


class Table:
    def __init__(self, columns):
        self.columns, self.rows, self.indexes, self.primary = columns, [], [], None


class Server:
    """The state that a script leaves."""

    def __init__(self):
        self.tables, self.functions, self.in_transaction, self.schemas = {}, {}, False, []

    def run(self, script):
        sent = batches(script)
        assert "QUOTED_IDENTIFIER ON" in sent[0] and "XACT_ABORT ON" in sent[0]
        for batch in sent[1:]:
            batch = re.sub(r"(?m)^-- .*\n", "", batch)
            self.batch(batch)
        assert not self.in_transaction

    def batch(self, batch):
        if batch.startswith("INSERT INTO "):
            return self.insert(batch)
        if batch.startswith("CREATE FUNCTION "):
            name = re.match(rf"CREATE FUNCTION ({NAME}\.{NAME})\((.*)\)\nRETURNS TABLE AS RETURN\n", batch)
            assert self.in_transaction and name[1] not in self.functions, batch
            self.functions[name[1]] = name[2]
            return
        if batch.startswith("CREATE TABLE "):
            name, body = re.fullmatch(rf"CREATE TABLE ({NAME}\.{NAME}) \(\n(.*)\n\);", batch, re.S).groups()
            body, _, primary = body.partition(",\n    PRIMARY KEY CLUSTERED ")
            lines = [re.fullmatch(rf"    ({NAME}) (.*)", line) for line in body.split(",\n")]
            assert name not in self.tables and not self.in_transaction
            self.tables[name] = Table([(unbracketed(line[1]), line[2]) for line in lines])
            self.tables[name].primary = unbracketed(primary[1:-1]) if primary else None
            return
        for statement in batch.split("\n"):
            self.statement(statement)

    def statement(self, statement):
        if match := re.fullmatch(rf"DROP TABLE IF EXISTS ({NAME}\.{NAME});", statement):
            self.tables.pop(match[1], None)
        elif match := re.fullmatch(rf"DROP FUNCTION IF EXISTS ({NAME}\.{NAME});", statement):
            self.functions.pop(match[1], None)
        elif match := re.fullmatch(rf"IF OBJECT_ID\(N'(.*)'\) IS NOT NULL THROW 50000, N'.* exists already.', 1;", statement):
            name = match[1].replace("''", "'")
            if name in self.tables or name in self.functions:
                raise FileExistsError(name)
        elif match := re.fullmatch(rf"IF SCHEMA_ID\(N'(.*)'\) IS NULL EXEC\(N'CREATE SCHEMA (.*)'\);", statement):
            self.schemas.append(match[1])
        elif match := re.fullmatch(rf"IF (\d+) <> \(SELECT COUNT_BIG\(\*\) FROM ({NAME}\.{NAME})\) THROW 50000, N'Rows are missing.', 1;", statement):
            assert len(self.tables[match[2]].rows) == int(match[1])
        elif match := re.fullmatch(rf"CREATE INDEX \[key_index\] ON ({NAME}\.{NAME}) \(({NAME})\);", statement):
            self.tables[match[1]].indexes.append(unbracketed(match[2]))
        elif match := re.fullmatch(rf"CREATE SPATIAL INDEX \[geom_index\] ON ({NAME}\.{NAME}) \(\[geom\]\) USING GEOGRAPHY_AUTO_GRID;", statement):
            table = self.tables[match[1]]
            assert table.primary, "a spatial index needs a clustered primary key"
            table.indexes.append("geom")
        elif statement == "BEGIN TRANSACTION;":
            self.in_transaction = True
        elif statement == "COMMIT TRANSACTION;":
            assert self.in_transaction
            self.in_transaction = False
        elif match := re.fullmatch(rf"EXEC sp_rename N'((?:[^']|'')*)', N'((?:[^']|'')*)';", statement):
            old, new = match[1].replace("''", "'"), match[2].replace("''", "'")
            schema = re.match(NAME, old)[0]
            new = f"{schema}.[{new.replace(']', ']]')}]"
            assert self.in_transaction and new not in self.tables
            self.tables[new] = self.tables.pop(old)
        else:
            assert statement == "", statement

    def insert(self, batch):
        head, rest = batch.split("\n", 1)
        name, columns = re.fullmatch(rf"INSERT INTO ({NAME}\.{NAME}) \((.*)\) VALUES", head).groups()
        table = self.tables[name]
        assert [unbracketed(it) for it in re.findall(NAME, columns)] == [name for name, _ in table.columns]
        assert len(batch.encode()) < 4 << 20 or rest.count("\n") == 0
        reader, rows = Reader(rest), [None]
        rows = [reader.row()]
        while reader.peek()[1] == ",":
            reader.want(",")
            rows.append(reader.row())
        reader.want(";")
        assert reader.peek()[1] is None and len(rows) <= 1000
        table.rows.extend(rows)


def parse(script):
    """sqlglot reads every batch as T-SQL."""
    parsed = 0
    for batch in batches(script):
        # sqlglot does not know THROW, the static methods of the type geography, spatial indexes, and
        # clustered keys without a name.
        batch = batch.replace("PRIMARY KEY CLUSTERED (", "PRIMARY KEY (")
        batch = re.sub(r"THROW 50000, (N'(?:[^']|'')*'), 1;", r"SELECT \1;", batch)
        batch = batch.replace("geography::", "geography_").replace("CREATE SPATIAL INDEX", "CREATE INDEX")
        batch = batch.replace(" USING GEOGRAPHY_AUTO_GRID", "")
        for statement in sqlglot.parse(batch, read="tsql"):
            if statement is not None:
                assert not isinstance(statement, exp.Command) or batch.startswith(("SET ", "EXEC ", "IF ", "BEGIN", "DROP")), batch[:300]
                parsed += 1
    return parsed


def on_the_globe(shape):
    if shape.is_empty:
        return True
    west, south, east, north = documents.bounds(shape)
    return west >= -180 and east <= 180 and south >= -90 and north <= 90


def oriented(shape):
    """Exterior rings counter-clockwise, holes clockwise; those without an area as they are."""
    if shape.geom_type == "Polygon" and not shape.is_empty:
        def turned(ring, wanted):
            x0, y0 = ring.coords[0]
            points = [(x - x0, y - y0) for x, y in ring.coords]
            area = sum(a * d - c * b for (a, b), (c, d) in zip(points, points[1:]))
            return ring if area * wanted >= 0 else shapely.reverse(ring)
        return shapely.Polygon(turned(shape.exterior, 1), [turned(ring, -1) for ring in shape.interiors])
    if shape.geom_type in ("MultiPolygon", "GeometryCollection"):
        return type(shape)([oriented(member) for member in shape.geoms])
    return shape


def expected(snapshot, entity, plan, changes):
    """The values of an entity's row, `geom` last."""
    shapes = {}
    for name, column in entity.type.columns:
        if column == "xs:anyType" and entity.values.get(name) is not None:
            shape, change = snapshot.known.geometry(entity.values[name])
            if change:
                count(changes, name, change)
            if shape is not None:
                shape = shapely.force_2d(shape)
                if not on_the_globe(shape):
                    shape = count(changes, name, "out_of_range")
                else:
                    turned = oriented(shape)
                    if documents.wkb(turned) != documents.wkb(shape):
                        count(changes, name, "ring_orientation")
                    shape = turned
            shapes[name] = shape
    values, types = [], dict(entity.type.columns)
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
            elif isinstance(value, float) and not math.isfinite(value):
                value = count(changes, source, "not_finite")
            elif isinstance(value, float) and value != 0 and abs(value) < 2.2250738585072014e-308:
                value = count(changes, source, "out_of_range")
        values.append(value)
    chosen, source = documents.chosen(entity, snapshot.known, {})
    if source is not None:
        chosen = shapes[source]
    return [*values, None if chosen is None else without_empty_members(chosen)]


def check_value(found, value, kind, is_geom):
    if kind == "geography":
        if value is None:
            return found == ("null", "geography")
        tag, wkt, is_valid = found
        same_shape = documents.unnamed_nan(documents.wkb(shapely.from_wkt(wkt))) == documents.unnamed_nan(documents.wkb(value))
        return tag == "geography" and is_valid == is_geom and same_shape
    if kind == "instant":
        return found == (("null", "datetime2") if value is None else ("instant", value))
    if kind == "boolean":
        return found is None if value is None else found == int(value) and type(found) is int
    return same(found, value)


def units(text):
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def type_of(kind, texts, is_key, is_primary):
    if kind == "text" and is_key:
        type = "nvarchar(450) COLLATE Latin1_General_100_BIN2"
    elif kind == "text":
        longest = max((units(text) for text in texts if text is not None), default=0)
        type = "nvarchar(2560)" if longest <= 2560 else "nvarchar(4000)" if longest <= 4000 else "nvarchar(max)"
    else:
        type = {
            "integer": "bigint", "double": "float", "boolean": "bit", "instant": "datetime2(3)",
            "geography": "geography", "other text": "nvarchar(max)",
        }[kind]
    return f"{type} NOT NULL" if is_primary else f"{type} NULL"


def blank_rule(snapshot, type, entities):
    """Keys are compared without blanks at their ends."""
    is_unique, kind = key_rule(snapshot, type, entities)
    keys = [entity.key.rstrip(" ") for entity in entities if entity.key is not None]
    return is_unique and len(set(keys)) == len(keys), kind


def check_snapshot(exporter, snapshot):
    file, report = exporter.export(snapshot, "azure-sql", "out.sql")
    with open(file, "rb") as raw:
        script = raw.read()
    parsed = parse(script)
    server = Server()
    server.run(script)
    changes = common_changes(snapshot, snapshot.entities)
    has_geometry = lambda text: (shape := snapshot.known.geometry(text)[0]) is not None and on_the_globe(shape)
    names = [snapshot.source]
    if len(snapshot.types) > 1:
        names = unique_names([f"{snapshot.source}_{type.name}" for type in snapshot.types], [], str.lower)
    assert set(server.tables) == {f"[dbo].[{name}]" for name in names}, "no staging table is left"
    assert set(server.functions) == {f"[dbo].[{name}_{end}]" for name in names for end in ("nearby", "bbox", "intersects")}
    for name, type in zip(names, snapshot.types):
        table = server.tables[f"[dbo].[{name}]"]
        entities = [entity for entity in snapshot.entities if entity.type is type]
        plan = Plan(snapshot, type, has_geometry, blank_rule)
        columns = plan.names(["geom", "distance_km"], str.lower)
        wanted = []
        for column, (_, source, kind) in zip(columns, plan.wanted):
            is_key = source == type.key and kind != "other text"
            texts = [entity.values.get(source) for entity in entities]
            wanted.append((column, type_of(kind, texts, is_key, is_key and plan.has_unique_keys)))
        assert table.columns == [*wanted, ("geom", "geography NULL")], (table.columns, wanted)
        key = columns[[source for _, source, _ in plan.wanted].index(type.key)]
        assert table.primary == (key if plan.has_unique_keys else None), table.primary
        assert table.indexes == (["geom"] if plan.has_unique_keys else [key]), table.indexes
        kinds = [*[kind for _, _, kind in plan.wanted], "geography"]
        for row, entity in zip(table.rows, entities, strict=True):
            values = expected(snapshot, entity, plan, changes)
            for index, (kind, found, value) in enumerate(zip(kinds, row, values, strict=True)):
                is_geom = index == len(columns)
                assert check_value(found, value, kind, is_geom), (snapshot.manifest, entity.key, index, found, value)
    assert changes_of(report) == changes, (snapshot.manifest, changes_of(report), changes)
    return parsed


def check_rules(exporter):
    file = f"{exporter.folder}/rules.sql"

    def export(rows, *options, columns=COLUMNS, codes=(0,)):
        manifest = exporter.archive.add("rules", document(columns, rows))
        exporter.run("export", manifest, "--format", "azure-sql", "--output", file, "--force", *options, codes=codes)
        with open(file, "rb") as raw:
            return raw.read()

    server = Server()
    script = export([{"EntityID": "a"}], "--table", "new]'one.My Places")
    server.run(script)
    assert server.schemas == ["new]''one"] and list(server.tables) == ["[new]]'one].[My Places]"]
    try:
        server.run(script)
        raise AssertionError("an existing table is refused")
    except FileExistsError:
        pass
    script = export([{"EntityID": "a"}, {"EntityID": "b"}], "--table", "new]'one.My Places", "--replace")
    server.run(script)
    assert len(server.tables["[new]]'one].[My Places]"].rows) == 2
    export([{"EntityID": "a"}], "--table", "a$(b)", codes=(2,))
    # Limits of keys.
    export([{"EntityID": "x" * 450}])
    export([{"EntityID": "x" * 451}], codes=(1,))
    export([{"EntityID": "🦉" * 226}], codes=(1,))
    export([{"EntityID": "a"}, {"EntityID": "a  "}], codes=(1,))
    export([{"EntityID": "a  "}, {"EntityID": "a\t"}])
    # Rows of a batch: by number, values and bytes.
    server = Server()
    script = export([{"EntityID": f"{number}"} for number in range(2500)])
    server.run(script)
    assert script.count(b"\nINSERT INTO") == 3
    wide = [("EntityID", "string"), *[(f"c{number}", "string") for number in range(300)]]
    script = export([{"EntityID": f"{number}"} for number in range(100)], columns=wide)
    assert script.count(b"\nINSERT INTO") == 2
    long = [{"EntityID": f"{number}", "Text": "x" * 300_000} for number in range(20)]
    script = export(long, columns=[("EntityID", "string"), ("Text", "string")])
    Server().run(script)
    assert max(len(batch) for batch in batches(script)) < 3 << 20
    # What sqlcmd would change or run.
    hard = ["GO", "a\nGO\nb", "\n:quit\n", "back\\\nslash", "$(x)", "a$(b)\n$(c)", "'", "''\n'", "\ue000\n\ue001", "\u2028", "--\n/*", "\\", "x\n" * 2000]
    rows = [{"EntityID": f"{number}", "Text": text} for number, text in enumerate(hard)]
    server = Server()
    server.run(export(rows, columns=[("EntityID", "string"), ("Text", "string")]))
    assert [row[1] for row in server.tables["[dbo].[rules]"].rows] == hard
    # Coordinates beyond the globe stay as text.
    server = Server()
    places = [{"EntityID": "a", "Shape": "POINT (1 91)"}, {"EntityID": "b", "Shape": "POINT (181 1)"}, {"EntityID": "c", "Shape": "POINT (180 -90)"}]
    server.run(export(places, columns=[("EntityID", "string"), ("Shape", "anyType")], codes=(3,)))
    shapes = [row[1:3] for row in server.tables["[dbo].[rules]"].rows]
    assert [text for _, text in shapes] == ["POINT (1 91)", "POINT (181 1)", None], shapes
    assert [shape[0] for shape, _ in shapes] == ["null", "null", "geography"], shapes


def main():
    exporter, checked, parsed = Exporter(), 0, 0
    check_rules(exporter)
    for snapshot in exporter.snapshots():
        parsed += check_snapshot(exporter, snapshot)
        checked += 1
    print(f"ok: azure-sql: {checked} scripts give the rows of their documents, {parsed} statements parsed by sqlglot "
          f"{sqlglot.__version__}; no SQL Server has run them")


if __name__ == "__main__":
    main()
