//! The service's AtomPub documents: the data sources of an account, the versions of one ("Get Data
//! Source Information").
//!
//! Names match without their prefixes, because documented examples differ in them. For the same
//! reason, what a workspace says of itself is read from its attributes and from its elements. What
//! cannot be read is an error: an entry that was left out would look like one that is not there.

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
    /// The property of the last workspace that is being read, and its text so far.
    reading: Option<(Property, String)>,
    /// Whether the element of the second level that is open is a workspace.
    in_workspace: bool,
    /// `updated` and `uploaded` of the last workspace.
    updated: Option<DateTime<Utc>>,
    uploaded: Option<DateTime<Utc>>,
}

/// What a workspace says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Property {
    JobId,
    IsActive,
    IsStaging,
    Updated,
    Uploaded,
}

impl Property {
    /// The property of this local name.
    fn named(name: &str) -> Option<Property> {
        let names = [
            ("jobId", Property::JobId),
            ("isActive", Property::IsActive),
            ("isStagingDataSource", Property::IsStaging),
            ("updated", Property::Updated),
            ("uploaded", Property::Uploaded),
        ];
        names.into_iter().find(|(it, _)| name.eq_ignore_ascii_case(it)).map(|(_, it)| it)
    }

    /// What cannot be read where its value cannot.
    fn unreadable(self) -> AtomError {
        AtomError::Unreadable(match self {
            Property::JobId => "job ids",
            Property::IsActive | Property::IsStaging => "states",
            Property::Updated | Property::Uploaded => "dates",
        })
    }
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
                self.in_workspace = true;
                if self.workspaces.len() >= MAX_WORKSPACES {
                    return Err(AtomError::TooLarge);
                }
                self.workspaces.push(Workspace::default());
                (self.updated, self.uploaded) = (None, None);
                attributes(tag, |name, value| match Property::named(name) {
                    // It is documented as an element only.
                    Some(Property::JobId) | None => Ok(()),
                    Some(property) => self.set(property, value.trim()),
                })?;
            }
            3 if is("collection") => {
                let workspace = self.workspaces.last_mut();
                let workspace = workspace.ok_or(AtomError::Unreadable("collections"))?;
                if workspace.addresses.len() >= MAX_COLLECTIONS {
                    return Err(AtomError::TooLarge);
                }
                workspace.addresses.push(address(tag)?);
            }
            _ if is("workspace") => return Err(AtomError::Unreadable("workspaces")),
            _ if is("collection") => return Err(AtomError::Unreadable("collections")),
            2 => self.in_workspace = false,
            3 if self.in_workspace => {
                self.reading = Property::named(name.as_ref()).map(|it| (it, String::new()));
            }
            _ => {
                if let Some((property, _)) = self.reading {
                    return Err(property.unreadable());
                }
            }
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), AtomError> {
        if let Some((_, kept)) = &mut self.reading {
            if kept.len() + text.len() > MAX_TEXT_BYTES {
                return Err(AtomError::TooLarge);
            }
            kept.push_str(text);
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), AtomError> {
        self.depth = self.depth.saturating_sub(1);
        match self.reading.take() {
            Some((property, text)) => self.set(property, text.trim()),
            None => Ok(()),
        }
    }

    /// Sets a property of the last workspace. An empty value says nothing; two different ones
    /// cannot be read.
    fn set(&mut self, property: Property, text: &str) -> Result<(), AtomError> {
        let Document { workspaces, updated, uploaded, .. } = self;
        let workspace = workspaces.last_mut().ok_or(property.unreadable())?;
        let is_one = match property {
            Property::JobId => {
                let id = Some(text.to_owned()).filter(|id| !id.is_empty());
                agree(&mut workspace.job_id, id)
            }
            Property::IsActive => agree(&mut workspace.is_active, truth(text)?),
            Property::IsStaging => agree(&mut workspace.is_staging, truth(text)?),
            // Information only: the first one that is an instant will do.
            Property::Updated => {
                *updated = updated.or(date(text));
                true
            }
            Property::Uploaded => {
                *uploaded = uploaded.or(date(text));
                true
            }
        };
        workspace.date = updated.or(*uploaded);
        if is_one { Ok(()) } else { Err(property.unreadable()) }
    }

    fn end(self) -> Result<Vec<Workspace>, AtomError> {
        match (self.has_root, self.depth) {
            (true, 0) => Ok(self.workspaces),
            (true, _) => Err(AtomError::CutOff),
            (false, _) => Err(AtomError::Foreign),
        }
    }
}

/// Sets what is said for the first time; `false` if something else was said before.
fn agree<T: PartialEq>(known: &mut Option<T>, said: Option<T>) -> bool {
    match (&*known, said) {
        (Some(first), Some(second)) => *first == second,
        (None, said @ Some(_)) => {
            *known = said;
            true
        }
        (_, None) => true,
    }
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
    fn elements_say_the_same_as_attributes() {
        let body = "<a:service xmlns:a='x' xmlns:b='y'><a:workspace>\
            <b:isActive> True </b:isActive><isStagingDataSource>0</isStagingDataSource>\
            <b:uploaded>2013-02-22T19:51:58Z</b:uploaded><a:title>x</a:title>\
            <b:updated>2013-02-25T19:44:10Z</b:updated><jobId>1</jobId></a:workspace>\
            <a:workspace b:isActive='false'><b:isActive>false</b:isActive><isStagingDataSource/>\
            </a:workspace><a:other><isActive>true</isActive><jobId>2</jobId></a:other>\
            <workspace updated='2013-02-22T19:51:58Z'><updated>2014-02-22T19:51:58Z</updated>\
            </workspace></a:service>";
        let [one, two, three] = &*read(body.as_bytes()).unwrap() else { panic!() };
        assert_eq!((one.is_active, one.is_staging), (Some(true), Some(false)));
        assert_eq!(one.date, date("2013-02-25T19:44:10Z"));
        assert_eq!(one.job_id.as_deref(), Some("1"));
        let expected = Workspace { is_active: Some(false), ..Workspace::default() };
        assert_eq!(*two, expected);
        assert_eq!(three.date, date("2013-02-22T19:51:58Z"));
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
            (in_workspace("<isActive>yes</isActive>"), AtomError::Unreadable("states")),
            (in_workspace("<isActive>1<b/></isActive>"), AtomError::Unreadable("states")),
            (
                "<service><workspace isActive='1'><isActive>0</isActive></workspace></service>"
                    .into(),
                AtomError::Unreadable("states"),
            ),
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
            "<b:isActive>",
            "</b:isActive>",
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
