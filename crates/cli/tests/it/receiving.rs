//! Webhooks, from the wire to the table.

use std::{
    collections::BTreeSet,
    io::Write as _,
    net::TcpStream,
    sync::{Arc, Barrier, Mutex},
    thread,
};

use serde_json::{Value as Json, json};

use crate::{
    server::{Answer, Serving, answer, github_signature, hmac, send},
    world::{Kind, World},
};

pub(crate) const SECRET: &str = "canary-whs-5f2b";
pub(crate) const OTHER: &str = "canary-whs-9c41";
pub(crate) const BODY: &[u8] =
    br#"{"action":"opened","issue":{"number":7,"title":"caf\u00e9 \u202e"}}"#;

/// A server on free ports and a GitHub account with a webhook secret.
pub(crate) async fn receiving(kind: Kind, config: &str) -> (World, String) {
    let world = World::new(kind).await;
    world.configure(&format!(
        "[server]\nadmin_listen = \"127.0.0.1:0\"\n{config}"
    ));
    let secret = format!("webhook_secret={SECRET}");
    let id = world.install(&["--credential", &secret]);
    (world, id)
}

/// Delivers to an account's own route, signed with `secret`.
pub(crate) fn deliver(
    serving: &Serving,
    id: &str,
    delivery: &str,
    secret: &str,
    body: &[u8],
) -> Answer {
    let path = format!("/integrations/github/{id}/webhook");
    deliver_at(serving, &path, delivery, secret, body).expect("an answer")
}

pub(crate) fn deliver_at(
    serving: &Serving,
    path: &str,
    delivery: &str,
    secret: &str,
    body: &[u8],
) -> Option<Answer> {
    let signature = github_signature(secret, body);
    let headers = [
        ("content-type", "application/json"),
        ("x-github-event", "issues"),
        ("x-github-delivery", delivery),
        ("x-hub-signature-256", &signature),
        ("cookie", "canary-cookie"),
    ];
    send(serving.public, "POST", path, &headers, body)
}

impl World {
    /// The deliveries, once all of so many are processed.
    pub(crate) fn processed(&self, count: usize) -> Vec<Json> {
        for _ in 0..600 {
            let processed = self.webhooks(&["--status", "processed"]);
            if processed.len() == count {
                return processed;
            }
        }
        panic!("not processed: {:?}", self.webhooks(&[]));
    }

    pub(crate) fn webhooks(&self, more: &[&str]) -> Vec<Json> {
        let mut args = vec!["webhooks", "list", "--limit", "1000"];
        args.extend(more);
        self.run(&args).ok().json().as_array().unwrap().clone()
    }
}

// WH-01, WH-02, WH-03 as CONTRACT has them
pub(crate) async fn answers(kind: Kind) {
    let (world, id) = receiving(kind, "").await;
    let serving = world.serve(&[]);
    let first = deliver(&serving, &id, "d-1", SECRET, BODY);
    assert_eq!(
        (first.status, &first.json()["status"]),
        (202, &json!("queued"))
    );
    // A new id is not signed: the same bytes are the same delivery.
    for delivery in ["d-1", "d-2"] {
        let again = deliver(&serving, &id, delivery, SECRET, BODY);
        assert_eq!(
            (again.status, &again.json()["status"]),
            (200, &json!("duplicate"))
        );
    }
    let uid = world.run(&["show", &id]).ok().json()["uid"].clone();
    let by_uid = deliver(&serving, uid.as_str().unwrap(), "d-3", SECRET, b"{}");
    assert_eq!(by_uid.status, 202);
    let own = "/integrations/github/webhook";
    let by_secret = deliver_at(&serving, own, "d-4", SECRET, b"{\"a\":1}").unwrap();
    assert_eq!(by_secret.status, 202);

    let wrong = deliver(&serving, &id, "d-5", OTHER, BODY);
    let unknown = deliver(&serving, "4711", "d-5", SECRET, BODY);
    let nobody = deliver_at(&serving, own, "d-5", OTHER, BODY).unwrap();
    let path = format!("/integrations/github/{id}/webhook");
    let unsigned = serving.post(&path, &[("x-github-event", "issues")], BODY);
    for refused in [&wrong, &unknown, &nobody, &unsigned] {
        assert_eq!(refused.status, 401);
        assert_eq!(refused.body, wrong.body, "nothing shows which part failed");
    }
    assert!(
        wrong.head.contains("application/problem+json"),
        "{}",
        wrong.head
    );
    let elsewhere = serving.post("/integrations/nowhere/webhook", &[], BODY);
    assert_eq!(elsewhere.status, 404);
    let put = send(serving.public, "PUT", &path, &[], BODY).unwrap();
    assert_eq!(put.status, 405);
    assert!(
        put.head.to_lowercase().contains("allow: get, post"),
        "{}",
        put.head
    );

    let rows = world.webhooks(&[]);
    let seen: Vec<_> = rows
        .iter()
        .map(|row| (row["delivery_id"].as_str().unwrap(), &row["duplicate_of"]))
        .collect();
    let first = rows.last().unwrap();
    let of = &first["id"];
    let none = &Json::Null;
    assert_eq!(
        seen,
        [
            ("d-4", none),
            ("d-3", none),
            ("d-2", of),
            ("d-1", of),
            ("d-1", none)
        ]
    );
    assert_eq!(first["event_type"], "issues");
    assert_eq!(first["integration_id"].to_string(), id);
    let (code, _) = serving.stop();
    assert_eq!(code, 0);
}

// W-WH-5, W-WH-7, W-WH-10: bytes as they came, headers by list, no secret anywhere
pub(crate) async fn kept(kind: Kind) {
    let (world, id) = receiving(kind, "").await;
    let serving = world.serve(&[]);
    let path = format!("/integrations/github/{id}/webhook?token=canary-query");
    let answer = deliver_at(&serving, &path, "d-1", SECRET, BODY).unwrap();
    assert_eq!(answer.status, 202);
    let binary = b"\xff\x00 not text";
    assert_eq!(deliver(&serving, &id, "d-2", SECRET, binary).status, 202);
    let rows = world.webhooks(&[]);
    let show = |row: &Json| {
        world
            .run(&["webhooks", "show", &row["id"].to_string()])
            .ok()
            .json()
    };
    let shown = show(&rows[1]);
    assert_eq!(shown["payload"].as_str().unwrap().as_bytes(), BODY);
    assert_eq!(shown["method"], "POST");
    assert_eq!(shown["remote_addr"], "127.0.0.1");
    let headers = shown["headers"].to_string();
    assert!(
        headers.contains(r#"["x-github-event","issues"]"#),
        "{headers}"
    );
    assert!(
        !headers.contains("signature") && !headers.contains("cookie"),
        "{headers}"
    );
    assert_eq!(show(&rows[0])["payload_bytes"], json!(binary));
    world.run(&["webhooks", "show", "4711"]).exits(3);

    let (_, said) = serving.stop();
    assert!(said.contains("answered"), "the access log is there: {said}");
    for canary in ["canary-whs", "canary-cookie", "canary-query"] {
        assert!(!said.contains(canary), "{canary} is in the log: {said}");
    }
    let contents = world.contents().await;
    for canary in ["canary-whs", "canary-cookie"] {
        let found = contents
            .windows(canary.len())
            .any(|at| at == canary.as_bytes());
        assert!(!found, "{canary} is in the database");
    }
}

// WH-07 as CONTRACT has it
pub(crate) async fn switched_off(kind: Kind) {
    let (world, id) = receiving(kind, "").await;
    let serving = world.serve(&[]);
    world.run(&["disable", &id]).ok();
    // An account is believed for a second, so the switch is seen within some deliveries.
    let gone = (0..100_000).find(|number| {
        let body = format!("{{\"n\":{number}}}");
        let delivery = format!("d-{number}");
        match deliver(&serving, &id, &delivery, SECRET, body.as_bytes()).status {
            410 => true,
            202 => false,
            other => panic!("{other}"),
        }
    });
    assert!(gone.is_some());
    let wrong = deliver(&serving, &id, "d", OTHER, BODY);
    assert_eq!(
        wrong.status, 401,
        "who cannot sign is not told that it is off"
    );
}

pub(crate) async fn too_large(kind: Kind) {
    let (world, id) = receiving(kind, "").await;
    let serving = world.serve(&[]);
    let path = format!("/integrations/github/{id}/webhook");
    // Announced, and not sent: it is refused without a byte of it.
    let mut stream = TcpStream::connect(serving.public).unwrap();
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 2000000\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(answer(&mut stream).unwrap().status, 413);
    // Not announced: it is refused once there is too much of it.
    let mut stream = TcpStream::connect(serving.public).unwrap();
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let chunk = format!("10000\r\n{}\r\n", "a".repeat(0x10000));
    for _ in 0..17 {
        // The last of them may find nobody listening.
        if stream.write_all(chunk.as_bytes()).is_err() {
            break;
        }
    }
    assert_eq!(answer(&mut stream).unwrap().status, 413);
    let fits = vec![b' '; 1024 * 1024];
    assert_eq!(deliver(&serving, &id, "d-1", SECRET, &fits).status, 202);
}

// W-WH-1
pub(crate) async fn handshakes(kind: Kind) {
    let world = World::new(kind).await;
    world.configure("[server]\nadmin_listen = \"127.0.0.1:0\"\n");
    let secret = format!("webhook_secret={SECRET}");
    let install = [
        "install",
        "webhook",
        "--metadata",
        "scheme=slack",
        "--credential",
        &secret,
    ];
    let id = world.run(&install).ok().json()["id"].to_string();
    let serving = world.serve(&[]);
    let path = format!("/integrations/webhook/{id}/webhook");
    let body = r#"{"type":"url_verification","challenge":"abc"}"#;
    let now = std::process::Command::new("date")
        .arg("+%s")
        .output()
        .unwrap();
    let now = String::from_utf8(now.stdout).unwrap();
    let now = now.trim();
    let signed = format!("v0:{now}:{body}");
    let signature = format!(
        "v0={}",
        hex::encode(hmac(SECRET.as_bytes(), signed.as_bytes()))
    );
    let headers = [
        ("x-slack-request-timestamp", now),
        ("x-slack-signature", &*signature),
    ];
    let challenge = serving.post(&path, &headers, body.as_bytes());
    assert_eq!(
        (challenge.status, challenge.body.as_str()),
        (200, r#"{"challenge":"abc"}"#)
    );
    let stale = [
        ("x-slack-request-timestamp", "1"),
        ("x-slack-signature", &*signature),
    ];
    assert_eq!(serving.post(&path, &stale, body.as_bytes()).status, 401);
    let graph = format!("{path}?validationToken=a%20b");
    let echoed = serving.post(&graph, &[], b"");
    assert_eq!((echoed.status, echoed.body.as_str()), (200, "a b"));
    assert_eq!(world.webhooks(&[]), Vec::<Json>::new());
}

// INV: the same delivery id from many connections at once is one delivery
pub(crate) async fn at_once(kind: Kind) {
    const SENDERS: usize = 64;
    let (world, id) = receiving(kind, "").await;
    let secret = format!("webhook_secret={OTHER}");
    let other = world.install(&["--name", "Other", "--credential", &secret]);
    let serving = Arc::new(world.serve(&[]));
    let go = Arc::new(Barrier::new(2 * SENDERS));
    let senders: Vec<_> = [(id, SECRET), (other, OTHER)]
        .into_iter()
        .flat_map(|account| vec![account; SENDERS])
        .map(|(id, secret)| {
            let (serving, go) = (Arc::clone(&serving), Arc::clone(&go));
            thread::spawn(move || {
                go.wait();
                deliver(&serving, &id, "same", secret, BODY).status
            })
        })
        .collect();
    let statuses: Vec<u16> = senders.into_iter().map(|s| s.join().unwrap()).collect();
    let count = |status| statuses.iter().filter(|s| **s == status).count();
    assert_eq!(
        (count(202), count(200)),
        (2, 2 * SENDERS - 2),
        "{statuses:?}"
    );
    let rows = world.webhooks(&[]);
    let firsts = rows.iter().filter(|row| row["duplicate_of"].is_null());
    assert_eq!((rows.len(), firsts.count()), (2 * SENDERS, 2));
    let serving = Arc::into_inner(serving).unwrap();
    serving.stop();
    let serving = world.serve(&["--sink", "ndjson:out.ndjson"]);
    world.processed(2 * SENDERS);
    serving.stop();
    assert_eq!(world.lines("out.ndjson").len(), 2, "each is handled once");
}

/// What got a 2xx is in the table, however often the server is killed.
pub(crate) async fn killed(kind: Kind) {
    const KILLS: usize = 3;
    const SENDERS: usize = 8;
    let (world, id) = receiving(kind, "").await;
    let taken = Arc::new(Mutex::new(Vec::new()));
    for round in 0..KILLS {
        let mut serving = world.serve(&[]);
        let to = serving.public;
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let (taken, id) = (Arc::clone(&taken), id.clone());
                thread::spawn(move || {
                    for number in 0..100 {
                        let delivery = format!("{round}-{sender}-{number}");
                        let body = format!("{{\"delivery\":\"{delivery}\"}}");
                        let signature = github_signature(SECRET, body.as_bytes());
                        let headers = [
                            ("x-github-event", "push"),
                            ("x-github-delivery", &*delivery),
                            ("x-hub-signature-256", &*signature),
                        ];
                        let path = format!("/integrations/github/{id}/webhook");
                        match send(to, "POST", &path, &headers, body.as_bytes()) {
                            Some(answer) if answer.status == 202 => {
                                taken.lock().unwrap().push(delivery);
                            }
                            Some(answer) => assert_eq!(answer.status, 503),
                            None => return,
                        }
                    }
                })
            })
            .collect();
        // In the middle of it: some are taken, and more are under way.
        let enough = (round + 1) * 40;
        while taken.lock().unwrap().len() < enough {
            thread::yield_now();
        }
        serving.kill();
        for sender in senders {
            sender.join().unwrap();
        }
    }
    let taken = Arc::into_inner(taken).unwrap().into_inner().unwrap();
    let rows = world.webhooks(&[]);
    let times = |delivery: &String| {
        let of = rows
            .iter()
            .filter(|row| row["delivery_id"] == delivery.as_str());
        of.count()
    };
    let lost: Vec<_> = taken
        .iter()
        .filter(|delivery| times(delivery) != 1)
        .collect();
    assert!(taken.len() >= 40 * KILLS && lost.is_empty(), "{lost:?}");

    let serving = world.serve(&["--sink", "ndjson:out.ndjson"]);
    world.processed(rows.len());
    let (code, _) = serving.stop();
    let lines = world.lines("out.ndjson");
    let delivered: BTreeSet<_> = lines
        .iter()
        .map(|line| line["delivery_id"].as_str().unwrap())
        .collect();
    assert_eq!((code, delivered.len()), (0, rows.len()));
}

// WH-20, WH-25: what a handler gets is what came, and what came is what it gets again
pub(crate) async fn processed(kind: Kind) {
    let (world, id) = receiving(kind, "").await;
    let serving = world.serve(&["--sink", "ndjson:out.ndjson"]);
    assert_eq!(deliver(&serving, &id, "d-1", SECRET, BODY).status, 202);
    let row = world.processed(1).remove(0);
    assert_eq!(row["attempts"], 1);
    let first = std::fs::read_to_string(world.path("out.ndjson")).unwrap();
    let as_it_came = std::str::from_utf8(BODY).unwrap();
    assert!(first.contains(as_it_came), "{first}");
    let line = &world.lines("out.ndjson")[0];
    for (name, value) in [
        ("type", json!("webhook")),
        ("provider", json!("github")),
        ("event_type", json!("issues")),
        ("delivery_id", json!("d-1")),
        ("integration_id", row["integration_id"].clone()),
    ] {
        assert_eq!(line[name], value, "{line}");
    }
    let number = row["id"].to_string();
    world.run(&["webhooks", "replay", &number]).ok();
    while world.lines("out.ndjson").len() < 2 {
        thread::yield_now();
    }
    let both = std::fs::read_to_string(world.path("out.ndjson")).unwrap();
    let marked = first.replace("\"payload\":", "\"replay\":true,\"payload\":");
    assert_eq!(both, format!("{first}{marked}"));
    // The same again is no second one.
    assert_eq!(deliver(&serving, &id, "d-1", SECRET, BODY).status, 200);
    let (code, _) = serving.stop();
    assert_eq!((code, world.lines("out.ndjson").len()), (0, 2));
}

pub(crate) async fn slow(kind: Kind) {
    let (world, _) = receiving(kind, "head_timeout = \"1s\"\nrequest_timeout = \"1s\"\n").await;
    let serving = world.serve(&[]);
    let path = "/integrations/github/1/webhook";
    for (sent, status) in [
        (String::new(), None),
        (format!("POST {path} HTTP/1.1\r\nx-a: "), None),
        (
            format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{{"),
            Some(408),
        ),
    ] {
        let mut stream = TcpStream::connect(serving.public).unwrap();
        stream.write_all(sent.as_bytes()).unwrap();
        // Nothing more comes, and the server does not wait for it.
        let cut = answer(&mut stream).map(|answer| answer.status);
        assert_eq!(cut, status, "{sent:?}");
    }
}

pub(crate) async fn operators(kind: Kind) {
    let token = "0123456789abcdef0123456789abcdef";
    let config =
        format!("admin_token = \"{token}\"\n[webhooks]\nbytes_under_way = 5000000\nqueue = 7\n");
    let (world, id) = receiving(kind, &config).await;
    let serving = world.serve(&[]);
    deliver(&serving, &id, "d-1", SECRET, BODY);
    deliver(&serving, &id, "d-2", OTHER, BODY);
    let ready = serving.get("/health/ready");
    assert_eq!(
        (ready.status, &ready.json()["status"]),
        (200, &json!("ready"))
    );
    let metrics = serving.get("/metrics").body;
    for line in [
        "integrations_webhooks_total{answer=\"queued\"} 1",
        "integrations_webhooks_refused_total{reason=\"mismatch\"} 1",
        "integrations_webhook_queue{status=\"pending\"} 1",
        "integrations_webhook_batches_total 1",
        "integrations_webhook_batched_total 1",
        "integrations_webhook_held{what=\"bytes\"} 0",
        "integrations_webhook_held{what=\"waiting\"} 0",
        "integrations_webhook_bound{what=\"bytes\"} 5000000",
        "integrations_webhook_bound{what=\"unverified\"} 256",
        "integrations_webhook_bound{what=\"waiting\"} 7",
        "integrations_request_log_rows_total{outcome=\"unrecorded\"} 0",
        "integrations_request_log_rows_total{outcome=\"dropped\"} 0",
        "integrations_request_log_held_rows{why=\"kept\"} 0",
        "integrations_http_requests_total{listener=\"public\",status=\"401\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is missing from {metrics}");
    }
    let bearer = format!("Bearer {token}");
    let with = |value: &str| {
        let headers = [("authorization", value)];
        send(serving.public, "GET", "/metrics", &headers, b"")
            .unwrap()
            .status
    };
    assert_eq!((with(&bearer), with("Bearer x")), (200, 404));
    world.run(&["webhooks", "replay", "4711"]).exits(3);
    let row = &world.webhooks(&[])[0];
    let id = row["id"].to_string();
    let queued = world.run(&["webhooks", "replay", &id]).ok().json();
    assert_eq!(queued["queued"], json!([row["id"]]));
    assert_eq!(
        world.run(&["webhooks", "recover"]).ok().json()["recovered"],
        0
    );
    let (code, said) = serving.stop();
    assert_eq!(code, 0);
    assert!(!said.contains(token), "{said}");
}
