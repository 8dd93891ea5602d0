//! Sorted runs of rows in temporary files. However many rows there are, few files are open: runs of one level are merged into one
//! of the next.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek as _, Write as _},
};

use super::{limits::ImportTooLarge, temporary};

/// The maximum number of runs that are merged at once, and that are left in the end.
const MAX_RUNS: usize = 64;
const FILE_BUFFER_BYTES: usize = 128 << 10;

/// Runs, the oldest and longest first.
pub(super) struct Runs {
    runs: Vec<Run>,
    max_runs: usize,
    max_bytes: u64,
}

struct Run {
    file: File,
    bytes: u64,
    /// How often its rows were merged.
    level: u32,
}

/// A run that is being written.
struct Writer {
    file: BufWriter<File>,
    bytes: u64,
    /// How many bytes it may have.
    room: u64,
    max_bytes: u64,
}

/// A row at the head of a run. Ordered by key and rest, so that equal keys come in the order of their locations.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    key: Vec<u8>,
    rest: Vec<u8>,
    run: usize,
}

// === impl Runs ===

impl Runs {
    /// Runs that take at most so many bytes of disk, also while they are merged.
    pub(super) fn new(max_bytes: u64) -> Self {
        Self { runs: Vec::new(), max_runs: MAX_RUNS, max_bytes }
    }

    #[cfg(test)]
    pub(super) fn with_max_runs(self, max_runs: usize) -> Self {
        Self { max_runs, ..self }
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.runs.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Adds a run of sorted rows, each a key and the rest.
    pub(super) fn add<'r>(&mut self, rows: impl Iterator<Item = (&'r [u8], &'r [u8])>) -> io::Result<()> {
        let mut writer = self.writer()?;
        for (key, rest) in rows {
            writer.put(key, rest)?;
        }
        self.runs.push(writer.finish(0)?);
        // Each level has fewer runs than are merged at once.
        while let Some(first) = self.runs.len().checked_sub(self.max_runs)
            && self.runs[first].level == self.runs[self.runs.len() - 1].level
        {
            self.merge(first)?;
        }
        Ok(())
    }

    /// Leaves as many runs as may be open at once.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if self.runs.len() > self.max_runs {
            // The shortest ones, and as few as will do.
            self.merge(self.max_runs - 1)?;
        }
        Ok(())
    }

    /// Merges the runs from this one on.
    fn merge(&mut self, first: usize) -> io::Result<()> {
        let mut writer = self.writer()?;
        let level = self.runs[first].level + 1;
        scan(&self.runs[first..], |key, rest| writer.put(key, rest).map(|()| true))?;
        let merged = writer.finish(level)?;
        self.runs.truncate(first);
        self.runs.push(merged);
        Ok(())
    }

    fn writer(&self) -> io::Result<Writer> {
        let used: u64 = self.runs.iter().map(|run| run.bytes).sum();
        Ok(Writer {
            file: BufWriter::with_capacity(FILE_BUFFER_BYTES, temporary::file()?),
            bytes: 0,
            room: self.max_bytes.saturating_sub(used),
            max_bytes: self.max_bytes,
        })
    }

    /// Calls `each` with the key and the rest of every row, in order, until it returns `false`.
    pub(super) fn scan(&self, each: impl FnMut(&[u8], &[u8]) -> io::Result<bool>) -> io::Result<()> {
        scan(&self.runs, each)
    }
}

fn scan(runs: &[Run], mut each: impl FnMut(&[u8], &[u8]) -> io::Result<bool>) -> io::Result<()> {
    let mut readers = Vec::with_capacity(runs.len());
    let mut heads = BinaryHeap::with_capacity(runs.len());
    for (run, Run { file, .. }) in runs.iter().enumerate() {
        let mut file = file;
        file.rewind()?;
        let mut reader = BufReader::with_capacity(FILE_BUFFER_BYTES, file);
        let mut head = Head { key: Vec::new(), rest: Vec::new(), run };
        if head.read(&mut reader)? {
            heads.push(Reverse(head));
        }
        readers.push(reader);
    }
    while let Some(mut top) = heads.peek_mut() {
        let Reverse(head) = &mut *top;
        if !each(&head.key, &head.rest)? {
            break;
        }
        if !head.read(&mut readers[head.run])? {
            std::collections::binary_heap::PeekMut::pop(top);
        }
    }
    Ok(())
}

// === impl Writer ===

impl Writer {
    fn put(&mut self, key: &[u8], rest: &[u8]) -> io::Result<()> {
        for part in [key, rest] {
            let length = u32::try_from(part.len()).map_err(io::Error::other)?.to_be_bytes();
            self.bytes += (length.len() + part.len()) as u64;
            if self.bytes > self.room {
                return Err(ImportTooLarge::Disk(self.max_bytes).into());
            }
            self.file
                .write_all(&length)
                .and_then(|()| self.file.write_all(part))
                .map_err(|error| temporary::named(&error))?;
        }
        Ok(())
    }

    fn finish(self, level: u32) -> io::Result<Run> {
        let file = self.file.into_inner().map_err(|error| temporary::named(error.error()))?;
        Ok(Run { file, bytes: self.bytes, level })
    }
}

// === impl Head ===

impl Head {
    /// Reads the next row; `false` at the end.
    fn read(&mut self, from: &mut impl Read) -> io::Result<bool> {
        let mut length = [0_u8; 4];
        match from.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            result => result?,
        }
        self.key.resize(u32::from_be_bytes(length) as usize, 0);
        from.read_exact(&mut self.key)?;
        from.read_exact(&mut length)?;
        self.rest.resize(u32::from_be_bytes(length) as usize, 0);
        from.read_exact(&mut self.rest)?;
        Ok(true)
    }
}
