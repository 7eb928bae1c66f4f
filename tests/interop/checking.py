"""What all checks need: the program, the snapshots, and what a typed format should hold.

Each check is run as `CHECK PROGRAM DEMO FOLDER`: the executable, the folder of `nightjar demo`, and a
folder for its own files.
"""

import json
import math
import os
import subprocess
import sys

import documents
from documents import Instant, UNREADABLE, kind_of

SEEDS = int(os.environ.get("NIGHTJAR_SEEDS", "40"))


class Snapshot:
    """A document, where its snapshot is, and what its geographies mean."""

    def __init__(self, source, xml, manifest, known):
        self.source, self.xml, self.manifest, self.known = source, xml, manifest, known
        self.types, self.entities, self.unknown = documents.read(xml)

    @property
    def columns_of(self):
        return {type.name: type.columns for type in self.types}


class Exporter:
    def __init__(self):
        self.program, self.demo, self.folder = sys.argv[1:4]
        self.archive = documents.Archive(f"{self.folder}/archive")
        self.config = f"{self.archive.folder}/config.toml"

    def snapshots(self):
        """The demo's, one as large and odd as the service allows, then random ones."""
        xml = self.run("export", "places", "--format", "xml", "--output", "-", config=f"{self.demo}/config.toml")
        manifest = os.path.realpath(f"{self.demo}/archive/places/latest.json")
        yield Snapshot("places", xml, manifest, documents.Known())
        maker = documents.Maker(0)
        xml = maker.hostile()
        yield Snapshot("hostile", xml, self.archive.add("hostile", xml), maker.known)
        for seed in range(SEEDS):
            maker = documents.Maker(seed)
            xml = maker.document(types=1 + seed % 3 // 2 * 2, entities=seed * 7, odd=seed % 2 == 1)
            source = maker.pick("places", "a-b", "select", "gpkg_x", "rtree_y", "sqlite_z") if seed % 4 == 0 else "places"
            yield Snapshot(source, xml, self.archive.add(source, xml), maker.known)

    def run(self, *arguments, config=None, codes=(0,)):
        command = [self.program, "--config", config or self.config, *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert done.returncode in codes, (command, done.returncode, done.stderr.decode())
        return done.stdout

    def export(self, snapshot, format, name, *options):
        """Exports to a file; returns its path and the report."""
        file, report = f"{self.folder}/{name}", f"{self.folder}/report.json"
        arguments = ["export", snapshot.manifest, "--format", format, "--output", file, "--force"]
        command = [self.program, "--config", self.config, *arguments, "--report", report, *options]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert done.returncode in (0, 3), (snapshot.manifest, done.returncode, done.stderr.decode())
        with open(report) as text:
            report = json.load(text)
        is_lossy = any(change["lossy"] for change in report["changes"])
        assert done.returncode == (3 if is_lossy else 0), (snapshot.manifest, done)
        return file, report


def count(changes, column, kind):
    changes[column, kind] = changes.get((column, kind), 0) + 1


def changes_of(report):
    return {(change["column"], change["kind"]): change["count"] for change in report["changes"]}


def common_changes(snapshot, entities):
    """What every format must count: what is undeclared or repeated."""
    changes = {}
    for name in snapshot.unknown:
        count(changes, name, "undeclared")
    for entity in entities:
        for name in entity.undeclared:
            count(changes, name, "undeclared")
        for name in entity.repeated:
            count(changes, name, "repeated")
    return changes


def typed(type, text, column, changes):
    """What a typed column holds of a text, before the rules of one format."""
    if text is None:
        return None
    value = documents.value(type, text)
    if value is UNREADABLE:
        count(changes, column, "unreadable")
        return None
    if isinstance(value, Instant):
        if value.is_cut:
            count(changes, column, "fraction_cut")
        if not value.has_zone:
            count(changes, column, "zone_assumed")
        return value
    return value if kind_of(type) not in ("text", "geography") else text


def same(found, expected):
    """Equal, NaN to NaN, minus zero not to zero."""
    if isinstance(expected, float) and isinstance(found, float):
        if math.isnan(expected):
            return math.isnan(found)
        return found == expected and math.copysign(1, found) == math.copysign(1, expected)
    return type(found) is type(expected) and found == expected


def unique_names(names, taken, fold=str):
    """Names as the contract gives them: one that is taken gets _2, _3 and so on."""
    taken, result = {fold(name) for name in taken}, []
    for name in names:
        candidate, number = name, 2
        while fold(candidate) in taken:
            candidate, number = f"{name}_{number}", number + 1
        taken.add(fold(candidate))
        result.append(candidate)
    return result
