//! `ListPrices`.

use tonic::{Request, Status};

use super::parse::{bounded, missing, moment, month, optional, page_size, token};
use crate::{
    contract::proto,
    model::{BillingRegion, MAX_METER_NAME_BYTES, PriceTier, plain},
    reports::{InvalidField, MeterPrice, Prices, PricesRequest, list_prices},
    service::layers::Caller,
    store::Store,
};

/// The default, and the largest.
const PAGE_SIZES: (u16, u16) = (100, 1000);
/// The longest name of a meter, its characters taken apart.
const MAX_NAME_BYTES: usize = 4 * MAX_METER_NAME_BYTES;

pub(super) async fn handle(
    store: &Store,
    request: Request<proto::ListPricesRequest>,
) -> Result<proto::ListPricesResponse, Status> {
    let caller = Caller::of(&request)?;
    let request = PricesRequest::try_from(request.into_inner())?;
    caller.notes.months(request.month, request.month);
    let page = caller.answer(list_prices(store, &request).await)?;
    caller.notes.add_rows(page.prices.len());
    Ok(page.into())
}

impl TryFrom<proto::ListPricesRequest> for PricesRequest {
    type Error = InvalidField;

    fn try_from(request: proto::ListPricesRequest) -> Result<Self, InvalidField> {
        Ok(Self {
            month: month("month", request.month)?.ok_or_else(|| missing("month"))?,
            currency: optional("currency", &request.currency)?,
            meter_name: bounded("meter_name", request.meter_name, MAX_NAME_BYTES)?,
            as_of: moment("as_of", request.as_of)?,
            page_size: page_size(request.page_size, PAGE_SIZES)?,
            page_token: token("page_token", request.page_token)?,
        })
    }
}

impl From<Prices> for proto::ListPricesResponse {
    fn from(page: Prices) -> Self {
        Self { prices: page.prices.iter().map(price).collect(), next_page_token: page.next_page_token }
    }
}

fn price(listed: &MeterPrice) -> proto::Price {
    let unpriced = proto::Price {
        meter_name: listed.meter.name.clone(),
        meter_id: listed.meter.id.to_string(),
        unit: listed.meter.unit.clone(),
        applied_at: Some(listed.applied_at.into()),
        ..Default::default()
    };
    let Some(price) = &listed.price else { return proto::Price { not_charged: true, ..unpriced } };
    proto::Price {
        currency: price.currency.code().to_owned(),
        billing_region: price.billing_region.map_or(0, BillingRegion::code).into(),
        effective_from: Some(price.effective_from.into()),
        pricing_model: price.pricing.model.code(),
        rounding: price.pricing.rounding.code(),
        tiers: tiers(price.pricing.model.tiers()),
        ..unpriced
    }
}

fn tiers(tiers: &[PriceTier]) -> Vec<proto::PriceTier> {
    let mut from = "0".to_owned();
    let tiers = tiers.iter().map(|tier| {
        let to = tier.up_to.map(|end| plain(&end.to_big())).unwrap_or_default();
        let unit_price = plain(&tier.unit_price.to_big());
        proto::PriceTier { from: std::mem::replace(&mut from, to.clone()), to, unit_price }
    });
    tiers.collect()
}
