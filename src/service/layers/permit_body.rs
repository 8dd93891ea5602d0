//! A response's body with a permit of its call, which is given back when the body ends.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use tonic::{Status, body::Body};

pub(super) struct PermitBody<P> {
    pub(super) body: Body,
    pub(super) permit: Option<P>,
}

impl<P: Unpin> HttpBody for PermitBody<P> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        // Before the caller can know that the call has ended, and makes another one.
        if matches!(&frame, Some(Ok(frame)) if frame.is_trailers()) {
            self.permit = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
