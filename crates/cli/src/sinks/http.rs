//! A sink that is a server: one request a message, signed as Standard Webhooks has it.

use std::{sync::Arc, time::Duration};

use ::http::{HeaderMap, Request, StatusCode, header};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use integrations::{
    http::ReqwestTransport,
    time::{Clock, later},
    transport::{HttpTransport as _, TransportOptions},
};
use ring::hmac;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::{Message, SinkSettings, Undelivered};
use crate::exit::{Failure, Outcome, chain};

/// How long a server may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The longest pause a server can ask for.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

pub(super) struct HttpSink {
    url: Url,
    key: hmac::Key,
    options: TransportOptions,
    transport: ReqwestTransport,
    clock: Arc<dyn Clock>,
}

impl HttpSink {
    pub(super) fn new(url: &Url, settings: &SinkSettings, clock: Arc<dyn Clock>) -> Outcome<Self> {
        let secret = settings.secret.as_ref().ok_or_else(|| {
            Failure::usage(
                "a sink of `http:URL` needs a secret to sign with: set `secret` in `[sink]`, such \
                 as { env = \"SINK_SECRET\" }",
            )
        })?;
        let key = key(secret).map_err(Failure::usage)?;
        let transport = ReqwestTransport::new().map_err(|error| Failure::failed(chain(&error)))?;
        Ok(Self {
            url: url.clone(),
            key,
            // No origin a redirect may lead to: a redirect is an answer, and not a 2xx.
            options: TransportOptions {
                timeout: Some(TIMEOUT),
                allow_private: settings.allow_private.clone(),
                ..TransportOptions::default()
            },
            transport,
            clock,
        })
    }

    pub(super) async fn deliver(&self, message: &Message) -> Result<(), Undelivered> {
        let now = self.clock.now();
        let timestamp = now.timestamp().to_string();
        let signature = sign(&self.key, &message.id, &timestamp, message.body());
        let request = Request::post(self.url.as_str())
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .extension(self.options.clone())
            .body(message.body().to_owned().into())
            .map_err(|_| Undelivered::Failed("the sink's URL cannot be requested".to_owned()))?;
        match self.transport.send(request).await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(refused(answer.status(), answer.headers(), now)),
            Err(error) => Err(Undelivered::Failed(format!("the sink: {}", chain(&error)))),
        }
    }
}

/// What an answer that is not a 2xx comes to.
fn refused(status: StatusCode, headers: &HeaderMap, now: DateTime<Utc>) -> Undelivered {
    let asks_for_a_pause = matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    );
    if asks_for_a_pause {
        let seconds = headers
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.trim().parse().ok());
        let pause = seconds.map(|seconds| Duration::from_secs(seconds).min(LONGEST_PAUSE));
        return Undelivered::Later(pause.map(|pause| later(now, pause)));
    }
    let what = if status.is_redirection() {
        ", and redirects are not followed"
    } else {
        ""
    };
    Undelivered::Failed(format!("the sink answered {}{what}", status.as_u16()))
}

/// `whsec_` and base64, or the bytes of any other text.
fn key(secret: &SecretString) -> Result<hmac::Key, &'static str> {
    let text = secret.expose_secret().trim();
    if text.is_empty() {
        return Err("the secret of `[sink]` is empty");
    }
    let bytes = match text.strip_prefix("whsec_") {
        Some(encoded) => STANDARD
            .decode(encoded)
            .map_err(|_| "the secret of `[sink]` begins with whsec_ and is not base64 behind it")?,
        None => text.as_bytes().to_vec(),
    };
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

/// <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>
fn sign(key: &hmac::Key, id: &str, timestamp: &str, body: &str) -> String {
    let tag = hmac::sign(key, format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's libraries.
    #[test]
    fn signatures_are_those_of_standard_webhooks() {
        let key = key(&SecretString::from(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        ))
        .unwrap();
        let signature = sign(
            &key,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            "{\"test\": 2432232314}",
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn an_empty_or_broken_secret_is_refused() {
        for wrong in ["", "  ", "whsec_%%"] {
            assert!(key(&SecretString::from(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_server_may_ask_for_a_pause_of_an_hour_at_most() {
        let now = DateTime::UNIX_EPOCH;
        let mut headers = HeaderMap::new();
        let status = StatusCode::TOO_MANY_REQUESTS;
        assert_eq!(refused(status, &headers, now), Undelivered::Later(None));
        headers.insert(header::RETRY_AFTER, "9999999".parse().unwrap());
        let hour = later(now, LONGEST_PAUSE);
        assert_eq!(
            refused(status, &headers, now),
            Undelivered::Later(Some(hour))
        );
    }

    #[test]
    fn a_redirect_is_a_failure() {
        let refused = refused(StatusCode::FOUND, &HeaderMap::new(), DateTime::UNIX_EPOCH);
        let why = "the sink answered 302, and redirects are not followed";
        assert_eq!(refused, Undelivered::Failed(why.to_owned()));
    }
}
