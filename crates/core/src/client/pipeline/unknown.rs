//! Asking the provider what became of a call nobody knows the outcome of.

use std::{pin::Pin, sync::Arc};

use http::Method;

use super::reservation::Claim;
use crate::{
    client::{
        Answer, CallError, CallErrorKind, IntegrationHandle, call::Draft, connection::Connection,
        pipeline::CallOptions, settle::Attempted,
    },
    idempotency::{KeyResolution, KeyResolved},
    provider::{Effect, Outcome, Probe},
    unwind::caught,
    value::IdempotencyKey,
};

/// What is noted on a key the provider itself told about.
const BY_PROBE: &str = "the provider was asked";

impl IntegrationHandle {
    /// Resolves an unknown key by the provider's own probe, where it has one that can tell;
    /// whether it was resolved.
    pub(super) async fn settle_unknown(
        &self,
        connection: &Arc<Connection>,
        row: &Attempted,
        claim: &Result<Claim, CallError>,
    ) -> bool {
        let Err(error) = claim else {
            return false;
        };
        let Some(record) = error.record() else {
            return false;
        };
        if *error.kind() != CallErrorKind::KeyUnknown {
            return false;
        }
        let happened = match self.ask_about(connection, &row.endpoint, &record.key).await {
            Effect::Happened => true,
            Effect::DidNotHappen => false,
            Effect::Unknown => return false,
        };
        let ports = &self.shared.ports;
        let resolution = KeyResolution {
            integration_id: record.integration_id,
            key: record.key.clone(),
            scope: self.scope.clone(),
            happened,
            reason: BY_PROBE.to_owned(),
            now: ports.clock.now(),
        };
        match ports.ledger.resolve(&resolution).await {
            Ok(resolved) => resolved == KeyResolved::Done,
            Err(error) => {
                tracing::warn!(%error, "what a provider told about a key could not be noted");
                false
            }
        }
    }

    /// Makes the probe, a call like any other. It has no key, so nobody is asked about it in turn.
    fn ask(
        &self,
        probe: Probe,
    ) -> Pin<Box<dyn Future<Output = Result<Answer, CallError>> + Send + '_>> {
        let draft = Draft::new(Method::GET, probe.endpoint);
        Box::pin(self.send(draft, CallOptions::default()))
    }

    async fn ask_about(
        &self,
        connection: &Arc<Connection>,
        endpoint: &str,
        key: &IdempotencyKey,
    ) -> Effect {
        let provider = &connection.registered.provider;
        let request = || provider.key_probe()?.request(endpoint, key);
        let Some(probe) = caught("key probe", request).flatten() else {
            return Effect::Unknown;
        };
        let answer = match self.ask(probe).await {
            Ok(answer) => answer,
            Err(error) => match error.into_answer() {
                Some(answer) => answer,
                None => return Effect::Unknown,
            },
        };
        let outcome = Outcome {
            status: Some(answer.status.as_u16()),
            headers: &answer.headers,
            body: &answer.body,
        };
        let verdict = || Some(provider.key_probe()?.verdict(key, &outcome));
        caught("key probe", verdict)
            .flatten()
            .unwrap_or(Effect::Unknown)
    }
}
