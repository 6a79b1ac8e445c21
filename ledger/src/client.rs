//! Talks to a ledger over one QUIC connection, which is made when it is needed
//! and made again when it is lost. Used by gateways, witnesses and operators.
//!
//! Every request may be repeated without harm, so one that got no answer is
//! sent a second time over a new connection.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use protocol::frame::{self, FrameError, LEDGER_ANSWER_MAX};
use protocol::ledger_api::{
    ChainInfo, LedgerRequest, Operation, Outcome, Outcomes, QueryAnswer, SUBMISSIONS_MAX,
    Submission,
};
use protocol::quic::{self, DialError};
use protocol::refusal::Refusal;
use protocol::wire::Wire;
use protocol::{LedgerId, SecretKey};
use serde_json::Value;
use thiserror::Error;
use tokio::sync::Mutex;

use crate::fraud::FraudProof;
use crate::note::Note;

/// How long one attempt at a request may take.
const ATTEMPT: Duration = Duration::from_secs(10);

/// Which ledger, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerAddr {
    /// Its key.
    pub id: LedgerId,
    /// Where it listens.
    pub addr: SocketAddr,
}

/// Why the ledger did not answer, or not well.
#[derive(Debug, Error)]
pub enum ClientError {
    /// No socket to dial from.
    #[error("no socket to reach the ledger from: {0}")]
    Socket(#[from] io::Error),
    /// It cannot be reached.
    #[error("the ledger cannot be reached: {0}")]
    Unreachable(#[from] DialError),
    /// The connection was lost, or what came over it made no sense.
    #[error("the ledger's connection: {0}")]
    Connection(FrameError),
    /// No answer in time.
    #[error("the ledger did not answer within {} s", ATTEMPT.as_secs())]
    Timeout,
    /// It said no.
    #[error("the ledger refused: {0}")]
    Refused(Refusal),
    /// A query that it could not answer.
    #[error("the ledger could not answer the query: {0}")]
    Query(String),
    /// An answer to something else.
    #[error("the ledger's answer does not fit the request")]
    Unfitting,
}

/// A client of one ledger.
#[derive(Debug)]
pub struct LedgerClient {
    key: SecretKey,
    ledger: LedgerAddr,
    link: Mutex<Link>,
}

#[derive(Debug, Default)]
struct Link {
    endpoint: Option<quinn::Endpoint>,
    connection: Option<quinn::Connection>,
}

impl LedgerClient {
    /// A client that has not connected yet.
    pub fn new(key: SecretKey, ledger: LedgerAddr) -> Self {
        Self { key, ledger, link: Mutex::default() }
    }

    /// The state of the network.
    pub async fn chain_info(&self) -> Result<ChainInfo, ClientError> {
        self.ask(&LedgerRequest::Chain).await
    }

    /// Submits entries, any number of them. For each, in order: `Ok` if it is
    /// on the ledger (now or since before), or why not. After an error some may
    /// be on it; submitting all again is harmless.
    pub async fn submit(&self, submissions: Vec<Submission>) -> Result<Vec<Outcome>, ClientError> {
        let mut outcomes = Vec::with_capacity(submissions.len());
        let mut rest = submissions;
        loop {
            let later = rest.split_off(rest.len().min(SUBMISSIONS_MAX));
            let sent = rest.len();
            let answer: Outcomes = self.ask(&LedgerRequest::Submit(rest)).await?;
            if answer.0.len() != sent {
                return Err(ClientError::Unfitting);
            }
            outcomes.extend(answer.0);
            if later.is_empty() {
                return Ok(outcomes);
            }
            rest = later;
        }
    }

    /// Asks a question in JSON.
    pub async fn query(&self, query: Value) -> Result<Value, ClientError> {
        let request = LedgerRequest::Query(query.to_string().into_bytes());
        let answer: QueryAnswer = self.ask(&request).await?;
        let answer: Value =
            serde_json::from_slice(&answer.0).map_err(|_| ClientError::Unfitting)?;
        match answer.get("error").and_then(Value::as_str) {
            Some(error) => Err(ClientError::Query(error.to_owned())),
            None => Ok(answer),
        }
    }

    /// Operates the ledger. Only for a client with the ledger's own key.
    pub async fn operate(&self, operation: Operation) -> Result<Outcome, ClientError> {
        self.ask_one(&LedgerRequest::Operate(operation)).await
    }

    /// Brings a cosigned checkpoint.
    pub async fn cosign(&self, note: &Note) -> Result<Outcome, ClientError> {
        self.ask_one(&LedgerRequest::Cosign(note.to_string().into_bytes())).await
    }

    /// Shows the ledger that it signed two histories.
    pub async fn show_fraud(&self, proof: &FraudProof) -> Result<Outcome, ClientError> {
        self.ask_one(&LedgerRequest::Fraud(proof.to_json())).await
    }

    async fn ask_one(&self, request: &LedgerRequest) -> Result<Outcome, ClientError> {
        let answer: Outcomes = self.ask(request).await?;
        match <[Outcome; 1]>::try_from(answer.0) {
            Ok([outcome]) => Ok(outcome),
            Err(_) => Err(ClientError::Unfitting),
        }
    }

    /// Closes the connection. The next request makes a new one.
    pub async fn close(&self) {
        let mut link = self.link.lock().await;
        if let Some(connection) = link.connection.take() {
            connection.close(0u32.into(), b"");
        }
        if let Some(endpoint) = link.endpoint.take() {
            // The peer should hear of it, but does not have to.
            let _ = tokio::time::timeout(Duration::from_secs(1), endpoint.wait_idle()).await;
        }
    }

    async fn ask<T: Wire>(&self, request: &LedgerRequest) -> Result<T, ClientError> {
        let connection = self.connection().await?;
        match attempt(&connection, request).await {
            Err(ClientError::Connection(_) | ClientError::Timeout) => {
                // A ledger that was killed and started again does not know the
                // connection, and cannot say so.
                self.drop_connection(&connection).await;
                let connection = self.connection().await?;
                attempt(&connection, request).await
            }
            other => other,
        }
    }

    async fn connection(&self) -> Result<quinn::Connection, ClientError> {
        let mut link = self.link.lock().await;
        if let Some(connection) = &link.connection
            && connection.close_reason().is_none()
        {
            return Ok(connection.clone());
        }
        let endpoint = match &link.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => link.endpoint.insert(quic::dialler(self.ledger.addr.ip())?).clone(),
        };
        let connection = quic::dial(&endpoint, &self.key, self.ledger.id, self.ledger.addr).await?;
        Ok(link.connection.insert(connection).clone())
    }

    async fn drop_connection(&self, lost: &quinn::Connection) {
        let mut link = self.link.lock().await;
        // Another request may have made a new one meanwhile.
        if link.connection.as_ref().is_some_and(|held| held.stable_id() == lost.stable_id()) {
            link.connection = None;
        }
        lost.close(0u32.into(), b"");
    }
}

async fn attempt<T: Wire>(
    connection: &quinn::Connection,
    request: &LedgerRequest,
) -> Result<T, ClientError> {
    let answer = tokio::time::timeout(ATTEMPT, exchange(connection, request)).await;
    match answer.map_err(|_| ClientError::Timeout)? {
        Ok(answer) => Ok(answer),
        Err(FrameError::Refused(refusal)) => Err(ClientError::Refused(refusal)),
        Err(error) => Err(ClientError::Connection(error)),
    }
}

async fn exchange<T: Wire>(
    connection: &quinn::Connection,
    request: &LedgerRequest,
) -> Result<T, FrameError> {
    let lost = |error| FrameError::Write(quinn::WriteError::ConnectionLost(error));
    let (mut send, mut recv) = connection.open_bi().await.map_err(lost)?;
    frame::write_message(&mut send, request).await?;
    // The other end has stopped reading if this fails, and says why below.
    let _ = send.finish();
    frame::read_answer(&mut recv, LEDGER_ANSWER_MAX).await
}
