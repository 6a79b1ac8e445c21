//! The seam under the store: a folder of volumes, and what a disk can do to it.
//!
//! Two real implementations: the file system (`real`), and for tests a simulated
//! disk that crashes, tears and fails (`sim`). The store does nothing to its
//! volumes that is not named here.
//!
//! Not here: the superblock, the key and what lies beside the volumes
//! (`store::folder`).

pub(crate) mod real;
#[cfg(test)]
pub(crate) mod sim;

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

/// The folder that the volumes and the index lie in.
pub(crate) trait Disk: Debug + Send + Sync {
    /// Makes a file that is not there.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file to read and write.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// The names of all files.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Removes a file; who has it open reads on.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes durable which files there are.
    fn sync_folder(&self) -> io::Result<()>;

    /// Bytes that the disk still takes.
    fn free(&self) -> io::Result<u64>;
}

/// An open file. All is at a place, so that one handle serves many threads.
pub(crate) trait DiskFile: Debug + Send + Sync {
    /// Reads what there is at a place, at most the length of `out`.
    fn read_at(&self, at: u64, out: &mut [u8]) -> io::Result<usize>;

    /// Writes all parts, one after the other.
    fn write_at(&self, at: u64, parts: &[&[u8]]) -> io::Result<()>;

    /// Returns once all that was written survives a power cut.
    fn sync(&self) -> io::Result<()>;

    /// The length of the file.
    fn len(&self) -> io::Result<u64>;

    /// Cuts the file, or lengthens it by zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Sets room aside, so that writing there does not find the disk full.
    fn allocate(&self, at: u64, len: u64) -> io::Result<()>;
}

/// Fills `out` from a place.
pub(crate) fn read_exact(file: &dyn DiskFile, at: u64, out: &mut [u8]) -> io::Result<()> {
    let got = read_some(file, at, out)?;
    if got == out.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Fills `out` from a place, or as much of it as there is.
pub(crate) fn read_some(file: &dyn DiskFile, at: u64, out: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < out.len() {
        match file.read_at(at + got as u64, &mut out[got..]) {
            Ok(0) => break,
            Ok(now) => got += now,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}
