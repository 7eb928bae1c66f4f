"""The lines of README.md and docs/leaving.md, run as they are written, one after the other.

`cargo run` and `nightjar` are the executable under test; PostgreSQL is one of the check's own. Lines
for programs that no free software replaces are left out: see NOT_HERE.
"""

import csv
import json
import os
import re
import subprocess
import sys

import duckdb
import duckdb_extensions

import documents
from cluster import Cluster

NOT_HERE = ("sqlcmd ",)


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.S | re.M)


def section(text, title):
    """What is under a title, up to the next one of its level."""
    return re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.S | re.M).group(1)


class Shell:
    def __init__(self, program, folder, cluster):
        self.folder = folder
        os.makedirs(f"{folder}/bin")
        self.tool("cargo", f'shift; while [ "$1" != -- ]; do shift; done; shift; exec "{program}" "$@"')
        # 3 says that some values have no exact form, which the page explains.
        self.tool("nightjar", f'"{program}" --config nightjar-demo/config.toml "$@" || [ $? = 3 ]')
        self.environment = {
            **os.environ,
            "PATH": f"{folder}/bin:{os.environ['PATH']}",
            "PGHOST": cluster.folder,
            "PGUSER": "postgres",
        }

    def tool(self, name, line):
        with open(f"{self.folder}/bin/{name}", "w") as file:
            file.write(f"#!/bin/sh\n{line}\n")
        os.chmod(f"{self.folder}/bin/{name}", 0o755)

    def run(self, lines):
        """The output of lines, of which none may fail."""
        lines = [line for line in lines.splitlines() if not line.startswith(NOT_HERE)]
        command = ["bash", "-euo", "pipefail", "-c", "\n".join(lines)]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert done.returncode == 0, (lines, done.returncode, done.stderr.decode(), done.stdout.decode())
        return done.stdout.decode()


def check_readme(shell, text):
    """From nothing to places in a GeoPackage and a query's answer."""
    for lines in blocks(section(text, "See it work"), "sh"):
        if "cargo test" not in lines:
            answer = shell.run(lines)
    assert "Name (String) = Amsterdam" in answer, answer
    assert re.search(r"Amsterdam +\| +0?\.\d+", answer), answer
    with open(f"{shell.folder}/places.gpkg", "rb") as file:
        assert file.read(16) == b"SQLite format 3\0"


def check_postgis(shell, text):
    shell.run("dropdb places; rm places.sql")
    part = section(text, "PostgreSQL with PostGIS")
    for lines in blocks(part, "sh"):
        shell.run(lines)
    (queries,) = blocks(part, "sql")
    answers = []
    for query in queries.strip().splitlines():
        sql = f"SELECT to_json(r) FROM ({query.removesuffix(';')}) AS r"
        answer = shell.run(f"psql -qAt -d places -c {quoted(sql)}")
        answers.append([json.loads(row) for row in answer.splitlines()])
    filtered, nearby, box, intersecting, both = answers
    _, entities, _ = documents.read(shell.run("nightjar export places --format xml --output -").encode())
    dutch = [entity.values for entity in entities if entity.values["CountryCode"] == "NL"]
    dutch.sort(key=lambda values: -int(values["Population"]))
    assert [row["EntityID"] for row in filtered] == [values["EntityID"] for values in dutch[:3]]
    assert "Amsterdam" in [row["Name"] for row in nearby] and all(row["distance_km"] <= 50 for row in nearby)
    points = [row for row in box if row["Shape"] is None or row["Shape"]["type"] == "Point"]
    assert points and all(abs(row["Latitude"]) < 20 for row in points)
    assert "Rotterdam" in [row["Name"] for row in intersecting]
    large = [(row["Name"], row["distance_km"]) for row in nearby if row["Population"] > 100_000]
    assert [(row["Name"], row["distance_km"]) for row in both] == large != []


def quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


def check_files(shell, text):
    """The files, the queries on them, and the way from CSV to PostgreSQL and back."""
    part = section(text, "Files")
    # README's lines have made the first already.
    shell.run("rm -f places.gpkg")
    for lines in blocks(part, "sh"):
        shell.run(lines)
    cells = re.findall(r"^\| `.*?` \| (?:in DuckDB [^`]*: )?`(.*)` \|$", part, re.M)
    assert len(cells) == 4, cells
    for cell in cells:
        if cell.startswith("ogrinfo"):
            answer = shell.run(cell)
            count = int(re.search(r"Feature Count: (\d+)", answer).group(1))
            assert 1 <= count < 300, (cell, count)
        else:
            check_duckdb(shell, cell)
    (copy,) = re.findall(r"`(COPY places [^`]*)`", part)
    shell.run("psql -qd places -c 'CREATE TABLE typed AS TABLE places' -c 'DROP TABLE places CASCADE'")
    with open(f"{shell.folder}/places.csv", newline="") as file:
        header, *rows = csv.reader(file)
    columns = ", ".join(f'"{name}" text' for name in header)
    # The server reads the file in its own folder: psql sends it instead.
    line = copy.replace("COPY", "\\copy", 1)
    shell.run(f"psql -qd places -v ON_ERROR_STOP=1 -c {quoted(f'CREATE TABLE places ({columns})')} -c {quoted(line)}")
    answer = shell.run("psql -qAtd places -c 'SELECT count(*) FROM places'")
    assert int(answer) == len(rows), answer
    whole = f"SELECT to_json(p) FROM places p ORDER BY \"{header[0]}\" COLLATE \"C\""
    loaded = [json.loads(line) for line in shell.run(f"psql -qAtd places -c {quoted(whole)}").splitlines()]
    rows.sort(key=lambda row: row[0].encode())
    for one, row in zip(loaded, rows, strict=True):
        assert [one[name] or "" for name in header] == row, (one, row)


def check_duckdb(shell, cell):
    """With the extension as a package; DuckDB would fetch it from its own server."""
    duckdb_extensions.import_extension("spatial")
    connection = duckdb.connect()
    os.chdir(shell.folder)
    *settings, query = cell.split("; ")
    for setting in settings:
        connection.execute(setting)
    names = lambda query: {name for name, in connection.execute(f"SELECT Name FROM ({query})").fetchall()}
    assert names(query) == {"Amsterdam", "Utrecht"}, names(query)
    # Between 51 and 54 km away, and further where longitude is taken for latitude.
    further = names(query.replace("50000", "54000"))
    assert further == {"Amsterdam", "Utrecht", "The Hague"}, further


def main():
    program, _, folder = sys.argv[1:4]
    os.makedirs(folder)
    with open("README.md") as readme, open("docs/leaving.md") as leaving:
        readme, leaving = readme.read(), leaving.read()
    shell = Shell(program, folder, Cluster())
    check_readme(shell, readme)
    check_postgis(shell, leaving)
    for title in ("Azure SQL", "Azure Cosmos DB"):
        for lines in blocks(section(leaving, title), "sh"):
            shell.run(f"rm -f places.sql\n{lines}")
    check_files(shell, leaving)
    print("ok: lines: those of README.md and docs/leaving.md do what they say")


main()
