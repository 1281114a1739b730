//! The guard judges the address that is connected to, however it was come by.

use std::{
    net::IpAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use integrations_core::transport::{
    AllowPrivate, HttpTransport, Reached::NotSent, TransportErrorKind as Kind, TransportOptions,
};
use integrations_http::{BuildError, ReqwestTransport};

use crate::{
    Names, failure, get, local, names_at,
    server::{Reply, Server, response},
    with_options,
};

fn ok() -> Reply {
    response("200 OK", &[], b"")
}

fn allowing(allow_private: AllowPrivate) -> TransportOptions {
    TransportOptions {
        allow_private,
        ..TransportOptions::default()
    }
}

// ADP-02
#[tokio::test]
async fn loopback_is_refused_by_default_in_every_spelling() {
    let server = Server::start([ok()]).await;
    let port = server.address.port();
    let transport = ReqwestTransport::new().unwrap();
    for host in [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "[::1]",
        "[::ffff:7f00:1]",
    ] {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{host}:{port}/canary");
            failure(&transport, get(&url), Kind::Refused, NotSent).await;
        }
    }
    assert_eq!(server.requests().len(), 0);
}

// W-ADP-2
#[tokio::test]
async fn a_public_name_with_a_private_address_is_refused() {
    for addresses in [
        &["127.0.0.1"][..],
        &["10.0.0.1", "192.168.1.1"],
        &["169.254.169.254"],
        &["::ffff:127.0.0.1"],
        &["fd00:ec2::254"],
    ] {
        let transport = ReqwestTransport::builder()
            .resolver(names_at(addresses))
            .build()
            .unwrap();
        failure(
            &transport,
            get("https://canary.test/"),
            Kind::Refused,
            NotSent,
        )
        .await;
    }
}

// W-ADP-2
#[tokio::test]
async fn a_name_that_changes_its_address_is_judged_at_each_connection() {
    let close = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec();
    let server = Server::start([Reply::AndClose(close)]).await;
    let lookups = AtomicUsize::new(0);
    let rebinding = Names(move |_: &str| {
        let first = lookups.fetch_add(1, Ordering::Relaxed) == 0;
        Ok(vec![if first {
            IpAddr::from([127, 0, 0, 1])
        } else {
            [169, 254, 169, 254].into()
        }])
    });
    let transport = local().resolver(rebinding).build().unwrap();
    let url = format!("http://rebind.test:{}/", server.address.port());
    transport.send(get(&url)).await.unwrap();
    failure(&transport, get(&url), Kind::Refused, NotSent).await;
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn only_the_allowed_addresses_of_a_name_are_connected_to() {
    let server = Server::start([ok()]).await;
    let names = names_at(&["127.0.0.2", "10.0.0.1", "127.0.0.1"]);
    let transport = local().resolver(names).build().unwrap();
    let url = format!("http://several.test:{}/", server.address.port());
    transport.send(get(&url)).await.unwrap();
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn plain_http_is_not_for_public_addresses() {
    let transport = local().resolver(names_at(&["1.1.1.1"])).build().unwrap();
    for url in [
        "http://public.test/",
        "http://8.8.8.8/",
        "http://[2606:4700::1111]/",
    ] {
        let error = failure(&transport, get(url), Kind::Refused, NotSent).await;
        assert!(error.to_string().contains("https://"), "{error}");
    }
}

#[tokio::test]
async fn metadata_addresses_stay_closed_whatever_is_allowed() {
    for allow in [
        AllowPrivate::All,
        AllowPrivate::Networks(vec![
            "0.0.0.0/0".into(),
            "::/0".into(),
            "169.254.0.0/16".into(),
        ]),
    ] {
        let transport = ReqwestTransport::builder()
            .allow_private(allow)
            .build()
            .unwrap();
        for host in [
            "169.254.169.254",
            "[fd00:ec2::254]",
            "[::ffff:169.254.169.254]",
            "[fe80::1]",
        ] {
            failure(
                &transport,
                get(&format!("http://{host}/")),
                Kind::Refused,
                NotSent,
            )
            .await;
        }
    }
}

#[tokio::test]
async fn one_request_may_be_allowed_more_and_the_next_does_not_profit() {
    let server = Server::start([ok(), ok(), ok()]).await;
    let transport = ReqwestTransport::builder()
        .resolver(names_at(&["127.0.0.1"]))
        .build()
        .unwrap();
    let url = format!("http://shared.test:{}/", server.address.port());
    let allowed = [
        AllowPrivate::All,
        AllowPrivate::Networks(vec!["127.0.0.0/8".into()]),
        AllowPrivate::Networks(vec!["127.0.0.1".into()]),
    ];
    for allow in allowed {
        // The connection that was opened for the one before is still there to be used.
        transport
            .send(with_options(get(&url), allowing(allow)))
            .await
            .unwrap();
        failure(&transport, get(&url), Kind::Refused, NotSent).await;
        let elsewhere = allowing(AllowPrivate::Networks(vec!["10.0.0.0/8".into()]));
        failure(
            &transport,
            with_options(get(&url), elsewhere),
            Kind::Refused,
            NotSent,
        )
        .await;
    }
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn through_a_proxy_the_target_is_judged_all_the_same() {
    let proxy = Server::start([ok()]).await;
    let through = |addresses| {
        local()
            .proxy(proxy.url("/"))
            .resolver(names_at(addresses))
            .build()
            .unwrap()
    };
    let denied = through(&["1.1.1.1", "169.254.169.254"]);
    failure(&denied, get("https://canary.test/"), Kind::Refused, NotSent).await;
    failure(&denied, get("http://10.0.0.1/"), Kind::Refused, NotSent).await;
    failure(
        &through(&[]),
        get("https://canary.test/"),
        Kind::Resolve,
        NotSent,
    )
    .await;
    assert_eq!(proxy.requests().len(), 0);

    through(&["127.0.0.1"])
        .send(get("http://inside.test/path"))
        .await
        .unwrap();
    let requests = proxy.requests();
    assert!(
        requests[0].starts_with("GET http://inside.test/path HTTP/1.1\r\n"),
        "{requests:?}"
    );
}

#[tokio::test]
async fn a_proxy_that_refuses_the_tunnel_kept_the_request_from_being_sent() {
    let proxy = Server::start([response("403 Forbidden", &[], b"canary")]).await;
    let transport = local()
        .proxy(proxy.url("/").replacen("http://", "http://user:canary@", 1))
        .resolver(names_at(&["1.1.1.1"]))
        .build()
        .unwrap();
    failure(
        &transport,
        get("https://public.test/canary"),
        Kind::Connect,
        NotSent,
    )
    .await;
    let requests = proxy.requests();
    assert!(
        requests[0].starts_with("CONNECT public.test:443 HTTP/1.1\r\n"),
        "{requests:?}"
    );
}

#[test]
fn what_cannot_be_built_says_why_and_shows_no_secret() {
    let builder = ReqwestTransport::builder;
    let network = AllowPrivate::Networks(vec!["10.0.0.0/99".into()]);
    assert!(matches!(
        builder().allow_private(network).build(),
        Err(BuildError::Network(_))
    ));
    assert!(matches!(
        builder().user_agent("a\nb").build(),
        Err(BuildError::UserAgent)
    ));
    for pem in [
        "",
        "canary",
        "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
    ] {
        let built = builder().extra_root_certificates(pem).build();
        assert!(matches!(built, Err(BuildError::RootCertificate)), "{pem:?}");
    }
    for proxy in ["socks5://canary:1", "canary", "http://user:canary@"] {
        let builder = builder().proxy(proxy);
        assert!(!format!("{builder:?}").contains("canary"));
        let error = builder.build().unwrap_err();
        assert!(matches!(error, BuildError::Proxy));
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
}
