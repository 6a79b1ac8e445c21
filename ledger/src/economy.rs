//! The parameters of who is paid when, and what misbehaving costs. Set in the
//! genesis; a genesis of version 1 has none of it, which is [`Economy::NEUTRAL`].

use protocol::price::Amount;
use protocol::wire::{Reader, Wire, WireError, Writer};
use serde::{Deserialize, Serialize};

use crate::genesis::{GenesisError, SHARES};

const DAY_MS: u64 = 24 * 3_600_000;
/// A month, as the ladder of what is held back counts them.
const MONTH_MS: u64 = 30 * DAY_MS;
/// Most tiers of emission.
const EMISSION_TIERS_MAX: usize = 16;

/// How units are paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pricing {
    /// By posted sheets: a receipt's amount is money.
    Posted,
    /// On the curve: a receipt's amount is traffic units, which accounts bought
    /// before, in lots, at the price of that moment.
    Curve {
        /// S at the start, beside the nodes' deposits.
        stake: Amount,
        /// L at the start. Each deposit adds units at the same rate.
        units: Amount,
    },
}

/// How much is minted, and how money is shared, until so much has been minted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmissionTier {
    /// The tier holds while less than this was ever minted for nodes.
    pub until: Amount,
    /// Most that is minted in an epoch; never more than the chain's share.
    pub epoch: Amount,
    /// The shares of nodes, gateways and the chain, in parts of 10,000.
    pub rho: [u16; 3],
}

/// Who is paid when, and what misbehaving costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Economy {
    /// How units are paid for.
    pub pricing: Pricing,
    /// In the order in which they hold. After the last, and when there are none,
    /// the parameters of the network say how money is shared.
    pub emission: Vec<EmissionTier>,
    /// Minted as the bond of each gateway of the genesis.
    pub gateway_bond: Amount,
    /// Least deposits of nodes of tier 1, 2 and 3.
    pub deposit_tiers: [Amount; 3],
    /// What is held back from a node without a deposit, in parts of 10,000, in
    /// its first, second and third [`Economy::held_step_ms`].
    pub held_back: [u16; 3],
    /// How long each step of that ladder lasts.
    pub held_step_ms: u64,
    /// After this long half of what was held back is returned.
    pub held_return_ms: u64,
    /// A node that signed nothing for this long, and did not leave in order,
    /// forfeits what is held back.
    pub offline_ms: u64,
    /// A node that leaves must keep nothing for this long before it gets its
    /// deposit and the rest of what is held back.
    pub exit_ms: u64,
    /// How long a claim of a loss may be refuted.
    pub rebuttal_ms: u64,
    /// Keeping is paid to nodes whose score, in millionths, is at least this.
    pub least_score: u32,
}

impl Economy {
    /// Changes nothing: no deposits, no bonds, nothing held back.
    pub const NEUTRAL: Self = Self {
        pricing: Pricing::Posted,
        emission: Vec::new(),
        gateway_bond: Amount::ZERO,
        deposit_tiers: [Amount::ZERO; 3],
        held_back: [0; 3],
        held_step_ms: 0,
        held_return_ms: 0,
        offline_ms: u64::MAX,
        exit_ms: 0,
        rebuttal_ms: 0,
        least_score: 0,
    };

    /// The usual parameters. With epochs under a minute, which are for
    /// development, waiting times are one epoch.
    pub fn for_epoch(epoch_ms: u64, gateway_bond: Amount) -> Self {
        let is_real = epoch_ms >= crate::genesis::REAL_EPOCH_MS;
        let wait = |real_ms| if is_real { real_ms } else { epoch_ms };
        Self {
            pricing: Pricing::Posted,
            emission: Vec::new(),
            gateway_bond,
            deposit_tiers: [800, 1600, 3200]
                .map(|credits| Amount(credits * protocol::price::CREDIT)),
            held_back: [7500, 5000, 2500],
            held_step_ms: 3 * MONTH_MS,
            held_return_ms: 15 * MONTH_MS,
            offline_ms: 30 * DAY_MS,
            exit_ms: wait(30 * DAY_MS),
            rebuttal_ms: wait(DAY_MS),
            least_score: 960_000,
        }
    }

    /// Whether the parameters make sense together.
    pub fn check(&self) -> Result<(), GenesisError> {
        let is_whole = |rho: &[u16; 3]| {
            rho.iter().map(|&rho| u32::from(rho)).sum::<u32>() == u32::from(SHARES)
        };
        let ascends = self.emission.is_sorted_by(|a, b| a.until < b.until);
        if self.emission.len() > EMISSION_TIERS_MAX || !ascends {
            return Err(GenesisError::Economy("the tiers of emission must ascend, 16 at most"));
        }
        if let Some(tier) = self.emission.iter().find(|tier| !is_whole(&tier.rho)) {
            return Err(GenesisError::Shares(tier.rho));
        }
        if !self.deposit_tiers.is_sorted() {
            return Err(GenesisError::Economy("the tiers of deposits must ascend"));
        }
        if self.held_back.iter().any(|&parts| parts > SHARES) {
            return Err(GenesisError::Economy("no more than all can be held back"));
        }
        match self.pricing {
            Pricing::Curve { stake, units } if stake.0 == 0 || units.0 == 0 => {
                Err(GenesisError::Economy("a curve needs stake and units to begin with"))
            }
            _ => Ok(()),
        }
    }
}

impl Wire for Pricing {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::Posted => out.u8(1),
            Self::Curve { stake, units } => {
                out.u8(2);
                stake.write(out);
                units.write(out);
            }
        }
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        match from.u8()? {
            1 => Ok(Self::Posted),
            2 => Ok(Self::Curve { stake: Amount::read(from)?, units: Amount::read(from)? }),
            value => Err(WireError::Unknown { what: "pricing", value: u64::from(value) }),
        }
    }
}

fn write_parts(parts: [u16; 3], out: &mut Writer) {
    parts.into_iter().for_each(|part| out.u16(part));
}

fn read_parts(from: &mut Reader<'_>) -> Result<[u16; 3], WireError> {
    Ok([from.u16()?, from.u16()?, from.u16()?])
}

impl Wire for EmissionTier {
    fn write(&self, out: &mut Writer) {
        self.until.write(out);
        self.epoch.write(out);
        write_parts(self.rho, out);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { until: Amount::read(from)?, epoch: Amount::read(from)?, rho: read_parts(from)? })
    }
}

impl Wire for Economy {
    fn write(&self, out: &mut Writer) {
        self.pricing.write(out);
        out.list(&self.emission);
        self.gateway_bond.write(out);
        self.deposit_tiers.iter().for_each(|least| least.write(out));
        write_parts(self.held_back, out);
        for ms in [
            self.held_step_ms,
            self.held_return_ms,
            self.offline_ms,
            self.exit_ms,
            self.rebuttal_ms,
        ] {
            out.u64(ms);
        }
        out.u32(self.least_score);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            pricing: Pricing::read(from)?,
            emission: from.list("tiers of emission", EMISSION_TIERS_MAX)?,
            gateway_bond: Amount::read(from)?,
            deposit_tiers: [Amount::read(from)?, Amount::read(from)?, Amount::read(from)?],
            held_back: read_parts(from)?,
            held_step_ms: from.u64()?,
            held_return_ms: from.u64()?,
            offline_ms: from.u64()?,
            exit_ms: from.u64()?,
            rebuttal_ms: from.u64()?,
            least_score: from.u32()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_read_back() {
        let mut economy = Economy::for_epoch(600_000, Amount(7));
        economy.pricing = Pricing::Curve { stake: Amount(1), units: Amount(2) };
        economy.emission =
            vec![EmissionTier { until: Amount(9), epoch: Amount(3), rho: [6000, 2000, 2000] }];
        assert_eq!(economy.check(), Ok(()));
        assert_eq!(Economy::from_wire(&economy.to_wire()), Ok(economy));
    }

    #[test]
    fn parameters_that_make_no_sense_are_refused() {
        let good = Economy::for_epoch(600_000, Amount::ZERO);
        let tier = |until, rho| EmissionTier { until: Amount(until), epoch: Amount(1), rho };
        let bad = [
            Economy { emission: vec![tier(1, [5000, 2000, 2000])], ..good.clone() },
            Economy {
                emission: vec![tier(2, [6000, 2000, 2000]), tier(2, [6000, 2000, 2000])],
                ..good.clone()
            },
            Economy { held_back: [10_001, 0, 0], ..good.clone() },
            Economy { deposit_tiers: [Amount(2), Amount(1), Amount(3)], ..good.clone() },
            Economy {
                pricing: Pricing::Curve { stake: Amount(0), units: Amount(2) },
                ..good.clone()
            },
        ];
        for economy in bad {
            assert!(economy.check().is_err(), "{economy:?}");
        }
    }
}
