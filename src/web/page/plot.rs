//! A quantity over time as a line, and the changes of each night as bars.

use super::changes::sentence;
use super::count;
use crate::report::SnapshotChanges;
use chrono::{DateTime, Utc};
use maud::{Markup, html};

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 140.0;
const LEFT: f64 = 64.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 20.0;

/// The values to draw, oldest first.
pub(super) struct Series {
    pub(super) title: &'static str,
    pub(super) points: Vec<(DateTime<Utc>, u64)>,
    /// How to write a value.
    pub(super) shown: fn(u64) -> String,
}

/// The position of each point: time from left to right, values upwards from 0.
fn places(points: &[(DateTime<Utc>, u64)]) -> Vec<(f64, f64)> {
    let (Some((first, _)), Some((last, _))) = (points.first(), points.last()) else {
        return Vec::new();
    };
    let most = points.iter().map(|(_, value)| *value).max().unwrap_or(0).max(1) as f64;
    let length = (*last - *first).num_seconds().max(1) as f64;
    points
        .iter()
        .map(|(at, value)| {
            let along = (*at - *first).num_seconds() as f64 / length;
            let up = *value as f64 / most;
            let (width, height) = (WIDTH - LEFT - 4.0, HEIGHT - TOP - BOTTOM);
            (LEFT + along * width, TOP + (1.0 - up) * height)
        })
        .collect()
}

/// The line with its scale.
pub(super) fn draw(series: &Series) -> Markup {
    let Series { title, points, shown } = series;
    let (Some((first, _)), Some((last, newest))) = (points.first(), points.last()) else {
        return html! { p { (title) ": nothing yet." } };
    };
    let most = points.iter().map(|(_, value)| *value).max().unwrap_or(0);
    let places = places(points);
    let line: String = places.iter().map(|(x, y)| format!("{x:.1},{y:.1} ")).collect();
    let base = HEIGHT - BOTTOM;
    let label = format!("{title}: {} now, {} at most", shown(*newest), shown(most));
    html! {
        figure {
            figcaption { (label) }
            svg.plot viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(label) {
                line.axis x1=(LEFT) y1=(base) x2=(WIDTH) y2=(base) {}
                line.grid x1=(LEFT) y1=(TOP) x2=(WIDTH) y2=(TOP) {}
                text.right x=(LEFT - 6.0) y=(TOP + 4.0) { (shown(most)) }
                text.right x=(LEFT - 6.0) y=(base) { "0" }
                text x=(LEFT) y=(HEIGHT - 4.0) { (first.format("%F")) }
                text.right x=(WIDTH) y=(HEIGHT - 4.0) { (last.format("%F")) }
                polyline points=(line.trim_end()) {}
                @for ((x, y), (at, value)) in places.iter().zip(points) {
                    circle cx=(format!("{x:.1}")) cy=(format!("{y:.1}")) r="2" {
                        title { (at.format("%F %H:%M")) ": " (shown(*value)) }
                    }
                }
            }
        }
    }
}

/// The widest bar.
const WIDEST: f64 = 8.0;

/// One part of a bar: its kind, its upper edge, and its height.
#[derive(Debug, PartialEq)]
struct Part {
    kind: &'static str,
    top: f64,
    height: f64,
}

/// The parts of the bar of one night: what was added and changed upwards from the line of nothing,
/// what was removed downwards. `most` is the largest value upwards and downwards together.
fn parts(changes: &SnapshotChanges, line: f64, most: f64) -> [Part; 3] {
    let scale = (HEIGHT - TOP - BOTTOM) / most;
    let [added, changed, removed] =
        [changes.added, changes.changed, changes.removed].map(|count| count as f64 * scale);
    [
        Part { kind: "added", top: line - added, height: added },
        Part { kind: "changed", top: line - added - changed, height: changed },
        Part { kind: "removed", top: line, height: removed },
    ]
}

/// The changes of the nights of which they are known, oldest first, as bars. `begin` is the first
/// instant of the plots beside it.
pub(super) fn bars(begin: DateTime<Utc>, nights: &[(DateTime<Utc>, SnapshotChanges)]) -> Markup {
    let Some((last, newest)) = nights.last() else {
        return html! { p { "Changes: none counted yet." } };
    };
    let highest = |of: fn(&SnapshotChanges) -> u64| {
        nights.iter().map(|(_, changes)| of(changes)).max().unwrap_or(0)
    };
    let (up, down) = (highest(|it| it.added.saturating_add(it.changed)), highest(|it| it.removed));
    let most = (up as f64 + down as f64).max(1.0);
    let line =
        TOP + (HEIGHT - TOP - BOTTOM) * if up == 0 && down == 0 { 1.0 } else { up as f64 / most };
    let times = std::iter::once(begin).chain(nights.iter().map(|(at, _)| *at));
    let along = places(&times.map(|at| (at, 0)).collect::<Vec<_>>());
    let width = ((WIDTH - LEFT) / nights.len() as f64 * 0.7).clamp(1.0, WIDEST);
    let label = format!("Changes: {} in the newest", sentence(*newest));
    html! {
        figure {
            figcaption { (label) }
            svg.plot viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(label) {
                line.axis x1=(LEFT) y1=(format!("{line:.1}")) x2=(WIDTH) y2=(format!("{line:.1}")) {}
                text.right x=(LEFT - 6.0) y=(TOP + 4.0) { (count(up)) }
                @if down > 0 { text.right x=(LEFT - 6.0) y=(HEIGHT - BOTTOM) { (count(down)) } }
                text x=(LEFT) y=(HEIGHT - 4.0) { (begin.format("%F")) }
                text.right x=(WIDTH) y=(HEIGHT - 4.0) { (last.format("%F")) }
                @for ((x, _), (at, changes)) in along.iter().skip(1).zip(nights) {
                    g {
                        title { (at.format("%F %H:%M")) ": " (sentence(*changes)) }
                        @for part in parts(changes, line, most) {
                            @if part.height > 0.0 {
                                rect.(part.kind) x=(format!("{:.1}", (x - width).max(LEFT)))
                                    y=(format!("{:.2}", part.top)) width=(format!("{width:.1}"))
                                    height=(format!("{:.2}", part.height)) {}
                            }
                        }
                    }
                }
            }
            p.legend {
                @for (kind, what) in
                    [("added", "added, up"), ("changed", "changed, above"), ("removed", "removed, down")]
                {
                    span {
                        svg.plot.key width="12" height="12" aria-hidden="true" {
                            rect.(kind) width="12" height="12" rx="2" {}
                        }
                        " " (what)
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_lie_between_the_edges_and_meet_at_the_line() {
        let (most, line) = (10.0, TOP + (HEIGHT - TOP - BOTTOM) * 0.7);
        let changes = SnapshotChanges { added: 2, removed: 3, changed: 5 };
        let [added, changed, removed] = parts(&changes, line, most);
        assert!((changed.top - TOP).abs() < 1e-9, "{changed:?}");
        assert!((changed.top + changed.height - added.top).abs() < 1e-9);
        assert!((added.top + added.height - line).abs() < 1e-9 && removed.top == line);
        assert!((removed.top + removed.height - (HEIGHT - BOTTOM)).abs() < 1e-9, "{removed:?}");
        let now = Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).unwrap();
        for nights in [vec![], vec![(now, SnapshotChanges::default())], vec![(now, changes); 3]] {
            let text = bars(now, &nights).into_string();
            assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        }
    }
    use chrono::{TimeDelta, TimeZone};

    #[test]
    fn points_lie_between_the_axes_in_their_order() {
        let begin = Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).unwrap();
        let points: Vec<_> =
            (0..10).map(|day| (begin + TimeDelta::days(day), day as u64 * 10)).collect();
        let places = places(&points);
        assert_eq!(places[0], (LEFT, HEIGHT - BOTTOM));
        assert_eq!(places[9], (WIDTH - 4.0, TOP));
        assert!(places.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 > two[1].1));
    }

    #[test]
    fn one_point_or_none_is_drawn_all_the_same() {
        let now = Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).unwrap();
        assert_eq!(places(&[]), []);
        assert!(places(&[(now, 0)]).iter().all(|(x, y)| x.is_finite() && y.is_finite()));
    }
}
