//! What the end of an attempt means. Health, circuit and retries all go by this one verdict.

use std::error::Error;

use crate::{
    provider::{Effect, Outcome, Provider},
    request::FailureClass,
    transport::{Reached, TransportError, TransportErrorKind},
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
    error: &(dyn Error + 'static),
) -> FailureClass {
    let own = || provider.failure_classifier()?.classify_error(error);
    if let Some(class) = caught("failure classifier", own).flatten() {
        return class;
    }
    if let Some(class) = status.and_then(class_of_status) {
        return class;
    }
    transport_error(error).map_or(FailureClass::Unknown, class_of_transport)
}

/// What a status says about whether the request changed anything.
#[must_use]
pub const fn effect_of_status(status: u16) -> Effect {
    match status {
        200..300 => Effect::Happened,
        408 | 409 => Effect::Unknown,
        300..500 => Effect::DidNotHappen,
        _ => Effect::Unknown,
    }
}

/// What an answer says about whether the request changed anything, the provider's own verdict
/// first.
#[must_use]
pub fn effect_of_answer(provider: &dyn Provider, outcome: &Outcome<'_>) -> Effect {
    let own = || provider.failure_classifier()?.effect(outcome);
    let by_status = || outcome.status.map_or(Effect::Unknown, effect_of_status);
    caught("failure classifier", own)
        .flatten()
        .unwrap_or_else(by_status)
}

/// Whether a request that got no usable answer may have changed anything.
#[must_use]
pub const fn effect_of_transport(error: &TransportError) -> Effect {
    match error.reached {
        Reached::NotSent => Effect::DidNotHappen,
        Reached::MaybeSent => Effect::Unknown,
    }
}

/// Whether what an SDK failed with may have changed anything: by the status that was reported, a
/// transport error in the chain, or what its class means. An error nobody can classify may.
#[must_use]
pub fn effect_of_error(
    status: Option<u16>,
    class: &FailureClass,
    error: &(dyn Error + 'static),
) -> Effect {
    if let Some(status) = status {
        return effect_of_status(status);
    }
    if let Some(transport) = transport_error(error) {
        return effect_of_transport(transport);
    }
    match class {
        FailureClass::Client | FailureClass::Throttle => Effect::DidNotHappen,
        _ => Effect::Unknown,
    }
}

/// The transport error in a chain of causes.
fn transport_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a TransportError> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(transport) = error.downcast_ref() {
            return Some(transport);
        }
        cause = error.source();
    }
    None
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

    // DESIGN: what may have happened
    #[test]
    fn statuses_say_what_happened() {
        use Effect::{DidNotHappen, Happened, Unknown};
        let expected = [
            (200, Happened),
            (204, Happened),
            (304, DidNotHappen),
            (400, DidNotHappen),
            (408, Unknown),
            (409, Unknown),
            (422, DidNotHappen),
            (425, DidNotHappen),
            (429, DidNotHappen),
            (500, Unknown),
            (501, Unknown),
            (503, Unknown),
        ];
        for (status, effect) in expected {
            assert_eq!(effect_of_status(status), effect, "{status}");
        }
    }
}
