//! Batches of columns as messages of a flight.

use arrow_array::RecordBatch;
use arrow_flight::{FlightData, SchemaAsIpc, SchemaResult};
use arrow_ipc::writer::{DictionaryTracker, EncodedData, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow_schema::{ArrowError, Schema};
use bytes::Bytes;
use tonic::Status;

use crate::service::status;

/// Of columns, as Arrow recommends it.
const ALIGNMENT: usize = 64;

/// Encodes the messages of a stream. A dictionary is sent when it is another one than before: every client takes that, and not
/// every one takes additions to a dictionary.
pub(super) struct FlightEncoder {
    options: IpcWriteOptions,
    generator: IpcDataGenerator,
    dictionaries: DictionaryTracker,
    context: IpcWriteContext,
}

// === impl FlightEncoder ===

impl FlightEncoder {
    /// An encoder, and the first message of the stream.
    pub(super) fn new(schema: &Schema) -> (Self, FlightData) {
        let mut encoder = Self {
            options: IpcWriteOptions::default(),
            generator: IpcDataGenerator::default(),
            dictionaries: DictionaryTracker::new(false),
            context: IpcWriteContext::default(),
        };
        let encoded = encoder.generator.schema_to_bytes_with_dictionary_tracker(
            schema,
            &mut encoder.dictionaries,
            &encoder.options,
        );
        (encoder, encoded.into())
    }

    /// The messages of a batch. What is said besides comes with the last one.
    pub(super) fn encode(&mut self, batch: &RecordBatch, app_metadata: Bytes) -> Result<Vec<FlightData>, ArrowError> {
        let (dictionaries, records) =
            self.generator.encode(batch, &mut self.dictionaries, &self.options, &mut self.context)?;
        let mut messages: Vec<FlightData> =
            dictionaries.into_iter().map(|dictionary| message(dictionary, Bytes::new())).collect();
        messages.push(message(records, app_metadata));
        Ok(messages)
    }
}

/// A message whose body begins at a multiple of [`ALIGNMENT`]: clients that use it where it arrived, as those in C++ and Python do,
/// want their numbers so. The header may have zeros behind it.
fn message(encoded: EncodedData, app_metadata: Bytes) -> FlightData {
    let EncodedData { ipc_message: mut header, arrow_data } = encoded;
    let size = |bytes: usize| prost::length_delimiter_len(bytes);
    let body_start = |header: usize| {
        let metadata = if app_metadata.is_empty() { 0 } else { 1 + size(app_metadata.len()) + app_metadata.len() };
        // Each field has a key, of two bytes for the body, and a length.
        1 + size(header) + header + metadata + 2 + size(arrow_data.len())
    };
    // A longer header may have a longer length.
    while !arrow_data.is_empty() && !body_start(header.len()).is_multiple_of(ALIGNMENT) {
        header.push(0);
    }
    FlightData::new().with_data_header(header).with_app_metadata(app_metadata).with_data_body(arrow_data)
}

/// A schema as answers have it, on its own.
pub(super) fn schema_bytes(schema: &Schema) -> Result<Bytes, Status> {
    let encoded = SchemaResult::try_from(SchemaAsIpc::new(schema, &IpcWriteOptions::default()));
    Ok(encoded.map_err(|error| failure(&error))?.schema)
}

/// Arrow fails only where the service has made no proper columns.
pub(super) fn failure(error: &ArrowError) -> Status {
    tracing::error!("columns: {error}");
    status::internal()
}
