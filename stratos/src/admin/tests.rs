//! The admin client against a server that records.

use super::*;
use crate::recorder::{Recorder, answer};

fn client(recorder: &Recorder) -> AdminClient {
    AdminClient::new(&recorder.url(), "token".into()).expect("an address")
}

#[tokio::test]
async fn requests_name_the_route_and_show_the_token() {
    let recorder = Recorder::start(|request| match request.target.as_str() {
        "/v1/keys" => {
            answer(201, r#"{"access_key_id":"AK","secret_access_key":"SK","account":"a b"}"#)
        }
        "/v1/keys?account=a%20b" => answer(200, r#"{"keys":[]}"#),
        "/v1/keys/AK%2F1" => answer(204, ""),
        "/v1/accounts" => answer(
            201,
            r#"{"id":"i","name":"a","canonical_id":"c","display_name":null,"email":"e@x"}"#,
        ),
        "/v1/epochs?last=3" => answer(200, r#"{"epochs":[]}"#),
        _ => answer(200, r#"{"invite":"i","expires":"t"}"#),
    })
    .await;
    let admin = client(&recorder);
    assert_eq!(admin.create_key("a b").await.expect("a key").secret_access_key, "SK");
    assert_eq!(admin.keys(Some("a b")).await.expect("keys").keys, []);
    admin.delete_key("AK/1").await.expect("deleted");
    admin.create_account("a", None, Some("e@x")).await.expect("an account");
    admin.epochs(3).await.expect("epochs");
    admin.invite(Some(Duration::from_secs(60))).await.expect("an invite");

    let seen = recorder.seen();
    assert!(seen.iter().all(|request| request.header("authorization") == "Bearer token"));
    let sent: Vec<String> = seen
        .iter()
        .map(|r| format!("{} {} {}", r.method, r.target, String::from_utf8_lossy(&r.body)))
        .collect();
    assert_eq!(
        sent,
        [
            r#"POST /v1/keys {"account":"a b"}"#,
            "GET /v1/keys?account=a%20b ",
            "DELETE /v1/keys/AK%2F1 ",
            r#"POST /v1/accounts {"name":"a","email":"e@x"}"#,
            "GET /v1/epochs?last=3 ",
            r#"POST /v1/nodes/invite {"ttl_seconds":60}"#,
        ]
    );
}

#[tokio::test]
async fn a_refusal_is_told_in_its_own_words() {
    let recorder = Recorder::start(|request| match request.target.as_str() {
        "/v1/accounts/none" => answer(404, r#"{"error":"there is no account none"}"#),
        "/v1/buckets" => answer(502, "<html>"),
        "/v1/nodes" => answer(200, r#"{"nodes":7}"#),
        _ => answer(401, r#"{"error":"token"}"#),
    })
    .await;
    let admin = client(&recorder);
    let told = |error: AdminError| error.to_string();
    assert_eq!(told(admin.account("none").await.unwrap_err()), "there is no account none");
    assert_eq!(
        told(admin.buckets().await.unwrap_err()),
        "the admin API answered HTTP 502 Bad Gateway without a reason"
    );
    assert!(told(admin.nodes().await.unwrap_err()).contains("answer to /v1/nodes"));
    assert!(told(admin.epochs(1).await.unwrap_err()).contains("refused the token"));
}

#[tokio::test]
async fn the_export_is_written_as_it_comes() {
    let text = "{\"genesis\":1}\n{\"block\":2}\n";
    let recorder = Recorder::start(move |_| answer(200, text)).await;
    let mut file = Vec::new();
    let written = client(&recorder).export_ledger(&mut file).await.expect("exported");
    assert_eq!((written, file.as_slice()), (text.len() as u64, text.as_bytes()));
}

#[tokio::test]
async fn a_network_that_stopped_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let admin = AdminClient::new(&url, "token".into()).expect("an address");
    let error = admin.nodes().await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot connect to {url}: ")), "{error}");
    assert!(error.ends_with("start it with `stratos up`"), "{error}");
}

#[test]
fn a_folder_leads_to_the_network() {
    let dir = tempfile::tempdir().expect("a folder");
    let Err(error) = AdminClient::of_dir(dir.path()) else { panic!("nothing runs there") };
    assert!(error.to_string().starts_with("no network runs in "), "{error}");
    Endpoint {
        endpoint: "http://127.0.0.1:1".into(),
        ca_cert: None,
        region: "r".into(),
        access_key_id: "a".into(),
        secret_access_key: "s".into(),
        admin_endpoint: "http://127.0.0.1:2".into(),
        admin_token: "t".into(),
        ledger: None,
        pid: None,
    }
    .write(dir.path())
    .expect("written");
    let admin = AdminClient::of_dir(dir.path()).expect("a network");
    assert_eq!((admin.url.as_str(), admin.token.as_str()), ("http://127.0.0.1:2", "t"));
}
