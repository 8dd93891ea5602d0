//! Messages of columns, before they are decoded: the decoder counts on buffers that are there.

use arrow_flight::{FlightData, error::FlightError};
use arrow_ipc::{Message, MessageHeader, RecordBatch, root_as_message};

/// Takes a message whose buffers are all within its body.
pub(super) fn checked(message: FlightData) -> Result<FlightData, FlightError> {
    if message.data_header.is_empty() {
        return Ok(message);
    }
    let header = root_as_message(&message.data_header).map_err(|error| damaged(&error))?;
    let length = i64::try_from(message.data_body.len()).unwrap_or(i64::MAX);
    match batch_of(&header) {
        None => Ok(message),
        Some(batch) if is_within(&batch, length) => Ok(message),
        Some(_) => Err(damaged(&"a batch is not all there")),
    }
}

/// The batch, or the batch of a dictionary, that a message has.
fn batch_of<'a>(message: &Message<'a>) -> Option<RecordBatch<'a>> {
    match message.header_type() {
        MessageHeader::DictionaryBatch => message.header_as_dictionary_batch()?.data(),
        MessageHeader::RecordBatch => message.header_as_record_batch(),
        _ => None,
    }
}

fn is_within(batch: &RecordBatch<'_>, length: i64) -> bool {
    let buffers = batch.buffers();
    let buffers_are = buffers.iter().flatten().all(|buffer| {
        let end = buffer.offset().checked_add(buffer.length());
        buffer.offset() >= 0 && buffer.length() >= 0 && end.is_some_and(|end| end <= length)
    });
    // No value takes less than a bit.
    let rows = 0..=length.saturating_mul(8);
    let nodes = batch.nodes();
    let nodes_are = nodes
        .iter()
        .flatten()
        .all(|node| rows.contains(&node.length()) && (0..=node.length()).contains(&node.null_count()));
    buffers_are && nodes_are && rows.contains(&batch.length())
}

fn damaged(error: &dyn std::fmt::Display) -> FlightError {
    FlightError::DecodeError(error.to_string())
}
