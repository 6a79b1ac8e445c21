//! A ledger that signed two histories takes nothing more, ever: nobody could
//! tell which of them it goes on with. It still answers what it is asked.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;

use protocol::keys::write_private;

use crate::fraud::FraudProof;

const FILE: &str = "fraud.json";

/// Whether the ledger halted, and why.
#[derive(Debug)]
pub(crate) struct Halt {
    path: PathBuf,
    reason: OnceLock<String>,
}

impl Halt {
    /// Looks for a proof that the ledger in this folder was shown before. One
    /// that cannot be read counts as well: whoever is sure removes it.
    pub(crate) fn look(dir: &std::path::Path) -> io::Result<Self> {
        let halt = Self { path: dir.join(FILE), reason: OnceLock::new() };
        match fs::read(&halt.path) {
            Ok(json) => halt.begin(FraudProof::from_json(&json).ok().as_ref()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(halt)
    }

    /// Why nothing is taken any more.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.reason.get().map(String::as_str)
    }

    /// Halts for good. The proof was verified.
    pub(crate) fn halt(&self, proof: &FraudProof) -> io::Result<()> {
        if self.reason().is_none() {
            write_private(&self.path, &proof.to_json())?;
            self.begin(Some(proof));
        }
        Ok(())
    }

    fn begin(&self, proof: Option<&FraudProof>) {
        let what = match proof {
            Some(proof) => format!("two blocks of height {} are signed", proof.a.header.height),
            None => "it was shown a proof of fraud".to_owned(),
        };
        let reason = format!("the ledger halted: {what}, see {}", self.path.display());
        tracing::error!("{reason}");
        // Another thread may have been first, with a proof as good.
        let _ = self.reason.set(reason);
    }
}
