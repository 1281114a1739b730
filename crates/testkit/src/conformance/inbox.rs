//! Cases of the `WebhookInbox` port about receiving, duplicates and reading.

use integrations_core::{
    id::{IntegrationId, WebhookId},
    integration::Scope,
    store::{PageRequest, Rejected},
    sync::Payload,
    webhook::{
        NewWebhook, OtherDigests, Received, Webhook, WebhookFilter, WebhookGroup, WebhookOutcome,
        WebhookPayload, WebhookStatus,
    },
};

use super::{
    Subject,
    fixtures::{at, delivery, provider, read_all, scope, sealed, whole},
    inbox_claims::{again, claim, find, settle},
};

/// Receives deliveries that are all stored.
pub(super) async fn receive(subject: &Subject, deliveries: &[NewWebhook]) -> Vec<Received> {
    let received = subject.ports.inbox.receive(deliveries).await.unwrap();
    assert_eq!(received.len(), deliveries.len(), "one result per delivery");
    received.into_iter().map(Result::unwrap).collect()
}

/// Receives one delivery that is the first of its kind.
pub(super) async fn receive_new(subject: &Subject, delivery: &NewWebhook) -> WebhookId {
    match receive(subject, std::slice::from_ref(delivery)).await[..] {
        [Received::New(id)] => id,
        ref other => panic!("the delivery should have been new, not {other:?}"),
    }
}

fn is_duplicate_of(received: Received, first: WebhookId) -> bool {
    matches!(received, Received::Duplicate { of, requeued: false, .. } if of == first)
}

/// A delivery whose id is not signed.
fn digested(integration_id: IntegrationId, key: &str, digest: &[u8], now: i64) -> NewWebhook {
    NewWebhook {
        body_digest: Some(digest.to_vec()),
        digest_duplicate_since: Some(at(now - 100)),
        available_at: Some(at(now)),
        now: at(now),
        ..delivery(Some(integration_id), Some(key))
    }
}

pub async fn a_delivery_reads_back_as_it_was_received(subject: &Subject) {
    let integration = subject.integration().await;
    let received = NewWebhook {
        event_type: Some("issues.opened".to_owned()),
        delivery_id: Some("d-1".to_owned()),
        body_digest: Some(vec![0, 1, 255]),
        digest_duplicate_since: None,
        method: "GET".to_owned(),
        path: "/integrations/github/webhook".to_owned(),
        query: Some("a=1&b=%20".to_owned()),
        remote_addr: Some("2001:db8::1".to_owned()),
        ordering_key: Some("issue-7".to_owned()),
        ..delivery(Some(integration.id), Some("d-1"))
    };

    let id = receive_new(subject, &received).await;

    let now = received.now;
    assert_eq!(
        find(subject, id, 0).await,
        Webhook {
            id,
            delivery: received,
            status: WebhookStatus::Pending,
            duplicate_of: None,
            duplicate_reason: None,
            attempts: 0,
            replayed: false,
            queued_at: now,
            error: None,
            lease_until: None,
            processed_at: None,
            updated_at: now,
        }
    );
}

// W-WH-9
pub async fn payloads_of_any_form_round_trip(subject: &Subject) {
    let integration = subject.integration().await;
    let bytes: [&[u8]; 5] = [
        b"",
        b"{\"a\": 1}\r\n",
        "gr\u{f6}\u{df}e \u{1f980} \u{202e}".as_bytes(),
        b"nul \0 within",
        &[0xff, 0xfe, 0x00, 0x80],
    ];
    let plain = bytes.map(|bytes| WebhookPayload::Plain(Payload::from_bytes(bytes.to_vec())));
    let payloads = plain
        .into_iter()
        .chain([WebhookPayload::Sealed(sealed("body"))]);

    for payload in payloads {
        let received = NewWebhook {
            payload: payload.clone(),
            ..delivery(Some(integration.id), None)
        };
        let id = receive_new(subject, &received).await;
        assert_eq!(find(subject, id, 0).await.delivery.payload, payload);
    }
}

// W-WH-10
pub async fn headers_keep_their_order_and_repeats(subject: &Subject) {
    let integration = subject.integration().await;
    let headers = [("b", "1"), ("a", "2"), ("b", "3"), ("b", "1"), ("c", "")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let received = NewWebhook {
        headers: headers.to_vec(),
        ..delivery(Some(integration.id), None)
    };

    let id = receive_new(subject, &received).await;

    assert_eq!(find(subject, id, 0).await.delivery.headers, headers);
}

pub async fn the_first_of_a_key_wins_within_a_batch_and_across(subject: &Subject) {
    let integration = subject.integration().await;
    let one = || delivery(Some(integration.id), Some("one"));
    let two = || delivery(Some(integration.id), Some("two"));

    let batch = receive(subject, &[one(), two(), one(), one()]).await;
    let later = receive(subject, &[two(), one()]).await;

    let [Received::New(first), Received::New(second), rest @ ..] = &batch[..] else {
        panic!("two deliveries should have been new: {batch:?}");
    };
    assert!(rest.iter().all(|entry| is_duplicate_of(*entry, *first)));
    assert!(is_duplicate_of(later[0], *second), "{later:?}");
    assert!(is_duplicate_of(later[1], *first), "{later:?}");
    let Received::Duplicate { id, .. } = later[1] else {
        unreachable!("it was just seen to be one");
    };
    let duplicate = find(subject, id, 0).await;
    assert_eq!(duplicate.status, WebhookStatus::Processed);
    assert_eq!(duplicate.duplicate_of, Some(*first));
    assert_eq!(duplicate.duplicate_reason.as_deref(), Some("dedup_key"));
}

pub async fn keys_differ_by_provider_and_integration(subject: &Subject) {
    let one = subject.integration().await;
    let two = subject.integration().await;
    let stripe = NewWebhook {
        provider: provider("stripe"),
        ..delivery(None, Some("k"))
    };

    let received = receive(
        subject,
        &[
            delivery(Some(one.id), Some("k")),
            delivery(Some(two.id), Some("k")),
            delivery(None, Some("k")),
            stripe,
            delivery(None, Some("k")),
        ],
    )
    .await;

    let new = |entry: &Received| matches!(entry, Received::New(_));
    assert!(received[..4].iter().all(new), "{received:?}");
    let Received::New(first) = received[2] else {
        unreachable!("it was just seen to be new");
    };
    assert!(is_duplicate_of(received[4], first), "{received:?}");
}

// W-WH-14
pub async fn a_delivery_without_a_key_is_never_a_duplicate(subject: &Subject) {
    let integration = subject.integration().await;
    let keyless = delivery(Some(integration.id), None);

    let received = receive(subject, &[again(&keyless), again(&keyless)]).await;
    let later = receive_new(subject, &keyless).await;

    assert!(
        received
            .iter()
            .all(|entry| matches!(entry, Received::New(id) if *id != later)),
        "{received:?}"
    );
}

pub async fn the_same_bytes_under_another_key_are_a_duplicate_within_the_window(subject: &Subject) {
    let integration = subject.integration().await;
    let first = receive_new(subject, &digested(integration.id, "one", b"same", 0)).await;

    let within = receive(subject, &[digested(integration.id, "two", b"same", 100)]).await;
    let other = receive(subject, &[digested(integration.id, "three", b"else", 100)]).await;
    let outside = receive(subject, &[digested(integration.id, "four", b"same", 201)]).await;

    assert!(is_duplicate_of(within[0], first), "{within:?}");
    let Received::Duplicate { id, .. } = within[0] else {
        unreachable!("it was just seen to be one");
    };
    let duplicate = find(subject, id, 100).await;
    assert_eq!(duplicate.duplicate_reason.as_deref(), Some("body_digest"));
    assert_eq!(duplicate.status, WebhookStatus::Processed);
    assert!(matches!(other[0], Received::New(_)), "{other:?}");
    assert!(matches!(outside[0], Received::New(_)), "{outside:?}");
}

pub async fn the_same_bytes_within_a_batch_are_a_duplicate(subject: &Subject) {
    let integration = subject.integration().await;

    let received = receive(
        subject,
        &[
            digested(integration.id, "one", b"same", 0),
            digested(integration.id, "two", b"same", 0),
        ],
    )
    .await;

    let Received::New(first) = received[0] else {
        panic!("the first should have been new: {received:?}");
    };
    assert!(is_duplicate_of(received[1], first), "{received:?}");
}

pub async fn the_same_bytes_count_only_where_asked_and_of_one_integration(subject: &Subject) {
    let one = subject.integration().await;
    let two = subject.integration().await;
    receive_new(subject, &digested(one.id, "one", b"same", 0)).await;
    let signed_id = NewWebhook {
        digest_duplicate_since: None,
        ..digested(one.id, "two", b"same", 1)
    };

    receive_new(subject, &signed_id).await;
    receive_new(subject, &digested(two.id, "one", b"same", 1)).await;
}

// A sender without ids: its bytes are compared with those on file, and never with each other.
pub async fn bytes_that_are_not_kept_are_compared_with_those_that_are(subject: &Subject) {
    let id = subject.integration().await.id;
    let nameless = |digest: &[u8]| NewWebhook {
        dedup_key: None,
        body_digest: None,
        other_digests: OtherDigests {
            body_digests: vec![digest.to_vec()],
            ..OtherDigests::default()
        },
        ..digested(id, "none", digest, 1)
    };
    let named = receive_new(subject, &digested(id, "one", b"named", 0)).await;

    let both = [nameless(b"other"), nameless(b"other"), nameless(b"named")];
    let received = subject.ports.inbox.receive(&both).await.unwrap();

    let received: Vec<_> = received.into_iter().map(Result::unwrap).collect();
    assert!(
        matches!(received[..2], [Received::New(_), Received::New(_)]),
        "{received:?}"
    );
    assert!(is_duplicate_of(received[2], named), "{received:?}");
    receive_new(subject, &nameless(b"other")).await;
}

/// The same signed bytes as a process digests them whose ring begins with `primary`.
fn under(integration_id: IntegrationId, id: &str, primary: &str, others: &[&str]) -> NewWebhook {
    let digest = |key: &str| format!("{key}\0 the mac").into_bytes();
    NewWebhook {
        other_digests: OtherDigests {
            dedup_keys: Vec::new(),
            body_digests: others.iter().map(|key| digest(key)).collect(),
        },
        ..digested(integration_id, id, &digest(primary), 0)
    }
}

/// The same without an id, where a digest is the dedup key.
fn keyed_under(integration_id: IntegrationId, primary: &str, others: &[&str]) -> NewWebhook {
    let key = |key: &str| format!("digest:{key}:the mac");
    NewWebhook {
        other_digests: OtherDigests {
            dedup_keys: others.iter().map(|other| key(other)).collect(),
            body_digests: Vec::new(),
        },
        ..delivery(Some(integration_id), Some(&key(primary)))
    }
}

pub async fn a_digest_under_any_key_of_the_ring_tells_a_duplicate(subject: &Subject) {
    let integration = subject.integration().await;
    let by_body = receive_new(subject, &under(integration.id, "d-1", "old", &[])).await;
    let by_key = receive_new(subject, &keyed_under(integration.id, "old", &[])).await;

    let promoted = receive(
        subject,
        &[
            under(integration.id, "d-2", "new", &["old"]),
            keyed_under(integration.id, "new", &["old"]),
        ],
    )
    .await;
    // A key that was dropped is no longer known, and proves nothing.
    let dropped = receive(
        subject,
        &[
            under(integration.id, "d-3", "new", &[]),
            keyed_under(integration.id, "new", &[]),
        ],
    )
    .await;

    assert!(is_duplicate_of(promoted[0], by_body), "{promoted:?}");
    assert!(is_duplicate_of(promoted[1], by_key), "{promoted:?}");
    let is_new = |received: &Received| matches!(received, Received::New(_));
    assert!(dropped.iter().all(is_new), "{dropped:?}");
}

pub async fn digests_under_two_keys_within_a_batch_are_a_duplicate(subject: &Subject) {
    let integration = subject.integration().await;

    let received = receive(
        subject,
        &[
            under(integration.id, "d-1", "old", &["new"]),
            under(integration.id, "d-2", "new", &["old"]),
            keyed_under(integration.id, "old", &["new"]),
            keyed_under(integration.id, "new", &["old"]),
        ],
    )
    .await;

    let (Received::New(by_body), Received::New(by_key)) = (received[0], received[2]) else {
        panic!("the first of each kind should have been new: {received:?}");
    };
    assert!(is_duplicate_of(received[1], by_body), "{received:?}");
    assert!(is_duplicate_of(received[3], by_key), "{received:?}");
}

// INV-09, W-WH-4
pub async fn a_duplicate_of_a_failed_one_queues_it_again(subject: &Subject) {
    let integration = subject.integration().await;
    let received = delivery(Some(integration.id), Some("k"));
    let first = receive_new(subject, &received).await;
    let work = claim(subject, 10, 0).await;
    let error = "refused by the handler".to_owned();
    settle(subject, &work, first, WebhookOutcome::Failed { error }, 1).await;
    let redelivery = NewWebhook {
        now: at(2),
        available_at: Some(at(2)),
        ..received
    };

    let redelivered = receive(subject, &[again(&redelivery)]).await;
    let once_more = receive(subject, &[again(&redelivery)]).await;

    assert!(
        matches!(
            redelivered[0],
            Received::Duplicate { of, requeued: true, .. } if of == first
        ),
        "{redelivered:?}"
    );
    assert!(is_duplicate_of(once_more[0], first), "{once_more:?}");
    let queued = find(subject, first, 2).await;
    assert_eq!(queued.status, WebhookStatus::Pending);
    assert_eq!(queued.attempts, 0, "with all attempts");
    assert_eq!(queued.queued_at, at(2));
    assert_eq!(claim(subject, 10, 2).await.ids(), [first]);
}

pub async fn a_delivery_that_is_refused_fails_alone(subject: &Subject) {
    let integration = subject.integration().await;
    let gone = IntegrationId(integration.id.0 + 1_000_000);
    let too_long = NewWebhook {
        event_type: Some("e".repeat(256)),
        ..delivery(Some(integration.id), Some("long"))
    };

    let received = subject
        .ports
        .inbox
        .receive(&[
            delivery(Some(integration.id), Some("one")),
            delivery(Some(gone), Some("gone")),
            too_long,
            delivery(Some(integration.id), Some("two")),
        ])
        .await
        .unwrap();

    assert!(matches!(received[0], Ok(Received::New(_))), "{received:?}");
    assert_eq!(received[1], Err(Rejected::MissingReference));
    assert_eq!(received[2], Err(Rejected::DoesNotFit));
    assert!(matches!(received[3], Ok(Received::New(_))), "{received:?}");
    let filter = WebhookFilter::default();
    let count = subject.ports.inbox.count(&filter, &Scope::Operator, at(0));
    assert_eq!(count.await.unwrap(), 2);
}

// More than one statement inserts
pub async fn a_delivery_that_is_refused_fails_alone_among_many(subject: &Subject) {
    let integration = subject.integration().await;
    let gone = IntegrationId(integration.id.0 + 1_000_000);
    let mut deliveries: Vec<_> = (0..600)
        .map(|n| delivery(Some(integration.id), Some(&format!("d-{n}"))))
        .collect();
    deliveries.push(delivery(Some(gone), None));

    let received = subject.ports.inbox.receive(&deliveries).await.unwrap();

    assert_eq!(received.len(), 601);
    assert_eq!(received[600], Err(Rejected::MissingReference));
    for one in &received[..600] {
        assert!(matches!(one, Ok(Received::New(_))), "{one:?}");
    }
}

pub async fn deliveries_are_found_within_their_scope(subject: &Subject) {
    let owned = subject.integration_of(1).await;
    let ours = receive_new(subject, &delivery(Some(owned.id), None)).await;
    let nobodys = receive_new(subject, &delivery(None, None)).await;
    let found = |id, scope| async move {
        let found = subject.ports.inbox.find(id, &scope, at(0)).await;
        found.unwrap().is_some()
    };

    assert!(found(ours, scope(1)).await);
    assert!(found(ours, Scope::Operator).await);
    assert!(!found(ours, scope(2)).await);
    assert!(found(nobodys, Scope::Operator).await);
    assert!(!found(nobodys, scope(1)).await, "it is the operator's");
    assert!(!found(WebhookId(nobodys.0 + 1_000_000), Scope::Operator).await);
}

pub async fn deliveries_are_selected_by_every_field_of_the_filter(subject: &Subject) {
    let owned = subject.integration_of(1).await;
    let other = subject.integration().await;
    let typed = |id: IntegrationId, event: &str, delivery_id: &str, now: i64| NewWebhook {
        event_type: Some(event.to_owned()),
        delivery_id: Some(delivery_id.to_owned()),
        available_at: Some(at(now)),
        now: at(now),
        ..delivery(Some(id), Some(delivery_id))
    };
    let stripe = NewWebhook {
        provider: provider("stripe"),
        ..typed(other.id, "charge", "d", 30)
    };
    let received = receive(
        subject,
        &[
            typed(owned.id, "issues", "a", 0),
            typed(owned.id, "push", "b", 10),
            typed(owned.id, "push", "b", 20),
            stripe,
        ],
    )
    .await;
    let ids: Vec<_> = received
        .iter()
        .map(|entry| match entry {
            Received::New(id) | Received::Duplicate { id, .. } => *id,
        })
        .collect();
    claim(subject, 1, 0).await;
    let any = WebhookFilter::default;
    let cases: [(WebhookFilter, Scope, &[usize]); 11] = [
        (any(), Scope::Operator, &[0, 1, 2, 3]),
        (any(), scope(1), &[0, 1, 2]),
        (any(), scope(2), &[]),
        (
            WebhookFilter {
                integration_id: Some(other.id),
                ..any()
            },
            Scope::Operator,
            &[3],
        ),
        (
            WebhookFilter {
                provider: Some(provider("stripe")),
                ..any()
            },
            Scope::Operator,
            &[3],
        ),
        (
            WebhookFilter {
                status: Some(WebhookStatus::Processing),
                ..any()
            },
            Scope::Operator,
            &[0],
        ),
        (
            WebhookFilter {
                status: Some(WebhookStatus::Pending),
                ..any()
            },
            Scope::Operator,
            &[1, 3],
        ),
        (
            WebhookFilter {
                event_type: Some("push".to_owned()),
                ..any()
            },
            Scope::Operator,
            &[1, 2],
        ),
        (
            WebhookFilter {
                delivery_id: Some("b".to_owned()),
                originals_only: true,
                ..any()
            },
            Scope::Operator,
            &[1],
        ),
        (
            WebhookFilter {
                since: Some(at(10)),
                until: Some(at(30)),
                ..any()
            },
            Scope::Operator,
            &[1, 2],
        ),
        (
            WebhookFilter {
                status: Some(WebhookStatus::Processed),
                ..any()
            },
            Scope::Operator,
            &[2],
        ),
    ];

    for (filter, scope, expected) in cases {
        let inbox = &subject.ports.inbox;
        let page = inbox
            .query(&filter, &scope, &whole(), at(30))
            .await
            .unwrap();
        let found: Vec<_> = page.items.iter().map(|row| row.id).collect();
        for summary in &page.items {
            assert_eq!(*summary, find(subject, summary.id, 30).await.summary());
        }
        let expected: Vec<_> = expected.iter().map(|index| ids[*index]).collect();
        assert_eq!(found, expected, "{filter:?} within {scope:?}");
        let count = inbox.count(&filter, &scope, at(30)).await.unwrap();
        assert_eq!(count, expected.len() as u64, "{filter:?}");
        let numbers = inbox.ids(&filter, &scope, &whole(), at(30)).await.unwrap();
        assert_eq!(numbers.items, expected, "{filter:?}");
        let groups = inbox.count_by_type(&filter, &scope, at(30), 10).await;
        let counted: u64 = groups.unwrap().iter().map(|group| group.count).sum();
        assert_eq!(count, counted, "{filter:?}");
    }
}

pub async fn deliveries_are_counted_by_sender_and_type(subject: &Subject) {
    let one = subject.integration().await;
    let two = subject.integration().await;
    let typed = |id: Option<IntegrationId>, event: Option<&str>| NewWebhook {
        event_type: event.map(str::to_owned),
        ..delivery(id, None)
    };
    let stripe = NewWebhook {
        provider: provider("stripe"),
        ..typed(Some(two.id), Some("push"))
    };
    let batch = [
        typed(Some(one.id), Some("push")),
        typed(Some(two.id), Some("push")),
        typed(Some(one.id), Some("push")),
        typed(Some(one.id), None),
        typed(Some(one.id), Some("push")),
        stripe,
        typed(Some(two.id), Some("push")),
        typed(None, Some("push")),
    ];
    receive(subject, &batch).await;
    let group = |name: &str, id: Option<IntegrationId>, event: Option<&str>, count| WebhookGroup {
        provider: provider(name),
        integration_id: id,
        event_type: event.map(str::to_owned),
        count,
    };
    let read = |limit| async move {
        let (all, inbox) = (WebhookFilter::default(), &subject.ports.inbox);
        let groups = inbox.count_by_type(&all, &Scope::Operator, at(0), limit);
        groups.await.unwrap()
    };

    let mut groups = read(10).await;
    let largest = read(2).await;

    let expected = [
        group("github", Some(one.id), Some("push"), 3),
        group("github", Some(two.id), Some("push"), 2),
    ];
    assert_eq!(largest, expected);
    assert_eq!(groups[..2], expected);
    groups[2..].sort();
    let mut others = [
        group("github", None, Some("push"), 1),
        group("github", Some(one.id), None, 1),
        group("stripe", Some(two.id), Some("push"), 1),
    ];
    others.sort();
    assert_eq!(groups[2..], others);
}

pub async fn deliveries_are_listed_page_by_page(subject: &Subject) {
    let integration = subject.integration().await;
    let batch = [(); 5].map(|()| delivery(Some(integration.id), None));
    receive(subject, &batch).await;
    let inbox = &subject.ports.inbox;
    let filter = &WebhookFilter::default();

    let read = |page| async move {
        let page = inbox.query(filter, &Scope::Operator, &page, at(0)).await;
        page.unwrap()
    };
    let newest = read_all(PageRequest::newest(2), read).await;

    let ids: Vec<_> = newest.iter().map(|row| row.id).collect();
    assert_eq!(ids.len(), 5);
    assert!(ids.is_sorted_by(|left, right| left > right), "{ids:?}");
    let read = |page| async move {
        let page = inbox.ids(filter, &Scope::Operator, &page, at(0)).await;
        page.unwrap()
    };
    assert_eq!(read_all(PageRequest::newest(2), read).await, ids);
}
