//! A client of the gateway's admin API: JSON over HTTP with a bearer token.
//!
//! The network is found through its folder ([`AdminClient::of_dir`]) or by its
//! address and a token from the environment ([`AdminClient::of_url`]). What the
//! routes answer is in [`answers`].

pub mod answers;

use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use protocol::ids::PublicKey;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use thiserror::Error;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::admin::answers::{
    Account, Accounts, Buckets, Epochs, Invite, Keys, NewAccount, NewKey, NodeStatus, Nodes,
    Problem,
};
use crate::client::encode::component;
use crate::client::{Connector, Trust, http_client, innermost, parse_endpoint};
use crate::endpoint::{Endpoint, EndpointError};

/// The environment variable that holds the token for `--admin URL`.
pub const TOKEN_VARIABLE: &str = "STRATOS_ADMIN_TOKEN";

const TIMEOUT: Duration = Duration::from_secs(30);
/// Longest answer that is held in memory; the export streams.
const ANSWER_MAX: usize = 64 << 20;

/// Why the network could not be asked.
#[derive(Debug, Error)]
pub enum AdminError {
    /// Neither a folder nor an address was given.
    #[error("say which network: --data DIR, or --admin URL with the token in {TOKEN_VARIABLE}")]
    NoTarget,
    /// An address was given and no token.
    #[error(
        "--admin needs the token in {TOKEN_VARIABLE}: it stands in admin.token in the gateway's \
         folder"
    )]
    NoToken,
    /// The address is not one.
    #[error("{0:?} is not an admin address: write it as http://HOST:PORT")]
    Address(String),
    /// The network's folder does not say where it is.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// Nobody listens there.
    #[error(
        "cannot connect to {url}: {cause}; if the network has stopped, start it with `stratos up`"
    )]
    Connect {
        /// The admin API.
        url: String,
        /// What the system said.
        cause: String,
    },
    /// The connection broke or the answer took too long.
    #[error("the admin API at {url} did not answer: {cause}")]
    Transport {
        /// The admin API.
        url: String,
        /// What broke.
        cause: String,
    },
    /// The token is wrong.
    #[error(
        "the admin API at {0} refused the token: take the one in admin.token in the gateway's \
         folder"
    )]
    Unauthorized(String),
    /// The API said no; the message is its own.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// Why.
        message: String,
    },
    /// The answer is not what this version understands.
    #[error("cannot understand the admin API's answer to {path}: {cause}; is it another version?")]
    Answer {
        /// The route.
        path: String,
        /// What is wrong with it.
        cause: String,
    },
    /// What was received could not be written.
    #[error("cannot write what was received: {0}")]
    Write(std::io::Error),
}

impl AdminError {
    /// Whether the command line, and not the operation, is at fault.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::NoTarget | Self::NoToken | Self::Address(_))
    }
}

/// A client of one network's admin API.
pub struct AdminClient {
    http: Client<Connector, Full<Bytes>>,
    url: String,
    token: String,
}

impl AdminClient {
    /// The network that runs in `dir`.
    pub fn of_dir(dir: &Path) -> Result<Self, AdminError> {
        let endpoint = Endpoint::read(dir)?;
        Self::new(&endpoint.admin_endpoint, endpoint.admin_token)
    }

    /// The network at `url`, with the token in [`TOKEN_VARIABLE`].
    pub fn of_url(url: &str) -> Result<Self, AdminError> {
        let token = std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty());
        Self::new(url, token.ok_or(AdminError::NoToken)?)
    }

    /// The network at `url` with this token.
    pub fn new(url: &str, token: String) -> Result<Self, AdminError> {
        // It is plain HTTP, on private networks only.
        let plain = parse_endpoint(url).ok().filter(|url| url.starts_with("http://"));
        let url = plain.ok_or_else(|| AdminError::Address(url.to_owned()))?;
        Ok(Self { http: http_client(Trust::Nobody), url, token })
    }

    /// Every account.
    pub async fn accounts(&self) -> Result<Accounts, AdminError> {
        self.get("/v1/accounts").await
    }

    /// One account with its balance.
    pub async fn account(&self, name: &str) -> Result<Account, AdminError> {
        self.get(&format!("/v1/accounts/{}", component(name))).await
    }

    /// Opens an account.
    pub async fn create_account(
        &self,
        name: &str,
        display_name: Option<&str>,
        email: Option<&str>,
    ) -> Result<NewAccount, AdminError> {
        self.create_owned_account(name, display_name, email, None).await
    }

    /// Opens an account that belongs to a wallet's key.
    pub async fn create_owned_account(
        &self,
        name: &str,
        display_name: Option<&str>,
        email: Option<&str>,
        owner: Option<PublicKey>,
    ) -> Result<NewAccount, AdminError> {
        #[derive(Serialize)]
        struct Body<'a> {
            name: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            display_name: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            email: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            owner: Option<PublicKey>,
        }
        self.post("/v1/accounts", &Body { name, display_name, email, owner }).await
    }

    /// The access keys, of one account or of all.
    pub async fn keys(&self, account: Option<&str>) -> Result<Keys, AdminError> {
        match account {
            Some(account) => self.get(&format!("/v1/keys?account={}", component(account))).await,
            None => self.get("/v1/keys").await,
        }
    }

    /// Makes an access key. Its secret is told this once.
    pub async fn create_key(&self, account: &str) -> Result<NewKey, AdminError> {
        self.post("/v1/keys", &json!({ "account": account })).await
    }

    /// Makes an access key that may only do what its policy (JSON) allows.
    pub async fn create_key_with_policy(
        &self,
        account: &str,
        policy: &str,
    ) -> Result<NewKey, AdminError> {
        self.post("/v1/keys", &json!({ "account": account, "policy": policy })).await
    }

    /// Deletes an access key.
    pub async fn delete_key(&self, access_key_id: &str) -> Result<(), AdminError> {
        let path = format!("/v1/keys/{}", component(access_key_id));
        self.send(Method::DELETE, &path, Bytes::new()).await.map(drop)
    }

    /// Every bucket.
    pub async fn buckets(&self) -> Result<Buckets, AdminError> {
        self.get("/v1/buckets").await
    }

    /// Every node.
    pub async fn nodes(&self) -> Result<Nodes, AdminError> {
        self.get("/v1/nodes").await
    }

    /// How one node stands; `node` is its id or a unique beginning of it.
    pub async fn node(&self, node: &str) -> Result<NodeStatus, AdminError> {
        self.get(&format!("/v1/nodes/{}", component(node))).await
    }

    /// Changes how a node stands: `drain`, `undrain`, `suspend`, `resume` or `trust`.
    pub async fn node_action(&self, node: &str, action: &str) -> Result<NodeStatus, AdminError> {
        let path = format!("/v1/nodes/{}/{action}", component(node));
        self.post(&path, &json!({})).await
    }

    /// Ends the use of a node; what is on it counts as lost.
    pub async fn remove_node(&self, node: &str, force: bool) -> Result<NodeStatus, AdminError> {
        let path = format!("/v1/nodes/{}/remove", component(node));
        self.post(&path, &json!({ "force": force })).await
    }

    /// Makes an invite that lets one node join.
    pub async fn invite(&self, ttl: Option<Duration>) -> Result<Invite, AdminError> {
        let body = match ttl {
            Some(ttl) => json!({ "ttl_seconds": ttl.as_secs() }),
            None => json!({}),
        };
        self.post("/v1/nodes/invite", &body).await
    }

    /// The newest epochs.
    pub async fn epochs(&self, last: u32) -> Result<Epochs, AdminError> {
        self.get(&format!("/v1/epochs?last={last}")).await
    }

    /// How the network is, as the gateway sees it.
    pub async fn status(&self) -> Result<serde_json::Value, AdminError> {
        self.get("/v1/status").await
    }

    /// Writes the whole ledger, one JSON line a block, and returns the bytes
    /// written.
    pub async fn export_ledger(
        &self,
        out: &mut (impl AsyncWrite + Unpin),
    ) -> Result<u64, AdminError> {
        let path = "/v1/ledger/export";
        let mut body = self.open(Method::GET, path, Bytes::new()).await?;
        let mut written = 0;
        while let Some(chunk) = self.chunk(&mut body).await? {
            out.write_all(&chunk).await.map_err(AdminError::Write)?;
            written += chunk.len() as u64;
        }
        out.flush().await.map_err(AdminError::Write)?;
        Ok(written)
    }

    /// Begins to count every shard; `read` reads them all.
    pub async fn begin_census(&self, read: bool) -> Result<(), AdminError> {
        let begun: Result<serde_json::Value, _> =
            self.post("/v1/census", &json!({ "read": read })).await;
        begun.map(drop)
    }

    /// How the last census stands.
    pub async fn last_census(&self) -> Result<serde_json::Value, AdminError> {
        self.get("/v1/census").await
    }

    /// Shards that nodes hold and nobody knows.
    pub async fn quarantine(&self) -> Result<serde_json::Value, AdminError> {
        self.get("/v1/quarantine").await
    }

    /// Deletes those of them that have been unknown for long enough.
    /// With `all` even where they are too many to be leftovers.
    pub async fn empty_quarantine(&self, all: bool) -> Result<serde_json::Value, AdminError> {
        let path = if all { "/v1/quarantine?all=true" } else { "/v1/quarantine" };
        parse(path, &self.send(Method::DELETE, path, Bytes::new()).await?)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, AdminError> {
        parse(path, &self.send(Method::GET, path, Bytes::new()).await?)
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, AdminError> {
        let body = serde_json::to_vec(body).expect("our own types are JSON");
        parse(path, &self.send(Method::POST, path, body.into()).await?)
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, AdminError> {
        let mut incoming = self.open(method, path, body).await?;
        self.collect(path, &mut incoming).await
    }

    /// Sends a request and returns the body of a successful answer.
    async fn open(&self, method: Method, path: &str, body: Bytes) -> Result<Incoming, AdminError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| self.broken(&error))?;
        let answer = tokio::time::timeout(TIMEOUT, self.http.request(request)).await;
        let answer = answer.map_err(|_| self.too_slow())?.map_err(|error| {
            if error.is_connect() {
                AdminError::Connect { url: self.url.clone(), cause: innermost(&error) }
            } else {
                self.broken(&error)
            }
        })?;
        let (status, mut incoming) = (answer.status(), answer.into_body());
        if status.is_success() {
            return Ok(incoming);
        }
        if status == StatusCode::UNAUTHORIZED {
            return Err(AdminError::Unauthorized(self.url.clone()));
        }
        let text = self.collect(path, &mut incoming).await?;
        Err(refusal(status, &text))
    }

    async fn collect(&self, path: &str, incoming: &mut Incoming) -> Result<Bytes, AdminError> {
        let mut whole = BytesMut::new();
        while let Some(chunk) = self.chunk(incoming).await? {
            if whole.len() + chunk.len() > ANSWER_MAX {
                let cause = format!("it is longer than {ANSWER_MAX} bytes");
                return Err(AdminError::Answer { path: path.to_owned(), cause });
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }

    async fn chunk(&self, body: &mut Incoming) -> Result<Option<Bytes>, AdminError> {
        loop {
            let frame = tokio::time::timeout(TIMEOUT, body.frame()).await;
            match frame.map_err(|_| self.too_slow())? {
                None => return Ok(None),
                Some(Err(error)) => return Err(self.broken(&error)),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }

    fn broken(&self, error: &(dyn std::error::Error + 'static)) -> AdminError {
        AdminError::Transport { url: self.url.clone(), cause: innermost(error) }
    }

    fn too_slow(&self) -> AdminError {
        let cause = format!("nothing came within {} seconds", TIMEOUT.as_secs());
        AdminError::Transport { url: self.url.clone(), cause }
    }
}

fn parse<T: DeserializeOwned>(path: &str, text: &[u8]) -> Result<T, AdminError> {
    serde_json::from_slice(text)
        .map_err(|error| AdminError::Answer { path: path.to_owned(), cause: error.to_string() })
}

fn refusal(status: StatusCode, text: &[u8]) -> AdminError {
    let message = match serde_json::from_slice::<Problem>(text) {
        Ok(problem) => problem.error,
        Err(_) => format!("the admin API answered HTTP {status} without a reason"),
    };
    AdminError::Refused { status, message }
}

#[cfg(test)]
mod tests;
