//! The queue of events, the network, the nodes and the course of a history.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};

use super::clients::{Get, Put};
use super::database::{Database, Place};
use super::faults::{Fault, Faults};
use super::oracle::Oracle;
use super::random::{Random, mix};
use super::upkeep::{Audit, Collect, Repair, Watch};
use super::{Bytes, Clock, GATEWAYS, NODES, NodeNo, Time};
use crate::rules::Rules;

/// How long clients and faults go on.
pub const BUSY: Time = 600_000;
/// How long everything may take to be whole again after that.
pub const HEAL: Time = 1_800_000;

/// What a task of a gateway is.
#[derive(Clone, Debug)]
pub enum Task {
    /// Stores an object.
    Put(Put),
    /// Reads one.
    Get(Get),
    /// Deletes an object.
    Delete,
    /// Copies an object to another.
    Copy(u8),
    /// Asks all nodes how they are.
    Watch(Watch),
    /// Mends one segment.
    Repair(Repair),
    /// Removes what is not needed.
    Collect(Collect),
    /// Has a node prove what it holds.
    Audit(Audit),
}

/// Asked of a node.
#[derive(Clone, Copy, Debug)]
pub enum Ask {
    /// Store these bytes.
    Put(Bytes),
    /// Give them back.
    Get,
    /// Forget them.
    Delete,
    /// How are you?
    Status,
}

/// A node's answer, with the life of its folder.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// It survives a power cut.
    Stored,
    /// The bytes.
    Got(Bytes),
    /// It does not have them, or they are spoilt.
    Lost,
    /// It is not there any more.
    Deleted,
    /// All is well.
    Status,
}

/// What happens.
#[derive(Clone, Debug)]
pub enum Event {
    /// A request reaches a node.
    AtNode(NodeNo, u64, Place, Ask),
    /// A node has synced a shard, unless it was restarted meanwhile.
    Synced(NodeNo, u32, u64, Place, Bytes),
    /// An answer of a node reaches a task.
    FromNode(u64, NodeNo, Place, Answer, u32),
    /// A transaction reaches the database.
    AtDatabase(u64, super::clients::Work),
    /// Its answer reaches the task.
    FromDatabase(u64, super::clients::Told),
    /// A task has waited long enough, if it is still at this step.
    Timer(u64, u32),
    /// A gateway begins something.
    Begin(usize, Errand),
    /// Something goes wrong.
    GoesWrong,
    /// It is over.
    Mends(Fault, u64),
}

/// What a gateway begins from time to time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// A client's request.
    Client,
    /// A look at all nodes.
    Watch,
    /// A repair.
    Repair,
    /// A round of collection.
    Collect,
    /// An audit.
    Audit,
}

/// A storage node.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// Whether it runs.
    pub is_up: bool,
    /// Grows with every start.
    pub boot: u32,
    /// Grows when its folder is lost.
    pub life: u32,
    /// What survives a power cut.
    pub disk: BTreeMap<(u32, u8), Bytes>,
}

/// What a gateway knows by itself.
#[derive(Clone, Debug, Default)]
pub struct Gateway {
    /// Whether it runs.
    pub is_up: bool,
    /// How wrong its clock is.
    pub skew: Clock,
    /// When each node answered last.
    pub seen: [Time; NODES],
    /// Nodes that it queued as absent.
    pub absent: [bool; NODES],
}

/// One history.
#[derive(Debug)]
pub struct World {
    /// What is kept.
    pub rules: Rules,
    /// Now.
    pub now: Time,
    /// Where randomness comes from.
    pub random: Random,
    /// The gateways.
    pub gateways: Vec<Gateway>,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The database.
    pub database: Database,
    /// What is wrong now.
    pub faults: Faults,
    /// What must be true.
    pub oracle: Oracle,
    /// What gateways are doing.
    pub tasks: BTreeMap<u64, Running>,
    /// The next number of anything.
    pub numbers: u64,
    queue: BinaryHeap<Queued>,
    sequence: u64,
    /// A hash of everything that happened.
    pub trace: u64,
    /// How much that was.
    pub events: u64,
}

/// A task and where it runs.
#[derive(Clone, Debug)]
pub struct Running {
    /// Its gateway.
    pub gateway: usize,
    /// Its step; timers of earlier steps do not count.
    pub step: u32,
    /// What it is.
    pub task: Task,
}

#[derive(Debug)]
struct Queued(Time, u64, Event);

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Queued {}
impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Queued {
    /// The earliest is the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.0, other.1).cmp(&(self.0, self.1))
    }
}

/// What became of a history.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was wrong first.
    pub violation: Option<String>,
    /// Equal for equal histories.
    pub trace: u64,
    /// Events.
    pub events: u64,
    /// Milliseconds that passed in it.
    pub time: Time,
    /// How often each fault came.
    pub faults: BTreeMap<&'static str, u64>,
    /// Objects whose storing was acknowledged.
    pub acknowledged: u64,
    /// Objects that were read.
    pub read: u64,
    /// Shards that were repaired.
    pub repaired: u64,
}

impl World {
    /// The beginning of the history of a seed.
    pub fn new(seed: u64, rules: Rules) -> Self {
        let mut random = Random::new(seed);
        let skew = |random: &mut Random| random.below(1_200_001) as Clock - 600_000;
        let gateways = (0..GATEWAYS).map(|_| Gateway {
            is_up: true,
            skew: skew(&mut random),
            ..Gateway::default()
        });
        let gateways = gateways.collect();
        let node = Node { is_up: true, ..Node::default() };
        let mut world = Self {
            rules,
            now: 0,
            random,
            gateways,
            nodes: vec![node; NODES],
            database: Database::default(),
            faults: Faults::default(),
            oracle: Oracle::default(),
            tasks: BTreeMap::new(),
            numbers: 0,
            queue: BinaryHeap::new(),
            sequence: 0,
            trace: 0,
            events: 0,
        };
        world.faults.count("clock skew");
        for gateway in 0..GATEWAYS {
            let errands =
                [Errand::Client, Errand::Watch, Errand::Repair, Errand::Collect, Errand::Audit];
            for errand in errands {
                let after = world.random.below(3_000);
                world.after(after, Event::Begin(gateway, errand));
            }
        }
        world.after(10_000, Event::GoesWrong);
        world
    }

    /// The whole history, until everything is whole again.
    pub fn run(mut self) -> Outcome {
        while let Some(Queued(time, sequence, event)) = self.queue.pop() {
            self.now = time;
            self.events += 1;
            self.trace = mix(self.trace ^ mix(time) ^ sequence.rotate_left(20));
            self.happen(event);
            if self.database.double_winner {
                self.oracle.wrong("two writers were told that the key was absent");
            }
            if self.oracle.violation.is_some() || self.is_whole() {
                break;
            }
            if self.now > BUSY + HEAL {
                self.oracle.wrong(&format!("not whole in time: {}", self.lacks()));
                break;
            }
        }
        if self.oracle.violation.is_none() {
            self.check_end();
        }
        Outcome {
            violation: self.oracle.violation,
            trace: self.trace,
            events: self.events,
            time: self.now,
            faults: self.faults.counts,
            acknowledged: self.oracle.acknowledged.len() as u64,
            read: self.oracle.read,
            repaired: self.oracle.repaired,
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::AtNode(node, task, place, ask) => self.at_node(node, task, place, ask),
            Event::Synced(node, boot, task, place, bytes) => {
                self.synced(node, boot, task, place, bytes);
            }
            Event::FromNode(task, node, place, answer, life) => {
                self.from_node(task, node, place, answer, life);
            }
            Event::AtDatabase(task, work) => self.at_database(task, work),
            Event::FromDatabase(task, told) => self.from_database(task, told),
            Event::Timer(task, step) => {
                if self.tasks.get(&task).is_some_and(|running| running.step == step) {
                    self.timer(task);
                }
            }
            Event::Begin(gateway, errand) => self.begin(gateway, errand),
            Event::GoesWrong => self.goes_wrong(),
            Event::Mends(fault, number) => self.mends(fault, number),
        }
    }

    /// Puts an event into the queue.
    pub fn after(&mut self, delay: Time, event: Event) {
        self.sequence += 1;
        self.queue.push(Queued(self.now + delay, self.sequence, event));
    }

    /// A number that nothing else has.
    pub fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// What a gateway's clock says.
    pub fn clock(&self, gateway: usize) -> Clock {
        self.now as Clock + self.gateways[gateway].skew
    }

    /// Whether clients and faults still come.
    pub fn is_busy(&self) -> bool {
        self.now < BUSY
    }

    /// Begins a task.
    pub fn spawn(&mut self, gateway: usize, task: Task) -> u64 {
        let number = self.number();
        self.tasks.insert(number, Running { gateway, step: 0, task });
        number
    }

    /// The task takes its next step, and waits at most so long in it.
    pub fn wait(&mut self, task: u64, time: Time) {
        let Some(running) = self.tasks.get_mut(&task) else { return };
        running.step += 1;
        let step = running.step;
        self.after(time, Event::Timer(task, step));
    }

    /// Sends a request to a node.
    pub fn ask(&mut self, task: u64, place: Place, ask: Ask) {
        let Some(gateway) = self.tasks.get(&task).map(|running| running.gateway) else { return };
        let event = Event::AtNode(place.node, task, place, ask);
        // Whoever deletes waits for the answer or the end of the connection.
        let may_repeat = !matches!(ask, Ask::Delete);
        self.travel(gateway, place.node, true, may_repeat, event);
    }

    fn answer(&mut self, task: u64, place: Place, answer: Answer) {
        let Some(gateway) = self.tasks.get(&task).map(|running| running.gateway) else { return };
        let life = self.nodes[usize::from(place.node)].life;
        let event = Event::FromNode(task, place.node, place, answer, life);
        self.travel(gateway, place.node, false, true, event);
    }

    fn travel(&mut self, gateway: usize, node: NodeNo, out: bool, may_repeat: bool, event: Event) {
        if self.faults.is_cut(gateway, node, out) || self.random.chance(self.faults.drop) {
            return;
        }
        let slow = if self.faults.slow == Some(node) { self.random.below(8_000) } else { 0 };
        let latency = self.random.between(1, 40);
        if may_repeat && self.random.chance(self.faults.repeat) {
            let later = latency + self.random.below(20_000);
            self.after(later, event.clone());
        }
        self.after(latency + slow, event);
    }

    fn at_node(&mut self, node: NodeNo, task: u64, place: Place, ask: Ask) {
        let key = (place.content, place.index);
        let is_liar = self.faults.liar == Some(node);
        let state = &mut self.nodes[usize::from(node)];
        if !state.is_up {
            return;
        }
        match ask {
            Ask::Put(bytes) => {
                let boot = state.boot;
                let time = self.random.between(1, 20);
                self.after(time, Event::Synced(node, boot, task, place, bytes));
            }
            Ask::Get => {
                let found = state.disk.get(&key).copied();
                let answer = match found {
                    Some(bytes) if is_liar => Answer::Got(bytes ^ 1),
                    Some(bytes) => Answer::Got(bytes),
                    None => Answer::Lost,
                };
                self.answer(task, place, answer);
            }
            Ask::Delete => {
                state.disk.remove(&key);
                self.oracle.emptied.insert(place);
                self.check_lost();
                self.answer(task, place, Answer::Deleted);
            }
            Ask::Status => self.answer(task, place, Answer::Status),
        }
    }

    fn synced(&mut self, node: NodeNo, boot: u32, task: u64, place: Place, bytes: Bytes) {
        let state = &mut self.nodes[usize::from(node)];
        if !state.is_up || state.boot != boot {
            return;
        }
        // What is spoilt is replaced; anything else would be the same bytes.
        state.disk.insert((place.content, place.index), bytes);
        if self.oracle.emptied.contains(&place) {
            self.oracle.stray.insert(place);
        }
        self.answer(task, place, Answer::Stored);
    }
}
