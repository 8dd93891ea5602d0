//! What was read before.

/// How many bits of a part's mixed bytes say where its memo is.
const MEMO_BITS: u32 = 6;

/// What parts that come again and again were read as, each in the slot that its bytes lead to. Records of a day have few of
/// them.
pub(super) struct Memo<T>(Vec<Option<(Vec<u8>, T)>>);

// === impl Memo ===

impl<T> Memo<T> {
    pub(super) fn new() -> Self {
        Self(std::iter::repeat_with(|| None).take(1 << MEMO_BITS).collect())
    }

    /// The memo of a part. `make` reads a part that is not in it.
    pub(super) fn get(&mut self, encoded: &[u8], make: impl FnOnce() -> Option<T>) -> Option<&T> {
        let memo = &mut self.0[slot(encoded)];
        if memo.as_ref().is_none_or(|(known, _)| known != encoded) {
            *memo = Some((encoded.to_vec(), make()?));
        }
        memo.as_ref().map(|(_, part)| part)
    }
}

/// Where the memo of a part is, by all of its bytes: periods that follow each other differ in a few bits.
fn slot(encoded: &[u8]) -> usize {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let (words, rest) = encoded.as_chunks();
    let mix = |mixed: u64, word: u64| (mixed ^ word).wrapping_mul(MIX).rotate_left(29);
    let mixed = words.iter().fold(0, |mixed, word| mix(mixed, u64::from_le_bytes(*word)));
    let mixed = rest.iter().fold(mixed, |mixed, &byte| mix(mixed, byte.into()));
    (mixed.wrapping_mul(MIX) >> (u64::BITS - MEMO_BITS)) as usize
}
