//! The rules of metadata, each in a sentence.

use erasure::{CodecId, Scheme};
use protocol::{AccountId, Incarnation, NodeId, Root, SegmentId};

use super::*;

const ANN: AccountId = AccountId([1; 16]);
const NODES: u8 = 6;
const QUORUM: u8 = 5;

struct World {
    meta: Meta,
    bucket: i64,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

async fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("meta.sqlite");
    let meta = Meta::open(&path).await.unwrap();
    for n in 0..NODES {
        meta.see_node(node(n), Incarnation([n; 16]), 0).await.unwrap();
    }
    let new = NewBucket {
        name: "photos".into(),
        account: ANN,
        wrapped_key: vec![1],
        config: BucketConfig::default(),
        now_ms: 1,
    };
    meta.create_bucket(new).await.unwrap();
    let bucket = meta.bucket("photos").await.unwrap().id;
    World { meta, bucket, path, _folder: folder }
}

fn node(n: u8) -> NodeId {
    NodeId([n; 32])
}

fn scheme() -> Scheme {
    "4+2".parse().unwrap()
}

/// An upload that wrote its intent; `id` names everything in it.
async fn intend(world: &World, id: u8) {
    world.meta.intend(intent(id)).await.unwrap();
}

fn intent(id: u8) -> Intent {
    let nodes = (0..NODES).map(|n| Some((node(n), Incarnation([n; 16])))).collect();
    Intent {
        content: ContentId([id; 16]),
        account: ANN,
        scheme: scheme(),
        codec: CodecId::RsVandermonde8,
        key_commit: [id; 32],
        ordinal: 0,
        segment: SegmentId([id; 16]),
        nodes,
        lease_ms: 1000,
    }
}

/// The same upload with `shards` of its shards stored.
fn written(id: u8, shards: u8) -> Written {
    let stored = |n: u8| StoredShard {
        placed: PlacedShard { index: n, node: node(n), root: Root([n; 32]), len: 64 },
        incarnation: Incarnation([n; 16]),
    };
    Written {
        content: ContentId([id; 16]),
        account: ANN,
        size: 100,
        key_commit: [id; 32],
        scheme: scheme(),
        codec: CodecId::RsVandermonde8,
        inline: None,
        last_segment: Some(StoredSegment {
            id: SegmentId([id; 16]),
            len: 116,
            shards: (0..shards).map(stored).collect(),
        }),
        segments: 1,
        quorum: QUORUM,
    }
}

fn part(id: u8, number: i32) -> Part {
    Part {
        number,
        content: ContentId([id; 16]),
        size: 100,
        wrapped_key: vec![id],
        etag: format!("{id:032x}"),
        checksum: None,
    }
}

fn new_version(world: &World, key: &str, placed: Placed) -> NewVersion {
    let (Placed::Written(_, part) | Placed::Shared(part)) = &placed;
    NewVersion {
        events: Vec::new(),
        owner: Some(ANN),
        lock: Lock::default(),
        entropy: 7,
        bucket: world.bucket,
        key: key.into(),
        size: part.size,
        etag: part.etag.clone(),
        attributes: Attributes::default(),
        parts: vec![placed],
        precondition: Precondition::default(),
        now_ms: 10,
        grace_ms: 100,
    }
}

async fn put(world: &World, key: &str, id: u8) -> Result<Version, MetaError> {
    intend(world, id).await;
    let placed = Placed::Written(Box::new(written(id, NODES)), part(id, 1));
    world.meta.commit(new_version(world, key, placed)).await
}

async fn state(world: &World, id: u8) -> ContentState {
    world.meta.content_state(ContentId([id; 16])).await.unwrap()
}

#[tokio::test]
async fn a_committed_version_survives_a_reopen_and_names_its_shards() {
    let world = world().await;
    put(&world, "cat.jpg", 1).await.unwrap();
    let again = Meta::open(&world.path).await.unwrap();
    let version = again.find_version(world.bucket, b"cat.jpg", None).await.unwrap().unwrap();
    let parts = again.parts(version.id).await.unwrap();
    assert_eq!(parts, [part(1, 1)]);
    let segment = again.segment(parts[0].content, 0).await.unwrap();
    assert_eq!((segment.len, segment.shards.len()), (116, 6));
    assert_eq!(again.repairs_waiting().await.unwrap(), 0);
}

#[tokio::test]
async fn a_quorum_is_enough_and_the_missing_shard_is_queued_with_the_commit() {
    let world = world().await;
    intend(&world, 1).await;
    let placed = Placed::Written(Box::new(written(1, QUORUM)), part(1, 1));
    world.meta.commit(new_version(&world, "k", placed)).await.unwrap();
    assert_eq!(world.meta.repairs_waiting().await.unwrap(), 1);
}

#[tokio::test]
async fn a_shard_for_which_there_was_no_node_is_queued_too() {
    let world = world().await;
    let mut nodes: Vec<_> = (0..NODES).map(|n| Some((node(n), Incarnation([n; 16])))).collect();
    nodes[5] = None;
    world.meta.intend(Intent { nodes, ..intent(1) }).await.unwrap();
    let placed = Placed::Written(Box::new(written(1, QUORUM)), part(1, 1));
    world.meta.commit(new_version(&world, "k", placed)).await.unwrap();
    assert_eq!(world.meta.repairs_waiting().await.unwrap(), 1);
}

#[tokio::test]
async fn a_shard_that_comes_late_need_not_be_repaired() {
    let world = world().await;
    intend(&world, 1).await;
    let placed = Placed::Written(Box::new(written(1, QUORUM)), part(1, 1));
    world.meta.commit(new_version(&world, "k", placed)).await.unwrap();
    let all = written(1, NODES).last_segment.unwrap().shards;
    let late = all.last().unwrap().clone();
    for _ in 0..2 {
        world.meta.late_shard(ANN, SegmentId([1; 16]), late.clone()).await.unwrap();
    }
    assert_eq!(world.meta.repairs_waiting().await.unwrap(), 0);
    let segment = world.meta.segment(ContentId([1; 16]), 0).await.unwrap();
    assert_eq!(segment.shards.len(), 6);
    let stored = world.meta.stored().await.unwrap();
    assert_eq!(stored.iter().map(|s| s.bytes).sum::<u64>(), 6 * 64);
}

#[tokio::test]
async fn a_node_that_was_wiped_is_not_paid_for_what_it_lost() {
    let world = world().await;
    put(&world, "k", 1).await.unwrap();
    world.meta.see_node(node(3), Incarnation([99; 16]), 5).await.unwrap();
    let bytes =
        || async { world.meta.stored().await.unwrap().iter().map(|s| s.bytes).sum::<u64>() };
    assert_eq!(bytes().await, 5 * 64);
    world.meta.delete(delete_of(world.bucket, b"k".to_vec())).await.unwrap();
    world.meta.forget(vec![ContentId([1; 16])]).await.unwrap();
    assert_eq!(bytes().await, 0);
}

#[tokio::test]
async fn a_reader_under_way_still_finds_what_was_replaced() {
    let world = world().await;
    put(&world, "k", 1).await.unwrap();
    put(&world, "k", 2).await.unwrap();
    assert_eq!(state(&world, 1).await, ContentState::Condemned);
    assert_eq!(world.meta.content(ContentId([1; 16])).await.unwrap().size, 100);
}

#[tokio::test]
async fn a_version_without_parts_is_never_committed() {
    let world = world().await;
    let empty =
        NewVersion { parts: Vec::new(), ..new_version(&world, "k", Placed::Shared(part(1, 1))) };
    assert!(matches!(world.meta.commit(empty).await, Err(MetaError::SourceGone)));
}

#[tokio::test]
async fn a_panic_in_one_piece_of_work_does_not_end_all_writing() {
    let world = world().await;
    let failed: Result<(), _> =
        world.meta.writer.run(|_| Box::pin(async { panic!("a bug in one place") })).await;
    assert!(matches!(failed, Err(MetaError::CommitUnknown)));
    put(&world, "k", 1).await.unwrap();
}

#[tokio::test]
async fn what_a_dead_process_left_open_is_given_up_at_the_start() {
    let world = world().await;
    intend(&world, 1).await;
    put(&world, "k", 2).await.unwrap();
    assert_eq!(world.meta.abandon_all(7).await.unwrap(), 1);
    assert_eq!(state(&world, 1).await, ContentState::Condemned);
    assert_eq!(state(&world, 2).await, ContentState::Live);
}

#[tokio::test]
async fn below_the_quorum_nothing_becomes_visible() {
    let world = world().await;
    intend(&world, 1).await;
    let placed = Placed::Written(Box::new(written(1, QUORUM - 1)), part(1, 1));
    let refused = world.meta.commit(new_version(&world, "k", placed)).await;
    assert!(matches!(refused, Err(MetaError::Quorum)));
    assert_eq!(world.meta.find_version(world.bucket, b"k", None).await.unwrap(), None);
    assert_eq!(state(&world, 1).await, ContentState::Open);
}

#[tokio::test]
async fn shards_on_a_node_that_was_wiped_do_not_count() {
    let world = world().await;
    intend(&world, 1).await;
    for wiped in [0, 1] {
        world.meta.see_node(node(wiped), Incarnation([99; 16]), 5).await.unwrap();
    }
    let placed = Placed::Written(Box::new(written(1, NODES)), part(1, 1));
    let refused = world.meta.commit(new_version(&world, "k", placed)).await;
    assert!(matches!(refused, Err(MetaError::Quorum)));
}

#[tokio::test]
async fn a_wipe_after_the_commit_queues_what_was_lost() {
    let world = world().await;
    put(&world, "k", 1).await.unwrap();
    world.meta.see_node(node(3), Incarnation([99; 16]), 5).await.unwrap();
    assert_eq!(world.meta.repairs_waiting().await.unwrap(), 1);
    let segment = world.meta.segment(ContentId([1; 16]), 0).await.unwrap();
    assert_eq!(segment.shards.len(), 5);
}

#[tokio::test]
async fn an_upload_that_was_given_up_cannot_commit_any_more() {
    let world = world().await;
    intend(&world, 1).await;
    assert_eq!(world.meta.abandon_expired(999, 0).await.unwrap(), 0);
    assert_eq!(world.meta.abandon_expired(1001, 0).await.unwrap(), 1);
    let placed = Placed::Written(Box::new(written(1, NODES)), part(1, 1));
    let refused = world.meta.commit(new_version(&world, "k", placed)).await;
    assert!(matches!(refused, Err(MetaError::NotOpen)));
}

#[tokio::test]
async fn an_upload_that_committed_cannot_be_given_up_any_more() {
    let world = world().await;
    put(&world, "k", 1).await.unwrap();
    assert!(!world.meta.abandon(ContentId([1; 16]), 0).await.unwrap());
    assert_eq!(state(&world, 1).await, ContentState::Live);
}

#[tokio::test]
async fn an_overwrite_condemns_the_old_content_after_a_grace() {
    let world = world().await;
    put(&world, "k", 1).await.unwrap();
    put(&world, "k", 2).await.unwrap();
    assert_eq!(state(&world, 1).await, ContentState::Condemned);
    assert_eq!(world.meta.condemned(109, 10).await.unwrap(), []);
    let condemned = world.meta.condemned(110, 10).await.unwrap();
    assert_eq!(condemned.len(), 1);
    assert_eq!(condemned[0].shards.len(), 6);
    world.meta.forget(vec![condemned[0].content]).await.unwrap();
    assert_eq!(state(&world, 1).await, ContentState::Absent);
    let stored = world.meta.stored().await.unwrap();
    assert_eq!(stored.iter().map(|s| s.bytes).sum::<u64>(), 6 * 64);
}

#[tokio::test]
async fn a_copy_keeps_the_content_alive_and_a_copy_of_a_deleted_one_fails() {
    let world = world().await;
    put(&world, "a", 1).await.unwrap();
    let copy = |key| new_version(&world, key, Placed::Shared(part(1, 1)));
    world.meta.commit(copy("b")).await.unwrap();
    world.meta.delete(delete_of(world.bucket, b"a".to_vec())).await.unwrap();
    assert_eq!(state(&world, 1).await, ContentState::Live);
    world.meta.delete(delete_of(world.bucket, b"b".to_vec())).await.unwrap();
    assert_eq!(state(&world, 1).await, ContentState::Condemned);
    assert!(matches!(world.meta.commit(copy("c")).await, Err(MetaError::SourceGone)));
}

#[tokio::test]
async fn a_copy_onto_itself_keeps_the_content() {
    let world = world().await;
    put(&world, "a", 1).await.unwrap();
    world.meta.commit(new_version(&world, "a", Placed::Shared(part(1, 1)))).await.unwrap();
    assert_eq!(state(&world, 1).await, ContentState::Live);
}

#[tokio::test]
async fn of_many_writers_that_want_an_absent_key_exactly_one_wins() {
    let world = world().await;
    let mut tries = tokio::task::JoinSet::new();
    for id in 1..=16 {
        intend(&world, id).await;
        let placed = Placed::Written(Box::new(written(id, NODES)), part(id, 1));
        let precondition = Precondition { absent: true, ..Precondition::default() };
        let new = NewVersion { precondition, ..new_version(&world, "lock", placed) };
        let meta = world.meta.clone();
        tries.spawn(async move { meta.commit(new).await.is_ok() });
    }
    let won = tries.join_all().await.into_iter().filter(|&won| won).count();
    assert_eq!(won, 1);
}

#[test]
fn preconditions() {
    let there = Version {
        latest: true,
        owner: None,
        lock: Lock::default(),
        id: 1,
        version_id: "null".into(),
        delete_marker: false,
        size: 1,
        etag: "abc".into(),
        modified_ms: 1,
        attributes: Attributes::default(),
    };
    let marker = Version { delete_marker: true, ..there.clone() };
    let matches = |tag: &str| Precondition { matches: Some(tag.into()), ..Default::default() };
    let other = |tag: &str| Precondition { other_than: Some(tag.into()), ..Default::default() };
    let absent = Precondition { absent: true, ..Default::default() };
    let check = |p: &Precondition, v: Option<&Version>| versions::check(p, v);

    assert!(check(&Precondition::default(), Some(&there)).is_ok());
    assert!(check(&absent, None).is_ok());
    assert!(check(&absent, Some(&marker)).is_ok());
    assert!(matches!(check(&absent, Some(&there)), Err(MetaError::PreconditionFailed)));
    assert!(check(&matches("abc"), Some(&there)).is_ok());
    assert!(check(&matches("*"), Some(&there)).is_ok());
    assert!(matches!(check(&matches("x"), Some(&there)), Err(MetaError::PreconditionFailed)));
    assert!(matches!(check(&matches("*"), None), Err(MetaError::NoSuchKey)));
    assert!(check(&other("x"), Some(&there)).is_ok());
    assert!(matches!(check(&other("abc"), Some(&there)), Err(MetaError::PreconditionFailed)));
}

#[tokio::test]
async fn last_modified_never_goes_back() {
    let world = world().await;
    put(&world, "k", 1).await.unwrap();
    intend(&world, 2).await;
    let placed = Placed::Written(Box::new(written(2, NODES)), part(2, 1));
    let earlier = NewVersion { now_ms: 3, ..new_version(&world, "k", placed) };
    assert_eq!(world.meta.commit(earlier).await.unwrap().modified_ms, 10);
}

#[tokio::test]
async fn pages_hold_every_line_exactly_once() {
    let world = world().await;
    let keys = ["a", "a/1", "a/2", "a0", "b/x/1", "b/x/2", "b/y", "c", "c/", "\u{fffd}", "é/1"];
    for (n, key) in keys.iter().enumerate() {
        put(&world, key, u8::try_from(n).unwrap() + 1).await.unwrap();
    }
    for delimiter in ["", "/"] {
        let mut query = ListQuery {
            bucket: world.bucket,
            delimiter: delimiter.into(),
            limit: 1000,
            ..ListQuery::default()
        };
        let whole = world.meta.list(&query).await.unwrap();
        assert_eq!(whole.next, None);
        if delimiter == "/" {
            let prefixes: Vec<_> =
                whole.prefixes.iter().map(|p| String::from_utf8_lossy(p)).collect();
            assert_eq!(prefixes, ["a/", "b/", "c/", "é/"]);
        } else {
            assert_eq!(whole.items.len(), keys.len());
        }
        for limit in 1..5 {
            query.limit = limit;
            query.after.clear();
            let (mut items, mut prefixes) = (Vec::new(), Vec::new());
            loop {
                let page = world.meta.list(&query).await.unwrap();
                assert!(page.items.len() + page.prefixes.len() <= limit);
                items.extend(page.items);
                prefixes.extend(page.prefixes);
                let Some(next) = page.next else { break };
                query.after = next;
            }
            assert_eq!(items, whole.items, "limit {limit}");
            assert_eq!(prefixes, whole.prefixes, "limit {limit}");
        }
    }
}

#[tokio::test]
async fn a_bucket_with_an_object_stays() {
    let world = world().await;
    put(&world, "k", 1).await.unwrap();
    let refused = world.meta.delete_bucket(world.bucket, 0).await;
    assert!(matches!(refused, Err(MetaError::BucketNotEmpty)));
    world.meta.delete(delete_of(world.bucket, b"k".to_vec())).await.unwrap();
    world.meta.delete_bucket(world.bucket, 0).await.unwrap();
    assert!(matches!(world.meta.bucket("photos").await, Err(MetaError::NoSuchBucket)));
    assert!(matches!(put(&world, "k", 2).await, Err(MetaError::NoSuchBucket)));
}

#[tokio::test]
async fn a_newer_or_foreign_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("meta.sqlite");
    std::fs::write(&path, b"this is not a database at all, only some text in a file").unwrap();
    assert!(matches!(Meta::open(&path).await, Err(MetaOpenError::Database { .. })));
    assert!(std::fs::read(&path).unwrap().starts_with(b"this is not"));

    let world = world().await;
    world
        .meta
        .writer
        .run(|tx| {
            Box::pin(async move {
                sqlx::query("PRAGMA user_version = 99").execute(tx).await?;
                Ok(())
            })
        })
        .await
        .unwrap();
    assert!(matches!(Meta::open(&world.path).await, Err(MetaOpenError::Newer { found: 99, .. })));
}

#[tokio::test]
async fn metadata_of_format_3_gets_what_it_lacks() {
    let world = world().await;
    let open = || async {
        let path = format!("sqlite:{}", world.path.display());
        sqlx::SqliteConnection::connect(&path).await.unwrap()
    };
    let mut before = open().await;
    sqlx::raw_sql(
        "DROP TABLE losses; ALTER TABLE accounts DROP COLUMN owner;
         ALTER TABLE accounts DROP COLUMN short_since_ms; PRAGMA user_version = 3;",
    )
    .execute(&mut before)
    .await
    .unwrap();
    let meta = Meta::open(&world.path).await.unwrap();
    assert_eq!(meta.losses(None, 1).await.unwrap(), [], "with the column of format 5");
    assert_eq!(meta.short_accounts().await.unwrap(), [].into());
    assert!(matches!(meta.account(ANN).await, Err(MetaError::Missing(_))), "owners are read");
    let row = sqlx::query("PRAGMA user_version").fetch_one(&mut before).await.unwrap();
    assert_eq!(row.get::<i64, _>(0), FORMAT);
}

fn assemble(_: &Upload, parts: &[Part], _: &str) -> Result<(String, Attributes), MetaError> {
    Ok((format!("whole-{}", parts.len()), Attributes::default()))
}

fn complete_request(parts: Vec<(i32, String)>, part_min: u64) -> CompleteRequest {
    CompleteRequest {
        events: Vec::new(),
        entropy: 7,
        upload: "u1".into(),
        parts,
        assemble,
        declared: String::new(),
        part_min,
        precondition: Precondition::default(),
        now_ms: 20,
        grace_ms: 0,
    }
}

#[tokio::test]
async fn a_completed_upload_is_one_version_and_completing_it_again_answers_the_same() {
    let world = world().await;
    let (bucket, key) = (world.bucket, b"big".to_vec());
    let upload = Upload {
        id: "u1".into(),
        bucket,
        key: key.clone(),
        account: Some(ANN),
        created_ms: 1,
        attributes: Attributes::default(),
        promised: Promised::default(),
    };
    world.meta.begin_upload(upload).await.unwrap();
    // Part 2 is sent twice, part 3 is not used.
    for (id, number) in [(1, 1), (2, 2), (3, 2), (4, 3)] {
        intend(&world, id).await;
        let placed = Placed::Written(Box::new(written(id, NODES)), part(id, number));
        let commit = PartCommit { upload: "u1".into(), placed, now_ms: 2, grace_ms: 0 };
        world.meta.commit_part(commit).await.unwrap();
    }
    assert_eq!(state(&world, 2).await, ContentState::Condemned);
    let tag = |id: u8| format!("{id:032x}");
    let complete =
        |parts, min| world.meta.complete_upload(bucket, key.clone(), complete_request(parts, min));

    let wrong = complete(vec![(1, tag(9))], 0).await;
    assert!(matches!(wrong, Err(MetaError::InvalidPart(1))));
    let order = complete(vec![(2, tag(3)), (1, tag(1))], 0).await;
    assert!(matches!(order, Err(MetaError::InvalidPartOrder)));
    let small = complete(vec![(1, tag(1)), (2, tag(3))], 101).await;
    assert!(matches!(small, Err(MetaError::PartTooSmall { number: 1, .. })));

    let parts = vec![(1, tag(1)), (2, tag(3))];
    let done = complete(parts.clone(), 100).await.unwrap();
    assert_eq!(complete(parts, 100).await.unwrap(), done);
    assert_eq!(state(&world, 4).await, ContentState::Condemned);
    assert_eq!(world.meta.forget_uploads(20).await.unwrap(), 0);
    let version = world.meta.find_version(bucket, &key, None).await.unwrap().unwrap();
    assert_eq!((version.size, version.etag.as_str()), (200, "whole-2"));

    let late = world.meta.abort_upload(bucket, key.clone(), "u1".into(), 0).await;
    assert!(matches!(late, Err(MetaError::NoSuchUpload)));
    assert_eq!(state(&world, 1).await, ContentState::Live);
}

/// Deletes the object of a key now.
fn delete_of(bucket: i64, key: Vec<u8>) -> DeleteRequest {
    DeleteRequest {
        decided: None,
        events: Vec::new(),
        bucket,
        key,
        version_id: None,
        condition: DeleteCondition::default(),
        bypass_governance: false,
        owner: Some(ANN),
        entropy: 7,
        now_ms: 0,
        grace_ms: 0,
    }
}

mod conformance;
mod nodes;
mod outbox;
mod reference;
mod versioning;
