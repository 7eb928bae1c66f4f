//! The functions nearby, bbox and intersects for Azure SQL.

use super::azure_text::bracketed;
use super::plan::{DISTANCE, GEOM, Plan, SqlTable};
use std::io::{self, Write};

/// Corners on each parallel of a quarter of a box, but for the last.
const STEPS: usize = 16;

/// Creates the functions, each in a batch of its own. Their rows have the table's columns and
/// `distance_km`; an inline function cannot sort them.
pub(super) fn create(plan: &Plan, table: &SqlTable, out: &mut dyn Write) -> io::Result<()> {
    let [nearby, bbox, intersects] = table.functions.each_ref().map(|name| plan.bracketed(name));
    let from = plan.bracketed(&table.name);
    let columns = table.columns.iter().map(|column| column.name.as_str()).chain([GEOM]);
    let columns: Vec<_> = columns.map(|name| format!("t.{}", bracketed(name))).collect();
    let select = columns.join(", ");
    let (geom, distance) = (format!("t.{}", bracketed(GEOM)), bracketed(DISTANCE));

    write!(
        out,
        "CREATE FUNCTION {nearby}(@lat float, @lon float, @km float)\n\
         RETURNS TABLE AS RETURN\n\
         SELECT {select},\n\
         \x20   {geom}.STDistance(geography::Point(@lat, @lon, 4326)) / 1000.0 AS {distance}\n\
         FROM {from} AS t\n\
         WHERE {geom}.STDistance(geography::Point(@lat, @lon, 4326)) <= @km * 1000.0;\n\
         GO\n"
    )?;

    // The sides of a box are parallels and meridians, but the edges of geographies are shortest
    // ways: so the box is cut into quarters, which have many corners; points are compared by their
    // coordinates. Polygons do not touch the poles, where meridians meet.
    write!(
        out,
        "CREATE FUNCTION {bbox}(@south float, @west float, @north float, @east float)\n\
         RETURNS TABLE AS RETURN\n\
         SELECT {select},\n\
         \x20   {geom}.STDistance(b.middle) / 1000.0 AS {distance}\n\
         FROM {from} AS t\n\
         CROSS JOIN (\n\
         \x20   SELECT w.east, geography::Point((@south + @north) / 2, (@west + w.east) / 2\n\
         \x20           - CASE WHEN @west + w.east > 360 THEN 360 ELSE 0 END, 4326) AS middle,\n\
         \x20       geography::STGeomFromText(N'MULTIPOLYGON(' + p.polygons + N')', 4326)\n\
         \x20           .MakeValid() AS box\n\
         \x20   FROM (SELECT @east + CASE WHEN @west > @east THEN 360 ELSE 0 END AS east) AS w\n\
         \x20   CROSS APPLY (\n\
         \x20       SELECT STRING_AGG(N'((' + r.ring + N'))', N', ') AS polygons\n\
         \x20       FROM (VALUES (0), (1), (2), (3)) AS q(quarter)\n\
         \x20       CROSS APPLY (\n\
         \x20           SELECT STRING_AGG(CAST(c.corner AS nvarchar(max)), N', ')\n\
         \x20               WITHIN GROUP (ORDER BY c.number) AS ring\n\
         \x20           FROM (\n\
         \x20               SELECT i.number, CONVERT(nvarchar(40), CAST(x.lon\n\
         \x20                       - CASE WHEN x.lon > 180 THEN 360 ELSE 0 END AS decimal(18, 15)))\n\
         \x20                   + N' ' + CONVERT(nvarchar(40), CAST(CASE\n\
         \x20                       WHEN i.is_north = 0 AND @south < -89.999 THEN -89.999\n\
         \x20                       WHEN i.is_north = 0 THEN @south\n\
         \x20                       WHEN @north > 89.999 THEN 89.999\n\
         \x20                       ELSE @north END AS decimal(18, 15))) AS corner\n\
         \x20               FROM (VALUES {corners}) AS i(number, is_north, step)\n\
         \x20               CROSS APPLY (SELECT @west + (w.east - @west)\n\
         \x20                   * (q.quarter + i.step / {STEPS}.0) / 4 AS lon) AS x\n\
         \x20           ) AS c\n\
         \x20       ) AS r\n\
         \x20   ) AS p\n\
         ) AS b\n\
         WHERE ({geom}.STGeometryType() = N'Point' AND {geom}.Lat BETWEEN @south AND @north AND (\n\
         \x20       {geom}.Long BETWEEN @west AND b.east\n\
         \x20       OR {geom}.Long + 360 BETWEEN @west AND b.east\n\
         \x20       OR {geom}.Long - 360 BETWEEN @west AND b.east))\n\
         \x20   OR ({geom}.STGeometryType() <> N'Point' AND {geom}.STIntersects(b.box) = 1);\n\
         GO\n",
        corners = corners().join(", "),
    )?;

    write!(
        out,
        "CREATE FUNCTION {intersects}(@wkt nvarchar(max))\n\
         RETURNS TABLE AS RETURN\n\
         SELECT {select}, CAST(0 AS float) AS {distance}\n\
         FROM {from} AS t\n\
         CROSS JOIN (SELECT geography::STGeomFromText(@wkt, 4326).MakeValid() AS asked) AS a\n\
         -- Rings in either direction: a part that is most of the globe is the other one.\n\
         WHERE {geom}.STIntersects(CASE WHEN a.asked.EnvelopeAngle() > 90\n\
         \x20   THEN a.asked.ReorientObject() ELSE a.asked END) = 1;\n\
         GO\n"
    )
}

/// The corners of a quarter of a box counter-clockwise: each one's number, whether it is on the
/// northern side, and its step from west to east.
fn corners() -> Vec<String> {
    let south = (0..=STEPS).map(|step| (0, step));
    let north = (0..=STEPS).rev().map(|step| (1, step));
    let corners = south.chain(north).chain([(0, 0)]).enumerate();
    corners.map(|(number, (is_north, step))| format!("({number}, {is_north}, {step})")).collect()
}
