//! The roles as processes, told apart by their files: start, kill, stop, ask.
#![allow(dead_code, reason = "each test file uses some of it")]

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::Value;
use stratos::client::S3Client;
use stratos::endpoint::Endpoint;

/// For whatever is waited for: generous, since a busy machine runs this beside
/// a compiler.
const DEADLINE: Duration = Duration::from_secs(180);

/// The first port for processes and how many there are; see [`free_port`].
const PORTS: (u32, u32) = (20_000, 12_000);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

pub const STRATOS: &str = env!("CARGO_BIN_EXE_stratos");

/// One role: its file, and its process when it runs. Dropping it kills it.
pub struct Role {
    pub name: String,
    pub arguments: Vec<String>,
    folder: PathBuf,
    pub process: Option<Child>,
}

impl Role {
    /// Writes the role's file; `flags` follow it on the command line.
    pub fn new(folder: &Path, role: &str, name: &str, settings: &str, flags: &[String]) -> Self {
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

    pub fn path(&self, extension: &str) -> PathBuf {
        self.folder.join(format!("{}.{extension}", self.name))
    }

    pub fn dir(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    pub fn write(&self, settings: &str) {
        let text = format!("dir = {:?}\n{settings}\n", self.dir());
        fs::write(self.path("toml"), text).expect("the role's file is written");
    }

    /// Its public key, which it makes.
    pub fn id(&self) -> String {
        let [role, flag, file, ..] = &self.arguments[..] else { panic!("three arguments") };
        let id = stratos(&[role, flag, file, "--print-id"]);
        assert_eq!(id.trim().len(), 64, "{id:?}");
        id.trim().to_owned()
    }

    pub fn start(&mut self) {
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
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().expect("killed");
        process.wait().expect("it ends");
    }

    /// Asks the process to stop, and waits until it has.
    pub async fn stop(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("it runs");
        let id = Pid::from_child(&process);
        rustix::process::kill_process(id, Signal::TERM).expect("it is told");
        wait_for("end of the process", self, async || process.try_wait().expect("its state")).await
    }

    /// A process that ended by itself ends the test, with what it said.
    pub fn assert_running(&mut self) {
        if let Some(status) = self.process.as_mut().and_then(|process| process.try_wait().ok()?) {
            panic!("{} ended by itself: {status}\n{}", self.name, self.log());
        }
    }

    pub fn log(&self) -> String {
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
pub fn stratos(arguments: &[&str]) -> String {
    let done = Command::new(STRATOS).args(arguments).output().expect("the program runs");
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("text")
}

/// Asks until there is an answer.
pub async fn wait_for<T>(what: &str, role: &Role, mut look: impl AsyncFnMut() -> Option<T>) -> T {
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

pub fn free_tcp() -> SocketAddr {
    free_port(|addr| TcpListener::bind(addr).is_ok())
}

pub fn free_udp() -> SocketAddr {
    free_port(|addr| UdpSocket::bind(addr).is_ok())
}

/// A port for a process that starts later. The system hands out ports above
/// these: no socket that asks for any port takes it in between. Each is given
/// once, and other runs of tests begin elsewhere.
fn free_port(can_bind: impl Fn(SocketAddr) -> bool) -> SocketAddr {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(61);
    let any = (0..PORTS.1).find_map(|_| {
        let offset = begin.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % PORTS.1;
        let port = u16::try_from(PORTS.0 + offset).expect("below the system's own");
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        can_bind(addr).then_some(addr)
    });
    any.expect("a free port")
}

/// What `stratos health` says.
pub fn is_ready(endpoint: &str) -> bool {
    let done = Command::new(STRATOS).args(["health", "--endpoint", endpoint]).output();
    let done = done.expect("the program runs");
    assert!(matches!(done.status.code(), Some(0 | 1)), "{done:?}");
    done.status.success()
}

/// A gateway that runs.
pub struct Gateway(pub Role);

impl Gateway {
    /// Its endpoint file, once this start of it has written it.
    pub async fn endpoint(&self) -> Endpoint {
        let pid = self.0.process.as_ref().map(Child::id);
        wait_for("endpoint.json", &self.0, async || {
            let endpoint = Endpoint::read(&self.0.dir()).ok();
            endpoint.filter(|endpoint| endpoint.pid == pid)
        })
        .await
    }

    /// What a command says of it in JSON.
    pub fn ask(&self, command: &[&str]) -> Value {
        let dir = self.0.dir().display().to_string();
        let answer = stratos(&[command, &["--data", &dir, "--json"]].concat());
        serde_json::from_str(&answer).expect("JSON")
    }

    /// An invite for one node.
    pub fn invite(&self) -> String {
        let answer = self.ask(&["node", "invite"]);
        answer["invite"].as_str().expect("an invite").to_owned()
    }

    /// Waits until it is ready and sees all of these nodes.
    pub async fn await_nodes(&self, roles: &mut [Role]) {
        let count = roles.len();
        let endpoint = self.endpoint().await.endpoint;
        wait_for("ready gateway", &self.0, async || is_ready(&endpoint).then_some(())).await;
        wait_for(&format!("{count} nodes"), &self.0, async || {
            roles.iter_mut().for_each(Role::assert_running);
            let nodes = self.ask(&["node", "list"]);
            let nodes = nodes["nodes"].as_array().expect("nodes");
            let up = nodes.iter().filter(|node| node["state"] == "up").count();
            (up == count).then_some(())
        })
        .await;
    }

    /// A client of it with the keys that it was born with.
    pub async fn client(&self) -> S3Client {
        let endpoint = self.endpoint().await;
        let (id, secret) = (&endpoint.access_key_id, &endpoint.secret_access_key);
        S3Client::new(&endpoint.endpoint, &endpoint.region, id, secret).expect("a client")
    }
}
