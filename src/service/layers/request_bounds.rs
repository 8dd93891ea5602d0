//! Bounds each message of a request before it is decoded: its bytes, and the elements of its lists.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame};
use tonic::{Status, body::Body};

use super::{
    field_scan::{FieldScan, Refused},
    middleware::{CallService, Middleware, Next, extension},
    refusal::refuse,
};
use crate::{
    reports::InvalidField,
    service::{
        policy::{MessageBounds, Rpc},
        status,
    },
};

/// What stands before each message: a byte that says whether it is compressed, and its length in four ("gRPC over HTTP2",
/// "Length-Prefixed-Message").
const PREFIX_BYTES: usize = 5;

#[derive(Clone, Copy)]
pub(super) struct RequestBounds {
    /// The maximum size of a message, whatever its RPC.
    pub(super) message_bytes: usize,
}

/// A request's body that fails at the first message beyond the bounds.
struct BoundedBody {
    body: Body,
    messages: Messages,
}

/// The messages of a body, as far as they have arrived.
struct Messages {
    bounds: MessageBounds,
    part: Part,
}

/// Which part of a message comes next.
enum Part {
    Prefix(Vec<u8>),
    Message {
        left: usize,
        /// `None`: it is compressed, and will be refused as such.
        scan: Option<FieldScan>,
    },
}

impl Middleware for RequestBounds {
    async fn handle(self, request: Request<Body>, next: Next<impl CallService>) -> Response<Body> {
        let bounds = match extension::<Rpc>(&request) {
            Ok(rpc) => rpc.request_bounds(),
            Err(status) => return refuse(request, status).await,
        };
        let bounds = MessageBounds { bytes: bounds.bytes.min(self.message_bytes), ..bounds };
        let messages = Messages { bounds, part: Part::Prefix(Vec::new()) };
        next.run(request.map(|body| Body::new(BoundedBody { body, messages }))).await
    }
}

impl HttpBody for BoundedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.messages.read(data)?;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

// === impl Messages ===

impl Messages {
    fn read(&mut self, mut data: &[u8]) -> Result<(), Status> {
        while !data.is_empty() {
            match &mut self.part {
                Part::Prefix(prefix) => {
                    let (taken, rest) = data.split_at(data.len().min(PREFIX_BYTES - prefix.len()));
                    prefix.extend_from_slice(taken);
                    data = rest;
                    if let &[compressed, a, b, c, d] = prefix.as_slice() {
                        self.begin(compressed != 0, u32::from_be_bytes([a, b, c, d]))?;
                    }
                }
                Part::Message { left, scan } => {
                    let (taken, rest) = data.split_at(data.len().min(*left));
                    if let Some(scan) = scan {
                        scan.read(taken).map_err(refusal)?;
                    }
                    *left -= taken.len();
                    data = rest;
                    if *left == 0 {
                        self.part = Part::Prefix(Vec::new());
                    }
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, is_compressed: bool, bytes: u32) -> Result<(), Status> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        if bytes > self.bounds.bytes {
            return Err(status::message_too_large(bytes, self.bounds.bytes));
        }
        let scan = (!is_compressed).then(|| FieldScan::new(self.bounds.lists, bytes));
        self.part = if bytes == 0 { Part::Prefix(Vec::new()) } else { Part::Message { left: bytes, scan } };
        Ok(())
    }
}

/// Holds a message that came inside another one against its bounds.
pub(in crate::service) fn check_message(message: &[u8], bounds: MessageBounds) -> Result<(), Status> {
    if message.len() > bounds.bytes {
        return Err(status::message_too_large(message.len(), bounds.bytes));
    }
    FieldScan::new(bounds.lists, message.len()).read(message).map_err(refusal)
}

fn refusal(refused: Refused) -> Status {
    match refused {
        Refused::TooMany(list) => {
            let reason = format!("has more than {0} entries; one message may have {0}", list.max);
            InvalidField::new(list.name, reason).into()
        }
        Refused::Malformed => status::request_unreadable(),
    }
}
