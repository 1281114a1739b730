//! An answer as it is kept, sealed, to be given again.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use secrecy::{ExposeSecret as _, SecretSlice};
use serde::{Deserialize, Serialize};

/// An answer, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// The stored form. Bytes that may be anything are base64.
#[derive(Serialize, Deserialize)]
struct Stored {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Kept {
    /// The bytes to seal.
    pub(super) fn write(&self) -> Option<SecretSlice<u8>> {
        let headers = self.headers.iter();
        let stored = Stored {
            status: self.status.as_u16(),
            headers: headers
                .map(|(name, value)| (name.as_str().to_owned(), STANDARD.encode(value)))
                .collect(),
            body: STANDARD.encode(&self.body),
        };
        serde_json::to_vec(&stored).ok().map(SecretSlice::from)
    }

    /// Reads what was sealed; `None` where it is of a form this version does not know.
    pub(super) fn read(opened: &SecretSlice<u8>) -> Option<Self> {
        let stored: Stored = serde_json::from_slice(opened.expose_secret()).ok()?;
        let headers = stored.headers.into_iter().map(|(name, value)| {
            let name = HeaderName::try_from(name).ok()?;
            let value = HeaderValue::try_from(STANDARD.decode(value).ok()?).ok()?;
            Some((name, value))
        });
        let mut read = HeaderMap::new();
        for pair in headers {
            let (name, value) = pair?;
            read.append(name, value);
        }
        Some(Self {
            status: StatusCode::from_u16(stored.status).ok()?,
            headers: read,
            body: STANDARD.decode(stored.body).ok()?.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_comes_back_byte_for_byte() {
        let mut headers = HeaderMap::new();
        headers.append("x-a", HeaderValue::from_static("1"));
        headers.append("x-a", HeaderValue::from_bytes(b"\xff2").unwrap());
        let kept = Kept {
            status: StatusCode::CREATED,
            headers,
            body: Bytes::from_static(b"\0\xff{}"),
        };
        assert_eq!(Kept::read(&kept.write().unwrap()), Some(kept));
        assert_eq!(Kept::read(&SecretSlice::from(b"{}".to_vec())), None);
    }
}
