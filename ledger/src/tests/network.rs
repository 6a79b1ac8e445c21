//! Members and strangers talk to a ledger over QUIC, while a test moves its
//! clock. Submitting nothing makes the ledger notice the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::frame::{self, FrameError, LEDGER_FRAME_MAX};
use protocol::ids::PublicKey;
use protocol::ledger_api::{QueryAnswer, Submission};
use protocol::price::{Amount, Counters};
use protocol::refusal::Refusal;
use protocol::registration::{Invite, Registration};
use protocol::statement::{
    AccountOpening, Reservation, Revision, TransferId, UNSIGNED, UsageStatement,
};
use protocol::voucher::VoucherBody;
use protocol::{AccountId, ChainId, Epoch, LedgerId, SecretKey, quic};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::disk::{manual_clock, settings};
use super::world::{EPOCH, PRICES, account, gateway, gateway_key, node, node_key};
use crate::client::{ClientError, LedgerAddr, LedgerClient};
use crate::entry::{Entry, LaneKey};
use crate::hash::Hash;
use crate::ledger::{Ledger, RunError, Settings};
use crate::log::{verify_consistency, verify_inclusion};
use crate::proof::{self, ProofError};
use crate::server::SEATS_PER_KEY;
use crate::verify::verify;

pub(crate) struct Network {
    pub(crate) ledger: LedgerAddr,
    pub(crate) chain: ChainId,
    pub(crate) now: Arc<AtomicU64>,
    pub(crate) gateway: LedgerClient,
    pub(crate) node: LedgerClient,
    stop: CancellationToken,
    running: JoinHandle<Result<(), RunError>>,
    pub(crate) folder: tempfile::TempDir,
}

impl Network {
    pub(crate) async fn start() -> Self {
        Self::with_witnesses(Vec::new()).await
    }

    pub(crate) async fn with_witnesses(witnesses: Vec<PublicKey>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (timing, now) = manual_clock();
        let settings = Settings { witnesses, ..settings(folder.path()) };
        let ledger = Ledger::open_with(settings, timing).await.unwrap();
        let chain = ledger.chain();
        let addr = LedgerAddr { id: ledger.id(), addr: ledger.addr() };
        let stop = CancellationToken::new();
        let running = tokio::spawn(ledger.run(stop.clone()));
        Self {
            ledger: addr,
            chain,
            now,
            gateway: LedgerClient::new(gateway_key(0), addr),
            node: LedgerClient::new(node_key(0), addr),
            stop,
            running,
            folder,
        }
    }

    pub(crate) async fn pass_epoch(&self) {
        self.now.fetch_add(EPOCH, Ordering::SeqCst);
        assert_eq!(self.gateway.submit(Vec::new()).await.unwrap(), Vec::new());
    }

    pub(crate) async fn ask(&self, query: Value) -> Value {
        self.gateway.query(query).await.unwrap()
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
    }

    pub(crate) fn registration(&self) -> Submission {
        let invite = Invite {
            chain: self.chain,
            ledger: self.ledger.id,
            ledger_addr: self.ledger.addr,
            gateway: gateway(0),
            nonce: [1; 16],
            expires_ms: u64::MAX,
            signature: UNSIGNED,
        };
        let registration = Registration {
            chain: self.chain,
            node: node(0),
            addr: "127.0.0.1:5000".parse().unwrap(),
            zone: "east".into(),
            operator: "ann".into(),
            serial: 1,
            invite: Some(invite.signed(&gateway_key(0))),
            signature: UNSIGNED,
        };
        Submission::Register(Box::new(registration.signed(&node_key(0))))
    }

    pub(crate) fn opening(&self, account: AccountId) -> Submission {
        let opening =
            AccountOpening { chain: self.chain, gateway: gateway(0), account, signature: UNSIGNED };
        Submission::OpenAccount(Box::new(opening.signed(&gateway_key(0))))
    }

    pub(crate) fn reservation(&self, amount: u128) -> Submission {
        let reservation = Reservation {
            chain: self.chain,
            gateway: gateway(0),
            account: account(0),
            id: TransferId([1; 16]),
            amount: Amount(amount),
            signature: UNSIGNED,
        };
        Submission::Reserve(Box::new(reservation.signed(&gateway_key(0))))
    }

    pub(crate) fn receipt(&self, counters: Counters, price_sheet: [u8; 32]) -> Submission {
        let body = VoucherBody {
            chain: self.chain,
            gateway: gateway(0),
            node: node(0),
            epoch: Epoch(0),
            lane: 3,
            counters,
            amount: counters.amount(&PRICES),
            price_sheet,
        };
        let receipt = body.signed(&gateway_key(0)).countersigned(&node_key(0));
        Submission::Receipt(Box::new(receipt))
    }

    pub(crate) fn usage(&self, counters: Counters) -> Submission {
        let statement = UsageStatement {
            chain: self.chain,
            gateway: gateway(0),
            account: account(0),
            epoch: Epoch(0),
            revision: Revision(1),
            counters,
            amount: counters.amount(&PRICES),
            signature: UNSIGNED,
        };
        Submission::Usage(Box::new(statement.signed(&gateway_key(0))))
    }
}

#[tokio::test]
async fn traffic_is_settled_paid_and_proved() {
    let network = Network::start().await;
    let info = network.node.chain_info().await.unwrap();
    assert_eq!((info.chain, info.ledger), (network.chain, network.ledger.id));
    assert_eq!(info.prices.verify(network.ledger.id), Ok(()));
    assert_eq!(info.gateways, [gateway(0)]);

    let registration = network.registration();
    assert_eq!(network.node.submit(vec![registration.clone()]).await.unwrap(), [Ok(())]);
    assert_eq!(network.node.submit(vec![registration]).await.unwrap(), [Ok(())], "again");
    // In one request: each may rely on the one before.
    let money = vec![network.opening(account(0)), network.reservation(5_000)];
    assert_eq!(network.gateway.submit(money).await.unwrap(), [Ok(()), Ok(())]);

    network.pass_epoch().await;
    let info = network.node.chain_info().await.unwrap();
    assert_eq!((info.open, info.taking_receipts), (Epoch(1), vec![Epoch(0)]));
    assert_eq!(info.nodes.len(), 1);
    let counters = Counters { put_bytes: 990, operations: 1, ..Counters::default() };
    let receipt = network.receipt(counters, info.prices.sheet.id());
    assert_eq!(network.node.submit(vec![receipt.clone()]).await.unwrap(), [Ok(())]);
    assert_eq!(network.node.submit(vec![receipt.clone()]).await.unwrap(), [Ok(())]);
    let total = json!({"query": "receipts_total", "epoch": 0, "gateway": gateway(0)});
    assert_eq!(
        network.ask(total.clone()).await,
        json!({"sum": "1000", "receipts": 1, "stated": "0"})
    );

    network.pass_epoch().await;
    let info = network.node.chain_info().await.unwrap();
    assert_eq!(info.taking_statements, [Epoch(0)]);
    let late = network.node.submit(vec![receipt.clone()]).await.unwrap();
    assert_eq!(late, [Err("epoch 0 does not take receipts now".to_owned())]);
    assert_eq!(network.gateway.submit(vec![network.usage(counters)]).await.unwrap(), [Ok(())]);
    let stated = json!({"sum": "1000", "receipts": 1, "stated": "1000"});
    assert_eq!(network.ask(total.clone()).await, stated);
    network.pass_epoch().await;

    let epochs = network.ask(json!({"query": "epochs", "last": 2})).await;
    assert_eq!(epochs["epochs"][1]["state"], "open");
    let epochs = network.ask(json!({"query": "epochs", "last": 10})).await;
    let want = json!({
        "epoch": 0, "state": "sealed", "opened": super::world::START, "bytes": 990,
        "debited": "1000", "paid": "792", "tax": "8", "treasury": "200", "emission": "0",
        "void": [], "covered": [],
    });
    assert_eq!(epochs["epochs"][0], want);
    assert_eq!(network.ask(total).await, json!({"sum": "1000", "receipts": 1, "stated": null}));
    let spent = network.ask(json!({"query": "account", "account": account(0)})).await;
    let want = json!({
        "account": account(0), "gateway": gateway(0),
        "available": "995000", "reserved": "4000", "spent": "1000",
    });
    assert_eq!(spent, want);
    assert_eq!(network.ask(json!({"query": "nodes"})).await["nodes"][0]["immature"], "594");

    network.pass_epoch().await;
    network.pass_epoch().await;
    let nodes = network.ask(json!({"query": "nodes"})).await;
    let want = json!({
        "node": node(0), "addr": "127.0.0.1:5000", "zone": "east", "operator": "ann",
        "earned": "594", "immature": "0", "mature": "594", "bytes": 990,
        "held": "0", "deposit": "0", "withdrawn": "0", "excluded": false, "leaving": false,
    });
    assert_eq!(nodes, json!({"nodes": [want], "next": null}));

    check_inclusion(&network, &receipt).await;
    check_export(&network).await;
    network.stop().await;
}

async fn check_inclusion(network: &Network, receipt: &Submission) {
    let query = json!({
        "query": "inclusion", "epoch": 0, "gateway": gateway(0), "node": node(0), "lane": 3,
    });
    let answer = network.ask(query).await;
    let entry = Entry::Submitted(receipt.clone());
    let proved = proof::check(answer.clone(), network.chain, network.ledger.id, &[]).unwrap();
    assert_eq!((&proved.entry, proved.witnesses.len()), (&entry, 0));
    let lane = LaneKey { gateway: gateway(0), node: node(0), lane: 3 };
    assert!(proved.is_of(Epoch(0), lane).is_ok());
    assert!(matches!(proved.is_of(Epoch(1), lane), Err(ProofError::Other)));
    let mut moved = answer.clone();
    moved["index"] = json!(0);
    let moved = proof::check(moved, network.chain, network.ledger.id, &[]);
    assert!(matches!(moved, Err(ProofError::NotIncluded)));
    let other = LedgerId(gateway(0).0);
    let unsigned = proof::check(answer.clone(), network.chain, other, &[]);
    assert!(matches!(unsigned, Err(ProofError::Checkpoint(_))));
    let root: Hash = serde_json::from_value(answer["root"].clone()).unwrap();
    let proof: Vec<Hash> = serde_json::from_value(answer["proof"].clone()).unwrap();
    let (size, index) = (answer["log_size"].as_u64().unwrap(), answer["index"].as_u64().unwrap());
    assert!(verify_inclusion(root, size, index, entry.hash(), &proof));
    assert!(!verify_inclusion(root, size, index + 1, entry.hash(), &proof));
    assert!(answer["checkpoint"].as_str().unwrap().starts_with("stratos/"));

    // The log goes on, and is shown to be the same log.
    network.gateway.submit(vec![network.opening(account(1))]).await.unwrap();
    let later = network.ask(json!({"query": "consistency", "old_size": size})).await;
    let new: Hash = serde_json::from_value(later["root"].clone()).unwrap();
    let proof: Vec<Hash> = serde_json::from_value(later["proof"].clone()).unwrap();
    assert!(verify_consistency((root, size), (new, size + 1), &proof));
}

async fn check_export(network: &Network) {
    let genesis = network.ask(json!({"query": "genesis"})).await;
    let mut export = genesis["line"].as_str().unwrap().to_owned() + "\n";
    let mut from = Some(0);
    while let Some(height) = from {
        let query = json!({"query": "export", "from_height": height, "max": 3});
        let page = network.ask(query).await;
        for line in page["lines"].as_array().unwrap() {
            export += line.as_str().unwrap();
            export += "\n";
        }
        from = page["next"].as_u64();
    }
    let report = verify(export.as_bytes());
    assert!(report.is_ok(), "{report:?}");
    let head = network.ask(json!({"query": "checkpoint"})).await;
    assert_eq!(head["log_size"].as_u64(), Some(report.entries));
    assert_eq!(head["height"].as_u64(), Some(report.blocks - 1));
}

#[tokio::test]
async fn everybody_may_query() {
    let network = Network::start().await;
    let stranger = LedgerClient::new(SecretKey::from_seed([99; 32]), network.ledger);
    let accounts = stranger.query(json!({"query": "accounts"})).await.unwrap();
    assert_eq!(accounts["accounts"].as_array().unwrap().len(), 1, "the gateway's own");
    assert_eq!(network.ask(json!({"query": "accounts"})).await, accounts);
    network.stop().await;
}

#[tokio::test]
async fn a_query_that_makes_no_sense_is_told_so() {
    let network = Network::start().await;
    for query in [
        json!({"query": "weather"}),
        json!([]),
        json!({"query": "account", "account": "zz"}),
        json!({"query": "account", "account": account(9)}),
        json!({"query": "epochs", "last": 1, "first": 2}),
        json!({"query": "receipts_total", "epoch": 9, "gateway": gateway(0)}),
        json!({"query": "consistency", "old_size": 99}),
    ] {
        let answer = network.gateway.query(query.clone()).await;
        assert!(matches!(answer, Err(ClientError::Query(_))), "{query}: {answer:?}");
    }
    network.stop().await;
}

#[tokio::test]
async fn forged_submissions_are_told_apart_from_good_ones() {
    let network = Network::start().await;
    let Submission::Register(mut forged) = network.registration() else { panic!("as made") };
    forged.zone = "west".into();
    let mut elsewhere = forged.clone();
    elsewhere.chain.0[0] ^= 1;
    let submissions = vec![
        Submission::Register(forged),
        network.registration(),
        Submission::Register(elsewhere),
        network.opening(account(0)),
    ];
    let outcomes = network.node.submit(submissions).await.unwrap();
    assert!(outcomes[0].as_ref().unwrap_err().contains("does not verify"));
    assert_eq!(outcomes[1], Ok(()));
    assert_eq!(outcomes[2], Err("it is for another network".to_owned()));
    assert_eq!(outcomes[3], Ok(()), "whoever brings it, the gateway signed it");
    network.stop().await;
}

#[tokio::test]
async fn more_than_a_block_holds_is_taken() {
    let network = Network::start().await;
    let ids = (0..2_500u16).map(|n| AccountId(core::array::from_fn(|i| n.to_le_bytes()[i % 2])));
    let openings: Vec<Submission> = ids.map(|id| network.opening(id)).collect();
    let outcomes = network.gateway.submit(openings).await.unwrap();
    assert_eq!(outcomes.len(), 2_500);
    assert!(outcomes.iter().all(Result::is_ok));
    let (mut seen, mut after) = (0, Value::Null);
    loop {
        let page = network.ask(json!({"query": "accounts", "after": after})).await;
        seen += page["accounts"].as_array().unwrap().len();
        after = page["next"].clone();
        if after.is_null() {
            break;
        }
    }
    assert_eq!(seen, 2_501);
    network.stop().await;
}

#[tokio::test]
async fn bytes_that_are_no_request_are_refused() {
    let network = Network::start().await;
    let ledger = network.ledger;
    let endpoint = quic::dialler(ledger.addr.ip()).unwrap();
    let key = gateway_key(0);
    let connection = quic::dial(&endpoint, &key, ledger.id, ledger.addr).await.unwrap();
    let cases: [(&[u8], Refusal); 4] = [
        (b"\x01\0\0\0\x63", Refusal::Unsupported),
        (b"\x02\0\0\0\x40\x40", Refusal::Malformed),
        (b"\xff\xff\xff\xff", Refusal::Malformed),
        (b"\x09\0\0\0\x41\xff\xff\xff\xff\0\0\0\0", Refusal::Malformed),
    ];
    for (bytes, want) in cases {
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        send.write_all(bytes).await.unwrap();
        let answer = frame::read_answer::<QueryAnswer>(&mut recv, LEDGER_FRAME_MAX).await;
        let Err(FrameError::Refused(refusal)) = answer else { panic!("{bytes:?}: {answer:?}") };
        assert_eq!(refusal, want, "{bytes:?}");
    }
    assert!(network.gateway.chain_info().await.is_ok(), "it goes on");
    network.stop().await;
}

#[tokio::test]
async fn one_key_cannot_take_all_seats() {
    let network = Network::start().await;
    let client = || LedgerClient::new(SecretKey::from_seed([98; 32]), network.ledger);
    let mut seated = Vec::new();
    for _ in 0..SEATS_PER_KEY {
        let client = client();
        client.chain_info().await.unwrap();
        seated.push(client);
    }
    assert!(client().chain_info().await.is_err());
    assert!(network.gateway.chain_info().await.is_ok(), "others are served");
    seated.pop().unwrap().close().await;
    assert!(seated[0].chain_info().await.is_ok());
    network.stop().await;
}

#[tokio::test]
async fn a_ledger_with_another_key_is_not_talked_to() {
    let network = Network::start().await;
    let other = LedgerAddr { id: LedgerId(node(0).0), ..network.ledger };
    let client = LedgerClient::new(node_key(1), other);
    let answer = client.chain_info().await;
    assert!(matches!(answer, Err(ClientError::Unreachable(_))), "{answer:?}");
    network.stop().await;
}

#[tokio::test]
async fn a_client_outlives_its_connection_and_its_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    let mut client = None;
    for _ in 0..2 {
        let ledger = Ledger::open_with(settings.clone(), manual_clock().0).await.unwrap();
        // The second time at the address of the first.
        settings.listen = ledger.addr();
        let addr = LedgerAddr { id: ledger.id(), addr: ledger.addr() };
        let client = client.get_or_insert_with(|| LedgerClient::new(gateway_key(0), addr));
        let stop = CancellationToken::new();
        let running = tokio::spawn(ledger.run(stop.clone()));
        assert!(client.chain_info().await.is_ok());
        client.close().await;
        assert!(client.chain_info().await.is_ok());
        stop.cancel();
        running.await.unwrap().unwrap();
    }
}
