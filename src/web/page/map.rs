//! Places on a plain map: longitudes from left to right, latitudes upwards, with a grid of degrees.

use crate::comparisons::{ChangeKind, ShownPlace};
use crate::dataset::Point;
use maud::{Markup, html};

const WIDTH: f64 = 720.0;
const TALLEST: f64 = 480.0;

/// The part of the world that is shown, in degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Window {
    west: f64,
    east: f64,
    south: f64,
    north: f64,
}

impl Window {
    /// Bounds around all places, with a margin.
    fn around(places: impl IntoIterator<Item = Point>) -> Option<Window> {
        let mut places = places.into_iter();
        let first = places.next()?;
        let start = (first.longitude, first.longitude, first.latitude, first.latitude);
        let (west, east, south, north) = places.fold(start, |(west, east, south, north), place| {
            (
                west.min(place.longitude),
                east.max(place.longitude),
                south.min(place.latitude),
                north.max(place.latitude),
            )
        });
        let margin = ((east - west).max(north - south) * 0.05).max(0.05);
        Some(Window {
            west: (west - margin).max(-180.0),
            east: (east + margin).min(180.0),
            south: (south - margin).max(-90.0),
            north: (north + margin).min(90.0),
        })
    }

    /// Drawing units per degree.
    fn scale(&self) -> f64 {
        (WIDTH / (self.east - self.west)).min(TALLEST / (self.north - self.south))
    }

    fn at(&self, longitude: f64, latitude: f64) -> (f64, f64) {
        ((longitude - self.west) * self.scale(), (self.north - latitude) * self.scale())
    }

    /// The degrees between two grid lines: about six lines.
    fn net(&self) -> f64 {
        let wide = (self.east - self.west).max(self.north - self.south);
        let steps = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];
        steps.into_iter().find(|step| wide / step <= 12.0).unwrap_or(60.0)
    }
}

/// The multiples of a step between two values.
fn lines(from: f64, to: f64, step: f64) -> Vec<f64> {
    let (first, last) = ((from / step).ceil() as i64, (to / step).floor() as i64);
    (first..=last).map(|number| number as f64 * step).collect()
}

/// A number of degrees without trailing zeros.
fn degrees(value: f64) -> String {
    let text = format!("{value:.2}");
    format!("{}°", text.trim_end_matches('0').trim_end_matches('.'))
}

/// The map of a snapshot's places.
pub(super) fn draw(places: &[Point]) -> Markup {
    let Some(window) = Window::around(places.iter().copied()) else {
        return html! { p { "It has no places: no column says latitude and longitude." } };
    };
    let marks = html! {
        @for place in places {
            @let (x, y) = window.at(place.longitude, place.latitude);
            circle cx=(format!("{x:.1}")) cy=(format!("{y:.1}")) r="2" {}
        }
    };
    frame(window, &format!("{} places", places.len()), &marks)
}

/// The map of places whose entities changed. Each kind has a shape of its own.
pub(super) fn draw_changes(places: &[ShownPlace]) -> Markup {
    let Some(window) = Window::around(places.iter().map(|place| place.at)) else {
        return html! { p { "None of them has a latitude and a longitude." } };
    };
    let of = |kind| places.iter().filter(|place| place.kind == kind).count();
    let counts = ChangeKind::ALL.map(|kind| format!("{} {}", of(kind), kind.as_str()));
    let marks = html! {
        @for place in places {
            @let (x, y) = window.at(place.at.longitude, place.at.latitude);
            (shape(place.kind, x, y))
        }
    };
    html! {
        (frame(window, &format!("places: {}", counts.join(", ")), &marks))
        p.legend {
            @for kind in ChangeKind::ALL {
                span {
                    svg.map.key width="12" height="12" aria-hidden="true" { (shape(kind, 6.0, 6.0)) }
                    " " (kind.as_str())
                }
            }
        }
    }
}

/// A circle, a cross or a square.
fn shape(kind: ChangeKind, x: f64, y: f64) -> Markup {
    let word = kind.as_str();
    html! {
        @match kind {
            ChangeKind::Added => {
                circle.(word) cx=(format!("{x:.1}")) cy=(format!("{y:.1}")) r="3" {}
            },
            ChangeKind::Removed => {
                path.(word) d=(format!("M{:.1} {:.1}l6 6m0 -6l-6 6", x - 3.0, y - 3.0)) {}
            },
            ChangeKind::Changed => {
                rect.(word) x=(format!("{:.1}", x - 2.5)) y=(format!("{:.1}", y - 2.5)) width="5"
                    height="5" {}
            },
        }
    }
}

/// The grid, and marks on it. `what` says what they are.
fn frame(window: Window, what: &str, marks: &Markup) -> Markup {
    let (right, bottom) = window.at(window.east, window.south);
    let label = format!(
        "{what} between {} and {} north, {} and {} east",
        degrees(window.south),
        degrees(window.north),
        degrees(window.west),
        degrees(window.east)
    );
    html! {
        figure {
            svg.map viewBox=(format!("0 0 {right:.1} {bottom:.1}")) role="img" aria-label=(label) {
                @for longitude in lines(window.west, window.east, window.net()) {
                    @let (x, _) = window.at(longitude, window.north);
                    line.grid x1=(format!("{x:.1}")) y1="0" x2=(format!("{x:.1}")) y2=(format!("{bottom:.1}")) {}
                    text x=(format!("{:.1}", x + 3.0)) y=(format!("{:.1}", bottom - 4.0)) { (degrees(longitude)) }
                }
                @for latitude in lines(window.south, window.north, window.net()) {
                    @let (_, y) = window.at(window.west, latitude);
                    line.grid x1="0" y1=(format!("{y:.1}")) x2=(format!("{right:.1}")) y2=(format!("{y:.1}")) {}
                    text x="3" y=(format!("{:.1}", y - 3.0)) { (degrees(latitude)) }
                }
                (marks)
            }
            figcaption { (label) "." }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_lies_on_the_map_north_up() {
        let places = [(52.5, 13.4), (-33.9, 151.2), (40.7, -74.0), (-90.0, 180.0)]
            .map(|(latitude, longitude)| Point { latitude, longitude });
        let window = Window::around(places).unwrap();
        let (right, bottom) = window.at(window.east, window.south);
        assert!(right <= WIDTH + 0.1 && bottom <= TALLEST + 0.1);
        for place in &places {
            let (x, y) = window.at(place.longitude, place.latitude);
            assert!((0.0..=right).contains(&x) && (0.0..=bottom).contains(&y), "{place:?}");
        }
        let (berlin, sydney) = (window.at(13.4, 52.5), window.at(151.2, -33.9));
        assert!(berlin.0 < sydney.0 && berlin.1 < sydney.1);
    }

    #[test]
    fn one_place_is_a_map_too() {
        let window = Window::around([Point { latitude: 1.0, longitude: 2.0 }]).unwrap();
        assert!(
            window.scale().is_finite() && !lines(window.west, window.east, window.net()).is_empty()
        );
        assert_eq!(Window::around([]), None);
        assert_eq!(degrees(-0.5), "-0.5°");
        assert_eq!(degrees(30.0), "30°");
    }
}
