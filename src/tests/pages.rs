//! Reads the tables of the documentation, so that tests can compare them with the code.

/// The words in code font in the first cells of the tables in a section of a page, up to the next
/// heading of the same level or a higher one. The heads of the tables do not count.
pub(crate) fn first_column<'p>(page: &'p str, heading: &str) -> Vec<&'p str> {
    let level = heading.split(' ').next().unwrap();
    let section = page.split_once(&format!("\n{heading}\n")).unwrap().1;
    let ends = |line: &&str| {
        let marks = line.split(' ').next().unwrap();
        !marks.is_empty() && marks.bytes().all(|byte| byte == b'#') && marks.len() <= level.len()
    };
    let (mut words, mut is_body) = (Vec::new(), false);
    for line in section.lines().take_while(|line| !ends(line)) {
        is_body = line.starts_with("| ---") || is_body && line.starts_with('|');
        if is_body {
            let cell = line.split('|').nth(1).unwrap();
            words.extend(cell.split('`').skip(1).step_by(2));
        }
    }
    words
}

#[test]
fn the_words_of_a_table_are_those_in_its_first_cells() {
    let page = "# A\n\n## B\n\n| `kind` | of |\n| --- | --- |\n| `a`, `b` | `x` |\n\n### C\n\n\
                | kind |\n| --- |\n| `c` |\n\n| `d` |\n\n## E\n\n| e |\n| --- |\n| `e` |\n";
    assert_eq!(first_column(page, "## B"), ["a", "b", "c"]);
    assert_eq!(first_column(page, "### C"), ["c"]);
}
