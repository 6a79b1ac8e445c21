//! How many requests are worked on at once.
//!
//! A turn to move bytes stands for the buffers that the work needs. A request
//! whose peer does nothing for a moment lends its turn to others and takes a
//! place among those who wait; places are counted too, since one who waits
//! still has an open file and, when it reads, up to two windows in memory. With
//! no place left it keeps its turn, so that what is held stays bounded.
//!
//! Not here: how long a peer is waited for (`handle`).

use std::time::Duration;

use protocol::message::Request;
use protocol::refusal::Refusal;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::handle::Failure;

/// Requests that move bytes, at once: each holds up to two buffers.
const WORKING_MAX: usize = 128;

/// Puts and gets that wait for their peer without a turn: as many as two
/// gateways can have open.
const WAITING_MAX: usize = 512;

/// Other requests at once. Apart, so that a voucher gets through when reads
/// wait for it.
const SMALL_MAX: usize = 64;

/// How long a request waits for its first turn.
const TURN_PATIENCE: Duration = Duration::from_secs(5);

/// How long a request waits to have its turn back: longer, since all that was
/// done for it would be lost.
const BACK_PATIENCE: Duration = Duration::from_secs(30);

/// The turns of requests.
#[derive(Debug)]
pub(crate) struct Turns {
    working: Semaphore,
    waiting: Semaphore,
    small: Semaphore,
}

/// The turn of one request.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    of: &'a Semaphore,
    waiting: &'a Semaphore,
    /// Of `waiting` while the turn is lent, else of `of`.
    held: SemaphorePermit<'a>,
    is_lent: bool,
}

impl Turns {
    pub fn new() -> Self {
        Self {
            working: Semaphore::new(WORKING_MAX),
            waiting: Semaphore::new(WAITING_MAX),
            small: Semaphore::new(SMALL_MAX),
        }
    }

    /// Requests that move bytes now.
    pub fn working(&self) -> usize {
        WORKING_MAX - self.working.available_permits()
    }

    /// Waits for the turn of a request; too long, and it is refused.
    pub async fn take(&self, request: &Request) -> Result<Turn<'_>, Failure> {
        let of = match request {
            Request::Put { .. } | Request::Get { .. } => &self.working,
            Request::Delete { .. }
            | Request::Prove { .. }
            | Request::Status
            | Request::List { .. }
            | Request::Voucher(_)
            | Request::Standing(_) => &self.small,
        };
        let held = wait(of, TURN_PATIENCE).await?;
        Ok(Turn { of, waiting: &self.waiting, held, is_lent: false })
    }
}

impl Turn<'_> {
    /// Lets others work while the peer is waited for, if there is a place to
    /// wait. The caller holds no buffers to fill until it has the turn back.
    pub fn lend(&mut self) {
        if let Ok(place) = self.waiting.try_acquire() {
            self.held = place;
            self.is_lent = true;
        }
    }

    /// Waits until the turn is ours again.
    pub async fn take_back(&mut self) -> Result<(), Failure> {
        if self.is_lent {
            self.held = wait(self.of, BACK_PATIENCE).await?;
            self.is_lent = false;
        }
        Ok(())
    }
}

async fn wait(turns: &Semaphore, most: Duration) -> Result<SemaphorePermit<'_>, Failure> {
    match timeout(most, turns.acquire()).await {
        Ok(permit) => Ok(permit.expect("turns are never closed")),
        Err(_) => Err(Failure::Refused(Refusal::Busy)),
    }
}

#[cfg(test)]
mod tests {
    use protocol::{SegmentId, ShardId};

    use super::*;

    const PUT: Request = Request::Put {
        shard: ShardId { segment: SegmentId([1; 16]), index: 0 },
        max_len: 1,
        chosen_ms: 0,
    };

    async fn working(turns: &Turns) -> Vec<Turn<'_>> {
        let mut taken = Vec::new();
        while turns.working() < WORKING_MAX {
            taken.push(turns.take(&PUT).await.unwrap());
        }
        taken
    }

    fn is_busy<T>(result: Result<T, Failure>) -> bool {
        matches!(result, Err(Failure::Refused(Refusal::Busy)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_is_lent_is_anothers_until_it_is_given_back() {
        let turns = Turns::new();
        let mut taken = working(&turns).await;
        assert!(is_busy(turns.take(&PUT).await));
        assert!(turns.take(&Request::Status).await.is_ok(), "small requests have their own");

        let mut waits = taken.pop().unwrap();
        waits.lend();
        let other = turns.take(&PUT).await.unwrap();
        assert!(is_busy(waits.take_back().await));
        drop(other);
        waits.take_back().await.unwrap();
        assert_eq!(turns.working(), WORKING_MAX);
        assert!(is_busy(turns.take(&PUT).await));
        drop((waits, taken));
        assert_eq!(turns.working(), 0);
        assert_eq!(turns.waiting.available_permits(), WAITING_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn with_no_place_to_wait_a_turn_is_kept() {
        let turns = Turns::new();
        let mut waiting = Vec::new();
        while waiting.len() < WAITING_MAX {
            let mut turn = turns.take(&PUT).await.unwrap();
            turn.lend();
            waiting.push(turn);
        }
        let mut kept = turns.take(&PUT).await.unwrap();
        kept.lend();
        assert_eq!(turns.working(), 1);
        kept.take_back().await.unwrap();

        waiting.pop();
        kept.lend();
        assert_eq!(turns.working(), 0);
    }
}
