//! HTTP/2 as it is on the wire: a client that does what no library would let it do.

use std::net::SocketAddr;

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::{
    RecvStream,
    client::{ResponseFuture, SendRequest},
};
use http::{HeaderMap, Request};
use prost::Message;
use tokio::{net::TcpStream, task::JoinHandle};
use tonic::Status;

/// A connection. It ends when it is dropped.
pub(crate) struct Connection {
    pub(crate) requests: SendRequest<Bytes>,
    pub(crate) task: JoinHandle<Result<(), h2::Error>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The answer to a call.
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) body: RecvStream,
}

/// A message that is these bytes, whatever they mean.
#[derive(Debug, Default)]
pub(crate) struct Verbatim(pub(crate) Vec<u8>);

impl Message for Verbatim {
    fn encode_raw(&self, out: &mut impl bytes::BufMut) {
        out.put_slice(&self.0);
    }

    fn merge_field(
        &mut self,
        _: u32,
        _: prost::encoding::WireType,
        _: &mut impl bytes::Buf,
        _: prost::encoding::DecodeContext,
    ) -> Result<(), prost::DecodeError> {
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

impl Connection {
    /// A connection whose peer may send so many bytes of each call before they are taken.
    pub(crate) async fn open(server: SocketAddr, window: u32) -> Self {
        let stream = TcpStream::connect(server).await.expect("a connection");
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(window).initial_connection_window_size(8 << 20);
        let (requests, connection) = builder.handshake(stream).await.expect("HTTP/2");
        Self { requests, task: tokio::spawn(connection) }
    }

    /// Begins a call.
    pub(crate) async fn call(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        message: &impl Message,
    ) -> Result<ResponseFuture, h2::Error> {
        let mut request = Request::post(format!("http://localhost/secureconnect.reports.v1.{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.requests = self.requests.clone().ready().await?;
        let (response, mut stream) = self.requests.send_request(request.body(()).unwrap(), false)?;
        let mut frame = BytesMut::new();
        frame.put_u8(0);
        frame.put_u32(u32::try_from(message.encoded_len()).unwrap());
        message.encode(&mut frame).unwrap();
        stream.send_data(frame.freeze(), true)?;
        Ok(response)
    }

    /// Sends a request without a body, whatever it is, to the head of its answer.
    pub(crate) async fn send(&mut self, request: Request<()>) -> http::response::Parts {
        self.requests = self.requests.clone().ready().await.expect("room for a request");
        let (response, _) = self.requests.send_request(request, true).expect("a request");
        response.await.expect("an answer").into_parts().0
    }

    /// A call whose request never comes.
    pub(crate) async fn begin(&mut self, path: &str) -> Answer {
        let request = Request::post(format!("http://localhost/secureconnect.reports.v1.{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        self.requests = self.requests.clone().ready().await.expect("room for a call");
        let (response, stream) = self.requests.send_request(request.body(()).unwrap(), false).expect("a call");
        let (parts, body) = response.await.expect("an answer").into_parts();
        drop(stream);
        Answer { headers: parts.headers, body }
    }

    /// A call, to the headers of its answer.
    pub(crate) async fn answer(&mut self, path: &str, headers: &[(&str, &str)], message: &impl Message) -> Answer {
        Answer::of(self.call(path, headers, message).await.expect("a call")).await
    }
}

impl Answer {
    /// The answer to a call that was made, to its headers.
    pub(crate) async fn of(response: ResponseFuture) -> Self {
        let (parts, body) = response.await.expect("an answer").into_parts();
        Self { headers: parts.headers, body }
    }

    /// Reads to the end: the messages that are whole, and the status.
    pub(crate) async fn read<M: Message + Default>(mut self) -> (Vec<M>, Status) {
        let mut bytes = BytesMut::new();
        while let Some(data) = self.body.data().await {
            let data = data.expect("data");
            let _ = self.body.flow_control().release_capacity(data.len());
            bytes.extend_from_slice(&data);
        }
        let trailers = self.body.trailers().await.expect("trailers").unwrap_or(self.headers);
        let mut messages = Vec::new();
        while bytes.len() >= 5 {
            let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
            if bytes.len() < 5 + length {
                break;
            }
            let message = bytes.split_to(5 + length).freeze().slice(5..);
            messages.push(M::decode(message).expect("a message"));
        }
        (messages, Status::from_header_map(&trailers).expect("a status"))
    }
}
