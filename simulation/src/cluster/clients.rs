//! What gateways do for clients: put, get, delete and copy.

use gateway::object::placement::{Candidate, Domains, RequireDomains, Rules as Placing, place};

use super::database::{Commit, Manifest, Place};
use super::world::{Answer, Ask, Event, Task, World};
use super::{
    Bytes, Clock, ContentNo, NEEDED, NODES, NodeNo, TOTAL, Time, incarnation, node_id, node_no,
    object_of, root_of, segment_id, shard_of,
};
use crate::commit::state::Fate;
use crate::rules::Rule;

/// Objects that there are.
const KEYS: u64 = 8;
/// How long an upload may take before it counts as abandoned.
const LEASE: Clock = 60_000;
/// A node that was silent for so long is not counted on.
pub const DOWN: Time = 30_000;
/// How long the database is waited for.
const DATABASE: Time = 2_000;

/// A transaction.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "named for the functions of the database")]
pub enum Work {
    Intend { content: ContentNo, object: Bytes, places: [NodeNo; TOTAL], lease: Clock },
    Commit(Commit),
    Resolve(ContentNo, Clock),
    Late(Place, u32),
    Read(u8),
    Delete(u8, Clock),
    Copy(ContentNo, u8, Clock),
    See(NodeNo, u32),
    PickDamaged(u64),
    PickStored(u64),
    Queue(ContentNo, u8),
    Unqueue(ContentNo, u8),
    Lose(Place, u32),
    Strike(NodeNo),
    QueueNode(NodeNo),
    UnqueueNode(NodeNo),
    Promise(Place, u64, Clock),
    Settle { place: Place, promise: u64, generation: u32, life: u32, now: Clock },
    Leave(Place, Clock),
    AbandonExpired(Clock),
    TakeLeftovers(Clock),
    ForgetLeftover(Place),
    Condemned(Clock),
    Forget(ContentNo),
    Postpone(ContentNo, Clock),
}

/// Its answer.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "named for what they hold")]
pub enum Told {
    Yes(bool),
    Fate(Fate),
    Manifest(Option<Manifest>),
    Places(Vec<Place>),
    Condemned(Vec<(ContentNo, [NodeNo; TOTAL])>),
}

/// Where a put stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Intending,
    Sending,
    Committing,
    Resolving(u8),
    Stragglers,
}

/// A put.
#[derive(Clone, Debug)]
pub struct Put {
    key: u8,
    content: ContentNo,
    object: Bytes,
    places: [NodeNo; TOTAL],
    receipts: [Option<u32>; TOTAL],
    absent: Option<bool>,
    phase: Phase,
}

/// A get.
#[derive(Clone, Debug, Default)]
pub struct Get {
    manifest: Option<Manifest>,
    /// Shards that were not asked for yet.
    rest: Vec<u8>,
    /// The object that each shard says it is.
    got: Vec<(u8, Bytes)>,
}

impl World {
    /// A client asks for something.
    pub fn begin_client(&mut self, gateway: usize) {
        let key = self.random.below(KEYS) as u8;
        match self.random.below(10) {
            0..4 => self.begin_put(gateway, key),
            4..8 => {
                let task = self.spawn(gateway, Task::Get(Get::default()));
                self.transact(task, Work::Read(key));
                self.wait(task, DATABASE);
            }
            8 => {
                let task = self.spawn(gateway, Task::Delete);
                self.transact(task, Work::Delete(key, self.clock(gateway)));
                self.wait(task, DATABASE);
            }
            _ => {
                let to = self.random.below(KEYS) as u8;
                let task = self.spawn(gateway, Task::Copy(to));
                self.transact(task, Work::Read(key));
                self.wait(task, 10_000);
            }
        }
    }

    /// The nodes that a gateway would place a shard on.
    pub fn candidates(&self, gateway: usize) -> Vec<Candidate> {
        let nodes = (0..NODES as NodeNo).filter(|node| {
            let seen = self.gateways[gateway].seen[usize::from(*node)];
            seen + DOWN >= self.now && !self.database.disqualified.contains(node)
        });
        nodes.map(|node| self.candidate(node)).collect()
    }

    /// A node as placement knows it.
    pub fn candidate(&self, node: NodeNo) -> Candidate {
        Candidate {
            node: node_id(node),
            incarnation: incarnation(self.database.lives[usize::from(node)]),
            free: 1 << 40,
            domains: Domains::default(),
            vetting: false,
            record: 1_000_000,
        }
    }

    fn begin_put(&mut self, gateway: usize, key: u8) {
        let content = self.number() as ContentNo;
        let candidates = self.candidates(gateway);
        let placed = place(segment_id(content), TOTAL as u8, placing(), &candidates);
        let placed = placed.ok().and_then(|placed| placed.into_iter().collect::<Option<Vec<_>>>());
        let Some(placed) = placed else { return };
        let mut places = [0; TOTAL];
        for (place, (node, _)) in places.iter_mut().zip(placed) {
            *place = node_no(node);
        }
        let object = self.random.bits();
        let is_there = self.database.keys.contains_key(&key);
        let absent = self.random.chance(250).then_some(is_there);
        let put = Put {
            key,
            content,
            object,
            places,
            receipts: [None; TOTAL],
            absent,
            phase: Phase::Intending,
        };
        let task = self.spawn(gateway, Task::Put(put.clone()));
        if self.rules.keep(Rule::IntentFirst) {
            let lease = self.clock(gateway) + LEASE;
            self.transact(task, Work::Intend { content, object, places, lease });
            self.wait(task, DATABASE);
        } else {
            self.send_shards(task, put);
        }
    }

    fn send_shards(&mut self, task: u64, mut put: Put) {
        for (index, node) in put.places.into_iter().enumerate() {
            let place = Place { content: put.content, index: index as u8, node };
            self.ask(task, place, Ask::Put(shard_of(put.object, place.index)));
        }
        put.phase = Phase::Sending;
        self.keep(task, Task::Put(put));
        self.wait(task, 10_000);
    }

    /// Keeps what a task has become.
    pub fn keep(&mut self, task: u64, state: Task) {
        if let Some(running) = self.tasks.get_mut(&task) {
            running.task = state;
        }
    }

    /// Sends a transaction.
    pub fn transact(&mut self, task: u64, work: Work) {
        let delay = self.to_database();
        self.after(delay, Event::AtDatabase(task, work));
    }

    fn quorum(&self) -> usize {
        NEEDED + usize::from(self.rules.keep(Rule::QuorumAboveData))
    }

    /// A node answered a put.
    pub fn put_stored(&mut self, task: u64, mut put: Put, place: Place, life: u32) {
        let receipt = &mut put.receipts[usize::from(place.index)];
        let is_first = receipt.is_none();
        receipt.get_or_insert(life);
        let stored = put.receipts.iter().flatten().count();
        let (phase, quorum) = (put.phase, self.quorum());
        self.keep(task, Task::Put(put.clone()));
        match phase {
            Phase::Sending if stored == TOTAL => self.commit_put(task, put),
            // The slowest are waited for a little.
            Phase::Sending if is_first && stored == quorum => self.wait(task, 500),
            Phase::Stragglers => self.transact(task, Work::Late(place, life)),
            _ => {}
        }
    }

    fn commit_put(&mut self, task: u64, mut put: Put) {
        let now = self.clock(self.tasks[&task].gateway);
        let Put { content, object, places, receipts, key, absent, .. } = put;
        let commit = Commit { content, object, places, receipts, key, absent, now };
        self.transact(task, Work::Commit(commit));
        put.phase = Phase::Committing;
        self.keep(task, Task::Put(put));
        self.wait(task, DATABASE);
    }

    fn resolve_put(&mut self, task: u64, mut put: Put, tries: u8) {
        if !self.rules.keep(Rule::UnknownDeletesNothing) {
            for (index, node) in put.places.into_iter().enumerate() {
                let place = Place { content: put.content, index: index as u8, node };
                self.ask(task, place, Ask::Delete);
            }
        }
        let now = self.clock(self.tasks[&task].gateway);
        self.transact(task, Work::Resolve(put.content, now));
        put.phase = Phase::Resolving(tries);
        self.keep(task, Task::Put(put));
        self.wait(task, DATABASE);
    }

    /// The client is told no, and the upload is given up.
    fn refuse_put(&mut self, task: u64, put: &Put) {
        self.oracle.refused.insert(put.content);
        let now = self.clock(self.tasks[&task].gateway);
        self.transact(task, Work::Resolve(put.content, now));
        self.tasks.remove(&task);
    }

    fn acknowledge_put(&mut self, task: u64, mut put: Put) {
        self.acknowledge(put.content, put.object);
        put.phase = Phase::Stragglers;
        self.keep(task, Task::Put(put));
        self.wait(task, 20_000);
        self.check_lost();
    }

    /// The database answered a put.
    pub fn put_told(&mut self, task: u64, put: Put, told: &Told) {
        match (put.phase, told) {
            (Phase::Intending, Told::Yes(true)) => self.send_shards(task, put),
            (Phase::Committing, Told::Yes(true)) => self.acknowledge_put(task, put),
            (Phase::Committing, Told::Yes(false)) => self.refuse_put(task, &put),
            (Phase::Resolving(_), Told::Fate(fate)) => match fate {
                Fate::Live => self.acknowledge_put(task, put),
                Fate::Open => {
                    self.oracle.refused.insert(put.content);
                    self.tasks.remove(&task);
                }
                // Replaced or given up: nobody knows, and that is what is said.
                _ => drop(self.tasks.remove(&task)),
            },
            _ => {}
        }
    }

    /// A put has waited long enough.
    pub fn put_timer(&mut self, task: u64, put: Put) {
        match put.phase {
            Phase::Sending if put.receipts.iter().flatten().count() >= self.quorum() => {
                self.commit_put(task, put);
            }
            Phase::Intending | Phase::Sending => self.refuse_put(task, &put),
            Phase::Committing => self.resolve_put(task, put, 0),
            Phase::Resolving(tries) if tries < 10 => self.resolve_put(task, put, tries + 1),
            Phase::Resolving(_) | Phase::Stragglers => drop(self.tasks.remove(&task)),
        }
    }

    /// A get was told where the object is.
    pub fn get_told(&mut self, task: u64, manifest: Manifest) {
        let mut rest: Vec<u8> = stored(&manifest);
        for at in (1..rest.len()).rev() {
            let other = self.random.below(at as u64 + 1) as usize;
            rest.swap(at, other);
        }
        self.keep(task, Task::Get(Get { manifest: Some(manifest), rest, got: Vec::new() }));
        for _ in 0..NEEDED {
            self.get_more(task);
        }
        self.wait(task, 2_000);
    }

    /// One more shard is asked for; `false` if there is none.
    fn get_more(&mut self, task: u64) -> bool {
        let Some(running) = self.tasks.get_mut(&task) else { return false };
        let Task::Get(get) = &mut running.task else { return false };
        let (Some(manifest), Some(index)) = (&get.manifest, get.rest.pop()) else { return false };
        let node = manifest.rows[usize::from(index)].node;
        let place = Place { content: manifest.content, index, node };
        self.ask(task, place, Ask::Get);
        true
    }

    /// A node answered a get.
    pub fn get_answered(&mut self, task: u64, mut get: Get, place: Place, answer: Answer) {
        let Some(manifest) = get.manifest.clone() else { return };
        match answer {
            Answer::Got(bytes) if self.is_right(&manifest, place.index, bytes) => {
                if get.got.iter().all(|(index, _)| *index != place.index) {
                    get.got.push((place.index, object_of(bytes, place.index)));
                }
                if get.got.len() < NEEDED {
                    self.keep(task, Task::Get(get));
                    return;
                }
                self.tasks.remove(&task);
                self.oracle.read += 1;
                if get.got.iter().any(|(_, object)| *object != manifest.object) {
                    self.oracle.wrong("a client was given wrong bytes");
                }
            }
            _ => {
                self.transact(task, Work::Queue(place.content, place.index));
                self.get_more(task);
            }
        }
    }

    /// Whether bytes are what the root says, if anybody looks.
    pub fn is_right(&self, manifest: &Manifest, index: u8, bytes: Bytes) -> bool {
        root_of(bytes) == root_of(shard_of(manifest.object, index))
            || !self.rules.keep(Rule::ReadsAreVerified)
    }

    /// A get has waited long enough for some shard.
    pub fn get_timer(&mut self, task: u64) {
        if self.get_more(task) {
            self.wait(task, 2_000);
        } else {
            // The connection breaks; nothing wrong was sent.
            self.tasks.remove(&task);
        }
    }
}

/// What placement must keep to.
pub fn placing() -> Placing {
    Placing { parity: (TOTAL - NEEDED) as u8, require: RequireDomains::default() }
}

/// The shards that count.
pub fn stored(manifest: &Manifest) -> Vec<u8> {
    let rows = manifest.rows.iter().enumerate();
    let stored = rows.filter(|(_, row)| row.state == super::database::Shard::Stored);
    stored.map(|(index, _)| index as u8).collect()
}
