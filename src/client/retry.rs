//! Retries. Every call here only reads, so it may be repeated.

use std::time::{Duration, Instant};

use tonic::Status;
use tonic_types::StatusExt as _;

use super::error::ClientError;

/// The delay before the first retry. Each further one is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// What the log says a call does next.
pub(super) const RETRYING: &str = "retrying";

/// The longest wait for an answer where nothing is tried again, so that such a call ends, too.
const SINGLE_ATTEMPT: Duration = Duration::from_secs(30);

/// How long a call may go on without progress: attempts and the pauses between them, but not the time that the caller
/// takes to process what it got.
#[derive(Debug)]
pub(super) struct Backoff {
    limit: Duration,
    /// How long it has waited since the last progress.
    waited: Duration,
    tries: u32,
}

// === impl Backoff ===

impl Backoff {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, waited: Duration::ZERO, tries: 0 }
    }

    /// Waits for an attempt, until the limit is reached.
    ///
    /// # Errors
    ///
    /// How long it waited in vain, for people.
    pub(super) async fn attempt<T>(&mut self, attempt: impl Future<Output = T>) -> Result<T, String> {
        let limit = if self.limit.is_zero() { SINGLE_ATTEMPT } else { self.limit.saturating_sub(self.waited) };
        let started = Instant::now();
        let result = tokio::time::timeout(limit, attempt).await;
        self.waited += started.elapsed();
        result.map_err(|_| format!("nothing arrived for {} s", self.waited.as_secs_f64().round()))
    }

    /// The same for a call.
    pub(super) async fn call<T>(&mut self, call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        self.attempt(call).await.unwrap_or_else(|waited| Err(Status::deadline_exceeded(waited)))
    }

    /// The delay before the next attempt, at least the one that the server asks for; `None` past the limit.
    pub(super) fn pause(&mut self, asked: Duration) -> Option<Duration> {
        let longest = FIRST_PAUSE.saturating_mul(1 << self.tries.min(16)).min(LONGEST_PAUSE);
        self.tries += 1;
        // Jitter: many clients may lose a server at the same time.
        let pause = longest.mul_f64(0.5 + fastrand::f64() / 2.0).max(asked);
        (self.waited.saturating_add(pause) <= self.limit).then_some(pause)
    }

    /// How long it has waited since the last progress.
    #[cfg(feature = "columns")]
    pub(super) fn waited(&self) -> Duration {
        self.waited
    }

    /// Counts less, since what was waited for came.
    #[cfg(feature = "columns")]
    pub(super) fn set_waited(&mut self, waited: Duration) {
        self.waited = waited;
    }

    /// Starts over after progress.
    pub(super) fn reset(&mut self) {
        self.waited = Duration::ZERO;
        self.tries = 0;
    }

    /// Waits before the next attempt and logs what comes `next`. Returns the error if there is no further attempt.
    pub(super) async fn wait(&mut self, error: ClientError, asked: Duration, next: &str) -> Result<(), ClientError> {
        let pause = if error.is_transient() { self.pause(asked) } else { None };
        let Some(pause) = pause else { return Err(error) };
        tracing::warn!("{error}; {next} in {pause:.1?}");
        tokio::time::sleep(pause).await;
        self.waited += pause;
        Ok(())
    }
}

/// Makes a call, and retries it until it is answered or the limit is reached.
pub(super) async fn call<T, F: Future<Output = Result<T, Status>>>(
    server: &str,
    name: &'static str,
    limit: Duration,
    attempt: impl Fn() -> F,
) -> Result<T, ClientError> {
    let mut backoff = Backoff::new(limit);
    loop {
        match backoff.call(attempt()).await {
            Ok(answer) => return Ok(answer),
            Err(status) => {
                let error = ClientError::from_status(server, name, &status);
                backoff.wait(error, requested_delay(&status), RETRYING).await?;
            }
        }
    }
}

/// The delay that the server asks for (`RetryInfo`).
pub(super) fn requested_delay(status: &Status) -> Duration {
    status.get_details_retry_info().and_then(|info| info.retry_delay).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end_and_are_as_long_as_the_server_says() {
        let mut backoff = Backoff::new(Duration::from_secs(60));
        for expected in [250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000] {
            let pause = backoff.pause(Duration::ZERO).expect("within the limit").as_millis();
            assert!((expected / 2..=expected).contains(&pause), "{pause} of {expected}");
        }
        let asked = Duration::from_secs(20);
        assert_eq!(backoff.pause(asked), Some(asked));
        backoff.waited = Duration::from_secs(50);
        assert_eq!(backoff.pause(asked), None, "that would be past the limit");
        backoff.reset();
        assert!(backoff.pause(Duration::ZERO).is_some_and(|pause| pause <= FIRST_PAUSE));
        assert_eq!(Backoff::new(Duration::ZERO).pause(Duration::ZERO), None, "not at all");
    }
}
