//! A limit on bytes per second, for work that must not be felt by customers.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Whoever takes bytes waits until those before have had their time.
#[derive(Debug)]
pub struct Pace {
    bytes_per_second: u64,
    free_at: Mutex<Instant>,
}

impl Pace {
    /// At most so many bytes a second.
    pub fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), free_at: Mutex::new(Instant::now()) }
    }

    /// Waits for the turn of `bytes`.
    pub async fn take(&self, bytes: u64) {
        let at = self.book(bytes, Instant::now());
        tokio::time::sleep_until(at).await;
    }

    /// When the turn of `bytes` is that are asked for at `now`. Time that nobody
    /// used is not saved up.
    fn book(&self, bytes: u64, now: Instant) -> Instant {
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let at = now.max(*free_at);
        *free_at = at + Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_their_time_and_none_is_saved_up() {
        let pace = Pace::new(1000);
        let now = Instant::now() + Duration::from_secs(1);
        assert_eq!(pace.book(500, now), now);
        assert_eq!(pace.book(1000, now), now + Duration::from_millis(500));
        assert_eq!(pace.book(1, now), now + Duration::from_millis(1500));
        let later = now + Duration::from_secs(60);
        assert_eq!(pace.book(2000, later), later);
        assert_eq!(pace.book(1, later), later + Duration::from_secs(2));
    }
}
