//! Whether files that changed should be read again. Pure but for
//! [`Stamp::of`].

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Tells one content of a file from the next, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Another file under the same name, as after a rename or when a link
    /// leads elsewhere.
    inode: u64,
    len: u64,
    modified: (i64, i64),
}

impl Stamp {
    /// `None` when there is no file to be seen.
    pub fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        let modified = (found.mtime(), found.mtime_nsec());
        Some(Self { inode: found.ino(), len: found.len(), modified })
    }
}

/// What was seen of some files, look by look.
#[derive(Debug)]
pub(super) struct Reload<S> {
    /// As they were when they were read last, well or badly.
    tried: S,
    /// As they were at the last look.
    last: S,
}

impl<S: Copy + PartialEq> Reload<S> {
    /// They were just read.
    pub fn new(now: S) -> Self {
        Self { tried: now, last: now }
    }

    /// Whether to read them: they are others than those that were read, and
    /// did not change since the last look, so that nobody is still writing.
    /// A `true` counts as read, whatever comes of it: what is bad once is not
    /// tried again before it changes.
    pub fn look(&mut self, now: S) -> bool {
        let stands_still = now == self.last;
        self.last = now;
        let is_due = stands_still && now != self.tried;
        if is_due {
            self.tried = now;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_once_when_they_changed_and_stand_still() {
        // Two files, of which a number stands for all that a stamp holds.
        let mut reload = Reload::new([1, 1]);
        let mut looks =
            |seen: &[[u8; 2]]| -> Vec<bool> { seen.iter().map(|now| reload.look(*now)).collect() };
        assert_eq!(looks(&[[1, 1], [1, 1]]), [false, false]);
        // The key follows its certificate; neither is read alone.
        assert_eq!(looks(&[[2, 1], [2, 2], [2, 2], [2, 2]]), [false, false, true, false]);
        // A file that comes and goes was never worth reading.
        assert_eq!(looks(&[[3, 2], [2, 2], [2, 2]]), [false, false, false]);
        // One that is written for long is waited for.
        assert_eq!(looks(&[[4, 2], [5, 2], [6, 2], [6, 2]]), [false, false, false, true]);
    }

    #[test]
    fn a_file_that_is_replaced_has_another_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("a"), folder.path().join("b"));
        assert_eq!(Stamp::of(&path), None);
        fs::write(&path, "one").unwrap();
        let first = Stamp::of(&path).unwrap();
        assert_eq!(Stamp::of(&path), Some(first));
        fs::write(&other, "two").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_ne!(Stamp::of(&path), Some(first));
        fs::write(&path, "longer").unwrap();
        assert_ne!(Stamp::of(&path), Some(first));
    }
}
