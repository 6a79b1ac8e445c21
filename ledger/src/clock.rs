//! Where the sequencer's time comes from. The state machine never asks: it
//! takes time from block headers.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Tells the time in milliseconds since 1970.
pub type NowMs = Arc<dyn Fn() -> u64 + Send + Sync>;

/// How the sequencer deals with time.
#[derive(Clone)]
pub struct Timing {
    /// What time it is.
    pub now_ms: NowMs,
    /// Least time from one block to the next: entries that come meanwhile
    /// share a block, and the cost of reaching the disk.
    pub block_interval: Duration,
}

impl Default for Timing {
    /// The system's clock, and at most five blocks a second.
    fn default() -> Self {
        Self { now_ms: Arc::new(system_ms), block_interval: Duration::from_millis(200) }
    }
}

impl std::fmt::Debug for Timing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Timing").field("block_interval", &self.block_interval).finish()
    }
}

fn system_ms() -> u64 {
    // A clock before 1970 counts as 1970; block times never go back anyway.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
