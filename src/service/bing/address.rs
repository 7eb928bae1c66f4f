//! Which URLs belong to an account, and the only code that adds a key to one.

use super::DataSource;
use crate::secret::Key;
use crate::service::LoadMode;
use crate::settings::is_loopback;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;

/// Microsoft's documents name several hosts of the service, all under this domain.
const DOMAIN: &str = "virtualearth.net";
/// The longest URL that is kept, in bytes; servers accept no longer ones.
const MAX_LINK_BYTES: usize = 8 << 10;

/// All but what RFC 3986 leaves unreserved: a data source's name may hold any of ``~`!$^_={}``, and
/// URL libraries disagree about some of them.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The addresses of one account.
#[derive(Debug, Clone)]
pub(super) struct Addresses {
    endpoint: Url,
}

impl Addresses {
    pub(super) fn new(endpoint: &Url) -> Addresses {
        Addresses { endpoint: endpoint.clone() }
    }

    /// "Create a Download Job": each GET of it starts a job.
    pub(super) fn create(&self, source: &DataSource) -> Url {
        let path = ["Dataflows", "DataSourceDownload", &source.access_id, &source.data_source];
        let mut url = self.below(&path);
        url.query_pairs_mut().append_pair("output", "json");
        if let Some(version) = &source.version {
            url.query_pairs_mut().append_pair("jobId", version);
        }
        url
    }

    /// "Get Data Source Information": the versions of one source, without any effect.
    pub(super) fn versions(&self, source: &DataSource) -> Url {
        let mut url = self.below(&["data", &source.access_id, &source.data_source]);
        url.query_pairs_mut().append_pair("showAllVersions", "true");
        url
    }

    /// "Get Data Source Information": the data sources of the account, without any effect.
    pub(super) fn sources(&self) -> Url {
        self.below(&["data"])
    }

    /// "Create a Load Data Source Job": each POST to it starts a job. The documents require the
    /// name, and the access id only for a part of the entities.
    pub(super) fn load(&self, source: &DataSource, mode: LoadMode) -> Url {
        let mut url = self.below(&["Dataflows", "LoadDataSource"]);
        let operation = match mode {
            LoadMode::Whole => "completeStaging",
            LoadMode::Entities => "incrementalStaging",
        };
        url.query_pairs_mut()
            .append_pair("dataSourceName", &source.data_source)
            .append_pair("loadOperation", operation)
            .append_pair("input", "xml")
            .append_pair("output", "json");
        if mode == LoadMode::Entities {
            url.query_pairs_mut().append_pair("accessId", &source.access_id);
        }
        url
    }

    /// "Publish a Staged Data Source": each GET of it starts a job.
    pub(super) fn publish(&self, source: &DataSource) -> Url {
        let mut url = self.below(&["data", &source.access_id, &source.data_source]);
        url.set_path(&format!("{}/$commit", url.path()));
        as_json(url)
    }

    /// "Rollback a Data Source Dataflow": each GET of it starts a job.
    pub(super) fn roll_back(&self, source: &DataSource, version: &str) -> Url {
        as_json(self.below(&["Dataflows", "DataSourceRollback", version, &source.data_source]))
    }

    /// "Get Job List": the account's loads, publications and rollbacks, without any effect.
    pub(super) fn jobs(&self) -> Url {
        as_json(self.below(&["dataflows", "listjobs"]))
    }

    /// The access id and the name in a data source's address, on whichever host. Documented
    /// examples have empty segments and parts after the name.
    pub(super) fn data_source_at(&self, address: &str) -> Option<DataSource> {
        if address.len() > MAX_LINK_BYTES {
            return None;
        }
        let url = self.endpoint.join(address.trim()).ok()?;
        let path: Vec<&str> = url.path().split('/').filter(|part| !part.is_empty()).collect();
        let own = self.endpoint.path().split('/').filter(|part| !part.is_empty());
        let own: Vec<&str> = own.collect();
        let is_below = path.len() > own.len()
            && own.iter().zip(&path).all(|(own, part)| own.eq_ignore_ascii_case(part));
        let mut rest = path.get(if is_below { own.len() } else { 0 }..)?.iter();
        rest.find(|part| part.eq_ignore_ascii_case("data"))?;
        let mut decoded = || {
            let part = percent_decode_str(rest.next()?).decode_utf8().ok()?;
            (!part.chars().any(char::is_control)).then(|| part.into_owned())
        };
        let (access_id, data_source) = (decoded()?, decoded()?);
        // The status of a publication: /data/jobs/{id}/$getstatus.
        let is_status = access_id.eq_ignore_ascii_case("jobs")
            && rest.next().is_some_and(|part| part.eq_ignore_ascii_case("$getstatus"));
        (!is_status).then_some(DataSource { access_id, data_source, version: None })
    }

    fn below(&self, path: &[&str]) -> Url {
        let mut url = self.endpoint.clone();
        let below =
            path.iter().map(|segment| format!("/{}", utf8_percent_encode(segment, RESERVED)));
        let below: String = below.collect();
        url.set_path(&format!("{}{below}", url.path().trim_end_matches('/')));
        url
    }

    /// A link of the service as a URL to request, without any key. Relative links resolve against
    /// `base`, and the account's host is reached over TLS if the endpoint is. `None` if it is not
    /// an http URL or too long.
    pub(super) fn link(&self, text: &str, base: &Url) -> Option<Url> {
        if text.len() > MAX_LINK_BYTES {
            return None;
        }
        let mut url = base.join(text.trim()).ok()?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return None;
        }
        url.set_fragment(None);
        // A user or password in a link is dropped.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        let mut secure = url.clone();
        if url.scheme() == "http"
            && self.endpoint.scheme() == "https"
            && secure.set_scheme("https").is_ok()
            && self.owns(&secure)
        {
            url = secure;
        }
        Some(without_key(url))
    }

    /// Whether a URL belongs to the account: the endpoint's host and port, and where that is under
    /// `virtualearth.net`, any host under it.
    pub(super) fn owns(&self, url: &Url) -> bool {
        let port = |url: &Url| url.port_or_known_default();
        if port(url) != port(&self.endpoint) || url.scheme() != self.endpoint.scheme() {
            return false;
        }
        match (url.host_str(), self.endpoint.host_str()) {
            (Some(host), Some(own)) => host == own || (is_bing(host) && is_bing(own)),
            _ => false,
        }
    }

    /// The URL as it is sent: with the key if and only if it belongs to the account and goes over
    /// TLS or loopback.
    pub(super) fn with_key(&self, url: &Url, key: &Key) -> Url {
        let mut url = without_key(url.clone());
        if self.owns(&url) && (url.scheme() == "https" || is_loopback(&url)) {
            url.query_pairs_mut().append_pair("key", key.expose());
        }
        url
    }
}

/// Requests JSON, which the service's links do not do by themselves.
pub(super) fn as_json(mut url: Url) -> Url {
    if !url.query_pairs().any(|(name, _)| name.eq_ignore_ascii_case("output")) {
        url.query_pairs_mut().append_pair("output", "json");
    }
    url
}

fn is_bing(host: &str) -> bool {
    host == DOMAIN || host.strip_suffix(DOMAIN).is_some_and(|rest| rest.ends_with('.'))
}

/// Removes a key from a URL; the rest of the query stays byte for byte, because it may be signed.
fn without_key(mut url: Url) -> Url {
    let Some(query) = url.query() else { return url };
    let is_key = |part: &&str| {
        let name = part.split('=').next().unwrap_or_default();
        url::form_urlencoded::parse(name.as_bytes())
            .any(|(name, _)| name.eq_ignore_ascii_case("key"))
    };
    if query.split('&').any(|part| is_key(&part)) {
        let rest: Vec<_> = query.split('&').filter(|part| !is_key(part)).collect();
        let rest = rest.join("&");
        url.set_query((!rest.is_empty()).then_some(&rest));
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "CANARY-0123456789abcdef";

    fn addresses(endpoint: &str) -> Addresses {
        Addresses::new(&Url::parse(endpoint).unwrap())
    }

    fn bing() -> Addresses {
        addresses("https://spatial.virtualearth.net/REST/v1")
    }

    fn with_key(addresses: &Addresses, url: &str) -> String {
        let key = Key::new(KEY).unwrap();
        addresses.with_key(&Url::parse(url).unwrap(), &key).into()
    }

    #[test]
    fn a_job_is_created_below_the_endpoint_with_its_names_encoded() {
        let source = DataSource {
            access_id: "20181f26".into(),
            data_source: "Fourth`{}^=Coffee".into(),
            version: Some("0123-abc".into()),
        };
        assert_eq!(
            bing().create(&source).as_str(),
            "https://spatial.virtualearth.net/REST/v1/Dataflows/DataSourceDownload/20181f26/\
             Fourth%60%7B%7D%5E%3DCoffee?output=json&jobId=0123-abc"
        );
    }

    #[test]
    fn changes_have_the_documented_addresses_with_their_names_encoded() {
        let source = DataSource {
            access_id: "20181f26".into(),
            data_source: "Fourth`{}^=&Coffee".into(),
            version: Some("0123".into()),
        };
        let (bing, root) = (bing(), "https://spatial.virtualearth.net/REST/v1");
        let name = "Fourth%60%7B%7D%5E%3D%26Coffee";
        for (url, rest) in [
            (
                bing.load(&source, LoadMode::Whole),
                format!(
                    "/Dataflows/LoadDataSource?dataSourceName={name}\
                     &loadOperation=completeStaging&input=xml&output=json"
                ),
            ),
            (
                bing.load(&source, LoadMode::Entities),
                format!(
                    "/Dataflows/LoadDataSource?dataSourceName={name}\
                     &loadOperation=incrementalStaging&input=xml&output=json&accessId=20181f26"
                ),
            ),
            (bing.publish(&source), format!("/data/20181f26/{name}/$commit?output=json")),
            (
                bing.roll_back(&source, "e60b410f"),
                format!("/Dataflows/DataSourceRollback/e60b410f/{name}?output=json"),
            ),
            (bing.jobs(), "/dataflows/listjobs?output=json".into()),
            (bing.sources(), "/data".into()),
            (bing.versions(&source), format!("/data/20181f26/{name}?showAllVersions=true")),
        ] {
            assert_eq!(url.as_str(), format!("{root}{rest}"));
        }
    }

    #[test]
    fn a_data_source_is_read_from_its_address_on_any_host() {
        let at = |address: &str| {
            let source = bing().data_source_at(address)?;
            Some((source.access_id, source.data_source))
        };
        let is = |id: &str, name: &str| Some((id.to_owned(), name.to_owned()));
        for (address, source) in [
            (
                "https://spatial.virtualearth.net/REST/v1/data/2018/Stores/Shops",
                is("2018", "Stores"),
            ),
            ("http://elsewhere.example/REST/v1/Data/2018/Stores", is("2018", "Stores")),
            ("https://h.example/data/2018/A%60%7B%C3%A9?key=x#y", is("2018", "A`{é")),
            ("https://h.example/REST/v1/data/0edf/%2F/x", is("0edf", "/")),
            ("https://h.example/REST/v1/data/0edf//Stores", is("0edf", "Stores")),
            ("data/2018/Stores", is("2018", "Stores")),
            ("https://h.example/REST/v1/data/2018", None),
            ("https://h.example/REST/v1/data/jobs/3627f4ab/$getstatus", None),
            ("https://h.example/REST/v1/2018/Stores", None),
            ("https://h.example/REST/v1/data/2018/%ff", None),
            ("https://h.example/REST/v1/data/2018/a%0ab", None),
            ("https://[", None),
        ] {
            assert_eq!(at(address), source, "{address}");
        }
        let within = addresses("http://127.0.0.1:4000/data/v1");
        let source = within.data_source_at("http://h/Data/V1/data/2018/Stores").unwrap();
        assert_eq!((&*source.access_id, &*source.data_source), ("2018", "Stores"));
    }

    #[test]
    fn the_key_goes_to_the_account_s_hosts_over_tls_alone() {
        let with = |url: &str| with_key(&bing(), url).contains(KEY);
        assert!(with("https://spatial.virtualearth.net/x"));
        assert!(with("https://dev.virtualearth.net/x?a=b"));
        assert!(!with("http://spatial.virtualearth.net/x"));
        assert!(!with("https://spatial.virtualearth.net:8443/x"));
        assert!(!with("https://spatial.virtualearth.com/x"));
        assert!(!with("https://evilvirtualearth.net/x"));
        assert!(!with("https://virtualearth.net.evil.example/x"));
        assert!(!with("https://storage.example/x"));
    }

    #[test]
    fn another_endpoint_has_one_host_and_port() {
        let local = addresses("http://127.0.0.1:4000/REST/v1");
        assert!(with_key(&local, "http://127.0.0.1:4000/x").contains(KEY));
        assert!(!with_key(&local, "http://127.0.0.1:4001/x").contains(KEY));
        assert!(!with_key(&local, "http://localhost:4000/x").contains(KEY));
        assert!(!with_key(&local, "https://spatial.virtualearth.net/x").contains(KEY));
    }

    #[test]
    fn an_existing_query_stays_and_an_existing_key_is_replaced() {
        assert_eq!(
            with_key(&bing(), "https://spatial.virtualearth.net/x?a=%20b&Key=old&k%65y=older"),
            format!("https://spatial.virtualearth.net/x?a=%20b&key={KEY}")
        );
        assert_eq!(
            as_json(Url::parse("https://h/x?Output=xml").unwrap()).as_str(),
            "https://h/x?Output=xml"
        );
    }

    #[test]
    fn links_lose_their_key_and_gain_tls_on_the_account_s_host() {
        let bing = bing();
        let base = Url::parse("https://spatial.virtualearth.net/REST/v1/Dataflows/x").unwrap();
        let link = |text| bing.link(text, &base).map(String::from);
        assert_eq!(
            link("http://dev.virtualearth.net/s?key=abc").as_deref(),
            Some("https://dev.virtualearth.net/s")
        );
        assert_eq!(link("../y").as_deref(), Some("https://spatial.virtualearth.net/REST/v1/y"));
        assert_eq!(
            link("https://storage.example/r?sig=a%2Bb&sv=1").as_deref(),
            Some("https://storage.example/r?sig=a%2Bb&sv=1")
        );
        assert_eq!(link("http://storage.example/r").as_deref(), Some("http://storage.example/r"));
        assert_eq!(link("ftp://storage.example/r"), None);
        assert_eq!(link("mailto:a@example.org"), None);
        assert_eq!(link(&format!("/{}", "x".repeat(MAX_LINK_BYTES))), None);
    }

    proptest! {
        #[test]
        fn no_other_host_ever_gets_the_key(url in "https?://[a-z.@:0-9]{1,30}/[a-zA-Z0-9?&=%/#]{0,20}") {
            let bing = bing();
            if let Ok(url) = Url::parse(&url) {
                let sent = bing.with_key(&url, &Key::new(KEY).unwrap());
                let ours = sent.host_str().is_some_and(is_bing) && sent.scheme() == "https";
                prop_assert_eq!(sent.as_str().contains(KEY), ours && bing.owns(&sent));
                let again = bing.with_key(&sent, &Key::new(KEY).unwrap());
                prop_assert_eq!(sent, again);
            }
        }
    }
}
