//! Loops that keep a gateway in order, each a thin one around a decision:
//! [`watch`] (who is there), [`settle`] (vouchers and statements), [`funds`]
//! (who can pay), [`curve`] (units that are bought), [`collect`] (removing what is no longer referred to),
//! [`lifecycle`] (what expires), [`outbox`] (delivering events), [`logs`]
//! (writing access logs), [`audit`] (nodes prove what they hold), [`claims`]
//! (what they lost, for the ledger), [`standing`] (who may hold shards), [`repair`]
//! (computing lost shards anew), [`moves`] (draining nodes, filling new ones),
//! [`reconcile`] (counting, and acting on the count),
//! [`vault`] (shipping metadata to the nodes).

pub mod audit;
pub mod claims;
pub mod collect;
pub mod curve;
pub mod funds;
pub mod lifecycle;
pub mod logs;
pub mod moves;
pub mod outbox;
pub mod pace;
pub(crate) mod places;
pub mod reconcile;
pub mod repair;
pub mod settle;
pub mod standing;
pub mod vault;
pub mod watch;
