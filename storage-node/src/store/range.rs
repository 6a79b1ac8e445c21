//! Reads a range of a shard, window by window, with proofs.
//!
//! The body is not verified here: the gateway does that in any case, and a
//! node that reads rotten bytes has nothing better to send.

use std::ops::Range;

use bytes::Bytes;
use protocol::ShardId;
use protocol::message::WINDOW;
use protocol::tree::GROUP;

use crate::store::shard::{Shard, unreadable};
use crate::store::{ShardStore, StoreError};

/// One window: what it is worth, and what goes over the wire.
#[derive(Debug)]
pub(crate) struct Window {
    /// Bytes of the asked range in it.
    pub payload: u64,
    pub encoded: Bytes,
}

/// A range that is being read.
#[derive(Debug)]
pub(crate) struct RangeReader {
    shard: ShardId,
    open: Shard,
    outboard: Vec<u8>,
    left: Range<u64>,
}

impl RangeReader {
    /// Opens bytes `range` of `shard`.
    pub fn open(store: &ShardStore, shard: ShardId, range: Range<u64>) -> Result<Self, StoreError> {
        let open = store.open_shard(shard)?;
        if range.start >= range.end || range.end > open.len {
            return Err(StoreError::BadRange);
        }
        Self::new(shard, open, range)
    }

    /// Opens the group number `group` of `shard`.
    pub fn open_group(store: &ShardStore, shard: ShardId, group: u64) -> Result<Self, StoreError> {
        let open = store.open_shard(shard)?;
        let start = group.checked_mul(GROUP).ok_or(StoreError::BadRange)?;
        if start >= open.len {
            return Err(StoreError::BadRange);
        }
        let left = start..open.len.min(start + GROUP);
        Self::new(shard, open, left)
    }

    fn new(shard: ShardId, open: Shard, left: Range<u64>) -> Result<Self, StoreError> {
        let outboard = open.outboard().map_err(|error| unreadable(shard, error))?;
        Ok(Self { shard, open, outboard, left })
    }

    /// The length of the whole shard.
    pub fn shard_len(&self) -> u64 {
        self.open.len
    }

    /// Whether all was read.
    pub fn is_done(&self) -> bool {
        self.left.is_empty()
    }

    /// The next window of a range that is not done.
    pub fn next(&mut self) -> Result<Window, StoreError> {
        let end = self.left.end.min(self.left.start + WINDOW);
        let window = self.left.start..end;
        let encoded = self.open.encode(&self.outboard, &window);
        let encoded = encoded.map_err(|error| unreadable(self.shard, error))?;
        self.left.start = end;
        Ok(Window { payload: window.end - window.start, encoded: Bytes::from(encoded) })
    }
}
