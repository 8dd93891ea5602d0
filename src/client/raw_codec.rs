//! A codec that leaves the messages of a stream encoded.

use bytes::{Buf as _, Bytes};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder},
};
use tonic_prost::{ProstCodec, ProstEncoder};

use crate::contract::proto;

/// Encodes requests, and returns responses as bytes.
#[derive(Default)]
pub(super) struct RawCodec;

pub(super) struct BytesDecoder;

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
