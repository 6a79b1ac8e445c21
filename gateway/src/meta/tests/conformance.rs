//! The database against the reference: the same random steps for both, every
//! answer compared, and at the end everything there is.
//!
//! A step is eight bytes, read as what to do and to what; so a sequence comes
//! from a seed, and one that fails is cut down to the steps that matter. Release
//! runs raise `STRATOS_TEST_SCALE`, see docs/testing.md.

mod steps;

use std::fmt::Debug;

use super::reference::Reference;
use super::*;

/// Sequences of a usual run, and steps of each.
const SEQUENCES: u64 = 1_000;
const STEPS: usize = 60;

/// Shards of a content.
const SHARDS: u8 = 4;
const LEAST: u8 = 3;
const KEYS: [&str; 6] = ["a", "a/1", "a/1/x", "a/2", "b", "c/"];

type Step = [u8; 8];

/// Bucket, key, version, what was decided of it, and the version's number.
type DecidedDelete = (i64, Vec<u8>, Option<String>, Decided, u64);

/// Both, and what was made so far.
struct Pair {
    meta: Meta,
    reference: Reference,
    now: Millis,
    contents: Vec<ContentId>,
    uploads: Vec<(String, i64, Vec<u8>)>,
    buckets: [i64; 2],
    decided: Vec<DecidedDelete>,
    trace: Vec<String>,
}

/// What is different.
type Differs = String;

fn same(what: &str, real: impl Debug, model: impl Debug) -> Result<(), Differs> {
    let (real, model) = (format!("{real:?}"), format!("{model:?}"));
    if real == model {
        return Ok(());
    }
    Err(format!("{what}\n  database:  {real}\n  reference: {model}"))
}

impl Pair {
    /// An empty database with five nodes.
    async fn new(meta: &Meta) -> Self {
        clear(meta).await;
        let mut pair = Self {
            meta: meta.clone(),
            reference: Reference::default(),
            now: 1_000_000,
            contents: Vec::new(),
            uploads: Vec::new(),
            buckets: [-1, -2],
            decided: Vec::new(),
            trace: Vec::new(),
        };
        for n in 0..5 {
            pair.see_node(n, 0).await;
        }
        pair
    }

    async fn see_node(&mut self, n: u8, life: u8) {
        let incarnation = Incarnation([life; 16]);
        self.meta.see_node(node(n), incarnation, self.now).await.unwrap();
        self.reference.see_node(node(n), incarnation);
    }

    /// Everything there is, on both sides.
    async fn compare(&self) -> Result<(), Differs> {
        for bucket in self.buckets {
            self.compare_bucket(bucket).await?;
        }
        for content in &self.contents {
            self.compare_content(*content).await?;
        }
        let stored = self.meta.stored().await.unwrap();
        let mut stored: Vec<_> = stored.into_iter().map(|s| (s.node, s.account, s.bytes)).collect();
        stored.sort();
        let model: Vec<_> =
            self.reference.stored().into_iter().map(|((n, a), bytes)| (n, a, bytes)).collect();
        same("bytes that are paid for", stored, model)?;
        let waiting = self.meta.repairs_waiting().await.unwrap();
        same("repairs", waiting, self.reference.repairs.len())?;
        for n in 0..5 {
            let held = self.meta.shards_of_node(node(n), None, 10_000).await.unwrap();
            same("shards of a node", held, self.reference.shards_of_node(node(n)))?;
        }
        Ok(())
    }

    async fn compare_bucket(&self, bucket: i64) -> Result<(), Differs> {
        let list = ListQuery { bucket, limit: 10_000, ..ListQuery::default() };
        let listed = self.meta.list(&list).await.unwrap();
        same("listing", no_rows(listed.items), self.reference.list(&list).0)?;
        let query = VersionsQuery { list: list.clone(), after_version: None };
        let listed = self.meta.list_versions(&query).await.unwrap().items;
        for one in &listed {
            let parts = self.meta.parts(one.version.id).await.unwrap();
            let id = one.version.version_id.as_str();
            let model = self.reference.row(bucket, &one.key, Some(id)).map(|row| &row.parts);
            same("parts", Some(&parts), model)?;
            let found = self.meta.find_version(bucket, &one.key, Some(id)).await.unwrap();
            same("a version", found.as_ref(), Some(&one.version))?;
        }
        same("versions", no_rows(listed), self.reference.list_versions(&query).0)?;
        let query = UploadsQuery { list, after_id: None };
        let open = self.meta.list_uploads(&query).await.unwrap().items;
        same("uploads", open, self.reference.list_uploads(&query).0)
    }

    async fn compare_content(&self, content: ContentId) -> Result<(), Differs> {
        let state = self.meta.content_state(content).await.unwrap();
        same("a content's state", state, self.reference.content_state(content))?;
        same("a content", self.meta.content(content).await, self.reference.content(content))?;
        for ordinal in 0..2 {
            let real = self.meta.segment(content, ordinal).await;
            same("a segment", real, self.reference.segment(content, ordinal))?;
            let real = self.meta.known_segment(segment(content, ordinal)).await.unwrap();
            let real = real.map(|damaged| {
                let known = |s: KnownShard| (s.index, s.node, s.stored, s.generation);
                (
                    damaged.queued.into_iter().map(|(index, _)| index).collect::<Vec<_>>(),
                    damaged.shards.into_iter().map(known).collect::<Vec<_>>(),
                )
            });
            same("what a segment lacks", real, self.reference.damaged(segment(content, ordinal)))?;
        }
        Ok(())
    }
}

/// Rows have numbers that mean nothing.
fn no_rows(mut listed: Vec<Listed>) -> Vec<Listed> {
    for one in &mut listed {
        one.version.id = 0;
    }
    listed
}

fn segment(content: ContentId, ordinal: u32) -> SegmentId {
    let mut id = content.0;
    id[15] = ordinal as u8;
    SegmentId(id)
}

/// Takes everything out of a database.
async fn clear(meta: &Meta) {
    let tables = [
        "buckets",
        "keys",
        "versions",
        "version_parts",
        "contents",
        "segments",
        "shards",
        "repairs",
        "leftovers",
        "nodes",
        "node_events",
        "stored",
        "uploads",
        "upload_parts",
    ];
    let work = meta.writer.run(move |tx| {
        Box::pin(async move {
            for table in tables {
                let sql = format!("DELETE FROM {table}");
                sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut *tx).await?;
            }
            Ok(())
        })
    });
    work.await.unwrap();
}

/// Runs a sequence; what differs, and the steps in words.
async fn run(meta: &Meta, steps: &[Step]) -> Result<(), (Differs, Vec<String>)> {
    let mut pair = Pair::new(meta).await;
    for step in steps {
        if let Err(differs) = pair.step(*step).await {
            return Err((differs, pair.trace));
        }
    }
    pair.compare().await.map_err(|differs| (differs, pair.trace))
}

/// Leaves out whatever can be left out of a sequence that fails.
async fn shrink(meta: &Meta, mut steps: Vec<Step>) -> (Differs, Vec<String>) {
    let mut failure = run(meta, &steps).await.expect_err("it failed before");
    let mut length = steps.len();
    while length > 0 {
        let mut at = 0;
        while at < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + length).min(steps.len()));
            match run(meta, &fewer).await {
                Err(failed) => (steps, failure) = (fewer, failed),
                Ok(()) => at += length,
            }
        }
        length /= 2;
    }
    failure
}

/// Steps of a seed.
fn steps_of(seed: u64) -> Vec<Step> {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).to_le_bytes()
    };
    (0..STEPS).map(|_| next()).collect()
}

/// A database in memory, if there is a place for files in memory.
async fn open() -> (Meta, tempfile::TempDir) {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let folder = folder.unwrap();
    let meta = Meta::open(&folder.path().join("meta.sqlite")).await.unwrap();
    (meta, folder)
}

#[tokio::test]
async fn the_database_does_what_the_reference_does() {
    let scale = std::env::var("STRATOS_TEST_SCALE").ok().and_then(|scale| scale.parse().ok());
    let first = std::env::var("STRATOS_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let first: u64 = first.unwrap_or(0);
    let sequences = SEQUENCES * scale.unwrap_or(1);
    let (meta, _folder) = open().await;
    for seed in first..first + sequences {
        if run(&meta, &steps_of(seed)).await.is_err() {
            let (differs, trace) = shrink(&meta, steps_of(seed)).await;
            panic!("seed {seed}: {differs}\nafter\n  {}", trace.join("\n  "));
        }
    }
}

#[tokio::test]
async fn a_difference_is_noticed_and_cut_down() {
    assert!(same("numbers", 1, 2).is_err());
    let (meta, _folder) = open().await;
    let mut pair = Pair::new(&meta).await;
    pair.compare().await.unwrap();
    // The database is changed behind the reference's back.
    pair.meta.see_node(node(0), Incarnation([0; 16]), 0).await.unwrap();
    pair.step([0; 8]).await.unwrap();
    pair.meta.delete_bucket(pair.buckets[0], 0).await.unwrap();
    let differs = pair.step([0; 8]).await.unwrap_err();
    assert!(differs.contains("BucketExists"), "{differs}");
}
