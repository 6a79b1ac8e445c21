//! Contents that are given up and collected, shards that are late, lost and
//! repaired, and the places that they change.

use super::*;

impl Pair {
    pub(super) async fn give_up(&mut self, a: u8, b: u8) -> Result<(), Differs> {
        let not_before = self.now + 100;
        match b {
            0..20 => {
                let real = self.meta.abandon_all(not_before).await.unwrap();
                let model = self.reference.abandon_below(Millis::MAX, not_before);
                same("give up all", real, model)
            }
            20..120 => {
                let real = self.meta.abandon_expired(self.now, 100).await.unwrap();
                let model = self.reference.abandon_below(self.now, not_before);
                same("give up what expired", real, model)
            }
            _ => {
                let Some(content) = self.recent(a) else { return Ok(()) };
                let real = self.meta.abandon(content, not_before).await.unwrap();
                same("give up", real, self.reference.abandon(content, not_before))
            }
        }
    }

    pub(super) async fn collect(&mut self, a: u8, b: u8) -> Result<(), Differs> {
        let mut real = self.meta.condemned(self.now, 10_000).await.unwrap();
        real.sort_by_key(|condemned| condemned.content);
        for condemned in &mut real {
            condemned.shards.sort();
        }
        let model = self.reference.condemned(self.now);
        same("condemned", &real, &model)?;
        let some: Vec<ContentId> = match b {
            // Sometimes what is not condemned.
            0..30 => self.recent(a).into_iter().collect(),
            _ => model.iter().map(|condemned| condemned.content).take(2).collect(),
        };
        if b & 3 == 3 {
            self.meta.postpone(some.clone(), self.now + 500).await.unwrap();
            self.reference.postpone(&some, self.now + 500);
            return Ok(());
        }
        same("forget", self.meta.forget(some.clone()).await, self.reference.forget(&some))
    }

    pub(super) async fn late(&mut self, a: u8, b: u8, c: u8) -> Result<(), Differs> {
        let Some(content) = self.recent(a) else { return Ok(()) };
        let stored = self.stored(content, 0, 0, c);
        let Some(stored) = pick(&stored.shards, b) else { return Ok(()) };
        let id = segment(content, 0);
        self.meta.late_shard(ANN, id, stored.clone()).await.unwrap();
        self.reference.late_shard(id, &stored);
        Ok(())
    }

    pub(super) async fn repair(&mut self, a: u8, b: u8, c: u8) -> Result<(), Differs> {
        let at = node(b % 5);
        let Some(content) = self.recent(a) else { return Ok(()) };
        let (id, index) = (segment(content, 0), c % SHARDS);
        match b / 5 % 5 {
            0 => {
                self.meta.queue_repair(id, index, self.now).await.unwrap();
                self.reference.queue_repair(id, index);
                Ok(())
            }
            1 => {
                let real = self.meta.lose_shard(id, index, at, self.now).await.unwrap();
                same("lose a shard", real, self.reference.lose_shard(id, index, at))
            }
            2 => {
                let real = self.meta.queue_node(at, c & 1 == 0, self.now).await.unwrap();
                same("queue a node", real, self.reference.queue_node(at, c & 1 == 0))
            }
            3 => {
                let real = self.meta.unqueue_node(at).await.unwrap();
                same("unqueue a node", real, self.reference.unqueue_node(at))
            }
            _ => {
                let known = self.reference.shard_mut(id, index).map_or(0, |row| row.generation);
                let generation = known - i64::from(a & 64 != 0);
                self.meta.unqueue(id, index, generation).await.unwrap();
                self.reference.unqueue(id, index, generation);
                Ok(())
            }
        }
    }

    pub(super) async fn place(&mut self, a: u8, b: u8, c: u8, d: u8) -> Result<(), Differs> {
        let Some(content) = self.recent(a) else { return Ok(()) };
        let (at, shard) =
            (node(b % 5), ShardId { segment: segment(content, 0), index: c % SHARDS });
        match d % 6 {
            0 | 1 => {
                let lease = self.now + 1_000;
                let real = self.meta.promise_place(at, shard, lease).await.unwrap();
                same("promise", real, self.reference.promise_place(at, shard, lease))?;
                if d & 64 == 0 { self.settle(content, at, shard, d).await } else { Ok(()) }
            }
            2 | 3 => self.settle(content, at, shard, d).await,
            4 => {
                let not_before = self.now + 50;
                let use_ = if d & 64 == 0 { Use::Doomed } else { Use::Returned };
                match use_ {
                    Use::Returned => self.meta.return_place(at, shard, not_before).await.unwrap(),
                    _ => self.meta.leave_place(at, shard, not_before).await.unwrap(),
                }
                self.reference.end_promise(at, shard, use_, not_before);
                Ok(())
            }
            _ => {
                let real = self.meta.take_leftovers(self.now, 10_000).await.unwrap();
                let mut real: Vec<_> = real.into_iter().map(|l| (l.node, l.shard)).collect();
                real.sort();
                let model = self.reference.take_leftovers(self.now);
                same("leftovers", &real, &model)?;
                for (node, shard) in model.into_iter().filter(|_| d & 128 != 0) {
                    let gone = vec![Leftover { node, shard }];
                    self.meta.forget_leftovers(gone).await.unwrap();
                    self.reference.forget_leftover(node, shard);
                }
                Ok(())
            }
        }
    }

    /// A repair commits, mostly with the generation that is there.
    pub(super) async fn settle(
        &mut self,
        content: ContentId,
        at: NodeId,
        shard: ShardId,
        d: u8,
    ) -> Result<(), Differs> {
        let row = self.reference.shard_mut(shard.segment, shard.index);
        let known = row.map(|row| row.generation);
        let generation = if d & 32 != 0 && d & 16 != 0 { known.map(|g| g - 1) } else { known };
        let incarnation = if d == 200 { Incarnation([9; 16]) } else { self.reference.nodes[&at] };
        let index = shard.index;
        let placed = PlacedShard { index, node: at, root: Root([index + 1; 32]), len: 77 };
        let promised = self.reference.leftovers.get(&(at, shard.segment, index));
        let lease = promised.map_or(0, |row| row.not_before) + Millis::from(d % 16 == 15);
        let replaced = Replaced {
            content,
            account: ANN,
            segment: shard.segment,
            generation,
            stored: StoredShard { placed, incarnation },
            lease,
            not_before: self.now + 200,
        };
        if !self.reference.contents.get(&content).is_some_and(|row| row.segments.contains_key(&0)) {
            return Ok(());
        }
        let real = self.meta.settle_place(replaced.clone()).await.unwrap();
        same("settle", real, self.reference.settle_place(&replaced))
    }
}
