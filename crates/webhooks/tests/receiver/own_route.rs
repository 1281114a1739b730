//! A provider's own route: the integration is the one whose secret verifies.

use http::StatusCode;
use integrations_webhooks::Route;

use crate::setup::{SECRET, Setup, about, delivery};

fn route() -> Route {
    Route::provider("github")
}

// W-WH-2, WH-04
#[tokio::test]
async fn the_secret_that_verifies_tells_the_integration() {
    let setup = Setup::new();
    let _one = setup.install("one", Some("one's")).await;
    let two = setup.install("two", Some("two's")).await;
    // Whatever the payload says, it only narrows down.
    let sent = delivery("two's", "d-1", &about("two"));
    assert_eq!(setup.status(&route(), sent).await, StatusCode::ACCEPTED);
    let sent = delivery("two's", "d-2", r#"{"zen":"no repository"}"#);
    assert_eq!(setup.status(&route(), sent).await, StatusCode::ACCEPTED);
    for row in setup.rows().await {
        assert_eq!(row.delivery.integration_id, Some(two.id));
    }
    let sent = delivery("two's", "d-3", &about("one"));
    assert_eq!(setup.status(&route(), sent).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn two_tenants_whose_secrets_fit_are_refused_as_ambiguous() {
    let setup = Setup::new();
    setup.install("one", Some(SECRET)).await;
    let two = setup.install("two", Some(SECRET)).await;
    let sent = delivery(SECRET, "d-1", r#"{"zen":"Hi"}"#);
    assert_eq!(setup.status(&route(), sent).await, StatusCode::UNAUTHORIZED);
    let ambiguous = setup.receiver.metrics().refused;
    assert!(ambiguous.contains(&("ambiguous", 1)), "{ambiguous:?}");
    // The payload tells them apart.
    let sent = delivery(SECRET, "d-1", &about("two"));
    assert_eq!(setup.status(&route(), sent).await, StatusCode::ACCEPTED);
    assert_eq!(setup.rows().await[0].delivery.integration_id, Some(two.id));
}

#[tokio::test]
async fn at_most_32_candidates_are_tried() {
    let setup = Setup::new();
    for n in 0..33 {
        setup
            .install(&format!("r{n}"), Some(&format!("secret {n}")))
            .await;
    }
    let nobody = r#"{"zen":"Hi"}"#;
    let sent = delivery("secret 31", "d-1", nobody);
    assert_eq!(setup.status(&route(), sent).await, StatusCode::ACCEPTED);
    let sent = delivery("secret 32", "d-2", nobody);
    assert_eq!(setup.status(&route(), sent).await, StatusCode::UNAUTHORIZED);
    let sent = delivery("secret 32", "d-3", &about("R32"));
    assert_eq!(setup.status(&route(), sent).await, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn the_applications_secret_covers_those_without_their_own() {
    let setup = Setup::with_application_secret(SECRET);
    let covered = setup.install("one", None).await;
    let _own = setup.install("two", Some("two's")).await;
    let of = async |id: &str, body: &str| {
        let sent = delivery(SECRET, id, body);
        assert_eq!(setup.status(&route(), sent).await, StatusCode::ACCEPTED);
        setup.rows().await.last().unwrap().delivery.integration_id
    };
    assert_eq!(of("d-1", &about("one")).await, Some(covered.id));
    // Nobody's: neither one with a secret of its own, nor one the payload does not name.
    assert_eq!(of("d-2", &about("two")).await, None);
    assert_eq!(of("d-3", &about("three")).await, None);
    assert_eq!(of("d-4", r#"{"zen":"Hi"}"#).await, None);
    let second = setup.install("one", None).await;
    assert_ne!(second.id, covered.id);
    setup
        .harness
        .clock
        .advance(std::time::Duration::from_secs(2));
    let sent = delivery(SECRET, "d-5", &about("one"));
    assert_eq!(setup.status(&route(), sent).await, StatusCode::UNAUTHORIZED);
}
