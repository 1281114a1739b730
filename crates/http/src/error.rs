//! From what failed to a [`TransportError`]. Nothing of the cause's own text is taken over: it may
//! hold a URL, and a URL may hold a secret.

use std::{error::Error, io};

use integrations_core::transport::{Reached, TransportError, TransportErrorKind as Kind};

use crate::{
    guard::{InvalidNetwork, Refusal},
    resolve::Unresolved,
};

/// Why a request was given up before anything was sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the URL is not absolute and of http:// or https://")]
    BadUrl,
    #[error("the URL has no host")]
    NoHost,
    #[error("the URL holds a user name or password: send them as a header")]
    UserInfo,
    #[error(transparent)]
    Network(#[from] InvalidNetwork),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Unresolved(#[from] Unresolved),
}

impl From<Failure> for TransportError {
    fn from(failure: Failure) -> Self {
        let kind = match failure {
            Failure::BadUrl | Failure::NoHost | Failure::UserInfo | Failure::Network(_) => {
                Kind::Invalid
            }
            Failure::Refused(_) => Kind::Refused,
            Failure::Unresolved(_) => Kind::Resolve,
        };
        Self::new(kind, Reached::NotSent, failure.to_string())
    }
}

/// A request that `reqwest` failed; `sent` says whether it had begun to be sent.
pub(crate) fn request_error(error: &reqwest::Error, sent: bool) -> TransportError {
    if let Some(refusal) = find::<Refusal>(error) {
        return Failure::Refused(*refusal).into();
    }
    if find::<Unresolved>(error).is_some() {
        return Failure::Unresolved(Unresolved).into();
    }
    if error.is_builder() {
        return TransportError::new(Kind::Invalid, Reached::NotSent, "the request is malformed");
    }

    let connecting = error.is_connect();
    let reached = if connecting {
        Reached::NotSent
    } else {
        reached(sent)
    };
    if error.is_timeout() {
        let message = if connecting {
            "no connection in time"
        } else {
            "no answer in time"
        };
        TransportError::new(Kind::Timeout, reached, message)
    } else if connecting {
        TransportError::new(Kind::Connect, reached, connect_message(error))
    } else {
        TransportError::new(
            Kind::Interrupted,
            reached,
            "the connection broke before the answer",
        )
    }
}

/// An answer whose body `reqwest` failed to read.
pub(crate) fn body_error(error: &reqwest::Error) -> TransportError {
    let (kind, message) = if error.is_timeout() {
        (Kind::Timeout, "the answer did not come whole in time")
    } else {
        (Kind::Interrupted, "the connection broke within the answer")
    };
    TransportError::new(kind, Reached::MaybeSent, message)
}

/// The time for the whole exchange is over.
pub(crate) fn elapsed(sent: bool) -> TransportError {
    TransportError::new(
        Kind::Timeout,
        reached(sent),
        "the exchange took longer than allowed",
    )
}

fn reached(sent: bool) -> Reached {
    if sent {
        Reached::MaybeSent
    } else {
        Reached::NotSent
    }
}

fn connect_message(error: &reqwest::Error) -> String {
    use rustls::CertificateError as Certificate;

    if let Some(tls) = find::<rustls::Error>(error) {
        let reason = match tls {
            rustls::Error::InvalidCertificate(
                Certificate::Expired | Certificate::ExpiredContext { .. },
            ) => "the certificate has expired",
            rustls::Error::InvalidCertificate(
                Certificate::NotValidForName | Certificate::NotValidForNameContext { .. },
            ) => "the certificate is for another name",
            rustls::Error::InvalidCertificate(Certificate::UnknownIssuer) => {
                "the certificate's issuer is not trusted"
            }
            rustls::Error::InvalidCertificate(_) => "the certificate is not valid",
            _ => "the other side does not agree on how to speak TLS",
        };
        return format!("the TLS handshake failed: {reason}");
    }
    // The kind is one of a few fixed words, such as `connection refused`.
    match find::<io::Error>(error).map(io::Error::kind) {
        Some(kind) if kind != io::ErrorKind::Other => format!("no connection: {kind}"),
        _ => "no connection".to_owned(),
    }
}

/// The first cause of type `T`.
pub(crate) fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        // The source of an `io::Error` is the source of what it wraps, not what it wraps.
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_found_through_wrapping_io_errors() {
        let error = io::Error::other(io::Error::other(Refusal::Forbidden));
        assert_eq!(find::<Refusal>(&error), Some(&Refusal::Forbidden));
        assert!(find::<Unresolved>(&error).is_none());
    }
}
