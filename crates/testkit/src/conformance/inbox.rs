//! Cases of the `WebhookInbox` port about receiving, duplicates and reading.

use integrations_core::{
    id::{IntegrationId, WebhookId},
    integration::Scope,
    store::{PageRequest, Rejected},
    sync::Payload,
    webhook::{
        NewWebhook, Received, Webhook, WebhookFilter, WebhookGroup, WebhookOutcome, WebhookPayload,
        WebhookStatus,
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

pub(super) fn is_duplicate_of(received: Received, first: WebhookId) -> bool {
    matches!(received, Received::Duplicate { of, requeued: false, .. } if of == first)
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
