//! The voucher: what a gateway owes a node by now. The receipt: the same,
//! counter-signed. The ledger accepts nothing less than a receipt.
//!
//! ```text
//! 0        2      18       50    82     90    92        148     164          196        260
//! version  chain  gateway  node  epoch  lane  counters  amount  price sheet  signature
//! u16      16     32       32    u64    u16   7 x u64   u128    32           64
//! receipt: the voucher, then the node's signature (64)
//! ```
//!
//! A voucher is cumulative within (gateway, node, epoch, lane): a later one
//! replaces the earlier, and no counter ever goes down. Loss, delay and
//! reordering of vouchers are therefore harmless.

use thiserror::Error;

use crate::ids::{ChainId, Epoch, GatewayId, NodeId};
use crate::keys::SecretKey;
use crate::message::LANES_MAX;
use crate::price::{Amount, Counters, Prices};
use crate::sign::{self, BadSignature, Signature, Signed};
use crate::wire::{Reader, Wire, WireError, Writer};

/// The version of both formats.
pub const VERSION: u16 = 1;

/// What a voucher says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoucherBody {
    /// The network.
    pub chain: ChainId,
    /// Who owes.
    pub gateway: GatewayId,
    /// Who is owed.
    pub node: NodeId,
    /// The epoch in which the bytes moved.
    pub epoch: Epoch,
    /// One of the gateway's independent series of counters, below 64.
    pub lane: u16,
    /// All that was metered in this epoch and lane so far.
    pub counters: Counters,
    /// The sum of counter x price.
    pub amount: Amount,
    /// The hash of the price sheet.
    pub price_sheet: [u8; 32],
}

/// A voucher, signed by the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voucher {
    /// What it says.
    pub body: VoucherBody,
    /// The gateway's signature.
    pub gateway_signature: Signature,
}

/// A voucher, counter-signed by the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// What both sides agree on.
    pub voucher: Voucher,
    /// The node's signature.
    pub node_signature: Signature,
}

/// Why a voucher does not follow.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum VoucherError {
    /// It is for another network, node, gateway, lane or price sheet.
    #[error("the voucher is for another {0}")]
    Other(&'static str),
    /// The amount is not the sum of counter x price.
    #[error("the amount is {got}, counters and prices make {want}")]
    Amount {
        /// What the voucher says.
        got: Amount,
        /// What it should say.
        want: Amount,
    },
    /// A counter went down.
    #[error("a counter went down")]
    Decreased,
    /// The same operations, and other counters.
    #[error("two different vouchers with the same number of operations")]
    Equivocation,
    /// A signature is wrong.
    #[error(transparent)]
    Signature(#[from] BadSignature),
}

impl VoucherBody {
    /// Signs as the gateway.
    pub fn signed(self, gateway: &SecretKey) -> Voucher {
        let gateway_signature = sign::sign(gateway, &self);
        Voucher { body: self, gateway_signature }
    }

    /// Checks that the amount is the sum of counter x price.
    pub fn check_amount(&self, prices: &Prices) -> Result<(), VoucherError> {
        let want = self.counters.amount(prices);
        if self.amount == want {
            Ok(())
        } else {
            Err(VoucherError::Amount { got: self.amount, want })
        }
    }

    /// Checks that this voucher may replace `earlier` of the same lane.
    pub fn check_follows(&self, earlier: &VoucherBody) -> Result<(), VoucherError> {
        let same_lane = (self.chain, self.gateway, self.node, self.epoch, self.lane)
            == (earlier.chain, earlier.gateway, earlier.node, earlier.epoch, earlier.lane);
        if !same_lane {
            return Err(VoucherError::Other("lane"));
        }
        if self == earlier {
            return Ok(());
        }
        if !self.counters.covers(&earlier.counters) || self.amount < earlier.amount {
            return Err(VoucherError::Decreased);
        }
        // Time passes without operations, but bytes do not move without them.
        if self.counters.operations == earlier.counters.operations
            && self.counters.traffic() != earlier.counters.traffic()
        {
            return Err(VoucherError::Equivocation);
        }
        Ok(())
    }
}

impl Voucher {
    /// Verifies the gateway's signature.
    pub fn verify(&self) -> Result<(), BadSignature> {
        sign::verify(self.body.gateway, &self.body, &self.gateway_signature)
    }

    /// Whether it is what `gateway` owes to `node` in this network, by its own
    /// signature. A node can show vouchers that were signed for another.
    pub fn is_owed(&self, chain: ChainId, gateway: GatewayId, node: NodeId) -> bool {
        (self.body.chain, self.body.gateway, self.body.node) == (chain, gateway, node)
            && self.verify().is_ok()
    }

    /// Counter-signs as the node.
    pub fn countersigned(self, node: &SecretKey) -> Receipt {
        let node_signature = sign::sign(node, &NodeHalf(&self));
        Receipt { voucher: self, node_signature }
    }
}

impl Receipt {
    /// Bytes of the encoding.
    pub const LEN: usize = 324;

    /// Verifies both signatures.
    pub fn verify(&self) -> Result<(), BadSignature> {
        self.voucher.verify()?;
        sign::verify(self.voucher.body.node, &NodeHalf(&self.voucher), &self.node_signature)
    }
}

impl Signed for VoucherBody {
    const DOMAIN: &'static str = "stratos voucher v1";
    fn write_signed(&self, out: &mut Writer) {
        self.write(out);
    }
}

/// What the node signs: the voucher with the gateway's signature.
struct NodeHalf<'a>(&'a Voucher);

impl Signed for NodeHalf<'_> {
    const DOMAIN: &'static str = "stratos receipt v1";
    fn write_signed(&self, out: &mut Writer) {
        self.0.write(out);
    }
}

impl Wire for VoucherBody {
    fn write(&self, out: &mut Writer) {
        out.u16(VERSION);
        self.chain.write(out);
        self.gateway.write(out);
        self.node.write(out);
        self.epoch.write(out);
        out.u16(self.lane);
        self.counters.write(out);
        self.amount.write(out);
        out.bytes(&self.price_sheet);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let version = from.u16()?;
        if version != VERSION {
            let value = u64::from(version);
            return Err(WireError::Unknown { what: "voucher version", value });
        }
        let body = Self {
            chain: ChainId::read(from)?,
            gateway: GatewayId::read(from)?,
            node: NodeId::read(from)?,
            epoch: Epoch::read(from)?,
            lane: from.u16()?,
            counters: Counters::read(from)?,
            amount: Amount::read(from)?,
            price_sheet: from.array()?,
        };
        if usize::from(body.lane) >= LANES_MAX {
            return Err(WireError::Unknown { what: "lane", value: u64::from(body.lane) });
        }
        Ok(body)
    }
}

impl Wire for Voucher {
    fn write(&self, out: &mut Writer) {
        self.body.write(out);
        self.gateway_signature.write(out);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { body: VoucherBody::read(from)?, gateway_signature: Signature::read(from)? })
    }
}

impl Wire for Receipt {
    fn write(&self, out: &mut Writer) {
        self.voucher.write(out);
        self.node_signature.write(out);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { voucher: Voucher::read(from)?, node_signature: Signature::read(from)? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys() -> (SecretKey, SecretKey) {
        (SecretKey::from_seed([1; 32]), SecretKey::from_seed([2; 32]))
    }

    fn body(counters: Counters) -> VoucherBody {
        let (gateway, node) = keys();
        VoucherBody {
            chain: ChainId([3; 16]),
            gateway: gateway.public().into(),
            node: node.public().into(),
            epoch: Epoch(7),
            lane: 5,
            counters,
            amount: Amount(9),
            price_sheet: [4; 32],
        }
    }

    #[test]
    fn receipt_bytes_do_not_change() {
        let (gateway, node) = keys();
        let counters = Counters { put_bytes: 1, get_bytes: 2, operations: 3, ..Default::default() };
        let receipt = body(counters).signed(&gateway).countersigned(&node);
        let bytes = receipt.to_wire();
        assert_eq!(bytes.len(), Receipt::LEN);
        assert_eq!(Receipt::from_wire(&bytes), Ok(receipt.clone()));
        assert_eq!(receipt.verify(), Ok(()));
        // Ed25519 is deterministic, so the hash of the whole receipt is a
        // golden value for layout, domains and signatures at once.
        let golden = "3a15d5bacfa4d74bbfb78dc1fb3d58a6f1867585324339b064d78ed7155ca77b";
        assert_eq!(blake3::hash(&bytes).to_hex().as_str(), golden);
        let start = "0100".to_owned()
            + &"03".repeat(16)
            + "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c";
        assert_eq!(hex::encode(&bytes[..50]), start);
    }

    #[test]
    fn a_receipt_with_one_wrong_half_does_not_verify() {
        let (gateway, node) = keys();
        let receipt = body(Counters::default()).signed(&gateway).countersigned(&node);
        let mut forged = receipt.clone();
        forged.voucher.body.amount = Amount(10);
        assert!(forged.verify().is_err());
        let self_signed = body(Counters::default()).signed(&node).countersigned(&node);
        assert!(self_signed.verify().is_err());
        let swapped = Receipt { node_signature: receipt.voucher.gateway_signature, ..receipt };
        assert!(swapped.verify().is_err());
    }

    proptest! {
        /// Whatever happened in between, a voucher made later follows an
        /// earlier one, and the earlier one never follows the later.
        #[test]
        fn vouchers_only_grow(steps in prop::collection::vec((0u8..2, 1u64..1000), 1..40)) {
            let mut counters = Counters::default();
            let mut last = VoucherBody { amount: Amount(0), ..body(counters) };
            for (kind, bytes) in steps {
                counters.operations += 1;
                if kind == 0 { counters.put_bytes += bytes } else { counters.get_bytes += bytes }
                let amount = Amount(last.amount.0 + u128::from(bytes));
                let next = VoucherBody { counters, amount, ..last.clone() };
                prop_assert_eq!(next.check_follows(&last), Ok(()));
                prop_assert_eq!(last.check_follows(&next), Err(VoucherError::Decreased));
                let mut twisted = next.clone();
                twisted.counters.get_bytes += 1;
                prop_assert_eq!(twisted.check_follows(&next), Err(VoucherError::Equivocation));
                last = next;
            }
        }
    }
}
