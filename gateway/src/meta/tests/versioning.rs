//! Versions, delete markers and locks.

use super::*;

/// A put whose content and entity tag are named by `etag`.
async fn put(world: &World, key: &str, etag: &str, now_ms: Millis) -> Version {
    let [id, ..] = *blake3::hash(format!("{key} {etag}").as_bytes()).as_bytes();
    intend(world, id).await;
    let placed = Placed::Written(Box::new(written(id, NODES)), part(id, 1));
    let new = NewVersion { etag: etag.into(), now_ms, ..new_version(world, key, placed) };
    world.meta.commit(new).await.unwrap()
}

async fn versions(world: &World, limit: usize) -> Vec<String> {
    let mut query = VersionsQuery {
        list: ListQuery { bucket: world.bucket, limit, ..ListQuery::default() },
        after_version: None,
    };
    let mut lines = Vec::new();
    loop {
        let page = world.meta.list_versions(&query).await.unwrap();
        for item in page.items {
            let key = String::from_utf8(item.key).unwrap();
            let marker = if item.version.delete_marker { "-" } else { &item.version.etag };
            let latest = if item.version.latest { "*" } else { "" };
            lines.push(format!("{key}:{marker}{latest}"));
        }
        let Some((key, version)) = page.next else { return lines };
        query.list.after = key;
        query.after_version = Some(version);
    }
}

#[tokio::test]
async fn a_bucket_with_versions_keeps_what_is_replaced_and_deleted() {
    let world = world().await;
    put(&world, "k", "null", 1).await;
    world.meta.set_versioning(world.bucket, Versioning::Enabled).await.unwrap();
    let first = put(&world, "k", "one", 2).await;
    let second = put(&world, "k", "two", 3).await;
    put(&world, "l", "other", 3).await;
    assert!(first.version_id < second.version_id, "ids sort in commit order");
    let deleted = world.meta.delete(delete_of(world.bucket, b"k".to_vec())).await.unwrap();
    assert!(deleted.delete_marker);
    for limit in [1, 2, 100] {
        assert_eq!(
            versions(&world, limit).await,
            ["k:-*", "k:two", "k:one", "k:null", "l:other*"],
            "{limit} a page"
        );
    }
    let latest = world.meta.find_version(world.bucket, b"k", None).await.unwrap().unwrap();
    assert!(latest.delete_marker);
    // Without its marker the object is there again.
    let marker =
        DeleteRequest { version_id: deleted.version_id, ..delete_of(world.bucket, b"k".to_vec()) };
    world.meta.delete(marker).await.unwrap();
    assert_eq!(versions(&world, 100).await, ["k:two*", "k:one", "k:null", "l:other*"]);
    // Suspended, only the version `null` is replaced.
    world.meta.set_versioning(world.bucket, Versioning::Suspended).await.unwrap();
    put(&world, "k", "new null", 4).await;
    assert_eq!(versions(&world, 100).await, ["k:new null*", "k:two", "k:one", "l:other*"]);
    world.meta.delete(delete_of(world.bucket, b"k".to_vec())).await.unwrap();
    assert_eq!(versions(&world, 100).await, ["k:-*", "k:two", "k:one", "l:other*"]);
}

#[tokio::test]
async fn a_listing_goes_on_where_a_version_was_deleted_meanwhile() {
    let world = world().await;
    world.meta.set_versioning(world.bucket, Versioning::Enabled).await.unwrap();
    for etag in ["one", "two", "three"] {
        put(&world, "k", etag, 1).await;
    }
    let list = ListQuery { bucket: world.bucket, limit: 1, ..ListQuery::default() };
    let mut query = VersionsQuery { list, after_version: None };
    let page = world.meta.list_versions(&query).await.unwrap();
    let (key, version) = page.next.unwrap();
    let gone =
        DeleteRequest { version_id: Some(version.clone()), ..delete_of(world.bucket, key.clone()) };
    world.meta.delete(gone).await.unwrap();
    (query.list.after, query.after_version) = (key, Some(version));
    let page = world.meta.list_versions(&query).await.unwrap();
    assert_eq!(page.items[0].version.etag, "two");
}

#[tokio::test]
async fn z14_a_locked_version_stays_whoever_asks() {
    let world = world().await;
    world.meta.set_versioning(world.bucket, Versioning::Enabled).await.unwrap();
    let version = put(&world, "k", "one", 1).await;
    let id = Some(version.version_id.clone());
    let lock = |lock: Lock| {
        let change = move |version: &mut Version| {
            version.lock = lock;
            Ok(())
        };
        world.meta.change_version(world.bucket, b"k".to_vec(), id.clone(), change)
    };
    let delete = |bypass_governance, now_ms| {
        let request = delete_of(world.bucket, b"k".to_vec());
        let version_id = id.clone();
        world.meta.delete(DeleteRequest { version_id, bypass_governance, now_ms, ..request })
    };
    lock(Lock { retention: Some((LockMode::Compliance, 100)), legal_hold: false }).await.unwrap();
    assert!(matches!(delete(true, 99).await, Err(MetaError::Locked)));
    lock(Lock { retention: None, legal_hold: true }).await.unwrap();
    assert!(matches!(delete(true, 1000).await, Err(MetaError::Locked)));
    lock(Lock { retention: Some((LockMode::Governance, 100)), legal_hold: false }).await.unwrap();
    assert!(matches!(delete(false, 99).await, Err(MetaError::Locked)));
    // A delete marker may be put on top of it, and hides it only.
    world.meta.delete(delete_of(world.bucket, b"k".to_vec())).await.unwrap();
    assert_eq!(versions(&world, 9).await, ["k:-*", "k:one"]);
    assert_eq!(world.meta.parts(version.id).await.unwrap().len(), 1);
    delete(true, 99).await.unwrap();
    assert_eq!(versions(&world, 9).await, ["k:-*"]);
}
