//! Pages of lists, read within bounds.

use prost::Message;

use super::ClientError;
use crate::contract::{Fields, WireValue};

/// How much a list may have in all: more than 2 million tenants, or a million lines.
const MAX_LIST_BYTES: usize = 512 << 20;
/// Elements of elements, such as tiers, have at least so many bytes: two texts of a byte. Empty ones would take a hundred times
/// as much memory as on the wire.
const MIN_ELEMENT_BYTES: usize = 6;

/// How much of a list was received.
#[derive(Default)]
pub(super) struct Retained(usize);

// === impl Retained ===

impl Retained {
    pub(super) fn add(&mut self, bytes: usize) -> Result<(), ClientError> {
        self.0 += bytes;
        if self.0 <= MAX_LIST_BYTES {
            return Ok(());
        }
        Err(ClientError::wrong(format!("it has more than {} MiB; ask for less", MAX_LIST_BYTES >> 20)))
    }
}

/// How many elements a list has, as its pages said.
#[derive(Default)]
pub(super) struct Sizes(Option<(i64, i64)>);

// === impl Sizes ===

impl Sizes {
    pub(super) fn add(&mut self, size: i64) {
        let (least, most) = self.0.unwrap_or((size, size));
        self.0 = Some((least.min(size), most.max(size)));
    }

    /// Whether a list of so many elements is whole: pages may say different sizes, where the list changed meanwhile.
    pub(super) fn allow(&self, count: usize) -> bool {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.0.is_some_and(|(least, most)| (least..=most).contains(&count))
    }
}

/// Decodes a page whose repeated fields have at most `most` elements each. They are the first `lists` fields.
pub(super) fn read_page<M: Message + Default>(bytes: &[u8], lists: u32, most: usize) -> Result<M, ClientError> {
    let mut counts = vec![0; lists as usize];
    let mut fields = Fields::new(bytes);
    while let Some((number, _)) = fields.next() {
        if let Some(count) = counts.get_mut((number as usize).wrapping_sub(1)) {
            *count += 1;
            if *count > most {
                return Err(ClientError::wrong(format!("a page has more than {most} elements")));
            }
        }
    }
    if !fields.rest.is_empty() {
        return Err(ClientError::Malformed("page".to_owned()));
    }
    M::decode(bytes).map_err(|error| ClientError::malformed("page", error.to_string()))
}

/// Whether all elements of a repeated field inside a message have contents. The numbers of the fields lead there.
pub(super) fn has_contents(message: &[u8], path: &[u32]) -> bool {
    let [number, inner @ ..] = path else { return true };
    let mut fields = Fields::new(message);
    while let Some((found, value)) = fields.next() {
        let WireValue::Bytes(element) = value else { continue };
        if found == *number && (element.len() < MIN_ELEMENT_BYTES || !has_contents(element, inner)) {
            return false;
        }
    }
    true
}
