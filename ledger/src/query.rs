//! Questions in JSON, for gateways: what a console or a command line shows.
//!
//! ```text
//! {"query":"epochs","last":N}                          the last N epochs, newest last
//! {"query":"nodes","after":NODE?}                      nodes and what they earned
//! {"query":"account","account":ID}                     one account
//! {"query":"accounts","after":ID?}                     all accounts
//! {"query":"receipts_total","epoch":N,"gateway":ID}    what a gateway owes by accepted receipts
//! {"query":"inclusion","epoch":N,"gateway":ID,"node":ID,"lane":N}  proof that a receipt is in the log
//! {"query":"consistency","old_size":N}                 proof that the log only grew
//! {"query":"checkpoint"}                               the signed head of the log
//! {"query":"genesis"}                                  how the network began
//! {"query":"export","from_height":N,"max":N}           lines of the export
//! ```
//!
//! Amounts are decimal strings of atto-credits. An answer that would be too
//! long stops early and names where to go on: `next` is null at the end, or
//! the `after` (for export: the `from_height`) to ask with. An answer of
//! `{"error": TEXT}` says why there is none.

use protocol::ledger_api::QUERY_MAX;
use protocol::price::Amount;
use protocol::{AccountId, Epoch, GatewayId, NodeId, SecretKey};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thiserror::Error;

use crate::account::{Account, Party};
use crate::block::signed_checkpoint;
use crate::chain::Chain;
use crate::entry::LaneKey;
use crate::epoch::{GatewayTotal, Summary, Window};
use crate::export::{block_line, genesis_line};
use crate::state::{Customer, Member, State};
use crate::store::{Reader, StoreError};
use crate::writer::{Shared, Stopped};
use protocol::wire::Wire;

/// Bytes of items in one answer. The rest of [`QUERY_MAX`] is for what
/// surrounds them.
const PAGE_BYTES: usize = QUERY_MAX - 4096;

/// Blocks that are read from disk for one answer.
const EXPORT_MAX: u32 = 256;

#[derive(Debug, Deserialize)]
#[serde(tag = "query", rename_all = "snake_case", deny_unknown_fields)]
enum Query {
    Epochs {
        last: u64,
    },
    Nodes {
        after: Option<NodeId>,
    },
    Account {
        account: AccountId,
    },
    Accounts {
        after: Option<AccountId>,
    },
    ReceiptsTotal {
        epoch: Epoch,
        gateway: GatewayId,
    },
    Inclusion {
        epoch: Epoch,
        gateway: GatewayId,
        node: NodeId,
        lane: u16,
    },
    Consistency {
        old_size: u64,
    },
    Checkpoint {},
    Genesis {},
    Export {
        #[serde(default)]
        from_height: u64,
        max: Option<u32>,
    },
}

#[derive(Debug, Error)]
enum QueryError {
    #[error("the query is not understood: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("no gateway has opened account {0}")]
    NoAccount(AccountId),
    #[error("epoch {0} is not closed, or never was")]
    NoEpoch(Epoch),
    #[error("no receipt of that lane was taken")]
    NoReceipt,
    #[error("the log never had {0} entries")]
    NoSize(u64),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Answers a query with JSON.
pub(crate) async fn answer(
    query: &[u8],
    shared: &Shared,
    reader: &Reader,
    key: &SecretKey,
) -> Vec<u8> {
    let answer = match ask(query, shared, reader, key).await {
        Ok(answer) => answer,
        Err(error) => json!({ "error": error.to_string() }),
    };
    answer.to_string().into_bytes()
}

async fn ask(
    query: &[u8],
    shared: &Shared,
    reader: &Reader,
    key: &SecretKey,
) -> Result<Value, QueryError> {
    match serde_json::from_slice(query)? {
        Query::Epochs { last } => Ok(epochs(shared.read().await?.state(), last)),
        Query::Nodes { after } => Ok(nodes(shared.read().await?.state(), after)),
        Query::Account { account } => account_of(shared.read().await?.state(), account),
        Query::Accounts { after } => Ok(accounts(shared.read().await?.state(), after)),
        Query::ReceiptsTotal { epoch, gateway } => {
            receipts_total(shared.read().await?.state(), epoch, gateway)
        }
        Query::Inclusion { epoch, gateway, node, lane } => {
            let lane = LaneKey { gateway, node, lane };
            let (index, entry) = reader.receipt(epoch, lane).await?.ok_or(QueryError::NoReceipt)?;
            let chain = shared.read().await?;
            let proof = chain.log().prove_inclusion(index).ok_or(QueryError::NoReceipt)?;
            Ok(with_head(
                &chain,
                key,
                json!({ "index": index, "entry": hex::encode(entry.to_wire()), "proof": proof }),
            ))
        }
        Query::Consistency { old_size } => {
            let chain = shared.read().await?;
            let proof = chain.log().prove_consistency(old_size);
            let proof = proof.ok_or(QueryError::NoSize(old_size))?;
            Ok(with_head(&chain, key, json!({ "old_size": old_size, "proof": proof })))
        }
        Query::Checkpoint {} => Ok(with_head(&*shared.read().await?, key, json!({}))),
        Query::Genesis {} => {
            let chain = shared.read().await?;
            let genesis = chain.state().genesis();
            Ok(json!({ "genesis": genesis, "line": genesis_line(genesis) }))
        }
        Query::Export { from_height, max } => export(reader, from_height, max).await,
    }
}

/// Adds what a proof is to be checked against.
fn with_head(chain: &Chain, key: &SecretKey, mut answer: Value) -> Value {
    let head = chain.head();
    answer["height"] = head.height.into();
    answer["log_size"] = head.log_size.into();
    answer["root"] = head.entries_root.to_string().into();
    answer["checkpoint"] = signed_checkpoint(head, key).into();
    answer
}

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
}

#[derive(Serialize)]
struct VoidItem {
    gateway: GatewayId,
    reason: String,
}

impl EpochItem {
    fn unsettled(epoch: Epoch, state: &'static str, opened: u64, bytes: u64) -> Self {
        let zero = Amount::ZERO;
        let (debited, paid, tax, treasury, emission) = (zero, zero, zero, zero, zero);
        let void = Vec::new();
        Self { epoch, state, opened, bytes, debited, paid, tax, treasury, emission, void }
    }

    fn settled(epoch: Epoch, state: &'static str, summary: &Summary) -> Self {
        let void = summary
            .void
            .iter()
            .map(|(&gateway, reason)| VoidItem { gateway, reason: reason.to_string() });
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
        }
    }
}

fn epochs(state: &State, last: u64) -> Value {
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

fn nodes(state: &State, after: Option<NodeId>) -> Value {
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
        "bytes": member.bytes,
    })
}

fn account_of(state: &State, account: AccountId) -> Result<Value, QueryError> {
    let customer = state.customers().get(&account).ok_or(QueryError::NoAccount(account))?;
    Ok(account_item(state, account, customer))
}

fn accounts(state: &State, after: Option<AccountId>) -> Value {
    let customers = state.customers().iter().filter(|(account, _)| Some(**account) > after);
    let (accounts, next) =
        page(customers.map(|(&id, customer)| (id, account_item(state, id, customer))));
    json!({ "accounts": accounts, "next": next })
}

fn account_item(state: &State, account: AccountId, customer: &Customer) -> Value {
    let reserved = Account::Reserved(customer.gateway, account);
    json!({
        "account": account,
        "gateway": customer.gateway,
        "available": state.book().balance(Account::Available(account)),
        "reserved": state.book().balance(reserved),
        "spent": customer.spent,
    })
}

fn receipts_total(state: &State, epoch: Epoch, gateway: GatewayId) -> Result<Value, QueryError> {
    let total = match (state.intake().get(&epoch), state.summary(epoch)) {
        (Some(intake), _) => GatewayTotal {
            owed: Amount(intake.owed(gateway).unwrap_or(u128::MAX)),
            receipts: intake.lanes_of(gateway).count() as u64,
        },
        (None, Some(summary)) => summary.totals.get(&gateway).copied().unwrap_or_default(),
        (None, None) => return Err(QueryError::NoEpoch(epoch)),
    };
    Ok(json!({ "sum": total.owed, "receipts": total.receipts }))
}

async fn export(reader: &Reader, from: u64, max: Option<u32>) -> Result<Value, QueryError> {
    let max = max.unwrap_or(EXPORT_MAX).clamp(1, EXPORT_MAX);
    let (mut lines, mut from, mut room) = (Vec::new(), from, PAGE_BYTES);
    let mut more = true;
    // A few at a time: a block may be nearly as long as a whole answer.
    while more && lines.len() < max as usize {
        let blocks = reader.blocks(from, 8.min(max - lines.len() as u32)).await?;
        more = !blocks.is_empty();
        for block in &blocks {
            let line = Value::from(block_line(block));
            let len = line.to_string().len() + 1;
            if len > room {
                return Ok(json!({ "lines": lines, "next": from }));
            }
            room -= len;
            lines.push(line);
            from = block.header.height + 1;
        }
    }
    let next = more.then_some(from);
    Ok(json!({ "lines": lines, "next": next }))
}

/// As many items as fit one answer, and the key of the last one if more follow.
fn page<K: Copy, T: Serialize>(items: impl Iterator<Item = (K, T)>) -> (Vec<Value>, Option<K>) {
    let (mut page, mut room, mut last) = (Vec::new(), PAGE_BYTES, None);
    for (key, item) in items {
        let item = serde_json::to_value(item).expect("answers have nothing that JSON lacks");
        let len = item.to_string().len() + 1;
        if len > room {
            return (page, last);
        }
        room -= len;
        page.push(item);
        last = Some(key);
    }
    (page, None)
}
