//! A connection to a server: plain text on this machine, TLS elsewhere.

use std::{path::PathBuf, time::Duration};

use http::uri::PathAndQuery;
use secrecy::{ExposeSecret as _, SecretString};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::Interceptor,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use super::{
    ClientError,
    retry::{Backoff, RETRYING},
};
use crate::{
    model::printable,
    network::{causes, is_loopback},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Messages of reports have a quarter of a MiB: as few frames as can be, and some messages on their way.
const FRAME_BYTES: u32 = 256 << 10;
/// What of a download may be on its way: some 80 MB/s over a round trip of 200 ms. It is kept in memory where the client is slower than
/// that.
const STREAM_WINDOW_BYTES: u32 = 20 << 20;
/// The same of all downloads of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 32 << 20;
const RETRY_FOR: Duration = Duration::from_secs(120);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// For instance `https://reports.example:50051`.
    pub server: String,
    pub token: Option<SecretString>,
    /// PEM file with the certificate authorities to trust; `None`: those of this machine.
    pub authorities: Option<PathBuf>,
    /// PEM files with the client certificate and its private key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that the server's certificate must have; `None`: the host of the URL.
    pub server_name: Option<String>,
    /// Send the token in plain text even to a server on another machine.
    pub insecure_plaintext: bool,
    /// How long a call may go on without any progress, retries included: when the server cannot be reached, the connection
    /// is lost, or no answer arrives. Zero: no retries, and at most 30 seconds without an answer.
    pub retry_for: Duration,
}

/// Adds the token to every call.
#[derive(Clone)]
pub(super) struct Bearer(Option<MetadataValue<Ascii>>);

// === impl ClientConfig ===

impl ClientConfig {
    /// A configuration without a token.
    pub fn new(server: impl Into<String>) -> Self {
        Self {
            server: server.into(),
            token: None,
            authorities: None,
            identity: None,
            server_name: None,
            insecure_plaintext: false,
            retry_for: RETRY_FOR,
        }
    }

    /// Adds a token.
    #[must_use]
    pub fn with_token(self, token: impl Into<String>) -> Self {
        Self { token: Some(SecretString::from(token.into())), ..self }
    }

    pub(super) async fn connect(&self) -> Result<Channel, ClientError> {
        let mut endpoint = self
            .endpoint()?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .tcp_nodelay(true)
            .max_frame_size(FRAME_BYTES)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        if endpoint.uri().scheme_str() == Some("https") {
            endpoint = endpoint.tls_config(self.tls()?).map_err(|error| ClientError::Tls(causes(&error)))?;
        }
        let mut backoff = Backoff::new(self.retry_for);
        loop {
            // The limit of the endpoint leaves out the look-up of the name and the TLS handshake.
            let connected = backoff.attempt(tokio::time::timeout(CONNECT_TIMEOUT, endpoint.connect())).await;
            let error = match connected {
                Ok(Ok(Ok(channel))) => return Ok(channel),
                Ok(Ok(Err(error))) => self.unreachable(&error),
                Ok(Err(_)) => self.silent(format!("no connection within {} s", CONNECT_TIMEOUT.as_secs())),
                Err(waited) => self.silent(waited),
            };
            backoff.wait(error, Duration::ZERO, RETRYING).await?;
        }
    }

    /// Nobody answers there, for now.
    fn silent(&self, cause: String) -> ClientError {
        ClientError::Unreachable { server: self.server.clone(), cause, is_transient: true }
    }

    fn unreachable(&self, error: &(dyn std::error::Error + 'static)) -> ClientError {
        ClientError::Unreachable {
            server: self.server.clone(),
            cause: printable(&self.explain(error)).into_owned(),
            is_transient: !is_tls_error(error) && !is_name_error(error),
        }
    }

    /// Why there is no connection, with a hint if one side speaks TLS and the other plain text.
    fn explain(&self, error: &dyn std::error::Error) -> String {
        let text = causes(error);
        let hint = match (self.server.starts_with("https:"), text.as_str()) {
            (false, text) if text.contains("http2 error") || text.contains("frame") => {
                " (if the server uses TLS, use https://)"
            }
            (true, text) if text.contains("InvalidContentType") || text.contains("corrupt message") => {
                " (if the server uses plain text, use http://)"
            }
            (true, text) if text.contains("UnknownIssuer") => {
                " (use --ca-file if another certificate authority signed it)"
            }
            _ => "",
        };
        text + hint
    }

    fn endpoint(&self) -> Result<Endpoint, ClientError> {
        let invalid = |reason: String| ClientError::InvalidServer { server: self.server.clone(), reason };
        let endpoint = Endpoint::from_shared(self.server.clone()).map_err(|error| invalid(error.to_string()))?;
        let uri = endpoint.uri();
        if uri.path_and_query().is_some_and(|path| path != &PathAndQuery::from_static("/")) {
            return Err(invalid("the URL must end with the host and port".to_owned()));
        }
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if self.token.is_none() || self.insecure_plaintext || is_loopback(uri.host()) => {}
            Some("http") => return Err(ClientError::PlaintextToken(self.server.clone())),
            _ => return Err(invalid("the URL must start with http:// or https://".to_owned())),
        }
        Ok(endpoint)
    }

    fn tls(&self) -> Result<ClientTlsConfig, ClientError> {
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|error| ClientError::Tls(format!("{}: {error}", path.display())))
        };
        let mut tls = match &self.authorities {
            Some(path) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(path)?)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        if let Some((certificate, key)) = &self.identity {
            tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
        }
        if let Some(name) = &self.server_name {
            tls = tls.domain_name(name);
        }
        Ok(tls)
    }
}

/// Whether TLS failed. A retry would fail in the same way.
fn is_tls_error(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| {
        // An I/O error does not return its inner error as its source.
        let within = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        error.is::<rustls::Error>() || within.and_then(|within| within.downcast_ref::<rustls::Error>()).is_some()
    })
}

/// Whether the host name does not exist. A failure of the name server is transient, and is not meant here.
fn is_name_error(error: &dyn std::error::Error) -> bool {
    let text = causes(error);
    // The messages of glibc, musl and macOS.
    ["Name or service not known", "Name does not resolve", "nodename nor servname provided"]
        .iter()
        .any(|unknown| text.contains(unknown))
}

// === impl Bearer ===

impl Bearer {
    pub(super) fn new(token: Option<&SecretString>) -> Result<Self, ClientError> {
        let Some(token) = token else { return Ok(Self(None)) };
        let value = MetadataValue::try_from(format!("Bearer {}", token.expose_secret().trim()));
        let mut value = value.map_err(|_| ClientError::InvalidToken)?;
        // Hidden in debug output, and never indexed by HPACK.
        value.set_sensitive(true);
        Ok(Self(Some(value)))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_in_plain_text_to_this_machine_only() {
        let endpoint = |server: &str, token: bool| {
            let config = ClientConfig::new(server);
            if token { config.with_token("t").endpoint() } else { config.endpoint() }.map(drop)
        };
        for server in ["http://127.0.0.1:1", "http://[::1]:1/", "http://localhost:1", "https://reports.example"] {
            assert!(endpoint(server, true).is_ok(), "{server}");
        }
        for server in ["http://10.0.0.1:1", "http://localhost.example:1", "http://reports.example"] {
            assert!(matches!(endpoint(server, true), Err(ClientError::PlaintextToken(_))), "{server}");
            assert!(endpoint(server, false).is_ok(), "{server}");
        }
        for server in ["127.0.0.1:1", "ftp://localhost", "http://localhost/path", "", "https://a b"] {
            assert!(matches!(endpoint(server, false), Err(ClientError::InvalidServer { .. })), "{server}");
        }
    }

    #[test]
    fn a_token_is_not_shown() {
        let config = ClientConfig::new("http://localhost").with_token("very-secret");
        assert!(!format!("{config:?}").contains("very-secret"));
        assert!(Bearer::new(Some(&"a\nb".into())).is_err());
    }
}
