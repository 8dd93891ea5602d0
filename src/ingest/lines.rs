//! Lines of a file that are checked together, so that what they name is looked up together.

use super::row::RawRecord;
use crate::model::Column;

/// So many lines, or bytes of them, are checked together.
const MAX_LINES: usize = 4096;
const MAX_BYTES: usize = 1 << 20;

/// Lines, each with a text for each column.
#[derive(Default)]
pub(super) struct Lines {
    bytes: String,
    lines: Vec<Line>,
}

struct Line {
    number: u64,
    start: usize,
    ends: [usize; Column::COUNT],
}

// === impl Lines ===

impl Lines {
    pub(super) fn push(&mut self, number: u64, texts: &RawRecord<'_>) {
        let start = self.bytes.len();
        let ends = texts.map(|text| {
            self.bytes.push_str(text);
            self.bytes.len()
        });
        self.lines.push(Line { number, start, ends });
    }

    pub(super) fn is_full(&self) -> bool {
        self.lines.len() >= MAX_LINES || self.bytes.len() >= MAX_BYTES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The number of each line, and its texts.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, RawRecord<'_>)> {
        self.lines.iter().map(|line| {
            let mut start = line.start;
            (line.number, line.ends.map(|end| &self.bytes[std::mem::replace(&mut start, end)..end]))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_as_they_were_put() {
        let mut lines = Lines::default();
        let texts =
            |n: usize| -> Vec<String> { (0..Column::COUNT).map(|column| "é".repeat((n + column) % 3)).collect() };
        for n in 0..5 {
            let texts = texts(n);
            lines.push(n as u64 * 7, &std::array::from_fn(|column| texts[column].as_str()));
        }
        let found: Vec<(u64, Vec<String>)> =
            lines.iter().map(|(number, texts)| (number, texts.map(str::to_owned).to_vec())).collect();
        assert_eq!(found, (0..5).map(|n| (n as u64 * 7, texts(n))).collect::<Vec<_>>());
        assert!(!lines.is_full() && !lines.is_empty());
    }
}
