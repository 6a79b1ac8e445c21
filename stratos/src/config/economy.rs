//! The table `[economy]` of ledger.toml: what a network begins with.

use std::time::Duration;

use ledger::{Economy, EmissionTier, Pricing};
use protocol::price::{Amount, CREDIT};
use serde::{Deserialize, Serialize};

use crate::config::{Checker, ConfigError, quoted};

/// `[economy]` as it is written. Fixed at the first start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is explained in deploy/ledger.toml")]
pub struct EconomyTable {
    pub pricing: String,
    pub curve_stake_credits: u64,
    pub curve_units: String,
    pub gateway_bond_credits: u64,
    pub deposit_tiers_credits: [u64; 3],
    pub held_back_percent: [u64; 3],
    pub emission: Vec<TierTable>,
}

/// A tier of emission as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is explained in deploy/ledger.toml")]
pub struct TierTable {
    pub until_credits: u64,
    pub epoch_credits: u64,
    pub shares: [u16; 3],
}

impl Default for EconomyTable {
    fn default() -> Self {
        Self {
            pricing: "posted".to_owned(),
            curve_stake_credits: 1000,
            curve_units: (1000 * CREDIT).to_string(),
            gateway_bond_credits: 0,
            deposit_tiers_credits: [800, 1600, 3200],
            held_back_percent: [75, 50, 25],
            emission: Vec::new(),
        }
    }
}

fn credits(credits: u64) -> Amount {
    Amount(u128::from(credits) * CREDIT)
}

impl EconomyTable {
    /// Checks what was written.
    pub(super) fn check(
        &self,
        checker: Checker<'_>,
        epoch: Duration,
    ) -> Result<Economy, ConfigError> {
        let epoch_ms = u64::try_from(epoch.as_millis()).unwrap_or(u64::MAX);
        let mut economy = Economy::for_epoch(epoch_ms, credits(self.gateway_bond_credits));
        economy.pricing = self.pricing(checker)?;
        economy.deposit_tiers = self.deposit_tiers_credits.map(credits);
        for (parts, percent) in economy.held_back.iter_mut().zip(self.held_back_percent) {
            let percent = checker.range("economy.held_back_percent", percent, 0, 100)?;
            *parts = u16::try_from(percent * 100).unwrap_or(u16::MAX);
        }
        economy.emission = self.emission.iter().map(TierTable::tier).collect();
        match economy.check() {
            Ok(()) => Ok(economy),
            Err(error) => checker.refuse("economy", "[economy]", error.to_string()),
        }
    }

    fn pricing(&self, checker: Checker<'_>) -> Result<Pricing, ConfigError> {
        match self.pricing.as_str() {
            "posted" => Ok(Pricing::Posted),
            "curve" => {
                let units = checker.text(
                    "economy.curve_units",
                    &self.curve_units,
                    "write a whole number of units, in quotes",
                )?;
                let stake = credits(self.curve_stake_credits);
                Ok(Pricing::Curve { stake, units: Amount(units) })
            }
            other => checker.refuse(
                "economy.pricing",
                quoted(other),
                "is unknown: write \"posted\" or \"curve\"",
            ),
        }
    }
}

impl TierTable {
    fn tier(&self) -> EmissionTier {
        EmissionTier {
            until: credits(self.until_credits),
            epoch: credits(self.epoch_credits),
            rho: self.shares,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn check(table: EconomyTable) -> Result<Economy, String> {
        let checker = Checker { path: Path::new("ledger.toml") };
        table.check(checker, Duration::from_secs(600)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_usual_economy_is_the_default() {
        let economy = check(EconomyTable::default()).expect("good");
        assert_eq!(economy, Economy::for_epoch(600_000, Amount::ZERO));
    }

    #[test]
    fn a_curve_and_tiers_are_read_and_nonsense_is_named() {
        let curve = EconomyTable { pricing: "curve".into(), ..EconomyTable::default() };
        let economy = check(curve.clone()).expect("good");
        assert_eq!(
            economy.pricing,
            Pricing::Curve { stake: Amount(1000 * CREDIT), units: Amount(1000 * CREDIT) }
        );
        let refused = |table: EconomyTable, says: &str| {
            let error = check(table).unwrap_err();
            assert!(error.contains(says), "{error}");
        };
        refused(EconomyTable { curve_units: "x".into(), ..curve.clone() }, "curve_units");
        refused(EconomyTable { curve_units: "0".into(), ..curve }, "a curve needs stake and units");
        let usual = EconomyTable::default();
        refused(EconomyTable { pricing: "free".into(), ..usual.clone() }, "is unknown");
        refused(EconomyTable { held_back_percent: [101, 0, 0], ..usual.clone() }, "0 to 100");
        let tier = TierTable { until_credits: 1, epoch_credits: 1, shares: [1, 2, 3] };
        refused(EconomyTable { emission: vec![tier], ..usual }, "must add up to 10000");
    }
}
