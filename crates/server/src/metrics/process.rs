//! The process itself, where the system says.

use super::{Exposition, Kind};

pub(super) fn collect(out: &mut Exposition) {
    out.family(
        Kind::Gauge,
        "integrations_build_info",
        "The version that runs.",
    )
    .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    if let Some(bytes) = resident_bytes() {
        out.family(
            Kind::Gauge,
            "process_resident_memory_bytes",
            "Memory that is in use.",
        )
        .count(&[], bytes);
    }
}

/// `VmRSS` of Linux; other systems do not say it in a file.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}
