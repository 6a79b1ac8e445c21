//! What a gateway says on the ledger about the audits of an epoch.
//!
//! ```text
//! report   chain[16], gateway[32], epoch u64, part u16, secret[32], commitment[32],
//!          u32 count, lines, signature[64]
//! line     node[32], ok u32, offline u32, contained u32, failed u32, score u32
//! ```
//! A report has as many parts as its nodes need, each an entry of its own. The
//! secret is the one of the epoch it reports; the commitment is to that of the
//! epoch after the next, which nobody can open yet: so when an epoch begins, its
//! secret was fixed before its beacon was known.

use crate::ids::{ChainId, Epoch, GatewayId, NodeId};
use crate::keys::SecretKey;
use crate::sign::{self, BadSignature, Signature, Signed};
use crate::wire::{Reader, Wire, WireError, Writer};

/// How an audit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The right bytes.
    Passed,
    /// No connection: that says nothing of what the node holds.
    Offline,
    /// It is connected and does not answer: it is asked the same again.
    Contained,
    /// Wrong bytes, or none where there must be some.
    Failed,
}

impl Outcome {
    /// All of them, by number.
    pub const ALL: [Self; 4] = [Self::Passed, Self::Offline, Self::Contained, Self::Failed];

    /// The word in JSON, metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Passed => "ok",
            Self::Offline => "offline",
            Self::Contained => "contained",
            Self::Failed => "failed",
        }
    }
}

/// Nodes in one part of a report: what fits an entry of the ledger.
pub const AUDIT_LINES_MAX: usize = 15;

/// Parts of a report at most.
pub const AUDIT_PARTS_MAX: u16 = 512;

/// The epoch for which a report of `epoch` commits to a secret.
pub fn committed_epoch(epoch: Epoch) -> Epoch {
    Epoch(epoch.0.saturating_add(2))
}

struct Secret {
    chain: ChainId,
    epoch: Epoch,
}

impl Signed for Secret {
    const DOMAIN: &'static str = "stratos audit secret v1";
    fn write_signed(&self, out: &mut Writer) {
        self.chain.write(out);
        self.epoch.write(out);
    }
}

/// The secret of a gateway for an epoch: follows from its key, and from nothing
/// that anyone else knows.
pub fn secret(key: &SecretKey, chain: ChainId, epoch: Epoch) -> [u8; 32] {
    let signature = sign::sign(key, &Secret { chain, epoch });
    blake3::derive_key("stratos audit secret of an epoch v1", &signature.0)
}

/// What is published of a secret before it is.
pub fn commitment(secret: &[u8; 32]) -> [u8; 32] {
    blake3::derive_key("stratos audit commitment v1", secret)
}

/// How the audits of one node ended in an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditLine {
    /// The node.
    pub node: NodeId,
    /// Audits that it passed.
    pub ok: u32,
    /// Times that it could not be reached.
    pub offline: u32,
    /// Times that it was connected and did not answer.
    pub contained: u32,
    /// Audits that it failed.
    pub failed: u32,
    /// Its score at the end, in millionths.
    pub score: u32,
}

impl Wire for AuditLine {
    fn write(&self, out: &mut Writer) {
        self.node.write(out);
        for count in [self.ok, self.offline, self.contained, self.failed, self.score] {
            out.u32(count);
        }
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            node: NodeId::read(from)?,
            ok: from.u32()?,
            offline: from.u32()?,
            contained: from.u32()?,
            failed: from.u32()?,
            score: from.u32()?,
        })
    }
}

/// What a gateway says about the audits of an epoch, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditReport {
    /// The network.
    pub chain: ChainId,
    /// Who audited.
    pub gateway: GatewayId,
    /// The epoch.
    pub epoch: Epoch,
    /// The number of this part, from 0.
    pub part: u16,
    /// What challenges were drawn from, with the epoch's beacon.
    pub secret: [u8; 32],
    /// To the secret of [`committed_epoch`].
    pub commitment: [u8; 32],
    /// By node, in ascending order.
    pub lines: Vec<AuditLine>,
    /// The gateway's signature over all of the above.
    pub signature: Signature,
}

impl AuditReport {
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

impl Signed for AuditReport {
    const DOMAIN: &'static str = "stratos audit report v1";
    fn write_signed(&self, out: &mut Writer) {
        self.chain.write(out);
        self.gateway.write(out);
        self.epoch.write(out);
        out.u16(self.part);
        out.bytes(&self.secret);
        out.bytes(&self.commitment);
        out.list(&self.lines);
    }
}

impl Wire for AuditReport {
    fn write(&self, out: &mut Writer) {
        self.write_signed(out);
        self.signature.write(out);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            chain: ChainId::read(from)?,
            gateway: GatewayId::read(from)?,
            epoch: Epoch::read(from)?,
            part: from.u16()?,
            secret: from.array()?,
            commitment: from.array()?,
            lines: from.list("audited nodes", AUDIT_LINES_MAX)?,
            signature: Signature::read(from)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::UNSIGNED;

    #[test]
    fn a_report_stands_only_as_signed() {
        let key = SecretKey::from_seed([1; 32]);
        let line = |n: u8| AuditLine {
            node: NodeId([n; 32]),
            ok: 3,
            offline: 2,
            contained: 1,
            failed: 0,
            score: 1_000_000,
        };
        let report = AuditReport {
            chain: ChainId([1; 16]),
            gateway: key.public().into(),
            epoch: Epoch(4),
            part: 0,
            secret: [5; 32],
            commitment: [6; 32],
            lines: (0..15).map(line).collect(),
            signature: UNSIGNED,
        };
        assert!(report.verify().is_err());
        let signed = report.signed(&key);
        assert_eq!(signed.verify(), Ok(()));
        assert_eq!(AuditReport::from_wire(&signed.to_wire()), Ok(signed.clone()));
        assert_eq!(signed.lines.len(), AUDIT_LINES_MAX);
        let mut other = signed;
        other.lines[3].failed = 1;
        assert!(other.verify().is_err());
    }

    #[test]
    fn a_secret_is_the_same_again_and_another_in_each_epoch() {
        let (key, chain) = (SecretKey::from_seed([1; 32]), ChainId([1; 16]));
        assert_eq!(secret(&key, chain, Epoch(1)), secret(&key, chain, Epoch(1)));
        assert_ne!(secret(&key, chain, Epoch(1)), secret(&key, chain, Epoch(2)));
        assert_ne!(
            secret(&key, chain, Epoch(1)),
            secret(&SecretKey::from_seed([2; 32]), chain, Epoch(1))
        );
    }
}
