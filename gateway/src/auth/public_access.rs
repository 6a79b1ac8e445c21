//! Ownership of objects.

use serde::{Deserialize, Serialize};

/// Who owns what others write, and whether ACLs count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ownership {
    /// Who wrote it.
    ObjectWriter,
    /// The bucket's owner, if the writer says so.
    BucketOwnerPreferred,
    /// The bucket's owner; ACLs are off.
    BucketOwnerEnforced,
}
