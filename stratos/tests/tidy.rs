//! The architecture is tested.

use std::fs;
use std::path::Path;

/// Lowest floor first: a crate may depend only on crates named before it.
const FLOORS: &[&str] =
    &["erasure", "protocol", "ledger", "evm", "storage-node", "gateway", "simulation", "stratos"];

/// The edges that exist. A new one is a decision, so it is written down here.
const EDGES: &[(&str, &str)] = &[
    ("ledger", "protocol"),
    ("evm", "protocol"),
    ("evm", "ledger"),
    ("storage-node", "protocol"),
    ("gateway", "erasure"),
    ("gateway", "protocol"),
    ("gateway", "ledger"),
    ("simulation", "erasure"),
    ("simulation", "protocol"),
    ("simulation", "gateway"),
    ("stratos", "erasure"),
    ("stratos", "protocol"),
    ("stratos", "ledger"),
    ("stratos", "storage-node"),
    ("stratos", "gateway"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

#[test]
fn crates_depend_on_what_is_written_down_and_only_downwards() {
    let floor = |name: &str| FLOORS.iter().position(|crate_| *crate_ == name).unwrap();
    for name in FLOORS {
        let text = fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = text.parse().unwrap();
        let mut found: Vec<&str> = Vec::new();
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(table) = manifest.get(table).and_then(|table| table.as_table()) else {
                continue;
            };
            found.extend(table.keys().map(String::as_str).filter(|name| FLOORS.contains(name)));
        }
        found.sort_by_key(|name| floor(name));
        found.dedup();
        let written: Vec<&str> =
            EDGES.iter().filter(|(from, _)| from == name).map(|(_, to)| *to).collect();
        assert_eq!(found, written, "the edges of {name}");
        assert!(found.iter().all(|to| floor(to) < floor(name)), "{name} points upwards");
    }
}

#[test]
fn sql_is_in_one_place_of_the_gateway() {
    let mut outside = Vec::new();
    visit(&root().join("gateway/src"), &mut |path, text| {
        let inside = path.components().any(|part| part.as_os_str() == "meta");
        // The error map names the type of a database error.
        let is_error_map = path.ends_with("error.rs");
        if !inside && !is_error_map && text.contains("sqlx") {
            outside.push(path.to_owned());
        }
    });
    assert!(outside.is_empty(), "{outside:?}");
}

#[test]
fn no_file_has_a_name_that_says_nothing() {
    let vague = ["util", "utils", "helper", "helpers", "common", "misc", "manager"];
    for name in FLOORS {
        visit(&root().join(name).join("src"), &mut |path, _| {
            let stem = path.file_stem().unwrap().to_str().unwrap();
            assert!(!vague.contains(&stem), "{}", path.display());
        });
    }
}

fn visit(dir: &Path, look: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            visit(&path, look);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            look(&path, &fs::read_to_string(&path).unwrap());
        }
    }
}
