//! Everything the log adds up to.
//!
//! [`State::apply`] is the only way it changes. It reads no clock, draws no
//! random number and does no I/O, so two replicas that hold the same blocks
//! hold the same state; time comes from block headers
//! ([`State::begin_block`]). The maps are ordered for the same reason.
//!
//! Signatures are not checked here: [`Entry::verify`] needs no state, and can
//! be done elsewhere and at once for many.

mod audits;
mod bills;
mod claims;
mod curve;
mod exit;
mod gateways;
mod grants;
mod law;
mod maturing;
mod members;
mod metering;
mod money;
mod orders;
mod passage;
mod penalties;
mod rejection;
mod root;
mod sealing;
mod sheets;

use std::collections::{BTreeMap, BTreeSet};

use protocol::ids::PublicKey;
use protocol::ledger_api::{ChainInfo, CurvePrice, NodeRecord, Submission};
use protocol::price::Amount;
use protocol::statement::{TransferId, gateway_account};
use protocol::{AccountId, Epoch, GatewayId, NodeId};

pub use audits::{Audited, Audits, Reported};
pub use claims::{Claims, OpenClaim};
pub use exit::Excluded;
pub use grants::Granted;
pub use rejection::Rejection;

use curve::Prepaid;
use gateways::Gateways;
use law::Law;
use sheets::Sheets;

use crate::account::{Account, Book, BookError};
use crate::entry::Entry;
use crate::epoch::{Intake, Open, Sealed, Summary, Window};
use crate::event::{Event, Events};
use crate::genesis::Genesis;
use crate::hash::Hash;

/// Whose an account is: who says who may spend from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A gateway's, which alone spends.
    Gateway(GatewayId),
    /// A wallet's: the gateways that it grants something spend.
    Wallet(PublicKey),
}

/// A customer's account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Customer {
    /// Whose it is.
    pub holder: Holder,
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
    /// When it first registered.
    pub joined_ms: u64,
    /// When it last signed something that was taken: a registration, a receipt
    /// or an order.
    pub seen_ms: u64,
}

/// Everything the log adds up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    genesis: Genesis,
    time_ms: u64,
    open: Open,
    intake: BTreeMap<Epoch, Intake>,
    sealed: BTreeMap<Epoch, Sealed>,
    mature: BTreeMap<Epoch, Summary>,
    book: Book,
    customers: BTreeMap<AccountId, Customer>,
    /// Whom each gateway serves: follows from customers and grants.
    served: BTreeSet<(GatewayId, AccountId)>,
    nodes: BTreeMap<NodeId, Member>,
    gateways: Gateways,
    sheets: Sheets,
    prepaid: Prepaid,
    /// All that was ever minted for nodes' traffic.
    minted: u128,
    audits: Audits,
    law: Law,
    invites: BTreeSet<(GatewayId, [u8; 16])>,
    /// What each transfer id was used for; the sequencer's have no gateway.
    transfers: BTreeMap<(Option<GatewayId>, TransferId), Hash>,
    /// Stands in the state root for what only grows: used invites, transfers
    /// and mature epochs. Without it each block would hash all of history.
    history: Hash,
    events: Events,
}

impl State {
    /// The state before the first entry. Each gateway has an account of its
    /// own from the start.
    pub fn new(genesis: Genesis) -> Result<Self, BookError> {
        let mut state = Self {
            time_ms: genesis.time_ms,
            open: Open { epoch: Genesis::FIRST_EPOCH, opened_ms: genesis.time_ms },
            intake: BTreeMap::new(),
            sealed: BTreeMap::new(),
            mature: BTreeMap::new(),
            book: Book::default(),
            customers: BTreeMap::new(),
            served: BTreeSet::new(),
            nodes: BTreeMap::new(),
            gateways: Gateways::of(&genesis),
            sheets: Sheets::new(&genesis),
            prepaid: Prepaid::default(),
            minted: 0,
            audits: Audits::default(),
            law: Law::default(),
            invites: BTreeSet::new(),
            transfers: BTreeMap::new(),
            history: Hash::default(),
            events: Events::default(),
            genesis,
        };
        for gateway in state.genesis.gateways.clone() {
            let account = gateway_account(gateway);
            state.book.mint(Account::Available(account), state.genesis.params.opening_balance)?;
            state.customers.insert(
                account,
                Customer { holder: Holder::Gateway(gateway), spent: Amount::ZERO },
            );
            state.served.insert((gateway, account));
            state.book.mint(Account::Bond(gateway), state.genesis.economy().gateway_bond)?;
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
                Submission::Audits(report) => self.check_audits(report),
                Submission::Grant(grant) => self.check_grant(grant),
                Submission::Order(order) => self.check_order(order),
                Submission::Loss(claim) => self.check_loss(claim),
                Submission::Rebuttal(rebuttal) => self.check_rebuttal(rebuttal),
                Submission::Equivocation(evidence) => self.check_equivocation(evidence),
                Submission::OpenOwned(opening) => self.check_owned_opening(opening),
                Submission::Release(release) => self.check_release(release),
            },
            Entry::Deposit(deposit) => self.check_deposit(deposit),
            Entry::Fund(fund) => self.check_fund(fund),
            Entry::PostPrices(sheet) => self.check_sheet(sheet),
            Entry::AdmitGateway(gateway) => self.check_admission(*gateway),
            Entry::CloseEpoch { .. }
            | Entry::StopReceipts(_)
            | Entry::SealEpoch(_)
            | Entry::MatureEpoch(_)
            | Entry::SettleClaim(_)
            | Entry::ReturnHeld(_)
            | Entry::Release(_)
            | Entry::Forfeit(_) => {
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
        match submission {
            Submission::OpenAccount(opening) => self.check_gateway(opening.gateway),
            Submission::OpenOwned(opening) => self.check_gateway(opening.gateway),
            Submission::Release(release) => self.check_gateway(release.gateway),
            Submission::Reserve(reservation) => self.check_gateway(reservation.gateway),
            Submission::Audits(report) => self.check_gateway(report.gateway),
            Submission::Grant(grant) => self.check_gateway(grant.gateway),
            Submission::Loss(claim) => self.check_gateway(claim.gateway),
            // The past of a gateway that was revoked is settled as any other.
            Submission::Receipt(receipt) => self.check_past(receipt.voucher.body.gateway),
            Submission::Usage(statement) => self.check_past(statement.gateway),
            Submission::Equivocation(evidence) => {
                self.check_past(evidence.first.voucher.body.gateway)
            }
            // A node that joined may say again who invited it.
            Submission::Register(registration) => match &registration.invite {
                None => Ok(()),
                Some(invite) => self.check_past(invite.gateway),
            },
            Submission::Order(_) | Submission::Rebuttal(_) => Ok(()),
        }
    }

    fn check_past(&self, gateway: GatewayId) -> Result<(), Rejection> {
        match self.check_gateway(gateway) {
            Err(Rejection::Revoked(_)) => Ok(()),
            outcome => outcome,
        }
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
                Submission::Audits(report) => self.take_audits(report),
                Submission::Grant(grant) => self.take_grant(grant),
                Submission::Order(order) => self.take_order(order),
                Submission::Loss(claim) => self.take_loss(claim),
                Submission::Rebuttal(rebuttal) => self.refute(rebuttal),
                Submission::Equivocation(evidence) => self.punish_equivocation(evidence),
                Submission::OpenOwned(opening) => self.open_owned(opening),
                Submission::Release(release) => self.release_reserve(release),
            },
            Entry::Deposit(deposit) => self.deposit(deposit),
            Entry::Fund(fund) => self.fund(fund),
            Entry::PostPrices(sheet) => self.post(sheet),
            Entry::AdmitGateway(gateway) => self.admit(*gateway),
            Entry::CloseEpoch { next, .. } => self.close_epoch(*next),
            Entry::StopReceipts(epoch) => self.stop_receipts(*epoch),
            Entry::SealEpoch(epoch) => self.seal_epoch(*epoch),
            Entry::MatureEpoch(epoch) => self.mature_epoch(*epoch),
            Entry::SettleClaim(id) => self.settle_claim(*id),
            Entry::ReturnHeld(node) => self.return_held(*node),
            Entry::Release(node) => self.release(*node),
            Entry::Forfeit(node) => self.forfeit(*node),
        }
    }

    /// What happened since it was asked last.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.events.take()
    }

    /// How the network began.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
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
            prices: self.prices_of(self.open.epoch).clone(),
            gateways: self.gateways.active().collect(),
            nodes: self.nodes.values().map(|member| member.record.clone()).collect(),
            sheets: self.price_sheets().cloned().collect(),
            curve: self.curve().map(CurvePrice::from),
            excluded: self.law.excluded.keys().copied().collect(),
        }
    }
}
