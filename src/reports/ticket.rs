//! Tickets: what a caller of `GetFlightInfo` hands back to `DoGet`. As tokens, they hold nothing that the caller has not seen.

use super::{
    InvalidField,
    token::{self, InvalidToken, Kind, take},
    usage::UsageSlice,
};
use crate::model::{Decimal, DecimalForm};

/// A stream that may be asked for. With each comes its request, as the contract encodes it, of a fixed moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ticket {
    /// Of the report that the request asks for, this slice.
    Usage(UsageSlice, Vec<u8>),
    /// Costs, with quantities and amounts in these forms.
    Costs(CostForms, Vec<u8>),
    /// The charges of bills, with quantities, and prices and costs, in these forms.
    Focus(CostForms, Vec<u8>),
}

/// How numbers of costs are carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CostForms {
    pub quantities: DecimalForm,
    pub amounts: DecimalForm,
}

// === impl Ticket ===

impl Ticket {
    pub fn seal(&self) -> Vec<u8> {
        match self {
            Self::Usage(slice, request) => {
                let mut payload = Vec::with_capacity(64 + request.len());
                slice.put(&mut payload);
                payload.extend_from_slice(request);
                token::seal_bytes(Kind::UsageTicket, &payload)
            }
            Self::Costs(forms, request) => seal_costs(Kind::CostsTicket, *forms, request),
            Self::Focus(forms, request) => seal_costs(Kind::FocusTicket, *forms, request),
        }
    }

    pub fn open(ticket: &[u8]) -> Result<Self, InvalidField> {
        Self::read(ticket).map_err(|error| InvalidField::new("ticket", error))
    }

    fn read(ticket: &[u8]) -> Result<Self, InvalidToken> {
        match token::open_bytes(Kind::UsageTicket, ticket) {
            Ok(mut payload) => return Ok(Self::Usage(UsageSlice::take(&mut payload)?, payload.to_vec())),
            Err(InvalidToken::Kind) => {}
            Err(error) => return Err(error),
        }
        match token::open_bytes(Kind::CostsTicket, ticket) {
            Err(InvalidToken::Kind) => {}
            payload => return open_costs(payload?).map(|(forms, request)| Self::Costs(forms, request)),
        }
        open_costs(token::open_bytes(Kind::FocusTicket, ticket)?).map(|(forms, request)| Self::Focus(forms, request))
    }
}

fn seal_costs(kind: Kind, forms: CostForms, request: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(16 + request.len());
    put_form(forms.quantities, &mut payload);
    put_form(forms.amounts, &mut payload);
    payload.extend_from_slice(request);
    token::seal_bytes(kind, &payload)
}

fn open_costs(mut payload: &[u8]) -> Result<(CostForms, Vec<u8>), InvalidToken> {
    let forms = CostForms { quantities: take_form(&mut payload)?, amounts: take_form(&mut payload)? };
    Ok((forms, payload.to_vec()))
}

pub(super) fn put_form(form: DecimalForm, payload: &mut Vec<u8>) {
    payload.extend_from_slice(&[form.scale, u8::from(form.is_wide)]);
}

pub(super) fn take_form(payload: &mut &[u8]) -> Result<DecimalForm, InvalidToken> {
    match take(payload)? {
        [scale @ ..=Decimal::MAX_DIGITS, wide @ ..=1] => Ok(DecimalForm { scale, is_wide: wide == 1 }),
        _ => Err(InvalidToken::Damaged),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trip(
            revision in any::<[u8; 32]>(), first in any::<u32>(), loads in 0..1000_u32, scale in 0..=38_u8, is_wide in any::<bool>(),
            request in prop::collection::vec(any::<u8>(), 0..100), at in any::<prop::sample::Index>(), bit in 0..8_u8,
        ) {
            let quantities = DecimalForm { scale, is_wide };
            let slice = UsageSlice::of_loads(revision, (first, first.saturating_add(loads)), quantities);
            let amounts = DecimalForm { scale: 38 - scale, is_wide: false };
            for ticket in [
                Ticket::Usage(slice, request.clone()),
                Ticket::Costs(CostForms { quantities, amounts }, request.clone()),
                Ticket::Focus(CostForms { quantities, amounts }, request),
            ] {
                let mut sealed = ticket.seal();
                prop_assert_eq!(Ticket::open(&sealed), Ok(ticket));
                let at = at.index(sealed.len());
                sealed[at] ^= 1 << bit;
                prop_assert!(Ticket::open(&sealed).is_err());
                prop_assert!(Ticket::open(&sealed[..at]).is_err());
            }
        }

        #[test]
        fn what_no_ticket_holds_is_damage(payload in prop::collection::vec(any::<u8>(), 0..60)) {
            for kind in [Kind::UsageTicket, Kind::CostsTicket, Kind::FocusTicket] {
                // However it is made: it is read without a panic.
                let _ = Ticket::open(&token::seal_bytes(kind, &payload));
            }
        }
    }
}
