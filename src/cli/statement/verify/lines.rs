//! Lines by themselves: tiers, rounding, adjustments and sums.

use bigdecimal::{BigDecimal, Zero as _};

use crate::{cli::statement::document::Document, model::Currency, statement::Line};

/// Recomputes what lines and adjustments cost from their tiers, and the totals from these.
pub(super) fn check(document: &Document) -> Result<(), String> {
    let head = &document.statement;
    let mut total = BigDecimal::zero();
    for (line, number) in document.lines.iter().zip(1..) {
        let cost = cost(line, head.currency).map_err(|problem| format!("line {number} ({}): {problem}", name(line)))?;
        total += cost;
    }
    if total != head.line_total {
        return Err(format!("the lines come to {}, and should come to {}", plain(&total), plain(&head.line_total)));
    }
    let mut adjustments = BigDecimal::zero();
    for (adjustment, number) in document.adjustments.iter().zip(1..) {
        let line = &adjustment.line;
        let fails = |problem| format!("adjustment {number} ({}, {}): {problem}", name(line), adjustment.usage_month);
        let cost = cost(line, head.currency).map_err(fails)?;
        let amount = &cost - &adjustment.billed;
        if amount != adjustment.amount {
            let (found, stated) = (plain(&amount), plain(&adjustment.amount));
            return Err(fails(format!(
                "it costs {} and {} was billed: that is {found}, not {stated}",
                plain(&cost),
                plain(&adjustment.billed)
            )));
        }
        if adjustment.usage_month >= head.billing_month {
            return Err(fails("it is not of a month before".to_owned()));
        }
        adjustments += amount;
    }
    if adjustments != head.adjustment_total {
        let (found, stated) = (plain(&adjustments), plain(&head.adjustment_total));
        return Err(format!("the adjustments come to {found}, and should come to {stated}"));
    }
    if total + adjustments != head.total {
        return Err(format!("lines and adjustments do not come to the total of {}", plain(&head.total)));
    }
    Ok(())
}

/// What a line costs by its tiers.
fn cost(line: &Line, currency: Currency) -> Result<BigDecimal, String> {
    let Some(stated) = &line.cost else {
        return if line.tiers.is_empty() && !line.not_charged && line.quantity > BigDecimal::zero() {
            Ok(BigDecimal::zero())
        } else {
            Err("it has no cost, and something to charge for".to_owned())
        };
    };
    let sum = tiers(line)?;
    let rounded = currency.round(&sum, line.rounding.unwrap_or_default());
    if rounded == *stated && rounded.fractional_digit_count() == stated.fractional_digit_count() {
        return Ok(rounded);
    }
    Err(format!("its tiers come to {}, and its cost is {}", plain(&rounded), plain(stated)))
}

/// The exact sum of the tiers, which cover the quantity one after the other.
fn tiers(line: &Line) -> Result<BigDecimal, String> {
    if line.not_charged || line.quantity.is_zero() {
        return if line.tiers.is_empty() { Ok(BigDecimal::zero()) } else { Err("nothing is charged for".to_owned()) };
    }
    let (mut sum, mut reached) = (BigDecimal::zero(), Some(BigDecimal::zero()));
    for (tier, number) in line.tiers.iter().zip(1..) {
        let start = reached.take().ok_or_else(|| format!("tier {number} is behind the last one"))?;
        let end = tier.to.as_ref().map_or(&line.quantity, |to| to.min(&line.quantity));
        if tier.from != start || tier.from >= line.quantity || tier.quantity != end - &start {
            return Err(format!("tier {number} does not have its part of the quantity"));
        }
        if tier.amount != &tier.quantity * &tier.unit_price {
            return Err(format!(
                "tier {number} comes to {}, not {}",
                plain(&(&tier.quantity * &tier.unit_price)),
                plain(&tier.amount)
            ));
        }
        sum += &tier.amount;
        reached.clone_from(&tier.to);
    }
    match reached {
        Some(reached) if reached < line.quantity => Err("its tiers do not cover the quantity".to_owned()),
        _ => Ok(sum),
    }
}

/// How messages name a line.
pub(super) fn name(line: &Line) -> String {
    format!("{} of {} in {}", line.meter_name, line.tenant_name, line.billing_region.as_str())
}

fn plain(amount: &BigDecimal) -> String {
    amount.to_plain_string()
}
