//! Bodies: one that tells when it is being sent, and the reading of answers within their limit.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZlibDecoder};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::{HeaderMap, HeaderValue, header};
use http_body::{Body, Frame, SizeHint};
use integrations_core::transport::{Reached, TransportError, TransportErrorKind as Kind};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt};
use tokio_util::io::StreamReader;

use crate::error::{body_error, find};

/// What is asked for unless the request asks for something itself.
pub(crate) const ACCEPT_ENCODING: HeaderValue = HeaderValue::from_static("gzip, br, deflate");

/// Whether any of a request may have been sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct SentFlag(Arc<AtomicBool>);

impl SentFlag {
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A request's body that notes when it is turned to.
///
/// How a request is framed depends on whether its body is empty, so whoever writes it asks for
/// that, or for data, before the first byte: as long as nobody did, nothing was sent.
pub(crate) struct OutgoingBody {
    data: Option<Bytes>,
    sent: SentFlag,
}

impl OutgoingBody {
    pub(crate) fn new(data: Bytes, sent: SentFlag) -> Self {
        Self {
            data: Some(data).filter(|data| !data.is_empty()),
            sent,
        }
    }
}

impl Body for OutgoingBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.sent.set();
        Poll::Ready(self.data.take().map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.sent.set();
        self.data.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.as_ref().map_or(0, |data| data.len() as u64))
    }
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Brotli,
    Deflate,
}

impl Coding {
    /// The coding that `headers` declare, where it is a single one of those asked for.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
        let (Some(coding), None) = (codings.next(), codings.next()) else {
            return None;
        };
        let coding = coding.to_str().ok()?;
        match coding.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "br" => Some(Self::Brotli),
            "deflate" => Some(Self::Deflate),
            _ => None,
        }
    }
}

/// The limit on a body was passed.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the answer is larger than the limit")]
struct TooLarge;

/// Reads the body of `response`, of which at most `limit` bytes are taken from the network, and
/// at most `limit` kept after decompression.
pub(crate) async fn read(
    response: reqwest::Response,
    coding: Option<Coding>,
    limit: usize,
) -> Result<Bytes, TransportError> {
    let mut received = 0_usize;
    let chunks = response.bytes_stream().map(move |chunk| {
        let chunk = chunk.map_err(io::Error::other)?;
        received = received.saturating_add(chunk.len());
        if received > limit {
            Err(io::Error::other(TooLarge))
        } else {
            Ok(chunk)
        }
    });
    let mut raw = StreamReader::new(Box::pin(chunks));

    // Answers to HEAD and the like have no body, whatever coding they declare.
    if raw
        .fill_buf()
        .await
        .map_err(|error| read_error(&error))?
        .is_empty()
    {
        return Ok(Bytes::new());
    }
    let decoded: Pin<Box<dyn AsyncRead + Send>> = match coding {
        None => Box::pin(raw),
        Some(Coding::Brotli) => Box::pin(BrotliDecoder::new(raw)),
        Some(Coding::Deflate) => Box::pin(ZlibDecoder::new(raw)),
        Some(Coding::Gzip) => {
            let mut decoder = GzipDecoder::new(raw);
            decoder.multiple_members(true);
            Box::pin(decoder)
        }
    };

    let mut body = BytesMut::new();
    let mut bounded = decoded.take(limit as u64 + 1);
    while bounded
        .read_buf(&mut body)
        .await
        .map_err(|error| read_error(&error))?
        > 0
    {}
    if body.len() > limit {
        Err(too_large())
    } else {
        Ok(body.freeze())
    }
}

fn read_error(error: &io::Error) -> TransportError {
    if find::<TooLarge>(error).is_some() {
        return too_large();
    }
    match find::<reqwest::Error>(error) {
        Some(cause) => body_error(cause),
        None => TransportError::new(
            Kind::Decode,
            Reached::MaybeSent,
            "the answer could not be decompressed",
        ),
    }
}

pub(crate) fn too_large() -> TransportError {
    TransportError::new(Kind::TooLarge, Reached::MaybeSent, TooLarge.to_string())
}
