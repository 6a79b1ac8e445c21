//! The gateway's doors: connections ([`listener`]), what may come in through
//! the S3 one ([`guard`], [`door`]) and what answers it ([`inside`], [`sts`]),
//! health and counters ([`health`],
//! [`metrics`]), and the admin API ([`admin`]).

pub mod admin;
pub mod door;
pub mod guard;
pub mod health;
pub mod inside;
pub mod listener;
pub mod metrics;
pub mod sts;
