//! Who owns what, as listings and ACLs show it.

use std::collections::HashMap;

use protocol::AccountId;
use s3s::S3Result;
use s3s::dto::{Initiator, Owner};

use crate::gateway::Gateway;
use crate::meta::{MetaError, canonical_id};

/// The canonical id under which what anybody wrote is shown.
pub const ANYBODY: &str = "anonymous";

/// Owners that were looked up for one answer.
pub struct Owners<'a> {
    gateway: &'a Gateway,
    known: HashMap<AccountId, Owner>,
}

impl<'a> Owners<'a> {
    /// None yet.
    pub fn new(gateway: &'a Gateway) -> Self {
        Self { gateway, known: HashMap::new() }
    }

    /// The owner with this account.
    pub async fn of(&mut self, account: Option<AccountId>) -> S3Result<Owner> {
        let Some(account) = account else {
            return Ok(Owner { id: Some(ANYBODY.into()), display_name: Some(ANYBODY.into()) });
        };
        if let Some(owner) = self.known.get(&account) {
            return Ok(owner.clone());
        }
        let display_name = match self.gateway.meta.account(account).await {
            Ok(found) => Some(found.display_name),
            Err(MetaError::Missing(_)) => None,
            Err(error) => return Err(error.into()),
        };
        let owner = Owner { id: Some(canonical_id(account)), display_name };
        self.known.insert(account, owner.clone());
        Ok(owner)
    }
}

/// The same as who began an upload.
pub fn initiator(owner: Owner) -> Initiator {
    Initiator { id: owner.id, display_name: owner.display_name }
}
