"""GeoParquet files, read by pyarrow and DuckDB, and by geometries with shapely."""

import json

import duckdb
import pyarrow
import pyarrow.parquet

import documents
from documents import Instant
from checking import Exporter, Snapshot, changes_of, common_changes, same, typed, unique_names

TYPES = {
    "text": pyarrow.string(),
    "geography": pyarrow.string(),
    "integer": pyarrow.int64(),
    "double": pyarrow.float64(),
    "boolean": pyarrow.bool_(),
    "instant": pyarrow.timestamp("ms", tz="UTC"),
}
SIDES = ["xmin", "ymin", "xmax", "ymax"]
# Bytes that a row group may have before it is compressed, encodings aside.
LARGEST_GROUP = 24 << 20


def check_metadata(file, shapes):
    """The rules of GeoParquet 1.1 for the file's metadata."""
    metadata = json.loads(file.metadata.metadata[b"geo"])
    assert metadata["version"] == "1.1.0" and metadata["primary_column"] == "geometry"
    assert list(metadata["columns"]) == ["geometry"]
    column = metadata["columns"]["geometry"]
    assert column["encoding"] == "WKB"
    assert "crs" not in column, "longitude and latitude on WGS 84 are the default"
    kinds = {shape.geom_type for shape in shapes if shape is not None}
    assert set(column["geometry_types"]) == kinds and len(column["geometry_types"]) == len(kinds)
    assert column["covering"]["bbox"] == {side: ["bbox", side] for side in SIDES}
    placed = [documents.bounds(shape) for shape in shapes if shape is not None and not shape.is_empty]
    if placed:
        west, south, east, north = zip(*placed)
        assert column["bbox"] == [min(west), min(south), max(east), max(north)]
    else:
        assert "bbox" not in column
    schema = file.schema_arrow
    assert schema.field("geometry").type == pyarrow.binary()
    assert schema.field("bbox").type == pyarrow.struct([pyarrow.field(side, pyarrow.float64(), False) for side in SIDES])


def check_groups(file):
    for index in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(index)
        assert 0 < group.total_byte_size < LARGEST_GROUP, (index, group)
        for column in range(group.num_columns):
            assert group.column(column).compression == "ZSTD"
        last = index == file.metadata.num_row_groups - 1
        assert last or group.total_byte_size > 1 << 20, "row groups are not tiny"


def check_type(exporter, snapshot, type):
    options = ["--entity", type.name] if len(snapshot.types) > 1 else []
    path, report = exporter.export(snapshot, "geoparquet", "out.parquet", *options)
    entities = [entity for entity in snapshot.entities if entity.type is type]
    changes = common_changes(snapshot, entities)
    shapes, rows = [], []
    for entity in entities:
        shape, source = documents.chosen(entity, snapshot.known, changes)
        shapes.append(shape)
        cells = []
        for name, column in type.columns:
            if name == source and shape is not None:
                cells.append(None)
            else:
                cell = typed(column, entity.values.get(name), name, changes)
                cells.append(cell.millis if isinstance(cell, Instant) else cell)
        rows.append(cells)
    assert changes_of(report) == changes, (snapshot.manifest, changes_of(report), changes)
    assert report["written"] == len(entities)

    file = pyarrow.parquet.ParquetFile(path)
    check_metadata(file, shapes)
    check_groups(file)
    names = unique_names([name for name, _ in type.columns], ["geometry", "bbox"])
    assert file.schema_arrow.names == [*names, "geometry", "bbox"]
    for name, (_, column) in zip(names, type.columns):
        field = file.schema_arrow.field(name)
        assert field.type == TYPES[documents.kind_of(column)] and field.nullable, field
    table = file.read()
    assert table.num_rows == len(rows)
    for index, (name, (_, column)) in enumerate(zip(names, type.columns)):
        values = table.column(name)
        if documents.kind_of(column) == "instant":
            values = values.cast(pyarrow.int64())
        for number, (found, cells) in enumerate(zip(values.to_pylist(), rows)):
            assert same(found, cells[index]), (snapshot.manifest, name, number, found, cells[index])
    for found, bounds, shape in zip(table.column("geometry").to_pylist(), table.column("bbox").to_pylist(), shapes):
        if shape is None:
            assert found is None
        else:
            assert documents.unnamed_nan(found) == documents.unnamed_nan(documents.wkb(shape)), (found, shape)
        if shape is None or shape.is_empty:
            assert bounds is None, bounds
        else:
            assert tuple(bounds[side] for side in SIDES) == documents.bounds(shape)
    check_duckdb(path, names, type, rows)
    again, _ = exporter.export(snapshot, "geoparquet", "again.parquet", *options)
    assert open(path, "rb").read() == open(again, "rb").read(), "the same snapshot gives the same bytes"


def check_duckdb(path, names, type, rows):
    """DuckDB, which shares no code with pyarrow, reads the same values by position."""
    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'")
    relation = database.sql(f"SELECT * FROM read_parquet('{path}')")
    kinds = [documents.kind_of(column) for _, column in type.columns]
    columns = relation.columns[: len(names)]
    parts = [
        f'epoch_ms("{column}")' if kind == "instant" else f'"{column}"' for column, kind in zip(columns, kinds)
    ]
    found = relation.select(", ".join(parts)).fetchall()
    assert len(found) == len(rows)
    for one, cells in zip(found, rows):
        for name, value, expected in zip(names, one, cells):
            assert same(value, expected), (name, value, expected)


def check_large(exporter):
    """A document of 40 MB makes several row groups."""
    row = "<Place><EntityID>{0}</EntityID><Text>{1}</Text><Area>POINT ({2} 1)</Area></Place>"
    maker = documents.Maker(1)
    text = lambda: "".join(chr(97 + maker.random.randrange(26)) for _ in range(40)) * 10
    head = (
        '<Data><xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:m="urn:schemas-microsoft-com:xml-msdata">'
        '<xs:element name="Data" m:IsDataSet="true"><xs:complexType><xs:choice><xs:element name="Place"><xs:complexType>'
        '<xs:sequence><xs:element name="EntityID" type="xs:string"/><xs:element name="Text" type="xs:string"/>'
        '<xs:element name="Area" type="xs:anyType"/></xs:sequence></xs:complexType></xs:element></xs:choice>'
        '</xs:complexType><xs:unique name="K" m:PrimaryKey="true"><xs:selector xpath=".//Place"/>'
        '<xs:field xpath="EntityID"/></xs:unique></xs:element></xs:schema>'
    )
    rows = "".join(row.format(number, text(), number / 1000) for number in range(80_000))
    xml = (head + rows + "</Data>").encode()
    snapshot = Snapshot("large", xml, exporter.archive.add("large", xml), documents.Known())
    path, _ = exporter.export(snapshot, "geoparquet", "large.parquet")
    file = pyarrow.parquet.ParquetFile(path)
    assert file.metadata.num_rows == 80_000 and file.metadata.num_row_groups >= 2
    check_groups(file)


def main():
    exporter, checked = Exporter(), 0
    for snapshot in exporter.snapshots():
        for type in snapshot.types:
            check_type(exporter, snapshot, type)
            checked += 1
    check_large(exporter)
    print(f"ok: geoparquet: {checked} files equal their documents, by pyarrow {pyarrow.__version__} and DuckDB {duckdb.__version__}")


main()
