//! What operators, owners and strangers do with a ledger on the command line,
//! on a network that runs.

#[path = "market/mod.rs"]
#[expect(dead_code, reason = "the cheats are for another test")]
mod market;
mod process;

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use market::Market;
use process::{STRATOS, stratos, wait_for};
use protocol::price::{Amount, CREDIT};
use serde_json::Value;

/// Ends a process when the test ends, however it does.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The network and how its ledger is reached by anyone.
struct Here {
    market: Market,
    ledger: String,
}

impl Here {
    /// What a command answers; the ledger is named last.
    fn ask(&self, command: &[&str]) -> Value {
        let answer = stratos(&[command, &["--ledger", &self.ledger, "--json"]].concat());
        serde_json::from_str(&answer).expect("JSON")
    }

    /// What a command says when it fails.
    fn refused(&self, command: &[&str]) -> String {
        let all = [command, &["--ledger", &self.ledger]].concat();
        let done = Command::new(STRATOS).args(&all).output().expect("the program runs");
        assert_eq!(done.status.code(), Some(1), "{command:?}");
        String::from_utf8_lossy(&done.stderr).into_owned()
    }

    fn key(&self, role: &process::Role, name: &str) -> String {
        role.dir().join(name).display().to_string()
    }

    fn balance(&self) -> Amount {
        let info = self.market.gateways[0].ask(&["account", "show", "alice"]);
        serde_json::from_value(info["balance"].clone()).expect("an amount")
    }
}

/// A witness that the ledger's settings name.
fn witness(folder: &std::path::Path, market: &Market) -> (Running, String) {
    let file = folder.join("witness.toml");
    let text = format!(
        "dir = {:?}\n[ledger]\nid = {:?}\naddr = \"{}\"\n",
        folder.join("witness"),
        market.ledger.id(),
        market.ledger_addr
    );
    fs::write(&file, text).expect("written");
    let file = file.display().to_string();
    let key = stratos(&["ledger", "witness", "-c", &file, "--print-id"]).trim().to_owned();
    let log = File::create(folder.join("witness.log")).expect("a log");
    let mut command = Command::new(STRATOS);
    command.args(["ledger", "witness", "-c", &file]).stdin(Stdio::null()).stdout(Stdio::null());
    (Running(command.stderr(log).spawn().expect("it starts")), key)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_moves_as_ordered_and_everything_can_be_proved() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut market = Market::new(folder.path(), 1, 6, "", "");
    let (_witness, witness_key) = witness(folder.path(), &market);
    let settings = fs::read_to_string(folder.path().join("ledger.toml")).expect("settings");
    let settings = format!("{settings}witnesses = [{witness_key:?}]\n");
    fs::write(folder.path().join("ledger.toml"), settings).expect("written");
    market.start().await;
    let ledger = format!("{}@{}", market.ledger.id(), market.ledger_addr);
    let here = Here { market, ledger };
    let operator = here.key(&here.market.ledger, "ledger.key");
    let gateway = here.market.gateways[0].0.id();

    // A wallet's account, which begins with nothing.
    let wallet = folder.path().join("wallet.key").display().to_string();
    let made: Value =
        serde_json::from_str(&stratos(&["wallet", "new", &wallet, "--json"])).expect("JSON");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let (owner, account) = (text(&made["owner"]), text(&made["account"]));
    let grant = ["wallet", "grant", &wallet, &gateway, "--limit", "3", "--epochs", "1000"];
    let stranger = here.refused(&grant);
    assert!(stranger.contains("no gateway has opened account"), "{stranger}");
    let alice = ["account", "create", "alice", "--owner", &owner];
    here.market.gateways[0].ask(&alice);
    wait_for("grant", &here.market.ledger, async || {
        let all = [&grant[..], &["--ledger", &here.ledger]].concat();
        let done = Command::new(STRATOS).args(&all).output().expect("the program runs");
        done.status.success().then_some(())
    })
    .await;
    let id = "00112233445566778899aabbccddeeff";
    let deposit = ["ledger", "deposit", &account, "5.5", "--key", &operator, "--id", id];
    here.ask(&deposit);
    here.ask(&deposit);
    wait_for("one deposit", &here.market.ledger, async || {
        (here.balance() == Amount(55 * CREDIT / 10)).then_some(())
    })
    .await;
    let thief = here.key(&here.market.nodes[0], "node.key");
    let stolen = here.refused(&["ledger", "deposit", &account, "5", "--key", &thief]);
    assert!(stolen.contains("not permitted") || stolen.contains("may not"), "{stolen}");

    // Prices for later, traffic now.
    let prices = here.ask(&["ledger", "prices"]);
    let from = (prices["open"].as_u64().expect("an epoch") + 100_000).to_string();
    here.ask(&["ledger", "post-prices", "--from", &from, "--get-bytes", "7", "--key", &operator]);
    let sheets = here.ask(&["ledger", "prices"])["sheets"].as_array().expect("sheets").clone();
    assert_eq!(sheets.len(), 2);
    assert_eq!(sheets[1]["prices"]["get_bytes"], 7);
    assert_eq!(sheets[1]["prices"]["put_bytes"], sheets[0]["prices"]["put_bytes"]);
    let later = from.replace("100", "200");
    here.ask(&["ledger", "post-prices", "--from", &later, "--put-bytes", "3", "--key", &operator]);
    let sheets = here.ask(&["ledger", "prices"])["sheets"].as_array().expect("sheets").clone();
    assert_eq!(sheets[2]["prices"]["get_bytes"], 7, "what is not given stays as it was");
    let s3 = here.market.gateways[0].client().await;
    s3.create_bucket("traffic").await.expect("a bucket");
    for n in 0..4u8 {
        s3.put("traffic", n.to_string(), Bytes::from(vec![n; 900_000])).await.expect("stored");
    }

    // A node's pay, and what it does with it.
    let node = here.market.node_key(0).public().to_string();
    let earned = wait_for("pay that matured", &here.market.ledger, async || {
        let told = here.ask(&["ledger", "earnings", &node]);
        let events = told["events"].as_array().expect("events").clone();
        let free = |event: &Value| event["event"] == "matured" && event["free"] != "0";
        events.iter().any(free).then_some(events)
    })
    .await;
    let short = here.market.gateways[0].ask(&["ledger", "earnings", &node[..8]]);
    assert_eq!(short["party"], node, "a beginning will do");
    let receipt = earned.iter().find(|event| event["event"] == "earned").expect("a receipt");
    let epoch = receipt["epoch"].to_string();
    let withdraw = ["ledger", "withdraw", "0.000000000000000005", "--key", &thief, "--id", id];
    here.ask(&withdraw);
    here.ask(&withdraw);
    let too_much = here.refused(&["ledger", "withdraw", "1000000", "--key", &thief]);
    assert!(too_much.contains("atto-credits are wanted"), "{too_much}");
    let address = format!("0x{}", "ab".repeat(20));
    here.ask(&["ledger", "bind-evm", &address, "--key", &thief]);

    // Proofs, cosigned.
    wait_for("cosigned proof", &here.market.ledger, async || {
        let proof = ["ledger", "proof", &epoch, &gateway, &node, "--witness", &witness_key];
        let all = [&proof[..], &["--ledger", &here.ledger, "--json"]].concat();
        let done = Command::new(STRATOS).args(&all).output().expect("the program runs");
        done.status.success().then_some(())
    })
    .await;
    let own = here.ask(&["ledger", "gateways"])["gateways"][0].clone();
    assert_eq!(own["gateway"], gateway.as_str());
    let quote = here.ask(&["ledger", "quote", "--get", "1GiB"]);
    assert_eq!(quote["amount"], (u128::from(10_000_000u64) << 30).to_string());
}
