//! A ledger on which nodes earned, bound addresses and withdrew. Made in
//! memory with the ledger's own rules, so its export is a good one.

use std::collections::BTreeMap;

use alloy_primitives::Address;
use ledger::block::Block;
use ledger::chain::Chain;
use ledger::entry::Entry;
use ledger::export::{block_line, genesis_line};
use ledger::{Economy, Genesis, Params};
use protocol::ledger_api::Submission;
use protocol::order::{Action, EvmAddress, Order};
use protocol::price::{Amount, CREDIT, Counters, Prices};
use protocol::registration::{Invite, Registration};
use protocol::statement::{
    AccountOpening, Reservation, Revision, TransferId, UNSIGNED, UsageStatement,
};
use protocol::voucher::VoucherBody;
use protocol::{AccountId, ChainId, Epoch, SecretKey};

const START: u64 = 1_700_000_000_000;
/// Of an epoch and of every wait.
const EPOCH_MS: u64 = 1_000;
const CHAIN: ChainId = ChainId([7; 16]);
const ACCOUNT: AccountId = AccountId([9; 16]);
/// A hundredth of a credit for each byte put, and nothing for anything else.
const PRICES: Prices = Prices {
    put_bytes: (CREDIT / 100) as u64,
    get_bytes: 0,
    repair_bytes: 0,
    audit_bytes: 0,
    stored_byte_seconds: 0,
    compute_fuel: 0,
    operations: 0,
};
const BYTES: u64 = 10_000;
const NODES: u8 = 3;

fn sequencer() -> SecretKey {
    SecretKey::from_seed([1; 32])
}

fn gateway() -> SecretKey {
    SecretKey::from_seed([2; 32])
}

fn node(n: u8) -> SecretKey {
    SecretKey::from_seed([50 + n; 32])
}

/// What left to whom by the end of an epoch, as the orders below say.
pub struct Expected {
    /// An epoch that is over.
    pub epoch: u64,
    /// Atto-credits by address.
    pub leaves: BTreeMap<Address, u128>,
}

/// The ledger.
pub struct World {
    chain: Chain,
    blocks: Vec<Block>,
    now_ms: u64,
    orders: u8,
}

/// Nodes 0 and 1 are paid to the first address, node 2 to the second. In the
/// second part node 0 withdraws more, node 2 goes over to the third address.
pub fn lived(addresses: [Address; 3]) -> (World, [Expected; 2]) {
    let [shared, second, third] = addresses;
    let mut world = World::new();
    world.earn();
    for (n, address) in [(0, shared), (1, shared), (2, second)] {
        world.order(n, Action::BindEvm(EvmAddress(address.into_array())));
    }
    world.order(0, Action::Withdraw(Amount(7 * CREDIT)));
    world.order(1, Action::Withdraw(Amount(5 * CREDIT + 1)));
    world.order(2, Action::Withdraw(Amount(3 * CREDIT)));
    let first = world.expect([(shared, 12 * CREDIT + 1), (second, 3 * CREDIT)]);
    world.pass_epoch();

    world.order(0, Action::Withdraw(Amount(2 * CREDIT)));
    world.order(2, Action::BindEvm(EvmAddress(third.into_array())));
    world.order(2, Action::Withdraw(Amount(CREDIT)));
    let last = [(shared, 14 * CREDIT + 1), (second, 3 * CREDIT), (third, CREDIT)];
    let last = world.expect(last);
    world.pass_epoch();
    (world, [first, last])
}

impl World {
    fn new() -> Self {
        let gateways = vec![gateway().public().into()];
        let params = Params::for_epoch(EPOCH_MS, Amount(1_000_000 * CREDIT));
        let economy = Economy::NEUTRAL;
        let key = sequencer();
        let genesis = Genesis::new(CHAIN, &key, gateways, START, params, economy, PRICES).unwrap();
        let chain = Chain::new(genesis).unwrap();
        let header = chain.head().clone();
        let finality = header.signed(&sequencer());
        let blocks = vec![Block { header, entries: Vec::new(), finality }];
        Self { chain, blocks, now_ms: START, orders: 0 }
    }

    /// The export: genesis, then one block a line.
    pub fn export(&self) -> String {
        let genesis = genesis_line(self.chain.state().genesis());
        let blocks = self.blocks.iter().map(block_line);
        std::iter::once(genesis).chain(blocks).map(|line| line + "\n").collect()
    }

    /// What the entries add up to.
    pub fn state(&self) -> &ledger::state::State {
        self.chain.state()
    }

    fn expect<const N: usize>(&self, leaves: [(Address, u128); N]) -> Expected {
        Expected { epoch: self.state().open().epoch.0, leaves: leaves.into() }
    }

    /// Makes a block of what is due and of these entries, which must be taken.
    fn take(&mut self, entries: Vec<Submission>) {
        self.chain.begin(self.now_ms);
        let mut taken = Vec::new();
        while let Some(due) = self.chain.state().due() {
            self.chain.add(&due).unwrap();
            taken.push(due);
        }
        for entry in entries.into_iter().map(Entry::Submitted) {
            entry.verify().unwrap();
            self.chain.add(&entry).unwrap();
            taken.push(entry);
        }
        let header = self.chain.finish();
        let finality = header.signed(&sequencer());
        self.blocks.push(Block { header, entries: taken, finality });
    }

    fn pass_epoch(&mut self) {
        self.now_ms += EPOCH_MS;
        self.take(Vec::new());
    }

    fn order(&mut self, n: u8, action: Action) {
        self.orders += 1;
        let order = Order::signed(CHAIN, &node(n), TransferId([self.orders; 16]), action);
        self.take(vec![Submission::Order(Box::new(order))]);
    }

    /// Every node is put bytes to, is paid for them, and what it is paid matures.
    fn earn(&mut self) {
        let total = u128::from(BYTES) * u128::from(NODES) * u128::from(PRICES.put_bytes);
        let mut joining: Vec<Submission> = (0..NODES).map(registration).collect();
        joining.extend([opening(), reservation(total)]);
        self.take(joining);
        self.pass_epoch();
        self.take((0..NODES).map(|n| self.receipt(n)).collect());
        self.pass_epoch();
        self.take(vec![usage(total)]);
        // Sealed, challenged, matured.
        (0..3).for_each(|_| self.pass_epoch());
    }

    fn receipt(&self, n: u8) -> Submission {
        let counters = Counters { put_bytes: BYTES, ..Counters::default() };
        let body = VoucherBody {
            chain: CHAIN,
            gateway: gateway().public().into(),
            node: node(n).public().into(),
            epoch: Epoch(0),
            lane: 0,
            counters,
            amount: counters.amount(&PRICES),
            price_sheet: self.state().genesis().price_sheet().sheet.id(),
        };
        Submission::Receipt(Box::new(body.signed(&gateway()).countersigned(&node(n))))
    }
}

fn registration(n: u8) -> Submission {
    let invite = Invite {
        chain: CHAIN,
        ledger: sequencer().public().into(),
        ledger_addr: "127.0.0.1:4400".parse().unwrap(),
        gateway: gateway().public().into(),
        nonce: [n; 16],
        expires_ms: START + EPOCH_MS,
        signature: UNSIGNED,
    };
    let registration = Registration {
        chain: CHAIN,
        node: node(n).public().into(),
        addr: format!("127.0.0.1:{}", 5000 + u16::from(n)).parse().unwrap(),
        zone: "east".into(),
        operator: "ann".into(),
        serial: 1,
        invite: Some(invite.signed(&gateway())),
        signature: UNSIGNED,
    };
    Submission::Register(Box::new(registration.signed(&node(n))))
}

fn opening() -> Submission {
    let gateway_id = gateway().public().into();
    let opening =
        AccountOpening { chain: CHAIN, gateway: gateway_id, account: ACCOUNT, signature: UNSIGNED };
    Submission::OpenAccount(Box::new(opening.signed(&gateway())))
}

fn reservation(amount: u128) -> Submission {
    let reservation = Reservation {
        chain: CHAIN,
        gateway: gateway().public().into(),
        account: ACCOUNT,
        id: TransferId([1; 16]),
        amount: Amount(amount),
        signature: UNSIGNED,
    };
    Submission::Reserve(Box::new(reservation.signed(&gateway())))
}

fn usage(amount: u128) -> Submission {
    let statement = UsageStatement {
        chain: CHAIN,
        gateway: gateway().public().into(),
        account: ACCOUNT,
        epoch: Epoch(0),
        revision: Revision(1),
        counters: Counters { put_bytes: BYTES * u64::from(NODES), ..Counters::default() },
        amount: Amount(amount),
        signature: UNSIGNED,
    };
    Submission::Usage(Box::new(statement.signed(&gateway())))
}
