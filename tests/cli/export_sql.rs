//! `export` as SQL scripts: both are read by other programs in `tests/interop`.

use crate::harness::{Setup, read_json};
use std::fs;

#[test]
fn a_script_is_complete_or_not_there() {
    let setup = Setup::healthy();
    setup.backup();
    let folder = setup.path("exports");
    fs::create_dir(&folder).unwrap();
    for (format, first, last, is_row) in [
        (
            "postgis",
            "-- The data source stores, as it was on ",
            "ANALYZE \"stores\";\nCOMMIT;\n",
            (|line| line.contains('\t')) as fn(&str) -> bool,
        ),
        (
            "azure-sql",
            "\u{feff}-- The data source stores, as it was on ",
            "COMMIT TRANSACTION;\nGO\n",
            |line| line.starts_with("(N'"),
        ),
    ] {
        let (file, report) = (folder.join("stores.sql"), folder.join("report.json"));
        let arguments = ["export", "stores", "--format", format, "--force"];
        let output = ["--output", file.to_str().unwrap(), "--report", report.to_str().unwrap()];
        let done = setup.run(&[&arguments[..], &output].concat());
        assert_eq!(done.code, 0, "{done:?}");
        let script = fs::read_to_string(&file).unwrap();
        assert!(script.starts_with(first) && script.ends_with(last), "{script}");
        assert_eq!(script.lines().filter(|line| is_row(line)).count(), 20, "{script}");
        assert_eq!(read_json(&report)["written"], 20);
        let streamed = setup.run(&[&arguments[..], &["--output", "-"]].concat());
        assert_eq!(streamed.stdout, script);
        fs::remove_file(&file).unwrap();
        fs::remove_file(&report).unwrap();
    }
}

#[test]
fn a_name_that_no_table_can_have_is_wrong_usage() {
    let setup = Setup::healthy();
    setup.backup();
    for name in ["", "a.", "a$(b)"] {
        let arguments = ["export", "stores", "--format", "azure-sql", "--output", "-"];
        let done = setup.run(&[&arguments[..], &["--table", name]].concat());
        assert_eq!(done.code, 2, "{done:?}");
        assert!(done.stderr.contains("of a table or schema"), "{done:?}");
        assert_eq!(done.stdout, "");
    }
}
