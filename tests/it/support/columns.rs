//! Columns as Arrow Flight brings them, as text.

use std::{collections::HashMap, sync::Arc};

use arrow_array::{
    Array as _, Decimal128Array, Decimal256Array, DictionaryArray, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
    cast::AsArray as _,
    types::{Int8Type, Int32Type},
};
use arrow_flight::{
    FlightData, FlightDescriptor, FlightInfo, Ticket as FlightTicket, decode::FlightRecordBatchStream,
    flight_service_client::FlightServiceClient,
};
use arrow_schema::{DataType, SchemaRef};
use bigdecimal::{BigDecimal, num_bigint::BigInt};
use futures_util::{StreamExt as _, TryStreamExt as _};
use prost::Message;
use secure_connect_reports::{client::UsageQuery, contract::proto::GetDetailedUsageRequest, model::UtcTime};
use tonic::{Status, transport::Channel};

use super::Server;

/// A stream that was read to its end.
pub(crate) struct Columns {
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Vec<RecordBatch>,
    /// What came with the last batch.
    pub(crate) summary: serde_json::Value,
}

/// Asks for a report by its request.
pub(crate) fn usage_command(request: &GetDetailedUsageRequest) -> FlightDescriptor {
    command("GetDetailedUsageRequest", request)
}

pub(crate) fn command(name: &str, request: &impl Message) -> FlightDescriptor {
    let type_url = format!("type.googleapis.com/secureconnect.reports.v1.{name}");
    FlightDescriptor::new_cmd(prost_types::Any { type_url, value: request.encode_to_vec() }.encode_to_vec())
}

// === impl Server ===

impl Server {
    pub(crate) async fn flights(&self) -> FlightServiceClient<Channel> {
        let channel = Channel::from_shared(self.url()).expect("a URL").connect().await.expect("a connection");
        FlightServiceClient::new(channel)
    }

    pub(crate) async fn flight_info(&self, descriptor: FlightDescriptor) -> Result<FlightInfo, Status> {
        self.flights().await.get_flight_info(descriptor).await.map(tonic::Response::into_inner)
    }

    /// The columns of all tickets, one after the other.
    pub(crate) async fn columns(&self, descriptor: FlightDescriptor) -> Vec<Columns> {
        let info = self.flight_info(descriptor).await.expect("an answer");
        let mut slices = Vec::new();
        for endpoint in &info.endpoint {
            slices.push(self.get(endpoint.ticket.clone().expect("a ticket")).await.expect("a stream"));
        }
        slices
    }

    pub(crate) async fn messages(&self, ticket: FlightTicket) -> Result<Vec<FlightData>, Status> {
        self.flights().await.do_get(ticket).await?.into_inner().try_collect().await
    }

    pub(crate) async fn get(&self, ticket: FlightTicket) -> Result<Columns, Status> {
        let messages = self.messages(ticket).await?;
        let summary = serde_json::from_slice(&messages.last().expect("a message").app_metadata).expect("JSON");
        assert!(messages.iter().rev().skip(1).all(|message| message.app_metadata.is_empty()), "with the last one only");
        // Clients refuse more than 4 MiB by default, and the server counts on less.
        assert!(messages.iter().all(|message| message.data_body.len() <= 512 << 10));
        let stream = futures_util::stream::iter(messages.into_iter().map(Ok));
        let mut stream = FlightRecordBatchStream::new_from_flight_data(stream);
        let batches: Vec<RecordBatch> = (&mut stream).map(|batch| batch.expect("a batch")).collect().await;
        Ok(Columns { schema: Arc::clone(stream.schema().expect("a schema")), batches, summary })
    }
}

// === impl Columns ===

impl Columns {
    pub(crate) fn metadata(&self) -> HashMap<String, String> {
        self.schema.metadata().iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    pub(crate) fn record_count(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// Its values as text, as CSV has them, but decimals without the zeros at their end.
    pub(crate) fn rows(&self) -> Vec<Vec<String>> {
        self.batches.iter().flat_map(rows).collect()
    }
}

fn rows(batch: &RecordBatch) -> Vec<Vec<String>> {
    let columns: Vec<Vec<String>> = batch.columns().iter().map(|column| texts(column)).collect();
    (0..batch.num_rows()).map(|row| columns.iter().map(|column| column[row].clone()).collect()).collect()
}

/// Nulls are empty.
fn texts(column: &dyn arrow_array::Array) -> Vec<String> {
    let text = |row: usize| -> String {
        if column.is_null(row) {
            return String::new();
        }
        match column.data_type() {
            DataType::Boolean => column.as_boolean().value(row).to_string().to_uppercase(),
            DataType::Int64 => column.as_any().downcast_ref::<Int64Array>().expect("numbers").value(row).to_string(),
            DataType::Timestamp(_, zone) => {
                assert_eq!(zone.as_deref(), Some("UTC"));
                let micros = column.as_any().downcast_ref::<TimestampMicrosecondArray>().expect("times").value(row);
                UtcTime::from_unix_micros(micros).expect("in range").to_string()
            }
            DataType::Decimal128(38, scale) => {
                let units = column.as_any().downcast_ref::<Decimal128Array>().expect("decimals").value(row);
                plain(units.into(), *scale)
            }
            DataType::Decimal256(76, scale) => {
                let units = column.as_any().downcast_ref::<Decimal256Array>().expect("decimals").value(row);
                plain(units.to_string().parse().expect("a number"), *scale)
            }
            DataType::Dictionary(keys, _) => {
                let (position, values) = match **keys {
                    DataType::Int8 => {
                        let column: &DictionaryArray<Int8Type> = column.as_dictionary();
                        (column.keys().value(row) as usize, column.values())
                    }
                    _ => {
                        let column: &DictionaryArray<Int32Type> = column.as_dictionary();
                        (column.keys().value(row) as usize, column.values())
                    }
                };
                values.as_any().downcast_ref::<StringArray>().expect("texts").value(position).to_owned()
            }
            other => panic!("{other}"),
        }
    };
    (0..column.len()).map(text).collect()
}

fn plain(units: BigInt, scale: i8) -> String {
    secure_connect_reports::model::plain(&BigDecimal::new(units, scale.into()))
}

/// The rows of a report's CSV, with quantities without the zeros at their end.
pub(crate) fn csv_rows(csv: &str) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().from_reader(csv.as_bytes());
    let quantity = reader.headers().expect("a header").iter().position(|name| name == "quantity").expect("quantities");
    let rows = reader.records().map(|row| {
        let mut row: Vec<String> = row.expect("a row").iter().map(str::to_owned).collect();
        row[quantity] = secure_connect_reports::model::plain(&row[quantity].parse().expect("a number"));
        row
    });
    rows.collect()
}

/// The report of a tenant in February 2022.
pub(crate) fn february(tenant: &str) -> UsageQuery {
    UsageQuery::new(tenant.parse().expect("an id"), "2022-02".parse().expect("a month"))
}
