//! Limits how often each line of the program's code may log: what callers can cause, they can cause all the time.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, PoisonError},
    time::{Duration, Instant},
};

use prometheus_client::metrics::counter::Counter;
use tracing::{Event, Level, Metadata, Subscriber, callsite::Identifier};
use tracing_subscriber::{
    filter::LevelFilter,
    layer::{Context, Filter},
};

use super::lines::Lines;

/// Lines of one place in the code, in an interval.
const MAX_LINES: u32 = 10;
const INTERVAL: Duration = Duration::from_secs(10);

/// The lines that this process has suppressed.
static SUPPRESSED: LazyLock<Counter> = LazyLock::new(Counter::default);

/// A filter of events. Those of the target `unlimited` all pass, and so do those for debugging.
pub(super) struct RateLimit {
    unlimited: &'static str,
    places: Mutex<HashMap<Identifier, Interval>>,
    log: Lines,
    /// Makes the line that tells how many lines of a place in the code were suppressed.
    notice: fn(&Metadata<'_>, u64) -> String,
}

struct Interval {
    began: Instant,
    lines: u32,
    suppressed: u64,
}

/// So many lines in an interval.
pub struct Quota {
    max: u32,
    interval: Mutex<Interval>,
}

/// Suppressed lines, for the metrics of the process.
pub(super) fn suppressed_lines() -> Counter {
    SUPPRESSED.clone()
}

// === impl RateLimit ===

impl RateLimit {
    pub(super) fn new(unlimited: &'static str, log: Lines, notice: fn(&Metadata<'_>, u64) -> String) -> Self {
        Self { unlimited, places: Mutex::default(), log, notice }
    }

    /// Whether a line may be written now, and how many were suppressed before it.
    fn pass(&self, place: Identifier, now: Instant) -> (bool, u64) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.entry(place).or_insert_with(|| Interval::new(now)).pass(MAX_LINES, now)
    }
}

// === impl Interval ===

impl Interval {
    fn new(began: Instant) -> Self {
        Self { began, lines: 0, suppressed: 0 }
    }

    /// Whether a line may be written now, and how many were suppressed in the interval before.
    fn pass(&mut self, max: u32, now: Instant) -> (bool, u64) {
        let mut suppressed = 0;
        if now.duration_since(self.began) >= INTERVAL {
            suppressed = self.suppressed;
            *self = Self::new(now);
        }
        if self.lines == max {
            self.suppressed += 1;
            SUPPRESSED.inc();
            return (false, suppressed);
        }
        self.lines += 1;
        (true, suppressed)
    }
}

// === impl Quota ===

impl Quota {
    /// In 10 seconds.
    pub fn new(max: u32) -> Self {
        Self { max, interval: Mutex::new(Interval::new(Instant::now())) }
    }

    /// Whether a line may be written now, and how many were suppressed before it.
    pub fn pass(&self) -> (bool, u64) {
        self.interval.lock().unwrap_or_else(PoisonError::into_inner).pass(self.max, Instant::now())
    }
}

impl<S: Subscriber> Filter<S> for RateLimit {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    /// The filter beside this one decides which levels are logged. Without a hint, every line for debugging would ask.
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if metadata.target() == self.unlimited || *metadata.level() > Level::INFO {
            return true;
        }
        let (passes, suppressed) = self.pass(metadata.callsite(), Instant::now());
        if suppressed > 0 {
            self.log.write((self.notice)(metadata, suppressed).as_bytes());
        }
        passes
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use tracing::Callsite as _;

    use super::*;
    use crate::telemetry::lines::{Sink, WhenFull};

    struct Nowhere;

    impl Sink for Nowhere {
        fn write(&mut self, _: &[u8]) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_place_has_so_many_lines_in_an_interval() {
        let log = Lines::start("nowhere", Nowhere, WhenFull::Drop, |_| String::new()).unwrap();
        let limit = RateLimit::new("audit", log, |_, _| String::new());
        let metadata = |place: &'static tracing::callsite::DefaultCallsite| place.metadata().callsite();
        let (one, other) = (
            metadata(tracing::callsite!(name: "one", kind: tracing::metadata::Kind::EVENT, fields:)),
            metadata(tracing::callsite!(name: "other", kind: tracing::metadata::Kind::EVENT, fields:)),
        );
        let began = Instant::now();
        let passed = (0..100).filter(|_| limit.pass(one.clone(), began).0).count();
        assert_eq!(passed, MAX_LINES as usize);
        assert_eq!(limit.pass(other, began), (true, 0), "another place has its own");
        assert_eq!(limit.pass(one.clone(), began + INTERVAL), (true, 90));
        assert_eq!(limit.pass(one, began + INTERVAL), (true, 0));
    }
}
