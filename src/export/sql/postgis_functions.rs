//! The functions nearby, bbox and intersects for PostGIS.

use super::plan::{DISTANCE, GEOM, SqlTable};
use super::postgis::{qualified, quoted};
use crate::export::names::{self, Rules};
use std::io::{self, Write};

const NEARBY: [&str; 3] = ["lat", "lon", "km"];
const BBOX: [&str; 4] = ["south", "west", "north", "east"];
const INTERSECTS: [&str; 1] = ["wkt"];

/// Drops the functions, if they exist.
pub(super) fn drop(table: &SqlTable, schema: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
    let [nearby, bbox, intersects] = &table.functions;
    for (name, parameters, r#type) in [
        (nearby, NEARBY.len(), "double precision"),
        (bbox, BBOX.len(), "double precision"),
        (intersects, INTERSECTS.len(), "text"),
    ] {
        let name = qualified(schema, name);
        let types = vec![r#type; parameters].join(", ");
        writeln!(out, "DROP FUNCTION IF EXISTS {name}({types});")?;
    }
    Ok(())
}

/// Creates the functions. Their rows have the table's columns and `distance_km`.
pub(super) fn create(
    table: &SqlTable,
    schema: Option<&str>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let [nearby, bbox, intersects] = &table.functions;
    let from = qualified(schema, &table.name);
    let distance = quoted(DISTANCE);
    let select = selected(table);
    let geography = format!("t.{}::geography", quoted(GEOM));
    let order = match table.key_column() {
        Some(column) => format!("{distance}, t.{}", quoted(&column.name)),
        None => distance.clone(),
    };
    let point = |x: &str, y: &str| format!("ST_SetSRID(ST_MakePoint({x}, {y}), 4326)::geography");

    begin(table, &qualified(schema, nearby), &NEARBY, "double precision", out)?;
    let here = point("$2", "$1");
    write!(
        out,
        "    SELECT {select},\n\
         \x20       ST_Distance({geography}, {here}) / 1000 AS {distance}\n\
         \x20   FROM {from} AS t\n\
         \x20   WHERE ST_DWithin({geography}, {here}, $3 * 1000)\n\
         \x20   ORDER BY {order};\n\
         END;\n"
    )?;

    // The sides of a box are parallels and meridians, but the edges of geographies are shortest
    // ways. So each quarter of the box has a corner every degree, and is within 250 m of the box
    // then; points are compared by their coordinates. A box across the antimeridian is cut there.
    begin(table, &qualified(schema, bbox), &BBOX, "double precision", out)?;
    let middle = point("b.middle - CASE WHEN b.middle > 180 THEN 360 ELSE 0 END", "($1 + $3) / 2");
    write!(
        out,
        "    WITH spans AS (\n\
         \x20       SELECT $2 AS west, CASE WHEN $2 > $4 THEN 180 ELSE $4 END AS east\n\
         \x20       UNION ALL SELECT -180, $4 WHERE $2 > $4\n\
         \x20   ), b AS MATERIALIZED (\n\
         \x20       SELECT $2 AS west, $4 + turn AS east, ($2 + $4 + turn) / 2 AS middle, (\n\
         \x20           SELECT ST_Collect(ST_Segmentize(ST_MakeEnvelope(\n\
         \x20               s.west + (s.east - s.west) * part / 4, $1,\n\
         \x20               s.west + (s.east - s.west) * (part + 1) / 4, $3, 4326), 1))\n\
         \x20           FROM spans AS s, generate_series(0, 3) AS part)::geography AS box\n\
         \x20       FROM (SELECT CASE WHEN $2 > $4 THEN 360 ELSE 0 END AS turn) AS r\n\
         \x20   )\n\
         \x20   SELECT {select},\n\
         \x20       ST_Distance({geography}, {middle}) / 1000 AS {distance}\n\
         \x20   FROM b, {from} AS t\n\
         \x20   WHERE ST_DWithin({geography}, b.box, 250)\n\
         \x20       AND CASE WHEN GeometryType(t.{geom}) = 'POINT'\n\
         \x20           THEN ST_Y(t.{geom}) BETWEEN $1 AND $3 AND (\n\
         \x20               ST_X(t.{geom}) BETWEEN b.west AND b.east\n\
         \x20               OR ST_X(t.{geom}) + 360 BETWEEN b.west AND b.east\n\
         \x20               OR ST_X(t.{geom}) - 360 BETWEEN b.west AND b.east)\n\
         \x20           ELSE ST_Intersects({geography}, b.box) END\n\
         \x20   ORDER BY {order};\n\
         END;\n",
        geom = quoted(GEOM),
    )?;

    begin(table, &qualified(schema, intersects), &INTERSECTS, "text", out)?;
    writeln!(
        out,
        "    SELECT {select}, 0::double precision AS {distance}\n\
         \x20   FROM {from} AS t\n\
         \x20   WHERE ST_Intersects({geography}, ST_GeomFromText($1, 4326)::geography)\n\
         \x20   ORDER BY {order};\n\
         END;"
    )
}

fn selected(table: &SqlTable) -> String {
    let columns = table.columns.iter().map(|column| column.name.as_str()).chain([GEOM]);
    let columns: Vec<_> = columns.map(|name| format!("t.{}", quoted(name))).collect();
    columns.join(", ")
}

/// The head of a function. A parameter whose name a column has gets another one.
fn begin(
    table: &SqlTable,
    name: &str,
    parameters: &[&str],
    r#type: &str,
    out: &mut dyn Write,
) -> io::Result<()> {
    let columns: Vec<_> = table.columns.iter().map(|column| column.name.as_str()).collect();
    let rules = Rules { ignores_case: false, most_bytes: 63 };
    let parameters = names::unique(parameters.iter().copied(), &columns, rules);
    let parameters: Vec<_> =
        parameters.iter().map(|name| format!("{} {type}", quoted(name), r#type = r#type)).collect();
    let mut rows: Vec<_> = table
        .columns
        .iter()
        .map(|column| {
            format!("{} {}", quoted(&column.name), super::postgis::type_of(column.content))
        })
        .collect();
    rows.push(format!("{} geometry", quoted(GEOM)));
    rows.push(format!("{} double precision", quoted(DISTANCE)));
    writeln!(
        out,
        "CREATE FUNCTION {name}({})\n\
         RETURNS TABLE ({})\n\
         LANGUAGE sql STABLE PARALLEL SAFE\n\
         BEGIN ATOMIC",
        parameters.join(", "),
        rows.join(", "),
    )
}
