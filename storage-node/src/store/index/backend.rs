//! The file of the index, as `redb` wants to see it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;

use crate::store::disk::{DiskFile, read_exact};

#[derive(Debug)]
pub(super) struct Backend {
    pub file: Arc<dyn DiskFile>,
    /// Set by the first fault: `redb` does nothing any more after it.
    pub failed: Arc<AtomicBool>,
}

impl Backend {
    fn noted<T>(&self, done: io::Result<T>) -> io::Result<T> {
        if done.is_err() {
            self.failed.store(true, Ordering::Release);
        }
        done
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.noted(self.file.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.noted(read_exact(&*self.file, offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.noted(self.file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.noted(self.file.sync())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.noted(self.file.write_at(offset, &[data]))
    }
}
