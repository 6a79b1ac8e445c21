//! Takes in the shards of format 1, which had a file each.
//!
//! ```text
//! DIR/shards/07/07..07-03    "SHRD" version index flags segment length root, body, outboard
//! DIR/incoming/..            puts that a crash cut off
//! ```
//!
//! A file is removed only after its shard is durable in a volume, so a crash in
//! the middle costs nothing: the next start goes on. Nobody wrote down who
//! stored these shards, so they are everybody's. A file that is damaged, or no
//! shard, is left where it is and named in the log.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use protocol::message::SHARD_LEN_MAX;
use protocol::{Root, SegmentId, ShardId};

use crate::store::{ShardStore, StoreError};

/// Bytes before the body.
const HEADER_LEN: usize = 64;
const MAGIC: &[u8] = b"SHRD\x01\0";

/// Bytes that are taken over at once.
const BUFFER: usize = 512 * 1024;

/// Moves all shards under `folder` into the volumes. How many there were.
pub(crate) fn run(folder: &Path, store: &Arc<ShardStore>) -> Result<u64, StoreError> {
    let (shards, incoming) = (folder.join("shards"), folder.join("incoming"));
    if incoming.exists() {
        fs::remove_dir_all(&incoming)?;
    }
    if !shards.exists() {
        return Ok(0);
    }
    let mut count = 0;
    for subfolder in fs::read_dir(&shards)? {
        let subfolder = subfolder?.path();
        if subfolder.is_dir() {
            count += take_folder(&subfolder, store)?;
        }
    }
    // Not, if something was left in it.
    let is_empty = fs::remove_dir(&shards).is_ok();
    tracing::info!(count, is_empty, "the shards of an older format were taken in");
    Ok(count)
}

fn take_folder(subfolder: &Path, store: &Arc<ShardStore>) -> Result<u64, StoreError> {
    let mut count = 0;
    for entry in fs::read_dir(subfolder)? {
        let entry = entry?;
        let path = entry.path();
        let shard = entry.file_name().to_str().and_then(parse_name);
        let taken = match shard {
            Some(shard) => take(&path, shard, store),
            None => Ok(false),
        };
        match taken {
            Ok(true) => {
                fs::remove_file(&path)?;
                count += 1;
            }
            Ok(false) => tracing::warn!(path = %path.display(), "this is no sound shard"),
            // What the store holds under this id is newer than the file.
            Err(StoreError::Forgotten | StoreError::Conflict) => fs::remove_file(&path)?,
            Err(error) => return Err(error),
        }
    }
    let _ = fs::remove_dir(subfolder);
    Ok(count)
}

/// Stores the shard of one file. Not, if it is damaged.
fn take(path: &Path, shard: ShardId, store: &Arc<ShardStore>) -> Result<bool, StoreError> {
    let mut file = File::open(path)?;
    let mut header = [0; HEADER_LEN];
    let Some((len, root)) =
        whole(file.read_exact(&mut header))?.and_then(|()| parse(&header, shard))
    else {
        return Ok(false);
    };
    let mut writer = store.take_in(shard, len)?;
    let mut left = len;
    loop {
        let now = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
        let mut bytes = vec![0; now];
        if whole(file.read_exact(&mut bytes))?.is_none() {
            return Ok(false);
        }
        left -= now as u64;
        if left > 0 {
            writer.append(&bytes)?;
            continue;
        }
        return match writer.finish(bytes, len, root) {
            Err(StoreError::WrongRoot { .. }) => Ok(false),
            other => other.map(|()| true),
        };
    }
}

/// A file that is cut off is not whole.
fn whole(read: io::Result<()>) -> io::Result<Option<()>> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        other => other.map(Some),
    }
}

/// Length and root, if this is the header of `shard`.
fn parse(bytes: &[u8; HEADER_LEN], shard: ShardId) -> Option<(u64, Root)> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let rest = rest.strip_prefix(&[shard.index, 0])?.strip_prefix(&shard.segment.0)?;
    let (len, root) = rest.split_first_chunk::<8>()?;
    let len = u64::from_le_bytes(*len);
    (len <= SHARD_LEN_MAX).then_some((len, Root(root.try_into().ok()?)))
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
    use protocol::tree::TreeHasher;

    use super::*;
    use crate::store::core::Limits;
    use crate::store::disk::real::RealDisk;
    use crate::store::format::StoreId;

    fn open(folder: &Path) -> Arc<ShardStore> {
        let limits = Limits {
            // An older node may hold all that it is allowed to.
            capacity: Some(0),
            reserve: u64::MAX,
            volume: 1 << 20,
            compact_rate: u64::MAX,
            scrub_rate: u64::MAX,
        };
        ShardStore::open(Arc::new(RealDisk::new(folder)), StoreId([5; 16]), limits).unwrap()
    }

    /// A file as format 1 has it.
    fn write(folder: &Path, shard: ShardId, bytes: &[u8]) -> std::path::PathBuf {
        let mut hasher = TreeHasher::default();
        hasher.update(bytes);
        let (root, outboard) = hasher.finish();
        let len = (bytes.len() as u64).to_le_bytes();
        let head = [MAGIC, &[shard.index, 0], &shard.segment.0, &len, &root.0].concat();
        let subfolder = folder.join(format!("shards/{:02x}", shard.segment.0[0]));
        fs::create_dir_all(&subfolder).unwrap();
        let path = subfolder.join(shard.to_string());
        fs::write(&path, [head.as_slice(), bytes, &outboard].concat()).unwrap();
        path
    }

    #[test]
    fn shards_of_format_1_move_into_volumes_once() {
        let root = tempfile::tempdir().unwrap();
        let (folder, volumes) = (root.path(), root.path().join("volumes"));
        fs::create_dir(&volumes).unwrap();
        fs::create_dir(folder.join("incoming")).unwrap();
        fs::write(folder.join("incoming/0123"), "half a shard").unwrap();
        let shard = |n: u8| ShardId { segment: SegmentId([n * 40; 16]), index: n };
        let bytes = |n: u8| vec![n; usize::from(n) * 300_000];
        let files: Vec<_> = (0..5).map(|n| write(folder, shard(n), &bytes(n))).collect();
        // A crash came between the sync of this one and its removal.
        let store = open(&volumes);
        assert!(take(&files[1], shard(1), &store).unwrap());
        let damaged = write(folder, shard(6), &bytes(2));
        let mut content = fs::read(&damaged).unwrap();
        content[1_000] ^= 1;
        fs::write(&damaged, content).unwrap();
        let cut = write(folder, shard(5), &bytes(2));
        File::options().write(true).open(&cut).unwrap().set_len(100_000).unwrap();

        assert_eq!(run(folder, &store).unwrap(), 5);
        assert!(damaged.exists() && cut.exists(), "what is damaged is left alone");
        assert!(!files.iter().any(|path| path.exists()) && !folder.join("incoming").exists());
        drop(store);
        fs::remove_file(damaged).unwrap();
        fs::remove_file(cut).unwrap();
        let store = open(&volumes);
        assert_eq!(run(folder, &store).unwrap(), 0);
        assert!(!folder.join("shards").exists());
        assert_eq!(store.stats().shards, 5);
        for n in 0..5 {
            let open = store.open_shard(shard(n)).unwrap();
            assert!(open.is_sound().unwrap());
            assert_eq!(open.len, bytes(n).len() as u64);
        }
        let anybody = protocol::GatewayId([9; 32]);
        assert!(store.delete(anybody, shard(4)).unwrap(), "they are everybody's");
    }

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
