//! The answer to a short call: made as a whole, and kept until it is read.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use tonic::{Status, body::Body};

pub(super) struct UnreadAnswer(VecDeque<Frame<Bytes>>);

impl UnreadAnswer {
    /// Waits until the whole answer is made.
    pub(super) async fn collect(mut body: Body) -> Result<Self, Status> {
        let mut frames = VecDeque::new();
        while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            frames.push_back(frame?);
        }
        Ok(Self(frames))
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.iter().filter_map(Frame::data_ref).map(Bytes::len).sum()
    }
}

impl HttpBody for UnreadAnswer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}
