//! A ledger's process is killed while it is asked to write: nothing that it
//! said yes to is lost, and what is submitted again is not there twice.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use protocol::ledger_api::Submission;
use protocol::statement::{AccountOpening, UNSIGNED};
use protocol::{AccountId, ChainId};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::disk::settings;
use super::world::{gateway, gateway_key};
use crate::client::{LedgerAddr, LedgerClient};
use crate::clock::Timing;
use crate::ledger::Ledger;

/// The folder of the child's ledger.
const FOLDER: &str = "STRATOS_TEST_KILL_FOLDER";

#[tokio::test]
#[ignore = "the process that the test below kills"]
async fn child() {
    let folder = std::env::var(FOLDER).expect("the test below sets it");
    let ledger = Ledger::open_with(settings(Path::new(&folder)), Timing::default()).await.unwrap();
    println!("\nserving {} {} {}", ledger.id(), ledger.addr(), ledger.chain());
    ledger.run(CancellationToken::new()).await.unwrap();
}

fn start(folder: &Path) -> (Child, LedgerAddr, ChainId) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::kill::child", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.find_map(|line| Some(line.unwrap().strip_prefix("serving ")?.to_owned()));
    let line = line.expect("it serves");
    let words: Vec<&str> = line.split(' ').collect();
    let [id, addr, chain] = words[..] else { panic!("{line}") };
    let addr = LedgerAddr { id: id.parse().unwrap(), addr: addr.parse().unwrap() };
    (child, addr, chain.parse().unwrap())
}

fn opening(chain: ChainId, n: u16) -> Submission {
    let account = AccountId(core::array::from_fn(|i| n.to_le_bytes()[i % 2]));
    let opening = AccountOpening { chain, gateway: gateway(0), account, signature: UNSIGNED };
    Submission::OpenAccount(Box::new(opening.signed(&gateway_key(0))))
}

#[tokio::test]
async fn a_killed_ledger_neither_loses_nor_doubles() {
    const ROUNDS: u16 = 4;
    const EACH: u16 = 200;
    let folder = tempfile::tempdir().unwrap();
    for round in 0..ROUNDS {
        let (mut child, addr, chain) = start(folder.path());
        let client = LedgerClient::new(gateway_key(0), addr);
        let of = |first: u16| (first * EACH..(first + 1) * EACH).map(|n| opening(chain, n));
        // What the killed ledger before may or may not have written.
        let before: Vec<Submission> = (0..round).flat_map(of).collect();
        let outcomes = client.submit(before).await.unwrap();
        assert!(outcomes.iter().all(Result::is_ok));
        let info = client.query(json!({"query": "checkpoint"})).await.unwrap();
        assert_eq!(opened(&client).await, round * EACH, "{info}");

        // Killed once the ledger is at work on them: before, between or after.
        let said = client.submit(of(round).take(10).collect()).await.unwrap();
        assert!(said.iter().all(Result::is_ok));
        let rest = client.submit(of(round).skip(10).collect());
        let killed = async {
            tokio::task::yield_now().await;
            child.kill().unwrap();
            child.wait().unwrap();
        };
        let mut rest = std::pin::pin!(rest);
        tokio::select! { _ = &mut rest => {}, () = killed => {} }
        let (mut child, addr, _) = start(folder.path());
        let client = LedgerClient::new(gateway_key(0), addr);
        let kept = opened(&client).await;
        assert!(kept >= round * EACH + 10, "what was answered stands: {kept}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// How many accounts customers have.
async fn opened(client: &LedgerClient) -> u16 {
    let (mut count, mut after) = (0, json!(null));
    loop {
        let page = client.query(json!({"query": "accounts", "after": after})).await.unwrap();
        count += page["accounts"].as_array().unwrap().len();
        after = page["next"].clone();
        if after.is_null() {
            // The gateway's own is one of them.
            return u16::try_from(count - 1).unwrap();
        }
    }
}
