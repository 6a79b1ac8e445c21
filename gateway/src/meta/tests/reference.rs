//! What metadata means, in maps: the reference that the database is held
//! against (`conformance`).
//!
//! Everything is as simple as it can be, and slow: a transaction is a copy of
//! the whole that is thrown away if it fails, the latest version is the one
//! with the highest number, and what a node holds is counted anew each time.
//! No cleverness of the SQL is repeated here.

mod contents;
mod listing;
mod places;
mod uploads;
mod versions;

use std::collections::BTreeMap;

use protocol::{AccountId, Incarnation, NodeId, Root, SegmentId};

use super::super::*;

pub(super) type Answer<T> = Result<T, MetaError>;

/// A bucket.
#[derive(Clone, Debug)]
pub(super) struct BucketRow {
    pub name: String,
    pub versioning: Versioning,
    pub is_locked: bool,
}

/// A version and where it is. `version.id` and `version.latest` are not used:
/// a row has its own number, and the latest is the one with the highest `seq`.
#[derive(Clone, Debug)]
pub(super) struct VersionRow {
    pub row: u64,
    pub bucket: i64,
    pub key: Vec<u8>,
    pub seq: i64,
    pub version: Version,
    pub parts: Vec<Part>,
}

/// A content.
#[derive(Clone, Debug)]
pub(super) struct ContentRow {
    pub state: ContentState,
    pub account: AccountId,
    pub content: Content,
    pub lease: Millis,
    pub not_before: Millis,
    pub segments: BTreeMap<u32, SegmentRow>,
}

/// A segment.
#[derive(Clone, Debug)]
pub(super) struct SegmentRow {
    pub id: SegmentId,
    pub len: u64,
    pub shards: BTreeMap<u8, ShardRow>,
}

/// A shard.
#[derive(Clone, Debug)]
pub(super) struct ShardRow {
    pub node: NodeId,
    pub state: ShardState,
    pub generation: i64,
}

/// What is known of a shard.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ShardState {
    Pending,
    Stored {
        incarnation: Incarnation,
        root: Root,
        len: u64,
    },
    Missing,
    /// Said to be lost by a folder that once had it.
    Doubtful,
}

/// A place that metadata do not refer to.
#[derive(Clone, Debug)]
pub(super) struct LeftoverRow {
    pub use_: Use,
    pub not_before: Millis,
}

/// What is to become of such a place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Use {
    /// Somebody is about to store the shard there.
    Promised,
    /// It is to be emptied.
    Doomed,
    /// It may be promised again.
    Returned,
}

/// A multipart upload.
#[derive(Clone, Debug)]
pub(super) struct UploadRow {
    pub upload: Upload,
    pub state: UploadState,
    pub parts: BTreeMap<i32, UploadedPart>,
}

/// Where an upload stands.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there are few of them in a test")]
pub(super) enum UploadState {
    Open,
    Completed { at: Millis, asked: Vec<(i32, String)>, answer: Completed },
    Aborted { at: Millis },
}

/// All of metadata that decides something.
#[derive(Clone, Debug, Default)]
pub(super) struct Reference {
    pub buckets: BTreeMap<i64, BucketRow>,
    pub heads: BTreeMap<(i64, Vec<u8>), i64>,
    pub versions: Vec<VersionRow>,
    pub rows: u64,
    pub contents: BTreeMap<ContentId, ContentRow>,
    /// Whether a shard is queued only because its node does not answer.
    pub repairs: BTreeMap<(SegmentId, u8), bool>,
    pub leftovers: BTreeMap<(NodeId, SegmentId, u8), LeftoverRow>,
    pub nodes: BTreeMap<NodeId, Incarnation>,
    pub uploads: BTreeMap<String, UploadRow>,
}

impl Reference {
    /// Does all of `work`, or nothing.
    pub fn transaction<T>(&mut self, work: impl FnOnce(&mut Self) -> Answer<T>) -> Answer<T> {
        let mut copy = self.clone();
        let answer = work(&mut copy)?;
        *self = copy;
        Ok(answer)
    }

    pub fn bucket_named(&self, name: &str) -> Option<i64> {
        self.buckets.iter().find(|(_, bucket)| bucket.name == name).map(|(id, _)| *id)
    }

    /// Makes a bucket with the id that the database chose.
    pub fn create_bucket(&mut self, name: &str, is_locked: bool, id: i64) -> Answer<()> {
        if self.bucket_named(name).is_some() {
            return Err(MetaError::BucketExists { own: true });
        }
        let versioning = if is_locked { Versioning::Enabled } else { Versioning::Off };
        self.buckets.insert(id, BucketRow { name: name.into(), versioning, is_locked });
        Ok(())
    }

    pub fn delete_bucket(&mut self, id: i64, not_before: Millis) -> Answer<()> {
        self.transaction(|all| {
            if all.versions.iter().any(|row| row.bucket == id) {
                return Err(MetaError::BucketNotEmpty);
            }
            all.buckets.remove(&id).ok_or(MetaError::NoSuchBucket)?;
            let of_bucket = |row: &&UploadRow| row.upload.bucket == id;
            let gone: Vec<String> =
                all.uploads.values().filter(of_bucket).map(|row| row.upload.id.clone()).collect();
            for upload in gone {
                let row = all.uploads.remove(&upload).expect("it was listed");
                for part in row.parts.into_values() {
                    all.condemn(part.part.content, not_before);
                }
            }
            all.heads.retain(|(bucket, _), _| *bucket != id);
            Ok(())
        })
    }

    pub fn set_versioning(&mut self, id: i64, state: Versioning) -> Answer<()> {
        let bucket = self.buckets.get_mut(&id).ok_or(MetaError::NoSuchBucket)?;
        if bucket.is_locked && state != Versioning::Enabled {
            return Err(MetaError::LockNeedsVersioning);
        }
        bucket.versioning = state;
        Ok(())
    }

    pub fn versioning(&self, bucket: i64) -> Answer<Versioning> {
        Ok(self.buckets.get(&bucket).ok_or(MetaError::NoSuchBucket)?.versioning)
    }

    /// Condemns a live content that nothing refers to.
    pub fn condemn(&mut self, id: ContentId, not_before: Millis) {
        let in_version = self.versions.iter().flat_map(|row| &row.parts).any(|p| p.content == id);
        let mut uploaded = self.uploads.values().flat_map(|row| row.parts.values());
        if in_version || uploaded.any(|uploaded| uploaded.part.content == id) {
            return;
        }
        if let Some(row) = self.contents.get_mut(&id)
            && row.state == ContentState::Live
        {
            (row.state, row.not_before) = (ContentState::Condemned, not_before);
        }
    }
}
