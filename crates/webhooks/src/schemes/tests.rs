//! Published vectors, and what must not pass.

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
            let value =
                HeaderValue::from_bytes(value.as_bytes()).map_err(|_| Refusal::MalformedHeader)?;
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

/// Stripe publishes no vector, its libraries sign in their tests; made by Python's `hmac` as
/// <https://docs.stripe.com/webhooks/signature#verify-manually> says, with a `v0` beside it.
pub(super) fn stripe() -> Vector {
    let body = r#"{"id":"evt_test_webhook","object":"event"}"#;
    let tag = "88a022085c6bdb887b02cb26ff76dd681234d9675c0f22844059f55552a8883a";
    Vector::new(
        SignatureScheme::Stripe,
        "whsec_test_secret",
        1_492_774_577,
        body,
    )
    .header(
        "stripe-signature",
        &format!("t=1492774577,v1={tag},v0=6ffbb59b2300aae63f27"),
    )
}

/// The secret Zendesk signs tests with, of
/// <https://developer.zendesk.com/documentation/webhooks/verifying/#signing-secrets-on-new-webhooks>,
/// which publishes no signature; made by Python's `hmac`.
pub(super) fn zendesk() -> Vector {
    let secret = "dGhpc19zZWNyZXRfaXNfZm9yX3Rlc3Rpbmdfb25seQ==";
    let body = r#"{"event":"ticket.updated","id":123}"#;
    Vector::new(SignatureScheme::Zendesk, secret, 1_616_648_967, body)
        .header(
            "x-zendesk-webhook-signature-timestamp",
            "2021-03-25T05:09:27Z",
        )
        .header(
            "x-zendesk-webhook-signature",
            "S/RDdU2ERmj7LHDDoWJ2onPYH+t7/f2+LTM4dL7UiLM=",
        )
}

/// Shopify publishes no vector; made by Python's `hmac` as
/// <https://shopify.dev/docs/apps/build/webhooks/subscribe/https> says.
pub(super) fn shopify() -> Vector {
    let body = r#"{"id":820982911946154508}"#;
    Vector::new(SignatureScheme::Shopify, "hush", 0, body).header(
        "x-shopify-hmac-sha256",
        "qBvrsZF7RfB1iS6BX6IHqJTp5L911P7intnPeTPsH0I=",
    )
}

/// An Ed25519 signature of the same bytes, by OpenSSL.
pub(super) fn asymmetric() -> Vector {
    let vector = standard();
    let mut headers = vector.headers;
    headers[2].1 =
        "v1a,yWoqS2m/lj/2oZXS8SHILawEFaVyHDOH4zCU2U5rOplUxourGIYHdZYNtwB3E1dwVDJqKnAdHlj\
        AN5YUROcVBg=="
            .to_owned();
    Vector {
        secret: "whpk_Mwst10EKqHE+bXkfeaFBmVbmfyhlv3phVlJciaI7N+Y=",
        headers,
        ..vector
    }
}

/// RFC 7617, section 2: the credentials of its example.
pub(super) fn basic() -> Vector {
    Vector::new(SignatureScheme::Basic, "Aladdin:open sesame", 0, "{}")
        .header("authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
}

/// The vector of GitHub, by parts.
pub(super) fn configured() -> Vector {
    let settings = [
        ("scheme", "hmac"),
        ("header", "x-hub-signature-256"),
        ("prefix", "sha256="),
    ];
    let setting = |name: &str| {
        settings
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, v)| *v)
    };
    Vector {
        scheme: SignatureScheme::from_settings(setting).unwrap(),
        ..github()
    }
}

/// The vector of Slack, by a template with a timestamp.
pub(super) fn configured_with_timestamp() -> Vector {
    let settings = [
        ("scheme", "hmac"),
        ("header", "x-slack-signature"),
        ("prefix", "v0="),
        ("template", "v0:{timestamp}:{body}"),
        ("timestamp_header", "x-slack-request-timestamp"),
    ];
    let setting = |name: &str| {
        settings
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, v)| *v)
    };
    Vector {
        scheme: SignatureScheme::from_settings(setting).unwrap(),
        ..slack()
    }
}

pub(super) const ALL: [fn() -> Vector; 11] = [
    github,
    slack,
    standard,
    svix,
    stripe,
    zendesk,
    shopify,
    asymmetric,
    basic,
    configured,
    configured_with_timestamp,
];

#[test]
fn published_vectors_verify() {
    for vector in ALL.map(|make| make()) {
        assert_eq!(vector.verify(), Ok(()), "{:?}", vector.scheme);
    }
}

// ST-03, W-WH-13
#[test]
fn a_timestamp_counts_within_the_tolerance_on_both_sides() {
    let tolerance = i64::try_from(TIMESTAMP_TOLERANCE.as_secs()).unwrap();
    for make in ALL {
        let at = |off: i64| {
            let vector = make();
            let at = vector.at + off;
            Vector { at, ..vector }.verify()
        };
        if !make().scheme.is_timestamped() {
            assert_eq!(at(10 * tolerance), Ok(()));
            continue;
        }
        assert_eq!(at(tolerance), Ok(()));
        assert_eq!(at(-tolerance), Ok(()));
        assert_eq!(at(tolerance + 1), Err(Refusal::Stale));
        assert_eq!(at(-tolerance - 1), Err(Refusal::Ahead));
    }
}

#[test]
fn every_change_of_a_body_is_refused() {
    for make in ALL
        .into_iter()
        .filter(|make| make().scheme != SignatureScheme::Basic)
    {
        for at in 0..make().body.len() {
            let mut vector = make();
            vector.body[at] ^= 1;
            assert_eq!(
                vector.verify(),
                Err(Refusal::Mismatch),
                "{:?} {at}",
                vector.scheme
            );
        }
        let mut longer = make();
        longer.body.push(b' ');
        assert_eq!(longer.verify(), Err(Refusal::Mismatch));
    }
}

/// Whether a header plays no part at this byte: Stripe's `v0` and what names it.
fn means_nothing(vector: &Vector, name: &str, at: usize) -> bool {
    let (_, value) = vector
        .headers
        .iter()
        .find(|(known, _)| *known == name)
        .unwrap();
    let v0 = value.find(",v0=");
    name == "stripe-signature" && v0.is_some_and(|v0| at > v0)
}

#[test]
fn every_change_of_a_header_is_refused() {
    for make in ALL {
        for header in 0..make().headers.len() {
            let (name, value) = make().headers.swap_remove(header);
            for at in 0..value.len() {
                // The name of the scheme is read in either case; a `T` or a `Z` of a timestamp too,
                // and then it is not what was signed.
                let replaced = if value.as_bytes()[at] == b'x' {
                    b'y'
                } else {
                    b'x'
                };
                let mut bytes = value.clone().into_bytes();
                bytes[at] = replaced;
                let mut vector = make();
                if means_nothing(&vector, name, at) {
                    continue;
                }
                vector.headers[header].1 = String::from_utf8(bytes).unwrap();
                let refused = vector.verify();
                assert!(refused.is_err(), "{:?} {name} {at}", vector.scheme);
            }
            let mut without = make();
            without.headers.remove(header);
            assert_eq!(without.verify(), Err(Refusal::MissingHeader));
            let mut twice = make();
            twice.headers.push((name, value));
            assert_eq!(twice.verify(), Err(Refusal::RepeatedHeader));
        }
    }
}

#[test]
fn every_change_of_a_secret_is_refused() {
    for make in ALL {
        let secret = make().secret;
        for at in 0..secret.len() {
            let mut bytes = secret.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'q' { b'r' } else { b'q' };
            let changed = String::from_utf8(bytes).unwrap();
            let vector = Vector {
                secret: changed.leak(),
                ..make()
            };
            assert!(vector.verify().is_err(), "{:?} {at}", vector.scheme);
        }
    }
}

fn with_header(make: fn() -> Vector, header: usize, change: impl Fn(&str) -> String) -> Vector {
    let mut vector = make();
    vector.headers[header].1 = change(&vector.headers[header].1);
    vector
}

// Where official libraries disagree.
#[test]
fn what_libraries_disagree_on_is_refused() {
    let upper = with_header(github, 0, |v| v.to_uppercase().replace("SHA256", "sha256"));
    assert_eq!(upper.verify(), Err(Refusal::MalformedSignature));
    let upper = with_header(stripe, 0, |v| v.replace("88a0", "88A0"));
    assert_eq!(upper.verify(), Err(Refusal::MalformedSignature));
    let twice = with_header(stripe, 0, |v| format!("t=1492774577,{v}"));
    assert_eq!(twice.verify(), Err(Refusal::RepeatedPart));
    let fraction = with_header(stripe, 0, |v| v.replace("t=1492774577", "t=1492774577.0"));
    assert_eq!(fraction.verify(), Err(Refusal::MalformedTimestamp));
    for text in [
        "1531420618.0",
        "+1531420618",
        " 1531420618",
        "1531420618 ",
        "0x5b4779ca",
        "-1",
    ] {
        let odd = with_header(slack, 0, |_| text.to_owned());
        assert_eq!(odd.verify(), Err(Refusal::MalformedTimestamp), "{text}");
    }
    let fraction = with_header(zendesk, 0, |_| "2021-03-25T05:09:27.000Z".to_owned());
    assert_eq!(fraction.verify(), Err(Refusal::MalformedTimestamp));
}

#[test]
fn one_of_several_signatures_is_enough_and_unknown_versions_are_passed_over() {
    let other = "a".repeat(64);
    let several = with_header(stripe, 0, |v| {
        v.replace(",v1=", &format!(",v1={other},v1="))
    });
    assert_eq!(several.verify(), Ok(()));
    let several = with_header(standard, 2, |v| format!("v2,anything {v}"));
    assert_eq!(several.verify(), Ok(()));
    let both = with_header(asymmetric, 2, |v| {
        format!("{} {v}", standard().headers[2].1)
    });
    assert_eq!(both.verify(), Ok(()));
    let none = with_header(standard, 2, |v| v.replace("v1,", "v2,"));
    assert_eq!(none.verify(), Err(Refusal::NoSignature));
    let crowd = with_header(standard, 2, |v| [v; 17].join(" "));
    assert_eq!(crowd.verify(), Err(Refusal::TooManySignatures));
    // An HMAC under the public key proves nothing.
    let confused = with_header(asymmetric, 2, |v| v.replace("v1a,", "v1,"));
    assert_eq!(confused.verify(), Err(Refusal::MalformedSignature));
}

#[test]
fn a_boundary_cannot_be_moved_into_the_id() {
    let id = with_header(standard, 0, |id| format!("{id}.1614265330"));
    assert_eq!(id.verify(), Err(Refusal::MalformedHeader));
}

// W-WH-13
#[test]
fn several_secrets_count_until_they_run_out() {
    let old = |until: &str| Vector {
        secret: format!("whsec_bmV3,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw;until={until}").leak(),
        ..standard()
    };
    assert_eq!(old("2021-02-25T15:02:11Z").verify(), Ok(()));
    assert_eq!(old("2021-02-25T15:02:10Z").verify(), Err(Refusal::Mismatch));
    let only = Vector {
        secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw;until=2021-02-25T15:02:10Z",
        ..standard()
    };
    assert_eq!(only.verify(), Err(Refusal::ExpiredSecret));
}

#[test]
fn secrets_of_another_form_are_unusable() {
    for (make, secret) in [
        (standard as fn() -> Vector, "whsec_not base64"),
        (standard, "whsec_"),
        (standard, "whpk_AAAA"),
        (standard, "whsk_"),
        (basic, "no colon"),
        (basic, ":password"),
        (basic, "name:"),
    ] {
        let vector = Vector { secret, ..make() };
        assert_eq!(vector.verify(), Err(Refusal::UnusableSecret), "{secret}");
    }
}

mod malformed {
    use proptest::prelude::*;

    use super::*;

    /// What looks like a signature header, and is none.
    fn header_value() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            "[ -~]{0,40}",
            "(t|v0|v1|v1a|sha256|Basic|v2)[=, ][A-Za-z0-9+/=.]{0,90}",
            "(t=[0-9]{1,12}(\\.[0-9]{1,3})?,)?(v1=[0-9a-fA-F]{60,66},?){0,4}",
            "v1a?,[A-Za-z0-9+/]{40,44}={0,2}",
        ];
        proptest::collection::vec(part, 0..4).prop_map(|parts| parts.join(" "))
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 10_000,
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn headers_never_panic_and_never_pass(
            which in 0..ALL.len(),
            header in 0..3_usize,
            value in header_value(),
        ) {
            let mut vector = ALL[which]();
            let header = header % vector.headers.len();
            prop_assume!(vector.headers[header].1 != value);
            vector.headers[header].1 = value;
            prop_assert!(vector.verify().is_err());
        }
    }
}
