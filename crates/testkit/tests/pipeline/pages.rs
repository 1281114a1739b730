//! Lists that come in pages.

use futures::TryStreamExt as _;
use http::Method;
use integrations_core::client::{Call, CallError, CallErrorKind, Paging};
use integrations_testkit::{harness::Harness, transport::Reply};
use serde_json::{Value as Json, json};

use crate::acme::installed;

const LIST: &str = "/api/projects/7/orders";

fn page(harness: &Harness, path: &str, items: &Json, link: Option<&str>) {
    let reply = Reply::status(200).json(items);
    let reply = match link {
        Some(link) => reply.header("link", &format!("<{link}>; rel=\"next\"")),
        None => reply,
    };
    harness.transport.reply(Method::GET, path, reply);
}

async fn list() -> (Harness, Call) {
    let (harness, acme) = installed().await;
    let call = harness.handle(&acme).get("/projects/{project}/orders");
    (harness, call)
}

async fn numbers(call: Call, paging: Paging) -> Result<Vec<i64>, CallError> {
    call.pages(paging).items::<i64>().try_collect().await
}

fn queries(harness: &Harness) -> Vec<String> {
    let sent = harness.transport.sent();
    sent.iter()
        .map(|request| request.uri.query().unwrap_or_default().to_owned())
        .collect()
}

#[tokio::test]
async fn links_are_followed_on_their_origin() {
    let (harness, call) = list().await;
    let next = "https://north.acme.example/internal/9?after=2";
    page(&harness, LIST, &json!([1, 2]), Some(next));
    page(
        &harness,
        "/internal/9",
        &json!([3]),
        Some("/internal/9?after=3"),
    );
    page(&harness, "/internal/9", &json!([4]), None);
    let all = numbers(call.query("state", "open"), Paging::link()).await;
    assert_eq!(all.unwrap(), [1, 2, 3, 4]);
    assert_eq!(queries(&harness), ["state=open", "after=2", "after=3"]);
    assert!(
        harness
            .transport
            .sent()
            .iter()
            .all(|sent| sent.bearer().is_some())
    );
    let rows = harness.requests().await;
    assert!(
        rows.iter()
            .all(|row| row.attempt.endpoint == "/projects/{project}/orders")
    );
    assert_eq!(rows[1].attempt.path.as_deref(), Some("/internal/9?after=2"));
}

// DESIGN: page links to another origin are refused
#[tokio::test]
async fn a_link_to_another_origin_is_refused_before_anything_is_sent() {
    for elsewhere in [
        "https://evil.example/api/orders?page=2",
        "http://north.acme.example/api/orders",
        "https://north.acme.example:8443/api/orders",
        "//evil.example/x",
        "https://user:pw@north.acme.example/x",
        "javascript:alert(1)",
    ] {
        let (harness, call) = list().await;
        page(&harness, LIST, &json!([1]), Some(elsewhere));
        let mut pages = call.pages(Paging::link());
        pages.next_page().await.unwrap().unwrap();
        let error = pages.next_page().await.unwrap_err();
        assert_eq!(error.kind(), &CallErrorKind::Paging, "{elsewhere}");
        assert_eq!(harness.transport.sent().len(), 1);
        assert!(!error.to_string().contains("evil"), "{error}");
        assert!(pages.next_page().await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_list_that_goes_in_a_circle_ends_with_an_error() {
    let (harness, call) = list().await;
    for after in ["1", "2", "1"] {
        page(
            &harness,
            LIST,
            &json!([1]),
            Some(&format!("?after={after}")),
        );
    }
    let error = numbers(call, Paging::link()).await.unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::Paging);
    assert_eq!(harness.transport.sent().len(), 3);

    let (harness, call) = list().await;
    for _ in 0..2 {
        page(
            &harness,
            LIST,
            &json!({ "items": [1], "next": "same" }),
            None,
        );
    }
    let paging = Paging::cursor("/next", "cursor").items_at("/items");
    let error = numbers(call, paging).await.unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::Paging);
    assert_eq!(harness.transport.sent().len(), 2);
}

#[tokio::test]
async fn a_cursor_of_the_body_goes_into_the_query() {
    let (harness, call) = list().await;
    let body = |items: Json, after: Json, more: bool| json!({ "items": items, "meta": { "after": after, "more": more } });
    page(&harness, LIST, &body(json!([1]), json!("a b"), true), None);
    page(&harness, LIST, &body(json!([]), json!(7), true), None);
    page(&harness, LIST, &body(json!([2]), json!("end"), false), None);
    let paging = Paging::cursor("/meta/after", "page[after]")
        .while_true("/meta/more")
        .items_at("/items")
        .page_size("page[size]", 1);
    assert_eq!(
        numbers(call, paging).await.unwrap(),
        [1, 2],
        "an empty page does not end it"
    );
    let size = "page%5Bsize%5D=1";
    let after = |cursor| format!("{size}&page%5Bafter%5D={cursor}");
    assert_eq!(
        queries(&harness),
        [size.to_owned(), after("a+b"), after("7")]
    );
}

#[tokio::test]
async fn numbered_pages_end_with_an_empty_one() {
    let (harness, call) = list().await;
    for items in [json!([1, 2]), json!([3]), json!([4, 5]), json!([])] {
        page(&harness, LIST, &items, None);
    }
    let all = numbers(
        call.query("page", "9"),
        Paging::number("page").starting_at(0),
    )
    .await;
    assert_eq!(all.unwrap(), [1, 2, 3, 4, 5]);
    assert_eq!(queries(&harness), ["page=0", "page=1", "page=2", "page=3"]);
}

// The other side may give fewer items than it is asked for: the first page says how many.
#[tokio::test]
async fn with_a_page_size_a_shorter_page_than_the_first_is_the_last() {
    let (harness, call) = list().await;
    for items in [json!([1, 2]), json!([3, 4]), json!([5])] {
        page(&harness, LIST, &items, None);
    }
    let paging = Paging::offset("offset").page_size("limit", 100);
    assert_eq!(numbers(call, paging).await.unwrap(), [1, 2, 3, 4, 5]);
    let offsets = [
        "limit=100&offset=0",
        "limit=100&offset=2",
        "limit=100&offset=4",
    ];
    assert_eq!(queries(&harness), offsets);
}

#[tokio::test]
async fn a_side_that_sends_the_same_page_again_is_noticed() {
    let (harness, call) = list().await;
    for _ in 0..2 {
        page(&harness, LIST, &json!([1, 2]), None);
    }
    let error = numbers(call, Paging::number("page")).await.unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::Paging);
}

#[tokio::test]
async fn a_list_is_given_up_and_never_cut_silently() {
    let (harness, call) = list().await;
    for number in 0..2 {
        page(&harness, LIST, &json!([number]), None);
    }
    let paging = Paging::number("page").max_pages(2);
    let error = numbers(call, paging).await.unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::Paging);
    assert!(error.to_string().contains("max_pages"), "{error}");
}

#[tokio::test]
async fn what_is_no_list_says_so() {
    let (harness, call) = list().await;
    page(&harness, LIST, &json!({ "orders": 1 }), None);
    let error = numbers(call.clone(), Paging::number("page"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::SchemaDrift);
    page(&harness, LIST, &json!([1, "two"]), None);
    let error = numbers(call.clone(), Paging::link()).await.unwrap_err();
    assert!(error.to_string().contains("[1]"), "{error}");
    harness
        .transport
        .reply(Method::GET, LIST, Reply::status(404));
    numbers(call.clone(), Paging::link()).await.unwrap_err();
    let keyed = call.idempotency_key("k");
    let error = numbers(keyed, Paging::link()).await.unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::Invalid);
}
