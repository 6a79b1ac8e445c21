//! The network by HTTPS, its certificate, temporary keys, and keys with
//! policies.

mod world;

use http::{HeaderMap, Method};
use stratos::client::{Body, ClientError, S3Client, Trust};
use world::{BUCKET, World, code, sample};

const READ_ONLY: &str = r#"{"Version":"2012-10-17","Statement":
    {"Effect":"Allow","Action":["s3:GetObject","s3:ListBucket"],"Resource":"*"}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn https_carries_objects_for_those_who_trust_the_certificate() {
    let world = World::start_with_tls().await;
    let at = world.cluster.endpoint().clone();
    assert!(at.endpoint.starts_with("https://127.0.0.1:"), "{}", at.endpoint);
    let bytes = sample(3_000_000, 1);
    world.put("k", &bytes).await;
    assert_eq!(world.get("k").await, bytes);
    let ca = at.ca_cert.clone().unwrap();
    let ask = |trust: Trust| {
        let client =
            S3Client::new(&at.endpoint, &at.region, &at.access_key_id, &at.secret_access_key);
        let client = client.unwrap().trusting(trust);
        async move { client.get_bytes(BUCKET, "k").await }
    };
    // The certificate names 127.0.0.1, so it can also be taken as an issuer.
    assert_eq!(ask(Trust::issuers(&ca).unwrap()).await.unwrap(), bytes);
    let refused = ask(Trust::Nobody).await.unwrap_err();
    assert!(matches!(refused, ClientError::Connect { .. }), "{refused}");
    // What is signed for a URL is signed for HTTPS as well.
    let expires = std::time::Duration::from_secs(60);
    let url = world.s3.presign(&Method::GET, BUCKET, b"k", expires, &[]).unwrap();
    let answer = world.s3.send_unsigned(Method::GET, &url, HeaderMap::new(), Body::from("")).await;
    assert_eq!(answer.unwrap().ok().await.unwrap().bytes().await.unwrap(), bytes);

    let made = std::fs::read(&ca).unwrap();
    let world = world.restart().await;
    assert_eq!(world.get("k").await, bytes);
    assert_eq!(std::fs::read(&ca).unwrap(), made);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn z12_a_key_does_only_what_its_policy_allows() {
    let world = World::start().await;
    world.put("k", b"text").await;
    let before = world.admin.keys(None).await.unwrap().keys.len();
    for bad in ["", "{}", "[]", "no json", &" ".repeat(21_000)] {
        let refused = world.admin.create_key_with_policy("default", bad).await.unwrap_err();
        assert!(refused.to_string().starts_with("the policy "), "{bad:.20?}: {refused}");
    }
    assert_eq!(world.admin.keys(None).await.unwrap().keys.len(), before);

    let key = world.admin.create_key_with_policy("default", READ_ONLY).await.unwrap();
    let keys = world.admin.keys(None).await.unwrap().keys;
    let listed = keys.iter().find(|listed| listed.access_key_id == key.access_key_id).unwrap();
    assert!(listed.has_policy);
    assert_eq!(keys.iter().filter(|key| key.has_policy).count(), 1);
    let at = world.cluster.endpoint();
    let reader =
        S3Client::new(&at.endpoint, &at.region, &key.access_key_id, &key.secret_access_key);
    let reader = reader.unwrap();
    assert_eq!(reader.get_bytes(BUCKET, "k").await.unwrap(), "text");
    assert_eq!(code(reader.put(BUCKET, "k", "changed").await), "AccessDenied");
    assert_eq!(code(reader.delete(BUCKET, "k").await), "AccessDenied");
    assert_eq!(code(reader.create_bucket("mine").await), "AccessDenied");
    assert_eq!(world.get("k").await, b"text");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_email_address_belongs_to_one_account() {
    let world = World::start().await;
    world.admin.create_account("ann", None, Some("ann@example.org")).await.unwrap();
    let taken = world.admin.create_account("eve", None, Some("Ann@Example.org")).await;
    assert_eq!(taken.unwrap_err().to_string(), "an account of this e-mail address exists already");
    let taken = world.admin.create_account("ann", None, None).await;
    assert_eq!(taken.unwrap_err().to_string(), "an account of this name exists already");
    let nameless = world.admin.create_account("eve", None, None).await.unwrap();
    world.admin.create_account("bob", None, Some("")).await.unwrap();

    let meta = &world.cluster.gateway().meta;
    assert_eq!(meta.account_by_email("ANN@example.org").await.unwrap().name, "ann");
    assert!(meta.account_by_email("").await.is_err());
    assert!(meta.account_by_email("eve@example.org").await.is_err());
    let found = meta.account_by_canonical_id(&nameless.canonical_id).await.unwrap();
    assert_eq!(found.name, "eve");
    assert!(meta.account_by_canonical_id("00").await.is_err());

    let world = world.restart().await;
    let meta = &world.cluster.gateway().meta;
    assert_eq!(meta.account_by_canonical_id(&nameless.canonical_id).await.unwrap().name, "eve");
    world.end().await;
}
