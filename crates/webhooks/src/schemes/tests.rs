//! Published vectors, and what must not pass.

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use integrations_core::webhook::{Inbound, SignatureScheme, WebhookSecrets};
use secrecy::SecretString;

use super::{Refusal, TIMESTAMP_TOLERANCE, Verifier};

/// A delivery that somebody else signed.
pub(super) struct Vector {
    pub(super) scheme: SignatureScheme,
    pub(super) secret: &'static str,
    /// When it is looked at.
    pub(super) at: i64,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

impl Vector {
    fn new(scheme: SignatureScheme, secret: &'static str, at: i64, body: &str) -> Self {
        Self {
            scheme,
            secret,
            at,
            headers: Vec::new(),
            body: body.as_bytes().to_vec(),
        }
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(super) fn verify(&self) -> Result<(), Refusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append(HeaderName::from_static(name), value);
        }
        let secrets = WebhookSecrets::parse(&SecretString::from(self.secret)).unwrap();
        let verifier = Verifier::new(self.scheme.clone(), &secrets)?;
        let request = Inbound {
            method: &Method::POST,
            path: "/",
            query: None,
            headers: &headers,
            body: &self.body,
        };
        let now = DateTime::<Utc>::from_timestamp(self.at, 0).unwrap();
        verifier
            .verify(&request, now, TIMESTAMP_TOLERANCE)
            .map(|_| ())
    }
}

/// <https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries#testing-the-webhook-payload-validation>
pub(super) fn github() -> Vector {
    let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let secret = "It's a Secret to Everybody";
    Vector::new(SignatureScheme::Github, secret, 0, "Hello, World!")
        .header("x-hub-signature-256", signature)
}

/// <https://docs.slack.dev/authentication/verifying-requests-from-slack>
pub(super) fn slack() -> Vector {
    let body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow\
        &channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner\
        &command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands\
        %2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN\
        &trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    let secret = "8f742231b10e8888abcd99yyyzzz85a5";
    Vector::new(SignatureScheme::Slack, secret, 1_531_420_618, body)
        .header("x-slack-request-timestamp", "1531420618")
        .header(
            "x-slack-signature",
            "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        )
}

/// <https://github.com/standard-webhooks/standard-webhooks>: the vector of its libraries' tests.
pub(super) fn standard() -> Vector {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let body = r#"{"test": 2432232314}"#;
    Vector::new(SignatureScheme::Standard, secret, 1_614_265_330, body)
        .header("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek")
        .header("webhook-timestamp", "1614265330")
        .header(
            "webhook-signature",
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        )
}

/// <https://docs.svix.com/receiving/verifying-payloads/how-manual>: the same, under its own names.
pub(super) fn svix() -> Vector {
    let Vector {
        secret,
        at,
        headers,
        body,
        ..
    } = standard();
    let names = ["svix-id", "svix-timestamp", "svix-signature"];
    let values = headers.into_iter().map(|(_, value)| value);
    Vector {
        scheme: SignatureScheme::Svix,
        secret,
        at,
        headers: names.into_iter().zip(values).collect(),
        body,
    }
}

#[test]
fn published_vectors_verify() {
    for vector in [github(), slack(), standard(), svix()] {
        assert_eq!(vector.verify(), Ok(()), "{:?}", vector.scheme);
    }
}

#[test]
fn a_timestamp_counts_within_the_tolerance_on_both_sides() {
    let tolerance = i64::try_from(Duration::as_secs(&TIMESTAMP_TOLERANCE)).unwrap();
    for make in [slack, standard, svix] {
        let at = |off: i64| {
            let vector = make();
            let at = vector.at + off;
            Vector { at, ..vector }.verify()
        };
        assert_eq!(at(tolerance), Ok(()));
        assert_eq!(at(-tolerance), Ok(()));
        assert_eq!(at(tolerance + 1), Err(Refusal::Stale));
        assert_eq!(at(-tolerance - 1), Err(Refusal::Ahead));
    }
}
