//! What changed in a snapshot since the one before it.

use super::{count, map, mark};
use crate::archive::Snapshot;
use crate::comparisons::{ShownChange, ShownChanges};
use crate::manifest::{ChangeCounts, Manifest};
use crate::report::SnapshotChanges;
use crate::web::changes::Comparison;
use maud::{Markup, html};

/// The snapshot before, how much changed if that is known, and what.
pub(super) struct Section<'s> {
    pub(super) old: &'s Snapshot,
    pub(super) counts: Option<ChangeCounts>,
    pub(super) comparison: &'s Comparison,
}

impl Section<'_> {
    /// After how many seconds the page has more to show, if it is loaded again then.
    pub(super) fn refresh(&self) -> Option<u32> {
        matches!(self.comparison, Comparison::Running).then_some(3)
    }
}

/// The changes of this snapshot; `None` if there is none before it.
pub(super) fn draw(new: &Manifest, section: Option<&Section<'_>>, href: &str) -> Markup {
    let Some(Section { old, counts, comparison }) = section else {
        return html! { p { "There is no earlier snapshot with other content." } };
    };
    let (source, before) = (&old.manifest.source, old.manifest.name());
    let counts = match comparison {
        Comparison::Known(shown) => Some(shown.counts),
        _ => *counts,
    };
    html! {
        p {
            "Since " a href={ "/snapshots/" (source) "/" (before) } { (before) }
            ", the newest earlier snapshot with other content: "
            @match counts {
                Some(counts) => {
                    strong { (sentence(counts.into())) } ", " (count(counts.unchanged)) " unchanged."
                },
                None => "not counted yet.",
            }
        }
        @match comparison {
            Comparison::Known(shown) => (details(shown, new, &old.manifest)),
            Comparison::Failed(error) => p.remark { "What changed cannot be shown: " (error) },
            Comparison::Running => p {
                "The snapshots are being compared; this page loads itself again. "
                a href=(href) { "Load it now" } "."
            },
            Comparison::Busy => p {
                "Other snapshots are being compared: " a href=(href) { "try again" }
                " in some seconds."
            },
        }
    }
}

/// How many entities changed, in words.
pub(super) fn sentence(changes: SnapshotChanges) -> String {
    let SnapshotChanges { added, removed, changed } = changes;
    format!("{} added, {} removed, {} changed", count(added), count(removed), count(changed))
}

fn details(shown: &ShownChanges, new: &Manifest, old: &Manifest) -> Markup {
    let differing = shown.counts.differing();
    let [added, removed, retyped] = &shown.columns;
    html! {
        @for (columns, what) in [
            (added, "Columns only in this snapshot"),
            (removed, "Columns only in the one before"),
            (retyped, "Columns of another type in each, compared as text"),
        ] {
            @if !columns.names.is_empty() {
                p {
                    (what) ": " (columns.names.join(", "))
                    @if columns.more > 0 { ", and " (columns.more) " more" } "."
                }
            }
        }
        @if differing > 0 {
            (table(&shown.listed))
            @if differing > shown.listed.len() as u64 {
                p {
                    "The first " (shown.listed.len()) " by key. All of them: "
                    code {
                        "nightjar diff --all " (old.source) "@" (old.job) " " (new.source) "@" (new.job)
                    }
                }
            }
            h3 { "Where" }
            @if differing > shown.placed {
                p { "The places of the first " (count(shown.placed)) " by key." }
            }
            (map::draw_changes(&shown.places))
        }
    }
}

/// The entities that changed, by key.
fn table(listed: &[ShownChange]) -> Markup {
    html! {
        div.scroll tabindex="0" {
            table.changes {
                thead { tr {
                    th scope="col" { "Change" }
                    th scope="col" { "Key" }
                    th scope="col" { "Values" }
                } }
                tbody {
                    @for change in listed {
                        tr {
                            td { (mark(change.kind.as_str())) }
                            td {
                                @match &change.key {
                                    Some(key) => code { (key) },
                                    None => "(without a key)",
                                }
                            }
                            td {
                                @for column in &change.columns { div { (column) } }
                                @if change.more_columns > 0 {
                                    div { "and " (change.more_columns) " columns more" }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comparisons::{ChangeKind, ShownColumns, ShownPlace};
    use crate::dataset::Point;

    #[test]
    fn what_the_service_sent_is_text_and_nothing_else() {
        let change = ShownChange {
            kind: ChangeKind::Changed,
            key: Some("<script>1</script>".into()),
            columns: vec!["Name: \"><img src=x onerror=alert(1)> → b".into()],
            more_columns: 2,
        };
        let names = ShownColumns { names: vec!["<b>".into()], more: 1 };
        let kind = ChangeKind::Changed;
        let place = ShownPlace { kind, at: Point { latitude: 1.0, longitude: 2.0 } };
        let shown = ShownChanges {
            counts: ChangeCounts { added: 0, removed: 0, changed: 1, unchanged: 4 },
            columns: [names.clone(), names.clone(), names],
            listed: vec![change],
            places: vec![place],
            placed: 1,
        };
        let text = [table(&shown.listed), map::draw_changes(&shown.places)]
            .map(maud::PreEscaped::into_string)
            .concat();
        assert!(!text.contains("<script") && !text.contains("<img"), "{text}");
        assert!(text.contains("&lt;script&gt;1") && text.contains("and 2 columns more"), "{text}");
        assert!(text.contains("1 changed"), "{text}");
    }
}
