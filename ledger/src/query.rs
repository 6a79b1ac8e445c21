//! Questions in JSON, for anyone: what a console or a command line shows.
//!
//! ```text
//! {"query":"epochs","last":N}                          the last N epochs, newest last
//! {"query":"nodes","after":NODE?}                      nodes and what they earned
//! {"query":"account","account":ID}                     one account
//! {"query":"accounts","after":ID?,"gateway":ID?}       all accounts; those a gateway may spend from
//! {"query":"receipts_total","epoch":N,"gateway":ID}    what a gateway owes by accepted receipts, and
//!                                                      until the epoch is sealed what it stated
//! {"query":"inclusion","epoch":N,"gateway":ID,"node":ID,"lane":N}  proof that a receipt is in the log
//! {"query":"claims","node":ID,"after":CLAIM?}          open claims that a node lost a shard
//! {"query":"audits","gateway":ID,"after":NODE?}        what a gateway reported of nodes
//! {"query":"statement","account":ID,"epoch":N}         what an account used, paid, and the proof
//! {"query":"earnings","party":KEY,"from":N?,"until":N?,"after":N?}  all that happened to a party's pay
//! {"query":"prices"}                                   price sheets, and the curve
//! {"query":"gateways"}                                 gateways and their money
//! {"query":"quote","counters":{..},"epoch":N?}         what traffic costs
//! {"query":"beacon","epoch":N}                         the hash of the block that opened it
//! {"query":"consistency","old_size":N}                 proof that the log only grew
//! {"query":"checkpoint"}                               the signed head of the log
//! {"query":"genesis"}                                  how the network began
//! {"query":"export","from_height":N,"max":N}           lines of the export
//! ```
//!
//! The answers to those about money:
//!
//! ```text
//! statement  {account, epoch, stage, prices, lines: [{gateway, counters, amount, charged,
//!            reserved, statement: {index, entry, proof} or null}], height, log_size, root,
//!            checkpoint}
//! earnings   {party, events: [{id, height, event, ..}], next}: see the events' own fields; one
//!            of the kind "earned" has amounts, too: what each counter comes to
//! prices     {open, sheets: [{id, from, until, prices, signature}], curve: {money, units} or null}
//! gateways   {gateways: [{gateway, revoked, account, available, reserved, spent, bond, immature,
//!            mature, withdrawn}]}
//! quote      {epoch, sheet, counters, amount, units, money}: without a curve, units and money
//!            are null
//! ```
//!
//! A checkpoint is a signed note, with the cosignatures that witnesses made for
//! that head; the query of that name also has `witnessed`, the latest one that
//! all witnesses cosigned (or null), and `halted`, why the ledger takes nothing
//! more (or null).
//!
//! Amounts are decimal strings of atto-credits. An answer that would be too
//! long stops early and names where to go on: `next` is null at the end, or
//! the `after` (for export: the `from_height`) to ask with. An answer of
//! `{"error": TEXT}` says why there is none.

mod money;
mod state;

use protocol::ids::PublicKey;
use protocol::ledger_api::QUERY_MAX;
use protocol::wire::Wire;
use protocol::{AccountId, Epoch, GatewayId, NodeId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thiserror::Error;

use crate::chain::Chain;
use crate::entry::{Entry, LaneKey};
use crate::export::{block_line, genesis_line};
use crate::server::Service;
use crate::store::{Reader, StoreError};
use crate::writer::Stopped;

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
        gateway: Option<GatewayId>,
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
    Audits {
        gateway: GatewayId,
        after: Option<NodeId>,
    },
    Claims {
        node: NodeId,
        after: Option<String>,
    },
    Statement {
        account: AccountId,
        epoch: Epoch,
    },
    Earnings {
        party: PublicKey,
        from: Option<Epoch>,
        until: Option<Epoch>,
        after: Option<u64>,
    },
    Prices {},
    Gateways {},
    Quote {
        counters: serde_json::Map<String, Value>,
        epoch: Option<Epoch>,
    },
    Beacon {
        epoch: Epoch,
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
    #[error("epoch {0} did not begin, or too long ago")]
    NoBeacon(Epoch),
    #[error("no traffic is counted as {0:?}")]
    NoCounter(String),
    #[error("a claim's id is 64 hex digits")]
    NoClaim,
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
pub(crate) async fn answer(query: &[u8], service: &Service) -> Vec<u8> {
    let answer = match ask(query, service).await {
        Ok(answer) => answer,
        Err(error) => json!({ "error": error.to_string() }),
    };
    answer.to_string().into_bytes()
}

async fn ask(query: &[u8], service: &Service) -> Result<Value, QueryError> {
    let Service { shared, reader, .. } = service;
    match serde_json::from_slice(query)? {
        Query::Epochs { last } => Ok(state::epochs(shared.read().await?.state(), last)),
        Query::Nodes { after } => Ok(state::nodes(shared.read().await?.state(), after)),
        Query::Account { account } => state::account_of(shared.read().await?.state(), account),
        Query::Accounts { after, gateway } => {
            Ok(state::accounts(shared.read().await?.state(), after, gateway))
        }
        Query::Claims { node, after } => {
            let after = after.map(|id| claim_id(&id)).transpose()?;
            Ok(state::claims(shared.read().await?.state(), node, after))
        }
        Query::ReceiptsTotal { epoch, gateway } => {
            state::receipts_total(shared.read().await?.state(), epoch, gateway)
        }
        Query::Audits { gateway, after } => {
            Ok(state::audits(shared.read().await?.state(), gateway, after))
        }
        Query::Statement { account, epoch } => money::statement(service, account, epoch).await,
        Query::Earnings { party, from, until, after } => {
            let epochs = (from.unwrap_or(Epoch(0)), until.unwrap_or(Epoch(u64::MAX)));
            money::earnings(service, party, epochs, after.unwrap_or(0)).await
        }
        Query::Prices {} => Ok(money::prices(shared.read().await?.state())),
        Query::Gateways {} => Ok(money::gateways(shared.read().await?.state())),
        Query::Quote { counters, epoch } => {
            money::quote(shared.read().await?.state(), counters, epoch)
        }
        Query::Inclusion { epoch, gateway, node, lane } => {
            inclusion(service, epoch, LaneKey { gateway, node, lane }).await
        }
        Query::Beacon { epoch } => {
            let beacon = shared.read().await?.beacon(epoch);
            let beacon = beacon.ok_or(QueryError::NoBeacon(epoch))?;
            Ok(json!({ "epoch": epoch, "beacon": beacon.to_string() }))
        }
        Query::Consistency { old_size } => {
            let chain = shared.read().await?;
            let proof = chain.log().prove_consistency(old_size);
            let proof = proof.ok_or(QueryError::NoSize(old_size))?;
            Ok(with_head(&chain, service, json!({ "old_size": old_size, "proof": proof })))
        }
        Query::Checkpoint {} => {
            let witnessed = service.notary.witnessed(&service.key).map(|note| note.to_string());
            let answer = json!({ "witnessed": witnessed, "halted": shared.halt().reason() });
            Ok(with_head(&*shared.read().await?, service, answer))
        }
        Query::Genesis {} => {
            let chain = shared.read().await?;
            let genesis = chain.state().genesis();
            Ok(json!({ "genesis": genesis, "line": genesis_line(genesis) }))
        }
        Query::Export { from_height, max } => export(reader, from_height, max).await,
    }
}

fn claim_id(hex: &str) -> Result<[u8; 32], QueryError> {
    let mut id = [0; 32];
    hex::decode_to_slice(hex, &mut id).map_err(|_| QueryError::NoClaim)?;
    Ok(id)
}

async fn inclusion(service: &Service, epoch: Epoch, lane: LaneKey) -> Result<Value, QueryError> {
    let found = service.reader.receipt(epoch, lane).await?;
    let (index, entry) = found.ok_or(QueryError::NoReceipt)?;
    let chain = service.shared.read().await?;
    let proved = proved(&chain, index, &entry).ok_or(QueryError::NoReceipt)?;
    Ok(with_head(&chain, service, proved))
}

/// An entry, and the proof that it is in the log.
fn proved(chain: &Chain, index: u64, entry: &Entry) -> Option<Value> {
    let proof = chain.log().prove_inclusion(index)?;
    Some(json!({ "index": index, "entry": hex::encode(entry.to_wire()), "proof": proof }))
}

/// Adds what a proof is to be checked against.
fn with_head(chain: &Chain, service: &Service, mut answer: Value) -> Value {
    let head = chain.head();
    answer["height"] = head.height.into();
    answer["log_size"] = head.log_size.into();
    answer["root"] = head.entries_root.to_string().into();
    answer["checkpoint"] = service.notary.checkpoint(head, &service.key).to_string().into();
    answer
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
