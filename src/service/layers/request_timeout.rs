//! A request's body that must have come within a limit: whoever begins a call and says nothing would keep its place.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use tokio::time::Sleep;
use tonic::{Status, body::Body};

use crate::service::status;

pub(in crate::service) struct Arriving {
    body: Body,
    limit: Pin<Box<Sleep>>,
}

impl Arriving {
    pub(in crate::service) fn new(body: Body, limit: Duration) -> Self {
        Self { body, limit: Box::pin(tokio::time::sleep(limit)) }
    }
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let frame @ Poll::Ready(_) = Pin::new(&mut self.body).poll_frame(context) {
            return frame;
        }
        ready!(self.limit.as_mut().poll(context));
        Poll::Ready(Some(Err(status::request_stalled())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
