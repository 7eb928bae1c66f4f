//! Responses in small pieces, so that slow readers cost little memory.

use super::connections::UnderWay;
use super::work::UnsentShare;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The most bytes that are passed to a connection at once; it buffers a few of these.
pub(super) const PIECE: usize = 16 << 10;

/// A response body. The request is under way until this is dropped.
#[derive(Debug)]
pub(super) struct Answer {
    body: Body,
    /// What is left of the last piece of the body.
    rest: Bytes,
    _under_way: UnderWay,
    /// Its share of the memory for unsent answers.
    _share: Option<UnsentShare>,
}

impl Answer {
    pub(super) fn new(body: Body, share: Option<UnsentShare>, under_way: UnderWay) -> Answer {
        Answer { body, rest: Bytes::new(), _under_way: under_way, _share: share }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                other => return Poll::Ready(other),
            }
        }
        let count = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(count)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let body = self.body.size_hint();
        let mut all = SizeHint::new();
        all.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            all.set_upper(upper + rest);
        }
        all
    }
}

/// Whether a request announces a body.
pub(super) fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH);
    headers.contains_key(header::TRANSFER_ENCODING)
        || length.is_some_and(|length| length.as_bytes() != b"0")
}

/// Closes the connection after the response.
pub(super) fn close_after(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
}

#[cfg(test)]
mod tests {
    use super::super::connections::Watch;
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn a_large_answer_is_sent_whole_in_small_pieces() {
        let text: Vec<u8> = (0..PIECE * 3 + 5).map(|number| (number % 251) as u8).collect();
        let watch = Watch::begin();
        let mut answer = Answer::new(Body::from(text.clone()), None, watch.request());
        assert_eq!(answer.size_hint().exact(), Some(text.len() as u64));
        let mut sizes = Vec::new();
        let mut whole = Vec::new();
        while let Some(frame) = answer.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            sizes.push(data.len());
            whole.extend_from_slice(&data);
            assert_eq!(answer.size_hint().exact(), Some((text.len() - whole.len()) as u64));
        }
        assert_eq!(sizes, [PIECE, PIECE, PIECE, 5]);
        assert_eq!(whole, text);
        assert!(answer.is_end_stream());
    }

    #[test]
    fn a_request_with_a_body_is_recognised() {
        let of = |name, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
            has_body(&headers)
        };
        assert!(!has_body(&HeaderMap::new()));
        assert!(!of(header::CONTENT_LENGTH, "0"));
        assert!(of(header::CONTENT_LENGTH, "1"));
        assert!(of(header::TRANSFER_ENCODING, "chunked"));
    }
}
