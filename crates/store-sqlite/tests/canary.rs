//! INV-10: no secret is in the file, in its side files, or in what was said.

mod support;

use std::fs;

use integrations_testkit::canary::{self, CANARY};
use support::Scratch;

#[tokio::test]
async fn no_secret_is_stored_or_said() {
    let scratch = Scratch::new();
    let said = canary::release(scratch.store().await).await;
    for text in said.all() {
        assert!(!text.contains(CANARY), "{text}");
    }
    let file = scratch.url.trim_start_matches("sqlite://");
    let mut rows_seen = false;
    for suffix in ["", "-wal", "-shm"] {
        let Ok(bytes) = fs::read(format!("{file}{suffix}")) else {
            continue;
        };
        let text = String::from_utf8_lossy(&bytes);
        rows_seen |= text.contains("/nests/[REDACTED]");
        if let Some(at) = text.find(CANARY) {
            let around: String = text[at..].chars().take(60).collect();
            panic!("test.db{suffix} holds {around:?}");
        }
    }
    assert!(rows_seen, "there is something to look through");
}
