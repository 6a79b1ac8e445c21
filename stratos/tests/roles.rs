//! The roles as processes: ledger, gateway and six nodes find each other by
//! their files alone, and what was acknowledged outlives any of them.

mod process;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use process::{Gateway, Role, STRATOS, free_tcp, free_udp, wait_for};
use stratos::client::{Body, S3Client};

const NODES: usize = 6;
const BUCKET: &str = "roles";

/// The network of eight, in one folder.
struct Eight {
    folder: PathBuf,
    ledger: Role,
    gateway: Gateway,
    nodes: Vec<Role>,
    /// Where nodes and ledger say how they are.
    health: Vec<SocketAddr>,
}

impl Eight {
    /// Writes the files. The keys come first: the roles know each other by
    /// their public halves.
    fn new(folder: &Path) -> Self {
        let (s3, ledger_addr) = (free_tcp(), free_udp());
        let ledger = Role::new(folder, "ledger", "ledger", "", &[]);
        let known = format!("[ledger]\nid = {:?}\naddr = \"{ledger_addr}\"", ledger.id());
        let settings = format!("listen = \"{s3}\"\nadmin_listen = \"127.0.0.1:0\"\n{known}");
        let gateway = Gateway(Role::new(folder, "gateway", "gateway", &settings, &[]));
        let health: Vec<SocketAddr> = (0..=NODES).map(|_| free_tcp()).collect();
        ledger.write(&format!(
            "listen = \"{ledger_addr}\"\ngateways = [{:?}]\nepoch_seconds = 5\n\
             opening_balance_credits = 1000\nmetrics_listen = \"{}\"",
            gateway.0.id(),
            health[NODES],
        ));
        let nodes = (0..NODES).map(|n| {
            let listen = free_udp();
            // As in a pod: it listens everywhere and is told where it is.
            let settings = format!(
                "listen = \"0.0.0.0:{}\"\nreserve_bytes = 0\nmetrics_listen = \"{}\"\n{known}",
                listen.port(),
                health[n],
            );
            let invite = folder.join(format!("invite-{n}")).display().to_string();
            let flags =
                ["--advertise".to_owned(), listen.to_string(), "--invite-file".to_owned(), invite];
            Role::new(folder, "node", &format!("node-{n}"), &settings, &flags)
        });
        Self { folder: folder.to_owned(), ledger, gateway, nodes: nodes.collect(), health }
    }

    /// Starts ledger and gateway, invites the nodes and starts them.
    async fn start(&mut self) {
        self.ledger.start();
        self.gateway.0.start();
        self.gateway.endpoint().await;
        for n in 0..NODES {
            fs::write(self.folder.join(format!("invite-{n}")), self.gateway.invite())
                .expect("written");
            self.nodes[n].start();
        }
        self.gateway.await_nodes(&mut self.nodes).await;
    }
}

/// The text at an address that needs no key.
async fn plain(addr: SocketAddr, path: &str) -> Option<String> {
    let url = format!("http://{addr}");
    let client = S3Client::new(&url, "", "", "").expect("a client");
    let (url, method) = (format!("{url}{path}"), http::Method::GET);
    let sent = client.send_unsigned(method, &url, http::HeaderMap::new(), Body::from("")).await;
    let answer = sent.ok().filter(|answer| answer.status.is_success())?;
    Some(String::from_utf8(answer.bytes().await.ok()?.to_vec()).expect("text"))
}

/// The acknowledged objects.
#[derive(Default)]
struct Objects(Vec<(String, Bytes)>);

impl Objects {
    /// Stores one object in the metadata and one on the nodes.
    async fn put(&mut self, s3: &S3Client, name: &str) {
        for len in [100, (3 << 20) + 7] {
            let key = format!("{name} of {len}");
            let seed = seed(&key);
            let body: Bytes = (0..len).map(|i| seed[i % 32] ^ (i / 32) as u8).collect();
            s3.put(BUCKET, &key, body.clone()).await.unwrap_or_else(|e| panic!("{key}: {e}"));
            self.0.push((key, body));
        }
    }

    async fn check(&self, s3: &S3Client) {
        for (key, body) in &self.0 {
            let read = s3.get_bytes(BUCKET, key).await.unwrap_or_else(|e| panic!("{key}: {e}"));
            assert!(read == body, "{key} came back with other bytes");
        }
    }
}

/// Bytes that depend on the name.
fn seed(name: &str) -> [u8; 32] {
    use ring::digest::{SHA256, digest};
    digest(&SHA256, name.as_bytes()).as_ref().try_into().expect("32 bytes")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_eight_processes_acknowledged_outlives_each_of_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut eight = Eight::new(folder.path());
    eight.start().await;
    for addr in &eight.health {
        wait_for("readiness", &eight.ledger, async || plain(*addr, "/health/ready").await).await;
        assert_eq!(plain(*addr, "/health/live").await.as_deref(), Some("live\n"));
    }
    let s3 = eight.gateway.client().await;
    s3.create_bucket(BUCKET).await.expect("a bucket");
    let mut objects = Objects::default();
    objects.put(&s3, "first").await;

    eight.gateway.0.kill();
    eight.gateway.0.start();
    eight.gateway.await_nodes(&mut eight.nodes).await;
    objects.check(&eight.gateway.client().await).await;

    let s3 = eight.gateway.client().await;
    // A write needs five of six shards: the last ones may come a moment later.
    wait_for("all shards", &eight.gateway.0, async || {
        let census = eight.gateway.ask(&["admin", "census"]);
        (census["full"] == census["segments"]).then_some(())
    })
    .await;
    for node in &mut eight.nodes[..2] {
        node.kill();
    }
    objects.check(&s3).await;
    for n in 0..2 {
        // It has joined, so the invite has done its work.
        fs::remove_file(folder.path().join(format!("invite-{n}"))).expect("removed");
        eight.nodes[n].start();
    }
    // The gateway may not have noticed yet that they were gone and are back.
    wait_for("acknowledged upload", &eight.gateway.0, async || {
        s3.put(BUCKET, "probe", vec![7; 1 << 20]).await.ok()
    })
    .await;
    objects.put(&s3, "after the nodes").await;

    eight.ledger.kill();
    objects.check(&s3).await;
    objects.put(&s3, "without the ledger").await;
    eight.ledger.start();
    wait_for("ledger with six nodes", &eight.ledger, async || {
        let metrics = plain(eight.health[NODES], "/metrics").await?;
        metrics.contains("\nstratos_nodes 6\n").then_some(())
    })
    .await;
    objects.check(&s3).await;
    let shards = plain(eight.health[0], "/metrics").await.expect("metrics");
    assert!(shards.contains("stratos_node_requests_total{kind=\"put\"}"), "{shards}");

    drop(s3);
    let Eight { mut ledger, gateway: Gateway(mut gateway), mut nodes, .. } = eight;
    for role in std::iter::once(&mut gateway).chain(&mut nodes).chain([&mut ledger]) {
        let ended = role.stop().await;
        assert_eq!(ended.code(), Some(0), "{}\n{}", role.name, role.log());
    }
    assert!(!gateway.dir().join("endpoint.json").exists(), "{}", gateway.log());
}

#[test]
fn a_role_that_cannot_start_says_why_in_one_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = |role: &Role, code: i32, says: &str| {
        let done = Command::new(STRATOS).args(&role.arguments).output().expect("it runs");
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        let sentence = said.lines().last().unwrap_or_default();
        assert!(sentence.starts_with("stratos: ") && sentence.contains(says), "{said}");
        assert_eq!(done.status.code(), Some(code), "{said}");
    };
    let new = |role: &str, name: &str, settings: &str, flags: &[String]| {
        Role::new(folder.path(), role, name, settings, flags)
    };
    let listen = "listen = \"127.0.0.1:0\"";
    refused(&new("ledger", "ledger", "", &[]), 2, "gateways = [] is empty");
    refused(&new("gateway", "gateway", "", &[]), 2, "ledger.id = \"\" is empty");
    refused(&new("node", "alone", listen, &[]), 2, "no ledger is known");
    let absent = folder.path().join("absent").display().to_string();
    let flags = ["--invite-file".to_owned(), absent];
    refused(&new("node", "uninvited", listen, &flags), 2, "cannot read the invite");

    let held = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = held.local_addr().expect("bound");
    let id = new("ledger", "other", "", &[]).id();
    let settings = format!("{listen}\nmetrics_listen = \"{taken}\"\ngateways = [{id:?}]");
    refused(&new("ledger", "other", &settings, &[]), 1, &format!("cannot listen on {taken}: "));
    let settings = format!("listen = \"{taken}\"\n[ledger]\nid = {id:?}\naddr = \"127.0.0.1:1\"");
    refused(&new("gateway", "third", &settings, &[]), 1, &format!("cannot listen on {taken}: "));
}
