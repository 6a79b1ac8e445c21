//! Questions that the state answers.

use std::ops::Bound;

use protocol::price::Amount;
use protocol::{AccountId, Epoch, GatewayId, NodeId};
use serde::Serialize;
use serde_json::{Value, json};

use super::{QueryError, page};
use crate::account::{Account, Party};
use crate::epoch::{GatewayTotal, Summary, Window};
use crate::state::{Audited, Customer, Holder, Member, OpenClaim, State};

#[derive(Serialize)]
struct EpochItem {
    epoch: Epoch,
    state: &'static str,
    opened: u64,
    bytes: u64,
    debited: Amount,
    paid: Amount,
    tax: Amount,
    treasury: Amount,
    emission: Amount,
    void: Vec<VoidItem>,
    covered: Vec<CoverItem>,
}

/// What a gateway paid of its own.
#[derive(Serialize)]
struct CoverItem {
    gateway: GatewayId,
    account: Amount,
    bond: Amount,
    pay: Amount,
    short: Amount,
    fault: Option<String>,
}

#[derive(Serialize)]
struct VoidItem {
    gateway: GatewayId,
    reason: String,
}

impl EpochItem {
    fn unsettled(epoch: Epoch, state: &'static str, opened: u64, bytes: u64) -> Self {
        let zero = Amount::ZERO;
        Self {
            epoch,
            state,
            opened,
            bytes,
            debited: zero,
            paid: zero,
            tax: zero,
            treasury: zero,
            emission: zero,
            void: Vec::new(),
            covered: Vec::new(),
        }
    }

    fn settled(epoch: Epoch, state: &'static str, summary: &Summary) -> Self {
        let void = summary
            .void
            .iter()
            .map(|(&gateway, reason)| VoidItem { gateway, reason: reason.to_string() });
        let covered = summary.covered.iter().map(|(&gateway, cover)| CoverItem {
            gateway,
            account: cover.account,
            bond: cover.bond,
            pay: cover.pay,
            short: cover.short,
            fault: cover.fault.as_ref().map(ToString::to_string),
        });
        Self {
            epoch,
            state,
            opened: summary.opened_ms,
            bytes: summary.bytes,
            debited: summary.debited,
            paid: summary.paid,
            tax: summary.tax,
            treasury: summary.treasury,
            emission: summary.emission,
            void: void.collect(),
            covered: covered.collect(),
        }
    }
}

pub(super) fn epochs(state: &State, last: u64) -> Value {
    let open = state.open();
    let open = EpochItem::unsettled(open.epoch, "open", open.opened_ms, 0);
    let intake = state.intake().iter().rev().map(|(&epoch, intake)| {
        let stage = match intake.window {
            Window::Receipts => "receipts",
            Window::Statements => "statements",
        };
        EpochItem::unsettled(epoch, stage, intake.opened_ms, intake.bytes())
    });
    let sealed = state.sealed().iter().rev();
    let sealed = sealed.map(|(&epoch, s)| EpochItem::settled(epoch, "sealed", &s.summary));
    let mature = state.mature().iter().rev();
    let mature = mature.map(|(&epoch, summary)| EpochItem::settled(epoch, "mature", summary));
    // The newest first, so that a page that is full loses the oldest.
    let newest_first = std::iter::once(open).chain(intake).chain(sealed).chain(mature);
    let last = usize::try_from(last).unwrap_or(usize::MAX);
    let (mut epochs, _) = page(newest_first.take(last).map(|item| ((), item)));
    epochs.reverse();
    json!({ "epochs": epochs })
}

pub(super) fn nodes(state: &State, after: Option<NodeId>) -> Value {
    let members = state.nodes().iter().filter(|(node, _)| Some(**node) > after);
    let (nodes, next) = page(members.map(|(&node, member)| (node, node_item(state, node, member))));
    json!({ "nodes": nodes, "next": next })
}

fn node_item(state: &State, node: NodeId, member: &Member) -> Value {
    let party = Party::Node(node);
    json!({
        "node": node,
        "addr": member.record.addr.to_string(),
        "zone": member.record.zone,
        "operator": member.record.operator,
        "earned": member.earned,
        "immature": state.book().balance(Account::Immature(party)),
        "mature": state.book().balance(Account::Mature(party)),
        "held": state.book().balance(Account::Held(node)),
        "deposit": state.book().balance(Account::Deposit(node)),
        "withdrawn": state.book().balance(Account::Withdrawn(party)),
        "excluded": state.excluded().contains_key(&node),
        "leaving": state.leaving().contains_key(&node),
        "bytes": member.bytes,
    })
}

pub(super) fn claims(state: &State, node: NodeId, after: Option<[u8; 32]>) -> Value {
    let open = state.claims().against(node, after);
    let (claims, next) = page(open.map(|(id, open)| (*id, claim_item(id, open))));
    json!({ "claims": claims, "next": next.map(hex::encode) })
}

fn claim_item(id: &[u8; 32], open: &OpenClaim) -> Value {
    let claim = &open.claim;
    json!({
        "claim": hex::encode(id),
        "gateway": claim.gateway,
        "epoch": claim.epoch,
        "segment": claim.shard.segment,
        "index": claim.shard.index,
        "root": claim.root,
        "len": claim.len,
        "group": claim.group,
        "open": true,
        "due": open.due_ms,
        "repair_cost": open.repair_cost,
        "put_reward": open.put_reward,
    })
}

pub(super) fn audits(state: &State, gateway: GatewayId, after: Option<NodeId>) -> Value {
    let audits = state.audits();
    let first = (gateway, NodeId([0; 32]));
    let of_gateway = audits.nodes.range(first..).take_while(|((of, _), _)| *of == gateway);
    let rest = of_gateway.filter(|((_, node), _)| Some(*node) > after);
    let (nodes, next) = page(rest.map(|((_, node), audited)| (*node, audit_item(*node, audited))));
    let reported = audits.gateways.get(&gateway);
    json!({
        "epoch": reported.map(|reported| reported.epoch),
        "was_committed": reported.map(|reported| reported.was_committed),
        "nodes": nodes,
        "next": next,
    })
}

fn audit_item(node: NodeId, audited: &Audited) -> Value {
    let Audited { epoch, latest, totals: [ok, offline, contained, failed] } = audited;
    json!({
        "node": node,
        "epoch": epoch,
        "score": latest.score,
        "latest": {
            "ok": latest.ok,
            "offline": latest.offline,
            "contained": latest.contained,
            "failed": latest.failed,
        },
        "total": { "ok": ok, "offline": offline, "contained": contained, "failed": failed },
    })
}

pub(super) fn account_of(state: &State, account: AccountId) -> Result<Value, QueryError> {
    let customer = state.customers().get(&account).ok_or(QueryError::NoAccount(account))?;
    Ok(account_item(state, account, customer, None))
}

pub(super) fn accounts(
    state: &State,
    after: Option<AccountId>,
    gateway: Option<GatewayId>,
) -> Value {
    let item = |id| (id, account_item(state, id, &state.customers()[&id], gateway));
    let (accounts, next) = match gateway {
        Some(gateway) => page(state.accounts_of(gateway, after).map(item)),
        None => {
            let first = after.map_or(Bound::Unbounded, Bound::Excluded);
            page(state.customers().range((first, Bound::Unbounded)).map(|(&id, _)| item(id)))
        }
    };
    json!({ "accounts": accounts, "next": next })
}

/// An account, with what it reserved with one gateway and may yet reserve
/// there, or with all of them.
fn account_item(
    state: &State,
    account: AccountId,
    customer: &Customer,
    gateway: Option<GatewayId>,
) -> Value {
    let spenders = state.spenders(account).into_iter();
    let spenders: Vec<_> = spenders.filter(|of| gateway.is_none_or(|one| one == *of)).collect();
    let reserved = spenders.iter().map(|&gateway| Account::Reserved(gateway, account));
    let reserved = reserved.map(|reserved| state.book().balance(reserved).0).sum();
    let mut item = json!({
        "account": account,
        "available": state.book().balance(Account::Available(account)),
        "reserved": Amount(reserved),
        "spent": customer.spent,
    });
    if state.curve().is_some() {
        let units = spenders.iter().map(|&gateway| state.units(gateway, account)).sum();
        item["units"] = json!(Amount(units));
    }
    if let Some(gateway) = gateway {
        item["spendable"] = json!(state.spendable(gateway, account));
        item["bond_left"] = json!(state.bond_left(gateway, account));
    }
    match customer.holder {
        Holder::Gateway(gateway) => item["gateway"] = json!(gateway),
        Holder::Wallet(owner) => item["owner"] = json!(owner.to_string()),
    }
    item
}

pub(super) fn receipts_total(
    state: &State,
    epoch: Epoch,
    gateway: GatewayId,
) -> Result<Value, QueryError> {
    let intake = state.intake().get(&epoch);
    let total = match (intake, state.summary(epoch)) {
        (Some(intake), _) => GatewayTotal {
            owed: Amount(intake.owed(gateway).unwrap_or(u128::MAX)),
            receipts: intake.lanes_of(gateway).count() as u64,
        },
        (None, Some(summary)) => summary.totals.get(&gateway).copied().unwrap_or_default(),
        (None, None) => return Err(QueryError::NoEpoch(epoch)),
    };
    let stated = intake.map(|intake| {
        let amounts = intake.statements_of(gateway).map(|statement| statement.amount.0);
        Amount(amounts.fold(0, u128::saturating_add))
    });
    Ok(json!({ "sum": total.owed, "receipts": total.receipts, "stated": stated }))
}
