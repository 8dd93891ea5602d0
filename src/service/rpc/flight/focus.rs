//! Charges as the columns of FOCUS's dataset Cost and Usage. docs/focus.md says where each is from.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use bigdecimal::BigDecimal;
use serde_json::json;

use super::usage_batches::BatchError;
use crate::{
    contract::{decimal, decimal_array, dictionary, proto, text_array},
    model::{BillingRegion, FocusVersion, Month, UtcTime, plain},
    reports::{
        ChargeKind, CostForms, FocusCharge, FocusHeader, FocusProvider, FocusRequest, InvalidField, PricedQuantity,
        RatedTier,
    },
    service::rpc::parse::{moment, months, optional, required},
};

const BATCH_ROWS: usize = 1000;
/// What ids and names of a batch's assets may take.
const BATCH_ASSET_BYTES: usize = 256 << 10;

/// Makes the batches of bills.
pub(super) struct FocusBatches {
    schema: SchemaRef,
    forms: CostForms,
    columns: Vec<&'static Column>,
    bill: Bill,
}

/// What charges have in common.
struct Bill {
    header: FocusHeader,
    provider: Arc<FocusProvider>,
}

#[derive(Clone, Copy)]
struct Row<'a> {
    bill: &'a Bill,
    charge: &'a FocusCharge,
}

struct Column {
    name: &'static str,
    is_nullable: bool,
    /// `None`: it is in all versions.
    version: Option<FocusVersion>,
    cells: Cells,
}

enum Cells {
    Text(for<'a> fn(Row<'a>) -> Option<Cow<'a, str>>),
    Time(fn(Row<'_>) -> UtcTime),
    Quantity(for<'a> fn(Row<'a>) -> Option<&'a BigDecimal>),
    Amount(for<'a> fn(Row<'a>) -> Option<&'a BigDecimal>),
}

const fn column(name: &'static str, cells: Cells) -> Column {
    Column { name, is_nullable: false, version: None, cells }
}

const fn nullable(name: &'static str, cells: Cells) -> Column {
    Column { name, is_nullable: true, version: None, cells }
}

const fn only(version: FocusVersion, column: Column) -> Column {
    Column { version: Some(version), ..column }
}

/// In the order of their names, as the specification lists them.
static COLUMNS: [Column; 42] = {
    use Cells::{Amount, Quantity, Text, Time};
    use FocusVersion::{V1_2, V1_4};
    [
        column("BilledCost", Amount(|row| Some(&row.charge.billed_cost))),
        column("BillingAccountId", Text(|row| Some(row.bill.header.organization_id.to_string().into()))),
        column("BillingAccountName", Text(|row| text(&row.bill.header.organization_name))),
        column("BillingCurrency", Text(|row| text(row.bill.header.currency.code()))),
        column("BillingPeriodEnd", Time(|row| row.charge.billing_month.end())),
        column("BillingPeriodStart", Time(|row| start(row.charge.billing_month))),
        column("ChargeCategory", Text(|row| text(if row.is_rounding() { "Adjustment" } else { "Usage" }))),
        nullable("ChargeClass", Text(|row| if row.is_correction() { text("Correction") } else { None })),
        column("ChargeDescription", Text(|row| Some(row.description().into()))),
        column("ChargeFrequency", Text(|_| text("Usage-Based"))),
        column("ChargePeriodEnd", Time(|row| row.charge.line.month.end())),
        column("ChargePeriodStart", Time(|row| start(row.charge.line.month))),
        nullable("ConsumedQuantity", Quantity(quantity)),
        nullable("ConsumedUnit", Text(|row| row.unit())),
        column("ContractedCost", Amount(|row| Some(&row.charge.list_cost))),
        nullable("ContractedUnitPrice", Amount(unit_price)),
        column("EffectiveCost", Amount(|row| Some(&row.charge.billed_cost))),
        only(
            V1_4,
            nullable("HostProviderName", Text(|row| row.bill.provider.host_provider_name.as_deref().map(Into::into))),
        ),
        nullable("InvoiceId", Text(|row| row.invoice())),
        column("InvoiceIssuerName", Text(|row| text(&row.bill.provider.invoice_issuer_name))),
        column("ListCost", Amount(|row| Some(&row.charge.list_cost))),
        nullable("ListUnitPrice", Amount(unit_price)),
        nullable("PricingCategory", Text(|row| row.priced().and_then(|_| text("Standard")))),
        nullable("PricingQuantity", Quantity(quantity)),
        nullable("PricingUnit", Text(|row| row.unit())),
        only(V1_2, column("ProviderName", Text(|row| text(&row.bill.provider.provider_name)))),
        only(V1_2, column("PublisherName", Text(|row| text(&row.bill.provider.publisher_name)))),
        column("RegionId", Text(|row| text(row.charge.line.billing_region.as_str()))),
        column("RegionName", Text(|row| text(region_name(row.charge.line.billing_region)))),
        nullable("ResourceId", Text(|row| row.resource())),
        nullable("ResourceName", Text(|row| row.charge.asset.as_ref().and_then(|asset| present(&asset.name)))),
        nullable(
            "ResourceType",
            Text(|row| row.charge.asset.as_ref().and_then(|asset| text(asset.asset_type.as_str()))),
        ),
        column("ServiceCategory", Text(|row| text(row.bill.provider.service.category()))),
        column("ServiceName", Text(|row| text(&row.bill.provider.service_name))),
        only(V1_4, column("ServiceProviderName", Text(|row| text(&row.bill.provider.provider_name)))),
        column("ServiceSubcategory", Text(|row| text(row.bill.provider.service.name()))),
        column("SkuId", Text(|row| Some(row.charge.line.meter.id.to_string().into()))),
        column("SkuMeter", Text(|row| text(&row.charge.line.meter.name))),
        nullable("SkuPriceDetails", Text(|row| row.price_details())),
        nullable("SkuPriceId", Text(|row| row.price_id())),
        column("SubAccountId", Text(|row| Some(row.charge.line.tenant_id.to_string().into()))),
        column("SubAccountName", Text(|row| text(&row.charge.line.tenant_name))),
    ]
};

impl TryFrom<proto::GetFocusCostsRequest> for FocusRequest {
    type Error = InvalidField;

    fn try_from(request: proto::GetFocusCostsRequest) -> Result<Self, InvalidField> {
        let no_value = || InvalidField::new("version", format!("there is no value {}", request.version));
        let version = match request.version {
            0 => FocusVersion::V1_2,
            code => FocusVersion::from_code(code).ok_or_else(no_value)?,
        };
        Ok(Self {
            organization_id: required("organization_id", &request.organization_id)?,
            tenant_id: optional("tenant_id", &request.tenant_id)?,
            months: months(request.start_month, request.end_month)?,
            as_of: moment("as_of", request.as_of)?,
            version,
            by_asset: request.by_asset,
        })
    }
}

// === impl FocusBatches ===

impl FocusBatches {
    pub(super) fn new(
        header: &FocusHeader,
        provider: Arc<FocusProvider>,
        version: FocusVersion,
        forms: CostForms,
        metadata: HashMap<String, String>,
    ) -> Self {
        let schema = schema(version, forms, metadata);
        Self { schema, forms, columns: columns(version).collect(), bill: Bill { header: header.clone(), provider } }
    }

    pub(super) fn empty(&self) -> RecordBatch {
        RecordBatch::new_empty(Arc::clone(&self.schema))
    }

    pub(super) fn of(&self, charges: &[FocusCharge]) -> impl Iterator<Item = Result<RecordBatch, BatchError>> {
        let bytes = |charge: &FocusCharge| charge.asset.as_ref().map_or(0, |asset| asset.id.len() + asset.name.len());
        let mut so_far = charges.first().map_or(0, bytes);
        let parts = charges.chunk_by(move |_, charge| {
            so_far += bytes(charge);
            let has_room = so_far <= BATCH_ASSET_BYTES;
            if !has_room {
                so_far = bytes(charge);
            }
            has_room
        });
        parts.flat_map(|part| part.chunks(BATCH_ROWS)).map(|part| self.batch(part))
    }

    fn batch(&self, charges: &[FocusCharge]) -> Result<RecordBatch, BatchError> {
        let rows: Vec<Row<'_>> = charges.iter().map(|charge| Row { bill: &self.bill, charge }).collect();
        let array = |column: &&Column| column.cells.array(&rows, self.forms).ok_or(BatchError::TooLong);
        let arrays = self.columns.iter().map(array).collect::<Result<_, _>>()?;
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), arrays)?)
    }
}

fn columns(version: FocusVersion) -> impl Iterator<Item = &'static Column> {
    COLUMNS.iter().filter(move |column| column.version.is_none_or(|only| only == version))
}

pub(super) fn schema(version: FocusVersion, forms: CostForms, metadata: HashMap<String, String>) -> SchemaRef {
    let field = |column: &Column| Field::new(column.name, column.cells.data_type(forms), column.is_nullable);
    Arc::new(Schema::new_with_metadata(columns(version).map(field).collect::<Vec<_>>(), metadata))
}

// === impl Cells ===

impl Cells {
    fn data_type(&self, forms: CostForms) -> DataType {
        match self {
            Self::Text(_) => dictionary(DataType::Int32),
            Self::Time(_) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Quantity(_) => decimal(forms.quantities),
            Self::Amount(_) => decimal(forms.amounts),
        }
    }

    /// `None`: a number has more digits than its column.
    fn array(&self, rows: &[Row<'_>], forms: CostForms) -> Option<ArrayRef> {
        let rows = rows.iter().copied();
        match self {
            Self::Text(cell) => {
                let texts: Vec<Option<Cow<'_, str>>> = rows.map(cell).collect();
                Some(text_array(texts.iter().map(Option::as_deref)))
            }
            Self::Time(cell) => {
                let times: TimestampMicrosecondArray = rows.map(|row| Some(cell(row).unix_micros())).collect();
                Some(Arc::new(times.with_timezone("UTC")))
            }
            Self::Quantity(cell) => decimal_array(forms.quantities, rows.map(cell)),
            Self::Amount(cell) => decimal_array(forms.amounts, rows.map(cell)),
        }
    }
}

// === impl Row ===

impl<'a> Row<'a> {
    fn is_rounding(self) -> bool {
        self.charge.kind == ChargeKind::Rounding
    }

    fn is_correction(self) -> bool {
        self.charge.kind == ChargeKind::Correction
    }

    fn priced(self) -> Option<&'a PricedQuantity> {
        self.charge.priced.as_ref()
    }

    fn unit(self) -> Option<Cow<'a, str>> {
        self.priced().and_then(|_| text(&self.charge.line.meter.unit))
    }

    fn tier(self) -> Option<&'a RatedTier> {
        let ChargeKind::Tier(index) = self.charge.kind else { return None };
        self.charge.line.tiers.get(index)
    }

    fn description(self) -> String {
        let line = &self.charge.line;
        let unit = &line.meter.unit;
        let what = format!("{} in {}", line.meter.name, region_name(line.billing_region));
        let tier = match (self.charge.kind, self.tier()) {
            (ChargeKind::Trial, _) => return format!("{what}, under trial"),
            (ChargeKind::Uncharged, _) => return format!("{what}, not charged"),
            (ChargeKind::Rounding, _) => return format!("Rounding of {what}"),
            (ChargeKind::Correction, _) => return format!("Correction of {what}, usage of {}", line.month),
            (ChargeKind::Tier(_), Some(RatedTier { from, to: Some(to), .. })) => {
                format!(", {} to {} {unit}", plain(from), plain(to))
            }
            (ChargeKind::Tier(index), Some(RatedTier { from, to: None, .. })) if index > 0 => {
                format!(", over {} {unit}", plain(from))
            }
            (ChargeKind::Tier(_), _) => String::new(),
        };
        let price = unit_price(self).map_or_else(String::new, plain);
        format!("{what}{tier}, at {price} {} per {unit}", self.bill.header.currency.code())
    }

    /// The statement that bills it.
    fn invoice(self) -> Option<Cow<'a, str>> {
        let mut totals = self.bill.header.totals.iter();
        let total = totals.find(|total| total.month == self.charge.billing_month);
        total.and_then(|total| total.statement).map(|number| number.to_string().into())
    }

    /// Assets are named within their tenant and type.
    fn resource(self) -> Option<Cow<'a, str>> {
        let asset = self.charge.asset.as_ref()?;
        Some(format!("{}/{}/{}", self.charge.line.tenant_id, asset.asset_type, asset.id).into())
    }

    /// An entry of a price list, as far as it does not change: without the price itself and its currency.
    fn price_id(self) -> Option<Cow<'a, str>> {
        let name = match (self.charge.kind, self.tier()) {
            (ChargeKind::Trial, _) => "trial".to_owned(),
            (ChargeKind::Uncharged, _) => "not-charged".to_owned(),
            (_, Some(RatedTier { from, to: Some(to), .. })) => format!("{}-{}", plain(from), plain(to)),
            (_, Some(RatedTier { from, to: None, .. })) => format!("{}+", plain(from)),
            (_, None) => return None,
        };
        let line = &self.charge.line;
        Some(format!("{}/{}/{name}", line.meter.id, line.billing_region).into())
    }

    /// The same as JSON.
    fn price_details(self) -> Option<Cow<'a, str>> {
        let details = match (self.charge.kind, self.tier()) {
            (ChargeKind::Trial, _) => json!({ "x_Trial": true }),
            (ChargeKind::Uncharged, _) => json!({ "x_NotCharged": true }),
            (_, Some(RatedTier { from, to: Some(to), .. })) => {
                json!({ "x_TierFrom": plain(from), "x_TierTo": plain(to) })
            }
            (_, Some(RatedTier { from, to: None, .. })) => json!({ "x_TierFrom": plain(from) }),
            (_, None) => return None,
        };
        Some(details.to_string().into())
    }
}

fn quantity(row: Row<'_>) -> Option<&BigDecimal> {
    row.priced().map(|priced| &priced.quantity)
}

fn unit_price(row: Row<'_>) -> Option<&BigDecimal> {
    row.priced().map(|priced| &priced.unit_price)
}

#[expect(clippy::unnecessary_wraps, reason = "a cell")]
fn text(text: &str) -> Option<Cow<'_, str>> {
    Some(text.into())
}

/// FOCUS has no empty texts.
fn present(text: &str) -> Option<Cow<'_, str>> {
    (!text.is_empty()).then(|| text.into())
}

fn start(month: Month) -> UtcTime {
    UtcTime::midnight(month.first_day())
}

fn region_name(region: BillingRegion) -> &'static str {
    match region {
        BillingRegion::Af => "Africa",
        BillingRegion::Ap => "Asia and the Pacific",
        BillingRegion::Eu => "Europe",
        BillingRegion::Na => "North America",
    }
}
