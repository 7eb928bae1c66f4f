//! The layering: a module imports from lower layers and from itself, never from higher ones.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Each module's layer.
fn layers() -> BTreeMap<&'static str, u8> {
    BTreeMap::from([
        ("cli", 3),
        ("web", 3),
        ("alerts", 3),
        ("report", 2),
        ("engine", 2),
        ("maintenance", 2),
        ("store", 1),
        ("service", 1),
        ("archive", 1),
        ("notify", 1),
        ("config", 1),
        ("telemetry", 1),
        ("clock", 1),
        ("files", 1),
        ("http", 1),
        ("tls", 1),
        ("failpoint", 0),
        ("job", 0),
        ("policy", 0),
        ("dataset", 0),
        ("manifest", 0),
        ("settings", 0),
        ("toml_reader", 0),
        ("printable", 0),
        ("secret", 0),
        ("simulator", 0),
    ])
}

/// Imports within a layer that are allowed, and why.
const ALLOWED_WITHIN_LAYER: [(&str, &str, &str); 19] = [
    ("config", "files", "what root alone can read is opened in one place"),
    ("tls", "files", "what root alone can read is opened in one place"),
    ("store", "clock", "a short wait while another process opens or closes the database"),
    ("store", "files", "private files are created in one place"),
    ("archive", "files", "private files are created in one place"),
    ("notify", "http", "the clients, and how an error of HTTP reads"),
    ("service", "http", "the clients, and how an error of HTTP reads"),
    ("http", "tls", "certificates and their errors are read in one way"),
    ("config", "tls", "`check` reads the certificates too"),
    ("notify", "tls", "certificates and their errors are read in one way"),
    ("cli", "web", "the daemon serves the page"),
    ("cli", "alerts", "the daemon dispatches alerts"),
    ("cli", "telemetry", "the executable starts the logs"),
    ("job", "policy", "a policy is made of waits"),
    ("manifest", "dataset", "a manifest names columns"),
    ("settings", "policy", "a source has a schedule"),
    ("settings", "secret", "a ping's address is private"),
    ("toml_reader", "settings", "which hosts are loopback, the settings say"),
    ("service", "job", "outcomes are the job's types"),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The modules that a file names, outside its tests.
fn modules_named(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| {
            rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>()
        })
        .filter(|module| !module.is_empty())
        .collect()
}

#[test]
fn imports_go_down_never_up() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let layers = layers();
    let mut checked = 0;
    for file in files {
        let relative = file.strip_prefix(&root).unwrap();
        let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = first.trim_end_matches(".rs");
        if matches!(module, "lib" | "main") {
            continue;
        }
        let is_test = relative.components().any(|part| {
            part.as_os_str().to_str().is_some_and(|name| name == "tests" || name == "tests.rs")
        });
        if is_test {
            continue;
        }
        let layer = *layers.get(module).unwrap_or_else(|| panic!("{module} has no layer"));
        for other in modules_named(&fs::read_to_string(&file).unwrap()) {
            let Some(other_layer) = layers.get(other.as_str()) else { continue };
            checked += 1;
            let allowed =
                ALLOWED_WITHIN_LAYER.iter().any(|(from, to, _)| *from == module && *to == other);
            assert!(
                other == module || *other_layer < layer || allowed,
                "{} (layer {layer}) imports {other} (layer {other_layer})",
                relative.display()
            );
            let demo = relative == Path::new("cli/demo.rs");
            assert!(
                other != "simulator" || module == "simulator" || demo,
                "{} imports the simulator: only the demo may",
                relative.display()
            );
        }
    }
    assert!(checked > 50, "only {checked} imports were checked");
}

#[test]
fn pure_modules_use_no_clock_no_network_and_no_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files =
        vec![root.join("manifest.rs"), root.join("settings.rs"), root.join("secret.rs")];
    for module in ["job", "policy", "dataset"] {
        sources(&root.join(module), &mut files);
    }
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for word in [
            "tokio::",
            "sqlx::",
            "reqwest::",
            "std::fs",
            "std::env",
            "TcpStream",
            "UdpSocket",
            "::now(",
        ] {
            assert!(!code.contains(word), "{} has {word}", file.display());
        }
    }
}
