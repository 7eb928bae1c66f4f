//! The layering: a module imports only from layers below its own. The layers are the groups of
//! modules in `src/lib.rs`.

#![allow(clippy::unwrap_used, reason = "a test")]

use nightjar::service::KINDS;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// How the comment begins above the first layer that is pure, as all below it are.
const PURE: &str = "// Pure:";
/// What a pure module does not use: other tasks, the database, the network, files, the environment,
/// processes and clocks.
const IMPURE: [&str; 12] = [
    "async fn",
    "async move",
    ".await",
    "tokio::",
    "sqlx::",
    "reqwest::",
    "std::fs",
    "std::env",
    "std::process",
    "TcpStream",
    "UdpSocket",
    "::now(",
];

/// The modules of the library, in layers.
#[derive(Debug, Default)]
struct Layers {
    /// Each module's layer; 0 is the uppermost.
    of: BTreeMap<String, usize>,
    pure: BTreeSet<String>,
}

impl Layers {
    /// Reads the groups of `pub mod` lines, which blank lines separate.
    fn read() -> Layers {
        let text = fs::read_to_string(root().join("lib.rs")).unwrap();
        let (mut layers, mut layer, mut is_pure) = (Layers::default(), 0, false);
        for line in text.lines() {
            is_pure |= line.starts_with(PURE);
            if line.is_empty() {
                layer += 1;
            }
            let module = line.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';'));
            if let Some(module) = module {
                layers.of.insert(module.to_owned(), layer);
                if is_pure {
                    layers.pure.insert(module.to_owned());
                }
            }
        }
        layers
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// A file of a module, without its tests and comments.
struct Source {
    module: String,
    path: PathBuf,
    code: String,
}

/// Every file of the library that is not a test.
fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    collect(&root(), &mut paths);
    let source = |path: PathBuf| {
        let path = path.strip_prefix(root()).unwrap().to_owned();
        let parts: Vec<&str> = path.iter().map(|part| part.to_str().unwrap()).collect();
        let module = parts.first().unwrap().trim_end_matches(".rs").to_owned();
        let is_test = parts.iter().any(|part| matches!(*part, "tests" | "tests.rs"));
        if is_test || matches!(module.as_str(), "lib" | "main") {
            return None;
        }
        let text = fs::read_to_string(root().join(&path)).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let code = lines.collect::<Vec<_>>().join("\n");
        Some(Source { module, path, code })
    };
    paths.into_iter().filter_map(source).collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The modules that code names.
fn imports(code: &str) -> BTreeSet<String> {
    let is_part = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
    let named = code.split("crate::").skip(1);
    named.map(|rest| rest.chars().take_while(is_part).collect()).collect()
}

#[test]
fn a_module_imports_only_from_layers_below_its_own() {
    let layers = Layers::read();
    let mut checked = 0;
    for Source { module, path, code } in sources() {
        let shown = path.display();
        let layer = layers.of.get(&module).unwrap_or_else(|| panic!("{module} has no layer"));
        assert!(!code.contains("use crate::{"), "{shown}: name each module on a line of its own");
        for other in imports(&code).iter().filter(|other| **other != module) {
            let below = layers.of.get(other).unwrap_or_else(|| panic!("{shown}: {other}?"));
            assert!(below > layer, "{shown} imports {other}, which is not below {module}");
            checked += 1;
        }
    }
    assert!(checked > 200, "only {checked} imports were checked");
}

#[test]
fn only_the_demo_imports_the_simulator() {
    for Source { module, path, code } in sources() {
        let may = module == "simulator" || path.starts_with("cli/demo");
        assert!(may || !imports(&code).contains("simulator"), "{}", path.display());
    }
}

#[test]
fn pure_modules_use_no_clock_no_network_no_files_and_do_not_wait() {
    let layers = Layers::read();
    assert!(layers.pure.len() > 5, "{layers:?}");
    for Source { path, code, .. } in
        sources().into_iter().filter(|source| layers.pure.contains(&source.module))
    {
        for word in IMPURE {
            assert!(!code.contains(word), "{} has {word}", path.display());
        }
    }
}

/// Words of one service alone, beside the names of the services and the keys of their sources.
const OF_ONE_SERVICE: [&str; 2] = ["jobid", "virtualearth"];
/// Keys of sources that are words of this program too.
const GENERAL: [&str; 1] = ["job_id"];
/// Files and folders that may have them, and why.
const MAY_KNOW_IT: [(&str, &str); 7] = [
    ("service/bing/", "the service itself"),
    ("service/kind.rs", "the list of services"),
    ("service/mod.rs", "its module is declared there"),
    ("simulator/", "the simulated service"),
    ("manifest/origin.rs", "manifests of format 1 name their origin so"),
    ("cli/demo/", "it runs the simulated service"),
    ("cli/init.rs", "it asks for what a source of this service needs"),
];

#[test]
fn only_a_service_knows_its_words() {
    let of_kinds = KINDS.iter().flat_map(|kind| kind.source_keys.iter().chain([&kind.word]));
    let mut words: Vec<&str> = of_kinds.filter(|word| !GENERAL.contains(word)).copied().collect();
    words.extend(OF_ONE_SERVICE);
    let mut known = 0;
    for source in sources() {
        let path = source.path.to_str().unwrap();
        let may_know = MAY_KNOW_IT.iter().any(|(place, _)| path.starts_with(place));
        let code = source.code.to_lowercase();
        for word in words.iter().filter(|word| code.contains(**word)) {
            known += 1;
            assert!(may_know, "{path} knows {word}");
        }
    }
    assert!(known > 10, "only {known} words were found");
}

#[test]
fn the_page_about_the_architecture_names_every_module() {
    let page = fs::read_to_string(root().join("../ARCHITECTURE.md")).unwrap();
    let table = page.split("## The way of a job").next().unwrap();
    for module in Layers::read().of.keys() {
        let named = [format!("`{module}`"), format!("`{module}/`")];
        assert!(named.iter().any(|name| table.contains(name)), "ARCHITECTURE.md lacks {module}");
    }
}
