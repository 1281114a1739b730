//! A store that fails halfway through a batch answers for what it has stored. No port makes one
//! fail, so these are no cases of the suite.

use integrations_core::{
    store::Rejected,
    webhook::{NewWebhook, Received},
};

use super::{Subject, fixtures::delivery};

/// New deliveries of a batch stay, where the store fails over every row for which
/// `duplicate_of IS NOT NULL`.
pub async fn what_is_new_stays_when_duplicates_fail(subject: &Subject) {
    let id = subject.integration().await.id;
    let inbox = &subject.ports.inbox;
    let one = |key: &str| delivery(Some(id), Some(key));
    inbox.receive(&[one("known")]).await.unwrap();

    let mixed = inbox.receive(&[one("a"), one("known"), one("b")]).await;
    let alone = inbox.receive(&[one("known")]).await;

    let mixed = mixed.unwrap();
    assert!(matches!(mixed[0], Ok(Received::New(_))), "{mixed:?}");
    assert_eq!(mixed[1], Err(Rejected::Unavailable));
    assert!(matches!(mixed[2], Ok(Received::New(_))), "{mixed:?}");
    assert!(alone.is_err(), "nothing was stored: {alone:?}");
}

/// What a batch that had to be divided has stored stays, where the store fails over every row for
/// which `event_type = 'down'`.
pub async fn what_is_stored_stays_when_the_rest_fails(subject: &Subject) {
    let id = subject.integration().await.id;
    let typed = |event: &str| NewWebhook {
        event_type: Some(event.to_owned()),
        ..delivery(Some(id), None)
    };
    let too_long = "e".repeat(256);
    let batch = ["a", too_long.as_str(), "b", "down"].map(typed);

    let received = subject.ports.inbox.receive(&batch).await.unwrap();

    assert!(matches!(received[0], Ok(Received::New(_))), "{received:?}");
    assert_eq!(received[1], Err(Rejected::DoesNotFit));
    assert_eq!(received[2], Err(Rejected::Unavailable));
    assert_eq!(received[3], Err(Rejected::Unavailable));
}
