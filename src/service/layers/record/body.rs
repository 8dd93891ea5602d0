//! A response's body that counts bytes and takes the outcome from its trailers.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use tonic::{Status, body::Body};

use super::CallRecord;

/// Fields are dropped in their order: the body's permit is given back before the call is recorded as ended.
pub(super) struct RecordedBody {
    pub(super) body: Body,
    pub(super) record: CallRecord,
}

impl HttpBody for RecordedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            if let Some(data) = frame.data_ref() {
                self.record.add_bytes(data.len());
            }
            if let Some(trailers) = frame.trailers_ref() {
                // Before the caller can know, so that lines stand in the order of calls that follow each other.
                self.record.finish(trailers);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
