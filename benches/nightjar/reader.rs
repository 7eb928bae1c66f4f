//! The reader of documents alone, on one core: the fast way, the general one, and another parser.

use crate::measure::{Samples, shell, title};
use nightjar::dataset::{DocumentLimits, Reader};
use nightjar::simulator::Data;
use std::fs;
use std::io::BufReader;
use std::time::Instant;
use tempfile::TempDir;

/// As much as the archive's pipeline passes on at once.
const PIECE: usize = 128 << 10;

fn open(document: &[u8]) -> Reader<BufReader<&[u8]>> {
    let input = BufReader::with_capacity(PIECE, document);
    Reader::open(input, &DocumentLimits::default()).unwrap()
}

pub(crate) fn run(quick: bool) {
    let (entities, rounds) = if quick { (20_000, 3) } else { (200_000, 9) };
    for form in ["dense", "prose"] {
        let document = Data::Synthetic { entities, dense: form == "dense" }.document();
        let megabytes = document.len() as f64 / 1e6;
        title(&format!("reader: {entities} entities, {form}, {megabytes:.0} MB, MB per second"));
        let folder = TempDir::new_in(".").unwrap();
        let file = folder.path().join("document.xml");
        fs::write(&file, &document).unwrap();
        let xmllint = format!("xmllint --huge --stream --noout '{}'", file.display());
        let mut speeds: [Samples; 4] = Default::default();
        for _ in 0..rounds {
            let mut add = |place: usize, work: &mut dyn FnMut()| {
                let begun = Instant::now();
                work();
                speeds[place].add(megabytes / begun.elapsed().as_secs_f64());
            };
            add(0, &mut || assert_eq!(open(&document).validate().unwrap().entities, entities));
            add(1, &mut || {
                let reader = open(&document).without_prediction();
                assert_eq!(reader.validate().unwrap().entities, entities);
            });
            add(2, &mut || {
                let mut reader = open(&document);
                let mut elements = 0;
                while let Some(entity) = reader.next_entity().unwrap() {
                    elements += entity.elements().count();
                }
                assert!(elements as u64 > entities);
            });
            add(3, &mut || assert!(shell(&xmllint) > 0.0));
        }
        let [fast, general, entities, xmllint] = &speeds;
        println!("validation                        {}", fast.show());
        println!("validation without prediction     {}", general.show());
        println!("entities, values not looked at    {}", entities.show());
        println!("xmllint --stream --noout          {}", xmllint.show());
        println!("ratio to without prediction       {:.2}", fast.median() / general.median());
        println!("ratio to xmllint                  {:.2}", fast.median() / xmllint.median());
    }
}
