//! A network that sells traffic units on the curve, and a wallet's account that
//! spends what was granted, is refused, frozen, and granted more.

#[path = "market/mod.rs"]
#[expect(dead_code, reason = "the cheats are for another test")]
mod market;
mod process;

use std::io::BufReader;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use market::Market;
use market::books::Books;
use process::{stratos, wait_for};
use protocol::Epoch;
use protocol::price::CREDIT;
use serde_json::{Value, json};
use stratos::client::ops::ListQuery;
use stratos::client::{Body, ClientError, Request, S3Client};
use stratos::endpoint::Endpoint;

/// Long enough that what follows a refusal at once is within it.
const FREEZE_SECONDS: u64 = 20;
const BUCKET: &str = "granted";
const LEN: usize = 300_000;

/// The gateway's admin API, as a program of somebody else asks it.
struct Admin {
    http: S3Client,
    endpoint: Endpoint,
}

impl Admin {
    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = format!("{}{path}", self.endpoint.admin_endpoint);
        let bearer = format!("Bearer {}", self.endpoint.admin_token);
        let mut headers = HeaderMap::new();
        headers.insert(http::header::AUTHORIZATION, bearer.parse().expect("a header"));
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = body.map_or_else(Body::empty, |body| Body::unsigned(body.to_string().into()));
        let answer = self.http.send_unsigned(method, &url, headers, body).await.expect("an answer");
        let status = answer.status.as_u16();
        let bytes = answer.bytes().await.expect("a whole answer");
        (status, serde_json::from_slice(&bytes).expect("JSON"))
    }

    async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.ask(Method::GET, path, None).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }
}

/// The code of a refusal.
fn code<T>(answer: Result<T, ClientError>) -> Option<String> {
    answer.err().map(|error| error.code().unwrap_or_else(|| panic!("{error}")).to_owned())
}

fn whole(value: &Value) -> u128 {
    value.as_str().expect("an amount").parse().expect("a whole number")
}

/// What storing the object is said to cost, if one asks.
async fn cost_of_put(s3: &S3Client, asked: bool) -> Option<u128> {
    let mut request = Request::new(Method::PUT, BUCKET, "cost").body(Bytes::from(vec![1; LEN]));
    if asked {
        request = request.header("x-stratos-cost", HeaderValue::from_static("true"));
    }
    let answer = s3.send(request).await.expect("an answer").ok().await.expect("stored");
    answer.header("x-stratos-cost").map(|text| text.parse().expect("a whole number"))
}

/// Uploads until the account cannot pay any more.
async fn spend_all(market: &Market, s3: &S3Client) -> u64 {
    let mut stored = 0;
    wait_for("refused upload", &market.gateways[0].0, async || {
        let put = s3.put(BUCKET, format!("{stored}"), Bytes::from(vec![7; LEN])).await;
        stored += u64::from(put.is_ok());
        code(put).filter(|code| code == "AccountProblem")
    })
    .await;
    stored
}

/// The statement of an epoch that charged the account.
async fn charged(market: &Market, admin: &Admin, name: &str) -> Value {
    wait_for("charge", &market.ledger, async || {
        let open = admin.get("/v1/prices").await["open"].as_u64().expect("an epoch");
        for epoch in 0..open {
            let path = format!("/v1/accounts/{name}/statement?epoch={epoch}");
            let statement = admin.get(&path).await;
            if statement["lines"].as_array()?.iter().any(|line| line["charged"] == true) {
                return Some(statement);
            }
        }
        None
    })
    .await
}

/// The ledger agrees with its export, and on what units were used and paid.
fn check_export(market: &Market) {
    let file = market.ledger.dir().join("export.ndjson").display().to_string();
    market.gateways[0].ask(&["ledger", "export", &file]);
    let export = std::fs::read_to_string(file).expect("an export");
    let report = ledger::verify(BufReader::new(export.as_bytes()));
    assert!(report.is_ok() && report.conserved, "{report:?}");
    let books = Books::read(&export);
    let state = books.chain.state();
    let mut units = 0;
    for (epoch, sealed) in state.sealed() {
        let summary = &sealed.summary;
        assert!(summary.void.is_empty(), "epoch {epoch}: {:?}", summary.void);
        units += summary.curve.expect("units are used").units.0;
    }
    let mature = state.mature().values().filter_map(|summary| summary.curve);
    units += mature.map(|used| used.units.0).sum::<u128>();
    assert!(units > 0, "traffic was bought in units");
    assert!(state.summary(Epoch(0)).is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn units_are_bought_within_a_grant_and_who_cannot_pay_is_frozen_until_it_can() {
    let folder = tempfile::tempdir().expect("a folder");
    let curve = "[economy]\npricing = \"curve\"\ncurve_stake_credits = 1000";
    let freeze = format!("freeze_after_seconds = {FREEZE_SECONDS}");
    let mut market = Market::new(folder.path(), 1, 6, &freeze, curve);
    market.start().await;
    let gateway = market.gateways[0].0.id();
    let ledger = format!("{}@{}", market.ledger.id(), market.ledger_addr);
    let endpoint = market.gateways[0].endpoint().await;
    let s3 = market.gateways[0].client().await;
    let admin = Admin { http: market.gateways[0].client().await, endpoint: endpoint.clone() };

    // Costs are told to who asks, in units, and a quote says the money.
    s3.create_bucket(BUCKET).await.expect("a bucket");
    assert_eq!(cost_of_put(&s3, false).await, None);
    let cost = cost_of_put(&s3, true).await.expect("what it costs");
    let bytes = u64::try_from(LEN * 6 / 4).expect("small");
    let counters = json!({ "put_bytes": bytes, "operations": 6 });
    let (status, quote) = admin.ask(Method::POST, "/v1/quote", Some(counters)).await;
    assert_eq!(status, 200, "{quote}");
    let (units, money) = (whole(&quote["units"]), whole(&quote["money"]));
    assert!(units <= cost && cost < units * 11 / 10, "{cost}: {quote}");
    assert!(money > 0 && quote["amount"] == quote["money"], "{quote}");
    let (status, refusal) = admin.ask(Method::POST, "/v1/quote", Some(json!({"x": 1}))).await;
    assert!(status >= 400 || refusal["error"].is_string(), "{status}: {refusal}");
    let prices = admin.get("/v1/prices").await;
    assert!(whole(&prices["curve"]["money"]) >= 1000 * CREDIT, "{prices}");
    s3.delete(BUCKET, "cost").await.expect("deleted");
    s3.delete_bucket(BUCKET).await.expect("deleted");

    // A wallet that has more than it grants.
    let wallet = folder.path().join("wallet.key").display().to_string();
    let made: Value =
        serde_json::from_str(&stratos(&["wallet", "new", &wallet, "--json"])).expect("JSON");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let (owner, account) = (text(&made["owner"]), text(&made["account"]));
    market.gateways[0].ask(&["account", "create", "bob", "--owner", &owner]);
    let operator = market.ledger.dir().join("ledger.key").display().to_string();
    let deposit = ["ledger", "deposit", &account, "1", "--key", &operator, "--ledger", &ledger];
    wait_for("account", &market.ledger, async || {
        let done = std::process::Command::new(process::STRATOS).args(deposit).output();
        done.expect("the program runs").status.success().then_some(())
    })
    .await;
    let grant = |limit: &str| {
        stratos(&[
            "wallet", "grant", &wallet, &gateway, "--limit", limit, "--epochs", "1000", "--ledger",
            &ledger,
        ])
    };
    grant("0.00003");
    let key = market.gateways[0].ask(&["key", "create", "--account", "bob"]);
    let (id, secret) = (text(&key["access_key_id"]), text(&key["secret_access_key"]));
    let bob = S3Client::new(&endpoint.endpoint, &endpoint.region, &id, &secret).expect("a client");
    wait_for("grant", &market.gateways[0].0, async || bob.create_bucket(BUCKET).await.ok()).await;

    let stored = spend_all(&market, &bob).await;
    assert!(stored >= 1, "the grant was good for something");
    // What is stored can still be read, for a time.
    assert_eq!(bob.get_bytes(BUCKET, "0").await.expect("readable").len(), LEN);
    wait_for("frozen account", &market.gateways[0].0, async || {
        code(bob.get_bytes(BUCKET, "0").await).filter(|code| code == "AccountProblem")
    })
    .await;
    // Nothing is lost, and it may be listed and deleted.
    let listed = bob.list_v2(BUCKET, ListQuery::default()).await.expect("listed");
    assert!(listed.objects.len() as u64 >= stored);
    if stored > 1 {
        bob.delete(BUCKET, "1").await.expect("deleted");
    }
    grant("0.9");
    wait_for("thawed account", &market.gateways[0].0, async || {
        bob.get_bytes(BUCKET, "0").await.ok()
    })
    .await;
    wait_for("upload", &market.gateways[0].0, async || {
        bob.put(BUCKET, "again", Bytes::from(vec![9; LEN])).await.ok()
    })
    .await;

    // What it used, what that cost, and who earned it.
    let statement = charged(&market, &admin, "bob").await;
    let line = &statement["lines"][0];
    assert_eq!(line["gateway"], gateway.as_str());
    assert!(whole(&line["amount"]) > 0 && line["statement"]["proof"].is_array(), "{statement}");
    let node = market.node_key(0).public();
    let earned = admin.get(&format!("/v1/nodes/{node}/earnings")).await;
    let events = earned["events"].as_array().expect("events");
    let earned = events.iter().find(|event| event["event"] == "earned").expect("it earned");
    assert!(whole(&earned["debited"]) > 0 && whole(&earned["short"]) == 0, "{earned}");
    let amounts = earned["amounts"].as_object().expect("by counter");
    let sum: u128 = amounts.values().map(whole).sum();
    assert_eq!(sum, whole(&earned["owed"]), "{earned}");
    check_export(&market);
}
