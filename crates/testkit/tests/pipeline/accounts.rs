//! Installing and changing accounts.

use std::{collections::BTreeMap, sync::Arc};

use futures::FutureExt as _;
use http::Method;
use integrations_core::{
    client::{
        AccountError, AccountUpdate, CallErrorKind, Install, InstallError, IntegrationClient,
        KeyMismatch, ProbeReport, verify_keys,
    },
    encryptor::{KeyCheck, Keys},
    integration::{IntegrationFilter, Owner, Removal},
    key_registry::KeyRegistry,
    mock::{MockEncryptor, MockIntegrationStore},
    store::{PageRequest, Ports, StoreError, StoreErrorKind},
    time::Clock as _,
    value::{IntegrationName, KeyId},
};
use integrations_testkit::{encryptor::TestKeys, harness::Harness, transport::Reply};
use secrecy::SecretString;

use crate::acme::{Acme, TOKEN, install, installed};

fn wish(credentials: &[(&str, &str)], metadata: &[(&str, &str)]) -> Install {
    Install {
        provider: "acme".parse().unwrap(),
        name: IntegrationName::new("test").unwrap(),
        owner: None,
        credentials: secrets(credentials),
        metadata: metadata
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        sync_interval_minutes: None,
    }
}

fn secrets(given: &[(&str, &str)]) -> BTreeMap<String, SecretString> {
    given
        .iter()
        .map(|(k, v)| ((*k).to_owned(), SecretString::from(*v)))
        .collect()
}

async fn count(harness: &Harness) -> usize {
    let (everything, page) = (IntegrationFilter::default(), PageRequest::oldest(10));
    harness
        .client
        .operator()
        .list(&everything, &page)
        .await
        .unwrap()
        .items
        .len()
}

// CLI-01: everything wrong is said at once, and nothing is stored
#[tokio::test]
async fn an_incomplete_account_is_refused_whole() {
    let harness = Harness::new(Acme);
    let error = harness
        .client
        .operator()
        .prepare(wish(&[("tok", TOKEN)], &[]))
        .unwrap_err();
    assert!(matches!(error, InstallError::Fields(_)));
    let text = error.to_string();
    for part in [
        "`tok` is not known",
        "`token` is required",
        "`subdomain` is required",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!text.contains(TOKEN));
    assert_eq!(count(&harness).await, 0);
}

// CRED-01, W-CRED-1
#[tokio::test]
async fn credentials_are_sealed_for_their_row() {
    let (harness, acme) = installed().await;
    let other = install(&harness).await;
    assert_ne!(acme.uid, other.uid);
    let sealed = acme.credentials.as_ref().unwrap();
    let keys = Keys::from(TestKeys::default());
    assert!(
        keys.encryptor
            .open(&acme.credentials_context(), sealed)
            .await
            .is_ok()
    );
    assert!(
        keys.encryptor
            .open(&other.credentials_context(), sealed)
            .await
            .is_err()
    );
}

// W-HLT-7: trying a token during set-up counts against nothing
#[tokio::test]
async fn a_probe_leaves_no_trace() {
    let harness = Harness::new(Acme);
    let operator = harness.client.operator();
    let prepared = operator
        .prepare(wish(&[("token", TOKEN)], &[("subdomain", "north")]))
        .unwrap();
    harness
        .transport
        .reply(Method::GET, "/api/me", Reply::status(401));
    match operator.probe(&prepared).await.unwrap() {
        ProbeReport::Failed(reason) => {
            assert_eq!(reason, "the other side answered 401 Unauthorized");
        }
        other => panic!("{other:?}"),
    }
    harness
        .transport
        .reply(Method::GET, "/api/me", Reply::status(200));
    assert!(matches!(
        operator.probe(&prepared).await.unwrap(),
        ProbeReport::Passed
    ));
    assert!(harness.requests().await.is_empty());
    assert_eq!(count(&harness).await, 0);
}

#[tokio::test]
async fn within_an_owners_scope_an_account_is_theirs() {
    let harness = Harness::new(Acme);
    let owner = Owner::new("team", "t-1").unwrap();
    let scoped = harness.client.for_owner(&owner);
    let wish = wish(&[("token", TOKEN)], &[("subdomain", "north")]);
    let prepared = scoped
        .prepare(Install {
            owner: Some(Owner::new("team", 2).unwrap()),
            ..wish
        })
        .unwrap();
    assert_eq!(scoped.install(prepared).await.unwrap().owner, Some(owner));
}

// DESIGN: changing what takes part in the origin asks for the credentials again
#[tokio::test]
async fn settings_cannot_send_credentials_to_another_server() {
    let (harness, acme) = installed().await;
    let handle = harness.handle(&acme);
    let elsewhere: BTreeMap<_, _> = [("subdomain".to_owned(), "evil".to_owned())].into();
    let update = AccountUpdate {
        metadata: elsewhere.clone(),
        ..AccountUpdate::default()
    };
    assert!(matches!(
        handle.update(update).await.unwrap_err(),
        AccountError::OriginChanged
    ));
    // Only part of the credentials given again: the old ones do not come along.
    let partly = AccountUpdate {
        metadata: elsewhere.clone(),
        credentials: secrets(&[("extra", "x")]),
        ..AccountUpdate::default()
    };
    assert!(matches!(
        handle.update(partly).await.unwrap_err(),
        AccountError::Fields(_)
    ));
    let whole = AccountUpdate {
        metadata: elsewhere,
        credentials: secrets(&[("token", "another-token")]),
        ..AccountUpdate::default()
    };
    handle.update(whole).await.unwrap();
    harness
        .transport
        .reply(Method::GET, "/api/x", Reply::status(204));
    handle.get("/x").send().await.unwrap();
    let sent = harness.transport.sent().remove(0);
    assert_eq!(
        (sent.uri.host(), sent.bearer()),
        (Some("evil.acme.example"), Some("another-token"))
    );
}

// DESIGN: not even for a moment, and not when the store fails midway
#[tokio::test]
async fn moving_to_another_server_never_pairs_it_with_the_wrong_credentials() {
    let half_failing = |mut ports: Ports| {
        let [rows, created, replaced] = [(); 3].map(|()| Arc::clone(&ports.integrations));
        let mut store = MockIntegrationStore::new();
        store
            .expect_find()
            .returning(move |which, scope| rows.find(which, scope).now_or_never().unwrap());
        store
            .expect_create()
            .returning(move |new| created.create(new).now_or_never().unwrap());
        store
            .expect_replace_credentials()
            .returning(move |to| replaced.replace_credentials(to).now_or_never().unwrap());
        store.expect_update().returning(|_, _, _, _| {
            let kind = StoreErrorKind::Unavailable;
            Err(StoreError::new(kind, "the database cannot be reached"))
        });
        ports.integrations = Arc::new(store);
        ports
    };
    let harness = Harness::with(half_failing, |builder| builder.provider(Acme));
    let acme = install(&harness).await;
    let handle = harness.handle(&acme);
    let update = AccountUpdate {
        metadata: [("subdomain".to_owned(), "elsewhere".to_owned())].into(),
        credentials: secrets(&[("token", "another-token")]),
        ..AccountUpdate::default()
    };
    assert!(matches!(
        handle.update(update).await.unwrap_err(),
        AccountError::Store(_)
    ));
    let error = handle.get("/x").send().await.unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::Credentials);
    assert!(harness.transport.sent().is_empty());
}

// L-CRED-2: credentials that do not open are never overwritten by merge
#[tokio::test]
async fn credentials_that_do_not_open_are_an_error_of_their_own() {
    let (harness, acme) = installed().await;
    let other = install(&harness).await;
    let swapped = integrations_core::integration::CredentialReplacement {
        id: acme.id,
        scope: integrations_core::integration::Scope::Operator,
        expected_generation: 0,
        credentials: other.credentials.clone(),
        authorization_status: acme.authorization_status.clone(),
        now: harness.clock.now(),
    };
    harness
        .client
        .ports()
        .integrations
        .replace_credentials(&swapped)
        .await
        .unwrap();
    let handle = harness.handle(&acme);
    let error = handle.get("/x").send().await.unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::Credentials);
    let update = AccountUpdate {
        credentials: secrets(&[("extra", "x")]),
        ..AccountUpdate::default()
    };
    assert!(matches!(
        handle.update(update).await.unwrap_err(),
        AccountError::Credentials(_)
    ));
    assert!(harness.transport.sent().is_empty());
    assert_eq!(
        handle.find().await.unwrap().unwrap().credentials,
        other.credentials
    );
}

// CRED-05, W-CRED-4
#[tokio::test]
async fn an_update_merges_credentials_and_counts_the_generation() {
    let (harness, acme) = installed().await;
    let handle = harness.handle(&acme);
    let update = AccountUpdate {
        credentials: secrets(&[("extra", "x")]),
        ..AccountUpdate::default()
    };
    assert_eq!(
        handle.update(update).await.unwrap().credentials_generation,
        1
    );
    harness
        .transport
        .reply(Method::GET, "/api/x", Reply::status(204));
    handle.get("/x").send().await.unwrap();
    assert_eq!(harness.transport.sent()[0].bearer(), Some(TOKEN));
}

#[tokio::test]
async fn a_removed_account_is_gone_with_its_secrets() {
    let (harness, acme) = installed().await;
    let handle = harness.handle(&acme);
    assert_eq!(handle.remove(false).await.unwrap(), Removal::Removed);
    assert_eq!(
        handle.get("/x").send().await.unwrap_err().kind(),
        &CallErrorKind::NotFound
    );
    assert!(matches!(
        handle.remove(false).await.unwrap_err(),
        AccountError::NotFound
    ));
}

// DESIGN: a process whose key is another one of that id does nothing on this database
#[tokio::test]
async fn other_keys_of_the_same_id_are_refused() {
    let harness = Harness::new(Acme);
    let alien = KeyCheck {
        key_id: KeyId::new("plain").unwrap(),
        check_value: [9; 32],
        primary: true,
    };
    harness
        .store
        .register(&[alien], harness.clock.now())
        .await
        .unwrap();
    let mismatch = harness.client.verify_keys().await.unwrap_err();
    assert!(matches!(mismatch, KeyMismatch::Different(_)), "{mismatch}");
    let operator = harness.client.operator();
    let prepared = operator
        .prepare(wish(&[("token", TOKEN)], &[("subdomain", "north")]))
        .unwrap();
    assert!(matches!(
        operator.install(prepared).await.unwrap_err(),
        InstallError::Keys(_)
    ));
    assert_eq!(count(&harness).await, 0);
}

#[tokio::test]
async fn a_key_ring_that_does_not_belong_here_leaves_nothing_behind() {
    let harness = Harness::new(Acme);
    let key = |id, check, primary| KeyCheck {
        key_id: KeyId::new(id).unwrap(),
        check_value: [check; 32],
        primary,
    };
    let now = harness.clock.now();
    let known = harness
        .store
        .register(&[key("a", 1, true)], now)
        .await
        .unwrap();
    let mut encryptor = MockEncryptor::new();
    encryptor
        .expect_key_checks()
        .returning(move || Ok(vec![key("a", 2, false), key("b", 2, true)]));
    let mismatch = verify_keys(&harness.store, &encryptor, &harness.clock).await;
    assert!(matches!(mismatch, Err(KeyMismatch::Different(_))));
    assert_eq!(harness.store.list().await.unwrap(), known);
}

#[tokio::test]
async fn a_row_of_an_unknown_provider_is_kept_and_not_called() {
    let (harness, acme) = installed().await;
    let client = IntegrationClient::builder(harness.store.clone(), TestKeys::default())
        .transport(harness.transport.clone())
        .build()
        .unwrap();
    let handle = client.operator().integration(acme.id);
    assert!(handle.find().await.unwrap().is_some());
    let error = handle.get("/x").send().await.unwrap_err();
    assert_eq!(error.kind(), &CallErrorKind::UnknownProvider);
    assert!(error.to_string().contains("`acme`"), "{error}");
    assert_eq!(handle.remove(false).await.unwrap(), Removal::Removed);
}
