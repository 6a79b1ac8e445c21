//! The gateway's doors: connections ([`listener`]), what may come in through
//! the S3 one ([`guard`], [`door`]), health and counters ([`health`],
//! [`metrics`]), and the admin API ([`admin`]).

pub mod admin;
pub mod door;
pub mod guard;
pub mod health;
pub mod listener;
pub mod metrics;
