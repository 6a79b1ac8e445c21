//! What a gateway declares to the ledger about the accounts it serves: that an
//! account exists, what it sets aside, and what it used in an epoch.
//!
//! A gateway's own account, whose id is made from its key, carries what no
//! customer used (the residual line): traffic of uploads that failed, and
//! rounding.

use crate::ids::{AccountId, ChainId, Epoch, GatewayId, PublicKey};
use crate::keys::SecretKey;
use crate::price::{Amount, Counters};
use crate::sign::{self, BadSignature, Signature, Signed};
use crate::wire::{Reader, Wire, WireError, Writer};

/// The account that a gateway pays its own residual from.
pub fn gateway_account(gateway: GatewayId) -> AccountId {
    let hash = blake3::derive_key("stratos gateway account v1", &gateway.0);
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    AccountId(id)
}

macro_rules! statement {
    (
        $(#[$doc:meta])* $name:ident, $domain:literal,
        { $($(#[$field_doc:meta])* $field:ident: $kind:ty,)* }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            /// The network.
            pub chain: ChainId,
            /// Who declares it.
            pub gateway: GatewayId,
            /// The account.
            pub account: AccountId,
            $($(#[$field_doc])* pub $field: $kind,)*
            /// The gateway's signature over all of the above.
            pub signature: Signature,
        }

        impl $name {
            /// Fills in the signature.
            #[must_use]
            pub fn signed(mut self, gateway: &SecretKey) -> Self {
                self.signature = sign::sign(gateway, &self);
                self
            }

            /// Verifies the gateway's signature.
            pub fn verify(&self) -> Result<(), BadSignature> {
                sign::verify(self.gateway, self, &self.signature)
            }
        }

        impl Signed for $name {
            const DOMAIN: &'static str = $domain;
            fn write_signed(&self, out: &mut Writer) {
                self.chain.write(out);
                self.gateway.write(out);
                self.account.write(out);
                $(self.$field.write(out);)*
            }
        }

        impl Wire for $name {
            fn write(&self, out: &mut Writer) {
                self.write_signed(out);
                self.signature.write(out);
            }
            fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
                Ok(Self {
                    chain: ChainId::read(from)?,
                    gateway: GatewayId::read(from)?,
                    account: AccountId::read(from)?,
                    $($field: <$kind>::read(from)?,)*
                    signature: Signature::read(from)?,
                })
            }
        }
    };
}

/// A number that orders statements: a higher one replaces a lower one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Revision(pub u64);

impl Wire for Revision {
    fn write(&self, out: &mut Writer) {
        out.u64(self.0);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self(from.u64()?))
    }
}

/// Names one transfer of money, so that submitting it twice moves it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TransferId(pub [u8; 16]);

impl Wire for TransferId {
    fn write(&self, out: &mut Writer) {
        out.bytes(&self.0);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self(from.array()?))
    }
}

statement!(
    /// An account that this gateway serves from now on.
    AccountOpening, "stratos account opening v1",
    {}
);

statement!(
    /// A wallet's account that this gateway is to serve: it belongs to the owner,
    /// who says with grants who may spend from it.
    OwnedOpening, "stratos owned account opening v1",
    {
        /// The wallet's key, of which the account's id is made.
        owner: PublicKey,
    }
);

statement!(
    /// Sets money of an account aside for this gateway, which may only spend
    /// what is set aside.
    Reservation, "stratos reservation v1",
    {
        /// Makes it idempotent.
        id: TransferId,
        /// How much is moved from available to reserved.
        amount: Amount,
    }
);

statement!(
    /// Gives back what was set aside and is not needed.
    Release, "stratos release v1",
    {
        /// Makes it idempotent, among reservations too.
        id: TransferId,
        /// How much is moved from reserved to available.
        amount: Amount,
    }
);

statement!(
    /// What an account used through this gateway in an epoch.
    UsageStatement, "stratos usage statement v1",
    {
        /// The epoch.
        epoch: Epoch,
        /// A later statement of the same epoch replaces an earlier one.
        revision: Revision,
        /// What was metered.
        counters: Counters,
        /// What it costs. At most counters x price: scaled down when nodes
        /// claimed less than was metered.
        amount: Amount,
    }
);

/// An unsigned signature, to be filled in by `signed`.
pub const UNSIGNED: Signature = Signature([0; 64]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_stands_only_as_signed() {
        let gateway = SecretKey::from_seed([1; 32]);
        let reservation = Reservation {
            chain: ChainId([1; 16]),
            gateway: gateway.public().into(),
            account: AccountId([2; 16]),
            id: TransferId([3; 16]),
            amount: Amount(4),
            signature: UNSIGNED,
        };
        assert!(reservation.verify().is_err());
        let signed = reservation.signed(&gateway);
        assert_eq!(signed.verify(), Ok(()));
        assert_eq!(Reservation::from_wire(&signed.to_wire()), Ok(signed.clone()));
        assert!(Reservation { amount: Amount(5), ..signed }.verify().is_err());
    }
}
