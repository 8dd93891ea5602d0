//! Messages of a stream as they come, and a walk over their fields (Protocol Buffers' "Encoding").

use bytes::{Buf as _, Bytes};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder},
};
use tonic_prost::{ProstCodec, ProstEncoder};

use crate::proto;

/// Requests as messages, answers as bytes.
#[derive(Default)]
pub(super) struct RawCodec;

pub(super) struct BytesDecoder;

/// A field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message, one after the other.
#[derive(Clone)]
pub(super) struct Fields<'a> {
    pub(super) rest: &'a [u8],
}

// === impl RawCodec ===

impl Codec for RawCodec {
    type Encode = proto::GetDetailedUsageRequest;
    type Decode = Bytes;
    type Encoder = ProstEncoder<proto::GetDetailedUsageRequest>;
    type Decoder = BytesDecoder;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<proto::GetDetailedUsageRequest, ()>::default().encoder()
    }

    fn decoder(&mut self) -> BytesDecoder {
        BytesDecoder
    }
}

impl Decoder for BytesDecoder {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = message.remaining();
        Ok(Some(message.copy_to_bytes(length)))
    }
}

// === impl Fields ===

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The number and value of the next field. `None`: nothing follows, or nothing that this walk understands, which
    /// [`rest`](Self::rest) tells apart.
    #[inline]
    pub(super) fn next(&mut self) -> Option<(u64, Value<'a>)> {
        let mut rest = self.rest;
        let key = varint(&mut rest)?;
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut rest)?),
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                let (bytes, after) = rest.split_at_checked(length)?;
                rest = after;
                Value::Bytes(bytes)
            }
            _ => return None,
        };
        self.rest = rest;
        Some((key >> 3, value))
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
