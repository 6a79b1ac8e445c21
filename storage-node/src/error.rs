//! Why a node could not be opened, or could not go on. One clear sentence each:
//! the cause, and what to do.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use protocol::keys::KeyFileError;
use protocol::{ChainId, LedgerId, NodeId};
use thiserror::Error;

/// Why a node could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The folder could not be read or written.
    #[error("cannot use the node folder {path}: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has it.
    #[error("the node folder {0} is in use: stop the other process first")]
    InUse(PathBuf),
    /// It holds something else.
    #[error("{path} is not a node's folder, it holds {entry:?}: choose an empty folder")]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// What was found in it.
        entry: String,
    },
    /// Its superblock cannot be read.
    #[error("{0} is spoilt: restore it, or start with an empty folder and lose these shards")]
    Spoilt(PathBuf),
    /// It was made by a later version.
    #[error("{path} was made by a newer version (format {format}): run that version on it")]
    Newer {
        /// The folder.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
    /// The key in the folder is not the one it was made with.
    #[error("{path} belongs to node {node}, but node.key holds another key: restore node.key")]
    OtherKey {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        node: NodeId,
    },
    /// The key file could not be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The folder belongs to a network with another ledger.
    #[error("{path} belongs to the network of ledger {known}, not {asked}: use another folder")]
    OtherLedger {
        /// The folder.
        path: PathBuf,
        /// The ledger that the folder knows.
        known: LedgerId,
        /// The ledger that the settings or the invite name.
        asked: LedgerId,
    },
    /// The folder belongs to another network.
    #[error("{path} belongs to network {known}, the invite to {asked}: use another folder")]
    OtherChain {
        /// The folder.
        path: PathBuf,
        /// The network that the folder knows.
        known: ChainId,
        /// The network of the invite.
        asked: ChainId,
    },
    /// The settings name another ledger than the invite.
    #[error("the invite is for ledger {invited}, the settings name {asked}: ask for a new invite")]
    OtherInvite {
        /// The ledger of the invite.
        invited: LedgerId,
        /// The ledger of the settings.
        asked: LedgerId,
    },
    /// Nobody said where the ledger is.
    #[error("no ledger is known: give the ledger's id and address, or an invite")]
    NoLedger,
    /// The zone or operator is too long for a registration.
    #[error("the {0} has more than {max} bytes: shorten it", max = protocol::registration::NAME_MAX)]
    Name(&'static str),
    /// The address to listen on cannot be had.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Others could not dial the address that we listen on.
    #[error("others cannot dial {0}: set `advertise` to the address of this machine")]
    Advertise(SocketAddr),
}

/// Why a running node ended by itself.
#[derive(Debug, Error)]
pub enum RunError {
    /// The ledger orders another network than the one the folder belongs to.
    #[error(
        "the ledger orders network {answered}, this folder belongs to {known}: use another folder"
    )]
    OtherNetwork {
        /// The network of the folder.
        known: ChainId,
        /// The network of the ledger.
        answered: ChainId,
    },
    /// The ledger cannot be dialled from here.
    #[error("cannot open a socket to dial the ledger: {0}")]
    Dialler(#[source] io::Error),
    /// The socket is gone.
    #[error("the QUIC endpoint closed by itself")]
    Endpoint,
    /// The index could not be read or written.
    #[error("the index of the shards failed: start the node again, which reads it off the volumes")]
    Index,
    /// Somebody removed the folder.
    #[error("the node folder {0} is gone: put it back and start the node again")]
    FolderGone(PathBuf),
}

impl RunError {
    /// Whether the same node may go on when it is started again.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Dialler(_) | Self::Endpoint | Self::Index)
    }
}
