//! A small network in memory, and everything its members sign.

use protocol::ledger_api::Submission;
use protocol::price::{Amount, Counters, Prices};
use protocol::registration::{Invite, Registration};
use protocol::statement::{
    AccountOpening, Release, Reservation, Revision, TransferId, UNSIGNED, UsageStatement,
};
use protocol::voucher::{Receipt, VoucherBody};
use protocol::{AccountId, ChainId, Epoch, GatewayId, LedgerId, NodeId, SecretKey};

use crate::block::Block;
use crate::chain::{Chain, Source};
use crate::economy::Economy;
use crate::entry::Entry;
use crate::export::{block_line, genesis_line};
use crate::genesis::{Genesis, Params};
use crate::state::{Rejection, State};

/// Time of genesis.
pub(crate) const START: u64 = 1_700_000_000_000;
/// Length of an epoch, and of every wait, in milliseconds.
pub(crate) const EPOCH: u64 = 1_000;
/// What each account begins with.
pub(crate) const OPENING: Amount = Amount(1_000_000);
/// One atto-credit for each byte put or got, ten for an operation.
pub(crate) const PRICES: Prices = Prices {
    put_bytes: 1,
    get_bytes: 1,
    repair_bytes: 1,
    audit_bytes: 1,
    stored_byte_seconds: 1,
    compute_fuel: 1,
    operations: 10,
};

pub(crate) const CHAIN: ChainId = ChainId([7; 16]);

pub(crate) fn sequencer() -> SecretKey {
    SecretKey::from_seed([100; 32])
}

pub(crate) fn gateway_key(n: u8) -> SecretKey {
    SecretKey::from_seed([10 + n; 32])
}

pub(crate) fn node_key(n: u8) -> SecretKey {
    SecretKey::from_seed([50 + n; 32])
}

pub(crate) fn gateway(n: u8) -> GatewayId {
    gateway_key(n).public().into()
}

pub(crate) fn node(n: u8) -> NodeId {
    node_key(n).public().into()
}

pub(crate) fn account(n: u8) -> AccountId {
    AccountId([200 + n; 16])
}

pub(crate) fn counters(put: u64, operations: u64) -> Counters {
    Counters { put_bytes: put, operations, ..Counters::default() }
}

pub(crate) fn genesis(gateways: u8, params: Params) -> Genesis {
    genesis_with(gateways, params, Economy::NEUTRAL)
}

pub(crate) fn genesis_with(gateways: u8, params: Params, economy: Economy) -> Genesis {
    let gateways = (0..gateways).map(gateway).collect();
    Genesis::new(CHAIN, &sequencer(), gateways, START, params, economy, PRICES).unwrap()
}

/// A genesis from before there was an economy.
pub(crate) fn version_1(gateways: u8) -> Genesis {
    let genesis = genesis(gateways, Params::for_epoch(EPOCH, OPENING));
    Genesis { validators: Vec::new(), economy: None, ..genesis }
}

pub(crate) fn invite(nonce: u8) -> Invite {
    Invite {
        chain: CHAIN,
        ledger: LedgerId::from(sequencer().public()),
        ledger_addr: "127.0.0.1:4400".parse().unwrap(),
        gateway: gateway(0),
        nonce: [nonce; 16],
        expires_ms: START + 10 * EPOCH,
        signature: UNSIGNED,
    }
    .signed(&gateway_key(0))
}

pub(crate) fn registration(n: u8, serial: u64, invite: Option<Invite>) -> Registration {
    Registration {
        chain: CHAIN,
        node: node(n),
        addr: format!("[::1]:{}", 5000 + u16::from(n)).parse().unwrap(),
        zone: "east".into(),
        operator: "ann".into(),
        serial,
        invite,
        signature: UNSIGNED,
    }
    .signed(&node_key(n))
}

pub(crate) fn register(n: u8) -> Entry {
    Entry::Submitted(Submission::Register(Box::new(registration(n, 1, Some(invite(n))))))
}

pub(crate) fn open(g: u8, account: AccountId) -> Entry {
    let opening =
        AccountOpening { chain: CHAIN, gateway: gateway(g), account, signature: UNSIGNED };
    Entry::Submitted(Submission::OpenAccount(Box::new(opening.signed(&gateway_key(g)))))
}

pub(crate) fn release(g: u8, account: AccountId, id: u8, amount: u128) -> Entry {
    let release = Release {
        chain: CHAIN,
        gateway: gateway(g),
        account,
        id: TransferId([id; 16]),
        amount: Amount(amount),
        signature: UNSIGNED,
    };
    Entry::Submitted(Submission::Release(Box::new(release.signed(&gateway_key(g)))))
}

pub(crate) fn reserve(g: u8, account: AccountId, id: u8, amount: u128) -> Entry {
    let reservation = Reservation {
        chain: CHAIN,
        gateway: gateway(g),
        account,
        id: TransferId([id; 16]),
        amount: Amount(amount),
        signature: UNSIGNED,
    };
    Entry::Submitted(Submission::Reserve(Box::new(reservation.signed(&gateway_key(g)))))
}

pub(crate) fn voucher(g: u8, n: u8, epoch: u64, lane: u16, counters: Counters) -> VoucherBody {
    VoucherBody {
        chain: CHAIN,
        gateway: gateway(g),
        node: node(n),
        epoch: Epoch(epoch),
        lane,
        counters,
        amount: counters.amount(&PRICES),
        price_sheet: genesis(1, Params::for_epoch(EPOCH, OPENING)).price_sheet().sheet.id(),
    }
}

pub(crate) fn cosigned(g: u8, n: u8, body: VoucherBody) -> Receipt {
    body.signed(&gateway_key(g)).countersigned(&node_key(n))
}

pub(crate) fn receipt(g: u8, n: u8, epoch: u64, lane: u16, counters: Counters) -> Entry {
    let receipt = cosigned(g, n, voucher(g, n, epoch, lane, counters));
    Entry::Submitted(Submission::Receipt(Box::new(receipt)))
}

pub(crate) fn usage(g: u8, account: AccountId, epoch: u64, revision: u64, amount: u128) -> Entry {
    let statement = UsageStatement {
        chain: CHAIN,
        gateway: gateway(g),
        account,
        epoch: Epoch(epoch),
        revision: Revision(revision),
        counters: counters(u64::try_from(amount).unwrap(), 0),
        amount: Amount(amount),
        signature: UNSIGNED,
    };
    Entry::Submitted(Submission::Usage(Box::new(statement.signed(&gateway_key(g)))))
}

/// A ledger without disk and network: blocks are made as the writer makes them.
pub(crate) struct World {
    pub(crate) chain: Chain,
    pub(crate) blocks: Vec<Block>,
    pub(crate) now_ms: u64,
}

impl World {
    pub(crate) fn new(gateways: u8) -> Self {
        Self::with(gateways, Params::for_epoch(EPOCH, OPENING))
    }

    pub(crate) fn with(gateways: u8, params: Params) -> Self {
        Self::of(genesis(gateways, params))
    }

    pub(crate) fn with_economy(gateways: u8, economy: Economy) -> Self {
        Self::of(genesis_with(gateways, Params::for_epoch(EPOCH, OPENING), economy))
    }

    pub(crate) fn of(genesis: Genesis) -> Self {
        let chain = Chain::new(genesis).unwrap();
        let header = chain.head().clone();
        let finality = header.signed(&sequencer());
        let blocks = vec![Block { header, entries: Vec::new(), finality }];
        Self { chain, blocks, now_ms: START }
    }

    pub(crate) fn state(&self) -> &State {
        self.chain.state()
    }

    /// Makes a block of what is due and of these entries.
    pub(crate) fn block(&mut self, entries: &[Entry]) -> Vec<Result<(), Rejection>> {
        self.chain.begin(self.now_ms);
        let mut taken = Vec::new();
        while let Some(entry) = self.state().due() {
            self.chain.add(&entry).unwrap();
            taken.push(entry);
        }
        let mut outcomes = Vec::new();
        for entry in entries {
            let outcome = entry.verify().map_err(Rejection::from);
            let outcome = outcome.and_then(|()| self.chain.add(entry));
            if outcome.is_ok() {
                taken.push(entry.clone());
            }
            outcomes.push(outcome);
        }
        assert!(self.state().book().is_conserved());
        if !taken.is_empty() {
            let header = self.chain.finish();
            let finality = header.signed(&sequencer());
            self.blocks.push(Block { header, entries: taken, finality });
        }
        outcomes
    }

    /// Makes a block of entries that must all be taken.
    #[track_caller]
    pub(crate) fn take(&mut self, entries: &[Entry]) {
        for (entry, outcome) in entries.iter().zip(self.block(entries)) {
            assert_eq!(outcome, Ok(()), "{entry:?}");
        }
    }

    /// Submits one entry.
    pub(crate) fn offer(&mut self, entry: Entry) -> Result<(), Rejection> {
        self.block(&[entry]).pop().unwrap()
    }

    /// Lets one epoch's time pass, and makes the changes that are due.
    pub(crate) fn pass_epoch(&mut self) {
        self.now_ms += EPOCH;
        self.block(&[]);
    }

    /// The same ledger from its blocks, with every signature verified.
    pub(crate) fn replayed(&self) -> Chain {
        let mut chain = Chain::new(self.state().genesis().clone()).unwrap();
        for block in &self.blocks[1..] {
            chain.extend(block, Source::Foreign).unwrap();
        }
        chain
    }

    pub(crate) fn export(&self) -> String {
        let genesis = genesis_line(self.state().genesis());
        let blocks = self.blocks.iter().map(block_line);
        std::iter::once(genesis).chain(blocks).map(|line| line + "\n").collect()
    }
}

/// A network with one gateway, one node, and a customer with a reserve.
pub(crate) fn small_world(reserved: u128) -> World {
    let mut world = World::new(1);
    world.take(&[register(0), open(0, account(0)), reserve(0, account(0), 1, reserved)]);
    world
}

/// A network whose first epoch is settled.
pub(crate) fn lived() -> World {
    let mut world = small_world(5_000);
    world.pass_epoch();
    world.take(&[receipt(0, 0, 0, 0, counters(990, 1))]);
    world.pass_epoch();
    world.take(&[usage(0, account(0), 0, 1, 1_000)]);
    world.pass_epoch();
    world
}
