//! Texts of a column that repeat.

use std::{collections::HashMap, sync::Arc};

use arrow_array::{ArrayRef, StringArray};

/// Texts, each once, in the order in which they came.
#[derive(Default)]
pub(super) struct Texts<'a> {
    texts: Vec<&'a str>,
    positions: HashMap<&'a str, i32>,
    bytes: usize,
}

// === impl Texts ===

impl<'a> Texts<'a> {
    /// The position of a text, which is added if it is new.
    pub(super) fn position(&mut self, text: &'a str) -> i32 {
        let (texts, bytes) = (&mut self.texts, &mut self.bytes);
        *self.positions.entry(text).or_insert_with(|| {
            texts.push(text);
            *bytes += text.len() + size_of::<i32>();
            // A batch has some thousands.
            i32::try_from(texts.len() - 1).unwrap_or(i32::MAX)
        })
    }

    /// How many bytes they take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn to_array(&self) -> ArrayRef {
        Arc::new(StringArray::from_iter_values(&self.texts))
    }
}
