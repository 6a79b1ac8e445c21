//! Logs that were fetched, in a file until it is known which of them count.
//!
//! A log says which one it follows. Several may follow the same: after a crash
//! it is not always known what was stored, so that it is written again, with
//! more in it. What counts is the chain that leads from the snapshot to the
//! newest log that can be reached; each log in it holds all that was committed
//! after the one before.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::payload::{Log, Payload};
use super::recover::RecoverError;

/// Where a log is.
pub(super) struct Place {
    /// Its number.
    pub number: u64,
    follows: u64,
    offset: u64,
    len: usize,
}

/// Logs in a file.
pub(super) struct Waiting {
    path: PathBuf,
    file: File,
    end: u64,
    /// In the order of their numbers.
    pub logs: Vec<Place>,
}

impl Waiting {
    /// An empty file.
    pub fn make(path: PathBuf) -> Result<Self, RecoverError> {
        let made = File::options().read(true).write(true).create(true).truncate(true).open(&path);
        match made {
            Ok(file) => Ok(Self { path, file, end: 0, logs: Vec::new() }),
            Err(error) => Err(RecoverError::Io(path, error)),
        }
    }

    fn failed(&self, error: io::Error) -> RecoverError {
        RecoverError::Io(self.path.clone(), error)
    }

    /// Adds the next log in the order of numbers.
    pub fn add(&mut self, number: u64, log: &Payload) -> Result<(), RecoverError> {
        let Payload::Log(Log { follows, .. }) = log else { return Ok(()) };
        let bytes = log.to_bytes();
        self.file.write_all(&bytes).map_err(|error| self.failed(error))?;
        let (offset, len) = (self.end, bytes.len());
        self.end += len as u64;
        self.logs.push(Place { number, follows: *follows, offset, len });
        Ok(())
    }

    /// Reads a log again.
    pub fn take(&self, at: usize) -> Result<Log, RecoverError> {
        let Place { offset, len, .. } = self.logs[at];
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, offset).map_err(|error| self.failed(error))?;
        match Payload::parse(&bytes) {
            Ok(Payload::Log(log)) => Ok(log),
            _ => Err(self.failed(io::Error::other("it does not hold what was written"))),
        }
    }

    /// The logs that count, in order.
    pub fn chain(&self, base: u64) -> Vec<usize> {
        let logs: Vec<_> = self.logs.iter().map(|log| (log.number, log.follows)).collect();
        chain(base, &logs)
    }

    /// Removes the file.
    pub fn remove(self) -> Result<(), RecoverError> {
        std::fs::remove_file(&self.path).map_err(|error| self.failed(error))
    }
}

/// From numbers and what they follow, in the order of numbers: the places of
/// those that lead from `base` to the highest number that can be reached.
fn chain(base: u64, logs: &[(u64, u64)]) -> Vec<usize> {
    // What a log follows has a lower number, so one pass finds what is reached.
    let mut reached: HashMap<u64, Option<usize>> = HashMap::from([(base, None)]);
    let mut last = None;
    for (at, &(number, follows)) in logs.iter().enumerate() {
        if follows < number && reached.contains_key(&follows) {
            reached.insert(number, Some(at));
            last = Some(at);
        }
    }
    let mut chain = Vec::new();
    while let Some(at) = last {
        chain.push(at);
        last = reached.get(&logs[at].1).copied().flatten();
    }
    chain.reverse();
    chain
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers that count.
    fn laid(base: u64, logs: &[(u64, u64)]) -> Vec<u64> {
        chain(base, logs).into_iter().map(|at| logs[at].0).collect()
    }

    #[test]
    fn logs_are_laid_in_the_order_of_their_chain() {
        assert_eq!(laid(10, &[(11, 10), (15, 11), (16, 15)]), [11, 15, 16]);
        assert!(laid(10, &[]).is_empty());
    }

    #[test]
    fn of_those_that_follow_the_same_the_chain_of_the_latest_counts() {
        assert_eq!(laid(10, &[(11, 10), (12, 11), (13, 11), (14, 13)]), [11, 13, 14]);
        // Who forgot the last three begins where the first of them began.
        assert_eq!(laid(10, &[(11, 10), (12, 11), (13, 12), (14, 10), (15, 14)]), [14, 15]);
    }

    #[test]
    fn nothing_is_laid_beyond_a_gap() {
        assert_eq!(laid(10, &[(11, 10), (13, 12), (14, 13)]), [11]);
        assert!(laid(10, &[(14, 13)]).is_empty());
        // What comes before the snapshot, or from a node that makes numbers up.
        assert!(laid(10, &[(11, 11), (12, 13), (13, 12)]).is_empty());
    }
}
