//! The state of a download to CSV, from which another process can resume it.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use prost::Message as _;
use serde::{Deserialize, Serialize};

use super::UsageQuery;
use crate::contract::{CsvFormat, LineEnd, proto};

/// The state of a download: the request, and the totals of the records received so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// The encoded request without its resume token, in base64.
    request: String,
    crlf: bool,
    neutralize_formulas: bool,
    #[serde(default)]
    byte_order_mark: bool,
    /// The revision of the report.
    pub revision: String,
    /// The position to resume from.
    pub(super) resume_token: String,
    /// How many records were received.
    pub received: u64,
    pub(super) sums: Vec<CheckpointSum>,
}

/// The total of a meter, region and trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CheckpointSum {
    pub(super) meter_id: String,
    pub(super) meter_name: String,
    pub(super) billing_region: i32,
    pub(super) trial: bool,
    pub(super) record_count: i64,
    pub(super) quantity: String,
}

// === impl Checkpoint ===

impl Checkpoint {
    pub(super) fn new(
        request: &proto::GetDetailedUsageRequest,
        format: CsvFormat,
        revision: String,
        received: u64,
        sums: Vec<CheckpointSum>,
    ) -> Self {
        Self {
            request: encoded(request),
            crlf: matches!(format.line_end, LineEnd::Crlf),
            neutralize_formulas: format.neutralize_formulas,
            byte_order_mark: format.byte_order_mark,
            revision,
            resume_token: request.resume_token.clone(),
            received,
            sums,
        }
    }

    /// Whether it belongs to this report in this format.
    pub fn matches(&self, query: &UsageQuery, format: CsvFormat) -> bool {
        self.request == encoded(&query.to_request())
            && self.crlf == matches!(format.line_end, LineEnd::Crlf)
            && self.neutralize_formulas == format.neutralize_formulas
            && self.byte_order_mark == format.byte_order_mark
    }
}

fn encoded(request: &proto::GetDetailedUsageRequest) -> String {
    let request = proto::GetDetailedUsageRequest { resume_token: String::new(), ..request.clone() };
    BASE64_STANDARD.encode(request.encode_to_vec())
}
