//! How what accounts paid in an epoch is shared. Pure integers; every
//! remainder has a name.
//!
//! ```text
//! D_i  what node i earned by its receipts             D = sum of D_i
//! G_i  = floor(D_i * rho_resource / 10000)            T_i = ceil(G_i * tax / 10000)    pay_i = G_i - T_i
//! G_M  = floor(floor(D * rho_meta / 10000) / m)       for each of the m live gateways, taxed alike
//! C    = D - sum(G_i) - m * G_M                       treasury: the chain's share and every remainder
//! E    = min(tier_emission, C)                        minted for the nodes by D_i, rounded down
//! ```
//!
//! E never exceeds C, so no coalition of payers, gateways and nodes takes out
//! more than it pays in. A node's figures are those of all its receipts; they
//! are split among its gateways afterwards, so that the lines add up. Of a line's
//! pay the part for keeping what audits say is not there goes to the repair
//! fund, and mints nothing. Not here: which receipts count (`state`).

use std::collections::{BTreeMap, BTreeSet};

use protocol::{GatewayId, NodeId};

use crate::account::Party;
use crate::economy::Economy;
use crate::fraction::{apportion, part, share, share_up};
use crate::genesis::Params;

/// By what measure an epoch's money is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// The nodes' share, in parts of 10,000.
    pub rho_resource: u16,
    /// The gateways' share.
    pub rho_meta: u16,
    /// What goes from these shares to the repair fund.
    pub tax: u16,
    /// Most that is minted.
    pub emission: u128,
}

impl Rates {
    /// Those of the tier that holds when so much was ever minted for nodes; of
    /// the network's parameters after the last tier.
    pub fn of(params: &Params, economy: &Economy, minted: u128) -> Self {
        let tier = economy.emission.iter().find(|tier| minted < tier.until.0);
        let (rho, emission) = match tier {
            Some(tier) => (tier.rho, tier.epoch),
            None => {
                ([params.rho_resource, params.rho_meta, params.rho_chain], params.tier_emission)
            }
        };
        let [rho_resource, rho_meta, _] = rho;
        Self { rho_resource, rho_meta, tax: params.tax, emission: emission.0 }
    }
}

/// What one gateway's receipts of one node come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// What was paid for them.
    pub debited: u128,
    /// The part of it for keeping what audits say is not there.
    pub lost: u128,
    /// The gateway could not pay all of it, or lied: it mints nothing.
    pub barren: bool,
}

impl Line {
    /// What is minted for, if anything is.
    fn minting(&self) -> u128 {
        if self.barren { 0 } else { self.debited - self.lost }
    }
}

/// The lines of an epoch. Sorted by node, whose figures come of all its lines.
pub type Lines = BTreeMap<(NodeId, GatewayId), Line>;

/// What one party gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payout {
    /// Who.
    pub party: Party,
    /// After tax, and without what is withheld.
    pub pay: u128,
    /// What goes to the repair fund as tax.
    pub tax: u128,
    /// What goes to the repair fund because audits failed.
    pub withheld: u128,
    /// Newly minted, untaxed.
    pub emission: u128,
}

/// What a node gets through one gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Who.
    pub node: NodeId,
    /// Through whom.
    pub gateway: GatewayId,
    /// What was paid for its receipts.
    pub debited: u128,
    /// Its share of that, all of the following but the emission.
    pub gross: u128,
    /// What goes to the repair fund as tax.
    pub tax: u128,
    /// What goes to the repair fund because audits failed.
    pub withheld: u128,
    /// Newly minted.
    pub emission: u128,
}

/// How an epoch's money is shared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    /// In ascending order of party, each once.
    pub payouts: Vec<Payout>,
    /// What the nodes' payouts are made of.
    pub shares: Vec<Share>,
    /// What accounts paid: D, and what its division among receipts left over.
    pub debited: u128,
    /// Sum of what parties get of it.
    pub paid: u128,
    /// Sum of the taxes.
    pub tax: u128,
    /// Sum of what is withheld.
    pub withheld: u128,
    /// C: the chain's share and every rounding remainder.
    pub treasury: u128,
    /// Sum of what is minted.
    pub emission: u128,
}

/// Shares what was paid for the receipts of one epoch, with at most `mintable`
/// minted. `spare` is what was paid besides, and goes to the treasury. `None`
/// when the sum cannot be counted, which no covered epoch reaches.
pub fn settle(
    rates: &Rates,
    lines: &Lines,
    spare: u128,
    live: &BTreeSet<GatewayId>,
    mintable: u128,
) -> Option<Settlement> {
    let earned = lines.values().try_fold(0u128, |sum, line| sum.checked_add(line.debited))?;
    let debited = earned.checked_add(spare)?;
    let by_node = lines_by_node(lines);
    let each = match live.len() as u128 {
        0 => 0,
        m => share(earned, rates.rho_meta) / m,
    };
    let gross_of = |of: &[(GatewayId, Line)]| share(debited_of(of), rates.rho_resource);
    let shared: u128 = by_node.values().map(|of| gross_of(of)).sum();
    // The shares are at most the whole, since their parts are at most 10000.
    let treasury = debited - shared - each * live.len() as u128;
    let mint = Mint { most: rates.emission.min(treasury).min(mintable), earned };

    let mut settlement = Settlement { debited, treasury, ..Settlement::default() };
    for (node, of) in by_node {
        settlement.add_node(node, &of, gross_of(&of), rates.tax, mint);
    }
    for &gateway in live {
        let tax = share_up(each, rates.tax);
        let party = Party::Gateway(gateway);
        settlement.add(Payout { party, pay: each - tax, tax, withheld: 0, emission: 0 });
    }
    assert_eq!(
        settlement.paid + settlement.tax + settlement.withheld + settlement.treasury,
        debited,
        "settlement neither makes nor loses money"
    );
    assert!(settlement.emission <= treasury, "no more is minted than the treasury takes");
    Some(settlement)
}

/// How much is minted for how much.
#[derive(Clone, Copy)]
struct Mint {
    /// E.
    most: u128,
    /// D.
    earned: u128,
}

impl Settlement {
    fn add(&mut self, payout: Payout) {
        self.paid += payout.pay;
        self.tax += payout.tax;
        self.withheld += payout.withheld;
        self.emission += payout.emission;
        self.payouts.push(payout);
    }

    fn add_node(
        &mut self,
        node: NodeId,
        of: &[(GatewayId, Line)],
        gross: u128,
        tax: u16,
        mint: Mint,
    ) {
        let debits: Vec<u128> = of.iter().map(|(_, line)| line.debited).collect();
        let kept: Vec<u128> = of.iter().map(|(_, line)| line.minting()).collect();
        let tax = share_up(gross, tax);
        let emission = match mint.earned {
            0 => 0,
            earned => part(mint.most, kept.iter().sum(), earned),
        };
        // Pay and tax are split, not the gross: so no line's tax exceeds it. In
        // each the largest line takes what rounding leaves over.
        let pays = apportion(gross - tax, &debits);
        let taxes = apportion(tax, &debits);
        let emissions = apportion(emission, &kept);
        let mut withheld = 0;
        for (at, &(gateway, Line { debited, lost, .. })) in of.iter().enumerate() {
            let lost = if debited == 0 { 0 } else { part(pays[at], lost, debited) };
            withheld += lost;
            self.shares.push(Share {
                node,
                gateway,
                debited,
                gross: pays[at] + taxes[at],
                tax: taxes[at],
                withheld: lost,
                emission: emissions[at],
            });
        }
        let pay = gross - tax - withheld;
        self.add(Payout { party: Party::Node(node), pay, tax, withheld, emission });
    }
}

fn lines_by_node(lines: &Lines) -> BTreeMap<NodeId, Vec<(GatewayId, Line)>> {
    let mut by_node = BTreeMap::<_, Vec<_>>::new();
    for (&(node, gateway), &line) in lines {
        assert!(line.lost <= line.debited, "what is lost is a part of what was paid");
        by_node.entry(node).or_default().push((gateway, line));
    }
    by_node
}

/// D_i.
fn debited_of(lines: &[(GatewayId, Line)]) -> u128 {
    lines.iter().map(|(_, line)| line.debited).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::price::Amount;

    use super::*;
    use crate::economy::EmissionTier;

    fn params() -> Params {
        Params::for_epoch(1000, Amount::ZERO)
    }

    fn rates() -> Rates {
        Rates::of(&params(), &Economy::NEUTRAL, 0)
    }

    /// Nodes in ascending order, by what each earned through the first gateway.
    fn nodes(earned: &[u128]) -> Lines {
        let id = |n: usize| NodeId([u8::try_from(n).unwrap(); 32]);
        let line = |&debited| Line { debited, ..Line::default() };
        let gateway = GatewayId([0; 32]);
        earned.iter().map(line).enumerate().map(|(n, line)| ((id(n), gateway), line)).collect()
    }

    fn gateways(m: u8) -> BTreeSet<GatewayId> {
        (0..m).map(|n| GatewayId([n; 32])).collect()
    }

    #[test]
    fn the_split_is_60_20_20_less_a_hundredth() {
        let settled =
            settle(&rates(), &nodes(&[1_000_000, 0]), 0, &gateways(2), u128::MAX).unwrap();
        let pays: Vec<u128> = settled.payouts.iter().map(|payout| payout.pay).collect();
        assert_eq!(pays, [594_000, 0, 99_000, 99_000]);
        assert_eq!((settled.tax, settled.treasury), (8_000, 200_000));
    }

    #[test]
    fn remainders_go_to_the_treasury_and_tax_rounds_up() {
        let settled = settle(&rates(), &nodes(&[7]), 2, &gateways(3), u128::MAX).unwrap();
        // G = 4, taxed 1; G_M = floor(1 / 3) = 0; C = 7 - 4 and what is spare.
        assert_eq!(settled.payouts[0].pay, 3);
        assert_eq!((settled.paid, settled.tax, settled.treasury), (3, 1, 5));
    }

    #[test]
    fn an_empty_epoch_settles_to_nothing() {
        assert_eq!(
            settle(&rates(), &Lines::new(), 0, &gateways(0), u128::MAX),
            Some(Settlement::default())
        );
    }

    #[test]
    fn what_cannot_be_counted_is_not_settled() {
        assert_eq!(settle(&rates(), &nodes(&[u128::MAX, 1]), 0, &gateways(1), u128::MAX), None);
        assert_eq!(settle(&rates(), &nodes(&[u128::MAX]), 1, &gateways(1), u128::MAX), None);
        let settled = settle(&rates(), &nodes(&[u128::MAX]), 0, &gateways(1), u128::MAX).unwrap();
        assert_eq!(settled.debited, u128::MAX);
    }

    #[test]
    fn what_is_minted_follows_the_traffic_and_never_exceeds_the_treasury() {
        let rates = Rates { emission: 1000, ..rates() };
        let settled = settle(&rates, &nodes(&[900, 100]), 0, &gateways(1), u128::MAX).unwrap();
        assert_eq!(settled.treasury, 200);
        let minted: Vec<u128> = settled.payouts.iter().map(|payout| payout.emission).collect();
        assert_eq!(minted, [180, 20, 0]);
    }

    #[test]
    fn a_tier_holds_until_so_much_was_minted() {
        let tier =
            |until, epoch, rho| EmissionTier { until: Amount(until), epoch: Amount(epoch), rho };
        let emission = vec![tier(100, 8, [6000, 2000, 2000]), tier(150, 4, [7000, 1000, 2000])];
        let economy = Economy { emission, ..Economy::NEUTRAL };
        let at = |minted| {
            let rates = Rates::of(&params(), &economy, minted);
            (rates.emission, rates.rho_resource, rates.rho_meta)
        };
        assert_eq!([at(0), at(99)], [(8, 6000, 2000); 2]);
        assert_eq!([at(100), at(149)], [(4, 7000, 1000); 2]);
        assert_eq!(at(150), (0, 6000, 2000));
    }

    #[test]
    fn keeping_what_is_not_there_is_not_paid() {
        let mut lines = nodes(&[1_000, 1_000]);
        lines.entry((NodeId([0; 32]), GatewayId([0; 32]))).and_modify(|line| line.lost = 250);
        let rates = Rates { emission: 400, ..rates() };
        let settled = settle(&rates, &lines, 0, &gateways(0), u128::MAX).unwrap();
        // G = 600, taxed 6; a quarter of the 594 is withheld, rounded down.
        let got = |n: usize| {
            let Payout { pay, tax, withheld, emission, .. } = settled.payouts[n];
            (pay, tax, withheld, emission)
        };
        assert_eq!(got(0), (446, 6, 148, 150));
        assert_eq!(got(1), (594, 6, 0, 200));
        assert_eq!(settled.withheld, 148);
    }

    proptest! {
        #[test]
        fn every_settlement_conserves(
            earned in prop::collection::vec((0u128..u128::MAX / 256, 0u8..4, 0u8..3, any::<u8>()), 0..20),
            m in 0u8..5,
            emission in any::<u128>(),
            tax in 0u16..=10_000,
            spare in 0u128..1_000,
        ) {
            let rates = Rates { emission, tax, ..rates() };
            let mut lines = Lines::new();
            for (debited, node, gateway, lost) in earned {
                let lost = part(debited, lost.into(), 255);
                let line = Line { debited, lost, barren: gateway == 2 };
                lines.insert((NodeId([node; 32]), GatewayId([gateway; 32])), line);
            }
            let settled = settle(&rates, &lines, spare, &gateways(m), u128::MAX).unwrap();
            let debited: u128 = lines.values().map(|line| line.debited).sum();
            prop_assert_eq!(settled.debited, debited + spare);
            let of = |payout: &Payout| payout.pay + payout.tax + payout.withheld;
            let paid: u128 = settled.payouts.iter().map(of).sum();
            prop_assert_eq!(paid + settled.treasury, settled.debited);
            prop_assert!(settled.emission <= settled.treasury);
            // The lines of a node add up to what it is paid.
            prop_assert_eq!(settled.shares.len(), lines.len());
            for payout in &settled.payouts {
                let Party::Node(node) = payout.party else { continue };
                let shares = settled.shares.iter().filter(|share| share.node == node);
                let sum = shares.fold([0; 4], |[gross, tax, withheld, emission], share| {
                    assert!(share.tax + share.withheld <= share.gross);
                    assert_eq!(lines[&(share.node, share.gateway)].debited, share.debited);
                    [
                        gross + share.gross,
                        tax + share.tax,
                        withheld + share.withheld,
                        emission + share.emission,
                    ]
                });
                prop_assert_eq!(sum, [of(payout), payout.tax, payout.withheld, payout.emission]);
            }
        }
    }
}
