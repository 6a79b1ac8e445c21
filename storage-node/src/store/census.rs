//! What lies in the folders of the store when it is opened.
//!
//! The length of a shard follows from the length of its file, so counting reads
//! no file. Not here: whether the bytes are still sound (a scrub's work).

use std::fs;
use std::io;
use std::path::Path;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use protocol::{SegmentId, ShardId};

use crate::store::file;

/// Threads that list folders: listing waits for the disk, so more than there
/// are processors help.
const THREADS: usize = 4;

/// The sum of what is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    pub shards: u64,
    pub bytes: u64,
}

/// Counts the shards under `shards`.
pub(crate) fn count(shards: &Path) -> io::Result<Census> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut sum = Census::default();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number > usize::from(u8::MAX) {
                return Ok(sum);
            }
            list(&shards.join(format!("{number:02x}")), |_, len| {
                sum.shards += 1;
                sum.bytes += len;
            })?;
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        let mut sum = Census::default();
        for thread in threads {
            let part: io::Result<Census> = thread.join().expect("listing does not panic");
            let part = part?;
            sum.shards += part.shards;
            sum.bytes += part.bytes;
        }
        Ok(sum)
    })
}

/// Shows each shard of one subfolder, with its length. A subfolder that does
/// not exist holds none; files that are no shards are named in the log.
pub(crate) fn list(subfolder: &Path, mut show: impl FnMut(ShardId, u64)) -> io::Result<()> {
    let entries = match fs::read_dir(subfolder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let shard = name.to_str().and_then(parse_name);
        match (shard, file::shard_len(entry.metadata()?.len())) {
            (Some(shard), Some(len)) => show(shard, len),
            _ => {
                tracing::warn!(path = %entry.path().display(), "this is no shard; it is left alone")
            }
        }
    }
    Ok(())
}

/// Removes every file in `folder` and says how many there were.
pub(crate) fn remove_files(folder: &Path) -> io::Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(folder)? {
        fs::remove_file(entry?.path())?;
        removed += 1;
    }
    Ok(removed)
}

/// The shard with this file name.
fn parse_name(name: &str) -> Option<ShardId> {
    let (segment, index) = name.split_once('-')?;
    let segment = SegmentId::from_str(segment).ok()?;
    let shard = ShardId { segment, index: u8::from_str_radix(index, 16).ok()? };
    // One shard has one name.
    (shard.to_string() == name).then_some(shard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_has_one_name() {
        let shard = ShardId { segment: SegmentId([0xab; 16]), index: 0x1f };
        let name = shard.to_string();
        assert_eq!(parse_name(&name), Some(shard));
        for other in [
            name.to_uppercase(),
            format!("{name}0"),
            name.replace("1f", "+f"),
            name.replace('-', ""),
            format!("../{name}"),
        ] {
            assert_eq!(parse_name(&other), None, "{other}");
        }
    }
}
