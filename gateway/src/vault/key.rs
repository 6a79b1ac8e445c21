//! The recovery key: what a lost gateway needs besides what the nodes hold. A
//! text file for a safe place.
//!
//! ```text
//! -----BEGIN STRATOS RECOVERY KEY-----
//! base64, 64 characters a line
//! -----END STRATOS RECOVERY KEY-----
//! ```
//!
//! In it: version u16 = 1, secret key of the gateway (32), master key (32),
//! ledger (32), address of the ledger (blob), list of at most 1,024 nodes: id
//! (32) and address (blob); then the first 8 bytes of
//! `derive_key("stratos recovery key v1", all before)`. What stands around the
//! block is for people.
//!
//! The keys of the key ring (SSE-KMS), access keys and accounts are in the
//! metadata, sealed by the master key: nothing else need be kept.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use protocol::ledger_api::ChainInfo;
use protocol::wire::{Reader, Wire, WireError, Writer};
use protocol::{GatewayId, LedgerId, NodeId, SecretKey};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::gateway::Gateway;
use crate::object::cipher::Key;

const VERSION: u16 = 1;
const BEGIN: &str = "-----BEGIN STRATOS RECOVERY KEY-----";
const END: &str = "-----END STRATOS RECOVERY KEY-----";
const NODES_MAX: usize = 1024;
const ADDR_MAX: usize = 64;
const SUM: usize = 8;

/// The file with the addresses in the gateway's folder.
pub const PEERS_FILE: &str = "peers.json";

/// Where others are: for the recovery key, which is made while nothing runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peers {
    /// The ledger.
    pub ledger: LedgerId,
    /// Where it listens.
    pub ledger_addr: SocketAddr,
    /// The nodes and where they listen.
    pub nodes: Vec<(NodeId, SocketAddr)>,
}

impl Peers {
    /// Those that the ledger names.
    pub fn of(gateway: &Gateway, info: &ChainInfo) -> Self {
        let mut nodes: Vec<_> = info.nodes.iter().map(|node| (node.node, node.addr)).collect();
        nodes.sort();
        nodes.truncate(NODES_MAX);
        let ledger = gateway.settings.ledger;
        Self { ledger: ledger.id, ledger_addr: ledger.addr, nodes }
    }

    /// Writes them down, unless they are.
    pub fn keep(&self, dir: &Path) -> io::Result<()> {
        let path = dir.join(PEERS_FILE);
        let text = serde_json::to_vec_pretty(self)?;
        if std::fs::read(&path).is_ok_and(|known| known == text) {
            return Ok(());
        }
        protocol::keys::write_private(&path, &text)
    }
}

/// Why there is no recovery key.
#[derive(Debug, Error)]
pub enum KeyError {
    /// A file cannot be read.
    #[error("{0} cannot be read: {1}")]
    Io(PathBuf, io::Error),
    /// A key in the folder is spoilt.
    #[error("{0} does not hold 64 hex digits")]
    Content(PathBuf),
    /// The gateway never heard of its network.
    #[error("{0} cannot be read ({1}): start the gateway once, it writes it down")]
    Peers(PathBuf, String),
    /// The file is no recovery key.
    #[error("there is no block between {BEGIN} and {END}")]
    NoBlock,
    /// It was changed, or lines are missing.
    #[error("its checksum does not fit: lines are missing or were changed")]
    Sum,
    /// A newer program wrote it.
    #[error("it has version {0}, this program knows {VERSION}: use a newer stratos")]
    Version(u16),
    /// Something else is in it.
    #[error("it cannot be read: {0}")]
    Wire(#[from] WireError),
    /// An address is none.
    #[error("it holds an address that is none")]
    Addr,
}

/// All that is needed to recover a gateway from its nodes. Never printed but on
/// purpose.
#[derive(Clone)]
pub struct RecoveryKey {
    secret: Zeroizing<[u8; 32]>,
    master: Zeroizing<[u8; 32]>,
    /// Where others are.
    pub peers: Peers,
}

impl std::fmt::Debug for RecoveryKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "recovery key of {:?}", self.gateway())
    }
}

fn hex_file(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let text = std::fs::read(path).map_err(|error| KeyError::Io(path.into(), error))?;
    let text = Zeroizing::new(text);
    let mut bytes = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim_ascii(), bytes.as_mut())
        .map_err(|_| KeyError::Content(path.into()))?;
    Ok(bytes)
}

fn sum(bytes: &[u8]) -> [u8; SUM] {
    let hash = blake3::derive_key("stratos recovery key v1", bytes);
    hash[..SUM].try_into().expect("a hash is longer")
}

impl RecoveryKey {
    /// That of the gateway in this folder.
    pub fn of_folder(dir: &Path) -> Result<Self, KeyError> {
        let path = dir.join(PEERS_FILE);
        let unknown = |error: io::Error| KeyError::Peers(path.clone(), error.to_string());
        let secret = hex_file(&dir.join("gateway.key"))?;
        let master = hex_file(&dir.join("master.key"))?;
        let text = std::fs::read(&path).map_err(unknown)?;
        let peers = serde_json::from_slice(&text).map_err(|error| unknown(error.into()))?;
        Ok(Self { secret, master, peers })
    }

    /// Whose it is.
    pub fn gateway(&self) -> GatewayId {
        self.secret_key().public().into()
    }

    /// The identity on the network.
    pub fn secret_key(&self) -> SecretKey {
        SecretKey::from_seed(*self.secret)
    }

    /// What seals all else.
    pub fn master(&self) -> Key {
        Key::from_bytes(*self.master)
    }

    /// Writes both keys into a folder, as a gateway keeps them.
    pub fn write_keys(&self, dir: &Path) -> io::Result<()> {
        for (name, key) in [("gateway.key", &self.secret), ("master.key", &self.master)] {
            let text = Zeroizing::new(format!("{}\n", hex::encode(key.as_ref())));
            protocol::keys::write_private(&dir.join(name), text.as_bytes())?;
        }
        Ok(())
    }

    fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Writer::default();
        out.u16(VERSION);
        out.bytes(self.secret.as_ref());
        out.bytes(self.master.as_ref());
        self.peers.ledger.write(&mut out);
        out.blob(self.peers.ledger_addr.to_string().as_bytes());
        out.u32(u32::try_from(self.peers.nodes.len()).expect("a bounded list"));
        for (node, addr) in &self.peers.nodes {
            node.write(&mut out);
            out.blob(addr.to_string().as_bytes());
        }
        let sum = sum(&out.0);
        out.bytes(&sum);
        Zeroizing::new(out.0)
    }

    fn of_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let (content, found) = bytes.split_last_chunk::<SUM>().ok_or(KeyError::Sum)?;
        if sum(content) != *found {
            return Err(KeyError::Sum);
        }
        let mut from = Reader(content);
        let version = from.u16()?;
        if version != VERSION {
            return Err(KeyError::Version(version));
        }
        let secret = Zeroizing::new(from.array()?);
        let master = Zeroizing::new(from.array()?);
        let ledger = LedgerId::read(&mut from)?;
        let addr = |from: &mut Reader<'_>| {
            from.text("an address", ADDR_MAX)?.parse().map_err(|_| KeyError::Addr)
        };
        let ledger_addr = addr(&mut from)?;
        let count = from.u32()? as usize;
        if count > NODES_MAX {
            return Err(WireError::TooMany { what: "nodes", got: count, max: NODES_MAX }.into());
        }
        let mut nodes = Vec::with_capacity(count);
        for _ in 0..count {
            nodes.push((NodeId::read(&mut from)?, addr(&mut from)?));
        }
        from.end()?;
        Ok(Self { secret, master, peers: Peers { ledger, ledger_addr, nodes } })
    }

    /// The text for a safe place.
    pub fn to_text(&self) -> Zeroizing<String> {
        let Peers { ledger, ledger_addr, nodes } = &self.peers;
        let mut text = format!(
            "Stratos recovery key, version {VERSION}\n\
             Whoever has this can read and delete all objects of this gateway and spend its\n\
             credits. Keep it in a safe place, apart from the gateway and from the nodes.\n\n\
             gateway   {}\nledger    {ledger} at {ledger_addr}\nnodes     {} known\n\n\
             If the folder of the gateway is lost: stratos admin recover --help\n\n{BEGIN}\n",
            self.gateway(),
            nodes.len(),
        );
        let block = Zeroizing::new(STANDARD.encode(self.to_bytes().as_slice()));
        for line in block.as_bytes().chunks(64) {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}", String::from_utf8_lossy(line));
        }
        text.push_str(END);
        text.push('\n');
        Zeroizing::new(text)
    }

    /// Reads the text.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let after = text.split_once(BEGIN).ok_or(KeyError::NoBlock)?.1;
        let block = after.split_once(END).ok_or(KeyError::NoBlock)?.0;
        let block: Zeroizing<String> =
            Zeroizing::new(block.chars().filter(|c| !c.is_ascii_whitespace()).collect());
        let bytes = Zeroizing::new(STANDARD.decode(block.as_bytes()).map_err(|_| KeyError::Sum)?);
        Self::of_bytes(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> RecoveryKey {
        let nodes = vec![(NodeId([4; 32]), "127.0.0.1:4433".parse().unwrap())];
        let ledger_addr = "127.0.0.1:4400".parse().unwrap();
        RecoveryKey {
            secret: Zeroizing::new([1; 32]),
            master: Zeroizing::new([2; 32]),
            peers: Peers { ledger: LedgerId([3; 32]), ledger_addr, nodes },
        }
    }

    #[test]
    fn the_recovery_key_bytes_do_not_change() {
        let golden = format!(
            "0100{}{}{}0e0000003132372e302e302e313a3434303001000000{}0e0000003132372e302e302e313a343433334ff9619906b691ac",
            "01".repeat(32),
            "02".repeat(32),
            "03".repeat(32),
            "04".repeat(32),
        );
        assert_eq!(hex::encode(key().to_bytes().as_slice()), golden);
    }

    #[test]
    fn a_recovery_key_reads_back_however_it_is_wrapped() {
        let text = key().to_text();
        let read = RecoveryKey::parse(&format!("> {}", text.replace('\n', "\r\n  "))).unwrap();
        assert_eq!(read.to_bytes(), key().to_bytes());
    }

    #[test]
    fn a_changed_recovery_key_is_refused() {
        let text = key().to_text();
        let lines: Vec<&str> = text.lines().collect();
        let first = lines.iter().position(|line| *line == BEGIN).unwrap() + 1;
        let without: Vec<&str> =
            lines.iter().enumerate().filter(|(n, _)| *n != first).map(|(_, line)| *line).collect();
        assert!(matches!(RecoveryKey::parse(&without.join("\n")), Err(KeyError::Sum)));
        let changed = text.replace(lines[first], &lines[first].to_ascii_uppercase());
        assert!(matches!(RecoveryKey::parse(&changed), Err(KeyError::Sum)));
        assert!(matches!(RecoveryKey::parse("no key"), Err(KeyError::NoBlock)));
    }

    #[test]
    fn a_recovery_key_never_prints_by_itself() {
        assert!(!format!("{:?}", key()).contains("0101"));
    }
}
