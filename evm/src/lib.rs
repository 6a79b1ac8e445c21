//! Withdrawals paid on an EVM chain, for networks whose parties want that.
//!
//! On the ledger a withdrawal is money that left. What left to whom is an
//! address and a sum: [`leaves`] reads that from an exported ledger, [`tree`]
//! makes the Merkle tree of an epoch, and a contract
//! (`contracts/StratosClaims.sol`) pays who proves to be in it. [`contract`]
//! talks to that contract, through [`chain`] and [`rpc`]; [`key`] reads the key
//! that signs.
//!
//! Nothing else in the project needs any of this: the program `stratos-evm` is
//! of its own, and no other crate depends on this one.

pub mod chain;
pub mod contract;
pub mod key;
pub mod leaves;
pub mod rpc;
pub mod tree;
