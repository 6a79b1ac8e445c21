//! Evidence: what is claimed of a node, and what proves or refutes it.
//!
//! ```text
//! loss claim     chain[16], gateway[32], node[32], epoch u64, segment[16], index u8,
//!                root[32], len u64, data u8, group u64, signature[64]
//! rebuttal       chain[16], claim[32], u32 count, proof
//! equivocation   receipt, receipt
//! ```
//! A loss claim says that a node failed the audit of a shard: it has no group of
//! bytes that it must have. It is refuted by that very group with its path to
//! the root (`tree`), which anyone may show who has it. A claim that nobody
//! refutes in time stands.
//!
//! An equivocation is two receipts of one lane, both signed by the node, of
//! which neither follows the other. It proves itself.

use bytes::Bytes;

use crate::ids::{ChainId, Epoch, GatewayId, NodeId, Root, ShardId};
use crate::keys::SecretKey;
use crate::message::SHARD_LEN_MAX;
use crate::sign::{self, BadSignature, Signature, Signed};
use crate::tree::{self, GROUP};
use crate::voucher::Receipt;
use crate::wire::{Reader, Wire, WireError, Writer};

/// Longest proof of one group: the group and 64 bytes for each level of the
/// tree above it.
pub const PROOF_MAX: usize = 16 * 1024 + 64 * 48;

/// A gateway says that a node lost a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LossClaim {
    /// The network.
    pub chain: ChainId,
    /// Who audited.
    pub gateway: GatewayId,
    /// Who lost it.
    pub node: NodeId,
    /// The epoch of the audit.
    pub epoch: Epoch,
    /// The shard.
    pub shard: ShardId,
    /// The hash of its bytes.
    pub root: Root,
    /// How long it is.
    pub len: u64,
    /// How many shards it takes to rebuild it.
    pub data: u8,
    /// The number of the group that was asked for.
    pub group: u64,
    /// The gateway's signature over all of the above.
    pub signature: Signature,
}

impl LossClaim {
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

    /// Its name, by which it is refuted.
    pub fn id(&self) -> [u8; 32] {
        sign::digest(self)
    }

    /// Whether it is about something that there can be.
    pub fn is_sound(&self) -> bool {
        let groups = self.len.div_ceil(GROUP);
        (1..=SHARD_LEN_MAX).contains(&self.len) && self.group < groups && self.data > 0
    }

    /// The bytes that were asked for.
    pub fn asked(&self) -> std::ops::Range<u64> {
        let start = self.group * GROUP;
        start..start.saturating_add(GROUP).min(self.len)
    }

    /// Whether `proof` shows that the bytes are there.
    pub fn is_refuted_by(&self, proof: &Bytes) -> bool {
        self.is_sound() && tree::decode(&self.root, self.len, &self.asked(), proof).is_ok()
    }
}

impl Signed for LossClaim {
    const DOMAIN: &'static str = "stratos loss claim v1";
    fn write_signed(&self, out: &mut Writer) {
        self.chain.write(out);
        self.gateway.write(out);
        self.node.write(out);
        self.epoch.write(out);
        self.shard.write(out);
        self.root.write(out);
        out.u64(self.len);
        out.u8(self.data);
        out.u64(self.group);
    }
}

impl Wire for LossClaim {
    fn write(&self, out: &mut Writer) {
        self.write_signed(out);
        self.signature.write(out);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            chain: ChainId::read(from)?,
            gateway: GatewayId::read(from)?,
            node: NodeId::read(from)?,
            epoch: Epoch::read(from)?,
            shard: ShardId::read(from)?,
            root: Root::read(from)?,
            len: from.u64()?,
            data: from.u8()?,
            group: from.u64()?,
            signature: Signature::read(from)?,
        })
    }
}

/// The bytes that a node was said to have lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LossRebuttal {
    /// The network.
    pub chain: ChainId,
    /// The claim's id.
    pub claim: [u8; 32],
    /// The group and its path to the root.
    pub proof: Bytes,
}

impl Wire for LossRebuttal {
    fn write(&self, out: &mut Writer) {
        self.chain.write(out);
        out.bytes(&self.claim);
        out.blob(&self.proof);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            chain: ChainId::read(from)?,
            claim: from.array()?,
            proof: Bytes::copy_from_slice(from.blob("proof", PROOF_MAX)?),
        })
    }
}

/// Two receipts of one lane that a node signed and of which neither follows the
/// other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Equivocation {
    /// One of them.
    pub first: Receipt,
    /// The other.
    pub second: Receipt,
}

impl Equivocation {
    /// Who signed both.
    pub fn node(&self) -> NodeId {
        self.first.voucher.body.node
    }

    /// Verifies all four signatures.
    pub fn verify(&self) -> Result<(), BadSignature> {
        self.first.verify()?;
        self.second.verify()
    }

    /// Whether they contradict each other: they are of one lane, and neither
    /// may replace the other.
    pub fn is_contradiction(&self) -> bool {
        let (first, second) = (&self.first.voucher.body, &self.second.voucher.body);
        let lane = |body: &crate::voucher::VoucherBody| {
            (body.chain, body.gateway, body.node, body.epoch, body.lane)
        };
        lane(first) == lane(second)
            && first.check_follows(second).is_err()
            && second.check_follows(first).is_err()
    }
}

impl Wire for Equivocation {
    fn write(&self, out: &mut Writer) {
        self.first.write(out);
        self.second.write(out);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { first: Receipt::read(from)?, second: Receipt::read(from)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SegmentId;
    use crate::price::{Amount, Counters};
    use crate::tree::TreeHasher;
    use crate::voucher::VoucherBody;

    fn claim(bytes: &[u8], group: u64) -> (LossClaim, Bytes) {
        let mut hasher = TreeHasher::default();
        hasher.update(bytes);
        let (root, outboard) = hasher.finish();
        let key = SecretKey::from_seed([1; 32]);
        let claim = LossClaim {
            chain: ChainId([2; 16]),
            gateway: key.public().into(),
            node: NodeId([3; 32]),
            epoch: Epoch(4),
            shard: ShardId { segment: SegmentId([5; 16]), index: 6 },
            root,
            len: bytes.len() as u64,
            data: 4,
            group,
            signature: Signature([0; 64]),
        }
        .signed(&key);
        let proof = tree::encode(bytes, claim.len, &outboard, &claim.asked()).unwrap();
        (claim, proof.into())
    }

    #[test]
    fn the_bytes_refute_the_claim_and_nothing_else_does() {
        // No two groups are alike: equal ones have equal proofs.
        let bytes: Vec<u8> = (0..12_500u32).flat_map(u32::to_le_bytes).collect();
        for group in 0..4 {
            let (claim, proof) = claim(&bytes, group);
            assert!(claim.is_sound() && proof.len() <= PROOF_MAX);
            assert!(claim.is_refuted_by(&proof));
            let mut wrong = proof.to_vec();
            *wrong.last_mut().unwrap() ^= 1;
            assert!(!claim.is_refuted_by(&wrong.into()));
            assert!(!claim.is_refuted_by(&Bytes::new()));
            let other = LossClaim { group: (group + 1) % 4, ..claim };
            assert!(!other.is_refuted_by(&proof));
        }
        assert!(!claim(&bytes, 0).0.clone_with_group(4).is_sound());
    }

    impl LossClaim {
        fn clone_with_group(&self, group: u64) -> Self {
            Self { group, ..self.clone() }
        }
    }

    #[test]
    fn a_claim_reads_back_and_its_bytes_do_not_change() {
        let (claim, proof) = claim(&[7; 40_000], 1);
        assert_eq!(LossClaim::from_wire(&claim.to_wire()), Ok(claim.clone()));
        assert_eq!(claim.verify(), Ok(()));
        let rebuttal = LossRebuttal { chain: claim.chain, claim: claim.id(), proof };
        assert_eq!(LossRebuttal::from_wire(&rebuttal.to_wire()), Ok(rebuttal));
        let golden = "0dbe2884c0d539518a3144f8c634481bb0b295756af8df1910947e21c57ec8e2";
        assert_eq!(blake3::hash(&claim.to_wire()).to_hex().as_str(), golden);
    }

    #[test]
    fn only_receipts_of_which_neither_follows_contradict_each_other() {
        let (gateway, node) = (SecretKey::from_seed([1; 32]), SecretKey::from_seed([2; 32]));
        let receipt = |put_bytes, get_bytes, operations| {
            let counters = Counters { put_bytes, get_bytes, operations, ..Counters::default() };
            let body = VoucherBody {
                chain: ChainId([3; 16]),
                gateway: gateway.public().into(),
                node: node.public().into(),
                epoch: Epoch(7),
                lane: 5,
                counters,
                amount: Amount(u128::from(put_bytes + get_bytes)),
                price_sheet: [4; 32],
            };
            body.signed(&gateway).countersigned(&node)
        };
        let evidence = |first, second| Equivocation { first, second };
        assert!(!evidence(receipt(1, 0, 1), receipt(2, 0, 2)).is_contradiction());
        assert!(!evidence(receipt(2, 0, 2), receipt(1, 0, 1)).is_contradiction());
        assert!(!evidence(receipt(1, 0, 1), receipt(1, 0, 1)).is_contradiction());
        let bad = evidence(receipt(5, 0, 2), receipt(0, 5, 2));
        assert!(bad.is_contradiction());
        assert_eq!(bad.verify(), Ok(()));
        assert_eq!(Equivocation::from_wire(&bad.to_wire()), Ok(bad));
    }
}
