//! What users lose when things break: nothing.

mod world;

use std::fs;
use std::os::unix::fs::FileExt;

use gateway::census::Depth;
use gateway::upkeep::reconcile::reconcile;
use world::{BUCKET, RECORD_HEADER, World, code, eventually, sample};

/// Objects of every kind: inline, one stripe, many stripes, more than a segment.
async fn fill(world: &World) -> Vec<(String, Vec<u8>)> {
    let sizes = [10, 5_000, 300_000, 2_000_000, 66 << 20];
    let mut objects = Vec::new();
    for (n, len) in sizes.into_iter().enumerate() {
        let bytes = sample(len, n as u64);
        let key = format!("object-{n}");
        world.put(&key, &bytes).await;
        objects.push((key, bytes));
    }
    objects
}

async fn assert_all_read(world: &World, objects: &[(String, Vec<u8>)]) {
    for (key, bytes) in objects {
        assert!(world.get(key).await == *bytes, "{key}");
        let middle = bytes.len() as u64 / 2;
        assert_eq!(world.get_range(key, middle..middle + 1).await, [bytes[middle as usize]]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_survives_the_loss_of_two_nodes_and_writes_wait_for_them() {
    let mut world = World::start().await;
    let objects = fill(&world).await;
    // A write needs five of six shards: the last ones may come a moment later.
    let gateway = world.cluster.gateway().clone();
    eventually("all shards", || async { gateway.meta.repairs_waiting().await.unwrap() == 0 }).await;
    world.cluster.stop_node(0).await;
    world.cluster.stop_node(3).await;
    assert_all_read(&world, &objects).await;

    // Four nodes are no quorum: refused, not half done.
    let refused = world.s3.put(BUCKET, "new", sample(100_000, 9)).await;
    assert_eq!(code(refused), "SlowDown");
    assert_eq!(world.refusal_of_get("new").await, "NoSuchKey");

    world.cluster.start_node(3).await.unwrap();
    world.cluster.wait_until_ready().await.unwrap();
    let bytes = sample(100_000, 9);
    let s3 = world.s3.clone();
    eventually("a write with five of six nodes", || {
        let (s3, bytes) = (s3.clone(), bytes.clone());
        async move { s3.put(BUCKET, "new", bytes).await.is_ok() }
    })
    .await;
    assert_eq!(world.get("new").await, bytes);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_node_folders_that_vanish_under_running_nodes_cost_nothing() {
    let world = World::start().await;
    let objects = fill(&world).await;
    for node in [1, 4] {
        let dir = world.cluster.node_dir(node);
        // Its node makes files there meanwhile.
        eventually("a folder that is gone", || async {
            let _ = fs::remove_dir_all(&dir);
            !dir.exists()
        })
        .await;
    }
    assert_all_read(&world, &objects).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_in_any_shard_is_never_served() {
    let world = World::start().await;
    let objects = fill(&world).await;
    // Every shard of two nodes, at places all over its record: header and body.
    for node in [0, 5] {
        let records = world.records(node);
        assert!(records.len() >= 4, "the objects that are not inline");
        for (n, record) in records.iter().enumerate() {
            let file = fs::File::options().read(true).write(true).open(&record.path).unwrap();
            let mut places = vec![2, 60, RECORD_HEADER, record.len - 1];
            places.extend((0..40).map(|k| (k * 7919 + n as u64) * 31 % record.len));
            for at in places {
                let at = record.place + at;
                let mut byte = [0];
                file.read_exact_at(&mut byte, at).unwrap();
                file.write_all_at(&[byte[0] ^ 0x40], at).unwrap();
            }
        }
    }
    assert_all_read(&world, &objects).await;
    eventually("everything is whole again", || async {
        let census = reconcile(world.cluster.gateway(), Depth::Read).await.unwrap();
        census.full == census.segments && census.segments >= 4
    })
    .await;
    assert_all_read(&world, &objects).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_parity_an_object_is_refused_and_never_wrong() {
    let world = World::start().await;
    let bytes = sample(300_000, 1);
    world.put("k", &bytes).await;
    world.put("inline", b"still here").await;
    for node in [0, 1, 2] {
        // Cut off in place: a node reads on in a file that is only removed.
        for path in world.volumes(node) {
            fs::File::options().write(true).open(path).unwrap().set_len(0).unwrap();
        }
    }
    assert_eq!(world.refusal_of_get("k").await, "SlowDown");
    assert_eq!(world.get("inline").await, b"still here");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_start_serves_the_same_data_with_the_same_keys() {
    let world = World::start().await;
    let objects = fill(&world).await;
    let before = world.cluster.endpoint().clone();
    let world = world.restart().await;
    let after = world.cluster.endpoint();
    assert_eq!(before.access_key_id, after.access_key_id);
    assert_eq!(before.secret_access_key, after.secret_access_key);
    assert_all_read(&world, &objects).await;
    world.put("more", b"goes on").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_hold_no_plain_bytes_and_files_hold_no_secret() {
    let world = World::start().await;
    let secret = world.cluster.endpoint().secret_access_key.clone();
    let marker = b"the quick brown fox jumps over the lazy dog";
    world.put("k", &marker.repeat(5000)).await;
    world.put("inline", marker).await;
    let look = async |options: &stratos::cluster::ClusterOptions| {
        let mut files = Vec::new();
        walk(&options.dir, &mut files);
        assert!(files.len() > 20);
        for path in files.iter().filter(|path| !path.ends_with("endpoint.json")) {
            let bytes = fs::read(path).unwrap();
            let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
            assert!(!holds(marker), "{} holds plain bytes", path.display());
            assert!(!holds(secret.as_bytes()), "{} holds the secret", path.display());
        }
    };
    // While it is stopped: files come and go beside a running one.
    world.restart_after(look).await.end().await;
}

fn walk(dir: &std::path::Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, files) } else { files.push(path) }
    }
}
