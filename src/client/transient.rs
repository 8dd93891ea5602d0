//! Which failures may pass.

use tonic::Code;

use crate::contract::Reason;

/// Whether a retry may succeed: the transport failed, or the server is unavailable for now.
pub(super) fn is_transient(code: Code, reason: &str) -> bool {
    match code {
        Code::Unavailable => true,
        // Permits of lost streams are free again when the server notices.
        Code::ResourceExhausted => reason == Reason::CallerLimit.as_str(),
        // Errors without a reason come from the transport or a proxy.
        Code::Unknown | Code::Internal | Code::Cancelled | Code::DeadlineExceeded | Code::Aborted => reason.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_tried_again() {
        for code in [Code::Unavailable, Code::Unknown, Code::Internal, Code::Cancelled, Code::Aborted] {
            assert!(is_transient(code, ""), "{code:?}");
            assert_eq!(is_transient(code, "REASON"), code == Code::Unavailable, "{code:?}");
        }
        for code in [Code::Unauthenticated, Code::NotFound, Code::InvalidArgument, Code::ResourceExhausted] {
            assert!(!is_transient(code, "") && !is_transient(code, "REASON"), "{code:?}");
        }
        assert!(is_transient(Code::ResourceExhausted, "CALLER_LIMIT"));
    }
}
