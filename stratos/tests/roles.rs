//! The roles as processes: ledger, gateway and six nodes find each other by
//! their files alone, and what was acknowledged outlives any of them.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::process::{Pid, Signal};
use serde_json::Value;
use stratos::client::{Body, S3Client};
use stratos::endpoint::Endpoint;

const NODES: usize = 6;
const BUCKET: &str = "roles";

/// For whatever is waited for: generous, since a busy machine runs this beside
/// a compiler.
const DEADLINE: Duration = Duration::from_secs(60);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

const STRATOS: &str = env!("CARGO_BIN_EXE_stratos");

/// One role: its file, and its process when it runs. Dropping it kills it.
struct Role {
    name: String,
    arguments: Vec<String>,
    folder: PathBuf,
    process: Option<Child>,
}

impl Role {
    /// Writes the role's file; `flags` follow it on the command line.
    fn new(folder: &Path, role: &str, name: &str, settings: &str, flags: &[String]) -> Self {
        let mut role = Self {
            name: name.to_owned(),
            arguments: vec![role.to_owned(), "-c".to_owned()],
            folder: folder.to_owned(),
            process: None,
        };
        role.arguments.push(role.path("toml").display().to_string());
        role.arguments.extend_from_slice(flags);
        role.write(settings);
        role
    }

    fn path(&self, extension: &str) -> PathBuf {
        self.folder.join(format!("{}.{extension}", self.name))
    }

    fn dir(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    fn write(&self, settings: &str) {
        let text = format!("dir = {:?}\n{settings}\n", self.dir());
        fs::write(self.path("toml"), text).expect("the role's file is written");
    }

    /// Its public key, which it makes.
    fn id(&self) -> String {
        let [role, flag, file, ..] = &self.arguments[..] else { panic!("three arguments") };
        let id = stratos(&[role, flag, file, "--print-id"]);
        assert_eq!(id.trim().len(), 64, "{id:?}");
        id.trim().to_owned()
    }

    fn start(&mut self) {
        assert!(self.process.is_none(), "{} runs", self.name);
        let log = File::options().create(true).append(true).open(self.path("log")).expect("a log");
        let process = Command::new(STRATOS)
            .args(&self.arguments)
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.process = Some(process.expect("the program starts"));
    }

    /// Kills the process, as a power cut would.
    fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().expect("killed");
        process.wait().expect("it ends");
    }

    /// Asks the process to stop, and waits until it has.
    async fn stop(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("it runs");
        let id = Pid::from_child(&process);
        rustix::process::kill_process(id, Signal::TERM).expect("it is told");
        wait_for("end of the process", self, async || process.try_wait().expect("its state")).await
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // A test that failed leaves no process behind.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Runs a command of the program and returns what it printed.
fn stratos(arguments: &[&str]) -> String {
    let done = Command::new(STRATOS).args(arguments).output().expect("the program runs");
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("text")
}

/// Asks until there is an answer.
async fn wait_for<T>(what: &str, role: &Role, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        let (name, log) = (&role.name, role.log());
        assert!(Instant::now() < deadline, "{name}: no {what} within {DEADLINE:?}\n{log}");
        tokio::time::sleep(LOOK).await;
    }
}

/// The network of eight, in one folder.
struct Eight {
    folder: PathBuf,
    ledger: Role,
    gateway: Role,
    nodes: Vec<Role>,
    s3: SocketAddr,
    /// Where nodes and ledger say how they are.
    health: Vec<SocketAddr>,
}

fn free_tcp() -> SocketAddr {
    let probe = TcpListener::bind("127.0.0.1:0").expect("a free port");
    probe.local_addr().expect("bound")
}

fn free_udp() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound")
}

impl Eight {
    /// Writes the files. The keys come first: the roles know each other by
    /// their public halves.
    fn new(folder: &Path) -> Self {
        let (s3, ledger_addr) = (free_tcp(), free_udp());
        let ledger = Role::new(folder, "ledger", "ledger", "", &[]);
        let known = format!("[ledger]\nid = {:?}\naddr = \"{ledger_addr}\"", ledger.id());
        let settings = format!("listen = \"{s3}\"\nadmin_listen = \"127.0.0.1:0\"\n{known}");
        let gateway = Role::new(folder, "gateway", "gateway", &settings, &[]);
        let health: Vec<SocketAddr> = (0..=NODES).map(|_| free_tcp()).collect();
        ledger.write(&format!(
            "listen = \"{ledger_addr}\"\ngateways = [{:?}]\nepoch_seconds = 5\n\
             opening_balance_credits = 1000\nmetrics_listen = \"{}\"",
            gateway.id(),
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
        Self { folder: folder.to_owned(), ledger, gateway, nodes: nodes.collect(), s3, health }
    }

    /// Starts ledger and gateway, invites the nodes and starts them.
    async fn start(&mut self) {
        self.ledger.start();
        self.gateway.start();
        self.endpoint().await;
        for n in 0..NODES {
            fs::write(self.folder.join(format!("invite-{n}")), self.invite()).expect("written");
            self.nodes[n].start();
        }
        self.await_nodes(NODES).await;
    }

    /// The gateway's endpoint file, once this start of it has written it.
    async fn endpoint(&self) -> Endpoint {
        let pid = self.gateway.process.as_ref().map(Child::id);
        wait_for("endpoint.json", &self.gateway, async || {
            let endpoint = Endpoint::read(&self.gateway.dir()).ok();
            endpoint.filter(|endpoint| endpoint.pid == pid)
        })
        .await
    }

    fn ask(&self, command: &[&str]) -> Value {
        let dir = self.gateway.dir().display().to_string();
        let answer = stratos(&[command, &["--data", &dir, "--json"]].concat());
        serde_json::from_str(&answer).expect("JSON")
    }

    fn invite(&self) -> String {
        let answer = self.ask(&["node", "invite"]);
        answer["invite"].as_str().expect("an invite").to_owned()
    }

    /// Waits until the gateway is ready and sees this many nodes.
    async fn await_nodes(&self, count: usize) {
        let endpoint = format!("http://{}", self.s3);
        wait_for("ready gateway", &self.gateway, async || is_ready(&endpoint).then_some(())).await;
        wait_for(&format!("{count} nodes"), &self.gateway, async || {
            let nodes = self.ask(&["node", "list"]);
            let nodes = nodes["nodes"].as_array().expect("nodes");
            let up = nodes.iter().filter(|node| node["state"] == "up").count();
            (up == count).then_some(())
        })
        .await;
    }

    async fn client(&self) -> S3Client {
        let endpoint = self.endpoint().await;
        let (id, secret) = (&endpoint.access_key_id, &endpoint.secret_access_key);
        S3Client::new(&endpoint.endpoint, &endpoint.region, id, secret).expect("a client")
    }
}

/// What `stratos health` says.
fn is_ready(endpoint: &str) -> bool {
    let done = Command::new(STRATOS).args(["health", "--endpoint", endpoint]).output();
    let done = done.expect("the program runs");
    assert!(matches!(done.status.code(), Some(0 | 1)), "{done:?}");
    done.status.success()
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
    let s3 = eight.client().await;
    s3.create_bucket(BUCKET).await.expect("a bucket");
    let mut objects = Objects::default();
    objects.put(&s3, "first").await;

    eight.gateway.kill();
    eight.gateway.start();
    eight.await_nodes(NODES).await;
    objects.check(&eight.client().await).await;

    let s3 = eight.client().await;
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
    wait_for("acknowledged upload", &eight.gateway, async || {
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
    let Eight { mut ledger, mut gateway, mut nodes, .. } = eight;
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
