//! What gateways do by themselves: watch, repair, collect and audit. And where
//! each answer goes.

use std::collections::{BTreeMap, BTreeSet};

use gateway::object::health::{Slot, Standing, plan};
use gateway::object::placement::replace;

use super::clients::{DOWN, Told, Work, placing};
use super::database::{Manifest, Place, Shard};
use super::world::{Answer, Ask, Errand, Event, Task, World};
use super::{Bytes, Clock, ContentNo, NEEDED, NODES, NodeNo, TOTAL, Time, node_no};
use super::{object_of, scheme, segment_id, shard_of};

/// A node that was silent for so long has its shards rebuilt elsewhere.
const ABSENT: Time = 120_000;
/// Failed audits after which a node is not trusted any more.
const STRIKES: u32 = 4;
/// How long a promised place is kept.
const PROMISE: Clock = 60_000;

/// A look at all nodes.
#[derive(Clone, Debug)]
pub struct Watch;

/// A repair.
#[derive(Clone, Debug)]
pub enum Repair {
    /// It waits to be told what is damaged.
    Asking,
    /// It looks at a doubtful shard.
    Verifying(Manifest, u8),
    /// It waits for its place.
    Promising(Box<Rebuild>),
    /// It reads the others.
    Reading(Box<Rebuild>),
    /// The shard is on its way.
    Storing(Box<Rebuild>),
    /// It waits for its commit.
    Settling,
}

/// A shard that is computed anew.
#[derive(Clone, Debug)]
pub struct Rebuild {
    manifest: Manifest,
    place: Place,
    promise: u64,
    sources: Vec<u8>,
    got: BTreeMap<u8, Bytes>,
}

/// A round of collection: what was not answered yet.
#[derive(Clone, Debug, Default)]
pub struct Collect {
    leftovers: BTreeSet<Place>,
    contents: BTreeMap<ContentNo, u8>,
}

/// An audit.
#[derive(Clone, Debug)]
pub enum Audit {
    /// It waits to be told what to ask for.
    Asking,
    /// It waits for the node.
    Proving(Manifest, u8),
    /// It waits whether the node should have had it.
    Judging(NodeNo),
}

impl World {
    /// A gateway begins something, and will again.
    pub fn begin(&mut self, gateway: usize, errand: Errand) {
        let again = match errand {
            Errand::Client => self.random.between(500, 4_000),
            Errand::Watch => 10_000,
            Errand::Repair => self.random.between(1_000, 3_000),
            Errand::Collect => self.random.between(5_000, 15_000),
            Errand::Audit => self.random.between(2_000, 8_000),
        };
        self.after(again, Event::Begin(gateway, errand));
        if !self.gateways[gateway].is_up {
            return;
        }
        match errand {
            Errand::Client if self.is_busy() => self.begin_client(gateway),
            Errand::Client => {}
            Errand::Watch => {
                let task = self.spawn(gateway, Task::Watch(Watch));
                for node in 0..NODES as NodeNo {
                    self.ask(task, Place { content: 0, index: 0, node }, Ask::Status);
                }
                self.wait(task, 5_000);
            }
            Errand::Repair => {
                let task = self.spawn(gateway, Task::Repair(Repair::Asking));
                let number = self.random.bits();
                self.transact(task, Work::PickDamaged(number));
                self.wait(task, 5_000);
            }
            Errand::Collect => {
                let task = self.spawn(gateway, Task::Collect(Collect::default()));
                let now = self.clock(gateway);
                self.transact(task, Work::AbandonExpired(now));
                self.transact(task, Work::TakeLeftovers(now));
                self.transact(task, Work::Condemned(now));
                self.wait(task, 20_000);
            }
            Errand::Audit => {
                let task = self.spawn(gateway, Task::Audit(Audit::Asking));
                let number = self.random.bits();
                self.transact(task, Work::PickStored(number));
                self.wait(task, 5_000);
            }
        }
    }

    /// A transaction reaches the database.
    pub fn at_database(&mut self, task: u64, work: Work) {
        if self.faults.outage {
            return;
        }
        let told = self.execute(work);
        if self.random.chance(self.faults.lost_replies) {
            return;
        }
        let delay = self.random.between(1, 5);
        self.after(delay, Event::FromDatabase(task, told));
    }

    fn execute(&mut self, work: Work) -> Told {
        let (rules, database) = (self.rules, &mut self.database);
        match work {
            Work::Intend { content, object, places, lease } => {
                database.intend(content, object, places, lease);
            }
            Work::Commit(commit) => return Told::Yes(database.commit(rules, &commit)),
            Work::Resolve(content, now) => {
                return Told::Fate(database.resolve(rules, content, now));
            }
            Work::Late(Place { content, index, node }, life) => {
                database.late(rules, content, index, node, life);
            }
            Work::Read(key) => return Told::Manifest(database.read(key)),
            Work::Delete(key, now) => database.delete(rules, key, now),
            Work::Copy(content, key, now) => {
                return Told::Yes(database.copy(rules, content, key, now));
            }
            Work::See(node, life) => database.see(node, life),
            Work::PickDamaged(number) => {
                let damaged = database.damaged();
                let at = number as usize % damaged.len().max(1);
                let found = damaged.get(at).and_then(|content| database.manifest(*content));
                return Told::Manifest(found);
            }
            Work::PickStored(number) => {
                let visible: Vec<ContentNo> = database.keys.values().copied().collect();
                let at = number as usize % visible.len().max(1);
                let found = visible.get(at).and_then(|content| database.manifest(*content));
                return Told::Manifest(found);
            }
            Work::Queue(content, index) => {
                if database.contents.contains_key(&content) {
                    database.repairs.insert((content, index), false);
                }
            }
            Work::Unqueue(content, index) => drop(database.repairs.remove(&(content, index))),
            Work::Lose(Place { content, index, node }, life) => {
                return Told::Yes(database.lose(content, index, node, life));
            }
            Work::Strike(node) => database.strike(node, STRIKES),
            Work::QueueNode(node) => database.queue_node(node, true),
            Work::UnqueueNode(node) => database.unqueue_node(node),
            Work::Promise(place, promise, lease) => {
                return Told::Yes(database.promise(place, promise, lease));
            }
            Work::Settle { place, promise, generation, life, now } => {
                let settled = database.settle(rules, place, (promise, generation), life, now);
                return Told::Yes(settled);
            }
            Work::Leave(place, not_before) => database.leave(place, not_before),
            Work::AbandonExpired(now) => database.abandon_expired(now),
            Work::TakeLeftovers(now) => return Told::Places(database.take_leftovers(rules, now)),
            Work::ForgetLeftover(place) => database.forget_leftover(place),
            Work::Condemned(now) => return Told::Condemned(database.condemned(now)),
            Work::Forget(content) => database.forget(content),
            Work::Postpone(content, not_before) => database.postpone(content, not_before),
        }
        Told::Yes(true)
    }

    /// The database's answer reaches a task.
    pub fn from_database(&mut self, task: u64, told: Told) {
        let Some(running) = self.tasks.get(&task).cloned() else { return };
        match (running.task, told) {
            (Task::Put(put), told) => self.put_told(task, put, &told),
            (Task::Get(_), Told::Manifest(Some(manifest))) => self.get_told(task, manifest),
            (Task::Copy(to), Told::Manifest(Some(manifest))) => {
                let now = self.clock(running.gateway);
                let work = Work::Copy(manifest.content, to, now);
                let delay = self.random.below(8_000);
                self.after(delay, Event::AtDatabase(task, work));
            }
            (Task::Repair(repair), told) => self.repair_told(task, repair, told),
            (Task::Collect(collect), told) => self.collect_told(task, collect, told),
            (Task::Audit(audit), told) => self.audit_told(task, audit, told),
            (Task::Get(_) | Task::Copy(_), Told::Manifest(None)) | (Task::Delete, _) => {
                self.tasks.remove(&task);
            }
            _ => {}
        }
    }

    /// A node's answer reaches a task.
    pub fn from_node(&mut self, task: u64, node: NodeNo, place: Place, answer: Answer, life: u32) {
        let Some(running) = self.tasks.get(&task).cloned() else { return };
        match running.task {
            Task::Put(put) if matches!(answer, Answer::Stored) => {
                self.put_stored(task, put, place, life);
            }
            Task::Get(get) => self.get_answered(task, get, place, answer),
            Task::Watch(_) => {
                self.gateways[running.gateway].seen[usize::from(node)] = self.now;
                if life > self.database.lives[usize::from(node)] {
                    self.transact(task, Work::See(node, life));
                }
            }
            Task::Repair(repair) => self.repair_answered(task, repair, place, answer, life),
            Task::Collect(collect) => self.collect_answered(task, collect, place),
            Task::Audit(Audit::Proving(manifest, index)) => {
                self.audit_answered(task, &manifest, index, node, answer, life);
            }
            _ => {}
        }
    }

    /// A task has waited long enough.
    pub fn timer(&mut self, task: u64) {
        let Some(running) = self.tasks.get(&task).cloned() else { return };
        match running.task {
            Task::Put(put) => self.put_timer(task, put),
            Task::Get(_) => self.get_timer(task),
            Task::Watch(_) => {
                self.watch_timer(task, running.gateway);
                self.tasks.remove(&task);
            }
            Task::Repair(repair) => {
                if let Repair::Promising(rebuild)
                | Repair::Reading(rebuild)
                | Repair::Storing(rebuild) = repair
                {
                    let not_before = self.clock(running.gateway) + PROMISE;
                    self.transact(task, Work::Leave(rebuild.place, not_before));
                }
                self.tasks.remove(&task);
            }
            Task::Collect(collect) => {
                let later = self.clock(running.gateway) + 20_000;
                for content in collect.contents.into_keys() {
                    self.transact(task, Work::Postpone(content, later));
                }
                self.tasks.remove(&task);
            }
            Task::Delete | Task::Copy(_) | Task::Audit(_) => drop(self.tasks.remove(&task)),
        }
    }

    fn watch_timer(&mut self, task: u64, gateway: usize) {
        for node in 0..NODES {
            let state = &mut self.gateways[gateway];
            let silent = self.now - state.seen[node];
            let is_absent = silent > ABSENT;
            if is_absent != std::mem::replace(&mut state.absent[node], is_absent) {
                let node = node as NodeNo;
                let work = if is_absent { Work::QueueNode(node) } else { Work::UnqueueNode(node) };
                self.transact(task, work);
            }
        }
    }

    fn standing(&self, gateway: usize, node: NodeNo) -> Standing {
        let silent = self.now - self.gateways[gateway].seen[usize::from(node)];
        match () {
            () if self.database.disqualified.contains(&node) => Standing::Gone,
            () if silent <= DOWN => Standing::Up,
            () if silent <= ABSENT => Standing::Down,
            () => Standing::Absent,
        }
    }

    fn repair_told(&mut self, task: u64, repair: Repair, told: Told) {
        match (repair, told) {
            (Repair::Asking, Told::Manifest(Some(manifest))) => self.plan_repair(task, manifest),
            (Repair::Asking, Told::Manifest(None)) => drop(self.tasks.remove(&task)),
            (Repair::Promising(rebuild), Told::Yes(true)) => {
                for index in &rebuild.sources {
                    let node = rebuild.manifest.rows[usize::from(*index)].node;
                    let place = Place { content: rebuild.place.content, index: *index, node };
                    self.ask(task, place, Ask::Get);
                }
                self.keep(task, Task::Repair(Repair::Reading(rebuild)));
                self.wait(task, 10_000);
            }
            (Repair::Promising(_), Told::Yes(false)) => drop(self.tasks.remove(&task)),
            (Repair::Settling, Told::Yes(settled)) => {
                self.oracle.repaired += u64::from(settled);
                self.check_lost();
                self.tasks.remove(&task);
            }
            _ => {}
        }
    }

    fn plan_repair(&mut self, task: u64, manifest: Manifest) {
        let gateway = self.tasks[&task].gateway;
        let slots: Vec<Slot> = (0..TOTAL as u8)
            .map(|index| {
                let row = manifest.rows[usize::from(index)];
                let life = self.database.lives[usize::from(row.node)];
                Slot {
                    doubtful: false,
                    index,
                    stored: row.state == Shard::Stored && row.life == life,
                    queued: manifest.queued.contains(&index),
                    standing: self.standing(gateway, row.node),
                }
            })
            .collect();
        let plan = plan(scheme(), &slots);
        for index in &manifest.queued {
            let doubted = [&plan.verify, &plan.rebuild, &plan.waiting];
            if doubted.iter().all(|list| !list.contains(index)) {
                self.transact(task, Work::Unqueue(manifest.content, *index));
            }
        }
        if let Some(index) = self.random.pick(&plan.verify) {
            let node = manifest.rows[usize::from(index)].node;
            self.ask(task, Place { content: manifest.content, index, node }, Ask::Get);
            self.keep(task, Task::Repair(Repair::Verifying(manifest, index)));
            self.wait(task, 10_000);
            return;
        }
        let Some(index) = self.random.pick(&plan.rebuild) else {
            self.tasks.remove(&task);
            return;
        };
        let placed: Vec<_> = slots
            .iter()
            .filter(|slot| slot.stored && !plan.rebuild.contains(&slot.index))
            .map(|slot| self.candidate(manifest.rows[usize::from(slot.index)].node))
            .collect();
        let content = manifest.content;
        let open = self.candidates(gateway);
        let found = replace(segment_id(content), placing(), &placed, &open);
        let Some((node, _)) = found.filter(|_| plan.sources.len() >= NEEDED) else {
            self.tasks.remove(&task);
            return;
        };
        let promise = self.number();
        let place = Place { content, index, node: node_no(node) };
        let lease = self.clock(gateway) + PROMISE;
        self.transact(task, Work::Promise(place, promise, lease));
        let (sources, got) = (plan.sources, BTreeMap::new());
        let rebuild = Box::new(Rebuild { manifest, place, promise, sources, got });
        self.keep(task, Task::Repair(Repair::Promising(rebuild)));
        self.wait(task, 5_000);
    }

    fn repair_answered(
        &mut self,
        task: u64,
        repair: Repair,
        place: Place,
        answer: Answer,
        life: u32,
    ) {
        match (repair, answer) {
            (Repair::Verifying(manifest, index), answer) if place.index == index => {
                let is_sound = matches!(answer, Answer::Got(bytes)
                                        if self.is_right(&manifest, index, bytes));
                let work = if is_sound {
                    Work::Unqueue(manifest.content, index)
                } else {
                    Work::Lose(place, life)
                };
                self.transact(task, work);
                self.tasks.remove(&task);
            }
            (Repair::Reading(mut rebuild), Answer::Got(bytes)) => {
                if self.is_right(&rebuild.manifest, place.index, bytes) {
                    rebuild.got.insert(place.index, object_of(bytes, place.index));
                }
                if rebuild.got.len() < NEEDED {
                    self.keep(task, Task::Repair(Repair::Reading(rebuild)));
                    return;
                }
                let object = *rebuild.got.values().next().expect("there are enough");
                self.ask(task, rebuild.place, Ask::Put(shard_of(object, rebuild.place.index)));
                self.keep(task, Task::Repair(Repair::Storing(rebuild)));
                self.wait(task, 10_000);
            }
            (Repair::Storing(rebuild), Answer::Stored) if place == rebuild.place => {
                let row = rebuild.manifest.rows[usize::from(place.index)];
                let now = self.clock(self.tasks[&task].gateway);
                let (promise, generation) = (rebuild.promise, row.generation);
                self.transact(task, Work::Settle { place, promise, generation, life, now });
                self.keep(task, Task::Repair(Repair::Settling));
                self.wait(task, 5_000);
            }
            _ => {}
        }
    }

    fn collect_told(&mut self, task: u64, mut collect: Collect, told: Told) {
        match told {
            Told::Places(places) => {
                for place in places {
                    collect.leftovers.insert(place);
                    self.ask(task, place, Ask::Delete);
                }
            }
            Told::Condemned(contents) => {
                for (content, nodes) in contents {
                    collect.contents.insert(content, (1 << TOTAL) - 1);
                    for (index, node) in nodes.into_iter().enumerate() {
                        self.ask(task, Place { content, index: index as u8, node }, Ask::Delete);
                    }
                }
            }
            _ => return,
        }
        self.keep(task, Task::Collect(collect));
    }

    fn collect_answered(&mut self, task: u64, mut collect: Collect, place: Place) {
        if collect.leftovers.remove(&place) {
            self.transact(task, Work::ForgetLeftover(place));
        } else if let Some(left) = collect.contents.get_mut(&place.content) {
            *left &= !(1 << place.index);
            if *left == 0 {
                collect.contents.remove(&place.content);
                self.transact(task, Work::Forget(place.content));
            }
        }
        self.keep(task, Task::Collect(collect));
    }

    fn audit_told(&mut self, task: u64, audit: Audit, told: Told) {
        match (audit, told) {
            (Audit::Asking, Told::Manifest(Some(manifest))) => {
                let stored = super::clients::stored(&manifest);
                let Some(index) = self.random.pick(&stored) else { return };
                let node = manifest.rows[usize::from(index)].node;
                self.ask(task, Place { content: manifest.content, index, node }, Ask::Get);
                self.keep(task, Task::Audit(Audit::Proving(manifest, index)));
                self.wait(task, 10_000);
            }
            (Audit::Judging(node), Told::Yes(should_have)) => {
                if should_have {
                    self.transact(task, Work::Strike(node));
                }
                self.tasks.remove(&task);
            }
            _ => {}
        }
    }

    fn audit_answered(
        &mut self,
        task: u64,
        manifest: &Manifest,
        index: u8,
        node: NodeNo,
        answer: Answer,
        life: u32,
    ) {
        let is_sound =
            matches!(answer, Answer::Got(bytes) if self.is_right(manifest, index, bytes));
        if is_sound {
            self.tasks.remove(&task);
            return;
        }
        let place = Place { content: manifest.content, index, node };
        self.transact(task, Work::Lose(place, life));
        self.keep(task, Task::Audit(Audit::Judging(node)));
        self.wait(task, 5_000);
    }
}
