//! What gateway, node and ledger must agree on.
//!
//! This crate is the specification of the network: identities ([`ids`],
//! [`keys`]), what is signed and how ([`sign`]), the QUIC connection and its
//! mutual authentication ([`tls`], [`quic`]), the frames on a stream
//! ([`frame`], [`wire`]), the requests a node answers ([`message`]) and those
//! the ledger answers ([`ledger_api`]), the hash tree that proves a range of a
//! shard ([`tree`]), and the statements that move money ([`voucher`],
//! [`price`], [`statement`], [`registration`], [`grant`], [`order`], [`claim`]).
//!
//! # A connection
//! QUIC with TLS 1.3 and ALPN `stratos/1`. Both ends show an Ed25519 raw public
//! key (RFC 7250); the dialling end knows which key it expects, the listening
//! end asks whether the key it sees may connect. There is no certificate
//! authority, and no 0-RTT.
//!
//! # A request
//! One bidirectional stream each. The dialler sends one request frame (and, for
//! a put, the body), the listener one response frame (and, for a get, the
//! windows). A refusal is a response frame with a [`refusal::Refusal`] code.
//!
//! Integers are little-endian and fixed-width. Every length is checked against
//! its limit before anything is allocated.
//!
//! Not here: how a node stores a shard, how a gateway chooses nodes, and how
//! the ledger settles.

pub mod audit;
pub mod claim;
pub mod frame;
pub mod grant;
pub mod ids;
pub mod keys;
pub mod ledger_api;
pub mod message;
pub mod order;
pub mod price;
pub mod quic;
pub mod refusal;
pub mod registration;
pub mod sign;
pub mod statement;
pub mod tls;
pub mod tree;
pub mod voucher;
pub mod wire;

pub use ids::{
    AccountId, ChainId, Epoch, GatewayId, Incarnation, LedgerId, NodeId, Root, SegmentId, ShardId,
};
pub use keys::SecretKey;
