//! What the end of an attempt means. Health, circuit and retries all go by this one verdict.

use crate::{
    provider::{Outcome, Provider},
    request::FailureClass,
    transport::{TransportError, TransportErrorKind},
    unwind::caught,
};

/// The class of a status (RET-06); `None` where it is no failure.
#[must_use]
pub const fn class_of_status(status: u16) -> Option<FailureClass> {
    match status {
        0..400 => None,
        429 => Some(FailureClass::Throttle),
        501 => Some(FailureClass::Client),
        500.. => Some(FailureClass::Upstream),
        _ => Some(FailureClass::Client),
    }
}

/// The class of an answer, the provider's own verdict first. A provider that panics has none.
#[must_use]
pub fn class_of_answer(provider: &dyn Provider, outcome: &Outcome<'_>) -> Option<FailureClass> {
    let by_status = class_of_status(outcome.status.unwrap_or(0));
    let own = || provider.failure_classifier()?.classify(outcome);
    caught("failure classifier", own).flatten().or(by_status)
}

/// The class of a request that got no usable answer.
#[must_use]
pub const fn class_of_transport(error: &TransportError) -> FailureClass {
    match error.kind {
        kind if kind.is_upstream() => FailureClass::Upstream,
        TransportErrorKind::Invalid
        | TransportErrorKind::Refused
        | TransportErrorKind::Redirect => FailureClass::Client,
        _ => FailureClass::Unknown,
    }
}

/// The class of an SDK's error: the provider's verdict, then a status reported through the call's
/// context, then a transport error anywhere in the chain (REQ-45). A provider that panics has no
/// verdict.
#[must_use]
pub fn class_of_error(
    provider: &dyn Provider,
    status: Option<u16>,
    error: &(dyn std::error::Error + 'static),
) -> FailureClass {
    let own = || provider.failure_classifier()?.classify_error(error);
    if let Some(class) = caught("failure classifier", own).flatten() {
        return class;
    }
    if let Some(class) = status.and_then(class_of_status) {
        return class;
    }
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(transport) = error.downcast_ref::<TransportError>() {
            return class_of_transport(transport);
        }
        cause = error.source();
    }
    FailureClass::Unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    // RET-06
    #[test]
    fn statuses_have_their_class() {
        let expected = [
            (200, None),
            (304, None),
            (400, Some(FailureClass::Client)),
            (401, Some(FailureClass::Client)),
            (404, Some(FailureClass::Client)),
            (429, Some(FailureClass::Throttle)),
            (500, Some(FailureClass::Upstream)),
            (501, Some(FailureClass::Client)),
            (503, Some(FailureClass::Upstream)),
        ];
        for (status, class) in expected {
            assert_eq!(class_of_status(status), class, "{status}");
        }
    }
}
