//! A quantity over time as a line.

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

#[cfg(test)]
mod tests {
    use super::*;
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
