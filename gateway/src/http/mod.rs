//! The gateway's door: connections, and what may come in through them.

pub mod guard;
pub mod listener;
