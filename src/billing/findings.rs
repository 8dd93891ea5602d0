//! What stands in the way of a close, as far as it is shown.

/// The first of something, and how much of it there is.
#[derive(Clone, Debug)]
pub struct Findings<T> {
    pub first: Vec<T>,
    pub total: usize,
}

impl<T> Findings<T> {
    const SHOWN: usize = 100;

    pub(super) fn add(&mut self, found: T) {
        self.total += 1;
        if self.first.len() < Self::SHOWN {
            self.first.push(found);
        }
    }

    /// Some of it in words.
    pub(super) fn words(&self, word: impl Fn(&T) -> String) -> String {
        const NAMED: usize = 5;
        let named = self.first.iter().take(NAMED).map(word).collect::<Vec<_>>().join(", ");
        if self.total > NAMED { format!("{named} and {} more", self.total - NAMED) } else { named }
    }
}

impl<T> Default for Findings<T> {
    fn default() -> Self {
        Self { first: Vec::new(), total: 0 }
    }
}
