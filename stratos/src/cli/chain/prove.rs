//! What anyone may ask a ledger: who earned what and why not more, what an
//! account paid, what things cost, and proofs of it.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use ledger::entry::LaneKey;
use ledger::export::parse_genesis;
use ledger::fraud::FraudProof;
use ledger::proof;
use protocol::ids::PublicKey;
use protocol::price::Amount;
use protocol::{AccountId, Epoch, GatewayId, NodeId};
use serde_json::{Value, json};

use super::{LedgerReach, ReachError};
use crate::cli::output::{print, print_json, print_text};
use crate::cli::table::{Table, facts};
use crate::exit::Failure;
use crate::units::{parse_size, show_credits};

/// What is asked.
#[derive(Debug, Subcommand)]
pub enum AskCommand {
    /// Prove that a receipt was counted: fetch the proof and check it here.
    Proof {
        /// Its epoch.
        epoch: u64,
        /// Who owed.
        gateway: GatewayId,
        /// Who was owed.
        node: NodeId,
        /// The gateway's lane.
        #[arg(default_value_t = 0)]
        lane: u16,
        /// A witness whose cosignature the head must carry. May be repeated.
        #[arg(long, value_name = "KEY")]
        witness: Vec<PublicKey>,
        /// The ledger.
        #[command(flatten)]
        reach: LedgerReach,
    },
    /// Show what an account used and paid in an epoch, with proofs.
    Statement {
        /// The account's id, 32 hex digits.
        account: AccountId,
        /// The epoch.
        #[arg(long)]
        epoch: u64,
        /// The ledger.
        #[command(flatten)]
        reach: LedgerReach,
    },
    /// Show what a node or a gateway earned, by epoch, with every deduction.
    Earnings {
        /// Its key; of a node that the network of --data knows a unique beginning of it.
        party: String,
        /// From this epoch on.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Until this epoch.
        #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
        until: u64,
        /// The ledger.
        #[command(flatten)]
        reach: LedgerReach,
    },
    /// Show what traffic would cost now.
    Quote {
        /// What is quoted.
        #[command(flatten)]
        traffic: Traffic,
        /// The ledger.
        #[command(flatten)]
        reach: LedgerReach,
    },
    /// Show the price sheets that hold or are to come.
    Prices {
        /// The ledger.
        #[command(flatten)]
        reach: LedgerReach,
    },
    /// Show the gateways: what they have, and which are revoked.
    Gateways {
        /// The ledger.
        #[command(flatten)]
        reach: LedgerReach,
    },
    /// Print the signed head of the log, with the cosignatures of witnesses.
    Checkpoint {
        /// The ledger.
        #[command(flatten)]
        reach: LedgerReach,
    },
    /// Check a proof that a ledger signed two histories, as a witness keeps it.
    Fraud {
        /// The proof, fraud.json.
        file: PathBuf,
        /// An export of that ledger, or its first line.
        #[arg(long, value_name = "FILE")]
        genesis: PathBuf,
    },
}

/// What is quoted.
#[derive(Debug, Args)]
pub struct Traffic {
    /// Bytes of shards uploaded: for a 4+2 scheme half as much again as the object.
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "0B")]
    put: u64,
    /// Bytes downloaded.
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "0B")]
    get: u64,
    /// Bytes of shards kept for 30 days.
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "0B")]
    month: u64,
    /// Requests to nodes.
    #[arg(long, value_name = "N", default_value_t = 0)]
    operations: u64,
}

const MONTH_SECONDS: u64 = 30 * 86_400;

async fn ask(reach: &LedgerReach, query: Value) -> Result<Value, ReachError> {
    let client = reach.stranger()?;
    let answer = client.query(query).await;
    client.close().await;
    Ok(answer?)
}

/// An amount in an answer.
fn credits(value: &Value) -> String {
    let amount = serde_json::from_value::<Amount>(value.clone());
    amount.map_or_else(|_| "-".to_owned(), show_credits)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl AskCommand {
    /// Does it.
    pub async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Proof { epoch, gateway, node, lane, witness, reach } => {
                let lane = LaneKey { gateway, node, lane };
                prove(&reach, Epoch(epoch), lane, &witness).await
            }
            Self::Statement { account, epoch, reach } => {
                let query = json!({ "query": "statement", "account": account, "epoch": epoch });
                let answer = ask(&reach, query).await?;
                print(reach.json, &answer, || statement(&answer))
            }
            Self::Earnings { party, from, until, reach } => {
                let party = reach.party(&party).await?;
                let events = events(&reach, party, from, until).await?;
                let answer = json!({ "party": party, "events": events });
                print(reach.json, &answer, || earnings(&events))
            }
            Self::Quote { traffic, reach } => {
                let kept = traffic.month.saturating_mul(MONTH_SECONDS);
                let counters = json!({
                    "put_bytes": traffic.put, "get_bytes": traffic.get,
                    "stored_byte_seconds": kept, "operations": traffic.operations,
                });
                let answer = ask(&reach, json!({ "query": "quote", "counters": counters })).await?;
                print(reach.json, &answer, || {
                    facts([("cost", format!("{} credits", credits(&answer["amount"])))])
                })
            }
            Self::Prices { reach } => print_json(&ask(&reach, json!({ "query": "prices" })).await?),
            Self::Gateways { reach } => {
                print_json(&ask(&reach, json!({ "query": "gateways" })).await?)
            }
            Self::Checkpoint { reach } => {
                let answer = ask(&reach, json!({ "query": "checkpoint" })).await?;
                print(reach.json, &answer, || text(&answer["checkpoint"]))
            }
            Self::Fraud { file, genesis } => fraud(&file, &genesis),
        }
    }
}

async fn prove(
    reach: &LedgerReach,
    epoch: Epoch,
    lane: LaneKey,
    witnesses: &[PublicKey],
) -> Result<(), Failure> {
    let client = reach.stranger()?;
    let chain = client.chain_info().await.map_err(ReachError::from)?.chain;
    let LaneKey { gateway, node, lane: number } = lane;
    let query = json!({
        "query": "inclusion", "epoch": epoch, "gateway": gateway, "node": node, "lane": number,
    });
    let answer = client.query(query).await;
    client.close().await;
    let answer = answer.map_err(ReachError::from)?;
    let failed = |error: proof::ProofError| Failure::operation(format!("no proof: {error}"));
    let proved = proof::check(answer.clone(), chain, reach.id()?, witnesses).map_err(failed)?;
    proved.is_of(epoch, lane).map_err(failed)?;
    if proved.witnesses.len() < witnesses.len() {
        let (got, wanted) = (proved.witnesses.len(), witnesses.len());
        let sentence = format!("the head is cosigned by {got} of the {wanted} witnesses asked for");
        return Err(Failure::operation(sentence));
    }
    print(reach.json, &answer, || {
        facts([
            ("receipt", format!("entry {} of {}", proved.index, proved.head.size)),
            ("root", proved.head.root.to_string()),
            ("signed by", "the ledger, checked".to_owned()),
            ("cosigned by", format!("{} witnesses, checked", proved.witnesses.len())),
        ])
    })
}

/// All events of a party, page by page.
async fn events(
    reach: &LedgerReach,
    party: PublicKey,
    from: u64,
    until: u64,
) -> Result<Vec<Value>, ReachError> {
    let client = reach.stranger()?;
    let mut all = Vec::new();
    let mut after = Value::Null;
    loop {
        let query = json!({
            "query": "earnings", "party": party, "from": from, "until": until.min(i64::MAX as u64),
            "after": after,
        });
        let mut answer = client.query(query).await?;
        let page = answer["events"].as_array_mut().map(std::mem::take);
        all.extend(page.ok_or_else(|| ReachError::Answer("no events".to_owned()))?);
        after = answer["next"].take();
        if after.is_null() {
            client.close().await;
            return Ok(all);
        }
    }
}

fn earnings(events: &[Value]) -> String {
    let mut table = Table::new(&["<EPOCH", "WHAT", "<GROSS", "<TAX", "<WITHHELD", "<NET", "WHY"]);
    for event in events {
        let epoch = event.get("epoch").map_or("-".to_owned(), text);
        let cell = |name: &str| event.get(name).map_or("-".to_owned(), credits);
        let (net, why) = match event["event"].as_str().unwrap_or_default() {
            "matured" => (cell("free"), format!("{} held back", cell("held"))),
            "penalty" => (format!("-{}", cell("due")), text(&event["reason"])),
            "earned" | "shared" => (net(event), parts(event)),
            _ => (
                event.get("amount").or(event.get("held")).map_or("-".to_owned(), credits),
                event.get("reason").map(text).unwrap_or_default(),
            ),
        };
        table.row([
            epoch,
            text(&event["event"]),
            cell("gross"),
            cell("tax"),
            cell("withheld"),
            net,
            why,
        ]);
    }
    table.to_string()
}

/// What is left of the gross, and what was minted.
fn net(event: &Value) -> String {
    let amount = |name: &str| -> u128 {
        event[name].as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
    };
    let taken = amount("tax").saturating_add(amount("withheld"));
    let left = amount("gross").saturating_sub(taken);
    show_credits(Amount(left.saturating_add(amount("emission"))))
}

/// What it was earned for, and what nobody paid.
fn parts(event: &Value) -> String {
    let counted = event["amounts"].as_object().into_iter().flatten();
    let short = event.get("short").map(|short| ("short", short));
    let all = counted.map(|(name, amount)| (name.as_str(), amount)).chain(short);
    let some = all.filter(|(_, amount)| *amount != "0");
    let parts: Vec<String> =
        some.map(|(name, amount)| format!("{name} {}", credits(amount))).collect();
    parts.join(", ")
}

fn statement(answer: &Value) -> String {
    let mut table = Table::new(&["GATEWAY", "<AMOUNT", "<PUT", "<GET", "<BYTE-SECONDS", "CHARGED"]);
    let is_settled = matches!(answer["stage"].as_str(), Some("sealed" | "mature"));
    for line in answer["lines"].as_array().into_iter().flatten() {
        let counter = |name: &str| line["counters"][name].to_string();
        let charged = match line["charged"] == true {
            true => "yes",
            false if is_settled => "no",
            false => "not yet",
        };
        table.row([
            text(&line["gateway"]),
            credits(&line["amount"]),
            counter("put_bytes"),
            counter("get_bytes"),
            counter("stored_byte_seconds"),
            charged.to_owned(),
        ]);
    }
    table.to_string()
}

fn fraud(file: &std::path::Path, genesis: &std::path::Path) -> Result<(), Failure> {
    let read = |path: &std::path::Path| {
        std::fs::read(path)
            .map_err(|error| Failure::operation(format!("cannot read {}: {error}", path.display())))
    };
    let proof = FraudProof::from_json(&read(file)?).map_err(Failure::operation)?;
    let text = String::from_utf8_lossy(&read(genesis)?).into_owned();
    let first = text.lines().next().unwrap_or_default();
    let genesis = parse_genesis(first).map_err(Failure::operation)?;
    proof.verify(&genesis).map_err(Failure::operation)?;
    let height = proof.a.header.height;
    print_text(&format!("proved: the ledger signed two blocks of height {height}\n"))
}
