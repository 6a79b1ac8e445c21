//! What a command prints on stdout.

use std::io::{self, Write};

use serde::Serialize;

use crate::exit::Failure;

/// Prints `value` as one JSON document with `json`, else `text`.
pub fn print(
    json: bool,
    value: &impl Serialize,
    text: impl FnOnce() -> String,
) -> Result<(), Failure> {
    if json { print_json(value) } else { print_text(&text()) }
}

/// Prints one JSON document.
pub fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let mut text = serde_json::to_string_pretty(value).map_err(Failure::operation)?;
    text.push('\n');
    print_text(&text)
}

/// Prints text that ends its own lines.
pub fn print_text(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // `stratos node list | head -1` is no failure.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::operation(format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}
