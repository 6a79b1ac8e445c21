//! Events are told if and only if their change stands.

use s3s::dto::{NotificationConfiguration, QueueConfiguration};

use super::*;
use crate::events::{self, Draft, Name, Origin};

const TARGET: &str = "arn:stratos:webhook:::hook";

async fn listening() -> World {
    let world = world().await;
    let events = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:LifecycleExpiration:*"];
    let queue = QueueConfiguration {
        events: events.map(|event| event.to_owned().into()).to_vec(),
        filter: None,
        id: Some("one".into()),
        queue_arn: TARGET.into(),
    };
    let config = NotificationConfiguration {
        queue_configurations: Some(vec![queue]),
        ..NotificationConfiguration::default()
    };
    let change = |kept: &mut BucketConfig| {
        kept.notification = Some(config);
        Ok(())
    };
    world.meta.change_config(world.bucket, change).await.unwrap();
    world
}

async fn drafts(world: &World, key: &str, names: &[Name]) -> Vec<Draft> {
    let bucket = world.meta.bucket("photos").await.unwrap();
    let origin = Origin::of_request("us-east-1", &bucket, key.as_bytes(), "who", None);
    events::drafts(&bucket, &origin, names)
}

async fn put(world: &World, key: &str, id: u8, wanted: Precondition) -> Result<Version, MetaError> {
    intend(world, id).await;
    let placed = Placed::Written(Box::new(written(id, NODES)), part(id, 1));
    let events = drafts(world, key, &[Name::Put]).await;
    let new = NewVersion { precondition: wanted, events, ..new_version(world, key, placed) };
    world.meta.commit(new).await
}

async fn delete(world: &World, key: &str, decided: Option<Decided>) -> Result<Deleted, MetaError> {
    let events = drafts(world, key, &[Name::Delete, Name::DeleteMarkerCreated]).await;
    let request = DeleteRequest {
        bucket: world.bucket,
        key: key.into(),
        version_id: None,
        condition: DeleteCondition::default(),
        decided,
        events,
        bypass_governance: false,
        owner: Some(ANN),
        entropy: 1,
        now_ms: 20,
        grace_ms: 100,
    };
    world.meta.delete(request).await
}

/// Names and sequencers of what waits.
async fn waiting(world: &World) -> Vec<(String, String)> {
    let queue = Queue { bucket: world.bucket, target: TARGET.into() };
    let due = world.meta.due_events(&queue, 1000, 100).await.unwrap();
    let told = |due: &Due| {
        let record: serde_json::Value = serde_json::from_str(&due.record).unwrap();
        let record = &record["Records"][0];
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        (text(&record["eventName"]), text(&record["s3"]["object"]["sequencer"]))
    };
    due.iter().map(told).collect()
}

fn names(waiting: &[(String, String)]) -> Vec<&str> {
    waiting.iter().map(|(name, _)| name.as_str()).collect()
}

#[tokio::test]
async fn an_event_is_kept_with_its_change_or_not_at_all() {
    let world = listening().await;
    put(&world, "k", 1, Precondition::default()).await.unwrap();
    let absent = Precondition { absent: true, ..Precondition::default() };
    assert!(put(&world, "k", 2, absent).await.is_err());
    assert_eq!(names(&waiting(&world).await), ["ObjectCreated:Put"]);
    delete(&world, "k", None).await.unwrap();
    delete(&world, "k", None).await.unwrap();
    let told = waiting(&world).await;
    assert_eq!(names(&told), ["ObjectCreated:Put", "ObjectRemoved:Delete"], "once deleted");
    assert!(told[0].1 < told[1].1, "sequencers grow: {told:?}");
    world.meta.set_versioning(world.bucket, Versioning::Enabled).await.unwrap();
    delete(&world, "k", None).await.unwrap();
    let told = waiting(&world).await;
    assert_eq!(names(&told)[2..], ["ObjectRemoved:DeleteMarkerCreated"]);
    // They survive a restart.
    let meta = Meta::open(&world.path).await.unwrap();
    assert_eq!(meta.events_waiting().await.unwrap(), 3);
}

#[tokio::test]
async fn z14_what_changed_since_it_was_decided_on_is_not_deleted() {
    let world = listening().await;
    let version = put(&world, "k", 1, Precondition::default()).await.unwrap();
    let as_it_is = Decided { row: version.id, is_latest: true, is_alone: false, tags: Vec::new() };
    let tags = vec![("keep".to_owned(), "me".to_owned())];
    for stale in [
        Decided { row: version.id + 1, ..as_it_is.clone() },
        Decided { is_latest: false, ..as_it_is.clone() },
        Decided { tags, ..as_it_is.clone() },
    ] {
        let refused = delete(&world, "k", Some(stale)).await;
        assert!(matches!(refused, Err(MetaError::PreconditionFailed)), "{refused:?}");
    }
    assert_eq!(world.meta.find_version(world.bucket, b"k", None).await.unwrap(), Some(version));
    assert_eq!(names(&waiting(&world).await), ["ObjectCreated:Put"]);
    assert!(delete(&world, "k", Some(as_it_is)).await.unwrap().changed);
}

#[tokio::test]
async fn what_fails_is_put_off_and_what_is_too_much_is_dropped_from_the_front() {
    let world = listening().await;
    for (id, key) in [(1, "a"), (2, "b"), (3, "c")] {
        put(&world, key, id, Precondition::default()).await.unwrap();
    }
    let queue = Queue { bucket: world.bucket, target: TARGET.into() };
    let due = |now| {
        let (meta, queue) = (world.meta.clone(), queue.clone());
        async move {
            let due = meta.due_events(&queue, now, 10).await.unwrap();
            due.iter().map(|due| (due.id, due.tries)).collect::<Vec<_>>()
        }
    };
    let [first, second, third] = due(0).await.try_into().unwrap();
    world.meta.put_off(queue.clone(), first.0, 500, 300).await.unwrap();
    assert_eq!(due(299).await, []);
    assert_eq!(due(300).await, [second, third]);
    assert_eq!(due(500).await, [(first.0, 1), second, third]);
    assert_eq!(world.meta.trim_outbox(2).await.unwrap(), 1);
    assert_eq!(due(500).await, [second, third], "the oldest went");
    world.meta.forget_events(vec![second.0, third.0]).await.unwrap();
    assert_eq!(world.meta.events_waiting().await.unwrap(), 0);
}
