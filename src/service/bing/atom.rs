//! The service's AtomPub documents: the data sources of an account, the versions of one ("Get Data
//! Source Information").
//!
//! Names match without their prefixes, because documented examples differ in them. What cannot be
//! read is an error: an entry that was left out would look like one that is not there.

use super::wire::date;
use chrono::{DateTime, Utc};
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

/// The most workspaces in one document: an account has at most 25 data sources, of which each has
/// a few versions.
const MAX_WORKSPACES: usize = 5_000;
/// The most collections in one workspace: one for each entity type.
const MAX_COLLECTIONS: usize = 1_000;
/// The longest text of an element or attribute that is kept, in bytes.
const MAX_TEXT_BYTES: usize = 8 << 10;
/// How deep elements may be nested; four levels are documented.
const MAX_DEPTH: usize = 32;

/// One data source, or one version of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Workspace {
    /// `isActive`: whether queries answer from it. Only listings of versions say so.
    pub(super) is_active: Option<bool>,
    /// `isStagingDataSource`.
    pub(super) is_staging: Option<bool>,
    /// `updated`, or else `uploaded`, where it is a readable instant.
    pub(super) date: Option<DateTime<Utc>>,
    /// `jobId`: the job that loaded this version.
    pub(super) job_id: Option<String>,
    /// Where its entity types are queried.
    pub(super) addresses: Vec<String>,
}

/// Why a document cannot be read: the end of a sentence that begins with the host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum AtomError {
    #[error("answered with something that is not an AtomPub document")]
    Foreign,
    #[error("answered with a listing that is not well-formed XML: {0}")]
    Malformed(String),
    #[error("answered with a listing that breaks off")]
    CutOff,
    #[error("answered with a listing that is larger than any account's")]
    TooLarge,
    #[error("answered with a listing whose {0} cannot be read")]
    Unreadable(&'static str),
}

/// The workspaces of a document, in its order.
pub(super) fn read(body: &[u8]) -> Result<Vec<Workspace>, AtomError> {
    let text = std::str::from_utf8(body).map_err(|_| AtomError::Foreign)?;
    let text = text.trim_start_matches('\u{feff}').trim();
    if !text.starts_with('<') {
        return Err(AtomError::Foreign);
    }
    let mut reader = Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let mut document = Document::default();
    loop {
        match reader.read_event() {
            Ok(Event::Start(tag)) => document.open(&tag)?,
            Ok(Event::End(_)) => document.close()?,
            Ok(Event::Text(text)) => document.text(&text.xml10_content())?,
            Ok(Event::CData(text)) => document.text(&text.xml10_content())?,
            Ok(Event::GeneralRef(reference)) => {
                let character = reference.resolve_char_ref().map_err(malformed)?;
                match character {
                    Some(character) => document.text(character.encode_utf8(&mut [0; 4]))?,
                    None => document.text(
                        resolve_predefined_entity(&reference.xml10_content())
                            .ok_or(AtomError::Unreadable("references"))?,
                    )?,
                }
            }
            Ok(Event::Decl(_) | Event::PI(_) | Event::Comment(_)) => {}
            // A document type may define entities; the service sends none.
            Ok(Event::DocType(_)) => return Err(AtomError::Foreign),
            Ok(Event::Empty(_)) => return Err(AtomError::Foreign),
            Ok(Event::Eof) => return document.end(),
            Err(error) => return Err(malformed(error)),
        }
    }
}

fn malformed(error: impl Into<quick_xml::Error>) -> AtomError {
    match error.into() {
        quick_xml::Error::Syntax(_) => AtomError::CutOff,
        error => AtomError::Malformed(error.to_string()),
    }
}

/// What has been read of a document.
#[derive(Debug, Default)]
struct Document {
    depth: usize,
    has_root: bool,
    workspaces: Vec<Workspace>,
    /// The text so far of the job id that is being read.
    job_id: Option<String>,
}

impl Document {
    fn open(&mut self, tag: &BytesStart<'_>) -> Result<(), AtomError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(AtomError::TooLarge);
        }
        let name = tag.local_name();
        let is = |expected: &str| name.as_ref().eq_ignore_ascii_case(expected);
        match self.depth {
            1 if self.has_root || !is("service") => return Err(AtomError::Foreign),
            1 => self.has_root = true,
            2 if is("workspace") => {
                if self.workspaces.len() >= MAX_WORKSPACES {
                    return Err(AtomError::TooLarge);
                }
                self.workspaces.push(workspace(tag)?);
            }
            3 if is("collection") => {
                let workspace = self.workspaces.last_mut();
                let workspace = workspace.ok_or(AtomError::Unreadable("collections"))?;
                if workspace.addresses.len() >= MAX_COLLECTIONS {
                    return Err(AtomError::TooLarge);
                }
                workspace.addresses.push(address(tag)?);
            }
            3 if is("jobId") => self.job_id = Some(String::new()),
            _ if is("workspace") => return Err(AtomError::Unreadable("workspaces")),
            _ if is("collection") => return Err(AtomError::Unreadable("collections")),
            _ if self.job_id.is_some() => return Err(AtomError::Unreadable("job ids")),
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), AtomError> {
        if let Some(kept) = &mut self.job_id {
            if kept.len() + text.len() > MAX_TEXT_BYTES {
                return Err(AtomError::TooLarge);
            }
            kept.push_str(text);
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), AtomError> {
        self.depth = self.depth.saturating_sub(1);
        let Some(text) = self.job_id.take() else { return Ok(()) };
        let workspace = self.workspaces.last_mut().ok_or(AtomError::Unreadable("job ids"))?;
        let id = Some(text.trim().to_owned()).filter(|id| !id.is_empty());
        match (&workspace.job_id, id) {
            (Some(first), Some(second)) if *first != second => {
                Err(AtomError::Unreadable("job ids"))
            }
            (_, Some(id)) => {
                workspace.job_id = Some(id);
                Ok(())
            }
            (_, None) => Ok(()),
        }
    }

    fn end(self) -> Result<Vec<Workspace>, AtomError> {
        match (self.has_root, self.depth) {
            (true, 0) => Ok(self.workspaces),
            (true, _) => Err(AtomError::CutOff),
            (false, _) => Err(AtomError::Foreign),
        }
    }
}

fn workspace(tag: &BytesStart<'_>) -> Result<Workspace, AtomError> {
    let (mut updated, mut uploaded) = (None, None);
    let mut workspace = Workspace::default();
    attributes(tag, |name, value| {
        let is = |expected: &str| name.eq_ignore_ascii_case(expected);
        if is("isActive") {
            workspace.is_active = truth(value)?;
        } else if is("isStagingDataSource") {
            workspace.is_staging = truth(value)?;
        } else if is("updated") {
            updated = date(value.trim());
        } else if is("uploaded") {
            uploaded = date(value.trim());
        }
        Ok(())
    })?;
    workspace.date = updated.or(uploaded);
    Ok(workspace)
}

fn address(tag: &BytesStart<'_>) -> Result<String, AtomError> {
    let mut address = None;
    attributes(tag, |name, value| {
        if name.eq_ignore_ascii_case("href") {
            address = Some(value.trim().to_owned());
        }
        Ok(())
    })?;
    address.filter(|text| !text.is_empty()).ok_or(AtomError::Unreadable("collections"))
}

/// Passes on the attributes by their local names.
fn attributes(
    tag: &BytesStart<'_>,
    mut each: impl FnMut(&str, &str) -> Result<(), AtomError>,
) -> Result<(), AtomError> {
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(malformed)?;
        if attribute.value.len() > MAX_TEXT_BYTES {
            return Err(AtomError::TooLarge);
        }
        let value = attribute
            .normalized_value(quick_xml::XmlVersion::Implicit1_0)
            .map_err(|_| AtomError::Unreadable("attributes"))?;
        each(attribute.key.local_name().as_ref(), &value)?;
    }
    Ok(())
}

/// A truth value, which is a text in some documents: `None` for an empty one.
fn truth(text: &str) -> Result<Option<bool>, AtomError> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(Some(true)),
        "false" | "0" => Ok(Some(false)),
        "" => Ok(None),
        _ => Err(AtomError::Unreadable("states")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::hostile::attack;

    /// "Get Data Source Information", the example of one data source, shortened.
    const VERSIONS: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<app:service xmlns:bsi="http://schemas.microsoft.com/bing/spatial/2010/11/odata"
    xmlns:atom="http://www.w3.org/2005/Atom" xmlns:app="http://www.w3.org/2007/app">
  <bsi:copyright>© 2013 Microsoft &amp; its suppliers.</bsi:copyright>
  <app:workspace bsi:isStagingDataSource="false" bsi:isActive="true" bsi:isPublic="true"
      bsi:updated="2013-02-25T19:44:10Z">
    <atom:title>FourthCoffeeSample</atom:title>
    <atom:jobId>9cdf8b21</atom:jobId>
    <app:collection app:href="https://h/REST/v1/data/2018/FourthCoffeeSample/Shops">
      <atom:title>Shops</atom:title>
    </app:collection>
  </app:workspace><app:workspace bsi:isStagingDataSource="True" bsi:isActive="0"
      bsi:uploaded="2013-02-22T19:51:58-07:00">
    <atom:title>FourthCoffeeSample</atom:title>
    <atom:jobId> f255<![CDATA[f8]]>&#x31;b </atom:jobId>
    <collection href='https://h/REST/v1/data/2018/a?b=1&amp;c=2'/>
  </app:workspace>
</app:service>"#;

    #[test]
    fn the_documented_versions_are_read() {
        let [published, staged] = &*read(VERSIONS.as_bytes()).unwrap() else { panic!() };
        assert_eq!(
            *published,
            Workspace {
                is_active: Some(true),
                is_staging: Some(false),
                date: date("2013-02-25T19:44:10Z"),
                job_id: Some("9cdf8b21".into()),
                addresses: vec!["https://h/REST/v1/data/2018/FourthCoffeeSample/Shops".into()],
            }
        );
        assert_eq!((staged.is_active, staged.is_staging), (Some(false), Some(true)));
        assert_eq!(staged.date, date("2013-02-23T02:51:58Z"));
        assert_eq!(staged.job_id.as_deref(), Some("f255f81b"));
        assert_eq!(staged.addresses, ["https://h/REST/v1/data/2018/a?b=1&c=2"]);
    }

    #[test]
    fn an_account_may_have_no_data_source() {
        for body in ["<service/>", "\u{feff} <a:service xmlns:a='x'><!-- none --></a:service>\n"] {
            assert_eq!(read(body.as_bytes()), Ok(Vec::new()), "{body}");
        }
    }

    #[test]
    fn dates_that_are_no_instants_are_left_out_and_updated_wins() {
        let body = "<service><workspace updated='yesterday' uploaded='2013-02-22T19:51:58Z'/>\
            <workspace updated='Thu, 17 Nov 2011 20:38:31 GMT' uploaded='2013-02-22T19:51:58Z'/>\
            <workspace updated='2013-02-22T19:51:58'/></service>";
        let dates: Vec<_> = read(body.as_bytes()).unwrap().iter().map(|it| it.date).collect();
        let expected = [date("2013-02-22T19:51:58Z"), date("2011-11-17T20:38:31Z"), None];
        assert_eq!(dates, expected);
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        let deep = format!("<service>{}", "<a>".repeat(MAX_DEPTH));
        let many = format!("<service>{}</service>", "<workspace/>".repeat(MAX_WORKSPACES + 1));
        let collections = "<collection href='a'/>".repeat(MAX_COLLECTIONS + 1);
        let collections = format!("<service><workspace>{collections}</workspace></service>");
        let long = "x".repeat(MAX_TEXT_BYTES + 1);
        let long_id = format!("<service><workspace><jobId>{long}</jobId></workspace></service>");
        let long_link = format!("<service><workspace><collection href='{long}'/>");
        let in_workspace =
            |inner: &str| format!("<service><workspace>{inner}</workspace></service>");
        for (body, error) in [
            (String::new(), AtomError::Foreign),
            ("{\"d\":{}}".into(), AtomError::Foreign),
            ("<html><body/></html>".into(), AtomError::Foreign),
            ("<!DOCTYPE x><service/>".into(), AtomError::Foreign),
            ("<service/><service/>".into(), AtomError::Foreign),
            ("<service><workspace>".into(), AtomError::CutOff),
            ("<service><workspace".into(), AtomError::CutOff),
            (deep, AtomError::TooLarge),
            (many, AtomError::TooLarge),
            (collections, AtomError::TooLarge),
            (long_id, AtomError::TooLarge),
            (long_link, AtomError::TooLarge),
            (
                "<service><workspace isActive='yes'/></service>".into(),
                AtomError::Unreadable("states"),
            ),
            (
                "<service><collection href='a'/></service>".into(),
                AtomError::Unreadable("collections"),
            ),
            ("<service><a><workspace/></a></service>".into(), AtomError::Unreadable("workspaces")),
            (in_workspace("<collection/>"), AtomError::Unreadable("collections")),
            (in_workspace("<collection href=' '/>"), AtomError::Unreadable("collections")),
            (in_workspace("<jobId>1<b>2</b></jobId>"), AtomError::Unreadable("job ids")),
            (in_workspace("<jobId>1</jobId><jobId>2</jobId>"), AtomError::Unreadable("job ids")),
            (in_workspace("<jobId>&unknown;</jobId>"), AtomError::Unreadable("references")),
        ] {
            assert_eq!(read(body.as_bytes()), Err(error), "{}", body.get(..90).unwrap_or(&body));
        }
        for body in
            ["<service></workspace>", "<service a='1' a='2'><workspace a='1' a='2'/></service>"]
        {
            assert!(matches!(read(body.as_bytes()), Err(AtomError::Malformed(_))), "{body}");
        }
        assert_eq!(read(b"<service>\xff</service>"), Err(AtomError::Foreign));
    }

    #[test]
    fn any_bytes_are_read_or_refused() {
        let words = [
            "<service>",
            "</service>",
            "<workspace",
            "<a:workspace>",
            "</workspace>",
            ">",
            "/>",
            "<jobId>",
            "</jobId>",
            "<collection",
            " href='",
            "'",
            " bsi:isActive=\"true\"",
            "&amp;",
            "&#x31;",
            "&#0;",
            "<![CDATA[",
            "]]>",
            "<!--",
            "-->",
            "<!DOCTYPE",
            "\u{feff}",
            "é",
        ];
        attack("listing", &words, |input| {
            if let Ok(workspaces) = read(input) {
                assert!(workspaces.len() <= MAX_WORKSPACES);
            }
        });
    }
}
