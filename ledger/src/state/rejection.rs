//! Why an entry may not follow what the log already holds. These sentences
//! are what a node or a gateway reads in its log.

use protocol::ids::PublicKey;
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
    /// It broke the rules and is no gateway any more.
    #[error("gateway {0} was revoked")]
    Revoked(GatewayId),
    /// Not a key for a gateway.
    #[error("the key is not sound, or belongs to a node, to the ledger or to another account")]
    GatewayKey,
    /// Nobody whose stake it could be.
    #[error("{0} is neither a registered node nor a gateway")]
    UnknownParty(PublicKey),
    /// Not a registered node.
    #[error("{0} is not a registered node")]
    UnknownNode(NodeId),
    /// Nobody opened that account.
    #[error("no gateway has opened account {0}: have it created there first")]
    UnknownAccount(AccountId),
    /// Only the gateway that opened an account may spend from it.
    #[error("account {0} was opened by another gateway")]
    OtherGateway(AccountId),
    /// The account is a wallet's.
    #[error("account {0} belongs to a wallet, which says who may spend from it")]
    Owned(AccountId),
    /// The account's owner did not grant the gateway anything.
    #[error("the owner of account {0} has granted this gateway nothing")]
    NotGranted(AccountId),
    /// The account is not the one of that key, or a gateway opened it as its own.
    #[error("account {0} is not one that belongs to this key: use another key")]
    NotOwned(AccountId),
    /// The same number for something else.
    #[error("grant {0} was made with other content: use a higher serial")]
    GrantReused(u64),
    /// Something later of its kind is in force, and it says otherwise.
    #[error(
        "one with the higher serial {0} is in force and stays: was it made on a machine whose \
         clock is ahead?"
    )]
    Older(u64),
    /// The grant does not hold any more.
    #[error("the grant for account {account} ended with epoch {until}")]
    GrantOver {
        /// The account.
        account: AccountId,
        /// The first epoch in which it does not hold.
        until: Epoch,
    },
    /// More than was granted.
    #[error("of account {account} {limit} atto-credits are granted, {reserved} were set aside")]
    GrantUsed {
        /// The account.
        account: AccountId,
        /// All that the gateway ever set aside.
        reserved: Amount,
        /// All that it may.
        limit: Amount,
    },
    /// What was bought on the curve stays bought.
    #[error("traffic units that were bought are not given back")]
    Bought,
    /// Customers have set aside as much as the gateway's bond is good for.
    #[error(
        "customers may set aside {most} atto-credits with this gateway, a quarter of its bond; \
         {reserved} are"
    )]
    BondTooSmall {
        /// What is set aside.
        reserved: Amount,
        /// What may be.
        most: Amount,
    },
    /// The same id for something else.
    #[error("the id of the order was used for another order")]
    OrderReused,
    /// Only nodes leave.
    #[error("only a node can leave")]
    NotANode,
    /// A node that leaves stakes no more.
    #[error("{0} is leaving")]
    Leaving(NodeId),
    /// The node may not take part any more.
    #[error("{0} has left, or was disqualified")]
    Excluded(NodeId),
    /// The network has no time to refute them.
    #[error("this network takes no loss claims")]
    NoClaims,
    /// A claim about what cannot be.
    #[error("there can be no such shard, or no such group in it")]
    NoShard,
    /// The gateway has a claim of it that is open.
    #[error("the gateway has an open claim of the loss of this shard")]
    ShardClaimed,
    /// What the gateway would pay for a false claim is not there.
    #[error("if it is refuted the claim costs {cost} atto-credits, the gateway has {have}")]
    ClaimUncovered {
        /// What its open claims and this one would cost.
        cost: Amount,
        /// What could be taken from it.
        have: Amount,
    },
    /// As many claims as may be open.
    #[error("too many claims of this gateway against the node are open: wait until some ended")]
    ClaimsOpen,
    /// More than the gateway ever put there.
    #[error("{claimed} bytes are claimed, {left} more were put there by paid receipts")]
    NotPlaced {
        /// What is claimed.
        claimed: u64,
        /// What may be.
        left: u64,
    },
    /// Never made, or settled since.
    #[error("there is no such claim, or it stands already")]
    NoClaim,
    /// Not the bytes that were asked for.
    #[error("the proof does not show the bytes that the claim asks for")]
    NotRefuted,
    /// Both receipts can be true.
    #[error("the receipts do not contradict each other")]
    NoContradiction,
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
    /// As many nodes or gateways as a network can have.
    #[error("the network is full")]
    Full,
    /// As many nodes as one gateway may invite.
    #[error("the gateway that invites has invited its part of the network, {0} nodes")]
    InvitedEnough(usize),
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
    /// Prices are posted for epochs to come.
    #[error("prices must begin after the next epoch, and hold for one epoch at least")]
    SheetTime,
    /// One sheet at a time can begin.
    #[error("other prices begin with epoch {0} already")]
    SheetTaken(Epoch),
    /// As many sheets as there can be.
    #[error("too many price sheets are in force or to come: wait until some are over")]
    Sheets,
    /// On the curve the amount buys nothing.
    #[error("{0} atto-credits buy no traffic unit at the price of now")]
    NoUnits(Amount),
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
    /// Lines of an audit report that cannot be.
    #[error("the parts of an audit report must come in order and name each node once")]
    AuditLines,
    /// Not what the gateway had committed to.
    #[error("the secret of epoch {0} is not the one that was committed to")]
    AuditSecret(Epoch),
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
