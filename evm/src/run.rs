//! What each command does: from an export and a contract to a few facts.

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use alloy_primitives::Address;
use evm::chain::{EvmChain, Receipt};
use evm::contract::{Claims, Deployment, Posted, deploy};
use evm::key;
use evm::leaves::{ExportError, Orders, Withdrawn};
use evm::rpc::{Rpc, RpcError};
use evm::tree::{Proof, Tree};
use protocol::Epoch;
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::cli::{ChainArgs, Cli, Command, ContractArgs, KeyArgs, LedgerArgs};

/// What the command line asks for, and is not there.
#[derive(Debug, Error)]
enum Lack {
    #[error("nothing left to any address by the end of epoch {0}, so there is no root")]
    NoLeaves(u64),
    #[error("{address} has no leaf in epoch {epoch}: no party bound it, or nothing was withdrawn")]
    NoLeaf { address: Address, epoch: u64 },
    #[error("the contract holds no root yet")]
    NoRoot,
    #[error("the root of epoch {0} on the contract is not what this ledger gives")]
    OtherRoot(u64),
}

type Facts = Vec<(&'static str, Value)>;

/// Does it, and prints what there is to know.
pub async fn run(Cli { command, json }: Cli) -> Result<(), Box<dyn Error>> {
    match command {
        Command::Root { ledger, leaves } => {
            let snapshot = Snapshot::read(&ledger)?;
            print(json, snapshot.facts(leaves)?)
        }
        Command::Proof { ledger, address } => {
            let snapshot = Snapshot::read(&ledger)?;
            let proof = snapshot.proof(address)?;
            print(json, proof_facts(&snapshot, address, &proof)?)
        }
        Command::Deploy { token, poster, guardian, delay, previous, chain, key } => {
            let signer = key::read(key.key_file.as_deref())?;
            let deployment = Deployment { token, poster, guardian, delay, previous };
            let receipt = deploy(&chain.open()?, &signer, deployment).await?;
            print(json, sent(&receipt))
        }
        Command::Post { ledger, contract, key } => {
            let posted = Snapshot::read(&ledger)?.posted()?;
            print(json, post(&contract, &key, posted).await?)
        }
        Command::Veto { epoch, contract, key } => {
            let signer = key::read(key.key_file.as_deref())?;
            let chain = contract.chain.open()?;
            print(json, sent(&contract.on(&chain).veto(&signer, epoch).await?))
        }
        Command::Claim { export, address, contract, key } => {
            print(json, claim(&export, address, &contract, &key).await?)
        }
        Command::Status { export, account, contract } => {
            status(json, export.as_deref(), account, &contract).await
        }
    }
}

/// What had left by the end of an epoch.
struct Snapshot {
    orders: Orders,
    epoch: u64,
    withdrawn: Withdrawn,
}

impl Snapshot {
    fn read(ledger: &LedgerArgs) -> Result<Self, ExportError> {
        let orders = Orders::read(&ledger.export)?;
        let epoch = match ledger.epoch {
            Some(epoch) => epoch,
            None => orders.last_epoch()?.0,
        };
        let withdrawn = orders.withdrawn(Epoch(epoch))?;
        Ok(Self { orders, epoch, withdrawn })
    }

    fn tree(&self) -> Result<Tree, Lack> {
        Tree::new(&self.withdrawn.leaves).ok_or(Lack::NoLeaves(self.epoch))
    }

    fn posted(&self) -> Result<Posted, Lack> {
        Ok(Posted { root: self.tree()?.root(), epoch: self.epoch })
    }

    fn proof(&self, address: Address) -> Result<Proof, Lack> {
        let lack = Lack::NoLeaf { address, epoch: self.epoch };
        self.tree()?.proof(address).ok_or(lack)
    }

    fn facts(&self, leaves: bool) -> Result<Facts, Lack> {
        let amounts = &self.withdrawn.leaves;
        let mut facts = vec![
            ("network", json!(self.orders.chain.to_string())),
            ("epoch", json!(self.epoch)),
            ("root", json!(self.posted()?.root)),
            ("addresses", json!(amounts.len())),
            ("withdrawn", json!(amounts.values().sum::<u128>().to_string())),
            ("without_address", json!(self.withdrawn.unbound.to_string())),
        ];
        if leaves {
            let leaf = |(address, amount): (&Address, &u128)| json!([address, amount.to_string()]);
            facts.push(("leaves", amounts.iter().map(leaf).collect()));
        }
        Ok(facts)
    }
}

fn proof_facts(snapshot: &Snapshot, address: Address, proof: &Proof) -> Result<Facts, Lack> {
    Ok(vec![
        ("epoch", json!(snapshot.epoch)),
        ("root", json!(snapshot.posted()?.root)),
        ("address", json!(address)),
        ("cumulative", json!(proof.amount.to_string())),
        ("proof", json!(proof.siblings)),
    ])
}

async fn post(
    contract: &ContractArgs,
    key: &KeyArgs,
    posted: Posted,
) -> Result<Facts, Box<dyn Error>> {
    let signer = key::read(key.key_file.as_deref())?;
    let chain = contract.chain.open()?;
    let receipt = contract.on(&chain).post(&signer, posted).await?;
    let mut facts = vec![("epoch", json!(posted.epoch)), ("root", json!(posted.root))];
    facts.extend(sent(&receipt));
    Ok(facts)
}

/// The proof must be of the epoch that the contract holds, whatever came after.
async fn claim(
    export: &Path,
    address: Address,
    contract: &ContractArgs,
    key: &KeyArgs,
) -> Result<Facts, Box<dyn Error>> {
    let signer = key::read(key.key_file.as_deref())?;
    let chain = contract.chain.open()?;
    let claims = contract.on(&chain);
    let current = claims.current().await?.ok_or(Lack::NoRoot)?;
    let ledger = LedgerArgs { export: export.to_owned(), epoch: Some(current.epoch) };
    let snapshot = Snapshot::read(&ledger)?;
    if snapshot.posted()? != current {
        return Err(Lack::OtherRoot(current.epoch).into());
    }
    let proof = snapshot.proof(address)?;
    let cumulative = proof.amount;
    let receipt = claims.claim(&signer, address, proof).await?;
    let mut facts = vec![
        ("epoch", json!(current.epoch)),
        ("address", json!(address)),
        ("cumulative", json!(cumulative.to_string())),
    ];
    facts.extend(sent(&receipt));
    Ok(facts)
}

async fn status(
    json: bool,
    export: Option<&Path>,
    account: Option<Address>,
    contract: &ContractArgs,
) -> Result<(), Box<dyn Error>> {
    let chain = contract.chain.open()?;
    let claims = contract.on(&chain);
    let status = claims.status().await?;
    let orders = export.map(Orders::read).transpose()?;
    let mut facts = vec![
        ("chain", json!(chain.id().await?)),
        ("token", json!(status.token)),
        ("balance", json!(status.balance.to_string())),
        ("poster", json!(status.poster)),
        ("guardian", json!(status.guardian)),
        ("delay", json!(status.delay)),
        ("previous", (!status.previous.is_zero()).then(|| json!(status.previous)).into()),
        ("current", status.current.map(|posted| root_facts(posted, None)).into()),
        ("waiting", status.waiting.map(|(posted, at)| root_facts(posted, Some(at))).into()),
    ];
    if let Some(account) = account {
        facts.push(("paid", json!(claims.paid(account).await?.to_string())));
    }
    let posted = status.current.into_iter().chain(status.waiting.map(|(posted, _)| posted));
    let wrong = orders.and_then(|orders| posted.into_iter().find(|root| !is_of(&orders, *root)));
    print(json, facts)?;
    match wrong {
        Some(posted) => Err(Lack::OtherRoot(posted.epoch).into()),
        None => Ok(()),
    }
}

/// An epoch that is not over on the ledger has no root there.
fn is_of(orders: &Orders, posted: Posted) -> bool {
    let withdrawn = orders.withdrawn(Epoch(posted.epoch)).ok();
    let tree = withdrawn.and_then(|withdrawn| Tree::new(&withdrawn.leaves));
    tree.is_some_and(|tree| tree.root() == posted.root)
}

fn root_facts(posted: Posted, holds_at: Option<u64>) -> Value {
    let mut facts = json!({ "epoch": posted.epoch, "root": posted.root });
    if let Some(seconds) = holds_at {
        facts["holds_at"] = json!(seconds);
    }
    facts
}

fn sent(receipt: &Receipt) -> Facts {
    let mut facts = Vec::new();
    if let Some(contract) = receipt.contract_address {
        facts.push(("contract", json!(contract)));
    }
    facts.push(("transaction", json!(receipt.transaction_hash)));
    facts.push(("block", json!(receipt.block_number.to::<u64>())));
    facts
}

fn print(json: bool, facts: Facts) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    if json {
        let object = facts.into_iter().map(|(name, value)| (name.to_owned(), value));
        writeln!(out, "{}", Value::Object(Map::from_iter(object)))?;
        return Ok(());
    }
    for (name, value) in facts {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        writeln!(out, "{name:<16} {text}")?;
    }
    Ok(())
}

impl ChainArgs {
    fn open(&self) -> Result<EvmChain, RpcError> {
        Ok(EvmChain::new(Rpc::new(&self.rpc)?, Duration::from_secs(self.wait)))
    }
}

impl ContractArgs {
    fn on<'a>(&self, chain: &'a EvmChain) -> Claims<'a> {
        Claims { chain, address: self.contract }
    }
}
