//! The gateway's doors: connections ([`listener`]), what may come in through
//! the S3 one ([`guard`], [`door`]), what browsers need ([`web`]: [`cors`],
//! [`form`], [`website`]), health and counters ([`health`], [`metrics`]), and
//! the admin API ([`admin`]).

pub mod admin;
pub mod cors;
pub mod door;
pub mod form;
pub mod guard;
pub mod health;
pub mod inside;
pub mod listener;
pub mod metrics;
pub mod web;
pub mod website;

pub mod sts;
pub mod text;
