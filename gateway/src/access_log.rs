//! Access logs: the line of each request to a bucket that wants them, in the
//! format of S3 server access logs, until `upkeep::logs` writes them.
//!
//! A line is made when the answer begins, so times are those until then, and
//! bytes are those that the answer announces. Lines wait in memory, [`HELD_MAX`]
//! of bytes at most: what does not fit is dropped and counted, and a crash loses
//! what was not written. While no bucket wants a log, a request costs one look
//! at an empty map.

mod line;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use http::{Extensions, Request, Response};
use protocol::AccountId;
use s3s::S3Error;

use crate::auth::identity::{AuthKind, Caller};
use crate::gateway::{Gateway, now_ms};
use crate::http::guard::Domains;
use crate::http::listener::Peer;
use crate::meta::LogTarget;
use line::{Asked, Line};

/// Bytes of lines that wait to be written.
pub const HELD_MAX: usize = 16 * 1024 * 1024;

/// Who has the log of a bucket written, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The owner of the bucket.
    pub owner: AccountId,
    /// Where its log goes.
    pub target: LogTarget,
}

/// Lines of one bucket.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch {
    /// The bucket.
    pub bucket: String,
    /// How many.
    pub lines: u64,
    /// The lines.
    pub text: String,
}

/// Lines that were not written yet, and whose they are.
#[derive(Default)]
pub struct AccessLog {
    sources: RwLock<HashMap<String, Source>>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    bytes: usize,
    batches: HashMap<String, Batch>,
}

impl AccessLog {
    /// Says which buckets want logs.
    pub fn set_sources(&self, sources: HashMap<String, Source>) {
        *self.sources.write().unwrap_or_else(PoisonError::into_inner) = sources;
    }

    /// Who has the log of a bucket written, if anybody.
    pub fn source(&self, bucket: &str) -> Option<Source> {
        let sources = self.sources.read().unwrap_or_else(PoisonError::into_inner);
        sources.get(bucket).cloned()
    }

    fn is_on(&self) -> bool {
        !self.sources.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Keeps a line. Whether there was room for it.
    pub fn push(&self, bucket: &str, line: &str) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if HELD_MAX < held.bytes + line.len() {
            return false;
        }
        held.bytes += line.len();
        let batch = held.batches.entry(bucket.to_owned()).or_insert_with(|| Batch {
            bucket: bucket.to_owned(),
            lines: 0,
            text: String::new(),
        });
        batch.lines += 1;
        batch.text.push_str(line);
        true
    }

    /// Takes all lines out.
    pub fn take(&self) -> Vec<Batch> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *held).batches.into_values().collect()
    }
}

/// What becomes known of a request behind the door. In its extensions, if its
/// bucket wants a log.
#[derive(Clone, Default)]
pub struct Noted(Arc<Mutex<Known>>);

#[derive(Clone, Debug, Default)]
struct Known {
    requester: String,
    auth: Option<AuthKind>,
    secure: bool,
    error: String,
}

impl Noted {
    /// Notes who asks, if somebody wants to know.
    pub fn caller(extensions: &Extensions, caller: &Caller) -> Option<Self> {
        let noted = extensions.get::<Self>()?.clone();
        let mut known = noted.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.requester.clone_from(&caller.identity.canonical_id);
        known.auth = Some(caller.auth);
        known.secure = caller.secure;
        drop(known);
        Some(noted)
    }

    /// Notes how an operation ended.
    pub fn end(noted: Option<Self>, error: Option<&S3Error>) {
        if let (Some(noted), Some(error)) = (noted, error) {
            let mut known = noted.0.lock().unwrap_or_else(PoisonError::into_inner);
            error.code().as_str().clone_into(&mut known.error);
        }
    }
}

/// Makes the lines: stands at the door of the S3 port.
#[derive(Clone)]
pub struct Logger {
    gateway: Arc<Gateway>,
    domains: Domains,
}

/// A request that will be logged.
pub struct Entry {
    began: Instant,
    source: Source,
    asked: Asked,
    noted: Noted,
}

impl Logger {
    /// For the S3 port of a gateway.
    pub fn new(gateway: Arc<Gateway>, domains: Domains) -> Self {
        Self { gateway, domains }
    }

    /// Looks at a request before it goes in; `None` if nobody wants to know.
    pub fn begin<B>(&self, request: &mut Request<B>) -> Option<Entry> {
        let log = &self.gateway.access_log;
        if !log.is_on() {
            return None;
        }
        let asked = Asked::of(request, &self.domains)?;
        let source = log.source(&asked.bucket)?;
        let noted = Noted::default();
        request.extensions_mut().insert(noted.clone());
        Some(Entry { began: Instant::now(), source, asked, noted })
    }

    /// Keeps the line, now that there is an answer.
    pub fn end<B>(&self, entry: Entry, response: &Response<B>) {
        let Entry { began, source, asked, noted } = entry;
        let known = noted.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let line = Line {
            owner: &crate::meta::canonical_id(source.owner),
            at: now_ms(),
            took: began.elapsed(),
            requester: &known.requester,
            auth: known.auth,
            secure: known.secure,
            error: &known.error,
            asked: &asked,
            status: response.status(),
            headers: response.headers(),
        };
        if !self.gateway.access_log.push(&asked.bucket, &line.text()) {
            self.gateway.metrics.upkeep.log_lines_dropped.inc();
        }
    }
}

/// Where a request comes from.
fn address<B>(request: &Request<B>) -> String {
    let peer = request.extensions().get::<Peer>();
    peer.map(|peer| peer.0.ip().to_canonical().to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_wait_by_bucket_and_are_bounded() {
        let log = AccessLog::default();
        assert!(log.push("a", "1\n") && log.push("b", "2\n") && log.push("a", "3\n"));
        let mut batches = log.take();
        batches.sort_by(|a, b| a.bucket.cmp(&b.bucket));
        let of = |bucket: &str, lines, text: &str| Batch {
            bucket: bucket.into(),
            lines,
            text: text.into(),
        };
        assert_eq!(batches, [of("a", 2, "1\n3\n"), of("b", 1, "2\n")]);
        assert_eq!(log.take(), []);
        let long = "x".repeat(HELD_MAX);
        assert!(log.push("a", &long));
        assert!(!log.push("b", "x"), "there is no room");
        assert_eq!(log.take().len(), 1);
        assert!(log.push("b", "x"), "there is room again");
    }
}
