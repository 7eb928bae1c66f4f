"""Documents for the checks: read with Python's own XML parser, and made up at random.

Nothing here knows how the program reads a document: the rules are those of docs/archive-format.md.
"""

import hashlib
import json
import math
import os
import random
import re
import struct
import subprocess
import xml.etree.ElementTree as ElementTree

import shapely

# The service writes the namespace with https, which is not that of the standard.
XS = "{*}"
NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"
BLANKS = " \t\r\n"


class EntityType:
    def __init__(self, name, columns, key):
        self.name, self.columns, self.key = name, columns, key


class Entity:
    """`values`: text by column, None for a null. `repeated`, `undeclared`: names of elements."""

    def __init__(self, type, values, repeated, undeclared):
        self.type, self.values = type, values
        self.repeated, self.undeclared = repeated, undeclared

    @property
    def key(self):
        return self.values.get(self.type.key) or None


def read(xml):
    """The entity types, the entities of declared types, and the names of undeclared ones."""
    root = ElementTree.fromstring(xml)
    schema = root.find(f"{XS}schema")
    top = schema.find(f"{XS}element")
    keys = {}
    for unique in top.findall(f"{XS}unique"):
        selected = unique.find(f"{XS}selector").get("xpath").removeprefix(".//")
        keys[selected] = unique.find(f"{XS}field").get("xpath")
    types = {}
    for declared in top.find(f"{XS}complexType")[0].findall(f"{XS}element"):
        columns = [
            (column.get("name"), "xs:" + column.get("type").split(":")[1])
            for column in declared.iterfind(f".//{XS}element")
        ]
        name = declared.get("name")
        types[name] = EntityType(name, columns, keys.get(name))
    entities, unknown = [], []
    for element in root:
        if element is schema:
            continue
        type = types.get(element.tag)
        if type is None:
            unknown.append(element.tag)
            continue
        names = [name for name, _ in type.columns]
        values, repeated, undeclared = {}, [], []
        for child in element:
            if child.tag not in names:
                undeclared.append(child.tag)
            elif child.tag in values:
                repeated.append(child.tag)
            else:
                text = child.text or ""
                values[child.tag] = None if child.get(NIL) == "true" and not text else text
        entities.append(Entity(type, values, repeated, undeclared))
    return list(types.values()), entities, unknown


class Archive:
    """A folder with snapshots of documents, and a configuration that names it."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(f"{folder}/state/archive", mode=0o700)
        with open(f"{folder}/config.toml", "w") as file:
            file.write(f'state_dir = "{folder}/state"\n')
        self.jobs = 0

    def add(self, source, xml):
        """Files a document as a snapshot, and returns its manifest's path."""
        self.jobs += 1
        types, entities, _ = read(xml)
        keys = [(entity.type.name, entity.key) for entity in entities]
        proven = len(set(keys)) == len(keys) and None not in [key for _, key in keys]
        name = f"20261125T020001Z-{self.jobs}"
        folder = f"{self.folder}/state/archive/{source}"
        os.makedirs(folder, mode=0o700, exist_ok=True)
        stored = subprocess.run(["zstd", "-qc"], input=xml, stdout=subprocess.PIPE, check=True).stdout
        with open(f"{folder}/{name}.xml.zst", "wb") as file:
            file.write(stored)
        manifest = {
            "format": 1,
            "source": source,
            "access_id": "20181f26d9e94c81acdf9496133d4f23",
            "data_source": source,
            "version": None,
            "job": self.jobs,
            "remote_id": None,
            "scheduled_for": None,
            "created_at": "2026-11-25T02:00:01.500Z",
            "completed_at": "2026-11-25T02:00:02.000Z",
            "entities": len(entities),
            "expected_entities": None,
            "entity_type": types[0].name,
            "primary_key": types[0].key or "",
            "columns": [{"name": name, "type": type} for name, type in types[0].columns],
            "content": {"bytes": len(xml), "sha256": hashlib.sha256(xml).hexdigest()},
            "stored": {
                "file": f"{name}.xml.zst",
                "bytes": len(stored),
                "sha256": hashlib.sha256(stored).hexdigest(),
                "encoding": "zstd",
            },
            "suspicious": [],
            "notes": [],
            "same_content_as": None,
            "generator": "a test",
            "unreadable": [],
            "unproven": [] if proven else ["keys"],
        }
        text = json.dumps(manifest, indent=2).removesuffix("\n}") + ',\n  "checksum": "'
        digest = hashlib.sha256(text.removesuffix('"checksum": "').encode()).hexdigest()
        path = f"{folder}/{name}.json"
        with open(path, "w") as file:
            file.write(f'{text}{digest}"\n}}\n')
        return path


# What a text means as a value of its type.


class Unreadable:
    """The one value of texts that are not of their column's type."""


UNREADABLE = Unreadable()
BOUNDS = {
    "xs:long": (-(2**63), 2**63 - 1),
    "xs:int": (-(2**31), 2**31 - 1),
    "xs:short": (-(2**15), 2**15 - 1),
    "xs:unsignedLong": (0, 2**64 - 1),
}


class Instant:
    """`millis` since 1970, cut; whether further digits or the zone are missing; the year."""

    def __init__(self, millis, is_cut, has_zone):
        self.millis, self.is_cut, self.has_zone = millis, is_cut, has_zone


def kind_of(type):
    if type in ("xs:long", "xs:int", "xs:short"):
        return "integer"
    others = {
        "xs:double": "double",
        "xs:float": "double",
        "xs:boolean": "boolean",
        "xs:dateTime": "instant",
        "xs:anyType": "geography",
    }
    return others.get(type, "text")


def value(type, text):
    """The typed value of a text: int, float, bool, Instant or UNREADABLE; else the text."""
    if text is None:
        return None
    kind, trimmed = kind_of(type), text.strip(BLANKS)
    if kind == "integer":
        low, high = BOUNDS[type]
        fits = re.fullmatch(r"[+-]?[0-9]+", trimmed) and low <= int(trimmed) <= high
        return int(trimmed) if fits else UNREADABLE
    if kind == "double":
        if trimmed in ("INF", "+INF", "-INF"):
            return -math.inf if trimmed[0] == "-" else math.inf
        if trimmed == "NaN":
            return math.nan
        number = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
        return float(trimmed) if re.fullmatch(number, trimmed) else UNREADABLE
    if kind == "boolean":
        if trimmed in ("0", "1") or trimmed.lower() in ("true", "false"):
            return trimmed == "1" or trimmed.lower() == "true"
        return UNREADABLE
    if kind == "instant":
        return instant(trimmed) or UNREADABLE
    return text


def days(year, month, day):
    """Days since 1970-01-01, counted year by year in blocks of 400."""
    lengths = [31, 29 if leap(year) else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    blocks, rest = divmod(year, 400)
    full = blocks * 146097 + sum(366 if leap(y) else 365 for y in range(rest))
    return full + sum(lengths[: month - 1]) + day - 1 - 719528


def leap(year):
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def instant(text):
    shape = (
        r"(-?)([0-9]{4,9})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})"
        r"(?:\.([0-9]+))?(Z|[+-][0-9]{2}:[0-9]{2})?"
    )
    match = re.fullmatch(shape, text)
    if not match:
        return None
    sign, year, month, day, hour, minute, second, fraction, zone = match.groups()
    if len(year) > 4 and year[0] == "0":
        return None
    year, month, day = int(sign + year), int(month), int(day)
    hour, minute, second = int(hour), int(minute), int(second)
    lengths = [31, 29 if leap(year) else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    is_midnight = hour == 24 and minute == 0 and second == 0 and not (fraction or "").strip("0")
    if not 1 <= month <= 12 or not 1 <= day <= lengths[month - 1]:
        return None
    if not is_midnight and (hour > 23 or minute > 59 or second > 59):
        return None
    offset = 0
    if zone and zone != "Z":
        hours, minutes = int(zone[1:3]), int(zone[4:6])
        if minutes > 59 or hours * 60 + minutes > 14 * 60:
            return None
        offset = (hours * 60 + minutes) * (-60 if zone[0] == "-" else 60)
    seconds = days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset
    fraction = fraction or ""
    millis = seconds * 1000 + int((fraction + "000")[:3])
    return Instant(millis, fraction[3:].strip("0") != "", zone is not None)


# Geometries.


class Known:
    """What the texts of geographies mean: a geometry, or why there is none."""

    def __init__(self):
        self.texts = {}

    def geometry(self, text):
        """(geometry or None, kind of change or None)."""
        text = text.strip(BLANKS)
        if text in self.texts:
            return self.texts[text]
        try:
            # The service doubles the parentheses of a point, which no standard allows.
            geometry = shapely.from_wkt(re.sub(r"^POINT *\( *\((.*)\) *\)$", r"POINT (\1)", text))
        except shapely.errors.GEOSException:
            return None, "geometry_unreadable"
        return geometry, "dimensions_dropped" if shapely.has_z(geometry) else None


def chosen(entity, known, changes):
    """The geometry of an entity by default, and the column that it comes from."""
    for name, type in entity.type.columns:
        if type == "xs:anyType" and entity.values.get(name) is not None:
            geometry, change = known.geometry(entity.values[name])
            if change:
                changes[name, change] = changes.get((name, change), 0) + 1
            return geometry, name
    types = dict(entity.type.columns)
    place = []
    for name, limit in (("Longitude", 180.0), ("Latitude", 90.0)):
        number = value(types.get(name, ""), entity.values.get(name))
        if types.get(name) not in ("xs:double", "xs:float") or not isinstance(number, float):
            return None, None
        if not abs(number) <= limit:
            return None, None
        place.append(number)
    return shapely.Point(place), None


def bounds(geometry):
    """Of all positions, those of holes too, which may be outside a polygon that is not valid."""
    xs, ys = shapely.get_coordinates(geometry).T
    return min(xs), min(ys), max(xs), max(ys)


def wkb(geometry):
    return shapely.to_wkb(geometry, byte_order=1, output_dimension=2)


def unnamed_nan(binary):
    """Well-known binary whose NaN, of empty points, all have the same bits."""
    odd = struct.pack("<d", -math.nan)
    return binary.replace(odd, struct.pack("<d", math.nan))


# Documents at random, and one that is as large and as odd as the service allows.

COLUMN_NAMES = (
    "Name fid FID geom Geom geometry bbox id ID location ttl _ts _rid entity_type name NAME Größe 名前 "
    "ИМЯ a.b a-b rowid select Latitude Longitude Count Open Since Shape Area Path Text Text_2 oid z_1"
).split()
KEY_NAMES = ["EntityID", "id", "geom", "fid", "Clé"]
TYPES = (
    "string string string long int short double double float boolean dateTime dateTime anyType anyType "
    "unsignedLong decimal integer date"
).split()
PIECES = [
    "Straße", "Łódź", "Αθήνα", "Москва", "東京", "서울", "ไทย", "عربي", "עברית", "हिन्दी", "🦉", "e\u0301",
    "\u200f", "a,b", '"quoted"', "'", "''", ";", "\\", "\\N", "\\.", "%", "/", "?", "#", "$(x)", "GO",
    "line\nbreak", "tab\t", "=1+1", "+1", "-1", "@x", "NULL", "null", "{}", "<b>", "&amp;", "]]>", "  ", "0",
    "\u0085", "\u2028", "\ufffd", "x" * 300,
]


# Characters that XML allows and that programs trip over: controls, blanks, marks, the last of each plane.
ODD = "\t\n\r\x7f\x80\x85\x9f\xa0\xad\u0300\u180e\u200b\u200d\u2028\u2029\u202e\ud7ff\ue000\ufdd0\ufeff\ufffc\ufffd\U0001f989\U0010fffd"
# The limits of the service: columns of an entity, characters of a string, points of a geography.
COLUMNS, CHARACTERS, POINTS = 350, 2560, 100_000


class Maker:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.known = Known()

    def chance(self, share):
        return self.random.random() < share

    def pick(self, *items):
        return self.random.choice(items)

    def string(self):
        if self.chance(0.1):
            return self.pick("", " ", "\n", "\\.", '"')
        return "".join(self.random.choice(PIECES) for _ in range(self.random.randrange(1, 5)))

    def integer(self, bits=64):
        edge = 1 << (bits - 1)
        number = self.pick(0, 1, -1, edge - 1, -edge, self.random.randrange(-edge, edge))
        if bits == 64:
            number = self.pick(number, 2**53, 2**53 + 1, -(2**53) - 1)
        sign = "+" if number >= 0 and self.chance(0.1) else ""
        return f"{sign}{number}"

    def double(self):
        if self.chance(0.4):
            return self.pick(
                "5e-324", "-5E-324", "1.7976931348623157E308", "-1.7976931348623157e+308", "INF", "-INF", "+INF",
                "NaN", "-0", "-0.0", "0", "0.1", "1e21", "1E-7", "123456789012345678", "9007199254740993", "5.",
                ".5", "2.2250738585072014e-308", "4.35", "0.000001", "1e22", "-1e5",
            )
        if self.chance(0.3):
            bits = struct.pack("<Q", self.random.getrandbits(64))
            number = struct.unpack("<d", bits)[0]
            return repr(number) if math.isfinite(number) else "1"
        return repr(round(self.random.uniform(-1000, 1000), self.random.randrange(0, 12)))

    def boolean(self):
        return self.pick("true", "false", "1", "0", "True", "FALSE", " true ")

    def instant(self):
        year = self.pick("1970", "2026", "0001", "9999", "0000", "1601", "1582", "2000", "12026", "-0044")
        if year in ("12026", "-0044", "0000") and self.chance(0.5):
            year = "2011"
        day = f"{self.random.randrange(1, 13):02}-{self.random.randrange(1, 29):02}"
        clock = self.pick("00:00:00", "23:59:59", "24:00:00", f"{self.random.randrange(24):02}:07:09")
        fraction = "" if clock[:2] == "24" else self.pick("", ".5", ".120", ".1234567", ".999999", ".0000")
        zone = self.pick("Z", "", "+00:00", "-08:00", "+05:30", "+14:00")
        return f"{year}-{day}T{clock}{fraction}{zone}"

    def unreadable(self):
        return self.pick("", "x", "12,5", "1 2", "yes", "9223372036854775808", "2011-02-30T00:00:00Z", "１")

    # Geometries: a text as the service may write it, and what it means.

    def number(self):
        number = self.pick(
            self.random.uniform(-20, 20), round(self.random.uniform(-20, 20), 3), self.random.randrange(-9, 9)
        )
        text = repr(number)
        if self.chance(0.05):
            text = f"{number:.12e}".upper()
        return float(text), text

    def positions(self, count):
        values, texts = [], []
        for _ in range(count):
            (x, x_text), (y, y_text) = self.number(), self.number()
            values.append((x, y))
            texts.append(f"{x_text}{self.pick(' ', '  ')}{y_text}")
        return values, texts

    def listed(self, texts):
        return self.pick(",", ", ").join(texts)

    def ring(self):
        values, texts = self.positions(self.random.randrange(3, 7))
        while len(set(values)) < 3:
            values, texts = self.positions(4)
        if self.chance(0.8):
            texts = texts + texts[:1]
        if values[0] == values[-1]:
            return self.ring()
        return [*values, values[0]], f"({self.listed(texts)})"

    def rings(self):
        rings = [self.ring() for _ in range(self.pick(1, 1, 1, 2, 3))]
        polygon = shapely.Polygon(rings[0][0], [ring for ring, _ in rings[1:]])
        return polygon, f"({self.listed([text for _, text in rings])})"

    def cased(self, word):
        return self.pick(word, word, word.lower(), word.capitalize())

    def spare(self, body):
        """A spare pair of parentheses, which the service's own samples have."""
        return f"({body})" if self.chance(0.15) else body

    def geometry(self, depth=0):
        kind = self.random.randrange(8 if depth < 2 else 6)
        gap = self.pick("", " ", "  ")
        if self.chance(0.06):
            word, empty = self.pick(
                ("POINT", shapely.Point()),
                ("LINESTRING", shapely.LineString()),
                ("POLYGON", shapely.Polygon()),
                ("MULTIPOINT", shapely.MultiPoint()),
                ("MULTILINESTRING", shapely.MultiLineString()),
                ("MULTIPOLYGON", shapely.MultiPolygon()),
                ("GEOMETRYCOLLECTION", shapely.GeometryCollection()),
            )
            return empty, f"{self.cased(word)} {self.cased('EMPTY')}"
        if kind in (0, 6):
            values, texts = self.positions(1)
            return shapely.Point(values[0]), f"{self.cased('POINT')}{gap}{self.spare(f'({texts[0]})')}"
        if kind == 1:
            values, texts = self.positions(self.random.randrange(2, 6))
            return shapely.LineString(values), f"{self.cased('LINESTRING')}{gap}({self.listed(texts)})"
        if kind == 2:
            polygon, text = self.rings()
            return polygon, f"{self.cased('POLYGON')}{gap}{self.spare(text)}"
        if kind == 3:
            values, texts = self.positions(self.random.randrange(1, 5))
            if self.chance(0.5):
                texts = [f"({text})" for text in texts]
            return shapely.MultiPoint(values), f"{self.cased('MULTIPOINT')}{gap}({self.listed(texts)})"
        if kind == 4:
            lines = [self.positions(self.random.randrange(2, 4)) for _ in range(self.random.randrange(1, 4))]
            texts = [f"({self.listed(texts)})" for _, texts in lines]
            lines = shapely.MultiLineString([values for values, _ in lines])
            return lines, f"{self.cased('MULTILINESTRING')}{gap}({self.listed(texts)})"
        if kind == 5:
            polygons = [self.rings() for _ in range(self.random.randrange(1, 4))]
            text = f"({self.listed([text for _, text in polygons])})"
            polygons = shapely.MultiPolygon([polygon for polygon, _ in polygons])
            return polygons, f"{self.cased('MULTIPOLYGON')}{gap}{self.spare(text)}"
        members = [self.geometry(depth + 1) for _ in range(self.random.randrange(1, 4))]
        text = self.listed([text for _, text in members])
        collection = shapely.GeometryCollection([member for member, _ in members])
        return collection, f"{self.cased('GEOMETRYCOLLECTION')}{gap}({text})"

    def geography(self):
        what = self.random.random()
        if what < 0.06:
            text = self.pick("behind the mill", "POINT", "POINT (1)", "POLYGON ((0 0, 1 1))", "東京", "(1 2)")
            result = None, "geometry_unreadable"
        elif what < 0.1:
            text = self.pick("CURVEPOLYGON (CIRCULARSTRING (0 0, 1 1, 2 0, 1 -1, 0 0))", "FULLGLOBE")
            result = None, "geometry_unsupported"
        elif what < 0.14:
            (x, x_text), (y, y_text) = self.number(), self.number()
            text = f"POINT Z ({x_text} {y_text} 7.5)"
            result = shapely.Point(x, y), "dimensions_dropped"
        else:
            geometry, text = self.geometry()
            result = geometry, None
        if self.chance(0.05) and result[1] is None:
            text = f"SRID=4326;{text}"
        known = self.known.texts.setdefault(text.strip(BLANKS), result)
        assert known == result or known[0] == result[0], text
        return f"\n  {text} " if self.chance(0.05) else text

    def value(self, type):
        if type != "string" and type != "anyType" and self.chance(0.05):
            return self.unreadable()
        makers = {
            "string": self.string,
            "long": self.integer,
            "int": lambda: self.integer(32),
            "short": lambda: self.integer(16),
            "double": self.double,
            "float": lambda: self.pick("0.5", "INF", "NaN", "-1e3", "3.4028235E38"),
            "boolean": self.boolean,
            "dateTime": self.instant,
            "anyType": self.geography,
            "unsignedLong": lambda: self.pick("0", "18446744073709551615", "7"),
            "decimal": lambda: self.pick("1.50", "-0.0", "123456789012345678901234567890.5"),
            "integer": lambda: self.pick("1", "-99999999999999999999999"),
            "date": lambda: "2026-11-25",
        }
        return makers[type]()

    def escaped(self, text):
        if self.chance(0.1) and "]]>" not in text and "\r" not in text:
            return f"<![CDATA[{text}]]>"
        text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        return text.replace("\r", "&#13;")

    def element(self, name, type):
        if self.chance(0.06):
            return f'<{name} xsi:nil="true"/>'
        return f"<{name}>{self.escaped(self.value(type))}</{name}>"

    def head(self, declared):
        """All before the entities, of types that are given as (name, columns, key)."""
        schema = "".join(
            f'<xs:element name="{name}"><xs:complexType><xs:sequence>'
            + "".join(f'<xs:element name="{n}" type="xs:{t}" minOccurs="0"/>' for n, t in columns)
            + "</xs:sequence></xs:complexType></xs:element>"
            for name, columns, _ in declared
        )
        keys = "".join(
            f'<xs:unique name="{name}Key" msdata:PrimaryKey="true"><xs:selector xpath=".//{name}"/>'
            f'<xs:field xpath="{key}"/></xs:unique>'
            for name, _, key in declared
        )
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n<Data xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
            '<xs:schema id="Data" xmlns:xs="http://www.w3.org/2001/XMLSchema" '
            'xmlns:msdata="urn:schemas-microsoft-com:xml-msdata"><xs:element name="Data" msdata:IsDataSet="true">'
            f'<xs:complexType><xs:choice maxOccurs="unbounded">{schema}</xs:choice></xs:complexType>{keys}'
            "</xs:element></xs:schema>\n"
        )

    def hostile(self):
        """350 columns whose names differ in case or end like replacements, and the longest values."""
        columns = {"Key": "string", "Shape": "anyType", "shape": "anyType"}
        words = ["Name", "geom", "fid", "location", "ttl", "bbox", "geometry", "entity_type", "ctid", "Größe", "ИМЯ"]
        while len(columns) < COLUMNS:
            word = "".join(self.pick(letter.upper(), letter.lower()) for letter in self.pick(*words))
            columns.setdefault(word + self.pick("", "", "_2", "_3", "_2_2"), self.pick(*TYPES))
        head = self.head([("Place", list(columns.items()), "Key")])
        strings = [
            "x" * CHARACTERS,
            "\U0010fffd" * CHARACTERS,
            (ODD * CHARACTERS)[:CHARACTERS],
            "'" * CHARACTERS,
            '"' * CHARACTERS,
            "\\" * CHARACTERS,
            "\r\n" * (CHARACTERS // 2),
            " " * CHARACTERS,
            ",;\t" * (CHARACTERS // 3),
            "$(x)\nGO\n" * (CHARACTERS // 8),
        ]
        self.string = lambda: self.pick(*strings, *ODD, "")
        circle = [(170 * math.cos(i / POINTS * math.tau), 80 * math.sin(i / POINTS * math.tau)) for i in range(POINTS)]
        circle.append(circle[0])
        polygon = shapely.Polygon(circle)
        long_text = "POLYGON ((" + ", ".join(f"{x!r} {y!r}" for x, y in circle) + "))"
        self.known.texts[long_text] = polygon, None
        parts = [head]
        for number in range(12):
            elements = []
            for column, type in columns.items():
                if column == "Key":
                    elements.append(f"<Key>{'k' * (number * 20)}{number}</Key>")
                elif column == "Shape" and number == 5:
                    elements.append(f"<Shape>{long_text}</Shape>")
                elif number < 3 or self.chance(0.1):
                    elements.append(self.element(column, type))
            parts.append(f"<Place>{''.join(elements)}</Place>")
        return "".join([*parts, "</Data>"]).encode()

    def document(self, types, entities, odd):
        """`odd`: repeated, undeclared elements too, and keys that are missing or not unique."""
        names = self.random.sample(["Place", "Shop", "Größe", "place_2", "A-b"], types)
        declared = []
        for name in names:
            columns = self.random.sample(COLUMN_NAMES, self.random.randrange(4, 14))
            columns = [(column, self.pick(*TYPES)) for column in columns]
            columns = [(n, "double" if n in ("Latitude", "Longitude") else t) for n, t in columns]
            key = self.pick(*[name for name in KEY_NAMES if name not in dict(columns)])
            columns.insert(self.random.randrange(len(columns)), (key, self.pick("string", "string", "long")))
            declared.append((name, columns, key))
        parts = [self.head(declared)]
        for number in range(entities):
            name, columns, key = self.pick(*declared)
            elements = []
            for column, type in columns:
                if column == key:
                    text = str(number) if type == "long" else self.pick(f"{number}", f"k/{number}?%", f"Ключ {number}")
                    if odd and self.chance(0.05):
                        text = self.pick("", "1")
                    elements.append(f"<{column}>{self.escaped(text)}</{column}>")
                elif self.chance(0.85):
                    elements.append(self.element(column, type))
                    if odd and self.chance(0.03):
                        elements.append(self.element(column, type))
            if odd and self.chance(0.1):
                elements.append("<Unknown>x</Unknown>")
            if self.chance(0.2):
                self.random.shuffle(elements)
            parts.append(f"<{name}>{''.join(elements)}</{name}>\n")
            if odd and self.chance(0.02):
                parts.append("<Stray><Name>x</Name></Stray>\n")
        return "".join([*parts, "</Data>\n"]).encode()
