//! What goes wrong, when, and for how long.

use std::collections::BTreeMap;

use super::random::Random;
use super::world::{Event, World};
use super::{GATEWAYS, NODES, NodeNo, Time};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Some gateways and nodes do not hear each other, in one direction or both.
    Partition,
    /// Messages are lost.
    Drop,
    /// Messages come twice, the second time late and out of order.
    Repeat,
    /// A node stops without warning and starts again.
    NodeCrash,
    /// A gateway, likewise.
    GatewayCrash,
    /// A node loses its disk.
    Wipe,
    /// A shard changes on the disk.
    BitFlip,
    /// A node is slow.
    Slow,
    /// A node sends wrong bytes.
    Liar,
    /// The database does not answer.
    Outage,
    /// The database does what it is asked, and its answers are lost.
    LostReplies,
    /// Transactions reach the database long after they were sent.
    LateCommits,
}

/// All of them.
pub const ALL: [Fault; 12] = [
    Fault::Partition,
    Fault::Drop,
    Fault::Repeat,
    Fault::NodeCrash,
    Fault::GatewayCrash,
    Fault::Wipe,
    Fault::BitFlip,
    Fault::Slow,
    Fault::Liar,
    Fault::Outage,
    Fault::LostReplies,
    Fault::LateCommits,
];

impl Fault {
    /// For counts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Partition => "partition",
            Self::Drop => "drop",
            Self::Repeat => "repeat",
            Self::NodeCrash => "node crash",
            Self::GatewayCrash => "gateway crash",
            Self::Wipe => "wipe",
            Self::BitFlip => "bit flip",
            Self::Slow => "slow node",
            Self::Liar => "liar",
            Self::Outage => "database outage",
            Self::LostReplies => "lost replies",
            Self::LateCommits => "late commits",
        }
    }
}

/// What is wrong now.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Messages lost, in a thousand.
    pub drop: u64,
    /// Messages repeated, in a thousand.
    pub repeat: u64,
    /// Ways from gateways to nodes (`true`) or back that are cut, a bit a node.
    cut: [[u16; 2]; GATEWAYS],
    /// Who is slow.
    pub slow: Option<NodeNo>,
    /// Who lies.
    pub liar: Option<NodeNo>,
    /// Whether the database is away.
    pub outage: bool,
    /// Answers of the database lost, in a thousand.
    pub lost_replies: u64,
    /// Transactions that are late, in a thousand.
    pub late_commits: u64,
    /// Flips of each node.
    flips: [u32; NODES],
    /// How often each kind came.
    pub counts: BTreeMap<&'static str, u64>,
}

impl Faults {
    /// One more of a kind.
    pub fn count(&mut self, name: &'static str) {
        *self.counts.entry(name).or_default() += 1;
    }

    /// Whether a way is cut.
    pub fn is_cut(&self, gateway: usize, node: NodeNo, out: bool) -> bool {
        self.cut[gateway][usize::from(out)] & 1 << node != 0
    }
}

/// A node has so many shards flipped at most: more would be a broken disk.
const FLIPS_MAX: u32 = 2;

/// Nodes that lie at some time: enough honest ones must be left.
const LIARS_MAX: usize = 3;

impl World {
    /// One fault, and the time of the next.
    pub fn goes_wrong(&mut self) {
        if !self.is_busy() {
            self.faults = Faults { counts: self.faults.counts.clone(), ..Faults::default() };
            self.gateways.iter_mut().for_each(|gateway| gateway.skew = 0);
            return;
        }
        let next = self.random.between(2_000, 16_000);
        self.after(next, Event::GoesWrong);
        let fault = self.random.pick(&ALL).expect("there are some");
        let number = self.number();
        let time = self.random.between(2_000, 40_000);
        if self.break_it(fault, number) {
            self.faults.count(fault.name());
            self.check_lost();
            self.after(time, Event::Mends(fault, number));
        }
    }

    fn break_it(&mut self, fault: Fault, number: u64) -> bool {
        let node = self.random.below(NODES as u64) as NodeNo;
        match fault {
            Fault::Partition => {
                self.faults.cut = cut(&mut self.random);
            }
            Fault::Drop => self.faults.drop = 150,
            Fault::Repeat => self.faults.repeat = 200,
            Fault::NodeCrash => self.stop_node(node),
            Fault::GatewayCrash => {
                let gateway = number as usize % GATEWAYS;
                self.gateways[gateway].is_up = false;
                self.tasks.retain(|_, running| running.gateway != gateway);
            }
            Fault::Wipe => return self.wipe(node),
            Fault::BitFlip => return self.flip(node),
            Fault::Slow => self.faults.slow = Some(node),
            Fault::Liar => {
                let liars = &self.oracle.liars;
                let is_one_more = !liars.contains(&node) && liars.len() >= LIARS_MAX;
                if is_one_more || !self.may_lose_all() {
                    return false;
                }
                self.lose_all();
                self.oracle.liars.insert(node);
                self.faults.liar = Some(node);
            }
            Fault::Outage => self.faults.outage = true,
            Fault::LostReplies => self.faults.lost_replies = 500,
            Fault::LateCommits => self.faults.late_commits = 300,
        }
        true
    }

    fn stop_node(&mut self, node: NodeNo) {
        let node = &mut self.nodes[usize::from(node)];
        node.is_up = false;
        node.boot += 1;
    }

    /// A node loses its disk, if nothing else was lost that is not whole again.
    fn wipe(&mut self, node: NodeNo) -> bool {
        if !self.may_lose_all() {
            return false;
        }
        self.lose_all();
        let state = &mut self.nodes[usize::from(node)];
        state.disk.clear();
        state.life += 1;
        state.boot += 1;
        true
    }

    fn flip(&mut self, node: NodeNo) -> bool {
        if self.faults.flips[usize::from(node)] >= FLIPS_MAX || self.faults.liar.is_some() {
            return false;
        }
        let held: Vec<(u32, u8)> = self.nodes[usize::from(node)].disk.keys().copied().collect();
        let Some(key) = self.random.pick(&held) else { return false };
        if !self.may_lose(key.0) {
            return false;
        }
        self.oracle.losses.insert(key.0, 1);
        self.faults.flips[usize::from(node)] += 1;
        *self.nodes[usize::from(node)].disk.get_mut(&key).expect("it is held") ^= 2;
        true
    }

    /// A fault is over. One that came later of the same kind ends with it.
    pub fn mends(&mut self, fault: Fault, _number: u64) {
        match fault {
            Fault::Partition => self.faults.cut = Default::default(),
            Fault::Drop => self.faults.drop = 0,
            Fault::Repeat => self.faults.repeat = 0,
            Fault::NodeCrash => self.nodes.iter_mut().for_each(|node| node.is_up = true),
            Fault::GatewayCrash => {
                self.gateways.iter_mut().for_each(|gateway| gateway.is_up = true)
            }
            Fault::Wipe | Fault::BitFlip => {}
            Fault::Slow => self.faults.slow = None,
            Fault::Liar => {
                // What came to it meanwhile counts as hit, too: audits may have
                // found it missing.
                self.lose_all();
                self.faults.liar = None;
            }
            Fault::Outage => self.faults.outage = false,
            Fault::LostReplies => self.faults.lost_replies = 0,
            Fault::LateCommits => self.faults.late_commits = 0,
        }
    }

    /// The time that a transaction takes to the database.
    pub fn to_database(&mut self) -> Time {
        if self.random.chance(self.faults.late_commits) {
            return self.random.between(3_000, 15_000);
        }
        self.random.between(1, 5)
    }
}

/// Some gateways and some nodes; one way in a third of cases each.
fn cut(random: &mut Random) -> [[u16; 2]; GATEWAYS] {
    let nodes = random.bits() as u16 & random.bits() as u16;
    let ways = random.below(3);
    let mut cut = [[0; 2]; GATEWAYS];
    for gateway in &mut cut {
        if random.chance(600) {
            *gateway = [if ways == 0 { 0 } else { nodes }, if ways == 1 { 0 } else { nodes }];
        }
    }
    cut
}
