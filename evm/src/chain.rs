//! An EVM chain: calls that only look, and transactions of one key.
//!
//! Transactions are of the oldest kind (legacy, EIP-155): every EVM chain
//! takes them, Ethereum Classic and Avalanche among them.

use std::time::Duration;

use alloy_consensus::{SignableTransaction, TxLegacy};
use alloy_primitives::{Address, B256, Bytes, TxKind, U64, U128, U256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::time::Instant;

use crate::rpc::{Rpc, RpcError};

/// How often a transaction is asked after.
const ASKED_EVERY: Duration = Duration::from_millis(500);

/// Why a transaction was not done.
#[derive(Debug, Error)]
pub enum SendError {
    /// The node.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The key.
    #[error("the transaction cannot be signed: {0}")]
    Sign(#[from] alloy_signer::Error),
    /// Something changed between the estimate and the block.
    #[error("transaction {0} was mined and undone by the contract; look at the contract's status")]
    Reverted(B256),
    /// It may still come.
    #[error("transaction {tx} is not in a block after {seconds} s; it may still get into one")]
    Waiting {
        /// Which.
        tx: B256,
        /// How long was waited.
        seconds: u64,
    },
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// The transaction.
    pub transaction_hash: B256,
    /// The block that it is in.
    pub block_number: U64,
    /// The contract that it made, if it made one.
    pub contract_address: Option<Address>,
    /// Zero when all of it was undone.
    status: U64,
}

/// An EVM chain, through one of its nodes.
#[derive(Debug)]
pub struct EvmChain {
    rpc: Rpc,
    /// How long a transaction may take to get into a block.
    patience: Duration,
}

impl EvmChain {
    /// The chain that `rpc` is a node of.
    pub fn new(rpc: Rpc, patience: Duration) -> Self {
        Self { rpc, patience }
    }

    /// The chain's number.
    pub async fn id(&self) -> Result<u64, RpcError> {
        let id: U64 = self.rpc.call("eth_chainId", json!([])).await?;
        Ok(id.to())
    }

    /// Asks a contract, changing nothing.
    pub async fn call(&self, to: Address, input: Vec<u8>) -> Result<Bytes, RpcError> {
        let call = json!({ "to": to, "data": Bytes::from(input) });
        self.rpc.call("eth_call", json!([call, "latest"])).await
    }

    /// Sends a transaction and waits until it is in a block.
    pub async fn send(
        &self,
        signer: &PrivateKeySigner,
        to: TxKind,
        input: Vec<u8>,
    ) -> Result<Receipt, SendError> {
        let transaction = self.prepare(signer.address(), to, input.into()).await?;
        let signature = signer.sign_hash_sync(&transaction.signature_hash())?;
        let signed = transaction.into_signed(signature);
        let mut raw = Vec::new();
        signed.rlp_encode(&mut raw);
        let tx: B256 = self.rpc.call("eth_sendRawTransaction", json!([Bytes::from(raw)])).await?;
        self.wait(tx).await
    }

    /// The estimate runs it, so what the contract refuses is never paid for.
    async fn prepare(&self, from: Address, to: TxKind, input: Bytes) -> Result<TxLegacy, RpcError> {
        let mut call = json!({ "from": from, "data": input });
        if let TxKind::Call(to) = to {
            call["to"] = json!(to);
        }
        let gas: U64 = self.rpc.call("eth_estimateGas", json!([call])).await?;
        let gas_price: U128 = self.rpc.call("eth_gasPrice", json!([])).await?;
        let count = json!([from, "pending"]);
        let nonce: U64 = self.rpc.call("eth_getTransactionCount", count).await?;
        Ok(TxLegacy {
            chain_id: Some(self.id().await?),
            nonce: nonce.to(),
            gas_price: gas_price.to(),
            // The state may be another by the time it is mined.
            gas_limit: gas.to::<u64>().saturating_mul(5) / 4,
            to,
            value: U256::ZERO,
            input,
        })
    }

    async fn wait(&self, tx: B256) -> Result<Receipt, SendError> {
        let late = Instant::now() + self.patience;
        loop {
            let found: Option<Value> =
                self.rpc.call("eth_getTransactionReceipt", json!([tx])).await?;
            if let Some(receipt) = found {
                return judge(tx, receipt);
            }
            if Instant::now() >= late {
                return Err(SendError::Waiting { tx, seconds: self.patience.as_secs() });
            }
            tokio::time::sleep(ASKED_EVERY).await;
        }
    }
}

fn judge(tx: B256, receipt: Value) -> Result<Receipt, SendError> {
    let method = "eth_getTransactionReceipt";
    let receipt: Receipt = serde_json::from_value(receipt)
        .map_err(|error| RpcError::Answer { method, what: format!("no receipt: {error}") })?;
    if receipt.status.is_zero() { Err(SendError::Reverted(tx)) } else { Ok(receipt) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(status: &str) -> Value {
        json!({
            "transactionHash": B256::repeat_byte(1),
            "blockNumber": "0x10",
            "contractAddress": null,
            "status": status,
            "logs": [],
        })
    }

    #[test]
    fn what_was_undone_is_not_done() {
        let tx = B256::repeat_byte(1);
        let done = judge(tx, receipt("0x1")).unwrap();
        assert_eq!((done.transaction_hash, done.block_number), (tx, U64::from(16)));
        assert!(matches!(judge(tx, receipt("0x0")), Err(SendError::Reverted(of)) if of == tx));
        assert!(matches!(judge(tx, json!({})), Err(SendError::Rpc(RpcError::Answer { .. }))));
    }
}
