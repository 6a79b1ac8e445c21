//! Asks the ledger. One connection, made again when it fails; every wait ends.
//!
//! Not here: what is asked and when (the loop above).

use std::io;
use std::time::Duration;

use protocol::SecretKey;
use protocol::frame::{self, FrameError, LEDGER_ANSWER_MAX};
use protocol::ledger_api::{ChainInfo, LedgerRequest, Outcomes, QueryAnswer, Submission};
use protocol::quic::{self, DialError};
use protocol::wire::Wire;
use quinn::{Connection, Endpoint};
use thiserror::Error;

use crate::LedgerAddr;

/// How long one answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the ledger did not answer.
#[derive(Debug, Error)]
pub(crate) enum LedgerError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("connection: {0}")]
    Connection(#[from] quinn::ConnectionError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("no answer in time")]
    Timeout,
}

/// A way to the ledger.
#[derive(Debug)]
pub(crate) struct LedgerClient {
    endpoint: Endpoint,
    key: SecretKey,
    ledger: LedgerAddr,
    connection: Option<Connection>,
}

impl LedgerClient {
    /// A client that dials when it is first asked.
    pub fn new(key: SecretKey, ledger: LedgerAddr) -> io::Result<Self> {
        let endpoint = quic::dialler(ledger.addr.ip())?;
        Ok(Self { endpoint, key, ledger, connection: None })
    }

    /// The state of the network.
    pub async fn chain_info(&mut self) -> Result<ChainInfo, LedgerError> {
        self.ask(&LedgerRequest::Chain).await
    }

    /// Brings entries to the ledger.
    pub async fn submit(&mut self, entries: Vec<Submission>) -> Result<Outcomes, LedgerError> {
        self.ask(&LedgerRequest::Submit(entries)).await
    }

    /// Asks a question in JSON.
    pub async fn query(&mut self, query: serde_json::Value) -> Result<QueryAnswer, LedgerError> {
        self.ask(&LedgerRequest::Query(query.to_string().into_bytes())).await
    }

    /// Says goodbye, so that the ledger need not wait for silence.
    pub fn close(self) {
        self.endpoint.close(quinn::VarInt::from_u32(0), b"stopping");
    }

    async fn ask<T: Wire>(&mut self, request: &LedgerRequest) -> Result<T, LedgerError> {
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, self.try_ask(request)).await;
        let answer = answer.unwrap_or(Err(LedgerError::Timeout));
        // A refusal says nothing against the connection; all else does.
        let keep = match &answer {
            Ok(_) => true,
            Err(LedgerError::Frame(error)) => error.refusal().is_some(),
            Err(_) => false,
        };
        if !keep && let Some(connection) = self.connection.take() {
            connection.close(quinn::VarInt::from_u32(0), b"no answer");
        }
        answer
    }

    async fn try_ask<T: Wire>(&mut self, request: &LedgerRequest) -> Result<T, LedgerError> {
        let connection = self.connected().await?;
        let (mut send, mut recv) = connection.open_bi().await?;
        frame::write_message(&mut send, request).await?;
        // An error means that the ledger stopped reading; its answer says why.
        let _ = send.finish();
        Ok(frame::read_answer(&mut recv, LEDGER_ANSWER_MAX).await?)
    }

    async fn connected(&mut self) -> Result<Connection, LedgerError> {
        if let Some(connection) = &self.connection
            && connection.close_reason().is_none()
        {
            return Ok(connection.clone());
        }
        let LedgerAddr { id, addr } = self.ledger;
        let connection = quic::dial(&self.endpoint, &self.key, id, addr).await?;
        self.connection = Some(connection.clone());
        Ok(connection)
    }
}
