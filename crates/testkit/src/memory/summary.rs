//! The figures of the request log.

use std::{cmp::Reverse, collections::BTreeMap};

use integrations_core::request::{Request, RequestSummary};

/// What `rows`, ordered by id, come to.
pub(super) fn of(rows: &[&Request]) -> RequestSummary {
    let mut summary = RequestSummary {
        total: rows.len() as u64,
        mean_duration_ms: mean_duration_of_successes(rows),
        top_errors: top_errors(rows),
        ..RequestSummary::default()
    };
    let mut endpoints: Vec<_> = rows.iter().map(|r| r.attempt.endpoint.as_str()).collect();
    endpoints.sort_unstable();
    endpoints.dedup();
    summary.endpoints = endpoints.len() as u64;

    let mut durations: Vec<_> = rows.iter().filter_map(|r| r.attempt.duration_ms).collect();
    durations.sort_unstable();
    summary.p50_ms = percentile(&durations, 50);
    summary.p95_ms = percentile(&durations, 95);
    summary.p99_ms = percentile(&durations, 99);

    for row in rows {
        if let Some(class) = &row.attempt.failure_class {
            summary.failed += 1;
            *summary
                .by_class
                .entry(class.as_str().to_owned())
                .or_default() += 1;
            let group = status_group(row.attempt.status_code);
            *summary.by_status.entry(group.to_owned()).or_default() += 1;
        }
        summary.cache_hits += u64::try_from(row.cache_hits).unwrap_or(0);
        summary.stale_hits += u64::try_from(row.stale_hits).unwrap_or(0);
    }
    summary.last_error = rows
        .iter()
        .filter_map(|row| Some((row.attempt.created_at, row.id, row.attempt.error.clone()?)))
        .max()
        .map(|(at, _, text)| (text, at));
    summary
}

fn status_group(status: Option<u16>) -> &'static str {
    match status {
        Some(429) => "429",
        Some(400..500) => "4xx",
        Some(500..) => "5xx",
        Some(_) | None => "other",
    }
}

fn mean_duration_of_successes(rows: &[&Request]) -> Option<f64> {
    let durations: Vec<_> = rows
        .iter()
        .filter(|row| row.attempt.failure_class.is_none())
        .filter_map(|row| row.attempt.duration_ms)
        .map(f64::from)
        .collect();
    let count = u32::try_from(durations.len()).ok().filter(|n| *n > 0)?;
    Some(durations.iter().sum::<f64>() / f64::from(count))
}

/// The smallest of `sorted` that at least `percent` of them do not exceed.
fn percentile(sorted: &[i32], percent: usize) -> Option<i32> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

fn top_errors(rows: &[&Request]) -> Vec<(String, u64)> {
    let mut counts = BTreeMap::<&str, u64>::new();
    for text in rows.iter().filter_map(|row| row.attempt.error.as_deref()) {
        *counts.entry(text).or_default() += 1;
    }
    let mut errors: Vec<_> = counts.into_iter().collect();
    // Stable, so that texts that occur equally often stay in the order of the map.
    errors.sort_by_key(|(_, count)| Reverse(*count));
    errors.truncate(3);
    errors
        .into_iter()
        .map(|(text, count)| (text.to_owned(), count))
        .collect()
}
