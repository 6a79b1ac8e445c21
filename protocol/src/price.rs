//! Money and prices. Money is u128 atto-credits (10^-18 credit); a price is u64
//! atto-credits for one unit of a counter. Counter times price is exact: there
//! is no division before settlement.

use std::collections::BTreeMap;
use std::fmt;

use crate::ids::{ChainId, Epoch, LedgerId};
use crate::keys::SecretKey;
use crate::sign::{self, BadSignature, Signature, Signed};
use crate::wire::{Reader, Wire, WireError, Writer};

/// Atto-credits in one credit.
pub const CREDIT: u128 = 1_000_000_000_000_000_000;

/// An amount of money in atto-credits. In JSON it is a string, since JSON
/// numbers lose digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(pub u128);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The sum, if it can be told.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }
    /// The difference, if it is not below zero.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl serde::Serialize for Amount {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Amount {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <String as serde::Deserialize>::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

impl Wire for Amount {
    fn write(&self, out: &mut Writer) {
        out.u128(self.0);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self(from.u128()?))
    }
}

macro_rules! metered {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// What is metered. Counters only grow within an epoch.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        #[derive(serde::Serialize, serde::Deserialize)]
        pub struct Counters { $($(#[$doc])* pub $field: u64,)* }

        /// Atto-credits for one unit of each counter.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        #[derive(serde::Serialize, serde::Deserialize)]
        pub struct Prices { $($(#[$doc])* pub $field: u64,)* }

        impl Counters {
            /// The sum of counter x price over all counters.
            pub fn amount(&self, prices: &Prices) -> Amount {
                let mut sum: u128 = 0;
                // Seven products of two u64 stay below 2^131; a sum that does
                // not fit is no real traffic and saturates.
                $(sum = sum.saturating_add(u128::from(self.$field) * u128::from(prices.$field));)*
                Amount(sum)
            }

            /// What each counter comes to, by its name.
            pub fn amounts(&self, prices: &Prices) -> BTreeMap<&'static str, Amount> {
                let amount = |counter, price| Amount(u128::from(counter) * u128::from(price));
                [$((stringify!($field), amount(self.$field, prices.$field)),)*].into()
            }

            /// Whether no counter is below that of `earlier`.
            pub fn covers(&self, earlier: &Counters) -> bool {
                $(self.$field >= earlier.$field)&&*
            }

            /// The sum of both.
            #[must_use]
            pub fn plus(&self, other: &Counters) -> Counters {
                Counters { $($field: self.$field.saturating_add(other.$field),)* }
            }

            /// What was added since `earlier`.
            #[must_use]
            pub fn since(&self, earlier: &Counters) -> Counters {
                Counters { $($field: self.$field.saturating_sub(earlier.$field),)* }
            }
        }

        impl Wire for Counters {
            fn write(&self, out: &mut Writer) {
                $(out.u64(self.$field);)*
            }
            fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
                Ok(Self { $($field: from.u64()?,)* })
            }
        }

        impl Wire for Prices {
            fn write(&self, out: &mut Writer) {
                $(out.u64(self.$field);)*
            }
            fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
                Ok(Self { $($field: from.u64()?,)* })
            }
        }
    };
}

metered! {
    /// Bytes of shards made durable for uploads.
    put_bytes,
    /// Bytes of shards read and verified for downloads.
    get_bytes,
    /// Bytes of shards moved to rebuild others.
    repair_bytes,
    /// Bytes of answers to audits.
    audit_bytes,
    /// Bytes kept times seconds.
    stored_byte_seconds,
    /// Fuel that programs used.
    compute_fuel,
    /// Requests.
    operations,
}

impl Counters {
    /// Payload bytes moved: what credit limits count.
    pub fn traffic(&self) -> u64 {
        self.put_bytes
            .saturating_add(self.get_bytes)
            .saturating_add(self.repair_bytes)
            .saturating_add(self.audit_bytes)
    }
}

/// The posted prices of a network, signed by its ledger and named by hash in
/// every voucher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceSheet {
    /// The network.
    pub chain: ChainId,
    /// First epoch it holds for.
    pub from: u64,
    /// First epoch it no longer holds for.
    pub until: u64,
    /// The prices.
    pub prices: Prices,
}

impl PriceSheet {
    /// The name of this sheet in vouchers.
    pub fn id(&self) -> [u8; 32] {
        sign::digest(self)
    }

    /// Whether it covers an epoch. A sheet that begins later goes before it.
    pub fn holds_for(&self, epoch: Epoch) -> bool {
        (self.from..self.until).contains(&epoch.0)
    }

    /// Signs it as the ledger.
    pub fn signed(self, ledger: &SecretKey) -> SignedPriceSheet {
        let signature = sign::sign(ledger, &self);
        SignedPriceSheet { sheet: self, signature }
    }
}

impl Signed for PriceSheet {
    const DOMAIN: &'static str = "stratos price sheet v1";
    fn write_signed(&self, out: &mut Writer) {
        self.write(out);
    }
}

impl Wire for PriceSheet {
    fn write(&self, out: &mut Writer) {
        self.chain.write(out);
        out.u64(self.from);
        out.u64(self.until);
        self.prices.write(out);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            chain: ChainId::read(from)?,
            from: from.u64()?,
            until: from.u64()?,
            prices: Prices::read(from)?,
        })
    }
}

/// A price sheet and the ledger's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedPriceSheet {
    /// The prices.
    pub sheet: PriceSheet,
    /// The ledger's signature.
    pub signature: Signature,
}

impl SignedPriceSheet {
    /// Verifies that `ledger` posted these prices.
    pub fn verify(&self, ledger: LedgerId) -> Result<(), BadSignature> {
        sign::verify(ledger, &self.sheet, &self.signature)
    }
}

impl Wire for SignedPriceSheet {
    fn write(&self, out: &mut Writer) {
        self.sheet.write(out);
        self.signature.write(out);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { sheet: PriceSheet::read(from)?, signature: Signature::read(from)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_the_exact_sum_of_products() {
        let counters = Counters { put_bytes: u64::MAX, operations: 3, ..Counters::default() };
        let prices = Prices { put_bytes: 2, operations: 5, ..Prices::default() };
        assert_eq!(counters.amount(&prices), Amount(u128::from(u64::MAX) * 2 + 15));
    }
}
