//! The documents are tested: their commands parse, their links lead somewhere,
//! and the tests and files that they name exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use stratos::cli::Cli;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn documents() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir()
                && ["docs", "decisions", "deploy", "helm", "stratos"].contains(&name.as_str())
            {
                folders.push(path);
            } else if name.ends_with(".md") {
                found.push((path.clone(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(found.len() > 10, "the documents are where they were");
    found
}

/// The words of a command line, as a shell has them; `None` if it is no plain
/// one.
fn words(line: &str) -> Option<Vec<String>> {
    let line = line.split(" # ").next().unwrap_or(line).trim();
    if line.contains(['$', '|', ';', '>', '<', '\\']) {
        return None;
    }
    let mut words = Vec::new();
    for (n, quoted) in line.split('"').enumerate() {
        if n % 2 == 1 {
            words.push(quoted.to_owned());
        } else {
            words.extend(quoted.split_whitespace().map(str::to_owned));
        }
    }
    Some(words)
}

/// What the reader puts where a document says whose id is meant.
fn stand_in(word: &str) -> String {
    match word {
        "GATEWAY" | "NODE" | "OWNER" => "ab".repeat(32),
        "ACCOUNT" => "ab".repeat(16),
        _ => word.to_owned(),
    }
}

#[test]
fn every_command_in_the_documents_is_understood() {
    let mut count = 0;
    for (path, text) in documents() {
        for line in text.lines().filter(|line| line.starts_with("    stratos ")) {
            // Words in capitals stand for what the reader has.
            let Some(words) = words(line) else { continue };
            if words.get(1).is_some_and(|word| word.chars().all(|c| c.is_ascii_uppercase())) {
                continue;
            }
            let words: Vec<String> = words.iter().map(|word| stand_in(word)).collect();
            if let Err(error) = Cli::try_parse_from(&words) {
                panic!("{}: {line}\n{error}", path.display());
            }
            count += 1;
        }
    }
    assert!(count > 25, "{count} commands");
}

#[test]
fn every_relative_link_leads_somewhere() {
    for (path, text) in documents() {
        for link in text.split("](").skip(1) {
            let target = link.split([')', '#', ' ']).next().unwrap();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let there = path.parent().unwrap().join(target);
            assert!(there.exists(), "{}: {target}", path.display());
        }
    }
}

#[test]
fn the_quick_start_is_the_two_commands() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.contains("    cargo run --release -- up ./data"));
    assert!(readme.contains("    cargo test --workspace"));
}

#[test]
fn the_operations_that_are_said_to_work_are_those_that_are_there() {
    let table = fs::read_to_string(root().join("docs/s3-compatibility.md")).unwrap();
    let code = fs::read_to_string(root().join("gateway/src/s3/mod.rs")).unwrap();
    let translated = code.split("translate! {").nth(1).unwrap();
    let mut there: Vec<String> = translated
        .lines()
        .filter_map(|line| line.trim().split_once(": "))
        .filter(|(_, types)| types.contains("Input =>"))
        .map(|(_, types)| types.split("Input").next().unwrap().to_owned())
        .collect();
    let mut said: Vec<String> = table
        .lines()
        .filter(|line| line.starts_with('|'))
        .filter_map(|line| {
            let mut cells = line.split('|').map(str::trim).skip(1);
            let (name, state) = (cells.next()?, cells.next()?);
            (state == "yes").then(|| name.trim_matches('`').to_owned())
        })
        .filter(|name| name.chars().all(|c| c.is_ascii_alphanumeric()))
        .collect();
    there.sort();
    said.sort();
    said.dedup();
    assert_eq!(said, there);
}

#[test]
fn the_admin_routes_that_are_documented_are_those_that_are_there() {
    let text = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let code = fs::read_to_string(root().join("gateway/src/http/admin.rs")).unwrap();
    let routed = code.split(".route(\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    let there: BTreeSet<&str> = routed.collect();
    let section = text.split("\n## The admin API").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut said = BTreeSet::new();
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let mut last = "";
        // `/undrain` stands for the route before it with another end.
        for named in row.split('|').nth(1).unwrap().split('`').filter(|part| part.contains('/')) {
            let path = named.split(' ').next_back().unwrap().split('?').next().unwrap();
            let parent = last.rsplit_once('/').map_or("", |(parent, _)| parent);
            let whole =
                if path.starts_with("/v1/") { path.to_owned() } else { format!("{parent}{path}") };
            if path.starts_with("/v1/") {
                last = path;
            }
            said.insert(whole);
        }
    }
    assert_eq!(said.iter().map(String::as_str).collect::<BTreeSet<_>>(), there);
}
