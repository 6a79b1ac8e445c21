//! Access control lists.

use serde::{Deserialize, Serialize};

/// Who may do what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acl {
    /// Canonical id.
    pub owner: String,
}
