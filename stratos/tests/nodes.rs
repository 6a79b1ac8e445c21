//! Nodes that come, prove themselves, fail, are paused and leave.

mod world;

use std::fs;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use gateway::NodeSettings;
use gateway::nodes::lifecycle::LifecycleRules;
use gateway::object::audit::AuditRules;
use gateway::object::placement::RequireDomains;
use ledger::client::LedgerClient;
use serde_json::json;
use stratos::admin::answers::NodeStatus;
use world::{BUCKET, RECORD_HEADER, World, code, eventually, sample};

/// Audits several times a second, and newcomers that are soon known.
fn eager() -> NodeSettings {
    NodeSettings {
        audits: AuditRules { per_epoch: 5, per_epoch_vetting: 5, ..AuditRules::default() },
        lifecycle: LifecycleRules {
            vetting_audits: 2,
            vetting_age: Duration::ZERO,
            ..LifecycleRules::default()
        },
        ..NodeSettings::default()
    }
}

impl World {
    /// The id of node `index`.
    fn node_id(&self, index: usize) -> String {
        storage_node::identity(&self.cluster.node_dir(index)).unwrap().to_string()
    }

    async fn node(&self, index: usize) -> NodeStatus {
        // A beginning of the id is enough.
        self.admin.node(&self.node_id(index)[..16]).await.unwrap()
    }

    async fn act(&self, index: usize, action: &str) -> NodeStatus {
        self.admin.node_action(&self.node_id(index), action).await.unwrap()
    }

    async fn is(&self, index: usize, state: &str) -> bool {
        self.node(index).await.state == state
    }

    /// Objects that each have a shard on six nodes.
    async fn fill(&self, objects: u64) {
        for n in 0..objects {
            self.put(&format!("k{n}"), &sample(20_000, n)).await;
        }
    }

    async fn assert_all_read(&self, objects: u64) {
        for n in 0..objects {
            assert!(self.get(&format!("k{n}")).await == sample(20_000, n), "k{n}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seventh_node_proves_itself_before_it_is_used_in_full() {
    // Long enough to be a newcomer while all objects are written.
    let lifecycle = LifecycleRules { vetting_age: Duration::from_secs(30), ..eager().lifecycle };
    let mut world = World::start_with_nodes(NodeSettings { lifecycle, ..eager() }).await;
    for n in 0..6 {
        eventually("six nodes in full use", || world.is(n, "active")).await;
    }
    let seventh = world.cluster.add_node().await.unwrap();
    let id = world.node_id(seventh);
    eventually("the seventh is known", || async { world.admin.node(&id).await.is_ok() }).await;
    assert_eq!(world.node(seventh).await.state, "vetting");
    // A small share of the shards is for newcomers.
    world.fill(40).await;
    let status = world.node(seventh).await;
    assert_eq!(status.state, "vetting");
    assert!((1..=30).contains(&status.shards), "{} of 240 shards", status.shards);
    eventually("the seventh in full use", || world.is(seventh, "active")).await;
    let status = world.node(seventh).await;
    assert!(status.reason.starts_with("it passed "), "{}", status.reason);
    assert!(status.audits.passed >= 2);
    world.assert_all_read(40).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_drains_gets_nothing_new_and_leaves_when_it_is_empty() {
    let mut world = World::start_with_nodes(eager()).await;
    world.fill(10).await;
    let seventh = world.cluster.add_node().await.unwrap();
    eventually("the seventh is there", || async {
        world.admin.node(&world.node_id(seventh)).await.is_ok_and(|status| status.up)
    })
    .await;
    // One that holds nothing has left at once, and comes back when it is asked.
    world.act(seventh, "drain").await;
    eventually("an empty node has left", || world.is(seventh, "left")).await;
    world.act(seventh, "undrain").await;
    eventually("it is back", || async { world.node(seventh).await.state != "left" }).await;

    assert_eq!(world.act(2, "drain").await.state, "draining");
    assert_eq!(world.act(2, "drain").await.state, "draining", "said twice");
    let held = world.node(2).await.shards;
    for n in 10..20 {
        world.put(&format!("k{n}"), &sample(20_000, n)).await;
    }
    assert!(world.node(2).await.shards <= held);
    world.assert_all_read(20).await;
    world.act(2, "undrain").await;
    assert_eq!(world.node(2).await.state, "active", "as before");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_shard_fails_its_audit_is_queued_and_the_node_hears_of_it() {
    let world = World::start_with_nodes(eager()).await;
    world.fill(3).await;
    for record in world.records(1) {
        let file = fs::OpenOptions::new().write(true).open(&record.path).unwrap();
        // Everywhere, so that any group is wrong.
        for at in (RECORD_HEADER..record.len).step_by(512) {
            file.write_all_at(&[0xa5], record.place + at).unwrap();
        }
    }
    eventually("the audit fails", || async { world.node(1).await.audits.recent.failed >= 1 }).await;
    let status = world.node(1).await;
    assert!(status.score.as_f64().unwrap() < 1.0);
    let event = status.events.iter().find(|event| event.kind == "failed").unwrap();
    assert!(event.text.contains("it counts as lost"), "{}", event.text);
    eventually("the node knows", || async {
        let metrics = world.cluster.node_metrics(1).unwrap();
        let standing = metrics.standings.first().map(|(_, standing)| standing.score);
        let failed = metrics.audits.iter().any(|(name, count)| *name == "failed" && *count > 0);
        failed && standing.is_some_and(|score| score < 1_000_000)
    })
    .await;
    world.assert_all_read(3).await;
    for n in [0, 2, 3, 4, 5] {
        assert_eq!(world.node(n).await.audits.recent.failed, 0, "node {n}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn being_offline_is_no_failure() {
    let mut world = World::start_with_nodes(eager()).await;
    world.fill(3).await;
    world.cluster.stop_node(4).await;
    eventually("it is missed", || async { world.node(4).await.audits.recent.offline >= 3 }).await;
    eventually("nobody waits for it", || async { !world.node(4).await.up }).await;
    let status = world.node(4).await;
    assert_eq!((status.audits.recent.failed, status.score.as_f64()), (0, Some(1.0)));
    assert_eq!((status.state.as_str(), status.up), ("active", false));
    assert!(status.absent_seconds.is_some());
    assert!(status.online.unwrap().as_f64().unwrap() < 1.0);
    world.cluster.start_node(4).await.unwrap();
    eventually("it is back", || async { world.node(4).await.up }).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn epochs_are_reported_to_the_ledger_with_secrets_that_were_committed_to() {
    let world = World::start_with_nodes(eager()).await;
    world.fill(3).await;
    let gateway = world.cluster.gateway();
    let client = LedgerClient::new(gateway.key.clone(), gateway.settings.ledger);
    let query = json!({ "query": "audits", "gateway": gateway.id(), "after": null });
    eventually("reports of six nodes", || async {
        let Ok(answer) = client.query(query.clone()).await else { return false };
        let nodes = answer["nodes"].as_array().unwrap();
        let all_good = nodes
            .iter()
            .all(|node| node["score"] == 1_000_000 && node["total"]["ok"].as_u64() >= Some(1));
        nodes.len() == 6 && all_good && answer["was_committed"] == true
    })
    .await;
    // What they proved is paid for by the gateway itself.
    eventually("audits are metered", || async {
        let metered = gateway.meter.snapshot();
        let own = metered.accounts.get(&gateway.own_account());
        own.is_some_and(|own| own.audit_bytes > 0)
    })
    .await;
    client.close().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_node_is_read_and_not_written_to() {
    let world = World::start_with_nodes(eager()).await;
    world.fill(3).await;
    eventually("in full use", || world.is(5, "active")).await;
    assert_eq!(world.act(5, "suspend").await.state, "suspended");
    let held = world.node(5).await.shards;
    for n in 3..8 {
        world.put(&format!("k{n}"), &sample(20_000, n)).await;
    }
    assert_eq!(world.node(5).await.shards, held);
    world.assert_all_read(8).await;
    let refused = world.admin.node_action(&world.node_id(5), "undrain").await;
    assert!(refused.unwrap_err().to_string().starts_with("the node is suspended; "));
    assert_eq!(world.act(5, "resume").await.state, "active");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_nodes_never_goes_so_far_that_something_is_lost() {
    let world = World::start_with_nodes(eager()).await;
    world.fill(5).await;
    let remove = async |n: usize, force| {
        world.admin.remove_node(&world.node_id(n), force).await.map_err(|e| e.to_string())
    };
    let refused = remove(0, false).await.unwrap_err();
    assert!(refused.contains("drain it first"), "{refused}");
    for n in [0, 1] {
        let status = remove(n, true).await.unwrap();
        assert_eq!(status.state, "left");
    }
    let refused = remove(2, true).await.unwrap_err();
    assert!(refused.contains("could not be read without this node"), "{refused}");
    world.assert_all_read(5).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_domains_are_required_and_missing_writes_are_refused_in_words() {
    let nodes = NodeSettings { require_domains: RequireDomains::Operator, ..eager() };
    let world = World::start_with_nodes(nodes).await;
    // All six nodes of one machine are of one operator.
    let refused = world.s3.put(BUCKET, "k", sample(20_000, 1)).await.unwrap_err();
    assert!(refused.to_string().contains("nodes of other operators are missing"), "{refused}");
    assert_eq!(code::<()>(Err(refused)), "ServiceUnavailable");
    world.put("small", b"inline objects need no nodes").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_named_by_unique_beginnings() {
    let world = World::start().await;
    let refusal = async |name: &str| world.admin.node(name).await.unwrap_err().to_string();
    assert!(refusal("zz").await.starts_with("name a node by 4 hexadecimal digits"));
    let id = world.node_id(0);
    let other = if id.starts_with('0') { "1".repeat(16) } else { "0".repeat(16) };
    assert!(refusal(&other).await.starts_with("no node begins with"));
    assert_eq!(world.admin.node(&id[..8]).await.unwrap().node, id);
    world.end().await;
}
