//! Snapshots: the database file as it is after a checkpoint, piece by piece.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use protocol::{Incarnation, NodeId};

use super::super::ids::{Kind, PIECE_MAX, VaultId};
use super::super::payload::{End, PIECE, Payload};
use super::super::state::Snapshot;
use super::super::store::{NotStored, Outgoing};
use super::{At, ShipError, Shipper, blocking};

/// A snapshot on its way.
pub(super) struct UnderWay {
    file: Arc<File>,
    /// Its number.
    pub number: u64,
    base: u64,
    len: u64,
    page_size: u32,
    next: u32,
    hasher: blake3::Hasher,
    /// The piece or end that is being sent.
    outgoing: Option<Outgoing>,
    /// Counters of logs when it was begun.
    logs: (u64, u64),
    /// Who holds parts of it.
    pub nodes: BTreeSet<(NodeId, Incarnation)>,
}

impl Shipper {
    /// Begins a snapshot: the database file holds everything.
    pub(super) fn begin(&mut self, now_ms: u64) -> Result<(), ShipError> {
        if self.at == At::Lost {
            self.at = At::Start;
            self.state.tip = self.state.next_number(now_ms);
        }
        let base = self.pending.as_ref().map_or(self.state.tip, |log| log.outgoing.id.number);
        let file = File::open(self.dir.join("meta.sqlite"))?;
        let len = file.metadata()?.len();
        let mut size = [0; 2];
        file.read_exact_at(&mut size, 16)?;
        // By its file format, 1 stands for 65,536.
        let page_size = match u16::from_be_bytes(size) {
            1 => 65_536,
            size => u32::from(size),
        };
        self.thin_since = None;
        self.state.begun();
        self.snapshot = Some(UnderWay {
            file: Arc::new(file),
            number: self.state.next_number(now_ms),
            base,
            len,
            page_size,
            next: 0,
            hasher: blake3::Hasher::new(),
            outgoing: None,
            logs: (self.state.logs, self.state.log_bytes),
            nodes: BTreeSet::new(),
        });
        Ok(())
    }

    /// Sends the next piece of the snapshot, or its end.
    pub(super) async fn go_on(&mut self, now_ms: u64) -> Result<(), ShipError> {
        let Some(snapshot) = &mut self.snapshot else { return Ok(()) };
        let pieces = pieces(snapshot.len).ok_or_else(|| io::Error::other("it is too large"))?;
        let is_end = snapshot.next == pieces;
        let outgoing = match snapshot.outgoing.take() {
            Some(outgoing) => outgoing,
            None => {
                let payload = match is_end {
                    true => snapshot.end(pieces),
                    false => snapshot.read_piece().await?,
                };
                let id = VaultId {
                    number: snapshot.number,
                    kind: if is_end { Kind::End } else { Kind::Piece },
                    piece: if is_end { 0 } else { snapshot.next },
                    data: self.scheme.data(),
                    parity: self.scheme.parity(),
                };
                let bytes = Arc::new(blocking(move || payload.to_bytes()).await);
                self.seal(id, bytes).await
            }
        };
        let Some(snapshot) = &mut self.snapshot else { return Ok(()) };
        let outgoing = snapshot.outgoing.insert(outgoing);
        match outgoing.send(&self.gateway).await {
            Ok(()) => {}
            Err(error @ NotStored::NameTaken) => {
                self.snapshot = None; // The next has another name.
                return Err(error.into());
            }
            Err(error) => return Err(error.into()),
        }
        let nodes: Vec<_> = outgoing.stored.values().copied().collect();
        snapshot.nodes.extend(&nodes);
        self.state.sent(&nodes, outgoing.shard_len());
        snapshot.outgoing = None;
        match is_end {
            true => self.complete(now_ms).await,
            false => {
                snapshot.next += 1;
                Ok(())
            }
        }
    }

    async fn complete(&mut self, now_ms: u64) -> Result<(), ShipError> {
        let Some(snapshot) = self.snapshot.take() else { return Ok(()) };
        let UnderWay { number, base, len, logs, nodes, .. } = snapshot;
        self.state.completed(Snapshot { number, base, len });
        self.state.logs = self.state.logs.saturating_sub(logs.0);
        self.state.log_bytes = self.state.log_bytes.saturating_sub(logs.1);
        self.state.nodes = nodes.into_iter().collect();
        self.save().await?;
        let took_ms = now_ms.saturating_sub(number);
        tracing::info!(bytes = len, took_ms, "a snapshot of the metadata is on the nodes");
        self.is_cleaned = false;
        Ok(())
    }
}

impl UnderWay {
    /// A log that was not stored yet has another number now.
    pub(super) fn log_renamed(&mut self, old: u64, new: u64) {
        if self.base == old {
            self.base = new;
        }
    }

    async fn read_piece(&mut self) -> Result<Payload, ShipError> {
        let offset = u64::from(self.next) * PIECE as u64;
        let len = usize::try_from((self.len - offset).min(PIECE as u64)).expect("a piece");
        let file = self.file.clone();
        let bytes = blocking(move || {
            let mut bytes = vec![0; len];
            file.read_exact_at(&mut bytes, offset).map(|()| bytes)
        })
        .await?;
        self.hasher.update(&bytes);
        Ok(Payload::Piece { offset, bytes })
    }

    fn end(&self, pieces: u32) -> Payload {
        Payload::End(End {
            time_ms: self.number,
            base: self.base,
            len: self.len,
            page_size: self.page_size,
            pieces,
            hash: *self.hasher.finalize().as_bytes(),
        })
    }
}

/// Pieces of a file of `len` bytes; `None` if they cannot be counted.
fn pieces(len: u64) -> Option<u32> {
    u32::try_from(len.div_ceil(PIECE as u64)).ok().filter(|&count| count <= PIECE_MAX)
}
