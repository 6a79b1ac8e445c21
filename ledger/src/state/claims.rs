//! Claims that a node lost a shard, and what becomes of them.
//!
//! Anyone who has the bytes refutes a claim by showing them, and the gateway
//! pays what the bytes cost when one asks for them. It pays no more, since it may
//! be honest: the node can have failed the audit on purpose. It claims nothing
//! that it could not pay so. A claim that nobody refutes in time costs the node
//! the repair cost and the put reward of the shard.
//!
//! A shard that never was cannot be shown, so a gateway can lie about one. What
//! bounds the lie: all its claims against a node are together about no more
//! bytes than its paid receipts say were put there, one of a shard at a time, only
//! while the epoch is not mature, and they take no more from the node than it was paid
//! for that gateway's receipts. What makes it pointless: the money goes to the
//! repair fund, and nothing comes back to who claimed, whatever its repairs cost.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use protocol::claim::{LossClaim, LossRebuttal};
use protocol::price::{Amount, Counters, Prices};
use protocol::wire::{Wire, Writer};
use protocol::{Epoch, GatewayId, NodeId, ShardId};

use super::{Rejection, State};
use crate::entry::Entry;
use crate::event::Event;
use crate::fraction::share;
use crate::hash::Hash;
use crate::settlement::{Rates, Settlement};

/// Most claims of one gateway against one node that are open at once.
pub const OPEN_MAX: u32 = 65_536;

/// A claim that may still be refuted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenClaim {
    /// What is claimed.
    pub claim: LossClaim,
    /// When it stands.
    pub due_ms: u64,
    /// What rebuilding the shard costs.
    pub repair_cost: Amount,
    /// What it costs the gateway if it is refuted.
    pub stake: Amount,
    /// What the node was paid for taking the shard.
    pub put_reward: Amount,
}

/// Bytes of a gateway's shards at a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Placed {
    /// Put there, by receipts that were paid.
    put: u64,
    /// Claimed to be lost.
    claimed: u64,
    /// Claims that are open.
    open: u32,
    /// What the node got for the gateway's receipts, newly minted or not.
    paid: u128,
    /// What the gateway's claims took from it.
    taken: u128,
}

/// All that was claimed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// By id.
    open: BTreeMap<[u8; 32], OpenClaim>,
    /// The same, by when they stand.
    queue: BTreeSet<(u64, [u8; 32])>,
    /// The same, by node.
    by_node: BTreeSet<(NodeId, [u8; 32])>,
    /// What each gateway's open claims cost it if all are refuted.
    stakes: BTreeMap<GatewayId, u128>,
    /// Whether claims that ended were refuted.
    ended: BTreeMap<[u8; 32], bool>,
    /// What is claimed now. A shard that came back can be lost again.
    shards: BTreeSet<(GatewayId, NodeId, ShardId)>,
    placed: BTreeMap<(GatewayId, NodeId), Placed>,
}

impl Claims {
    /// Claims that may still be refuted, by id.
    pub fn open(&self) -> &BTreeMap<[u8; 32], OpenClaim> {
        &self.open
    }

    /// Open claims against a node whose ids come after this one.
    pub fn against(
        &self,
        node: NodeId,
        after: Option<[u8; 32]>,
    ) -> impl Iterator<Item = (&[u8; 32], &OpenClaim)> {
        let first = match after {
            Some(id) => Bound::Excluded((node, id)),
            None => Bound::Included((node, [0; 32])),
        };
        let of_node = self.by_node.range((first, Bound::Unbounded));
        let of_node = of_node.take_while(move |(of, _)| *of == node);
        of_node.map(|(_, id)| (id, &self.open[id]))
    }

    /// Whether a claim that ended was refuted.
    pub fn is_refuted(&self, id: &[u8; 32]) -> Option<bool> {
        self.ended.get(id).copied()
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.u64(self.open.len() as u64);
        for (id, open) in &self.open {
            out.bytes(id); // Stands for the claim.
            out.u64(open.due_ms);
            open.repair_cost.write(out);
            open.stake.write(out);
            open.put_reward.write(out);
        }
        out.u64(self.placed.len() as u64);
        for ((gateway, node), placed) in &self.placed {
            gateway.write(out);
            node.write(out);
            out.u64(placed.put);
            out.u64(placed.claimed);
            out.u128(placed.paid);
            out.u128(placed.taken);
        }
    }
}

impl State {
    /// Claims of losses.
    pub fn claims(&self) -> &Claims {
        &self.law.claims
    }

    /// Whether what happened in `epoch` may still be challenged.
    pub(super) fn is_challengeable(&self, epoch: Epoch) -> bool {
        let is_closed = self.intake.contains_key(&epoch) || self.sealed.contains_key(&epoch);
        epoch == self.open.epoch || is_closed
    }

    pub(super) fn is_claimed(&self, node: NodeId) -> bool {
        self.law.claims.against(node, None).next().is_some()
    }

    pub(super) fn check_loss(&self, claim: &LossClaim) -> Result<(), Rejection> {
        let LossClaim { gateway, node, epoch, shard, len, .. } = *claim;
        let (claims, id) = (&self.law.claims, claim.id());
        if claims.open.contains_key(&id) || claims.ended.contains_key(&id) {
            return Err(Rejection::Known);
        }
        if self.genesis.economy().rebuttal_ms == 0 {
            return Err(Rejection::NoClaims);
        }
        if !self.nodes.contains_key(&node) {
            return Err(Rejection::UnknownNode(node));
        }
        if !claim.is_sound() {
            return Err(Rejection::NoShard);
        }
        if !self.is_challengeable(epoch) {
            return Err(Rejection::Closed { epoch, what: "loss claims" });
        }
        if claims.shards.contains(&(gateway, node, shard)) {
            return Err(Rejection::ShardClaimed);
        }
        let placed = claims.placed.get(&(gateway, node)).copied().unwrap_or_default();
        let left = placed.put.saturating_sub(placed.claimed);
        if len > left {
            return Err(Rejection::NotPlaced { claimed: len, left });
        }
        if placed.open >= OPEN_MAX {
            return Err(Rejection::ClaimsOpen);
        }
        let staked = claims.stakes.get(&gateway).copied().unwrap_or_default();
        let cost = staked.saturating_add(self.costs_of(claim).stake.0);
        let have = self.within_reach(gateway);
        if cost > have {
            let (cost, have) = (Amount(cost), Amount(have));
            return Err(Rejection::ClaimUncovered { cost, have });
        }
        Ok(())
    }

    fn costs_of(&self, claim: &LossClaim) -> Costs {
        let prices = self.prices_of(claim.epoch).sheet.prices;
        // Where prices are in units, they are worth what using them would be.
        let worth = |units| self.curve().map_or(units, |curve| curve.reference(units));
        let repair = Amount(worth(repair_cost(claim, &prices)));
        let stake = Amount(worth(asking_cost(claim, &prices)));
        let put_price = worth(u128::from(claim.len) * u128::from(prices.put_bytes));
        let rates = Rates::of(&self.genesis.params, self.genesis.economy(), self.minted);
        Costs { repair, stake, put_reward: Amount(share(put_price, rates.rho_resource)) }
    }

    pub(super) fn take_loss(&mut self, claim: &LossClaim) {
        let due_ms = self.time_ms.saturating_add(self.genesis.economy().rebuttal_ms);
        let Costs { repair: repair_cost, stake, put_reward } = self.costs_of(claim);
        let (gateway, node, shard) = (claim.gateway, claim.node, claim.shard);
        let claims = &mut self.law.claims;
        claims.shards.insert((gateway, node, shard));
        let placed = claims.placed.entry((gateway, node)).or_default();
        placed.claimed = placed.claimed.saturating_add(claim.len);
        placed.open += 1;
        claims.queue.insert((due_ms, claim.id()));
        claims.by_node.insert((node, claim.id()));
        *claims.stakes.entry(gateway).or_default() += stake.0; // Check found it at hand.
        let open = OpenClaim { claim: claim.clone(), due_ms, repair_cost, stake, put_reward };
        claims.open.insert(claim.id(), open);
        self.remember("loss claim", Hash(claim.id()));
    }

    pub(super) fn check_rebuttal(&self, rebuttal: &LossRebuttal) -> Result<(), Rejection> {
        let claims = &self.law.claims;
        match claims.open.get(&rebuttal.claim) {
            Some(open) if open.claim.is_refuted_by(&rebuttal.proof) => Ok(()),
            Some(_) => Err(Rejection::NotRefuted),
            None if claims.ended.get(&rebuttal.claim) == Some(&true) => Err(Rejection::Known),
            None => Err(Rejection::NoClaim),
        }
    }

    pub(super) fn refute(&mut self, rebuttal: &LossRebuttal) {
        let OpenClaim { claim, stake, .. } = self.end_claim(rebuttal.claim, true);
        let reason = format!("claimed that {} lost shard {}", claim.node, claim.shard);
        self.charge_gateway(claim.gateway, stake.0, reason);
    }

    /// The first claim that nobody refuted in time.
    pub(super) fn claim_due(&self) -> Option<Entry> {
        let &(due_ms, id) = self.law.claims.queue.first()?;
        (self.time_ms >= due_ms).then_some(Entry::SettleClaim(id))
    }

    /// Gives every open claim its whole time again: nobody could refute it while
    /// the ledger was away.
    pub(super) fn extend_claims(&mut self) {
        let due_ms = self.time_ms.saturating_add(self.genesis.economy().rebuttal_ms);
        let claims = &mut self.law.claims;
        claims.queue = claims.open.keys().map(|id| (due_ms, *id)).collect();
        claims.open.values_mut().for_each(|open| open.due_ms = due_ms);
    }

    pub(super) fn settle_claim(&mut self, id: [u8; 32]) {
        let OpenClaim { claim, repair_cost, put_reward, .. } = self.end_claim(id, false);
        // On a curve with a stake without measure the sum might not be countable.
        let cost = repair_cost.0.saturating_add(put_reward.0);
        let key = (claim.gateway, claim.node);
        let placed = self.law.claims.placed.get(&key).copied().unwrap_or_default();
        let due = cost.min(placed.paid.saturating_sub(placed.taken));
        let taken = self.penalise(claim.node, due, format!("lost shard {}", claim.shard));
        if let Some(placed) = self.law.claims.placed.get_mut(&key) {
            placed.taken += taken.total(); // At most what was paid.
        }
    }

    fn end_claim(&mut self, id: [u8; 32], refuted: bool) -> OpenClaim {
        let claims = &mut self.law.claims;
        let open = claims.open.remove(&id).expect("check looked the claim up");
        let (gateway, node) = (open.claim.gateway, open.claim.node);
        claims.queue.remove(&(open.due_ms, id));
        claims.by_node.remove(&(node, id));
        claims.shards.remove(&(gateway, node, open.claim.shard));
        let is_answerable = self.genesis.is_answerable();
        claims.placed.entry((gateway, node)).and_modify(|placed| {
            placed.open -= 1;
            // Else a node could use up by refuting what may be claimed of it.
            if refuted && is_answerable {
                placed.claimed -= open.claim.len;
            }
        });
        if let Some(staked) = claims.stakes.get_mut(&gateway) {
            *staked -= open.stake.0;
        }
        claims.ended.insert(id, refuted);
        self.remember(if refuted { "claim refuted" } else { "claim stands" }, Hash(id));
        self.events.push(Event::Claim { claim: id, gateway, node, refuted });
        open
    }

    /// Notes what nodes were paid through whom.
    pub(super) fn note_paid(&mut self, settlement: &Settlement) {
        for share in &settlement.shares {
            // Where nothing was put there is nothing to claim.
            if let Some(placed) = self.law.claims.placed.get_mut(&(share.gateway, share.node)) {
                let pay = share.gross - share.tax - share.withheld + share.emission;
                placed.paid = placed.paid.saturating_add(pay);
            }
        }
    }

    /// Notes bytes that were paid for.
    pub(super) fn note_placed(&mut self, gateway: GatewayId, node: NodeId, counters: &Counters) {
        let put = counters.put_bytes.saturating_add(counters.repair_bytes);
        // Where there are no claims there is nothing to note.
        if put > 0 && self.genesis.economy().rebuttal_ms > 0 {
            let placed = self.law.claims.placed.entry((gateway, node)).or_default();
            placed.put = placed.put.saturating_add(put);
        }
    }
}

/// What follows from a claim.
struct Costs {
    repair: Amount,
    stake: Amount,
    put_reward: Amount,
}

/// What the bytes that were asked for cost when one asks for them.
fn asking_cost(claim: &LossClaim, prices: &Prices) -> u128 {
    let asked = claim.asked();
    u128::from(asked.end - asked.start) * u128::from(prices.get_bytes)
}

/// What it costs to read enough shards to rebuild one, and to put it elsewhere.
fn repair_cost(claim: &LossClaim, prices: &Prices) -> u128 {
    // Below 2^8 * 2^27 * 2^64.
    let moved = (u128::from(claim.data) + 1) * u128::from(claim.len);
    moved * u128::from(prices.repair_bytes)
}
