//! stub
pub mod account;
pub mod block;
pub mod chain;
pub mod entry;
pub mod epoch;
pub mod export;
pub mod genesis;
pub mod hash;
pub mod log;
pub mod settlement;
pub mod state;
pub mod verify;
