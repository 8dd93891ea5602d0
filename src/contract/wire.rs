//! Iterates over the fields of an encoded message (Protocol Buffers' "Encoding").

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WireValue<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message, one after the other.
pub(crate) struct Fields<'a> {
    pub(crate) rest: &'a [u8],
}

// === impl WireValue ===

impl<'a> WireValue<'a> {
    pub(crate) fn text(self) -> Option<&'a str> {
        match self {
            Self::Bytes(text) => std::str::from_utf8(text).ok(),
            Self::Varint(_) => None,
        }
    }
}

// === impl Fields ===

impl<'a> Fields<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The number of the next field.
    #[inline]
    pub(crate) fn peek(&self) -> Option<u32> {
        let mut rest = self.rest;
        u32::try_from(varint(&mut rest)? >> 3).ok()
    }

    /// The number and value of the next field. `None`: nothing follows, or nothing that this walk understands, which
    /// [`rest`](Self::rest) tells apart.
    pub(crate) fn next(&mut self) -> Option<(u32, WireValue<'a>)> {
        let number = self.peek()?;
        Some((number, self.next_if(number)?))
    }

    /// The next of packed numbers, which have no fields.
    #[cfg(feature = "client")]
    #[inline]
    pub(crate) fn next_number(&mut self) -> Option<u64> {
        varint(&mut self.rest)
    }

    /// The value of the next field, if it has this number.
    #[inline]
    pub(crate) fn next_if(&mut self, number: u32) -> Option<WireValue<'a>> {
        let mut rest = self.rest;
        let key = varint(&mut rest)?;
        if key >> 3 != u64::from(number) {
            return None;
        }
        let value = match key & 7 {
            0 => WireValue::Varint(varint(&mut rest)?),
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                let (bytes, after) = rest.split_at_checked(length)?;
                rest = after;
                WireValue::Bytes(bytes)
            }
            _ => return None,
        };
        self.rest = rest;
        Some(value)
    }
}

#[inline]
fn varint(rest: &mut &[u8]) -> Option<u64> {
    // Keys, codes and nearly all lengths are one byte.
    if let [byte @ ..0x80, after @ ..] = *rest {
        *rest = after;
        return Some((*byte).into());
    }
    long_varint(rest)
}

fn long_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for (index, &byte) in rest.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit.
        if index == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * index);
        if byte < 0x80 {
            *rest = &rest[index + 1..];
            return Some(value);
        }
    }
    None
}
