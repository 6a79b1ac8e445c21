//! Everything the log adds up to.
//!
//! [`State::apply`] is the only way it changes. It reads no clock, draws no
//! random number and does no I/O, so two replicas that hold the same blocks
//! hold the same state; time comes from block headers
//! ([`State::begin_block`]). The maps are ordered for the same reason.
//!
//! Signatures are not checked here: [`Entry::verify`] needs no state, and can
//! be done elsewhere and at once for many.

mod members;
mod metering;
mod money;
mod passage;
mod rejection;

use std::collections::{BTreeMap, BTreeSet};

use protocol::ledger_api::{ChainInfo, NodeRecord, Submission};
use protocol::price::Amount;
use protocol::statement::{TransferId, gateway_account};
use protocol::wire::{Wire, Writer};
use protocol::{AccountId, Epoch, GatewayId, NodeId};

pub use rejection::Rejection;

use crate::account::{Account, Book, BookError};
use crate::entry::Entry;
use crate::epoch::{Intake, Open, Sealed, Summary, Window};
use crate::genesis::Genesis;
use crate::hash::Hash;

/// A customer's account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Customer {
    /// The gateway that opened it, the only one that may spend from it.
    pub gateway: GatewayId,
    /// All it ever paid.
    pub spent: Amount,
}

/// A registered node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Where it is and who runs it.
    pub record: NodeRecord,
    /// The number of its latest registration.
    pub serial: u64,
    /// All it ever earned, after tax.
    pub earned: Amount,
    /// All payload bytes it was paid for.
    pub bytes: u64,
}

/// Everything the log adds up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    genesis: Genesis,
    /// The hash of the price sheet, as vouchers name it.
    sheet: [u8; 32],
    time_ms: u64,
    open: Open,
    intake: BTreeMap<Epoch, Intake>,
    sealed: BTreeMap<Epoch, Sealed>,
    mature: BTreeMap<Epoch, Summary>,
    book: Book,
    customers: BTreeMap<AccountId, Customer>,
    nodes: BTreeMap<NodeId, Member>,
    invites: BTreeSet<(GatewayId, [u8; 16])>,
    /// What each transfer id was used for; the sequencer's have no gateway.
    transfers: BTreeMap<(Option<GatewayId>, TransferId), Hash>,
    /// Stands in the state root for what only grows: used invites, transfers
    /// and mature epochs. Without it each block would hash all of history.
    history: Hash,
}

impl State {
    /// The state before the first entry. Each gateway has an account of its
    /// own from the start.
    pub fn new(genesis: Genesis) -> Result<Self, BookError> {
        let mut state = Self {
            sheet: genesis.price_sheet().sheet.id(),
            time_ms: genesis.time_ms,
            open: Open { epoch: Genesis::FIRST_EPOCH, opened_ms: genesis.time_ms },
            intake: BTreeMap::new(),
            sealed: BTreeMap::new(),
            mature: BTreeMap::new(),
            book: Book::default(),
            customers: BTreeMap::new(),
            nodes: BTreeMap::new(),
            invites: BTreeSet::new(),
            transfers: BTreeMap::new(),
            history: Hash::default(),
            genesis,
        };
        for gateway in state.genesis.gateways.clone() {
            let account = gateway_account(gateway);
            state.book.mint(Account::Available(account), state.genesis.params.opening_balance)?;
            state.customers.insert(account, Customer { gateway, spent: Amount::ZERO });
        }
        Ok(state)
    }

    /// Says what time it is for the entries that follow: that of their block.
    /// Time never goes back.
    pub fn begin_block(&mut self, time_ms: u64) {
        self.time_ms = self.time_ms.max(time_ms);
    }

    /// The time of the block.
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// Whether `entry` may follow what the log already holds. Its signatures
    /// are another matter: [`Entry::verify`].
    pub fn check(&self, entry: &Entry) -> Result<(), Rejection> {
        self.check_origin(entry)?;
        match entry {
            Entry::Submitted(submission) => match submission {
                Submission::Register(registration) => self.check_registration(registration),
                Submission::Receipt(receipt) => self.check_receipt(receipt),
                Submission::OpenAccount(opening) => self.check_opening(opening),
                Submission::Reserve(reservation) => self.check_reservation(reservation),
                Submission::Usage(statement) => self.check_statement(statement),
            },
            Entry::Deposit(deposit) => self.check_deposit(deposit),
            Entry::CloseEpoch { .. }
            | Entry::StopReceipts(_)
            | Entry::SealEpoch(_)
            | Entry::MatureEpoch(_) => {
                if self.due().as_ref() == Some(entry) {
                    Ok(())
                } else {
                    Err(Rejection::NotDue)
                }
            }
        }
    }

    /// Whether `entry` is for this network and from a gateway of it: cheap, and
    /// asked before any signature is looked at.
    pub fn check_origin(&self, entry: &Entry) -> Result<(), Rejection> {
        let Entry::Submitted(submission) = entry else { return Ok(()) };
        if entry.chain() != Some(self.genesis.chain) {
            return Err(Rejection::OtherChain);
        }
        let gateway = match submission {
            Submission::Register(registration) => match &registration.invite {
                None => return Ok(()),
                Some(invite) => invite.gateway,
            },
            Submission::Receipt(receipt) => receipt.voucher.body.gateway,
            Submission::OpenAccount(opening) => opening.gateway,
            Submission::Reserve(reservation) => reservation.gateway,
            Submission::Usage(statement) => statement.gateway,
        };
        if self.is_gateway(gateway) { Ok(()) } else { Err(Rejection::UnknownGateway(gateway)) }
    }

    /// Takes in an entry that [`State::check`] let through. Cannot fail, so
    /// opening a ledger is a plain loop over its blocks.
    pub fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Submitted(submission) => match submission {
                Submission::Register(registration) => self.register(registration),
                Submission::Receipt(receipt) => self.take_receipt(receipt),
                Submission::OpenAccount(opening) => self.open_account(opening),
                Submission::Reserve(reservation) => self.reserve(reservation),
                Submission::Usage(statement) => self.take_statement(statement),
            },
            Entry::Deposit(deposit) => self.deposit(deposit),
            Entry::CloseEpoch { next, .. } => self.close_epoch(*next),
            Entry::StopReceipts(epoch) => self.stop_receipts(*epoch),
            Entry::SealEpoch(epoch) => self.seal_epoch(*epoch),
            Entry::MatureEpoch(epoch) => self.mature_epoch(*epoch),
        }
    }

    /// Stands for the whole state.
    pub fn root(&self) -> Hash {
        let mut out = Writer::default();
        self.genesis.hash().write(&mut out);
        out.u64(self.time_ms);
        self.open.epoch.write(&mut out);
        out.u64(self.open.opened_ms);
        out.u64(self.intake.len() as u64);
        for (epoch, intake) in &self.intake {
            epoch.write(&mut out);
            intake.write(&mut out);
        }
        out.u64(self.sealed.len() as u64);
        for (epoch, sealed) in &self.sealed {
            epoch.write(&mut out);
            sealed.digest.write(&mut out);
        }
        self.book.write(&mut out);
        out.u64(self.customers.len() as u64);
        for (account, customer) in &self.customers {
            account.write(&mut out);
            customer.gateway.write(&mut out);
            customer.spent.write(&mut out);
        }
        out.u64(self.nodes.len() as u64);
        for member in self.nodes.values() {
            member.record.write(&mut out);
            out.u64(member.serial);
            member.earned.write(&mut out);
            out.u64(member.bytes);
        }
        self.history.write(&mut out);
        Hash(blake3::derive_key("stratos ledger state v1", &out.0))
    }

    /// Folds something that will never change again into the history.
    fn remember(&mut self, what: &str, content: Hash) {
        let mut out = Writer::default();
        self.history.write(&mut out);
        out.blob(what.as_bytes());
        content.write(&mut out);
        self.history = Hash(blake3::derive_key("stratos ledger history v1", &out.0));
    }

    /// How the network began.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// Whether the network has this gateway.
    pub fn is_gateway(&self, gateway: GatewayId) -> bool {
        self.genesis.gateways.binary_search(&gateway).is_ok()
    }

    /// Registered nodes.
    pub fn nodes(&self) -> &BTreeMap<NodeId, Member> {
        &self.nodes
    }

    /// Customers' accounts, gateways' own among them.
    pub fn customers(&self) -> &BTreeMap<AccountId, Customer> {
        &self.customers
    }

    /// All balances.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// The open epoch.
    pub fn open(&self) -> Open {
        self.open
    }

    /// Closed epochs that are not settled yet.
    pub fn intake(&self) -> &BTreeMap<Epoch, Intake> {
        &self.intake
    }

    /// Settled epochs whose payouts are not mature.
    pub fn sealed(&self) -> &BTreeMap<Epoch, Sealed> {
        &self.sealed
    }

    /// Epochs that are over.
    pub fn mature(&self) -> &BTreeMap<Epoch, Summary> {
        &self.mature
    }

    /// What became of `epoch`, once it is settled.
    pub fn summary(&self, epoch: Epoch) -> Option<&Summary> {
        let sealed = self.sealed.get(&epoch).map(|sealed| &sealed.summary);
        sealed.or_else(|| self.mature.get(&epoch))
    }

    /// The state of the network, for those who work in it.
    pub fn chain_info(&self) -> ChainInfo {
        let taking = |window| {
            let taking = self.intake.iter().filter(move |(_, intake)| intake.window == window);
            taking.map(|(&epoch, _)| epoch).collect()
        };
        ChainInfo {
            chain: self.genesis.chain,
            ledger: self.genesis.sequencer,
            open: self.open.epoch,
            opened_ms: self.open.opened_ms,
            epoch_ms: self.genesis.params.epoch_ms,
            taking_receipts: taking(Window::Receipts),
            taking_statements: taking(Window::Statements),
            prices: self.genesis.price_sheet(),
            gateways: self.genesis.gateways.clone(),
            nodes: self.nodes.values().map(|member| member.record.clone()).collect(),
        }
    }
}
