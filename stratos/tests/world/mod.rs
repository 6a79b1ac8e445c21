//! A network of its own for each test, and the words in which tests speak.

// Each test binary uses a part of this.
#![allow(dead_code, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gateway::{NodeSettings, UpkeepSettings};
use http::{HeaderValue, Method};
use stratos::admin::AdminClient;
use stratos::client::{Body, ClientError, Request, S3Client};
use stratos::cluster::{Cluster, ClusterOptions, Fixed};
use tempfile::TempDir;
use tokio::time::Instant;

/// How long a test waits for what must happen.
pub const SOON: Duration = Duration::from_secs(60);

pub struct World {
    pub cluster: Cluster,
    pub s3: S3Client,
    pub admin: AdminClient,
    options: ClusterOptions,
    folder: TempDir,
}

pub const BUCKET: &str = "photos";

impl World {
    /// Six nodes, 4+2, one bucket.
    pub async fn start() -> Self {
        Self::start_with(Fixed::default()).await
    }

    pub async fn start_with(fixed: Fixed) -> Self {
        Self::start_as(fixed, None).await
    }

    /// The same by HTTPS.
    pub async fn start_with_tls() -> Self {
        Self::start_as(Fixed::default(), Some(Vec::new())).await
    }

    /// The same with lifecycles, events and logs of its own.
    pub async fn start_with_upkeep(upkeep: UpkeepSettings) -> Self {
        Self::start_by(|options| ClusterOptions { upkeep, ..options }).await
    }

    /// The same with epochs of a second and rules of its own for nodes.
    pub async fn start_with_nodes(nodes: NodeSettings) -> Self {
        let fixed = Fixed { epoch: Some(Duration::from_secs(1)), ..Fixed::default() };
        Self::start_by(|options| ClusterOptions { nodes, fixed, ..options }).await
    }

    async fn start_as(fixed: Fixed, tls: Option<Vec<String>>) -> Self {
        Self::start_by(|options| ClusterOptions { tls, fixed, ..options }).await
    }

    async fn start_by(change: impl FnOnce(ClusterOptions) -> ClusterOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (dir, listen) = (folder.path().join("data"), "127.0.0.1:0".parse().unwrap());
        let options = change(ClusterOptions::new(dir, listen));
        let cluster = Cluster::start(options.clone()).await.unwrap();
        let (s3, admin) = clients(&cluster);
        s3.create_bucket(BUCKET).await.unwrap();
        Self { cluster, s3, admin, options, folder }
    }

    /// Stops the network in good order and starts it again on its folder.
    pub async fn restart(self) -> Self {
        self.restart_after(async |_| {}).await
    }

    /// The same, with something done to the folder in between.
    pub async fn restart_after(self, between: impl AsyncFnOnce(&ClusterOptions)) -> Self {
        let Self { cluster, options, folder, .. } = self;
        cluster.stop().await;
        between(&options).await;
        let cluster = Cluster::start(options.clone()).await.unwrap();
        let (s3, admin) = clients(&cluster);
        Self { cluster, s3, admin, options, folder }
    }

    pub async fn put(&self, key: &str, bytes: &[u8]) {
        self.s3.put(BUCKET, key, bytes.to_vec()).await.unwrap();
    }

    pub async fn get(&self, key: &str) -> Vec<u8> {
        self.s3.get_bytes(BUCKET, key).await.unwrap().to_vec()
    }

    pub async fn get_range(&self, key: &str, range: std::ops::Range<u64>) -> Vec<u8> {
        let answer = self.s3.get_range(BUCKET, key, range).await.unwrap();
        answer.bytes().await.unwrap().to_vec()
    }

    /// The S3 code of the refusal, or "" if there was none.
    pub async fn refusal_of_get(&self, key: &str) -> String {
        code(self.s3.get_bytes(BUCKET, key).await)
    }

    /// Stops the network; every test ends with this, so that nothing outlives it.
    pub async fn end(self) {
        self.cluster.stop().await;
    }

    /// Every record of a shard that node `index` (from 0) has on disk.
    pub fn records(&self, index: usize) -> Vec<ShardRecord> {
        self.volumes(index).iter().flat_map(|path| records(path)).collect()
    }

    /// Every volume of node `index` (from 0).
    pub fn volumes(&self, index: usize) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.cluster.node_dir(index).join("volumes")).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|end| end == "vol")).collect()
    }
}

/// A shard in a volume: header, body, and the tree behind it (docs/formats.md).
pub struct ShardRecord {
    pub path: PathBuf,
    pub place: u64,
    /// Of header and body.
    pub len: u64,
}

/// Bytes before the body of a record.
pub const RECORD_HEADER: u64 = 192;

fn records(path: &Path) -> Vec<ShardRecord> {
    let content = fs::read(path).unwrap();
    let sectors = content.chunks_exact(512).enumerate();
    let shards = sectors.filter(|(_, sector)| sector.starts_with(b"SREC\x01\0\x01"));
    let record = |(number, sector): (usize, &[u8])| ShardRecord {
        path: path.into(),
        place: number as u64 * 512,
        len: RECORD_HEADER + u64::from_le_bytes(sector[24..32].try_into().unwrap()),
    };
    shards.map(record).collect()
}

fn clients(cluster: &Cluster) -> (S3Client, AdminClient) {
    let at = cluster.endpoint();
    let admin = AdminClient::new(&at.admin_endpoint, at.admin_token.clone()).unwrap();
    (at.client().unwrap(), admin)
}

/// Bytes that do not repeat, the same for the same `seed`.
pub fn sample(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// The S3 code of a failure, "" of a success.
pub fn code<T>(result: Result<T, ClientError>) -> String {
    match result {
        Ok(_) => String::new(),
        Err(error) => error.code().map_or_else(|| error.to_string(), str::to_owned),
    }
}

/// A PUT with headers; the S3 code of the refusal, or "".
pub async fn put_with(
    s3: &S3Client,
    key: &str,
    body: impl Into<Body>,
    headers: &[(&'static str, &str)],
) -> String {
    let mut request = Request::new(Method::PUT, BUCKET, key).body(body);
    for (name, value) in headers {
        request = request.header(name, HeaderValue::from_str(value).unwrap());
    }
    let sent = async { s3.send(request).await?.ok().await?.drain().await };
    code(sent.await)
}

/// Asks until the answer is yes, or fails after a while.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    let deadline = Instant::now() + SOON;
    while !ask().await {
        assert!(Instant::now() < deadline, "this never came: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
