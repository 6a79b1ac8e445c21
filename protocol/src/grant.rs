//! How far an account's owner lets a gateway spend.
//!
//! ```text
//! grant    chain[16], owner[32], gateway[32], limit u128, until u64, serial u64, signature[64]
//! ```
//! An account with an owner has an id that is made from the owner's key, so
//! nobody else can speak for it. A gateway opens it (`statement`), which gives
//! that gateway no right to it: strangers cannot fill a ledger with accounts.
//! A grant with a higher serial replaces the one before, for that gateway. The
//! limit is all that the gateway may ever set aside (and not give back), not
//! what is left.

use crate::ids::{AccountId, ChainId, Epoch, GatewayId, PublicKey};
use crate::keys::SecretKey;
use crate::price::Amount;
use crate::sign::{self, BadSignature, Signature, Signed};
use crate::wire::{Reader, Wire, WireError, Writer};

/// The account that belongs to a wallet's key.
pub fn owned_account(owner: PublicKey) -> AccountId {
    let hash = blake3::derive_key("stratos owned account v1", &owner.0);
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    AccountId(id)
}

/// How far an account's owner lets a gateway spend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The network.
    pub chain: ChainId,
    /// The wallet's key; [`owned_account`] tells the account.
    pub owner: PublicKey,
    /// Who may spend.
    pub gateway: GatewayId,
    /// All that it may ever set aside.
    pub limit: Amount,
    /// The first epoch in which it may set aside no more.
    pub until: Epoch,
    /// A higher one replaces a lower one.
    pub serial: u64,
    /// The owner's signature over all of the above.
    pub signature: Signature,
}

impl Grant {
    /// Fills in the signature.
    #[must_use]
    pub fn signed(mut self, owner: &SecretKey) -> Self {
        self.signature = sign::sign(owner, &self);
        self
    }

    /// Verifies the owner's signature.
    pub fn verify(&self) -> Result<(), BadSignature> {
        sign::verify(self.owner, self, &self.signature)
    }

    /// The account that it is about.
    pub fn account(&self) -> AccountId {
        owned_account(self.owner)
    }
}

impl Signed for Grant {
    const DOMAIN: &'static str = "stratos grant v1";
    fn write_signed(&self, out: &mut Writer) {
        self.chain.write(out);
        self.owner.write(out);
        self.gateway.write(out);
        self.limit.write(out);
        self.until.write(out);
        out.u64(self.serial);
    }
}

impl Wire for Grant {
    fn write(&self, out: &mut Writer) {
        self.write_signed(out);
        self.signature.write(out);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            chain: ChainId::read(from)?,
            owner: PublicKey::read(from)?,
            gateway: GatewayId::read(from)?,
            limit: Amount::read(from)?,
            until: Epoch::read(from)?,
            serial: from.u64()?,
            signature: Signature::read(from)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_stands_only_as_signed_by_the_owner() {
        let (owner, thief) = (SecretKey::from_seed([1; 32]), SecretKey::from_seed([2; 32]));
        let grant = Grant {
            chain: ChainId([3; 16]),
            owner: owner.public(),
            gateway: GatewayId([4; 32]),
            limit: Amount(5),
            until: Epoch(6),
            serial: 7,
            signature: Signature([0; 64]),
        };
        let signed = grant.clone().signed(&owner);
        assert_eq!(signed.verify(), Ok(()));
        assert_eq!(Grant::from_wire(&signed.to_wire()), Ok(signed.clone()));
        assert!(Grant { limit: Amount(6), ..signed.clone() }.verify().is_err());
        assert!(grant.signed(&thief).verify().is_err());
        assert_ne!(signed.account(), owned_account(thief.public()));
        let golden = "c8959aef56c8660702a2a08b25a75ae8426eb29e6398b5a667fbbf830d6228fa";
        assert_eq!(blake3::hash(&signed.to_wire()).to_hex().as_str(), golden);
    }
}
