//! What eight bytes mean.

mod shards;
mod uploads;

use protocol::ShardId;

use super::super::reference::{UploadState, Use, VersionRow};
use super::*;

/// How often each kind of step comes, of 256.
const KINDS: [(u8, Kind); 21] = [
    (6, Kind::Bucket),
    (40, Kind::Intend),
    (10, Kind::Keep),
    (44, Kind::Commit),
    (14, Kind::Copy),
    (26, Kind::Delete),
    (4, Kind::Decide),
    (4, Kind::DeleteDecided),
    (8, Kind::Change),
    (5, Kind::Rename),
    (10, Kind::Begin),
    (18, Kind::Part),
    (8, Kind::Complete),
    (3, Kind::Abort),
    (8, Kind::GiveUp),
    (8, Kind::Collect),
    (6, Kind::Wipe),
    (6, Kind::Late),
    (8, Kind::Repair),
    (10, Kind::Place),
    (10, Kind::List),
];

#[derive(Clone, Copy, Debug)]
enum Kind {
    Bucket,
    Intend,
    Keep,
    Commit,
    Copy,
    Delete,
    Decide,
    DeleteDecided,
    Change,
    Rename,
    Begin,
    Part,
    Complete,
    Abort,
    GiveUp,
    Collect,
    Wipe,
    Late,
    Repair,
    Place,
    List,
}

fn kind_of(byte: u8) -> Kind {
    let mut rest = u32::from(byte);
    for (weight, kind) in KINDS {
        match rest.checked_sub(u32::from(weight)) {
            None => return kind,
            Some(less) => rest = less,
        }
    }
    Kind::List
}

/// One of several; none of none.
fn pick<T: Clone>(from: &[T], byte: u8) -> Option<T> {
    (!from.is_empty()).then(|| from[usize::from(byte) % from.len()].clone())
}

impl Pair {
    /// One step on both sides.
    pub(super) async fn step(&mut self, step: Step) -> Result<(), Differs> {
        let [kind, a, b, c, d, e, ..] = step;
        // Clocks mostly go on, and sometimes back.
        self.now += i64::from(step[7]) * 20 - 400;
        let kind = kind_of(kind);
        self.trace.push(format!("{kind:?} {:?} at {}", &step[1..], self.now));
        match kind {
            Kind::Bucket => self.bucket(a, b).await,
            Kind::Intend => self.intend(a, b).await,
            Kind::Keep => self.keep(a, b, c).await,
            Kind::Commit => {
                let Some(content) = self.recent(a) else { return Ok(()) };
                let placed = self.written(content, b, c);
                self.commit(placed, d, e, step[6]).await
            }
            Kind::Copy => {
                let rows = &self.reference.versions;
                let Some(row) = pick(rows, a) else { return Ok(()) };
                let Some(part) = pick(&row.parts, b) else { return Ok(()) };
                self.commit(Placed::Shared(Part { number: 1, ..part }), d, e, step[6]).await
            }
            Kind::Delete => self.delete(a, b, c).await,
            Kind::Decide => self.decide(a, b, c).await,
            Kind::DeleteDecided => self.delete_decided(a).await,
            Kind::Change => self.change(a, b, c).await,
            Kind::Rename => self.rename(a, b, c, d).await,
            Kind::Begin => self.begin(a, b).await,
            Kind::Part => self.part(step).await,
            Kind::Complete => self.complete(a, b, c, d).await,
            Kind::Abort => self.abort(a, b).await,
            Kind::GiveUp => self.give_up(a, b).await,
            Kind::Collect => self.collect(a, b).await,
            Kind::Wipe => {
                self.see_node(a % 5, b % 3).await;
                Ok(())
            }
            Kind::Late => self.late(a, b, c).await,
            Kind::Repair => self.repair(a, b, c).await,
            Kind::Place => self.place(a, b, c, d).await,
            Kind::List => self.list(a, b, c, d).await,
        }
    }

    fn bucket_of(&self, byte: u8) -> i64 {
        self.buckets[usize::from(byte & 7 == 7)]
    }

    fn key_of(&self, byte: u8) -> Vec<u8> {
        KEYS[usize::from(byte) % KEYS.len()].into()
    }

    /// A content that was made lately, or any.
    fn recent(&self, byte: u8) -> Option<ContentId> {
        let from = self.contents.len().saturating_sub(if byte < 200 { 3 } else { 100 });
        pick(&self.contents[from..], byte)
    }

    async fn bucket(&mut self, a: u8, b: u8) -> Result<(), Differs> {
        let which = usize::from(a & 1);
        let id = self.buckets[which];
        let is_there = self.reference.buckets.contains_key(&id);
        if !is_there || b < 20 {
            return self.create(which, b).await;
        }
        if b < 60 {
            let real = self.meta.delete_bucket(id, self.now + 100).await;
            return same("delete a bucket", real, self.reference.delete_bucket(id, self.now + 100));
        }
        let state = if b & 1 == 0 { Versioning::Enabled } else { Versioning::Suspended };
        let real = self.meta.set_versioning(id, state).await;
        same("versioning", real, self.reference.set_versioning(id, state))
    }

    async fn create(&mut self, which: usize, b: u8) -> Result<(), Differs> {
        let name = ["photos", "letters"][which];
        let mut config = BucketConfig::default();
        let is_locked = b & 7 == 7;
        if is_locked {
            config.object_lock = Some(s3s::dto::ObjectLockConfiguration::default());
        }
        let new = NewBucket {
            name: name.into(),
            account: ANN,
            wrapped_key: vec![1],
            config,
            now_ms: self.now,
        };
        let real = self.meta.create_bucket(new).await;
        let id = self.meta.bucket(name).await.unwrap().id;
        same("make a bucket", real, self.reference.create_bucket(name, is_locked, id))?;
        self.buckets[which] = id;
        Ok(())
    }

    async fn intend(&mut self, a: u8, b: u8) -> Result<(), Differs> {
        // Mostly a new content, sometimes the next segment of one.
        let known = self.recent(b).filter(|_| a & 3 == 3);
        let (content, ordinal) = match known {
            Some(content) => {
                let row = self.reference.contents.get(&content);
                let segments = row.map_or(0, |row| row.segments.len());
                if segments != 1 {
                    return Ok(());
                }
                (content, 1)
            }
            None => {
                let mut id = [0; 16];
                id[..4].copy_from_slice(&(self.contents.len() as u32).to_le_bytes());
                (ContentId(id), 0)
            }
        };
        let nodes = (0..SHARDS).map(|index| {
            let at = (a / 4 + index) % 5;
            let place = (node(at), self.reference.nodes[&node(at)]);
            (b != index).then_some(place)
        });
        let intent = Intent {
            content,
            account: ANN,
            scheme: "2+2".parse().unwrap(),
            codec: CodecId::RsVandermonde8,
            key_commit: [7; 32],
            ordinal,
            segment: segment(content, ordinal),
            nodes: nodes.collect(),
            lease_ms: self.now + 2_000,
        };
        let real = self.meta.intend(intent.clone()).await;
        same("intend", real, self.reference.intend(&intent))?;
        if ordinal == 0 {
            self.contents.push(content);
        }
        Ok(())
    }

    /// What the nodes answered: most stored their shard, some in another life.
    fn stored(&self, content: ContentId, ordinal: u32, mask: u8, lie: u8) -> StoredSegment {
        let id = segment(content, ordinal);
        let row = self.reference.contents.get(&content);
        let places = row.and_then(|row| row.segments.get(&ordinal)).map(|segment| &segment.shards);
        let mut shards = Vec::new();
        for (index, shard) in places.into_iter().flatten() {
            if mask & 3 == 3 && mask / 4 % SHARDS == *index {
                continue;
            }
            let is_other = lie < 24 && lie % SHARDS == *index;
            let at = if is_other && lie & 8 != 0 { node(4) } else { shard.node };
            let life = self.reference.nodes[&at];
            let incarnation = if is_other { Incarnation([9; 16]) } else { life };
            let root = Root([*index + 1; 32]);
            let placed = PlacedShard { index: *index, node: at, root, len: 10 + u64::from(*index) };
            shards.push(StoredShard { placed, incarnation });
        }
        StoredSegment { id, len: 20, shards }
    }

    async fn keep(&mut self, a: u8, b: u8, c: u8) -> Result<(), Differs> {
        let Some(content) = self.recent(a) else { return Ok(()) };
        let stored = self.stored(content, 0, b, c);
        let real = self.meta.keep_segment(content, ANN, stored.clone()).await;
        let model = self.reference.transaction(|all| all.keep_segment(content, &stored));
        same("keep a segment", real, model)
    }

    /// A content as it is handed to a commit.
    fn written(&mut self, content: ContentId, b: u8, c: u8) -> Placed {
        let row = self.reference.contents.get(&content);
        let segments = row.map_or(1, |row| row.segments.len().max(1)) as u32;
        let mut written = Written {
            content,
            account: ANN,
            size: 10 + u64::from(c & 3),
            key_commit: [7; 32],
            scheme: "2+2".parse().unwrap(),
            codec: CodecId::RsVandermonde8,
            inline: None,
            last_segment: Some(self.stored(content, segments - 1, b, c)),
            segments: if c == 255 { 3 } else { segments },
            quorum: LEAST,
        };
        if b >= 240 {
            let mut id = [0xee; 16];
            id[..4].copy_from_slice(&(self.contents.len() as u32).to_le_bytes());
            written.content = ContentId(id);
            written.inline = Some(vec![b, c]);
            written.last_segment = None;
            self.contents.push(written.content);
        }
        let part = Part {
            number: 1,
            content: written.content,
            size: written.size,
            wrapped_key: vec![b],
            etag: format!("tag{}", c & 3),
            checksum: None,
        };
        Placed::Written(Box::new(written), part)
    }

    async fn commit(&mut self, placed: Placed, d: u8, e: u8, f: u8) -> Result<(), Differs> {
        let (Placed::Written(_, part) | Placed::Shared(part)) = &placed;
        let retention = match f {
            0..4 => Some((LockMode::Governance, self.now + 3_000)),
            4..8 => Some((LockMode::Compliance, self.now + 3_000)),
            _ => None,
        };
        let new = NewVersion {
            bucket: self.bucket_of(d),
            key: self.key_of(e),
            size: if f == 100 { part.size + 1 } else { part.size },
            etag: part.etag.clone(),
            attributes: Attributes::default(),
            owner: Some(ANN),
            lock: Lock { retention, legal_hold: f == 9 },
            entropy: u64::from(f),
            parts: vec![placed],
            precondition: precondition(d),
            events: Vec::new(),
            now_ms: self.now,
            grace_ms: 100,
        };
        let real = self.meta.commit(new.clone()).await.map(|v| Version { id: 0, ..v });
        same("commit", real, self.reference.commit(&new))
    }

    /// A version of a key, if any, or one that never was.
    fn version_id(&self, bucket: i64, key: &[u8], byte: u8) -> Option<String> {
        let of_key = |row: &&VersionRow| row.bucket == bucket && row.key == key;
        let rows = self.reference.versions.iter().filter(of_key);
        let ids: Vec<String> = rows.map(|row| row.version.version_id.clone()).collect();
        match byte & 3 {
            0 | 1 => None,
            2 => pick(&ids, byte / 4),
            _ => pick(&ids, byte / 4).or_else(|| Some("null".into())),
        }
    }

    fn delete_request(&self, a: u8, b: u8, c: u8) -> DeleteRequest {
        let (bucket, key) = (self.bucket_of(a), self.key_of(b));
        let version_id = self.version_id(bucket, &key, c);
        let condition = match c {
            0..10 => DeleteCondition { etag: Some("tag1".into()), ..Default::default() },
            10..14 => DeleteCondition { etag: Some("*".into()), ..Default::default() },
            14..20 => DeleteCondition { size: Some(11), ..Default::default() },
            20..24 => DeleteCondition { modified_s: Some(self.now / 1000), ..Default::default() },
            _ => DeleteCondition::default(),
        };
        DeleteRequest {
            bucket,
            key,
            version_id,
            condition,
            decided: None,
            events: Vec::new(),
            bypass_governance: a & 32 != 0,
            owner: Some(ANN),
            entropy: u64::from(b),
            now_ms: self.now,
            grace_ms: 100,
        }
    }

    async fn delete(&mut self, a: u8, b: u8, c: u8) -> Result<(), Differs> {
        let request = self.delete_request(a, b, c);
        let real = self.meta.delete(request.clone()).await;
        same("delete", real, self.reference.delete(&request, None))
    }

    /// A loop looks at a version and will want to delete it.
    async fn decide(&mut self, a: u8, b: u8, c: u8) -> Result<(), Differs> {
        let request = self.delete_request(a, b, c);
        let (bucket, key, id) = (request.bucket, request.key, request.version_id);
        let found = self.meta.find_version(bucket, &key, id.as_deref()).await.unwrap();
        let row = self.reference.row(bucket, &key, id.as_deref()).map(|row| row.row);
        let (Some(found), Some(row)) = (found, row) else { return Ok(()) };
        let decided = Decided {
            row: found.id,
            is_latest: found.latest,
            is_alone: a & 64 != 0,
            tags: found.attributes.tags,
        };
        self.decided.push((bucket, key, id, decided, row));
        Ok(())
    }

    async fn delete_decided(&mut self, a: u8) -> Result<(), Differs> {
        let Some((bucket, key, version_id, decided, row)) = pick(&self.decided, a) else {
            return Ok(());
        };
        let plain = self.delete_request(a, 0, 255);
        let request = DeleteRequest { bucket, key, version_id, decided: Some(decided), ..plain };
        let real = self.meta.delete(request.clone()).await;
        same("delete what was decided", real, self.reference.delete(&request, Some(row)))
    }

    async fn change(&mut self, a: u8, b: u8, c: u8) -> Result<(), Differs> {
        let (bucket, key) = (self.bucket_of(a), self.key_of(b));
        let id = self.version_id(bucket, &key, c);
        let change = move |version: &mut Version| match c % 3 {
            0 => version.attributes.tags = vec![("colour".into(), format!("{c}"))],
            1 => version.lock.legal_hold = !version.lock.legal_hold,
            _ => version.lock.retention = None,
        };
        let real = self.meta.change_version(bucket, key.clone(), id.clone(), move |version| {
            change(version);
            Ok(())
        });
        let real = real.await.map(|version| Version { id: 0, ..version });
        same("change", real, self.reference.change_version(bucket, &key, id.as_deref(), change))
    }

    async fn rename(&mut self, a: u8, b: u8, c: u8, d: u8) -> Result<(), Differs> {
        let request = RenameRequest {
            bucket: self.bucket_of(a),
            from: self.key_of(b),
            to: self.key_of(c),
            source: precondition(d),
            destination: precondition(d.rotate_left(4)),
            now_ms: self.now,
            grace_ms: 100,
        };
        let real = self.meta.rename(request.clone()).await;
        same("rename", real, self.reference.rename(&request))
    }

    async fn list(&mut self, a: u8, b: u8, c: u8, d: u8) -> Result<(), Differs> {
        let prefixes: [&str; 4] = ["", "a", "a/", "c"];
        let markers: [&str; 8] = ["", "", "a", "a/", "a/1", "a/1/", "b", "c"];
        let list = ListQuery {
            bucket: self.bucket_of(a),
            prefix: prefixes[usize::from(b & 3)].into(),
            delimiter: if b & 4 == 0 { "/".into() } else { Vec::new() },
            after: markers[usize::from(c & 7)].into(),
            limit: usize::from(d & 3) + usize::from(d == 255) * 100,
        };
        let page = self.meta.list(&list).await.unwrap();
        let real = (no_rows(page.items), page.prefixes, page.next);
        same("a page", real, self.reference.list(&list))?;

        let key = list.after.clone();
        let after_version = self.version_id(list.bucket, &key, c / 8);
        let query = VersionsQuery { list: list.clone(), after_version };
        let page = self.meta.list_versions(&query).await.unwrap();
        let real = (no_rows(page.items), page.prefixes, page.next);
        same("a page of versions", real, self.reference.list_versions(&query))?;

        let after_id = pick(&self.uploads, c).filter(|_| c & 64 != 0).map(|(id, ..)| id);
        let query = UploadsQuery { list, after_id };
        let page = self.meta.list_uploads(&query).await.unwrap();
        let real = (page.items, page.prefixes, page.next);
        same("a page of uploads", real, self.reference.list_uploads(&query))
    }
}

fn precondition(byte: u8) -> Precondition {
    match byte >> 3 {
        0..3 => Precondition { absent: true, ..Precondition::default() },
        3..5 => Precondition { matches: Some("*".into()), ..Precondition::default() },
        5..7 => Precondition { matches: Some("tag1".into()), ..Precondition::default() },
        7..9 => Precondition { other_than: Some("tag2".into()), ..Precondition::default() },
        _ => Precondition::default(),
    }
}
