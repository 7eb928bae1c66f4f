//! A year of nights as squares: weeks from left to right, days from Monday down.

use crate::report::{Night, NightState};
use chrono::Datelike;
use maud::{Markup, html};

/// The size of a square with the gap beside it.
const STEP: i64 = 13;
const SQUARE: i64 = 11;

/// The squares of these nights, oldest first.
pub(super) fn draw(nights: &[Night], source: &str) -> Markup {
    let Some(first) = nights.first() else { return html! {} };
    let offset = i64::from(first.date.weekday().num_days_from_monday());
    let place = |number: usize| {
        let cell = offset + number as i64;
        (cell / 7 * STEP, 12 + cell % 7 * STEP)
    };
    let width = (offset + nights.len() as i64 + 6) / 7 * STEP;
    let height = 12 + 7 * STEP;
    let of_state = |state| nights.iter().filter(|night| night.state == state).count();
    let summary = format!(
        "{source}, {} nights: {} good, {} suspicious, {} failed, {} missed",
        nights.len(),
        of_state(NightState::Good),
        of_state(NightState::Suspicious),
        of_state(NightState::Failed),
        of_state(NightState::Missed),
    );
    html! {
        div.scroll.newest tabindex="0" {
            svg.calendar width=(width) height=(height) viewBox={ "0 0 " (width) " " (height) }
                role="img" aria-label=(summary) {
                @for (number, night) in nights.iter().enumerate() {
                    @let (x, y) = place(number);
                    @if night.date.day() == 1 {
                        text x=(x) y="9" { (night.date.format("%b")) }
                    }
                    rect.(night.state.as_str()) x=(x) y=(y) width=(SQUARE) height=(SQUARE) rx="2" {
                        title { (night.date) ": " (night.state.as_str()) }
                    }
                }
            }
        }
        p.summary { (summary) }
    }
}

/// The meaning of the squares.
pub(super) fn legend() -> Markup {
    html! {
        p.legend {
            @for state in NightState::ALL {
                span {
                    svg width=(SQUARE) height=(SQUARE) aria-hidden="true" {
                        rect.(state.as_str()) width=(SQUARE) height=(SQUARE) rx="2" {}
                    }
                    " " (state.as_str())
                }
            }
        }
    }
}
