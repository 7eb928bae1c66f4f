//! GeoParquet 1.1: geometries as well-known binary, their bounds in a column of their own.
//!
//! Rows are kept column by column until they make a row group, which is then written at once.
//! Columns are nullable; `geo` in the file's metadata says what the geometries are. Without a `crs`
//! there, they are longitude and latitude on WGS 84.

use super::cell::Cell;
use super::changes::Changes;
use super::names::{self, Rules};
use super::row::Row;
use super::table::Typed;
use super::{ExportError, Start, Target, Writer};
use crate::geometry::{self, Bounds};
use bytes::Bytes;
use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{ColumnPath, Type, TypePtr};
use serde_json::json;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::mem;
use std::sync::Arc;

/// Bytes of a row group before it is encoded and compressed.
const GROUP_BYTES: usize = 16 << 20;
/// Values that the encoder gets at once.
const ENCODED_ROWS: usize = 4096;
const COMPRESSION_LEVEL: i32 = 3;
const GEOMETRY: &str = "geometry";
const BOUNDS: &str = "bbox";
/// The members of the column of bounds.
const SIDES: [&str; 4] = ["xmin", "ymin", "xmax", "ymax"];

type File<'w> = SerializedFileWriter<&'w mut (dyn Write + Send)>;

struct Groups<'w> {
    file: File<'w>,
    /// The table's columns, then the geometry, then the sides of its bounds.
    columns: Vec<Column>,
    geometry: Column,
    sides: [Column; 4],
    /// Bytes of the rows that wait.
    bytes: usize,
    /// The kinds of all geometries.
    kinds: BTreeSet<&'static str>,
    extent: Option<Bounds>,
}

/// Values of a column that wait for their row group.
struct Column {
    /// Of each row: 1 where it has a value, 0 where it is null.
    levels: Vec<i16>,
    values: Values,
}

enum Values {
    Bytes { data: Vec<u8>, ends: Vec<usize> },
    Integers(Vec<i64>),
    Doubles(Vec<f64>),
    Booleans(Vec<bool>),
}

/// Begins a file.
pub(super) fn open<'w>(
    start: &Start,
    target: Target<'w>,
) -> Result<Box<dyn Writer + 'w>, ExportError> {
    let out = target.stream()?;
    let columns: Vec<_> = start.tables.iter().flat_map(|table| &table.columns).collect();
    let rules = Rules { ignores_case: false, most_bytes: usize::MAX };
    let all = columns.iter().map(|column| column.name.as_str());
    let names = names::unique(all, &[GEOMETRY, BOUNDS], rules);
    let types = names.iter().zip(&columns).map(|(name, column)| field(name, column.kind));
    let mut fields = types.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    fields.push(nullable(GEOMETRY, Physical::BYTE_ARRAY, None).map_err(failed)?);
    fields.push(bounds_field().map_err(failed)?);
    let schema = Type::group_type_builder("schema").with_fields(fields).build().map_err(failed)?;
    let file = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties()?));
    Ok(Box::new(Groups {
        file: file.map_err(failed)?,
        columns: columns.iter().map(|column| Column::of(column.kind)).collect(),
        geometry: Column::of(Typed::Geography),
        sides: SIDES.map(|_| Column::of(Typed::Double)),
        bytes: 0,
        kinds: BTreeSet::new(),
        extent: None,
    }))
}

fn properties() -> Result<WriterProperties, ExportError> {
    let level = ZstdLevel::try_new(COMPRESSION_LEVEL).map_err(failed)?;
    let geometry = || ColumnPath::from(GEOMETRY);
    let properties = WriterProperties::builder()
        .set_created_by(format!("nightjar version {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::ZSTD(level))
        .set_column_dictionary_enabled(geometry(), false)
        // The order of binary geometries means nothing.
        .set_column_statistics_enabled(geometry(), EnabledStatistics::None);
    Ok(properties.build())
}

fn field(name: &str, kind: Typed) -> Result<TypePtr, ParquetError> {
    let (physical, logical) = match kind {
        Typed::Text | Typed::Geography => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Typed::Integer => (Physical::INT64, None),
        Typed::Double => (Physical::DOUBLE, None),
        Typed::Boolean => (Physical::BOOLEAN, None),
        // Instants, not what a clock on a wall shows.
        Typed::Instant => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MILLIS))),
    };
    nullable(name, physical, logical)
}

fn nullable(
    name: &str,
    physical: Physical,
    logical: Option<LogicalType>,
) -> Result<TypePtr, ParquetError> {
    let builder = Type::primitive_type_builder(name, physical).with_logical_type(logical);
    Ok(Arc::new(builder.with_repetition(Repetition::OPTIONAL).build()?))
}

/// The column of bounds, null where there are none.
fn bounds_field() -> Result<TypePtr, ParquetError> {
    let side = |name: &&str| {
        let builder = Type::primitive_type_builder(name, Physical::DOUBLE);
        Ok(Arc::new(builder.with_repetition(Repetition::REQUIRED).build()?))
    };
    let sides = SIDES.iter().map(side).collect::<Result<Vec<_>, ParquetError>>()?;
    let builder = Type::group_type_builder(BOUNDS).with_fields(sides);
    Ok(Arc::new(builder.with_repetition(Repetition::OPTIONAL).build()?))
}

impl Writer for Groups<'_> {
    fn row(&mut self, row: &Row<'_>, changes: &mut Changes) -> Result<(), ExportError> {
        for (index, column) in self.columns.iter_mut().enumerate() {
            let cell = match row.became_geometry() {
                Some(geometry) if geometry == index => Cell::Null,
                _ => Cell::read(row, index, changes),
            };
            self.bytes += column.push(cell);
        }
        let mut bounds = None;
        match &row.chosen.geometry {
            None => self.bytes += self.geometry.push(Cell::Null),
            Some(geometry) => {
                self.kinds.insert(geometry.kind());
                bounds = geometry.bounds();
                self.bytes += self.geometry.push_bytes(|out| geometry::wkb(geometry, out));
            }
        }
        if let Some(bounds) = bounds {
            self.extent = Some(self.extent.map_or(bounds, |extent| extent.and(bounds)));
        }
        let sides = bounds.map(|Bounds { west, south, east, north }| [west, south, east, north]);
        for (index, side) in self.sides.iter_mut().enumerate() {
            let number = sides.and_then(|sides| sides.get(index).copied());
            self.bytes += side.push(number.map_or(Cell::Null, Cell::Double));
        }
        if self.bytes >= GROUP_BYTES {
            self.write_group()?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), ExportError> {
        if self.bytes > 0 {
            self.write_group()?;
        }
        let metadata = self.metadata().to_string();
        self.file.append_key_value_metadata(KeyValue::new("geo".to_owned(), metadata));
        self.file.close().map_err(failed)?;
        Ok(())
    }
}

impl Groups<'_> {
    /// Writes the rows that wait.
    fn write_group(&mut self) -> Result<(), ExportError> {
        let mut group = self.file.next_row_group().map_err(failed)?;
        let geometry = [&mut self.geometry];
        let columns = self.columns.iter_mut().chain(geometry).chain(&mut self.sides);
        for column in columns {
            if let Some(mut writer) = group.next_column().map_err(failed)? {
                column.write(&mut writer).map_err(failed)?;
                writer.close().map_err(failed)?;
            }
        }
        group.close().map_err(failed)?;
        self.bytes = 0;
        Ok(())
    }

    /// What the standard wants to be known of the file.
    fn metadata(&self) -> serde_json::Value {
        let side = |name: &str| (name.to_owned(), json!([BOUNDS, name]));
        let covering: serde_json::Map<_, _> = SIDES.iter().map(|name| side(name)).collect();
        let mut column = json!({
            "encoding": "WKB",
            "geometry_types": self.kinds,
            "covering": { "bbox": covering },
        });
        if let (Some(Bounds { west, south, east, north }), Some(column)) =
            (self.extent, column.as_object_mut())
        {
            column.insert("bbox".to_owned(), json!([west, south, east, north]));
        }
        json!({
            "version": "1.1.0",
            "primary_column": GEOMETRY,
            "columns": { GEOMETRY: column },
        })
    }
}

impl Column {
    fn of(kind: Typed) -> Column {
        let values = match kind {
            Typed::Text | Typed::Geography => Values::Bytes { data: Vec::new(), ends: Vec::new() },
            Typed::Integer | Typed::Instant => Values::Integers(Vec::new()),
            Typed::Double => Values::Doubles(Vec::new()),
            Typed::Boolean => Values::Booleans(Vec::new()),
        };
        Column { levels: Vec::new(), values }
    }

    /// Adds a value of the column's type, and says how many bytes it takes.
    fn push(&mut self, cell: Cell<'_>) -> usize {
        let bytes = match (cell, &mut self.values) {
            (Cell::Text(text), Values::Bytes { .. }) => {
                return self.push_bytes(|out| out.extend_from_slice(text.as_bytes()));
            }
            (Cell::Integer(number) | Cell::Instant(number), Values::Integers(values)) => {
                values.push(number);
                size_of::<i64>()
            }
            (Cell::Double(number), Values::Doubles(values)) => {
                values.push(number);
                size_of::<f64>()
            }
            (Cell::Boolean(value), Values::Booleans(values)) => {
                values.push(value);
                size_of::<bool>()
            }
            _ => {
                self.levels.push(0);
                return size_of::<i16>();
            }
        };
        self.levels.push(1);
        size_of::<i16>() + bytes
    }

    /// Adds what is written to the bytes of the column.
    fn push_bytes(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        let Values::Bytes { data, ends } = &mut self.values else { return 0 };
        let before = data.len();
        write(data);
        ends.push(data.len());
        self.levels.push(1);
        size_of::<i16>() + size_of::<usize>() + data.len() - before
    }

    /// Writes and forgets all values.
    fn write(&mut self, writer: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let levels = mem::take(&mut self.levels);
        match &mut self.values {
            Values::Bytes { data, ends } => {
                // The memory is given back with the last value of it.
                let data = Bytes::from(mem::take(data));
                let mut begin = 0;
                let values = ends.iter().map(|end| {
                    let value = ByteArray::from(data.slice(begin..*end));
                    begin = *end;
                    value
                });
                write::<ByteArrayType>(writer, &levels, values)?;
                ends.clear();
            }
            Values::Integers(values) => {
                write::<Int64Type>(writer, &levels, values.drain(..))?;
            }
            Values::Doubles(values) => {
                write::<DoubleType>(writer, &levels, values.drain(..))?;
            }
            Values::Booleans(values) => {
                write::<BoolType>(writer, &levels, values.drain(..))?;
            }
        }
        Ok(())
    }
}

/// Writes a column in pieces. There are as many values as levels that are 1.
fn write<T: DataType>(
    writer: &mut SerializedColumnWriter<'_>,
    levels: &[i16],
    mut values: impl Iterator<Item = T::T>,
) -> Result<(), ParquetError> {
    for levels in levels.chunks(ENCODED_ROWS) {
        let present = levels.iter().filter(|level| **level == 1).count();
        let piece: Vec<_> = values.by_ref().take(present).collect();
        writer.typed::<T>().write_batch(&piece, Some(levels), None)?;
    }
    Ok(())
}

fn failed(error: ParquetError) -> ExportError {
    io::Error::other(error).into()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{document, options};
    use super::super::{ExportFormat, Facts, Kind, Snapshot, Written, write};
    use super::*;
    use crate::dataset::DocumentLimits;
    use chrono::{DateTime, Utc};
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;

    const COLUMNS: [(&str, &str); 7] = [
        ("EntityID", "string"),
        ("geometry", "string"),
        ("Count", "long"),
        ("Size", "double"),
        ("Open", "boolean"),
        ("Since", "dateTime"),
        ("Area", "anyType"),
    ];

    fn exported(entities: &str, count: u64) -> (SerializedFileReader<Bytes>, Written) {
        let document = document(&[("Place", &COLUMNS)], entities);
        let snapshot = Snapshot {
            source: "places".to_owned(),
            created_at: DateTime::<Utc>::UNIX_EPOCH,
            entities: count,
            keys_are_proven: true,
        };
        let mut out = Vec::new();
        let format = ExportFormat::named("geoparquet").unwrap();
        let limits = DocumentLimits::default();
        let target = Target::Stream(&mut out);
        let written = write(
            document.as_bytes(),
            &limits,
            &snapshot,
            format,
            &options(),
            Facts::default(),
            target,
        )
        .unwrap();
        (SerializedFileReader::new(Bytes::from(out)).unwrap(), written)
    }

    fn metadata(file: &SerializedFileReader<Bytes>) -> serde_json::Value {
        let all = file.metadata().file_metadata().key_value_metadata().unwrap();
        let geo = all.iter().find(|it| it.key == "geo").unwrap();
        serde_json::from_str(geo.value.as_deref().unwrap()).unwrap()
    }

    #[test]
    fn rows_have_typed_columns_and_a_geometry_with_its_bounds() {
        let (file, written) = exported(
            "<Place><EntityID>1</EntityID><geometry></geometry><Count>-5</Count><Size>INF</Size>\
             <Open>1</Open><Since>1970-01-01T00:00:01.5009</Since><Area>LINESTRING (1 2, 3 0)</Area>\
             </Place>\
             <Place><EntityID>2</EntityID><Count>many</Count><Area>nowhere</Area></Place>\
             <Place><EntityID>3</EntityID><Area>POINT EMPTY</Area></Place>",
            3,
        );
        let rows: Vec<_> = file.get_row_iter(None).unwrap().map(Result::unwrap).collect();
        let column = |row: usize, name: &str| {
            let found = rows[row].get_column_iter().find(|(column, _)| *column == name);
            found.unwrap().1.clone()
        };
        assert_eq!(column(0, "geometry_2"), Field::Str(String::new()));
        assert_eq!(column(0, "Count"), Field::Long(-5));
        assert_eq!(column(0, "Size"), Field::Double(f64::INFINITY));
        assert_eq!(column(0, "Open"), Field::Bool(true));
        assert_eq!(column(0, "Since"), Field::TimestampMillis(1500));
        assert_eq!(column(0, "Area"), Field::Null, "it became the geometry");
        let Field::Group(bounds) = column(0, "bbox") else { panic!("{rows:?}") };
        let sides: Vec<_> = bounds.get_column_iter().map(|(_, side)| side.clone()).collect();
        assert_eq!(sides, [1.0, 0.0, 3.0, 2.0].map(Field::Double));
        assert_eq!(column(1, "geometry"), Field::Null);
        assert_eq!(column(1, "Area"), Field::Str("nowhere".to_owned()));
        assert_eq!((column(1, "Count"), column(1, "bbox")), (Field::Null, Field::Null));
        assert!(matches!(column(2, "geometry"), Field::Bytes(_)));
        assert_eq!(column(2, "bbox"), Field::Null, "an empty geometry has no bounds");
        let kinds: Vec<_> =
            written.changes.iter().map(|it| (it.column.as_str(), it.kind)).collect();
        assert_eq!(
            kinds,
            [
                ("Area", Kind::GeometryUnreadable),
                ("Count", Kind::Unreadable),
                ("Since", Kind::FractionCut),
                ("Since", Kind::ZoneAssumed),
            ]
        );
        assert_eq!(
            metadata(&file),
            json!({
                "version": "1.1.0",
                "primary_column": "geometry",
                "columns": { "geometry": {
                    "encoding": "WKB",
                    "geometry_types": ["LineString", "Point"],
                    "bbox": [1.0, 0.0, 3.0, 2.0],
                    "covering": { "bbox": {
                        "xmin": ["bbox", "xmin"], "ymin": ["bbox", "ymin"],
                        "xmax": ["bbox", "xmax"], "ymax": ["bbox", "ymax"],
                    } },
                } },
            })
        );
    }

    #[test]
    fn without_rows_there_are_no_row_groups_and_no_bounds() {
        let (file, _) = exported("", 0);
        assert_eq!(file.metadata().num_row_groups(), 0);
        let column = metadata(&file)["columns"]["geometry"].clone();
        assert_eq!(column["geometry_types"], json!([]));
        assert!(column.get("bbox").is_none());
    }

    #[test]
    fn a_row_group_ends_when_its_bytes_are_many() {
        let text = "x".repeat(GROUP_BYTES / 2);
        let row = |id: usize| {
            format!("<Place><EntityID>{id}</EntityID><geometry>{text}</geometry></Place>")
        };
        let rows: String = (0..5).map(row).collect();
        let (file, _) = exported(&rows, 5);
        let groups: Vec<_> = file.metadata().row_groups().iter().map(|it| it.num_rows()).collect();
        assert_eq!(groups, [2, 2, 1]);
    }
}
