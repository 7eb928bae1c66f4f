//! The HTTP clients that all accounts share: one request, one hop, one response.

mod upload;

pub(crate) use self::upload::Upload;
pub(crate) use crate::secret::host_and_port;

use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use async_compression::tokio::bufread::GzipDecoder;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, StreamExt as _};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, IF_RANGE, RANGE};
use reqwest::{Client, ClientBuilder, Response};
use tokio::io::{AsyncBufRead, AsyncReadExt as _, BufReader};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::io::StreamReader;
use url::Url;

use super::{Failure, FailureKind, Validator};
use crate::http::{SetupError, builder, extra_certificates, install_tls, reason};
use crate::settings::{self, is_loopback};

/// The longest time that the body of a control response may take.
const CONTROL_DEADLINE: Duration = Duration::from_mins(5);
/// How many content codings of one response are decoded.
const MAX_CODINGS: usize = 2;
/// The most bytes that a decoder returns at once.
const PIECE: usize = 64 << 10;

/// Whether a connection may be used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connection {
    /// A new one for this request alone. A pooled connection may turn out to be dead, and then
    /// the library sends the request again: never for a request with an effect.
    Fresh,
    Pooled,
}

/// The clients and their limits. Cloning shares the connections.
#[derive(Debug, Clone)]
pub struct HttpClients {
    outward: Pair,
    /// Without a proxy.
    loopback: Pair,
    /// Why the system's certificates could not be loaded, if so: then none is trusted.
    trust_error: Option<String>,
    connect_timeout: Duration,
    idle_timeout: Duration,
    fetch_deadline: Duration,
}

#[derive(Debug, Clone)]
struct Pair {
    fresh: Client,
    pooled: Client,
}

impl HttpClients {
    /// Reads `ca_file` and the system's certificates, and the proxy variables.
    ///
    /// A system without any certificate is no error: such a machine can still talk to a loopback
    /// host. Requests over TLS then fail, and say why.
    ///
    /// # Errors
    /// When `ca_file` is unusable or TLS cannot be set up.
    pub fn new(http: &settings::Http) -> Result<Self, SetupError> {
        install_tls();
        let extra = extra_certificates(http)?;
        // a hanging connection must be detected before the timeout of the response
        let connect_timeout = http.connect_timeout.min(http.idle_timeout);
        let base = || builder().connect_timeout(connect_timeout);
        let trusting = || base().tls_certs_merge(extra.iter().cloned());
        let (outward, loopback, trust_error) = match (pair(trusting), &http.ca_file) {
            (Ok(outward), _) => (outward, pair(|| trusting().no_proxy()), None),
            (Err(error), Some(_)) => return Err(SetupError::Tls(reason(error))),
            (Err(error), None) => {
                let without_roots = || base().tls_certs_only([]);
                let outward = pair(without_roots).map_err(|e| SetupError::Tls(self::reason(e)))?;
                (outward, pair(|| without_roots().no_proxy()), Some(reason(error)))
            }
        };
        Ok(Self {
            outward,
            loopback: loopback.map_err(|error| SetupError::Tls(reason(error)))?,
            trust_error,
            connect_timeout,
            idle_timeout: http.idle_timeout,
            fetch_deadline: http.fetch_deadline,
        })
    }

    /// Sends one GET and waits for the response's head. Redirects are not followed. With `part` it
    /// requests the rest of an unchanged file from that offset.
    ///
    /// # Errors
    /// `NotSent` when there was no connection, otherwise `Lost`.
    pub(crate) async fn get(
        &self,
        url: Url,
        connection: Connection,
        accept: &'static str,
        part: Option<(u64, &Validator)>,
    ) -> Result<Response, Failure> {
        let host = host_and_port(&url);
        let pair = if is_loopback(&url) { &self.loopback } else { &self.outward };
        let client = match connection {
            Connection::Fresh => &pair.fresh,
            Connection::Pooled => &pair.pooled,
        };
        let mut request = client.get(url).header(ACCEPT, accept);
        if let Some((offset, validator)) = part {
            request = request
                .header(RANGE, format!("bytes={offset}-"))
                .header(IF_RANGE, &validator.tag)
                // A range of another encoding would not match the bytes already received.
                .header(ACCEPT_ENCODING, "identity");
        } else {
            request = request.header(ACCEPT_ENCODING, "gzip");
        }
        let sending = request.send();
        match timeout(self.connect_timeout + self.idle_timeout, sending).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) if error.is_connect() || error.is_builder() => {
                Err(self.not_sent(&host, error))
            }
            Ok(Err(error)) => Err(Failure::new(
                FailureKind::Lost,
                format!("{host} did not answer the request: {}", reason(error)),
            )),
            Err(_) => Err(Failure::new(
                FailureKind::Lost,
                format!("{host} took the request, but did not answer in time ({:?})", {
                    self.idle_timeout
                }),
            )),
        }
    }

    fn not_sent(&self, host: &str, error: reqwest::Error) -> Failure {
        if let Some(shortage) = shortage(&error) {
            return Failure::new(
                FailureKind::Local,
                format!(
                    "{host} could not be asked: this machine has {shortage}; the job goes on by \
                     itself when that is over"
                ),
            );
        }
        let mut message = format!("{host} could not be reached: ");
        if error.is_timeout() {
            let _ = write!(message, "no connection within {:?}", self.connect_timeout);
        } else {
            message.push_str(&reason(error));
        }
        if let Some(trust_error) = &self.trust_error {
            let _ = write!(
                message,
                "; no certificate is trusted on this machine ({trust_error}): install the \
                 system's CA certificates or set http.ca_file"
            );
        }
        Failure::new(FailureKind::NotSent, message)
    }

    /// The body of a control response, up to `limit` bytes, and whether there was more.
    ///
    /// # Errors
    /// When it breaks off or does not end in time.
    pub(crate) async fn body(
        &self,
        response: Response,
        limit: usize,
    ) -> Result<(Vec<u8>, bool), Failure> {
        let until = Instant::now() + CONTROL_DEADLINE.min(self.fetch_deadline);
        let mut reading = self.reading(response, until)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = reading.next().await? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > limit {
                bytes.truncate(limit);
                return Ok((bytes, true));
            }
        }
        Ok((bytes, false))
    }

    /// The body of a result as it arrives. `begun` is when it was requested: the download's
    /// deadline counts from then.
    pub(crate) fn chunks(
        &self,
        response: Response,
        begun: Instant,
    ) -> BoxStream<'static, Result<Bytes, Failure>> {
        let reading = match self.reading(response, begun + self.fetch_deadline) {
            Ok(reading) => reading,
            Err(failure) => return stream::once(async { Err(failure) }).boxed(),
        };
        stream::unfold(Some(reading), |reading| async move {
            let mut reading = reading?;
            match reading.next().await {
                Ok(chunk) => chunk.map(|chunk| (Ok(chunk), Some(reading))),
                Err(failure) => Some((Err(failure), None)),
            }
        })
        .boxed()
    }

    fn reading(&self, response: Response, until: Instant) -> Result<DecodedBody, Failure> {
        let codings = codings(&response)?;
        let reading = BodyReader { response, received: 0, idle: self.idle_timeout, until };
        Ok(match codings {
            0 => DecodedBody::Plain(reading),
            codings => DecodedBody::Unopened { reading, codings },
        })
    }
}

/// How many times a response's body is compressed with gzip, the only coding that is requested.
/// RFC 9110, 8.4: names are in any case, `x-gzip` is `gzip`, and `identity` is none.
fn codings(response: &Response) -> Result<usize, Failure> {
    let refused = |what: &str| {
        // Short words alone: nothing else is an encoding's name.
        let is_name = what.len() <= 16
            && what.bytes().all(|b| b.is_ascii_alphanumeric() || b"-, ".contains(&b));
        let what = if is_name { what } else { "that has no usable name" };
        let message = format!("the answer comes in the content encoding {what}, not gzip or none");
        Err(Failure::new(FailureKind::Protocol, message))
    };
    let mut codings = 0;
    for value in response.headers().get_all(CONTENT_ENCODING) {
        let Ok(value) = value.to_str() else { return refused("that is no text") };
        for coding in value.split(',').map(|it| it.trim().to_ascii_lowercase()) {
            match coding.as_str() {
                "" | "identity" => {}
                "gzip" | "x-gzip" => codings += 1,
                other => return refused(other),
            }
        }
    }
    if codings > MAX_CODINGS {
        return refused(&format!("gzip,{codings}times"));
    }
    Ok(codings)
}

/// Whether a response's body is compressed, with a known coding or not.
pub(crate) fn is_encoded(response: &Response) -> bool {
    !matches!(codings(response), Ok(0))
}

/// A body being received, with its content encoding decoded.
enum DecodedBody {
    Plain(BodyReader),
    /// Compressed `codings` times; nothing has been received yet.
    Unopened {
        reading: BodyReader,
        codings: usize,
    },
    Gzip(Box<dyn AsyncBufRead + Send + Unpin>),
    Ended,
}

impl DecodedBody {
    /// The next bytes; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        match std::mem::replace(self, DecodedBody::Ended) {
            DecodedBody::Ended => Ok(None),
            DecodedBody::Plain(mut reading) => {
                let chunk = reading.next().await?;
                *self = DecodedBody::Plain(reading);
                Ok(chunk)
            }
            DecodedBody::Unopened { mut reading, codings } => {
                // Some servers name an encoding for a body that is not there.
                let Some(first) = reading.next().await? else { return Ok(None) };
                *self = DecodedBody::Gzip(decoder(first, reading, codings));
                self.decoded().await
            }
            DecodedBody::Gzip(reader) => {
                *self = DecodedBody::Gzip(reader);
                self.decoded().await
            }
        }
    }

    /// The decoder's next bytes, in pieces of bounded size even for a decompression bomb.
    async fn decoded(&mut self) -> Result<Option<Bytes>, Failure> {
        let DecodedBody::Gzip(reader) = self else { return Ok(None) };
        let mut piece = BytesMut::with_capacity(PIECE);
        match reader.read_buf(&mut piece).await {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(piece.freeze())),
            Err(error) => Err(match error.downcast::<Failure>() {
                Ok(failure) => failure,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Failure::new(
                    FailureKind::Lost,
                    "the answer breaks off within its gzip encoding",
                ),
                Err(error) => Failure::new(
                    FailureKind::Undecodable,
                    format!(
                        "the answer's gzip encoding is broken, or followed by something else: \
                         {error}"
                    ),
                ),
            }),
        }
    }
}

/// Decodes gzip `codings` times: all members, and nothing after them.
fn decoder(
    first: Bytes,
    reading: BodyReader,
    codings: usize,
) -> Box<dyn AsyncBufRead + Send + Unpin> {
    let rest = stream::unfold(Some(reading), |reading| async move {
        let mut reading = reading?;
        match reading.next().await {
            Ok(chunk) => chunk.map(|chunk| (Ok(chunk), Some(reading))),
            Err(failure) => Some((Err(io::Error::other(failure)), None)),
        }
    });
    let all = stream::once(async { Ok(first) }).chain(rest);
    let mut reader: Box<dyn AsyncBufRead + Send + Unpin> = Box::new(StreamReader::new(all.boxed()));
    for _ in 0..codings {
        let mut decoder = GzipDecoder::new(reader);
        decoder.multiple_members(true);
        reader = Box::new(BufReader::with_capacity(PIECE, decoder));
    }
    reader
}

/// A body being received.
struct BodyReader {
    response: Response,
    /// Bytes so far, as they came.
    received: u64,
    idle: Duration,
    until: Instant,
}

impl BodyReader {
    /// The next bytes; `None` at the end. The idle timeout runs only while this waits, so that a
    /// slow reader is not mistaken for a silent service (as with reqwest's own read timeout).
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let received = self.received;
        let now = Instant::now();
        if now >= self.until {
            return Err(Self::late(received));
        }
        match timeout_at(self.until.min(now + self.idle), self.response.chunk()).await {
            Ok(Ok(chunk)) => {
                self.received += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
                Ok(chunk)
            }
            Ok(Err(error)) => Err(Failure::new(
                FailureKind::Lost,
                format!("the connection broke after {received} bytes: {}", reason(error)),
            )),
            Err(_) if Instant::now() >= self.until => Err(Self::late(received)),
            Err(_) => Err(Failure::new(
                FailureKind::Lost,
                format!("nothing came for {:?} after {received} bytes", self.idle),
            )),
        }
    }

    fn late(received: u64) -> Failure {
        Failure::new(
            FailureKind::Unavailable,
            format!("the answer did not end in time; {received} bytes had come"),
        )
    }
}

fn pair(builder: impl Fn() -> ClientBuilder) -> reqwest::Result<Pair> {
    Ok(Pair { fresh: builder().pool_max_idle_per_host(0).build()?, pooled: builder().build()? })
}

/// The local resource whose exhaustion prevented the connection, if any.
fn shortage(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(shortage) =
            error.downcast_ref().and_then(io::Error::raw_os_error).and_then(lacks)
        {
            return Some(shortage);
        }
        cause = error.source();
    }
    // A failed name lookup does not say so, but needs a descriptor too.
    let probe = std::fs::File::open("/dev/null").err().and_then(|error| error.raw_os_error());
    probe.and_then(lacks)
}

fn lacks(code: i32) -> Option<&'static str> {
    match rustix::io::Errno::from_raw_os_error(code) {
        rustix::io::Errno::MFILE | rustix::io::Errno::NFILE => {
            Some("no file descriptor left (raise LimitNOFILE= of the unit, or `ulimit -n`)")
        }
        rustix::io::Errno::NOMEM | rustix::io::Errno::NOBUFS => Some("no memory left"),
        _ => None,
    }
}
