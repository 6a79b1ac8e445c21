//! How a node joins: a gateway's operator hands out an [`Invite`], the node
//! shows it to the ledger once, with where it can be reached.
//!
//! An invite as text is `stratos-invite-` and hex digits: long, but it holds all
//! that a node must know of the network, and survives any chat window.

use std::net::SocketAddr;
use std::str::FromStr;

use thiserror::Error;

use crate::ids::{ChainId, GatewayId, LedgerId, NodeId};
use crate::keys::SecretKey;
use crate::sign::{self, BadSignature, Signature, Signed};
use crate::wire::{Reader, Wire, WireError, Writer};

/// Longest zone or operator name.
pub const NAME_MAX: usize = 64;
const ADDR_MAX: usize = 64;
const PREFIX: &str = "stratos-invite-";

/// Lets one node join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    /// The network.
    pub chain: ChainId,
    /// Its ledger.
    pub ledger: LedgerId,
    /// Where the ledger listens.
    pub ledger_addr: SocketAddr,
    /// Who invites.
    pub gateway: GatewayId,
    /// Makes it good for one node.
    pub nonce: [u8; 16],
    /// Milliseconds since 1970 after which the ledger refuses it.
    pub expires_ms: u64,
    /// The gateway's signature.
    pub signature: Signature,
}

impl Invite {
    /// Fills in the signature.
    #[must_use]
    pub fn signed(mut self, gateway: &SecretKey) -> Self {
        self.signature = sign::sign(gateway, &self);
        self
    }

    /// Verifies the inviting gateway's signature.
    pub fn verify(&self) -> Result<(), BadSignature> {
        sign::verify(self.gateway, self, &self.signature)
    }
}

impl Signed for Invite {
    const DOMAIN: &'static str = "stratos invite v1";
    fn write_signed(&self, out: &mut Writer) {
        self.chain.write(out);
        self.ledger.write(out);
        out.blob(self.ledger_addr.to_string().as_bytes());
        self.gateway.write(out);
        out.bytes(&self.nonce);
        out.u64(self.expires_ms);
    }
}

impl Wire for Invite {
    fn write(&self, out: &mut Writer) {
        self.write_signed(out);
        self.signature.write(out);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            chain: ChainId::read(from)?,
            ledger: LedgerId::read(from)?,
            ledger_addr: read_addr(from)?,
            gateway: GatewayId::read(from)?,
            nonce: from.array()?,
            expires_ms: from.u64()?,
            signature: Signature::read(from)?,
        })
    }
}

fn read_addr(from: &mut Reader<'_>) -> Result<SocketAddr, WireError> {
    let text = from.text("address", ADDR_MAX)?;
    text.parse().map_err(|_| WireError::Text("address"))
}

impl std::fmt::Display for Invite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{PREFIX}{}", hex::encode(self.to_wire()))
    }
}

/// The text is not an invite.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("this is not an invite: copy all of the text that `stratos node invite` printed")]
pub struct NotAnInvite;

impl FromStr for Invite {
    type Err = NotAnInvite;

    fn from_str(text: &str) -> Result<Self, NotAnInvite> {
        let digits = text.trim().strip_prefix(PREFIX).ok_or(NotAnInvite)?;
        let bytes = hex::decode(digits).map_err(|_| NotAnInvite)?;
        let invite = Self::from_wire(&bytes).map_err(|_| NotAnInvite)?;
        invite.verify().map_err(|_| NotAnInvite)?;
        Ok(invite)
    }
}

/// A node says where it is. The first time it shows an invite; later, with a
/// higher serial, it may change its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The network.
    pub chain: ChainId,
    /// The node.
    pub node: NodeId,
    /// Where it listens.
    pub addr: SocketAddr,
    /// Machines of one zone fail together.
    pub zone: String,
    /// Who runs it.
    pub operator: String,
    /// A later registration has a higher number.
    pub serial: u64,
    /// Permission to join.
    pub invite: Option<Invite>,
    /// The node's signature.
    pub signature: Signature,
}

impl Registration {
    /// Fills in the signature.
    #[must_use]
    pub fn signed(mut self, node: &SecretKey) -> Self {
        self.signature = sign::sign(node, &self);
        self
    }

    /// Verifies the node's signature.
    pub fn verify(&self) -> Result<(), BadSignature> {
        sign::verify(self.node, self, &self.signature)
    }
}

impl Signed for Registration {
    const DOMAIN: &'static str = "stratos registration v1";
    fn write_signed(&self, out: &mut Writer) {
        self.chain.write(out);
        self.node.write(out);
        out.blob(self.addr.to_string().as_bytes());
        out.blob(self.zone.as_bytes());
        out.blob(self.operator.as_bytes());
        out.u64(self.serial);
        match &self.invite {
            None => out.u8(0),
            Some(invite) => {
                out.u8(1);
                invite.write(out);
            }
        }
    }
}

impl Wire for Registration {
    fn write(&self, out: &mut Writer) {
        self.write_signed(out);
        self.signature.write(out);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            chain: ChainId::read(from)?,
            node: NodeId::read(from)?,
            addr: read_addr(from)?,
            zone: from.text("zone", NAME_MAX)?,
            operator: from.text("operator", NAME_MAX)?,
            serial: from.u64()?,
            invite: match from.u8()? {
                0 => None,
                1 => Some(Invite::read(from)?),
                value => {
                    let value = u64::from(value);
                    return Err(WireError::Unknown { what: "invite marker", value });
                }
            },
            signature: Signature::read(from)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::UNSIGNED;

    fn invite() -> Invite {
        let gateway = SecretKey::from_seed([1; 32]);
        Invite {
            chain: ChainId([1; 16]),
            ledger: LedgerId([2; 32]),
            ledger_addr: "127.0.0.1:7000".parse().unwrap(),
            gateway: gateway.public().into(),
            nonce: [3; 16],
            expires_ms: 4,
            signature: UNSIGNED,
        }
        .signed(&gateway)
    }

    #[test]
    fn an_invite_survives_a_chat_window() {
        let text = format!("  {}\n", invite());
        assert_eq!(text.parse(), Ok(invite()));
        assert_eq!(text[..60].parse::<Invite>(), Err(NotAnInvite));
        let changed = text.replace("0303", "0403");
        assert_eq!(changed.parse::<Invite>(), Err(NotAnInvite));
    }

    #[test]
    fn a_registration_reads_back_and_verifies() {
        let node = SecretKey::from_seed([5; 32]);
        let registration = Registration {
            chain: ChainId([1; 16]),
            node: node.public().into(),
            addr: "[::1]:4433".parse().unwrap(),
            zone: "z".into(),
            operator: "ann".into(),
            serial: 1,
            invite: Some(invite()),
            signature: UNSIGNED,
        }
        .signed(&node);
        assert_eq!(Registration::from_wire(&registration.to_wire()), Ok(registration.clone()));
        assert_eq!(registration.verify(), Ok(()));
        assert!(Registration { serial: 2, ..registration }.verify().is_err());
    }
}
