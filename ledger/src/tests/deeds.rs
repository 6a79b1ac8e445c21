//! What wallets, nodes and gateways sign beside traffic, and a network in which
//! it has consequences.

use bytes::Bytes;
use protocol::claim::{Equivocation, LossClaim, LossRebuttal};
use protocol::grant::{Grant, owned_account};
use protocol::ids::SegmentId;
use protocol::ledger_api::Submission;
use protocol::order::{Action, Order};
use protocol::price::{Amount, Counters};
use protocol::statement::{OwnedOpening, TransferId, UNSIGNED};
use protocol::tree::{self, TreeHasher};
use protocol::{Epoch, NodeId, SecretKey, ShardId};

use super::world::{
    CHAIN, EPOCH, World, account, cosigned, gateway, gateway_key, node, open, receipt, register,
    reserve, usage, voucher,
};
use crate::account::{Account, Party};
use crate::economy::Economy;
use crate::entry::Entry;

/// Everything costs something, and waiting is a few epochs.
pub(super) fn strict() -> Economy {
    Economy {
        gateway_bond: Amount(4_000_000),
        deposit_tiers: [Amount(100_000), Amount(200_000), Amount(300_000)],
        held_back: [7500, 5000, 2500],
        held_step_ms: 20 * EPOCH,
        held_return_ms: 100 * EPOCH,
        offline_ms: 200 * EPOCH,
        exit_ms: 4 * EPOCH,
        rebuttal_ms: EPOCH,
        ..Economy::NEUTRAL
    }
}

/// A gateway, two nodes, and a customer with a reserve.
pub(super) fn strict_world() -> World {
    let mut world = World::with_economy(1, strict());
    world.take(&[register(0), register(1), open(0, account(0))]);
    world.take(&[reserve(0, account(0), 1, 900_000)]);
    world
}

pub(super) fn order(key: &SecretKey, id: u8, action: Action) -> Entry {
    let order = Order::signed(CHAIN, key, TransferId([id; 16]), action);
    Entry::Submitted(Submission::Order(Box::new(order)))
}

pub(super) fn wallet(n: u8) -> SecretKey {
    SecretKey::from_seed([150 + n; 32])
}

/// A gateway is to serve a wallet's account.
pub(super) fn open_owned(g: u8, w: u8) -> Entry {
    let owner = wallet(w).public();
    let (account, signature) = (owned_account(owner), UNSIGNED);
    let opening = OwnedOpening { chain: CHAIN, gateway: gateway(g), account, owner, signature };
    Entry::Submitted(Submission::OpenOwned(Box::new(opening.signed(&gateway_key(g)))))
}

pub(super) fn grant(w: u8, g: u8, limit: u128, until: u64, serial: u64) -> Entry {
    let grant = Grant {
        chain: CHAIN,
        owner: wallet(w).public(),
        gateway: gateway(g),
        limit: Amount(limit),
        until: Epoch(until),
        serial,
        signature: UNSIGNED,
    };
    Entry::Submitted(Submission::Grant(Box::new(grant.signed(&wallet(w)))))
}

/// A claim about a shard of `len` bytes that a node has or not, and the proof
/// that it has it.
pub(super) fn loss(g: u8, n: u8, epoch: u64, index: u8, len: usize) -> (LossClaim, Bytes) {
    let bytes = vec![index; len];
    let mut hasher = TreeHasher::default();
    hasher.update(&bytes);
    let (root, outboard) = hasher.finish();
    let claim = LossClaim {
        chain: CHAIN,
        gateway: gateway(g),
        node: node(n),
        epoch: Epoch(epoch),
        shard: ShardId { segment: SegmentId([5; 16]), index },
        root,
        len: len as u64,
        data: 4,
        group: 0,
        signature: UNSIGNED,
    }
    .signed(&gateway_key(g));
    let proof = tree::encode(&bytes, claim.len, &outboard, &claim.asked()).unwrap();
    (claim, proof.into())
}

pub(super) fn claimed(claim: &LossClaim) -> Entry {
    Entry::Submitted(Submission::Loss(Box::new(claim.clone())))
}

pub(super) fn rebuttal(claim: &LossClaim, proof: &Bytes) -> Entry {
    let rebuttal = LossRebuttal { chain: CHAIN, claim: claim.id(), proof: proof.clone() };
    Entry::Submitted(Submission::Rebuttal(Box::new(rebuttal)))
}

/// Two receipts of one lane that cannot both be true.
pub(super) fn two_truths(g: u8, n: u8, epoch: u64) -> Entry {
    let of = |counters| cosigned(g, n, voucher(g, n, epoch, 9, counters));
    let put = Counters { put_bytes: 5, operations: 1, ..Counters::default() };
    let get = Counters { get_bytes: 5, operations: 1, ..Counters::default() };
    let evidence = Equivocation { first: of(put), second: of(get) };
    Entry::Submitted(Submission::Equivocation(Box::new(evidence)))
}

/// Lets the open epoch pass with this traffic, paid by `account(g)` of each
/// gateway, until it is settled. Returns its number.
pub(super) fn settle(world: &mut World, traffic: &[(u8, u8, Counters)]) -> u64 {
    let epoch = world.state().open().epoch.0;
    world.pass_epoch();
    for &(g, n, counters) in traffic {
        world.take(&[receipt(g, n, epoch, 0, counters)]);
    }
    world.pass_epoch();
    for g in 0..4 {
        let owed = world.state().intake()[&Epoch(epoch)].owed(gateway(g)).unwrap();
        if owed > 0 {
            world.take(&[usage(g, account(g), epoch, 1, owed)]);
        }
    }
    world.pass_epoch();
    epoch
}

/// Lets `epochs` pass.
pub(super) fn pass(world: &mut World, epochs: u64) {
    for _ in 0..epochs {
        world.pass_epoch();
    }
}

pub(super) fn balance(world: &World, account: Account) -> u128 {
    world.state().book().balance(account).0
}

pub(super) fn immature(world: &World, n: u8) -> u128 {
    balance(world, Account::Immature(Party::Node(node(n))))
}

pub(super) fn mature(world: &World, n: u8) -> u128 {
    balance(world, Account::Mature(Party::Node(node(n))))
}

pub(super) fn held(world: &World, n: u8) -> u128 {
    balance(world, Account::Held(node(n)))
}

pub(super) fn deposit(world: &World, n: u8) -> u128 {
    balance(world, Account::Deposit(node(n)))
}

pub(super) fn repair_fund(world: &World) -> u128 {
    balance(world, Account::RepairFund)
}

pub(super) fn is_excluded(world: &World, node: NodeId) -> bool {
    world.state().chain_info().excluded.contains(&node)
}
