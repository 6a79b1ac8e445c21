//! Accounts are strangers to each other.

mod world;

use stratos::admin::AdminClient;
use stratos::client::S3Client;
use world::{BUCKET, World, code, sample};

async fn stranger(world: &World) -> S3Client {
    world.admin.create_account("bob", None, Some("bob@example.org")).await.unwrap();
    let key = world.admin.create_key("bob").await.unwrap();
    let at = world.cluster.endpoint();
    S3Client::new(&at.endpoint, &at.region, &key.access_key_id, &key.secret_access_key).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_learns_and_changes_nothing() {
    let world = World::start().await;
    world.put("k", b"private").await;
    let bob = stranger(&world).await;
    assert_eq!(code(bob.get_bytes(BUCKET, "k").await), "AccessDenied");
    // Whether it exists or not.
    assert_eq!(code(bob.get_bytes(BUCKET, "absent").await), "AccessDenied");
    assert_eq!(code(bob.put(BUCKET, "k", "mine").await), "AccessDenied");
    assert_eq!(code(bob.delete(BUCKET, "k").await), "AccessDenied");
    assert_eq!(code(bob.delete_bucket(BUCKET).await), "AccessDenied");
    assert_eq!(code(bob.create_bucket(BUCKET).await), "BucketAlreadyExists");
    assert_eq!(code(bob.list_v2(BUCKET, Default::default()).await), "AccessDenied");
    bob.create_bucket("bobs").await.unwrap();
    assert_eq!(code(bob.copy((BUCKET, b"k"), "bobs", "stolen").await), "AccessDenied");
    assert_eq!(code(bob.get_bytes("bobs", "stolen").await), "NoSuchKey");
    let upload = world.s3.create_multipart(BUCKET, "big").await.unwrap();
    let part = bob.upload_part(BUCKET, "big", &upload, 1, sample(100, 1)).await;
    assert_eq!(code(part), "AccessDenied");
    assert_eq!(world.get("k").await, b"private");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_key_opens_nothing_from_that_moment() {
    let world = World::start().await;
    let bob = stranger(&world).await;
    bob.create_bucket("bobs").await.unwrap();
    let keys = world.admin.keys(Some("bob")).await.unwrap().keys;
    world.admin.delete_key(&keys[0].access_key_id).await.unwrap();
    assert_eq!(code(bob.put("bobs", "k", "x").await), "InvalidAccessKeyId");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_opens_nothing() {
    let world = World::start().await;
    let at = world.cluster.endpoint();
    let wrong = S3Client::new(&at.endpoint, &at.region, &at.access_key_id, "wrong").unwrap();
    assert_eq!(code(wrong.put(BUCKET, "k", "x").await), "SignatureDoesNotMatch");
    assert_eq!(world.refusal_of_get("k").await, "NoSuchKey");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_api_wants_its_token() {
    let world = World::start().await;
    let url = world.cluster.endpoint().admin_endpoint.clone();
    let intruder = AdminClient::new(&url, "0".repeat(64)).unwrap();
    assert!(intruder.accounts().await.is_err());
    assert!(intruder.create_account("eve", None, None).await.is_err());
    assert!(intruder.create_key("default").await.is_err());
    let names: Vec<_> = world.admin.accounts().await.unwrap().accounts;
    assert_eq!(names.len(), 1);
    let twice = world.admin.create_account("default", None, None).await;
    assert!(twice.unwrap_err().to_string().contains("exists"));
    world.end().await;
}
