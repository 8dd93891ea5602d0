//! Lines that a thread of their own writes: whoever does not read them holds up nobody.

use std::{
    io,
    sync::{Arc, LazyLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};
use tokio::sync::{
    Semaphore,
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait to be written. They have some 500 bytes each.
pub const CAPACITY: usize = 8192;
/// The logs, in metrics.
pub const LOG: &str = "log";
pub const AUDIT_LOG: &str = "audit";
/// How often, at most, a log says that lines of it were dropped, while it is written.
const NOTICE_INTERVAL: Duration = Duration::from_secs(1);
/// How long the thread lets lines come together before it looks again: to wake it for each took as long as a short call.
const PAUSE: Duration = Duration::from_millis(5);

/// The lines that every log of this process has dropped, by log.
static DROPPED: LazyLock<Family<LogLabels, Counter>> = LazyLock::new(Family::default);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LogLabels {
    log: &'static str,
}

/// Where lines go in the end.
pub trait Sink: Send + 'static {
    /// Writes a line, for as long as that takes.
    fn write(&mut self, line: &[u8]) -> io::Result<()>;
}

/// What to do where no room is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Drop the line, and count it.
    Drop,
    /// Nothing: whoever writes a line has [reserved](Lines::reserve) room for it.
    Reserved,
}

/// A log that is written in the background.
#[derive(Clone, Debug)]
pub struct Lines {
    sender: UnboundedSender<Message>,
    room: Arc<Semaphore>,
    when_full: WhenFull,
    dropped: Counter,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    End(mpsc::Sender<()>),
}

/// The thread that writes.
struct Writer<S> {
    sink: S,
    room: Arc<Semaphore>,
    dropped: Counter,
    /// The dropped lines that the log has told of.
    told: u64,
    notice: fn(u64) -> String,
    noticed: Option<Instant>,
}

/// Dropped lines, for the metrics of the process. They begin at 0.
pub fn dropped_lines() -> Family<LogLabels, Counter> {
    for log in [LOG, AUDIT_LOG] {
        drop(DROPPED.get_or_create(&LogLabels { log }));
    }
    DROPPED.clone()
}

// === impl Lines ===

impl Lines {
    /// `log` is its name in metrics; `notice` makes the line that tells of so many dropped lines.
    pub fn start(
        log: &'static str,
        sink: impl Sink,
        when_full: WhenFull,
        notice: fn(u64) -> String,
    ) -> io::Result<Self> {
        let (sender, receiver) = unbounded_channel();
        let room = Arc::new(Semaphore::new(CAPACITY));
        let dropped = DROPPED.get_or_create(&LogLabels { log }).clone();
        let writer = Writer {
            sink,
            room: Arc::clone(&room),
            told: dropped.get(),
            dropped: dropped.clone(),
            notice,
            noticed: None,
        };
        thread::Builder::new().name(log.to_owned()).spawn(move || writer.run(receiver))?;
        Ok(Self { sender, room, when_full, dropped })
    }

    /// Reserves room for a line, which must then be written. `false`: there is none.
    pub fn reserve(&self) -> bool {
        self.take_room()
    }

    /// Gives room back that was reserved for a line that is not written.
    pub fn release(&self) {
        self.room.add_permits(1);
    }

    pub fn write(&self, line: &[u8]) {
        if self.when_full == WhenFull::Drop && !self.take_room() {
            self.dropped.inc();
            return;
        }
        // The thread never ends.
        let _ = self.sender.send(Message::Line(line.to_vec()));
    }

    /// Waits until what is there was written, but no longer than `limit`.
    pub fn flush(&self, limit: Duration) {
        let (end, ended) = mpsc::channel();
        let _ = self.sender.send(Message::End(end));
        let _ = ended.recv_timeout(limit);
    }

    fn take_room(&self) -> bool {
        self.room.try_acquire().map(tokio::sync::SemaphorePermit::forget).is_ok()
    }
}

impl io::Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        Lines::write(self, line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

// === impl Writer ===

impl<S: Sink> Writer<S> {
    fn run(mut self, mut receiver: UnboundedReceiver<Message>) {
        while let Some(first) = receiver.blocking_recv() {
            let mut next = Some(first);
            while let Some(message) = next {
                self.take(message, receiver.is_empty());
                next = receiver.try_recv().ok().or_else(|| {
                    thread::sleep(PAUSE);
                    receiver.try_recv().ok()
                });
            }
        }
    }

    fn take(&mut self, message: Message, is_last: bool) {
        match message {
            Message::Line(line) => {
                self.write(&line);
                self.room.add_permits(1);
                self.notice(is_last);
            }
            // Whoever asked may have given up.
            Message::End(end) => drop(end.send(())),
        }
    }

    fn write(&mut self, line: &[u8]) {
        if self.sink.write(line).is_err() {
            self.dropped.inc();
        }
    }

    /// Says that lines were dropped, once there is room again.
    fn notice(&mut self, is_empty: bool) {
        let lost = self.dropped.get() - self.told;
        let is_due = is_empty || self.noticed.is_none_or(|noticed| noticed.elapsed() >= NOTICE_INTERVAL);
        if lost > 0 && is_due && self.sink.write((self.notice)(lost).as_bytes()).is_ok() {
            self.told += lost;
            self.noticed = Some(Instant::now());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Takes a line when it is told to.
    struct Slow(mpsc::Receiver<()>, mpsc::Sender<String>);

    impl Sink for Slow {
        fn write(&mut self, line: &[u8]) -> io::Result<()> {
            let _ = self.0.recv();
            self.1.send(String::from_utf8(line.to_vec()).unwrap()).unwrap();
            Ok(())
        }
    }

    fn slow(log: &'static str, when_full: WhenFull) -> (Lines, mpsc::Sender<()>, mpsc::Receiver<String>) {
        let (go, wait) = mpsc::channel();
        let (written, lines) = mpsc::channel();
        let notice = |count| format!("{count} dropped");
        (Lines::start(log, Slow(wait, written), when_full, notice).unwrap(), go, lines)
    }

    #[test]
    fn what_finds_no_room_is_dropped_and_told_of_when_it_flows_again() {
        let (lines, go, written) = slow("dropping", WhenFull::Drop);
        for n in 0..CAPACITY + 3 {
            lines.write(n.to_string().as_bytes());
        }
        assert_eq!(lines.dropped.get(), 3);
        lines.flush(Duration::from_millis(1));
        // Every line is let through, and so is the notice.
        (0..CAPACITY + 3).for_each(|_| go.send(()).unwrap());
        assert_eq!(written.recv().unwrap(), "0");
        assert_eq!(written.recv().unwrap(), "3 dropped");
        for n in 1..CAPACITY {
            assert_eq!(written.recv().unwrap(), n.to_string());
        }
        lines.write(b"last");
        assert_eq!(written.recv().unwrap(), "last");
    }

    #[test]
    fn room_that_was_reserved_is_there() {
        let (lines, go, written) = slow("reserving", WhenFull::Reserved);
        let reserved = (0..CAPACITY + 3).filter(|_| lines.reserve()).count();
        assert_eq!(reserved, CAPACITY);
        (0..CAPACITY).for_each(|n| lines.write(n.to_string().as_bytes()));
        assert!(!lines.reserve());
        go.send(()).unwrap();
        assert_eq!(written.recv().unwrap(), "0");
        while !lines.reserve() {
            thread::yield_now();
        }
        assert_eq!(lines.dropped.get(), 0);
    }
}
