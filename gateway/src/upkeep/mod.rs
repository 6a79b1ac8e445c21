//! Loops that keep a gateway in order, each a thin one around a decision:
//! [`watch`] (who is there), [`settle`] (vouchers and statements), [`funds`]
//! (who can pay), [`collect`] (removing what is no longer referred to),
//! [`lifecycle`] (what expires), [`outbox`] (delivering events), [`logs`]
//! (writing access logs).
//!
//! Not here yet: audits and repair. What they need is recorded
//! already: missing shards are queued in the transaction that misses them.

pub mod collect;
pub mod funds;
pub mod lifecycle;
pub mod logs;
pub mod outbox;
pub mod settle;
pub mod watch;
