//! What can fail at once: an operator, a zone, a network; and how crowded they
//! are by the shards of one segment.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use protocol::ledger_api::NodeRecord;
use thiserror::Error;

use super::Rules;

/// The domains of a node, as numbers that are equal where the domains are. A
/// domain that is not named, and the network of one machine, are shared with
/// nobody as far as we know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Domains {
    /// Who runs it.
    pub operator: Option<u64>,
    /// What fails together.
    pub zone: Option<u64>,
    /// Its /24 (IPv4) or /48 (IPv6).
    pub network: Option<u64>,
}

impl Domains {
    /// Those of a node as the ledger lists it.
    pub fn of(record: &NodeRecord) -> Self {
        let named = |name: &str| (!name.is_empty()).then(|| number(name.as_bytes()));
        Self {
            operator: named(&record.operator),
            zone: named(&record.zone),
            network: network(record.addr.ip()),
        }
    }
}

fn network(ip: IpAddr) -> Option<u64> {
    if ip.is_loopback() || ip.is_unspecified() {
        return None;
    }
    match ip.to_canonical() {
        IpAddr::V4(ip) => Some(number(&ip.octets()[..3])),
        IpAddr::V6(ip) => Some(number(&ip.octets()[..6])),
    }
}

/// Two names with one number would only be treated as one domain.
fn number(name: &[u8]) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&blake3::hash(name).as_bytes()[..8]);
    u64::from_le_bytes(eight)
}

/// The domain whose loss must never lose more than `parity` shards: where that
/// cannot be had, nothing is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequireDomains {
    /// Domains are kept apart as far as there are enough.
    #[default]
    None,
    /// Zones.
    Zone,
    /// Operators.
    Operator,
}

impl FromStr for RequireDomains {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "none" => Ok(Self::None),
            "zone" => Ok(Self::Zone),
            "operator" => Ok(Self::Operator),
            _ => Err(format!("{word:?} is none of \"none\", \"zone\", \"operator\"")),
        }
    }
}

impl fmt::Display for RequireDomains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Zone => "zone",
            Self::Operator => "operator",
        })
    }
}

/// The nodes that are there are not far enough apart.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "require_domains = \"{required}\" cannot be kept to: {shards} shards of a segment would be \
     in one {required}, at most {parity} may be; nodes of other {required}s are missing or full"
)]
pub struct Unmet {
    /// What is required.
    pub required: RequireDomains,
    /// Shards in the most crowded one.
    pub shards: usize,
    /// The most that may be.
    pub parity: u8,
}

/// How many shards of one segment are in which domain.
#[derive(Clone, Debug)]
pub(super) struct Crowd {
    parity: u8,
    require: RequireDomains,
    operators: HashMap<Option<u64>, usize>,
    zones: HashMap<Option<u64>, usize>,
    networks: HashMap<Option<u64>, usize>,
}

impl Crowd {
    pub(super) fn new(rules: Rules) -> Self {
        let Rules { parity, require } = rules;
        let (operators, zones, networks) = Default::default();
        Self { parity, require, operators, zones, networks }
    }

    pub(super) fn add(&mut self, domains: &Domains) {
        *self.operators.entry(domains.operator).or_default() += 1;
        *self.zones.entry(domains.zone).or_default() += 1;
        *self.networks.entry(domains.network).or_default() += 1;
    }

    /// How bad one more shard there would be: first whether it breaks what is
    /// required, then how many limits it breaks, then with how many shards it
    /// shares something.
    pub(super) fn cost(&self, domains: &Domains) -> (bool, usize, usize) {
        let shared = |counts: &HashMap<Option<u64>, usize>, domain: Option<u64>| {
            domain.map_or(0, |_| counts.get(&domain).copied().unwrap_or(0))
        };
        let operator = shared(&self.operators, domains.operator);
        let zone = shared(&self.zones, domains.zone);
        let network = shared(&self.networks, domains.network);
        let limit = usize::from(self.parity);
        let broken = usize::from(operator >= limit) + usize::from(zone >= limit);
        let required = match self.require {
            RequireDomains::None => 0,
            RequireDomains::Zone => self.zones.get(&domains.zone).copied().unwrap_or(0),
            RequireDomains::Operator => self.operators.get(&domains.operator).copied().unwrap_or(0),
        };
        (required > 0 && required >= limit, broken, operator + zone + network)
    }

    /// Whether what is required holds. Nodes that name no domain could all be in
    /// the same one, so here they count as if they were.
    pub(super) fn check(&self) -> Result<(), Unmet> {
        let counts = match self.require {
            RequireDomains::None => return Ok(()),
            RequireDomains::Zone => &self.zones,
            RequireDomains::Operator => &self.operators,
        };
        let shards = counts.values().copied().max().unwrap_or(0);
        if shards <= usize::from(self.parity) {
            return Ok(());
        }
        Err(Unmet { required: self.require, shards, parity: self.parity })
    }
}

#[cfg(test)]
mod tests {
    use protocol::NodeId;

    use super::*;

    fn domains(addr: &str, operator: &str, zone: &str) -> Domains {
        let addr = addr.parse().unwrap();
        let (zone, operator) = (zone.into(), operator.into());
        Domains::of(&NodeRecord { node: NodeId([1; 32]), addr, zone, operator })
    }

    #[test]
    fn a_network_is_a_24_or_a_48() {
        let network = |addr| domains(addr, "", "").network;
        assert_eq!(network("10.1.2.3:1"), network("10.1.2.250:2"));
        assert_ne!(network("10.1.2.3:1"), network("10.1.3.3:1"));
        assert_eq!(network("[2001:db8:1:2::1]:1"), network("[2001:db8:1:ffff::1]:1"));
        assert_ne!(network("[2001:db8:1::1]:1"), network("[2001:db8:2::1]:1"));
        assert_eq!(network("[::ffff:10.1.2.3]:1"), network("10.1.2.9:1"));
    }

    #[test]
    fn what_is_not_named_is_shared_with_nobody() {
        assert_eq!(domains("127.0.0.1:1", "", ""), Domains::default());
        let crowd_of_five = |require| {
            let mut crowd = Crowd::new(Rules { parity: 2, require });
            for _ in 0..5 {
                crowd.add(&Domains::default());
            }
            crowd
        };
        let crowd = crowd_of_five(RequireDomains::None);
        assert_eq!(crowd.cost(&Domains::default()), (false, 0, 0));
        assert!(crowd.check().is_ok());
        // Where domains are required, it is not known to be apart.
        let crowd = crowd_of_five(RequireDomains::Zone);
        assert_eq!(crowd.cost(&Domains::default()), (true, 0, 0));
        assert!(crowd.check().is_err());
    }

    #[test]
    fn breaking_a_limit_is_worse_than_sharing() {
        let mut crowd = Crowd::new(Rules { parity: 2, require: RequireDomains::Zone });
        let ann = domains("127.0.0.1:1", "ann", "a");
        crowd.add(&ann);
        assert_eq!(crowd.cost(&ann), (false, 0, 2));
        crowd.add(&ann);
        assert_eq!(crowd.cost(&ann), (true, 2, 4));
        assert_eq!(crowd.cost(&domains("127.0.0.1:1", "bob", "a")), (true, 1, 2));
        assert_eq!(crowd.cost(&domains("127.0.0.1:1", "ann", "b")), (false, 1, 2));
        assert_eq!(crowd.cost(&domains("127.0.0.1:1", "bob", "b")), (false, 0, 0));
    }
}
