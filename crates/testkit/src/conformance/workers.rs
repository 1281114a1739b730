//! Cases of the `Workers` port.

use integrations_core::{value::ItemKind, worker::WorkerBeat};

use super::{
    Subject,
    fixtures::{at, holder},
};

fn beat(name: &str, now: i64) -> WorkerBeat {
    WorkerBeat {
        id: holder(name),
        version: "1.2.3".to_owned(),
        kinds: None,
        started_at: at(0),
        heartbeat_at: at(now),
    }
}

async fn alive(subject: &Subject, since: i64) -> Vec<WorkerBeat> {
    subject.ports.workers.alive(at(since)).await.unwrap()
}

pub async fn a_beat_enters_a_worker_as_it_is(subject: &Subject) {
    let kind = |name| ItemKind::new(name).unwrap();
    let picky = WorkerBeat {
        kinds: Some(vec![kind("issue"), kind("comment")]),
        ..beat("b", 0)
    };
    let idle = WorkerBeat {
        kinds: Some(vec![]),
        ..beat("c", 0)
    };
    let workers = [beat("a", 0), picky, idle];
    for worker in workers.iter().rev() {
        subject.ports.workers.beat(worker).await.unwrap();
    }

    assert_eq!(alive(subject, 0).await, workers, "by name");
}

pub async fn a_beat_moves_the_heartbeat(subject: &Subject) {
    subject.ports.workers.beat(&beat("a", 0)).await.unwrap();
    let later = WorkerBeat {
        version: "1.2.4".to_owned(),
        ..beat("a", 30)
    };

    subject.ports.workers.beat(&later).await.unwrap();

    assert_eq!(alive(subject, 30).await, [later]);
}

pub async fn those_not_heard_of_since_are_not_alive(subject: &Subject) {
    for (name, now) in [("a", 0), ("b", 30), ("c", 60)] {
        subject.ports.workers.beat(&beat(name, now)).await.unwrap();
    }

    assert_eq!(alive(subject, 30).await, [beat("b", 30), beat("c", 60)]);
    assert_eq!(alive(subject, 61).await, []);
}

pub async fn leaving_strikes_off_the_worker_and_those_long_gone(subject: &Subject) {
    for (name, now) in [("a", 0), ("b", 30), ("c", 60), ("d", 60)] {
        subject.ports.workers.beat(&beat(name, now)).await.unwrap();
    }

    let left = subject.ports.workers.leave(&holder("c"), at(30)).await;

    left.unwrap();
    assert_eq!(alive(subject, -1000).await, [beat("b", 30), beat("d", 60)]);
}
