//! What the three roles share on the command line: a configuration file, and the
//! public key of the key that it leads to.

use std::path::{Path, PathBuf};

use clap::Args;
use protocol::SecretKey;

use crate::cli::output::print_text;
use crate::exit::Failure;

/// How a role is run.
#[derive(Clone, Debug, Args)]
pub struct RoleArgs {
    /// The configuration file. deploy/ has one for each role with every key.
    #[arg(short = 'c', long, value_name = "FILE", required = true)]
    pub config: PathBuf,

    /// Print this role's public key in hex and exit. Its key is made if there is
    /// none yet.
    #[arg(long)]
    pub print_id: bool,
}

/// Prints the public key in `dir/file_name`, and makes both if they are absent.
pub fn print_id(dir: &Path, file_name: &str) -> Result<(), Failure> {
    print_text(&format!("{}\n", public_key(dir, file_name)?))
}

fn public_key(dir: &Path, file_name: &str) -> Result<String, Failure> {
    std::fs::create_dir_all(dir).map_err(|error| {
        let dir = dir.display();
        Failure::operation(format!("cannot create {dir}: {error}; choose another dir in the file"))
    })?;
    Ok(SecretKey::load_or_create(&dir.join(file_name))?.public().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once() {
        let base = tempfile::tempdir().expect("a folder");
        let dir = base.path().join("new/gateway");
        let first = public_key(&dir, "gateway.key").expect("a key");
        assert_eq!(first.len(), 64);
        assert_eq!(public_key(&dir, "gateway.key").expect("a key"), first);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let base = tempfile::tempdir().expect("a folder");
        let file = base.path().join("file");
        std::fs::write(&file, "").expect("written");
        let error = public_key(&file.join("dir"), "node.key").unwrap_err();
        assert_eq!(error.code(), 1);
        assert!(error.to_string().starts_with("cannot create "), "{error}");
    }
}
