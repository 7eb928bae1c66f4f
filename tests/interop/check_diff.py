"""`diff` and `log`, compared with a comparison by Python on Python's own XML parser.

Chains of documents: each is the one before with changes, and written in another way: other orders,
references for characters, other texts of equal numbers.
"""

import json
import math
import random
import re
import subprocess
from decimal import Decimal

import documents
from checking import SEEDS, Exporter

CHAIN = 4
# Numbers of any length are text in JSON.
UNBOUNDED = {"xs:integer", "xs:decimal"}
WHOLE = {"xs:long", "xs:int", "xs:short", "xs:unsignedLong", "xs:integer"}


class Document:
    """A document in parts: what is before the entities, each entity as (type, key, elements), the end."""

    def __init__(self, head, types, entities):
        self.head, self.types, self.entities = head, types, entities

    @classmethod
    def of(cls, xml):
        text = xml.decode()
        # Entities come behind the schema, whatever its namespace is called.
        head = text[: re.search(r"</\w+:schema>", text).end()]
        types, entities, unknown = documents.read(xml)
        assert not unknown and all(not e.undeclared and not e.repeated for e in entities)
        return cls(head, types, [(entity.type, dict(entity.values)) for entity in entities])

    def xml(self, random):
        root = re.search(r"<([^\s?!/>]+)[^>]*>", self.head.removeprefix("<?xml")).group(1)
        order = list(self.entities)
        random.shuffle(order)
        parts = []
        for type, values in order:
            columns = list(values.items())
            random.shuffle(columns)
            elements = "".join(f"<{name}>{written(text, random)}</{name}>" for name, text in columns if text is not None)
            parts.append(f"{random.choice(['', ' ', chr(10)])}<{type.name}>{elements}</{type.name}>")
        return (self.head + "".join(parts) + f"</{root}>").encode()

    def changed(self, random, maker):
        """The next of a chain, with changes of every kind, and other columns now and then."""
        entities = []
        for type, values in self.entities:
            chance = random.random()
            if chance < 0.1:
                continue
            values = dict(values)
            for name, kind in type.columns:
                if name == type.key:
                    continue
                if random.random() < 0.05:
                    values[name] = random.choice([None, "", maker.value(kind.removeprefix("xs:"))])
                elif values.get(name) is not None and random.random() < 0.2:
                    values[name] = respelled(kind, values[name], random)
            entities.append((type, values))
        for number in range(random.randrange(4)):
            type = random.choice(self.types)
            key = str(random.randrange(10**9, 10**12))
            made = {name: maker.value(kind.removeprefix("xs:")) for name, kind in type.columns if name != type.key}
            entities.append((type, {**made, type.key: key}))
        head, types = self.head, self.types
        if random.random() < 0.3:
            head, types = retyped(head, types, random)
            entities = [(next(t for t in types if t.name == type.name), values) for type, values in entities]
            entities = [(t, {n: v for n, v in values.items() if n in dict(t.columns)}) for t, values in entities]
        return Document(head, types, entities)


def retyped(head, types, random):
    """The schema with one column of another type, or without it."""
    chosen = random.choice(types)
    name, kind = random.choice([column for column in chosen.columns if column[0] != chosen.key])
    other = random.choice([None, "xs:string", "xs:double", "xs:long"])
    declared = re.escape(f'<xs:element name="{chosen.name}">') + ".*?</xs:sequence>"
    column = f'<xs:element name="{name}" type="{kind}" minOccurs="0"/>'
    block = re.search(declared, head, re.S)
    if not block or column not in block.group():
        return head, types
    by = column.replace(f'"{kind}"', f'"{other}"') if other else ""
    head = head[: block.start()] + block.group().replace(column, by) + head[block.end() :]
    columns = [(n, other if n == name else k) for n, k in chosen.columns if n != name or other]
    new = documents.EntityType(chosen.name, columns, chosen.key)
    return head, [new if type is chosen else type for type in types]


def written(text, random):
    """A text in XML, some of its characters as references or all of it as CDATA."""
    if random.random() < 0.2 and "]]>" not in text and "\r" not in text:
        return f"<![CDATA[{text}]]>"
    escaped = ""
    for character in text:
        if character in "&<>\r" or random.random() < 0.02:
            escaped += f"&#{ord(character)};" if random.random() < 0.5 else f"&#x{ord(character):x};"
        else:
            escaped += character
    return escaped


def respelled(type, text, random):
    """Another text of the same value, where there is one."""
    value = documents.value(type, text) if type not in WHOLE else None
    trimmed = text.strip(documents.BLANKS)
    if type in WHOLE and re.fullmatch(r"-?[0-9]+", trimmed):
        return trimmed.replace("-", "-000") if trimmed[0] == "-" else f"+0{trimmed}"
    if isinstance(value, bool):
        return random.choice(["1", " true", "TRUE"] if value else ["0", "False\n"])
    if isinstance(value, float) and math.isfinite(value) and "e" not in trimmed.lower():
        return f"{trimmed}{'' if '.' in trimmed else '.'}00"
    if isinstance(value, documents.Instant) and trimmed.endswith("Z"):
        return trimmed.replace("Z", random.choice(["", "+00:00", "-00:00"]))
    return text


# What is equal.


def canonical(type, text):
    """One value for all texts that are equal."""
    if text is None:
        return None
    trimmed = text.strip(documents.BLANKS)
    if type in WHOLE:
        low, high = documents.BOUNDS.get(type, (-math.inf, math.inf))
        if re.fullmatch(r"[+-]?[0-9]+", trimmed) and low <= int(trimmed) <= high:
            return "number", int(trimmed)
        return "text", text
    if type == "xs:decimal":
        is_number = re.fullmatch(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)", trimmed)
        return ("number", Decimal(trimmed) + 0) if is_number else ("text", text)
    value = documents.value(type, text)
    if value is documents.UNREADABLE or isinstance(value, str):
        return "text", text
    if isinstance(value, documents.Instant):
        fraction = re.search(r"\.([0-9]+)", trimmed)
        return "instant", value.millis, fraction.group(1).rstrip("0") if fraction else ""
    if isinstance(value, bool):
        return "boolean", value
    if math.isnan(value):
        return "number", "NaN"
    digits = re.split("[eE]", trimmed)[0].strip("+-0.")
    if trimmed[-1].isdigit() and (math.isinf(value) or value == 0 and digits):
        return "text", text
    return "number", value + 0.0


def shown(type, text):
    """A value in the program's JSON."""
    value = canonical(type, text)
    if value is None:
        return None
    if value[0] == "boolean" or value[0] == "number" and type not in UNBOUNDED:
        number = value[1]
        if isinstance(number, float) and math.isinf(number):
            return "INF" if number > 0 else "-INF"
        # A minus before zero is kept.
        return float(text) if isinstance(number, float) and number == 0 else number
    return text


def same(found, expected):
    if isinstance(expected, float) and type(found) in (int, float):
        return found == expected
    return type(found) is type(expected) and found == expected


class Side:
    """A document's entities by their identity, and its columns."""

    def __init__(self, document):
        self.several = len(document.types) > 1
        self.types = {type.name: dict(type.columns) for type in document.types}
        self.entities = {}
        for type, values in document.entities:
            identity = (type.name if self.several else "", values[type.key])
            assert identity not in self.entities
            self.entities[identity] = (type.name, values)


class Expected:
    def __init__(self, old, new, ignore=()):
        self.old, self.new = Side(old), Side(new)
        self.columns = {"added": [], "removed": [], "retyped": []}
        self.compared = {}
        for name, columns in self.new.types.items():
            before = self.old.types[name]
            prefix = f"{name}/" if self.old.several else ""
            self.columns["added"] += [prefix + c for c in columns if c not in before and c not in ignore]
            self.columns["removed"] += [prefix + c for c in before if c not in columns and c not in ignore]
            both = [c for c in columns if c in before and c not in ignore]
            self.columns["retyped"] += [prefix + c for c in both if columns[c] != before[c]]
            self.compared[name] = both
        old, new = self.old.entities, self.new.entities
        self.added = {identity for identity in new if identity not in old}
        self.removed = {identity for identity in old if identity not in new}
        self.changed = {}
        for identity in new:
            if identity in old:
                columns = self.differences(identity)
                if columns:
                    self.changed[identity] = columns
        self.unchanged = len(new) - len(self.added) - len(self.changed)

    def differences(self, identity):
        name, before = self.old.entities[identity]
        _, now = self.new.entities[identity]
        columns = {}
        for column in self.compared[name]:
            kinds = self.old.types[name][column], self.new.types[name][column]
            kinds = kinds if kinds[0] == kinds[1] else ("xs:string", "xs:string")
            values = [canonical(kind, values.get(column)) for kind, values in zip(kinds, (before, now))]
            if values[0] != values[1]:
                pair = [shown(kind, values.get(column)) for kind, values in zip(kinds, (before, now))]
                columns[column] = {"old": pair[0], "new": pair[1]}
        return columns

    @property
    def counts(self):
        numbers = len(self.added), len(self.removed), len(self.changed), self.unchanged
        return dict(zip(("added", "removed", "changed", "unchanged"), numbers))


def check_columns(found, expected, where):
    assert set(found) == set(expected), (where, found, expected)
    for name, pair in expected.items():
        assert set(found[name]) == {"old", "new"}
        for side in ("old", "new"):
            assert same(found[name][side], pair[side]), (where, name, found[name], pair)


def check_entity(found, side, identity, ignore, where):
    name, values = side.entities[identity]
    expected = {c: shown(kind, values.get(c)) for c, kind in side.types[name].items() if c not in ignore}
    assert set(found) == set(expected), (where, found, expected)
    for column, value in expected.items():
        assert same(found[column], value), (where, column, found[column], value)


def check_json(found, expected, ignore, where):
    assert found["counts"] == expected.counts, (where, found["counts"], expected.counts)
    assert {word: sorted(names) for word, names in found["columns"].items()} == {
        word: sorted(names) for word, names in expected.columns.items()
    }, (where, found["columns"], expected.columns)
    for word, side in (("added", expected.new), ("removed", expected.old)):
        rows = [((row.get("entity_type", ""), row["key"]), row) for row in found[word]]
        assert len(rows) == len(dict(rows)) and set(dict(rows)) == getattr(expected, word), (where, word)
        for identity, row in rows:
            check_entity(row["entity"], side, identity, ignore, (where, word, identity))
    rows = [((row.get("entity_type", ""), row["key"]), row) for row in found["changed"]]
    assert len(rows) == len(dict(rows)) and set(dict(rows)) == set(expected.changed), (where, "changed")
    for identity, row in rows:
        check_columns(row["columns"], expected.changed[identity], (where, identity))


def check_text(text, expected, where):
    first, *lines = text.splitlines()
    counts = expected.counts
    wanted = ", ".join(f"{counts[word]} {word}" for word in ("added", "removed", "changed", "unchanged"))
    assert first.endswith(f": {wanted}"), (where, first, wanted)
    signs = {"+": len(expected.added), "-": len(expected.removed)}
    signs["~"] = sum(len(columns) for columns in expected.changed.values())
    found = {sign: sum(line.startswith(f"{sign} ") for line in lines) for sign in signs}
    assert found == signs and len(lines) == sum(signs.values()), (where, found, signs)
    keys = []
    for (name, key), sign in (
        *((identity, "+") for identity in expected.added),
        *((identity, "-") for identity in expected.removed),
        *((identity, "~") for identity in expected.changed),
    ):
        keys.append((key.encode(), name, sign))
    if not expected.new.several and all(re.fullmatch(rb"[ -~]*", key) for key, _, _ in keys):
        # One line for each entity, in the order of the keys' bytes.
        order = [f"{sign} {key.decode()}" for key, _, sign in sorted(keys)]
        begun = list(dict.fromkeys(line.split("  ")[0] if line[0] == "~" else line for line in lines))
        assert begun == [line.split("  ")[0] if line[0] == "~" else line for line in order], (where, begun, order)


def check_geojson(exporter, file, expected, where):
    with open(file) as text:
        features = json.load(text)["features"]
    found = sorted((feature["properties"]["change"], feature["id"]) for feature in features)
    wanted = [("added", key) for _, key in expected.added]
    wanted += [("removed", key) for _, key in expected.removed]
    wanted += [("changed", key) for _, key in expected.changed]
    assert found == sorted(wanted), (where, found, sorted(wanted))
    if features:
        command = ["ogrinfo", "-ro", "-so", "-al", file]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True)
        assert f"Feature Count: {len(features)}\n" in done.stdout.decode(), (where, done.stdout)
        assert "change: String" in done.stdout.decode(), (where, done.stdout)


def check_pair(exporter, old, new, documents_of, random):
    where = (old, new)
    expected = Expected(documents_of[old], documents_of[new])
    found = json.loads(exporter.run("diff", old, new, "--json"))
    check_json(found, expected, (), where)
    check_text(exporter.run("diff", old, new, "--all").decode(), expected, where)
    differs = any(expected.counts[word] for word in ("added", "removed", "changed"))
    differs = differs or any(expected.columns.values())
    file = f"{exporter.folder}/diff.geojson"
    code = 1 if differs else 0
    exporter.run("diff", old, new, "--exit-code", "--geojson", file, "--force", codes=(code,))
    check_geojson(exporter, file, expected, where)
    types = documents_of[new].types
    names = [n for n, _ in random.choice(types).columns if all(n != type.key for type in types)]
    if names:
        ignore = {random.choice(names)}
        found = json.loads(exporter.run("diff", old, new, "--json", "--ignore", *ignore))
        check_json(found, Expected(documents_of[old], documents_of[new], ignore), ignore, (where, ignore))


def check_log(exporter, source, chain, random):
    """The life of some entities through all documents of a chain, oldest first."""
    sides = [Side(document) for document in chain]
    all_keys = sorted({identity for side in sides for identity in side.entities})
    for identity in random.sample(all_keys, min(6, len(all_keys))):
        name, key = identity
        option = ["--entity", name] if name else []
        found = json.loads(exporter.run("log", source, key, "--json", *option))
        found.reverse()
        before, events = None, []
        for number, document in enumerate(chain):
            side = sides[number]
            now = number if identity in side.entities else None
            if before is None and now is not None:
                events.append(("added", side, None))
            elif before is not None and now is None:
                events.append(("removed", sides[before], None))
            elif now is not None:
                columns = Expected(chain[before], document).changed.get(identity)
                if columns:
                    events.append(("changed", side, columns))
            before = now
        assert [event["change"] for event in found] == [word for word, *_ in events], (source, key, found)
        for event, (word, side, columns) in zip(found, events):
            where = (source, key, event["snapshot"], word)
            if word != "changed":
                entity_type, values = side.entities[identity]
                kinds = side.types[entity_type]
                texts = {c: shown(kind, values.get(c)) for c, kind in kinds.items() if values.get(c) is not None}
                pair = lambda value: {"old": None, "new": value} if word == "added" else {"old": value, "new": None}
                columns = {column: pair(value) for column, value in texts.items()}
            check_columns(event["columns"], columns, where)
    exporter.run("log", source, "no such key at all", *(["--entity", all_keys[0][0]] if all_keys and all_keys[0][0] else []), codes=(1,))


def main():
    exporter, pairs = Exporter(), 0
    demo = exporter.run("export", "places", "--format", "xml", "--output", "-", config=f"{exporter.demo}/config.toml")
    for seed in range(max(2, SEEDS // 2)):
        chooser, maker = random.Random(seed), documents.Maker(seed + 1000)
        if seed == 0:
            xml = demo
        else:
            xml = maker.document(types=1 + seed % 3 // 2, entities=seed * 5, odd=False)
        source, chain = f"chain-{seed}", [Document.of(xml)]
        for _ in range(CHAIN - 1):
            chain.append(chain[-1].changed(chooser, maker))
        names = [exporter.archive.add(source, document.xml(chooser)) for document in chain]
        documents_of = dict(zip(names, chain))
        for old, new in (*zip(names, names[1:]), (names[-1], names[0]), (names[0], names[0])):
            check_pair(exporter, old, new, documents_of, chooser)
            pairs += 1
        check_log(exporter, source, chain, chooser)
    print(f"ok: diff and log: {pairs} pairs of documents, as Python compares them")


main()
