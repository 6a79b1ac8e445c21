//! How a network begins: who orders its entries, which gateways it has, how
//! long things take, how money is shared, and what things cost.
//!
//! The genesis never changes. Its hash is what the first block builds on, so
//! every later hash stands for it too.

use protocol::ledger_api::MEMBERS_MAX;
use protocol::price::{Amount, PriceSheet, Prices, SignedPriceSheet};
use protocol::sign::{self, Signature};
use protocol::wire::{Reader, Wire, WireError, Writer};
use protocol::{ChainId, Epoch, GatewayId, LedgerId, SecretKey};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::economy::Economy;
use crate::hash::{Hash, hex_bytes};

/// Parts that shares are counted in: 10,000 is all.
pub const SHARES: u16 = 10_000;

/// Epochs of at least this length get the waiting times of a real network.
pub(crate) const REAL_EPOCH_MS: u64 = 60_000;
const HOUR_MS: u64 = 3_600_000;
/// Epochs after which what was paid may be withdrawn.
const MATURITY_EPOCHS: u64 = 2016;

/// Without an economy.
const VERSION_1: u16 = 1;
/// With an economy and a set of validators.
const VERSION_2: u16 = 2;
/// Most validators.
const VALIDATORS_MAX: usize = 64;

/// What things cost when nobody says otherwise, in atto-credits for one unit.
///
/// A credit is 10^18 atto-credits, so a GiB uploaded to nodes costs about
/// 0.0021 credits, a GiB downloaded 0.011, a GiB kept for 30 days 0.0056, and
/// a million requests 0.4. Downloads dominate, as they do in what the machines
/// behind them cost; audits and repair are priced like uploads.
pub const DEFAULT_PRICES: Prices = Prices {
    put_bytes: 2_000_000,
    get_bytes: 10_000_000,
    repair_bytes: 2_000_000,
    audit_bytes: 2_000_000,
    stored_byte_seconds: 2,
    compute_fuel: 1_000,
    operations: 400_000_000_000,
};

/// How long things take and how money is shared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// How long an epoch is open.
    pub epoch_ms: u64,
    /// How long a closed epoch takes receipts.
    pub receipts_ms: u64,
    /// How long it then takes usage statements.
    pub statements_ms: u64,
    /// How long a sealed epoch may be challenged.
    pub challenge_ms: u64,
    /// How long after that it matures.
    pub maturity_ms: u64,
    /// The nodes' share, in parts of 10,000.
    pub rho_resource: u16,
    /// The gateways' share.
    pub rho_meta: u16,
    /// The treasury's share.
    pub rho_chain: u16,
    /// What goes from nodes' and gateways' shares to the repair fund.
    pub tax: u16,
    /// Most that is minted for the nodes of one epoch; never more than the
    /// treasury takes in it.
    pub tier_emission: Amount,
    /// Minted for each account that is opened.
    pub opening_balance: Amount,
}

impl Params {
    /// The usual parameters for epochs of this length. Epochs under a minute
    /// are for development: every waiting time is one epoch.
    pub fn for_epoch(epoch_ms: u64, opening_balance: Amount) -> Self {
        let real = epoch_ms >= REAL_EPOCH_MS;
        let wait = |real_ms| if real { real_ms } else { epoch_ms };
        Self {
            epoch_ms,
            receipts_ms: wait(HOUR_MS),
            statements_ms: wait(HOUR_MS),
            challenge_ms: wait(24 * HOUR_MS),
            maturity_ms: wait(epoch_ms.saturating_mul(MATURITY_EPOCHS)),
            rho_resource: 6000,
            rho_meta: 2000,
            rho_chain: 2000,
            tax: 100,
            tier_emission: Amount::ZERO,
            opening_balance,
        }
    }

    fn check(&self) -> Result<(), GenesisError> {
        if self.epoch_ms == 0 {
            return Err(GenesisError::EpochLength);
        }
        let rhos = [self.rho_resource, self.rho_meta, self.rho_chain];
        if rhos.iter().map(|&rho| u32::from(rho)).sum::<u32>() != u32::from(SHARES) {
            return Err(GenesisError::Shares(rhos));
        }
        if self.tax > SHARES {
            return Err(GenesisError::Tax(self.tax));
        }
        Ok(())
    }
}

/// Why a network cannot begin like this.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum GenesisError {
    /// An epoch must last.
    #[error("an epoch must last at least a millisecond")]
    EpochLength,
    /// The shares are not the whole.
    #[error("the shares {0:?} must add up to 10000")]
    Shares([u16; 3]),
    /// More tax than there is.
    #[error("a tax of {0} parts of 10000 is more than all")]
    Tax(u16),
    /// Too many gateways, or one twice, or out of order.
    #[error("gateways must be listed once each, in ascending order, at most {MEMBERS_MAX}")]
    Gateways,
    /// A key nobody can hold.
    #[error("{0} is not a usable Ed25519 public key")]
    Key(String),
    /// Parameters of the economy that contradict each other.
    #[error("{0}")]
    Economy(&'static str),
    /// The sequencer is no validator, or the list is not one.
    #[error("validators must be listed once each, in ascending order, the sequencer among them")]
    Validators,
    /// The price sheet is not the sequencer's.
    #[error("the price sheet is not signed by the sequencer")]
    Prices,
}

/// The beginning of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// Its name: random.
    pub chain: ChainId,
    /// Who orders entries: one of the validators.
    pub sequencer: LedgerId,
    /// Its gateways, in ascending order.
    pub gateways: Vec<GatewayId>,
    /// When epoch 0 began, in milliseconds since 1970.
    pub time_ms: u64,
    /// How long things take and how money is shared.
    pub params: Params,
    /// What things cost.
    pub prices: Prices,
    /// The sequencer's signature over the price sheet.
    #[serde(with = "signature_hex")]
    pub prices_signature: Signature,
    /// Whose signatures may make a block final, in ascending order. None are
    /// listed in version 1, where the sequencer is the only one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub validators: Vec<LedgerId>,
    /// Who is paid when, and what misbehaving costs. Not in version 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub economy: Option<Economy>,
}

/// A signature as hex digits in JSON.
pub(crate) mod signature_hex {
    use protocol::sign::Signature;
    use serde::{Deserializer, Serializer};

    use super::hex_bytes;

    pub(crate) fn serialize<S: Serializer>(value: &Signature, to: S) -> Result<S::Ok, S::Error> {
        hex_bytes::serialize(&value.0, to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Signature, D::Error> {
        hex_bytes::deserialize(from).map(Signature)
    }
}

impl Genesis {
    /// The beginning of a new network.
    pub fn new(
        chain: ChainId,
        key: &SecretKey,
        mut gateways: Vec<GatewayId>,
        time_ms: u64,
        params: Params,
        economy: Economy,
        prices: Prices,
    ) -> Result<Self, GenesisError> {
        gateways.sort_unstable();
        gateways.dedup();
        let prices_signature = posted(chain, prices).signed(key).signature;
        let sequencer = key.public().into();
        let genesis = Self {
            chain,
            sequencer,
            gateways,
            time_ms,
            params,
            prices,
            prices_signature,
            validators: vec![sequencer],
            economy: Some(economy),
        };
        genesis.check()?;
        Ok(genesis)
    }

    /// Whether the parts make sense together. Asked of every genesis that
    /// comes from outside.
    pub fn check(&self) -> Result<(), GenesisError> {
        self.params.check()?;
        if self.gateways.len() > MEMBERS_MAX || !self.gateways.is_sorted_by(|a, b| a < b) {
            return Err(GenesisError::Gateways);
        }
        for &gateway in &self.gateways {
            if !sign::is_sound_key(gateway) {
                return Err(GenesisError::Key(gateway.to_string()));
            }
        }
        if !sign::is_sound_key(self.sequencer) {
            return Err(GenesisError::Key(self.sequencer.to_string()));
        }
        self.check_validators()?;
        self.economy().check()?;
        self.check_shares()?;
        self.price_sheet().verify(self.sequencer).map_err(|_| GenesisError::Prices)
    }

    /// Where gateways have a bond, it must cost more than it brings to make up
    /// receipts that one cannot pay: of four parts of bond and one that is
    /// diverted, own nodes and another own gateway get back no more than four.
    fn check_shares(&self) -> Result<(), GenesisError> {
        if self.economy().gateway_bond == Amount::ZERO {
            return Ok(());
        }
        let usual = [self.params.rho_resource, self.params.rho_meta, self.params.rho_chain];
        let tiers = self.economy().emission.iter().map(|tier| tier.rho);
        let pays = |[resource, meta, _]: &[u16; 3]| {
            5 * u32::from(*resource) + 4 * u32::from(*meta) > 4 * u32::from(SHARES)
        };
        match tiers.chain([usual]).find(pays) {
            Some(_) => Err(GenesisError::Economy(
                "with a bond, five times the nodes' share and four times the gateways' must not \
                 exceed four times the whole",
            )),
            None => Ok(()),
        }
    }

    fn check_validators(&self) -> Result<(), GenesisError> {
        if self.economy.is_none() {
            return if self.validators.is_empty() { Ok(()) } else { Err(GenesisError::Validators) };
        }
        let listed = self.validators.len() <= VALIDATORS_MAX
            && self.validators.is_sorted_by(|a, b| a < b)
            && self.validators.contains(&self.sequencer);
        if !listed {
            return Err(GenesisError::Validators);
        }
        match self.validators.iter().find(|key| !sign::is_sound_key(**key)) {
            Some(key) => Err(GenesisError::Key(key.to_string())),
            None => Ok(()),
        }
    }

    /// Whose signatures may make a block final.
    pub fn validators(&self) -> &[LedgerId] {
        if self.validators.is_empty() {
            std::slice::from_ref(&self.sequencer)
        } else {
            &self.validators
        }
    }

    /// Who is paid when, and what misbehaving costs.
    pub fn economy(&self) -> &Economy {
        static NEUTRAL: Economy = Economy::NEUTRAL;
        self.economy.as_ref().unwrap_or(&NEUTRAL)
    }

    /// Whether gateways answer for what they state and nodes for what they
    /// keep. Ledgers that began before there was an economy replay as they were.
    pub fn is_answerable(&self) -> bool {
        self.economy.is_some()
    }

    /// What the first block builds on.
    pub fn hash(&self) -> Hash {
        Hash(blake3::derive_key("stratos ledger genesis v1", &self.to_wire()))
    }

    /// The posted prices, as every voucher names them.
    pub fn price_sheet(&self) -> SignedPriceSheet {
        SignedPriceSheet {
            sheet: posted(self.chain, self.prices),
            signature: self.prices_signature,
        }
    }

    /// The first epoch.
    pub const FIRST_EPOCH: Epoch = Epoch(0);
}

/// Prices that hold from the first epoch on, for good.
fn posted(chain: ChainId, prices: Prices) -> PriceSheet {
    PriceSheet { chain, from: Genesis::FIRST_EPOCH.0, until: u64::MAX, prices }
}

impl Wire for Params {
    fn write(&self, out: &mut Writer) {
        for ms in [
            self.epoch_ms,
            self.receipts_ms,
            self.statements_ms,
            self.challenge_ms,
            self.maturity_ms,
        ] {
            out.u64(ms);
        }
        for share in [self.rho_resource, self.rho_meta, self.rho_chain, self.tax] {
            out.u16(share);
        }
        self.tier_emission.write(out);
        self.opening_balance.write(out);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            epoch_ms: from.u64()?,
            receipts_ms: from.u64()?,
            statements_ms: from.u64()?,
            challenge_ms: from.u64()?,
            maturity_ms: from.u64()?,
            rho_resource: from.u16()?,
            rho_meta: from.u16()?,
            rho_chain: from.u16()?,
            tax: from.u16()?,
            tier_emission: Amount::read(from)?,
            opening_balance: Amount::read(from)?,
        })
    }
}

impl Wire for Genesis {
    fn write(&self, out: &mut Writer) {
        out.u16(if self.economy.is_some() { VERSION_2 } else { VERSION_1 });
        self.chain.write(out);
        self.sequencer.write(out);
        out.list(&self.gateways);
        out.u64(self.time_ms);
        self.params.write(out);
        self.prices.write(out);
        self.prices_signature.write(out);
        if let Some(economy) = &self.economy {
            out.list(&self.validators);
            economy.write(out);
        }
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let version = from.u16()?;
        if version != VERSION_1 && version != VERSION_2 {
            let value = u64::from(version);
            return Err(WireError::Unknown { what: "genesis version", value });
        }
        let mut genesis = Self {
            chain: ChainId::read(from)?,
            sequencer: LedgerId::read(from)?,
            gateways: from.list("gateways", MEMBERS_MAX)?,
            time_ms: from.u64()?,
            params: Params::read(from)?,
            prices: Prices::read(from)?,
            prices_signature: Signature::read(from)?,
            validators: Vec::new(),
            economy: None,
        };
        if version == VERSION_2 {
            genesis.validators = from.list("validators", VALIDATORS_MAX)?;
            genesis.economy = Some(Economy::read(from)?);
        }
        Ok(genesis)
    }
}
