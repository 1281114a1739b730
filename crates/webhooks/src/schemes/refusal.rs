//! Why a delivery is not believed.

/// Why a delivery is refused. Told to log and metrics; senders are told none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no such integration.
    #[error("there is no such integration")]
    UnknownIntegration,
    /// No secret is configured.
    #[error("no webhook secret is configured; set one with `update`")]
    NoSecret,
    /// What is configured as secret cannot be used with the scheme.
    #[error("the configured webhook secret cannot be used with this scheme")]
    UnusableSecret,
    /// Every secret ran out.
    #[error("every configured webhook secret has run out")]
    ExpiredSecret,
    /// The settings make no scheme.
    #[error("the settings make no signature scheme")]
    NoScheme,
    /// The credentials do not open.
    #[error("the integration's credentials do not open")]
    Credentials,
    /// A header that must be there is not.
    #[error("a header the scheme needs is missing")]
    MissingHeader,
    /// A header that must be there once is there twice.
    #[error("a header the scheme needs is there more than once")]
    RepeatedHeader,
    /// A header is not of the scheme's form.
    #[error("a header is not of the scheme's form")]
    MalformedHeader,
    /// A part that must be there once is there twice.
    #[error("a part of the signature's header is there more than once")]
    RepeatedPart,
    /// The timestamp is not one.
    #[error("the timestamp is not of the scheme's form")]
    MalformedTimestamp,
    /// The timestamp is too long ago.
    #[error("the timestamp is older than the tolerance")]
    Stale,
    /// The timestamp is too far ahead.
    #[error("the timestamp is ahead by more than the tolerance")]
    Ahead,
    /// The signature is not written as the scheme writes it.
    #[error("the signature is not written as the scheme writes it")]
    MalformedSignature,
    /// There are more signatures than anybody sends.
    #[error("there are too many signatures in the header")]
    TooManySignatures,
    /// There is no signature of a version that is known.
    #[error("there is no signature of a known version")]
    NoSignature,
    /// No secret fits.
    #[error("no secret fits the signature")]
    Mismatch,
    /// Secrets of several integrations fit.
    #[error("the secrets of several integrations fit; give each its own, or use their own routes")]
    Ambiguous,
    /// Nobody on the provider's own route could have verified it.
    #[error("no integration of this provider could be tried")]
    NoCandidate,
}

impl Refusal {
    /// Every reason, for metrics that begin at zero.
    pub const ALL: [Self; 19] = [
        Self::UnknownIntegration,
        Self::NoSecret,
        Self::UnusableSecret,
        Self::ExpiredSecret,
        Self::NoScheme,
        Self::Credentials,
        Self::MissingHeader,
        Self::RepeatedHeader,
        Self::MalformedHeader,
        Self::RepeatedPart,
        Self::MalformedTimestamp,
        Self::Stale,
        Self::Ahead,
        Self::MalformedSignature,
        Self::TooManySignatures,
        Self::NoSignature,
        Self::Mismatch,
        Self::Ambiguous,
        Self::NoCandidate,
    ];

    /// Its name in metrics.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::UnknownIntegration => "unknown_integration",
            Self::NoSecret => "no_secret",
            Self::UnusableSecret => "unusable_secret",
            Self::ExpiredSecret => "expired_secret",
            Self::NoScheme => "no_scheme",
            Self::Credentials => "credentials",
            Self::MissingHeader => "missing_header",
            Self::RepeatedHeader => "repeated_header",
            Self::MalformedHeader => "malformed_header",
            Self::RepeatedPart => "repeated_part",
            Self::MalformedTimestamp => "malformed_timestamp",
            Self::Stale => "stale_timestamp",
            Self::Ahead => "timestamp_ahead",
            Self::MalformedSignature => "malformed_signature",
            Self::TooManySignatures => "too_many_signatures",
            Self::NoSignature => "no_signature",
            Self::Mismatch => "mismatch",
            Self::Ambiguous => "ambiguous",
            Self::NoCandidate => "no_candidate",
        }
    }

    /// Whether the operator has to mend something, not the sender.
    #[must_use]
    pub const fn is_ours(self) -> bool {
        matches!(
            self,
            Self::NoSecret
                | Self::UnusableSecret
                | Self::ExpiredSecret
                | Self::NoScheme
                | Self::Credentials
                | Self::Ambiguous
        )
    }

    /// Its place in [`ALL`](Self::ALL).
    pub(crate) fn index(self) -> usize {
        let place = Self::ALL.iter().position(|reason| *reason == self);
        // A test shows that every reason is there.
        place.unwrap_or_default()
    }
}
