//! How rows are shown.

use chrono::{DateTime, SecondsFormat, Utc};
use integrations::{
    integration::{HealthStatus, Integration, OwnerId},
    request::{FailureClass, RelatedId, Request, RequestSummary},
    value::IdempotencyKey,
};
use serde_json::{Value as Json, json};

use crate::exit::{Failure, Outcome};

/// Where there is nothing to show.
pub(super) const NONE: &str = "-";

/// RFC 3339, to the millisecond.
pub(super) fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

pub(super) fn time_or_none(at: Option<DateTime<Utc>>) -> String {
    at.map_or_else(|| NONE.to_owned(), time)
}

/// Refuses an override that has ended already (CLI-08).
pub(super) fn check_until(until: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Outcome<()> {
    match until {
        Some(until) if until <= now => Err(Failure::usage("--until must be in the future")),
        _ => Ok(()),
    }
}

/// A value, or what stands for none.
pub(super) fn or_none<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| value.to_string())
}

/// Whether it takes calls, and if not, who switched it off.
pub(super) fn active(integration: &Integration) -> &'static str {
    if !integration.is_active {
        "off (operator)"
    } else if integration.health.status == HealthStatus::Disabled {
        "off (health)"
    } else {
        "on"
    }
}

/// The same, and what becomes of webhooks.
fn active_with_webhooks(integration: &Integration) -> String {
    let active = active(integration);
    if !integration.is_active && integration.parks_webhooks {
        return format!("{active}; webhooks are parked");
    }
    active.to_owned()
}

/// The share of calls that failed.
pub(super) fn error_rate(summary: &RequestSummary) -> Option<f64> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a share, shown with one decimal"
    )]
    (summary.total > 0).then(|| summary.failed as f64 / summary.total as f64)
}

/// A share in per cent.
pub(super) fn percent(share: Option<f64>) -> String {
    share.map_or_else(
        || NONE.to_owned(),
        |share| format!("{:.1} %", 100.0 * share),
    )
}

/// An integration for programs. Credentials have no part in it.
pub(super) fn integration_json(
    integration: &Integration,
    summary: Option<&RequestSummary>,
) -> Json {
    let owner = integration.owner.as_ref().map(|owner| {
        let id = match owner.id() {
            OwnerId::Number(id) => Json::from(*id),
            OwnerId::Text(id) => Json::from(id.as_str()),
        };
        json!({ "type": owner.owner_type(), "id": id })
    });
    let mut json = json!({
        "id": integration.id,
        "uid": integration.uid,
        "provider": integration.provider.as_str(),
        "name": integration.name.as_str(),
        "owner": owner,
        "metadata": integration.metadata,
        "active": active(integration),
        "is_active": integration.is_active,
        "parks_webhooks": integration.parks_webhooks,
        "health_status": integration.health.status.as_str(),
        "consecutive_failures": integration.health.consecutive_failures,
        "authorization_status": integration.authorization_status.as_str(),
        "sync_interval_minutes": integration.sync_interval_minutes,
        "last_synced_at": integration.last_synced_at.map(time),
        "next_sync_at": integration.next_sync_at.map(time),
        "last_error_at": integration.last_error_at.map(time),
        "created_at": time(integration.created_at),
        "updated_at": time(integration.updated_at),
    });
    if let Some(summary) = summary {
        json["requests_24h"] = summary.total.into();
        json["failed_24h"] = summary.failed.into();
        json["error_rate_24h"] = error_rate(summary).into();
    }
    json
}

/// An integration for people.
pub(super) fn integration_fields(integration: &Integration) -> Vec<(&'static str, String)> {
    let health = &integration.health;
    vec![
        ("id", integration.id.to_string()),
        ("uid", integration.uid.to_string()),
        ("provider", integration.provider.to_string()),
        ("name", integration.name.to_string()),
        ("owner", or_none(integration.owner.as_ref())),
        ("settings", settings(integration.metadata.as_ref())),
        ("active", active_with_webhooks(integration)),
        (
            "health",
            format!(
                "{} ({} outages in a row)",
                health.status, health.consecutive_failures
            ),
        ),
        (
            "authorization",
            integration.authorization_status.to_string(),
        ),
        (
            "sync interval",
            integration.sync_interval_minutes.map_or_else(
                || "not scheduled".to_owned(),
                |minutes| format!("{minutes} min"),
            ),
        ),
        ("last sync", time_or_none(integration.last_synced_at)),
        ("next sync", time_or_none(integration.next_sync_at)),
        ("last error", time_or_none(integration.last_error_at)),
        ("created", time(integration.created_at)),
        ("updated", time(integration.updated_at)),
    ]
}

fn settings(metadata: Option<&Json>) -> String {
    let Some(Json::Object(metadata)) = metadata else {
        return or_none(metadata);
    };
    let pairs = metadata.iter().map(|(name, value)| match value {
        Json::String(text) => format!("{name}={text}"),
        other => format!("{name}={other}"),
    });
    pairs.collect::<Vec<_>>().join(", ")
}

/// A request for programs, as it was recorded.
pub(super) fn request_json(request: &Request) -> Json {
    let attempt = &request.attempt;
    let related = attempt.related.as_ref().map(|related| {
        let id = match &related.id {
            RelatedId::Number(id) => Json::from(*id),
            RelatedId::Text(id) => Json::from(id.as_str()),
        };
        json!({ "type": related.related_type, "id": id })
    });
    json!({
        "id": request.id,
        "integration_id": attempt.integration_id,
        "method": attempt.method,
        "endpoint": attempt.endpoint,
        "path": attempt.path,
        "status_code": attempt.status_code,
        "failure_class": attempt.failure_class.as_ref().map(FailureClass::as_str),
        "error": attempt.error,
        "duration_ms": attempt.duration_ms,
        "attempt": attempt.attempt,
        "retry_of": attempt.retry_of,
        "provider_request_id": attempt.provider_request_id,
        "request_data": attempt.request_data,
        "response_data": attempt.response_data,
        "idempotency_key": attempt.idempotency_key.as_ref().map(IdempotencyKey::as_str),
        "related": related,
        "cache_hits": request.cache_hits,
        "stale_hits": request.stale_hits,
        "created_at": time(attempt.created_at),
    })
}

/// A request for people.
pub(super) fn request_fields(request: &Request) -> Vec<(&'static str, String)> {
    let attempt = &request.attempt;
    vec![
        ("id", request.id.to_string()),
        ("integration", attempt.integration_id.to_string()),
        ("time", time(attempt.created_at)),
        ("method", attempt.method.clone()),
        ("endpoint", attempt.endpoint.clone()),
        ("path", or_none(attempt.path.as_ref())),
        ("status", or_none(attempt.status_code)),
        ("failure class", or_none(attempt.failure_class.as_ref())),
        ("error", or_none(attempt.error.as_ref())),
        (
            "duration",
            attempt
                .duration_ms
                .map_or_else(|| NONE.to_owned(), |ms| format!("{ms} ms")),
        ),
        ("attempt", attempt.attempt.to_string()),
        ("retry of", or_none(attempt.retry_of)),
        ("idempotency key", or_none(attempt.idempotency_key.as_ref())),
        (
            "provider's id",
            or_none(attempt.provider_request_id.as_ref()),
        ),
        ("sent", or_none(attempt.request_data.as_ref())),
        ("answer", or_none(attempt.response_data.as_ref())),
        (
            "served from the cache",
            format!(
                "{} times, and {} stale",
                request.cache_hits, request.stale_hits
            ),
        ),
    ]
}
