//! How the simulated service behaves for one data source: healthy by default, faulty on demand.
//!
//! Everything is counted in requests, never in time, so that a test states exactly what happens and
//! need not wait.

use super::change_scenario::Changes;
use super::data::Data;

/// The behaviour of the service for one data source. The default is a healthy service that keeps
/// to its documentation; the fields make it differ, each by itself.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Status answers that say pending before the job ends.
    pub pending_polls: u32,
    /// The word for "pending"; documents also show `Created` and `Accepted`.
    pub pending_word: String,
    /// How jobs end.
    pub ending: Ending,
    /// Status answers that say completed but do not yet carry the output link.
    pub linkless_polls: u32,
    /// What `totalEntityCount` says once the job is completed.
    pub announced: Announced,
    /// What `failedEntityCount` says; "not used" by downloads, so it must mean nothing.
    pub failed_entities: u64,
    /// Documents for the next jobs, one each; later ones export the source's data.
    pub next_documents: Vec<Data>,

    /// Faults of the next create requests, one each; later ones succeed.
    pub create: Vec<Fault>,
    /// Faults of status requests.
    pub status: Vec<Fault>,
    /// Faults of requests for the result, on whichever host serves it.
    pub result: Vec<Fault>,

    /// HTTP status of a successful create: documented as 202, shown as 201, and 200 occurs.
    pub created_status: u16,
    /// Starts JSON answers with a UTF-8 byte order mark.
    pub byte_order_mark: bool,
    /// Adds members to JSON answers that no document mentions.
    pub extra_members: bool,
    /// Leaves slashes in JSON strings as they are; the documents show `\/`.
    pub plain_slashes: bool,
    /// Gives processed and failed counts as empty strings.
    pub empty_counts: bool,
    /// How JSON answers write dates.
    pub dates: Dates,

    /// Whether answers carry the `self` link.
    pub self_link: bool,
    /// The `Location` header of a create answer.
    pub location: Location,
    /// The status URL that the `self` link gives.
    pub status_url: StatusUrl,
    /// The member that says `succeeded` or `failed` in an output link.
    pub output_label: OutputLabel,
    /// The result URL that the output link gives.
    pub output_url: OutputUrl,

    /// Compresses the result where the request accepts gzip.
    pub gzip: bool,
    /// Declares the result's length; otherwise it comes chunked.
    pub content_length: bool,
    /// Honours `Range: bytes=N-`; otherwise ranges are ignored and the answer is whole.
    pub ranges: bool,
    /// Names the collection's address `href` rather than `app:href` in Atom answers.
    pub plain_href: bool,

    /// What happens when clients change the source.
    pub changes: Changes,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            pending_polls: 2,
            pending_word: "Pending".into(),
            ending: Ending::Completed,
            linkless_polls: 0,
            announced: Announced::Right,
            failed_entities: 0,
            next_documents: Vec::new(),
            create: Vec::new(),
            status: Vec::new(),
            result: Vec::new(),
            created_status: 202,
            byte_order_mark: false,
            extra_members: false,
            plain_slashes: false,
            empty_counts: false,
            dates: Dates::Rfc1123,
            self_link: true,
            location: Location::Absolute,
            status_url: StatusUrl::ByName,
            output_label: OutputLabel::Name,
            output_url: OutputUrl::Documented,
            gzip: false,
            content_length: true,
            ranges: false,
            plain_href: false,
            changes: Changes::default(),
        }
    }
}

/// How a remote job ends.
#[derive(Clone, Debug)]
pub enum Ending {
    /// Its data can be fetched.
    Completed,
    /// It failed.
    Aborted {
        /// The status word: `Aborted`, or the undocumented `Failed`, `Cancelled`.
        word: String,
        /// The job's `errorMessage`.
        message: String,
        /// The answer's `errorDetails`.
        details: Vec<String>,
        /// Served behind a link `failed`; no link without it.
        error_log: Option<String>,
        /// Puts `errorMessage` beside `errorDetails` instead of into the job.
        message_on_top: bool,
    },
    /// It never ends.
    Never,
}

impl Ending {
    /// The documented form of a failure: the word `Aborted`, a message, a detail, an error log.
    pub fn aborted(message: &str) -> Self {
        Self::Aborted {
            word: "Aborted".into(),
            message: message.into(),
            details: vec![format!("{message} (detail)")],
            error_log: Some(format!("{message} (log)\n")),
            message_on_top: false,
        }
    }
}

/// What `totalEntityCount` says of a completed job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Announced {
    /// The number of entities that the document was made with.
    Right,
    /// 0, as some examples show; it says nothing.
    Zero,
    /// The right number and this.
    OffBy(i64),
    /// An empty string.
    Empty,
    /// Nothing: the member is missing.
    Absent,
}

/// What happens to one request instead of a good answer.
///
/// A fault either happens before the request has any effect (no job is created, no poll counted) or
/// affects the answer to a request that was carried out; each says which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No fault: this request succeeds, and the next fault is for the next one.
    None,
    /// Before: the connection is closed without an answer.
    Refused,
    /// Before: an HTTP error.
    Http {
        /// Its status.
        status: u16,
        /// What its body looks like.
        body: ErrorBody,
        /// The `Retry-After` header, seconds or an HTTP date, as given.
        retry_after: Option<String>,
    },
    /// Before: HTTP 200, and a body whose `statusCode` says this.
    BodySays(u16),
    /// Before: HTTP 200, and a body with this `authenticationResultCode`.
    Credentials(String),
    /// Before: a refusal with this status whose text mentions the account's limits.
    Quota(u16),
    /// Before: a refusal because the account has as many data sources as it may have.
    SourceLimit,
    /// Before: silence on an open connection.
    Ignored,
    /// Before: the connection is closed when this many bytes of the request's body were received.
    /// For loads only.
    BrokenUpload(u64),
    /// After: carried out, and answered with an error of this HTTP status.
    ErrorAfter(u16),
    /// After: the body ends in its middle, as if it was whole.
    EndsHalfway,
    /// After: carried out, then the connection is closed without an answer.
    LostAnswer,
    /// After: carried out, then silence on an open connection.
    Silence,
    /// After: the answer is XML in spite of `output=json`.
    Xml,
    /// After: the job's status is this word.
    Word(String),
    /// After: the job in the answer has another id.
    OtherId,
    /// After: the job in the answer has another id, and this `createdDate`; `None` leaves it out.
    OtherIdCreated(Option<String>),
    /// After: the connection breaks in the middle of the body.
    BrokenHalfway,
    /// After: the connection breaks when this many bytes of the body were sent. If the body is
    /// larger than the sockets' buffers, somewhat less may arrive, as on a real network.
    BrokenAfter(u64),
    /// After: nothing more is sent after this many bytes of the body.
    StalledAfter(u64),
    /// After: `Content-Length` is this much more than the bytes sent before the connection closes.
    LengthTooLong(u64),
}

impl Fault {
    /// An HTTP error with the documented JSON body.
    pub fn http(status: u16) -> Self {
        Self::Http { status, body: ErrorBody::Json, retry_after: None }
    }

    /// An HTTP error with another body.
    pub fn http_with(status: u16, body: ErrorBody) -> Self {
        Self::Http { status, body, retry_after: None }
    }

    /// An HTTP error that says when to come back: seconds, or an HTTP date.
    pub fn retry_after(status: u16, when: &str) -> Self {
        Self::Http { status, body: ErrorBody::Json, retry_after: Some(when.into()) }
    }

    /// Whether the client receives a usable response.
    pub(super) fn answers(&self) -> bool {
        matches!(
            self,
            Self::None | Self::Xml | Self::Word(_) | Self::OtherId | Self::OtherIdCreated(_)
        )
    }
}

/// The body of an HTTP error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorBody {
    /// The documented JSON.
    Json,
    /// JSON whose `errorDetails` repeat the request's URL, key included.
    Echo,
    /// A web server's HTML page.
    Html,
    /// Nothing.
    Empty,
    /// This text.
    Text(String),
}

/// How JSON answers write dates. They are information only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dates {
    /// As documented.
    Rfc1123,
    /// A weekday that the date does not have, as one sample shows.
    WrongWeekday,
    /// A blank before the date, as one sample shows.
    LeadingBlank,
    /// The XML answers' form, ISO 8601 with an offset.
    Iso,
    /// `completedDate` is null although the job is completed.
    NullCompleted,
    /// Something that is no date.
    Nonsense,
    /// No dates.
    Absent,
}

/// The `Location` header of a create answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// The status URL.
    Absolute,
    /// The status URL's path and query alone.
    Relative,
    /// Another URL than the `self` link's, with the job's id in it. Both work.
    ById,
    /// No header.
    Absent,
}

/// The form of the status URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatusUrl {
    /// `…/dataflows/DataSourceDownload/{name}`, as documented: every job of a source has the same,
    /// and it answers for the newest.
    ByName,
    /// `…/dataflows/DataSourceDownload/{id}`.
    ById,
    /// By name with a query string of its own, without which it does not work.
    WithQuery,
    /// This URL, served or not.
    Elsewhere(String),
}

/// The member that says `succeeded` or `failed` in an output link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputLabel {
    /// `"name":"succeeded"`, as the tables say.
    Name,
    /// `"output":"succeeded"`, as the JSON examples show.
    Output,
    /// `"name":"Succeeded"`: values are not case-sensitive.
    Capitalised,
}

/// The form of the result URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputUrl {
    /// `…/dataflows/DataSourceDownload/{name}/output/succeeded`.
    Documented,
    /// The path says `ouput`, and is served only under that name.
    Misspelt,
    /// The path says `ouput`, but it is served under `output`.
    MisspeltInLink,
    /// `…/dataflows/Download/{name}/output/succeeded`, as one page shows.
    Download,
    /// As documented, but answered by a redirect to the storage host.
    Redirected,
    /// A signed URL on the storage host.
    Storage,
    /// This URL, served or not.
    Elsewhere(String),
}

/// The limits of the account, counted by the simulator over all its sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountLimits {
    /// Jobs that have not ended.
    pub max_in_process: usize,
    /// Jobs created since the start, or since [`Simulator::next_day`](super::Simulator::next_day).
    pub max_per_day: usize,
    /// HTTP status of a refusal. Nothing documents it; 403, 429 and 503 are conceivable.
    pub refusal: u16,
}

impl Default for AccountLimits {
    /// An enterprise account's.
    fn default() -> Self {
        Self { max_in_process: 10, max_per_day: 50, refusal: 429 }
    }
}
