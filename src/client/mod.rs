//! A client for other Rust services, and for our own command line.
//!
//! ```no_run
//! # async fn example() -> Result<(), secure_connect_reports::client::ClientError> {
//! use secure_connect_reports::client::{Client, ClientConfig, UsageQuery};
//!
//! let mut client = Client::connect(&ClientConfig::new("http://127.0.0.1:50051")).await?;
//! let tenant = client.find_tenant("contoso-hq").await?;
//! let query = UsageQuery::new(tenant, "2022-02".parse().expect("a month"));
//! let mut report = client.detailed_usage(&query).await?;
//! while let Some(records) = report.next().await? {
//!     println!("{} records", records.len());
//! }
//! // Only now is the report known to be whole: it agrees with its summary.
//! # Ok(())
//! # }
//! ```

mod breakdown;
mod breakdown_check;
mod channel;
mod checkpoint;
#[cfg(feature = "columns")]
mod columns;
mod compare;
mod costs;
mod csv_lines;
mod error;
mod exact;
mod loads;
mod names;
mod organizations;
mod packed_records;
#[cfg(test)]
mod packing;
mod pages;
mod prices;
mod raw_codec;
mod report_check;
mod report_message;
mod resuming;
mod retry;
mod statements;
mod tenant_usage;
mod tenants;
mod transient;
mod usage;
mod usage_csv;

use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use prost::Message;
use tonic::{Status, Streaming, client::Grpc, service::interceptor::InterceptedService, transport::Channel};

pub use breakdown::{BreakdownQuery, BreakdownRows, CostBreakdown};
use channel::Bearer;
pub use channel::ClientConfig;
pub use checkpoint::Checkpoint;
#[cfg(feature = "columns")]
pub use columns::{
    BatchRecord, BatchesDownload, ColumnsDownload, FocusDownload, FocusGaps, FocusQuery, UsageBatch, UsageColumns,
};
pub use compare::{BillQuery, CompareQuery, CostComparison};
pub use costs::CostsQuery;
pub use csv_lines::CsvLines;
pub use error::ClientError;
use error::MAX_MESSAGE_BYTES;
pub use prices::PricesQuery;
use raw_codec::RawCodec;
pub use statements::WholeStatement;
pub use tenant_usage::{TenantUsage, UsageMonth};
pub use usage::{UsageDownload, UsageQuery};
pub use usage_csv::CsvDownload;

use crate::contract::CsvFormat;

/// The package of the services, and the one that most calls are of.
const PACKAGE: &str = "/secureconnect.reports.v1.";
const SERVICE: &str = "ReportsService";

/// How often a list is read again from the first page, if names changed between two pages.
const MAX_RESTARTS: u32 = 5;

/// How long a server may take to say whether it is SERVING.
const HEALTH_LIMIT: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct Client {
    channel: InterceptedService<Channel, Bearer>,
    server: String,
    /// How long a call may go on without progress.
    retry_for: Duration,
}

// === impl Client ===

impl Client {
    pub async fn connect(config: &ClientConfig) -> Result<Self, ClientError> {
        let bearer = Bearer::new(config.token.as_ref())?;
        let channel = InterceptedService::new(config.connect().await?, bearer);
        Ok(Self { channel, server: config.server.clone(), retry_for: config.retry_for })
    }

    /// Starts to download a detailed usage report. If the connection is lost, the download resumes by itself.
    pub async fn detailed_usage(&mut self, query: &UsageQuery) -> Result<UsageDownload, ClientError> {
        UsageDownload::start(self.clone(), query).await
    }

    /// Starts to download a detailed usage report as CSV, which is faster than through records.
    pub async fn detailed_usage_csv(
        &mut self,
        query: &UsageQuery,
        format: CsvFormat,
    ) -> Result<CsvDownload, ClientError> {
        CsvDownload::start(self.clone(), query, format).await
    }

    /// Starts to download a detailed usage report as columns.
    #[cfg(feature = "columns")]
    pub async fn detailed_usage_columns(&mut self, query: &UsageQuery) -> Result<ColumnsDownload, ClientError> {
        ColumnsDownload::start(self.clone(), query).await
    }

    /// Starts to download a detailed usage report as batches of records, which is faster than as columns.
    #[cfg(feature = "columns")]
    pub async fn detailed_usage_batches(&mut self, query: &UsageQuery) -> Result<BatchesDownload, ClientError> {
        BatchesDownload::start(self.clone(), query).await
    }

    /// Resumes a download to CSV of another process, after the lines that its checkpoint counts.
    ///
    /// # Errors
    ///
    /// [`ClientError::CheckpointMismatch`] if the checkpoint is of another request or format,
    /// [`ClientError::CannotResume`] if the report has another revision now.
    pub async fn resume_detailed_usage_csv(
        &mut self,
        query: &UsageQuery,
        format: CsvFormat,
        from: &Checkpoint,
    ) -> Result<CsvDownload, ClientError> {
        CsvDownload::resume(self.clone(), query, format, from).await
    }

    /// The encoded messages of a stream.
    async fn stream<T: Message + 'static>(&self, name: &str, request: T) -> Result<Streaming<Bytes>, Status> {
        let (mut raw, path) = self.raw(name).await?;
        Ok(raw.server_streaming(tonic::Request::new(request), path, RawCodec::default()).await?.into_inner())
    }

    /// The encoded answer of a call with one answer.
    async fn unary<T: Message + Clone + 'static>(&self, name: &'static str, request: &T) -> Result<Bytes, ClientError> {
        let attempt = || async {
            let (mut raw, path) = self.raw(name).await?;
            let request = tonic::Request::new(request.clone());
            Ok(raw.unary(request, path, RawCodec::default()).await?.into_inner())
        };
        retry::call(&self.server, name, self.retry_for, attempt).await
    }

    /// `name`: of the method, with its service before it where that is another one.
    async fn raw(&self, name: &str) -> Result<(Grpc<InterceptedService<Channel, Bearer>>, PathAndQuery), Status> {
        let path = match name.split_once('/') {
            Some((service @ "FlightService", method)) => format!("/arrow.flight.protocol.{service}/{method}"),
            Some((service, method)) => format!("{PACKAGE}{service}/{method}"),
            None => format!("{PACKAGE}{SERVICE}/{name}"),
        };
        let path = PathAndQuery::try_from(path);
        let path = path.map_err(|error| Status::internal(error.to_string()))?;
        let mut raw = Grpc::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        raw.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok((raw, path))
    }
}

/// Whether the server is SERVING. Needs no token. Does not retry, and takes at most 20 seconds.
pub async fn is_serving(config: &ClientConfig) -> Result<bool, ClientError> {
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
    let config = ClientConfig { token: None, retry_for: Duration::ZERO, ..config.clone() };
    let mut client = HealthClient::new(config.connect().await?);
    let answer = tokio::time::timeout(HEALTH_LIMIT, client.check(HealthCheckRequest::default())).await;
    let late = |_| Err(Status::deadline_exceeded(format!("nothing arrived for {} s", HEALTH_LIMIT.as_secs())));
    let answer = answer.unwrap_or_else(late);
    let answer = answer.map_err(|status| ClientError::from_status(&config.server, "Health/Check", &status))?;
    Ok(answer.into_inner().status() == ServingStatus::Serving)
}
