//! Trace context, as the W3C recommendation of that name has it: what lets a call be followed from
//! the application through this layer to the other side.

use std::{fmt, fmt::Write as _};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::entropy::{Entropy, EntropyError};

/// `traceparent`
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// `tracestate`
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The longest `tracestate` that is passed on.
const MAX_STATE: usize = 512;

/// Where a call stands in a trace: `traceparent`, and the `tracestate` of whoever traces.
#[derive(Clone, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: [u8; 16],
    parent_id: [u8; 8],
    flags: u8,
    state: Option<HeaderValue>,
}

/// Text that is no `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a traceparent reads `00-<32 hex digits>-<16 hex digits>-<2 hex digits>`")]
pub struct InvalidTraceContext;

/// Which outgoing calls say where they stand in a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TracePropagation {
    /// All of them: a call that was given no context begins a trace, which asks nobody to sample
    /// it.
    #[default]
    All,
    /// Calls that were given a context.
    Given,
    /// None.
    Off,
}

impl TraceContext {
    /// Reads the headers of a request that the application is serving.
    ///
    /// A `tracestate` that is too long or no header value is left out, as the recommendation says.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidTraceContext`] where `traceparent` is none; a new trace begins then.
    pub fn parse(traceparent: &str, tracestate: Option<&str>) -> Result<Self, InvalidTraceContext> {
        let text = traceparent.trim();
        let mut parts = text.split('-');
        let mut next = || parts.next().ok_or(InvalidTraceContext);
        let (version, trace_id, parent_id, flags) = (next()?, next()?, next()?, next()?);
        let [version] = hex::<1>(version)?;
        // A later version may say more behind the flags; this one does not, and 255 is none.
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return Err(InvalidTraceContext);
        }
        let (trace_id, parent_id, [flags]) = (hex(trace_id)?, hex(parent_id)?, hex(flags)?);
        if trace_id == [0; 16] || parent_id == [0; 8] {
            return Err(InvalidTraceContext);
        }
        let state = tracestate.map(str::trim);
        let state = state.filter(|state| !state.is_empty() && state.len() <= MAX_STATE);
        Ok(Self {
            trace_id,
            parent_id,
            flags,
            state: state.and_then(|state| HeaderValue::try_from(state).ok()),
        })
    }

    /// A new trace that nobody is asked to sample.
    ///
    /// # Errors
    ///
    /// Returns [`EntropyError`] when there is no randomness.
    pub fn begin(entropy: &(impl Entropy + ?Sized)) -> Result<Self, EntropyError> {
        let mut bytes = [0; 24];
        entropy.fill(&mut bytes)?;
        let (mut trace_id, mut parent_id) = ([0; 16], [0; 8]);
        trace_id.copy_from_slice(&bytes[..16]);
        parent_id.copy_from_slice(&bytes[16..]);
        Ok(Self {
            trace_id,
            parent_id,
            flags: 0,
            state: None,
        })
    }

    /// The context of a step within this one: the same trace, another parent. Without randomness
    /// it is the same step.
    #[must_use]
    pub fn step(&self, entropy: &(impl Entropy + ?Sized)) -> Self {
        let mut parent_id = [0; 8];
        let drawn = entropy.fill(&mut parent_id);
        Self {
            parent_id: drawn.map_or(self.parent_id, |()| parent_id),
            ..self.clone()
        }
    }

    /// The trace, as 32 hex digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        digits(&self.trace_id)
    }

    /// The step, as 16 hex digits.
    #[must_use]
    pub fn parent_id(&self) -> String {
        digits(&self.parent_id)
    }

    /// The value of `traceparent`, of version 00.
    #[must_use]
    pub fn traceparent(&self) -> String {
        format!(
            "00-{}-{}-{:02x}",
            digits(&self.trace_id),
            digits(&self.parent_id),
            self.flags
        )
    }

    /// Sets the headers of an outgoing request.
    pub(crate) fn set_on(&self, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::try_from(self.traceparent()) {
            headers.insert(TRACEPARENT, value);
        }
        match &self.state {
            Some(state) => headers.insert(TRACESTATE, state.clone()),
            None => headers.remove(TRACESTATE),
        };
    }
}

impl TracePropagation {
    /// What a call that was given `context` takes part in, if anything. Without randomness no
    /// trace begins.
    pub(crate) fn of_call(
        self,
        given: Option<&TraceContext>,
        entropy: &(impl Entropy + ?Sized),
    ) -> Option<TraceContext> {
        match (self, given) {
            (Self::Off, _) | (Self::Given, None) => None,
            (Self::All, None) => TraceContext::begin(entropy).ok(),
            (_, Some(given)) => Some(given.clone()),
        }
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TraceContext")
            .field(&self.traceparent())
            .finish()
    }
}

fn hex<const N: usize>(text: &str) -> Result<[u8; N], InvalidTraceContext> {
    let is_lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != N * 2 || !text.bytes().all(is_lower) {
        return Err(InvalidTraceContext);
    }
    let mut bytes = [0; N];
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| InvalidTraceContext)?;
    }
    Ok(bytes)
}

fn digits(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting;

    impl Entropy for Counting {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
            (1..).zip(bytes).for_each(|(n, byte)| *byte = n);
            Ok(())
        }
    }

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_round_trips() {
        let context = TraceContext::parse(GIVEN, Some("congo=t61rcWkgMzE")).unwrap();
        assert_eq!(context.traceparent(), GIVEN);
        let mut headers = HeaderMap::new();
        context.set_on(&mut headers);
        assert_eq!(headers["traceparent"], GIVEN);
        assert_eq!(headers["tracestate"], "congo=t61rcWkgMzE");
    }

    #[test]
    fn a_step_keeps_the_trace_the_flags_and_the_state() {
        let context = TraceContext::parse(GIVEN, Some("a=b")).unwrap();
        let step = context.step(&Counting);
        assert_eq!(
            step.traceparent(),
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0102030405060708-01"
        );
        assert_eq!(step.state, context.state);
    }

    // https://www.w3.org/TR/trace-context/#versioning-of-traceparent
    #[test]
    fn what_is_no_context_is_refused_and_later_versions_are_read() {
        for text in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-größef3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        ] {
            assert!(TraceContext::parse(text, None).is_err(), "{text}");
        }
        let later = GIVEN.replacen("00", "01", 1) + "-more";
        let read = TraceContext::parse(&later, Some(&"x".repeat(513))).unwrap();
        assert_eq!(read.traceparent(), GIVEN, "in the version spoken here");
        assert_eq!(read.state, None);
    }

    #[test]
    fn propagation_says_which_calls_have_one() {
        let given = TraceContext::parse(GIVEN, None).unwrap();
        let of = |which: TracePropagation, given| which.of_call(given, &Counting).is_some();
        for (which, with, without) in [
            (TracePropagation::All, true, true),
            (TracePropagation::Given, true, false),
            (TracePropagation::Off, false, false),
        ] {
            assert_eq!((of(which, Some(&given)), of(which, None)), (with, without));
        }
        let begun = TraceContext::begin(&Counting).unwrap();
        assert!(begun.traceparent().ends_with("-00"), "asks for no sampling");
    }
}
