//! Redirects are answers unless their origin is allowed, and each is judged anew.

use integrations_core::transport::{
    HttpTransport, Reached::MaybeSent, TransportErrorKind as Kind, TransportOptions,
};
use url::Url;

use crate::{
    failure, get, local, post,
    server::{Reply, Server, response},
    with_options,
};

fn to(origins: &[&str]) -> TransportOptions {
    let origins = origins
        .iter()
        .map(|origin| origin.parse::<Url>().unwrap().origin());
    TransportOptions {
        redirect_origins: origins.collect(),
        ..TransportOptions::default()
    }
}

fn redirect(location: &str) -> Reply {
    response(
        "307 Temporary Redirect",
        &[&format!("location: {location}")],
        b"",
    )
}

#[tokio::test]
async fn a_redirect_is_an_answer_by_default() {
    let server = Server::start([redirect("/next")]).await;
    let answer = local()
        .build()
        .unwrap()
        .send(get(&server.url("/")))
        .await
        .unwrap();
    assert_eq!(answer.status(), 307);
    assert_eq!(answer.headers()["location"], "/next");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn an_allowed_origin_is_followed_with_method_body_and_headers() {
    let server = Server::start([redirect("/next"), response("200 OK", &[], b"done")]).await;
    let mut request = with_options(post(&server.url("/"), b"body"), to(&[&server.url("/")]));
    request
        .headers_mut()
        .insert("authorization", "Bearer canary".parse().unwrap());
    let answer = local().build().unwrap().send(request).await.unwrap();
    assert_eq!(&answer.body()[..], b"done");

    let second = &server.requests()[1];
    assert!(second.starts_with("POST /next HTTP/1.1\r\n"), "{second}");
    assert!(
        second.contains("authorization: Bearer canary\r\n"),
        "{second}"
    );
    assert!(second.ends_with("body"), "{second}");
}

#[tokio::test]
async fn no_credential_crosses_to_another_origin() {
    let last = Server::start([response("200 OK", &[], b"done")]).await;
    let middle = Server::start([redirect(&last.url("/last"))]).await;
    let begin = Server::start([redirect(&middle.url("/middle"))]).await;
    let origins = [begin.url("/"), middle.url("/"), last.url("/")];
    let origins = origins.each_ref().map(String::as_str);
    let mut request = with_options(get(&begin.url("/")), to(&origins));
    for (name, value) in [
        ("authorization", "canary"),
        ("cookie", "canary"),
        ("x-api-key", "canary"),
        ("accept", "a/b"),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    local().build().unwrap().send(request).await.unwrap();

    assert!(begin.requests()[0].contains("canary"));
    for server in [&middle, &last] {
        let received = &server.requests()[0];
        assert!(!received.contains("canary"), "{received}");
        assert!(received.contains("accept: a/b\r\n"), "{received}");
    }
}

#[tokio::test]
async fn another_origin_is_refused_and_not_asked() {
    let other = Server::start([response("200 OK", &[], b"")]).await;
    let server = Server::start([redirect(&other.url("/canary"))]).await;
    let request = with_options(get(&server.url("/")), to(&[&server.url("/")]));
    failure(
        &local().build().unwrap(),
        request,
        Kind::Redirect,
        MaybeSent,
    )
    .await;
    assert_eq!(other.requests().len(), 0);
}

#[tokio::test]
async fn five_redirects_are_followed_and_not_six() {
    let transport = local().build().unwrap();
    for (redirects, done) in [(5, true), (6, false)] {
        let replies = (0..redirects).map(|_| redirect("/again"));
        let server = Server::start(replies.chain([response("200 OK", &[], b"")])).await;
        let request = with_options(get(&server.url("/")), to(&[&server.url("/")]));
        let answer = transport.send(request).await;
        assert_eq!(
            answer.map_err(|error| error.kind).err(),
            (!done).then_some(Kind::Redirect)
        );
        assert_eq!(server.requests().len(), 6);
    }
}

// W-ADP-2
#[tokio::test]
async fn each_hop_is_judged_by_the_guard() {
    for target in [
        "http://169.254.169.254/",
        "http://127.0.0.2/",
        "http://10.0.0.1/",
    ] {
        let server = Server::start([redirect(target)]).await;
        let request = with_options(get(&server.url("/")), to(&[target]));
        // The first request was sent, whatever became of the second.
        failure(&local().build().unwrap(), request, Kind::Refused, MaybeSent).await;
    }
}

#[tokio::test]
async fn a_hop_that_does_not_connect_may_still_have_been_seen() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let server = Server::start([redirect(&closed)]).await;
    let request = with_options(get(&server.url("/")), to(&[&closed]));
    failure(&local().build().unwrap(), request, Kind::Connect, MaybeSent).await;
}
