//! The drill: the gateway's folder is lost, and comes back from the nodes and
//! the recovery key.

mod world;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use gateway::vault::key::RecoveryKey;
use gateway::vault::recover::{RecoverError, Report};
use http::{HeaderValue, Method};
use stratos::client::{Request, S3Client};
use stratos::cluster::{Cluster, ClusterOptions};
use stratos::recovery::{self, RecoveryError};
use world::{BUCKET, RECORD_HEADER, World, code, eventually, sample};

const BIG: usize = 5 << 20;

/// Waits until all that was done so far is on the nodes.
async fn shipped(world: &World) {
    let done_ms = u64::try_from(gateway::gateway::now_ms()).unwrap();
    let gateway = world.cluster.gateway();
    eventually("the metadata is on the nodes", async || {
        let progress = gateway.vault.progress();
        progress.behind_since_ms.is_none() && progress.shipped_ms > Some(done_ms)
    })
    .await;
}

fn key_of(dir: &Path) -> RecoveryKey {
    // As text, as people keep it.
    RecoveryKey::parse(&RecoveryKey::of_folder(dir).unwrap().to_text()).unwrap()
}

async fn recover(dir: &Path, key: &RecoveryKey) -> Result<Report, RecoveryError> {
    recovery::network(dir, key, &|_| {}).await
}

fn lose(options: &ClusterOptions, what: &str) {
    fs::remove_dir_all(options.dir.join(what)).unwrap();
}

/// Sets a sub-resource of a bucket.
async fn configure(world: &World, bucket: &str, what: &str, document: &str) {
    use base64::Engine;
    let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, document.as_bytes()) as u32;
    let sum = base64::engine::general_purpose::STANDARD.encode(sum.to_be_bytes());
    let request = Request::new(Method::PUT, bucket, "")
        .query(what, "")
        .header("x-amz-checksum-crc32", HeaderValue::from_str(&sum).unwrap())
        .body(document.as_bytes().to_vec());
    world.s3.send(request).await.unwrap().ok().await.unwrap().drain().await.unwrap();
}

async fn read(s3: &S3Client, request: Request) -> String {
    let answer = s3.send(request).await.unwrap().ok().await.unwrap();
    String::from_utf8(answer.bytes().await.unwrap().to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_gateway_comes_back_though_two_nodes_are_lost_as_well() {
    let world = World::start().await;
    world.put("small", b"in the metadata").await;
    world.put("big", &sample(BIG, 1)).await;
    shipped(&world).await; // A snapshot; what follows comes as logs.

    configure(
        &world,
        BUCKET,
        "versioning",
        "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
    )
    .await;
    world.put("big", &sample(BIG, 2)).await;
    world.put("gone", b"under a marker").await;
    world.s3.delete(BUCKET, "gone").await.unwrap();
    world.admin.create_account("bob", None, Some("bob@example.org")).await.unwrap();
    let bob = world.admin.create_key("bob").await.unwrap();
    let policy = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":"*",
            "Action":"s3:GetObject","Resource":"arn:aws:s3:::{BUCKET}/big"}}]}}"#
    );
    configure(&world, BUCKET, "policy", &policy).await;
    let versions = |bucket: &str| Request::new(Method::GET, bucket, "").query("versions", "");
    let listed = read(&world.s3, versions(BUCKET)).await;
    let before = world.cluster.endpoint().clone();
    shipped(&world).await;

    let world = world
        .restart_after(async |options| {
            let key = key_of(&options.dir.join("gateway"));
            for lost in ["gateway", "nodes/2", "nodes/5"] {
                lose(options, lost);
            }
            let refused = Cluster::start(options.clone()).await.err().unwrap().to_string();
            assert!(refused.contains("stratos admin recover"), "{refused}");
            let report = recover(&options.dir, &key).await.unwrap();
            assert_eq!((report.nodes_answered, report.logs_beyond_gap), (4, 0));
            assert!(report.logs > 0 && report.snapshot_ms <= report.recovered_to_ms);
            assert!(report.recovered_to_ms <= report.last_sign_ms);
        })
        .await;

    let after = world.cluster.endpoint();
    assert_eq!(after.access_key_id, before.access_key_id);
    assert_eq!(after.secret_access_key, before.secret_access_key);
    assert_eq!(world.get("small").await, b"in the metadata");
    assert_eq!(world.get("big").await, sample(BIG, 2));
    assert_eq!(read(&world.s3, versions(BUCKET)).await, listed);
    assert_eq!(world.refusal_of_get("gone").await, "NoSuchKey");
    let old = listed.split("<VersionId>null</VersionId>").count();
    assert_eq!(old, 3, "two versions of before it was versioned: {listed}");
    let old = Request::new(Method::GET, BUCKET, "big").query("versionId", "null");
    let old = world.s3.send(old).await.unwrap().ok().await.unwrap().bytes().await.unwrap();
    assert!(old[..] == sample(BIG, 1)[..]);
    let bob =
        S3Client::new(&after.endpoint, &after.region, &bob.access_key_id, &bob.secret_access_key);
    let bob = bob.unwrap();
    assert_eq!(bob.get_bytes(BUCKET, "big").await.unwrap().to_vec(), sample(BIG, 2));
    assert_eq!(code(bob.get_bytes(BUCKET, "small").await), "AccessDenied");

    // It goes on as a gateway does, and is shipped again.
    world.put("new", &sample(BIG, 3)).await;
    assert_eq!(world.get("new").await, sample(BIG, 3));
    shipped(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_beside_the_running_gateway_changes_nothing_and_is_paid() {
    let world = World::start().await;
    world.put("small", b"in the metadata").await;
    shipped(&world).await;
    let key = key_of(&world.cluster.dir().join("gateway"));
    let spare = tempfile::tempdir().unwrap();
    let out = spare.path().join("gateway");
    let got = |world: &World| -> u64 {
        world.cluster.gateway().meter.snapshot().nodes.values().map(|node| node.get_bytes).sum()
    };
    assert_eq!(got(&world), 0);
    let report = recovery::gateway(&out, &key, &key.peers.nodes, &|_| {}).await.unwrap();
    assert_eq!((report.nodes_answered, report.logs_beyond_gap), (6, 0));
    assert!(out.join("meta.sqlite").exists());
    assert_eq!(RecoveryKey::of_folder(&out).unwrap().to_text(), key.to_text());
    // The gateway hears from the nodes what was vouched for in its name.
    eventually("the rehearsal is paid", async || got(&world) > 0).await;
    world.put("big", &sample(BIG, 1)).await;
    assert_eq!(world.get("big").await, sample(BIG, 1));
    shipped(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_lost_and_recovered_again_and_again() {
    let mut world = World::start().await;
    for round in 0..3u64 {
        world.put(&format!("round {round}"), &sample(100_000, round)).await;
        shipped(&world).await;
        world = world
            .restart_after(async |options| {
                let key = key_of(&options.dir.join("gateway"));
                lose(options, "gateway");
                recover(&options.dir, &key).await.unwrap();
            })
            .await;
        for before in 0..=round {
            assert_eq!(world.get(&format!("round {before}")).await, sample(100_000, before));
        }
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flipped_bytes_on_two_nodes_are_survived() {
    let world = World::start().await;
    world.put("small", b"in the metadata").await;
    shipped(&world).await;
    let records: Vec<_> = [0, 3].into_iter().flat_map(|node| world.records(node)).collect();
    assert!(records.len() > 2, "{}", records.len());
    let world = world
        .restart_after(async |options| {
            let key = key_of(&options.dir.join("gateway"));
            lose(options, "gateway");
            for record in records {
                let file = fs::File::options().read(true).write(true).open(&record.path).unwrap();
                let at = record.place + (RECORD_HEADER + record.len) / 2;
                let mut byte = [0];
                file.read_exact_at(&mut byte, at).unwrap();
                file.write_all_at(&[byte[0] ^ 1], at).unwrap();
            }
            let report = recover(&options.dir, &key).await.unwrap();
            assert_eq!(report.nodes_answered, 6);
        })
        .await;
    assert_eq!(world.get("small").await, b"in the metadata");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_or_a_place_that_is_taken_is_refused_and_nothing_changes() {
    let world = World::start().await;
    world.put("small", b"in the metadata").await;
    shipped(&world).await;
    let other = World::start().await;
    shipped(&other).await;
    let stranger = key_of(&other.cluster.dir().join("gateway"));
    other.end().await;

    let world = world
        .restart_after(async |options| {
            let gateway = options.dir.join("gateway");
            let key = key_of(&gateway);
            let taken = recover(&options.dir, &key).await.unwrap_err();
            assert!(taken.to_string().contains("is not empty"), "{taken}");

            let kept = options.dir.join("kept");
            fs::rename(&gateway, &kept).unwrap();
            let wrong = recover(&options.dir, &stranger).await.unwrap_err();
            assert!(wrong.to_string().contains("belongs to another network"), "{wrong}");

            // Another master key: nothing that the nodes hold opens.
            let master = kept.join("master.key");
            let right = fs::read(&master).unwrap();
            fs::write(&master, format!("{}\n", "5a".repeat(32))).unwrap();
            let wrong = recover(&options.dir, &key_of(&kept)).await.unwrap_err();
            assert!(
                matches!(wrong, RecoveryError::Recover(RecoverError::Nothing { nodes: 6, .. })),
                "{wrong}"
            );
            assert!(!gateway.exists());
            fs::write(&master, right).unwrap();
            fs::rename(&kept, &gateway).unwrap();
        })
        .await;
    assert_eq!(world.get("small").await, b"in the metadata");
    world.end().await;
}
