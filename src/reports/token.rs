//! Tokens: positions that a caller hands back. They hold nothing that the caller has not seen, so they need no secret;
//! a check tells one that was cut or altered from one that is good.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A page of `ListTenants`.
    Tenants = 1,
    /// A position in a detailed usage report.
    Usage = 2,
    /// A page of `GetMonthlyCosts`.
    Costs = 3,
    /// A page of `ListPrices`.
    Prices = 4,
    /// A page of `ListOrganizations`.
    Organizations = 5,
    /// A page of `ListStatements`.
    Statements = 6,
    /// A page of `ListLoads`.
    Loads = 7,
    /// A slice of a detailed usage report.
    UsageTicket = 8,
    /// Costs as columns.
    CostsTicket = 9,
    /// Charges of a bill as columns.
    FocusTicket = 10,
}

/// A text is not a token of the expected kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidToken {
    #[error("not a token of this service, or it was truncated or altered")]
    Damaged,
    #[error("a token of another RPC")]
    Kind,
    #[error("a token of another version of this service")]
    Version,
}

const VERSION: u8 = 1;
const CHECK_BYTES: usize = 8;

pub(super) fn seal(kind: Kind, payload: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(seal_bytes(kind, payload))
}

pub(super) fn open(kind: Kind, token: &str) -> Result<Vec<u8>, InvalidToken> {
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| InvalidToken::Damaged)?;
    open_bytes(kind, &bytes).map(<[u8]>::to_vec)
}

/// A token that need not be text.
pub(super) fn seal_bytes(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![VERSION, kind as u8];
    bytes.extend_from_slice(payload);
    let check = short_digest(&bytes);
    bytes.extend_from_slice(&check);
    bytes
}

pub(super) fn open_bytes(kind: Kind, bytes: &[u8]) -> Result<&[u8], InvalidToken> {
    let (content, check) = bytes.split_last_chunk::<CHECK_BYTES>().ok_or(InvalidToken::Damaged)?;
    if short_digest(content) != *check {
        return Err(InvalidToken::Damaged);
    }
    match content {
        [VERSION, found, payload @ ..] if *found == kind as u8 => Ok(payload),
        [VERSION, ..] => Err(InvalidToken::Kind),
        _ => Err(InvalidToken::Version),
    }
}

/// A short digest that identifies some content, for instance a filter.
pub(super) fn short_digest(content: &[u8]) -> [u8; CHECK_BYTES] {
    let digest: [u8; 32] = Sha256::digest(content).into();
    let mut short = [0; CHECK_BYTES];
    short.copy_from_slice(&digest[..CHECK_BYTES]);
    short
}

/// Takes the next bytes of a payload.
pub(super) fn take<const N: usize>(payload: &mut &[u8]) -> Result<[u8; N], InvalidToken> {
    let (taken, rest) = payload.split_first_chunk().ok_or(InvalidToken::Damaged)?;
    *payload = rest;
    Ok(*taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trip(payload in prop::collection::vec(any::<u8>(), 0..200)) {
            let token = seal(Kind::Usage, &payload);
            prop_assert_eq!(open(Kind::Usage, &token), Ok(payload));
            prop_assert_eq!(open(Kind::Tenants, &token), Err(InvalidToken::Kind));
        }

        #[test]
        fn an_altered_token_is_refused(
            payload in prop::collection::vec(any::<u8>(), 0..60), at in any::<prop::sample::Index>(), bit in 0..8_u8,
        ) {
            let mut bytes = URL_SAFE_NO_PAD.decode(seal(Kind::Usage, &payload)).expect("base64");
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(open(Kind::Usage, &URL_SAFE_NO_PAD.encode(bytes)), Err(InvalidToken::Damaged));
        }

        #[test]
        fn any_text_is_refused_without_a_panic(text in "\\PC{0,80}") {
            prop_assert!(open(Kind::Usage, &text).is_err());
        }
    }
}
