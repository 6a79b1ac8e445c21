//! Why an entry may not follow what the log already holds. These sentences
//! are what a node or a gateway reads in its log.

use protocol::price::Amount;
use protocol::sign::BadSignature;
use protocol::voucher::VoucherError;
use protocol::{AccountId, Epoch, GatewayId, NodeId};
use thiserror::Error;

use crate::account::BookError;

/// Why an entry is not taken.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Rejection {
    /// It changes nothing: the log holds it, or something later of its kind.
    /// Not a failure for who submitted it.
    #[error("the ledger holds this, or something later, already")]
    Known,
    /// Signed for another network.
    #[error("it is for another network")]
    OtherChain,
    /// Not a gateway of this network.
    #[error("{0} is not a gateway of this network")]
    UnknownGateway(GatewayId),
    /// Not a registered node.
    #[error("{0} is not a registered node")]
    UnknownNode(NodeId),
    /// Nobody opened that account.
    #[error("no gateway has opened account {0}")]
    UnknownAccount(AccountId),
    /// Only the gateway that opened an account may spend from it.
    #[error("account {0} was opened by another gateway")]
    OtherGateway(AccountId),
    /// A node must be invited.
    #[error("the node is not registered: it needs an invite")]
    InviteNeeded,
    /// Too late.
    #[error("the invite has expired: ask for a new one")]
    InviteExpired,
    /// Good for one node.
    #[error("the invite was used by another node: ask for a new one")]
    InviteUsed,
    /// Names another network or ledger.
    #[error("the invite is for another network")]
    InviteElsewhere,
    /// Not a key anybody should deal with.
    #[error("the key is not sound, or belongs to a gateway or the ledger")]
    NodeKey,
    /// An address that nobody can dial.
    #[error("{0} cannot be dialled: advertise a real address and port")]
    Address(std::net::SocketAddr),
    /// The same number for something else.
    #[error("registration {0} was made with other content: use a higher serial")]
    SerialReused(u64),
    /// As many nodes as a network can have.
    #[error("the network is full")]
    Full,
    /// Too early, too late, or an epoch that never was.
    #[error("epoch {epoch} does not take {what} now")]
    Closed {
        /// The epoch.
        epoch: Epoch,
        /// What was brought.
        what: &'static str,
    },
    /// Not the posted prices, or not for that epoch.
    #[error("the price sheet is unknown or does not hold for the epoch")]
    Prices,
    /// The receipt contradicts itself or the one before.
    #[error(transparent)]
    Voucher(#[from] VoucherError),
    /// More than what was metered can cost.
    #[error("the statement says {amount} atto-credits, its counters make at most {most}")]
    TooMuch {
        /// What it says.
        amount: Amount,
        /// Counters times prices.
        most: Amount,
    },
    /// The same number for something else.
    #[error("revision {0} was submitted with other content: use a higher one")]
    RevisionReused(u64),
    /// The same id for something else.
    #[error("the transfer id was used for another transfer")]
    TransferReused,
    /// A transfer of nothing.
    #[error("a transfer must move something")]
    Nothing,
    /// Too little money, or more than can be counted.
    #[error(transparent)]
    Book(#[from] BookError),
    /// The sequencer is too early, too late, or out of order.
    #[error("this change of epochs is not due")]
    NotDue,
    /// A signature is wrong.
    #[error(transparent)]
    Signature(#[from] BadSignature),
}
