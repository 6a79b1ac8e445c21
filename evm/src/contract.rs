//! The contract `StratosClaims` on a chain, and what it says in words.

use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::{SolCall, SolConstructor, SolInterface, sol};
use serde::Deserialize;
use thiserror::Error;

use crate::chain::{EvmChain, Receipt, SendError};
use crate::rpc::RpcError;
use crate::tree::Proof;

/// What `build.mjs` made of the contract's source.
const ARTEFACT: &str = include_str!("../artifacts/StratosClaims.json");

sol! {
    /// What is used of the contract.
    #[derive(Debug)]
    contract StratosClaims {
        constructor(
            address token,
            address poster,
            address guardian,
            uint64 delay,
            address previous
        );

        function token() external view returns (address);
        function poster() external view returns (address);
        function guardian() external view returns (address);
        function delay() external view returns (uint64);
        function previous() external view returns (address);
        function claimed(address account) external view returns (uint256);
        function paid(address account) external view returns (uint256);
        function current() external view returns (bytes32 root, uint64 epoch);
        function waiting() external view returns (bytes32 root, uint64 epoch, uint64 readyAt);
        function post(bytes32 root, uint64 epoch) external;
        function veto(uint64 epoch) external;
        function claim(address account, uint256 cumulative, bytes32[] calldata proof) external;

        error ZeroAddress();
        error NoToken();
        error BadDelay();
        error NoPrevious();
        error ZeroRoot();
        error NotPoster();
        error NotGuardian();
        error EpochNotAfter(uint64 epoch);
        error StillPending(uint64 epoch, uint64 readyAt);
        error NotPending(uint64 epoch);
        error NoRoot();
        error BadProof();
        error NothingDue();
        error TransferFailed();
    }

    /// What is used of the token.
    interface Token {
        function balanceOf(address account) external view returns (uint256);
    }
}

use StratosClaims::StratosClaimsErrors as Refusal;

/// Why the contract did not do it.
#[derive(Debug, Error)]
pub enum ContractError {
    /// The node or the transaction.
    #[error(transparent)]
    Send(SendError),
    /// The contract.
    #[error("the contract refuses: {0}")]
    Refused(String),
    /// There is another contract, or none.
    #[error("there is no StratosClaims at {0} on this chain")]
    NotThere(Address),
}

/// The contract at an address.
#[derive(Clone, Copy, Debug)]
pub struct Claims<'a> {
    /// The chain.
    pub chain: &'a EvmChain,
    /// Where on it.
    pub address: Address,
}

/// A root that the contract holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posted {
    /// The root.
    pub root: B256,
    /// Its epoch on the ledger.
    pub epoch: u64,
}

/// What the contract says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What it pays with.
    pub token: Address,
    /// How much of it it has.
    pub balance: U256,
    /// Who may post.
    pub poster: Address,
    /// Who may veto.
    pub guardian: Address,
    /// How long a root waits, in seconds.
    pub delay: u64,
    /// Whom it took over from; zero when from nobody.
    pub previous: Address,
    /// The root that holds.
    pub current: Option<Posted>,
    /// The root that waits, and when it begins to hold, in seconds since 1970.
    pub waiting: Option<(Posted, u64)>,
}

/// Who and what a new contract is for.
#[derive(Clone, Copy, Debug)]
pub struct Deployment {
    /// What it pays with.
    pub token: Address,
    /// Who may post.
    pub poster: Address,
    /// Who may veto.
    pub guardian: Address,
    /// How long a root waits, in seconds.
    pub delay: u64,
    /// Whom it takes over from; zero when from nobody.
    pub previous: Address,
}

/// Puts a new contract on the chain.
pub async fn deploy(
    chain: &EvmChain,
    signer: &PrivateKeySigner,
    deployment: Deployment,
) -> Result<Receipt, ContractError> {
    let Deployment { token, poster, guardian, delay, previous } = deployment;
    let arguments = StratosClaims::constructorCall { token, poster, guardian, delay, previous };
    let mut code = bytecode().to_vec();
    code.extend(arguments.abi_encode());
    Ok(chain.send(signer, TxKind::Create, code).await?)
}

fn bytecode() -> Bytes {
    #[derive(Deserialize)]
    struct Artefact {
        bytecode: Bytes,
    }
    let artefact: Artefact = serde_json::from_str(ARTEFACT).expect("build.mjs writes it like this");
    artefact.bytecode
}

impl Claims<'_> {
    /// Posts the root of an epoch.
    pub async fn post(
        &self,
        signer: &PrivateKeySigner,
        Posted { root, epoch }: Posted,
    ) -> Result<Receipt, ContractError> {
        self.send(signer, StratosClaims::postCall { root, epoch }).await
    }

    /// Takes back the root that waits.
    pub async fn veto(
        &self,
        signer: &PrivateKeySigner,
        epoch: u64,
    ) -> Result<Receipt, ContractError> {
        self.send(signer, StratosClaims::vetoCall { epoch }).await
    }

    /// Has `account` paid what it is due.
    pub async fn claim(
        &self,
        signer: &PrivateKeySigner,
        account: Address,
        proof: Proof,
    ) -> Result<Receipt, ContractError> {
        let cumulative = U256::from(proof.amount);
        let proof = proof.siblings;
        self.send(signer, StratosClaims::claimCall { account, cumulative, proof }).await
    }

    /// What `account` was paid, all in all.
    pub async fn paid(&self, account: Address) -> Result<U256, ContractError> {
        self.ask(StratosClaims::paidCall { account }).await
    }

    /// The root that holds.
    pub async fn current(&self) -> Result<Option<Posted>, ContractError> {
        let current = self.ask(StratosClaims::currentCall {}).await?;
        Ok(posted(current.root, current.epoch))
    }

    /// What the contract says of itself.
    pub async fn status(&self) -> Result<Status, ContractError> {
        let token = self.ask(StratosClaims::tokenCall {}).await?;
        let balance = Token::balanceOfCall { account: self.address };
        let waiting = self.ask(StratosClaims::waitingCall {}).await?;
        Ok(Status {
            token,
            balance: Claims { address: token, ..*self }.ask(balance).await?,
            poster: self.ask(StratosClaims::posterCall {}).await?,
            guardian: self.ask(StratosClaims::guardianCall {}).await?,
            delay: self.ask(StratosClaims::delayCall {}).await?,
            previous: self.ask(StratosClaims::previousCall {}).await?,
            current: self.current().await?,
            waiting: posted(waiting.root, waiting.epoch).map(|posted| (posted, waiting.readyAt)),
        })
    }

    /// Nothing that is asked here is ever refused by the contract itself, so
    /// whoever reverts, or answers something else, is another one.
    async fn ask<C: SolCall>(&self, call: C) -> Result<C::Return, ContractError> {
        let answer = match self.chain.call(self.address, call.abi_encode()).await {
            Err(RpcError::Refused { message, .. }) if message.contains("revert") => {
                return Err(ContractError::NotThere(self.address));
            }
            answer => answer.map_err(SendError::from)?,
        };
        C::abi_decode_returns(&answer).map_err(|_| ContractError::NotThere(self.address))
    }

    /// A call to an address without a contract would succeed and do nothing.
    async fn send(
        &self,
        signer: &PrivateKeySigner,
        call: impl SolCall,
    ) -> Result<Receipt, ContractError> {
        self.ask(StratosClaims::delayCall {}).await?;
        let to = TxKind::Call(self.address);
        Ok(self.chain.send(signer, to, call.abi_encode()).await?)
    }
}

fn posted(root: B256, epoch: u64) -> Option<Posted> {
    (root != B256::ZERO).then_some(Posted { root, epoch })
}

impl From<SendError> for ContractError {
    fn from(error: SendError) -> Self {
        if let SendError::Rpc(RpcError::Refused { data: Some(data), .. }) = &error
            && let Ok(refusal) = Refusal::abi_decode(data)
        {
            return Self::Refused(in_words(&refusal));
        }
        Self::Send(error)
    }
}

fn in_words(refusal: &Refusal) -> String {
    match refusal {
        Refusal::ZeroAddress(_) => "poster and guardian must be somebody".into(),
        Refusal::NoToken(_) => "there is no contract at the token's address".into(),
        Refusal::BadDelay(_) => "the delay must be 1 second to 365 days".into(),
        Refusal::NoPrevious(_) => "there is no contract to take over from".into(),
        Refusal::ZeroRoot(_) => "a root is not zero".into(),
        Refusal::NotPoster(_) => "this key is not the poster's".into(),
        Refusal::NotGuardian(_) => "this key is not the guardian's".into(),
        Refusal::EpochNotAfter(of) => {
            format!("the root of epoch {} holds; a later epoch must follow", of.epoch)
        }
        Refusal::StillPending(of) => {
            let StratosClaims::StillPending { epoch, readyAt } = of;
            format!("the root of epoch {epoch} still waits, until {readyAt} s since 1970")
        }
        Refusal::NotPending(of) => format!("no root of epoch {} waits", of.epoch),
        Refusal::NoRoot(_) => "no root holds yet".into(),
        Refusal::BadProof(_) => "the proof does not lead to the root that holds".into(),
        Refusal::NothingDue(_) => "nothing is due: all of it was paid".into(),
        Refusal::TransferFailed(_) => "its tokens do not suffice, or the token refuses".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use alloy_primitives::hex;
    use alloy_sol_types::SolError;

    use super::*;

    /// What is called here is what was compiled.
    #[test]
    fn calls_and_errors_are_those_of_the_artefact() {
        let artefact: serde_json::Value = serde_json::from_str(ARTEFACT).unwrap();
        let selectors = artefact["selectors"].as_object().unwrap().values();
        let built: BTreeSet<String> = selectors.map(|hex| hex.as_str().unwrap().into()).collect();
        let calls = StratosClaims::StratosClaimsCalls::selectors();
        let used: BTreeSet<String> =
            calls.chain(Refusal::selectors()).map(hex::encode_prefixed).collect();
        assert_eq!(used, built);
        assert!(bytecode().len() > 1_000);
    }

    #[test]
    fn what_the_contract_says_is_told_in_words() {
        let data = StratosClaims::StillPending { epoch: 3, readyAt: 99 }.abi_encode();
        let refused = |data: Vec<u8>| {
            let method = "eth_estimateGas";
            let data = Some(Bytes::from(data));
            SendError::from(RpcError::Refused { method, message: "reverted".into(), data })
        };
        let words = ContractError::from(refused(data)).to_string();
        assert!(words.contains("epoch 3 still waits, until 99 s"), "{words}");
        let other = ContractError::from(refused(vec![1, 2, 3, 4]));
        assert!(matches!(other, ContractError::Send(_)));
    }
}
