//! What an operator does about deliveries and the accounts they are for.

use std::thread;

use serde_json::{Value as Json, json};

use crate::{
    receiving::{BODY, OTHER, SECRET, deliver, deliver_at, receiving},
    sink_server::{SECRET as SINK_SECRET, SinkServer},
    world::{Kind, World},
};

// W-CLI-4: many at once, by filter, after a look at the plan
pub(crate) async fn bulk_replay(kind: Kind) {
    let (world, id) = receiving(kind, "").await;
    let secret = format!("webhook_secret={OTHER}");
    let other = world.install(&["--name", "Other", "--credential", &secret]);
    let serving = world.serve(&["--sink", "ndjson:out.ndjson"]);
    for number in 0..5 {
        let body = format!("{{\"n\":{number}}}");
        let delivery = format!("d-{number}");
        let answer = deliver(&serving, &id, &delivery, SECRET, body.as_bytes());
        assert_eq!(answer.status, 202);
    }
    assert_eq!(deliver(&serving, &other, "o-1", OTHER, b"{}").status, 202);
    assert_eq!(deliver(&serving, &other, "o-1", OTHER, b"{}").status, 200);
    world.processed(7);
    let lines = || world.lines("out.ndjson").len();
    assert_eq!(lines(), 6);
    let replay = |more: &[&str]| {
        let mut args = vec!["webhooks", "replay"];
        args.extend(more);
        world.run(&args)
    };
    let of = format!("integration={id}");
    let filter = ["--filter", &of, "--filter", "status=processed"];
    let with = |more: &[&'static str]| {
        let mut args = filter.to_vec();
        args.extend(more);
        replay(&args)
    };

    let plan = with(&["--dry-run"]).ok().json();
    let integration: i64 = id.parse().unwrap();
    let kinds = json!([{
        "provider": "github",
        "integration_id": integration,
        "event_type": "issues",
        "deliveries": 5,
    }]);
    assert_eq!((&plan["deliveries"], &plan["kinds"]), (&json!(5), &kinds));
    // With nobody to ask, it has to be said.
    with(&[])
        .exits(4)
        .says(&format!("5 of github, integration {id}, event issues"))
        .says("`--yes`");
    assert_eq!(
        (lines(), world.webhooks(&["--status", "pending"]).len()),
        (6, 0)
    );

    let done = with(&["--yes", "--per-second", "2"]).ok();
    let done = done
        .says("2 of 5 deliveries")
        .says("5 of 5 deliveries")
        .json();
    let report = (
        &done["queued"],
        &done["passed_over"],
        &done["plan"]["seconds"],
    );
    assert_eq!(report, (&json!(5), &json!(0), &json!(2)));
    while lines() < 11 {
        thread::yield_now();
    }
    world.processed(7);
    // What has a duplicate is replayed once, and what does not fit is left alone.
    let done = replay(&["--filter", "delivery=o-1", "--yes"]).ok().json();
    assert_eq!(done["queued"], 1);
    for nothing in ["event=push", "until=1h", "provider=stripe", "status=failed"] {
        let done = replay(&["--filter", nothing]).ok().json();
        assert_eq!(done["queued"], 0, "{nothing}");
    }
    while lines() < 12 {
        thread::yield_now();
    }
    let (code, _) = serving.stop();
    assert_eq!((code, lines()), (0, 12));

    replay(&["--filter", "integration=4711", "--yes"]).exits(3);
    replay(&["--filter", "since=soon"]).exits(2);
    replay(&["--filter", "event=a", "--filter", "event=b"]).exits(2);
    replay(&[]).exits(2);
    replay(&["1", "--filter", "event=a"]).exits(2);
    replay(&["1", "--yes"]).exits(2);
}

// WH-25: whoever drops the ids it knows takes every replay, and is not given up for asking to wait
pub(crate) async fn to_a_server(kind: Kind) {
    let server = SinkServer::start().await;
    let sink = format!("[sink]\nsecret = \"{SINK_SECRET}\"\nallow_private_network = true\n");
    let (world, id) = receiving(kind, &sink).await;
    let serving = world.serve(&["--sink", &format!("http:{}", server.url)]);
    assert_eq!(deliver(&serving, &id, "d-1", SECRET, BODY).status, 202);
    let number = world.processed(1)[0]["id"].to_string();
    for taken in 2..=3 {
        world.run(&["webhooks", "replay", &number]).ok();
        while server.total() < taken {
            tokio::task::yield_now().await;
        }
        world.processed(1);
    }
    let ids = server.ids();
    assert_eq!(ids.len(), 3, "{ids:?}");
    let own = format!("webhook-{number}");
    assert!(ids.iter().all(|id| id.starts_with(&own)), "{ids:?}");

    server.put_off(true);
    let answer = deliver(&serving, &id, "d-2", SECRET, b"{}");
    assert_eq!(answer.status, 202);
    let put_off = loop {
        let row = world.webhooks(&[]).remove(0);
        if row["error"] != Json::Null {
            break row;
        }
    };
    let stands = (&put_off["status"], &put_off["attempts"]);
    assert_eq!(stands, (&json!("pending"), &json!(0)), "{put_off}");
    assert_eq!(serving.stop().0, 0);
    server.assert_all_signed();
}

// W-WH-3: an operator's pause loses nothing either
pub(crate) async fn paused(kind: Kind) {
    let (world, id) = receiving(kind, "").await;
    let paused = world.run(&["disable", &id, "--pause"]).ok().json();
    let shown = (&paused["active"], &paused["parks_webhooks"]);
    assert_eq!(shown, (&json!("off (operator)"), &json!(true)));
    let serving = world.serve(&["--sink", "ndjson:out.ndjson"]);
    let answer = deliver(&serving, &id, "d-1", SECRET, BODY);
    assert_eq!(
        (answer.status, &answer.json()["status"]),
        (202, &json!("parked"))
    );
    world.run(&["webhooks", "recover"]).ok();
    let row = &world.webhooks(&[])[0];
    let stands = (&row["status"], &row["parked"], &row["attempts"]);
    assert_eq!(stands, (&json!("pending"), &json!(true), &json!(0)));

    let enabled = world.run(&["enable", &id]).ok().json();
    let shown = (&enabled["active"], &enabled["parks_webhooks"]);
    assert_eq!(shown, (&json!("on"), &json!(false)));
    world.processed(1);
    let (code, _) = serving.stop();
    assert_eq!((code, world.lines("out.ndjson").len()), (0, 1));
}

pub(crate) async fn public_url(kind: Kind) {
    let world = World::new(kind).await;
    let configure = |more: &str| {
        world.configure(&format!("[server]\nadmin_listen = \"127.0.0.1:0\"\n{more}"));
    };
    configure("");
    let secret = format!("webhook_secret={SECRET}");
    let id = world.install(&["--credential", &secret]);
    let shown = world.run(&["show", &id]).ok().json();
    let path = format!(
        "/integrations/github/{}/webhook",
        shown["uid"].as_str().unwrap()
    );
    assert_eq!(shown["webhook_path"], json!(path));
    assert_eq!(shown["webhook_url"], Json::Null);

    configure("public_url = \"https://api.acme.example/x/\"\nprefix = \"/hooks\"\n");
    let shown = world.run(&["show", &id]).ok().json();
    let path = path.replace("/integrations/", "/hooks/");
    let url = format!("https://api.acme.example/x{path}");
    assert_eq!(
        (&shown["webhook_path"], &shown["webhook_url"]),
        (&json!(path), &json!(url))
    );
    let updated = world.run(&["update", &id, "--name", "Renamed"]).ok().json();
    assert_eq!(updated["webhook_url"], json!(url));
    let table = world.run(&["show", &id, "--format", "table"]).ok().text();
    assert!(table.contains(&url), "{table}");
    // What is shown is where it listens.
    let serving = world.serve(&[]);
    let answer = deliver_at(&serving, &path, "d-1", SECRET, BODY).unwrap();
    assert_eq!(answer.status, 202);

    configure("public_url = \"api.acme.example\"\n");
    world
        .run(&["show", &id])
        .exits(2)
        .says("`server.public_url` is not a URL");
}
