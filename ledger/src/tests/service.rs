//! Questions about money, as a running ledger answers them.

use protocol::Epoch;
use protocol::price::Counters;
use protocol::wire::Wire;
use serde_json::{Value, json};

use super::network::Network;
use super::world::{account, gateway, node};
use crate::client::ClientError;
use crate::entry::Entry;
use crate::hash::Hash;
use crate::log::verify_inclusion;

#[tokio::test]
async fn an_account_is_told_what_it_paid_and_why() {
    let network = Network::start().await;
    let info = network.node.chain_info().await.unwrap();
    network.node.submit(vec![network.registration()]).await.unwrap();
    let money = vec![network.opening(account(0)), network.reservation(5_000)];
    network.gateway.submit(money).await.unwrap();
    network.pass_epoch().await;
    let counters = Counters { put_bytes: 990, operations: 1, ..Counters::default() };
    let receipt = network.receipt(counters, info.prices.sheet.id());
    network.node.submit(vec![receipt]).await.unwrap();
    network.pass_epoch().await;
    let statement = network.usage(counters);
    network.gateway.submit(vec![statement.clone()]).await.unwrap();

    let query = json!({"query": "statement", "account": account(0), "epoch": 0});
    let before = network.ask(query.clone()).await;
    assert_eq!(before["stage"], "statements");
    assert_eq!(before["lines"][0]["amount"], "1000");
    assert_eq!(before["prices"]["prices"]["operations"], 10);
    network.pass_epoch().await;
    let after = network.ask(query).await;
    assert_eq!(after["stage"], "sealed");
    assert_eq!(after["lines"][0]["counters"]["put_bytes"], 990);
    assert_eq!(after["lines"][0]["reserved"], "4000");
    let proved = &after["lines"][0]["statement"];
    let bytes = hex::decode(proved["entry"].as_str().unwrap()).unwrap();
    let entry = Entry::from_wire(&bytes).unwrap();
    assert_eq!(entry, Entry::Submitted(statement));
    let proof: Vec<Hash> = serde_json::from_value(proved["proof"].clone()).unwrap();
    let root: Hash = serde_json::from_value(after["root"].clone()).unwrap();
    let number = |value: &Value| value.as_u64().unwrap();
    let (size, index) = (number(&after["log_size"]), number(&proved["index"]));
    assert!(verify_inclusion(root, size, index, entry.hash(), &proof));

    let quiet = network.ask(json!({"query": "statement", "account": account(0), "epoch": 1})).await;
    assert_eq!(quiet["lines"], json!([]));
    let earnings = network.ask(json!({"query": "earnings", "party": node(0)})).await;
    assert_eq!(earnings["next"], Value::Null);
    assert_eq!(earnings["party"], json!(node(0)));
    network.stop().await;
}

#[tokio::test]
async fn prices_quotes_and_gateways_are_public() {
    let network = Network::start().await;
    let prices = network.ask(json!({"query": "prices"})).await;
    assert_eq!(prices["sheets"][0]["prices"]["put_bytes"], 1);
    assert_eq!(prices["open"], json!(Epoch(0)));
    let counters = json!({"put_bytes": 7, "operations": 2});
    let quote = network.ask(json!({"query": "quote", "counters": counters})).await;
    assert_eq!((&quote["amount"], &quote["sheet"]), (&json!("27"), &prices["sheets"][0]["id"]));
    let unknown = json!({"query": "quote", "counters": {"weather": 1}});
    let refused = network.gateway.query(unknown).await;
    assert!(matches!(refused, Err(ClientError::Query(why)) if why.contains("weather")));
    let gateways = network.ask(json!({"query": "gateways"})).await;
    assert_eq!(gateways["gateways"][0]["gateway"], json!(gateway(0)));
    assert_eq!(gateways["gateways"][0]["revoked"], false);
    network.stop().await;
}
