use super::*;
use proptest::prelude::*;

fn read(text: &str) -> Geometry {
    parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).geometry
}

fn json(geometry: &Geometry) -> String {
    let mut out = Vec::new();
    geojson(geometry, &mut out);
    String::from_utf8(out).unwrap()
}

fn text(geometry: &Geometry) -> String {
    let mut out = Vec::new();
    to_wkt(geometry, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn every_spelling_of_the_service_is_read() {
    for (given, plain) in [
        ("POINT (-122.3 47.6)", "POINT (-122.3 47.6)"),
        ("point(-122.3 47.6)", "POINT (-122.3 47.6)"),
        ("POINT((1 2))", "POINT (1 2)"),
        ("SRID=4326; POINT (1e2 -.5)", "POINT (100 -0.5)"),
        ("POINT (1, 2)", "POINT (1 2)"),
        ("POINT EMPTY", "POINT EMPTY"),
        ("LINESTRING(-122.3 47, -122.4 47.1E0)", "LINESTRING (-122.3 47, -122.4 47.1)"),
        ("POLYGON ((0 0, 0 1, 1 1, 0 0))", "POLYGON ((0 0, 0 1, 1 1, 0 0))"),
        ("POLYGON ( ( ( 0 0, 0 1, 1 1, 0 0 ) ) )", "POLYGON ((0 0, 0 1, 1 1, 0 0))"),
        ("POLYGON (0 0, 0 1, 1 1)", "POLYGON ((0 0, 0 1, 1 1, 0 0))"),
        (
            "POLYGON ((0 0,9 0,9 9,0 0),(1 1,2 1,2 2,1 1))",
            "POLYGON ((0 0, 9 0, 9 9, 0 0), (1 1, 2 1, 2 2, 1 1))",
        ),
        ("MULTIPOINT((-122.3, 47), (-122.4, 47.1))", "MULTIPOINT ((-122.3 47), (-122.4 47.1))"),
        ("MULTIPOINT((0 0), (1 1))", "MULTIPOINT ((0 0), (1 1))"),
        ("MULTIPOINT(1 2, 3 4)", "MULTIPOINT ((1 2), (3 4))"),
        ("MULTIPOINT EMPTY", "MULTIPOINT EMPTY"),
        ("MULTILINESTRING((0 0, 1 1), (2 2, 3 3))", "MULTILINESTRING ((0 0, 1 1), (2 2, 3 3))"),
        ("GEOMETRYCOLLECTION EMPTY", "GEOMETRYCOLLECTION EMPTY"),
        (
            "GEOMETRYCOLLECTION((POINT(1 2), LINESTRING(1 2,\n3 4), POINT EMPTY))",
            "GEOMETRYCOLLECTION (POINT (1 2), LINESTRING (1 2, 3 4), POINT EMPTY)",
        ),
    ] {
        assert_eq!(text(&read(given)), plain, "{given}");
        assert_eq!(read(plain), read(given), "{plain}");
    }
}

#[test]
fn the_levels_of_a_multipolygon_keep_their_meaning_whatever_parentheses_are_spare_or_missing() {
    let (a, b) = ("0 0, 9 0, 9 9, 0 0", "20 0, 29 0, 29 9, 20 0");
    let hole = "5 1, 6 1, 6 2, 5 1";
    let two = format!("MULTIPOLYGON ((({a})), (({b})))");
    for same in [
        format!("MULTIPOLYGON ((({a})), (({b})))"),
        format!("MULTIPOLYGON (({a})), (({b}))"),
        format!("MULTIPOLYGON (({a}), ({b}))"),
        format!("MULTIPOLYGON (((({a})), (({b}))))"),
        format!("MULTIPOLYGON (((({a}))), ((({b}))))"),
    ] {
        assert_eq!(text(&read(&same)), two, "{same}");
    }
    let holed = format!("MULTIPOLYGON ((({a}), ({hole})))");
    for same in [
        format!("MULTIPOLYGON((({a}),({hole})))"),
        format!("MULTIPOLYGON(((({a}),({hole}))))"),
        format!("MULTIPOLYGON((((({a}),({hole})))))"),
    ] {
        assert_eq!(text(&read(&same)), holed, "{same}");
    }
}

#[test]
fn further_dimensions_are_left_out_and_said() {
    for given in ["POINT Z (1 2 3)", "POINT ZM(1 2 3 4)", "POINT (1 2 3)", "POINT M (1 2 9)"] {
        let parsed = parse(given).unwrap();
        assert_eq!(text(&parsed.geometry), "POINT (1 2)");
        assert!(parsed.has_more_dimensions, "{given}");
    }
    assert!(!parse("POINT (1 2)").unwrap().has_more_dimensions);
}

#[test]
fn what_is_no_geometry_is_an_error() {
    for given in [
        "",
        "POINT",
        "POINT (",
        "POINT (1 2",
        "POINT (1 2))",
        "POINT (1)",
        "POINT (1 2, 3 4)",
        "POINT (1 2 3 4 5)",
        "POINT (1e999 2)",
        "POINT (1-2 3)",
        "POINT (NaN 2)",
        "POINT (1 2) trailing",
        "POINT (1 2), POINT (3 4)",
        "LINESTRING (1 2)",
        "POLYGON ((0 0, 1 1))",
        "POLYGON ((0 0, 1 1), 3)",
        "PINT (1 2)",
        "SRID=;POINT (1 2)",
        "GEOMETRYCOLLECTION (1 2)",
        "{\"type\":\"Point\"}",
        "the Ångström institute",
        "ééé",
    ] {
        assert_eq!(parse(given), Err(WktError::Unreadable), "{given}");
    }
    for (given, srid) in [
        ("SRID=3857;POINT (100 50)", 3857),
        ("srid=0;POINT (1 2)", 0),
        ("SRID=99999999999;POINT (1 2)", 0),
    ] {
        assert_eq!(parse(given), Err(WktError::ForeignSrid(srid)), "{given}");
    }
    assert!(parse("SRID=04326;POINT (1 2)").is_ok());
    for given in ["MULTIPOINT (EMPTY, (1 2))", "MULTIPOINT ((1 2), EMPTY)"] {
        let unsupported = WktError::Unsupported("MULTIPOINT with an empty member");
        assert_eq!(parse(given), Err(unsupported), "{given}");
    }
    assert_eq!(parse("MULTIPOINT (EMPTY)").map(|it| it.geometry.is_empty()), Ok(true));
    assert_eq!(parse("FULLGLOBE"), Err(WktError::Unsupported("FULLGLOBE")));
    let inner = "GEOMETRYCOLLECTION (curvepolygon(circularstring(0 0, 1 1, 2 0)))";
    assert_eq!(parse(inner), Err(WktError::Unsupported("CURVEPOLYGON")));
    for deep in [format!("POINT {}", "(".repeat(100_000)), "GEOMETRYCOLLECTION(".repeat(100_000)] {
        assert_eq!(parse(&deep), Err(WktError::Unreadable));
    }
}

#[test]
fn geojson_is_that_of_rfc_7946() {
    for (given, wanted) in [
        ("POINT (1 2.50)", r#"{"type":"Point","coordinates":[1,2.5]}"#),
        ("POINT EMPTY", r#"{"type":"Point","coordinates":[]}"#),
        ("MULTIPOINT (1 2, 3 4)", r#"{"type":"MultiPoint","coordinates":[[1,2],[3,4]]}"#),
        (
            "MULTIPOLYGON (((0 0, 1 0, 1 1, 0 0)))",
            r#"{"type":"MultiPolygon","coordinates":[[[[0,0],[1,0],[1,1],[0,0]]]]}"#,
        ),
        (
            "GEOMETRYCOLLECTION (POINT (1 2))",
            r#"{"type":"GeometryCollection","geometries":[{"type":"Point","coordinates":[1,2]}]}"#,
        ),
        ("GEOMETRYCOLLECTION EMPTY", r#"{"type":"GeometryCollection","geometries":[]}"#),
    ] {
        assert_eq!(json(&read(given)), wanted);
    }
}

#[test]
fn well_known_binary_has_the_bytes_of_the_standard() {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let mut out = Vec::new();
    wkb(&read("POINT (1 2)"), &mut out);
    assert_eq!(hex(&out), "0101000000000000000000f03f0000000000000040");
    out.clear();
    ewkb(&read("MULTIPOINT (1 2)"), &mut out);
    let point = "0101000000000000000000f03f0000000000000040";
    assert_eq!(hex(&out), format!("0104000020e610000001000000{point}"));
    out.clear();
    wkb(&read("POLYGON EMPTY"), &mut out);
    assert_eq!(hex(&out), "010300000000000000");
}

#[test]
fn rings_turn_only_where_they_must() {
    let turned = |given: &str, surface| {
        let geometry = read(given);
        match oriented(&geometry, surface) {
            std::borrow::Cow::Borrowed(_) => None,
            std::borrow::Cow::Owned(it) => Some(text(&it)),
        }
    };
    let right = "POLYGON ((0 0, 9 0, 9 9, 0 9, 0 0), (1 1, 1 2, 2 2, 2 1, 1 1))";
    let wrong = "POLYGON ((0 0, 0 9, 9 9, 9 0, 0 0), (1 1, 2 1, 2 2, 1 2, 1 1))";
    for surface in [Surface::Plane, Surface::Globe] {
        assert_eq!(turned(right, surface), None);
        assert_eq!(turned(wrong, surface).as_deref(), Some(right));
        let inside = format!("GEOMETRYCOLLECTION ({wrong}, POINT (1 2))");
        let turned_inside = format!("GEOMETRYCOLLECTION ({right}, POINT (1 2))");
        assert_eq!(turned(&inside, surface), Some(turned_inside));
        assert_eq!(turned("POLYGON ((1 1, 2 2, 3 3, 1 1))", surface), None, "no area");
        assert_eq!(turned("LINESTRING (0 0, 0 1, 1 1, 0 0)", surface), None);
    }
    // Counter-clockwise across the antimeridian, clockwise on a plane.
    let across = "POLYGON ((170 0, -170 0, -170 9, 170 9, 170 0))";
    assert_eq!(turned(across, Surface::Globe), None);
    assert!(turned(across, Surface::Plane).is_some());
}

#[test]
fn numbers_are_as_short_as_they_can_be() {
    for (number, wanted) in [
        (1.0, "1"),
        (-0.5, "-0.5"),
        (0.1 + 0.2, "0.30000000000000004"),
        (1e21, "1e21"),
        (1e20, "100000000000000000000"),
        (5e-324, "5e-324"),
        (1e-7, "0.0000001"),
        (-0.0, "-0"),
    ] {
        let mut out = Vec::new();
        shortest(number, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }
}

/// Coordinates that text and binary must keep exactly.
fn position() -> impl Strategy<Value = Position> {
    let x = any::<f64>().prop_filter("finite", |it| it.is_finite());
    (x, -90.0..90.0f64).prop_map(|(x, y)| [x, y])
}

fn geometry() -> impl Strategy<Value = Geometry> {
    let path = || prop::collection::vec(position(), 2..6);
    let ring = || {
        prop::collection::vec(position(), 3..6).prop_map(|mut ring| {
            ring.push(ring[0]);
            ring
        })
    };
    let rings = move || prop::collection::vec(ring(), 1..3);
    let leaf = prop_oneof![
        prop::option::of(position()).prop_map(Geometry::Point),
        path().prop_map(Geometry::LineString),
        rings().prop_map(Geometry::Polygon),
        prop::collection::vec(position(), 0..4).prop_map(Geometry::MultiPoint),
        prop::collection::vec(path(), 0..3).prop_map(Geometry::MultiLineString),
        prop::collection::vec(rings(), 0..3).prop_map(Geometry::MultiPolygon),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop::collection::vec(inner, 0..3).prop_map(Geometry::Collection)
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back_equal(given in geometry()) {
        prop_assert_eq!(&read(&text(&given)), &given);
        let value: serde_json::Value = serde_json::from_str(&json(&given)).unwrap();
        prop_assert_eq!(value["type"].as_str(), Some(given.kind()));
    }

    #[test]
    fn any_text_that_is_read_is_written_and_read_again_equal(given in "(POINT|MULTIPOLYGON|LINESTRING|MULTIPOINT) ?[A-Z()0-9., -]{0,40}") {
        if let Ok(parsed) = parse(&given) {
            prop_assert_eq!(read(&text(&parsed.geometry)), parsed.geometry);
        }
    }

    #[test]
    fn oriented_geometries_need_no_change(given in geometry()) {
        for surface in [Surface::Plane, Surface::Globe] {
            let once = oriented(&given, surface).into_owned();
            let twice = oriented(&once, surface);
            prop_assert!(matches!(twice, std::borrow::Cow::Borrowed(_)));
        }
    }

    #[test]
    fn a_number_reads_back_equal(number in any::<f64>()) {
        prop_assume!(number.is_finite());
        let mut out = Vec::new();
        shortest(number, &mut out);
        let text = String::from_utf8(out).unwrap();
        prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), number.to_bits());
        prop_assert!(serde_json::from_str::<serde_json::Value>(&text).unwrap().is_number());
    }
}
