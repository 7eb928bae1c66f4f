//! `/metrics`, in the text format that Prometheus reads.

use super::State;
use crate::report::ReportError;
use axum::extract::State as Extract;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;

/// What the encoder writes is OpenMetrics.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSource {
    source: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfState {
    state: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSourceAndState {
    source: String,
    state: String,
}

/// Made anew for each scrape from what is stored: nothing is counted twice or lost at a restart.
pub(super) async fn show(Extract(state): Extract<State>) -> Result<Response, ReportError> {
    let sources = state.reporter.sources(&state.settings(), state.clock.now()).await?;
    let counts = state.reporter.counts().await?;

    let last_success = Family::<OfSource, Gauge<f64, AtomicU64>>::default();
    let entities = Family::<OfSource, Gauge>::default();
    let bytes = Family::<OfSource, Gauge>::default();
    let healthy = Family::<OfSource, Gauge>::default();
    let ended = Family::<OfSourceAndState, Counter>::default();
    let live = Family::<OfState, Gauge>::default();
    let gauge = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    for source in sources {
        let label = OfSource { source: source.source };
        if let Some(at) = source.last_success {
            last_success.get_or_create(&label).set(at.timestamp_millis() as f64 / 1000.0);
        }
        if let Some(count) = source.entities {
            entities.get_or_create(&label).set(gauge(count));
        }
        if let Some(count) = source.bytes {
            bytes.get_or_create(&label).set(gauge(count));
        }
        healthy.get_or_create(&label).set(i64::from(!source.health.is_alarming()));
    }
    for (source, state, jobs) in counts.ended {
        let jobs = u64::try_from(jobs).unwrap_or(0);
        ended.get_or_create(&OfSourceAndState { source, state }).inc_by(jobs);
    }
    for state in crate::job::State::ALL.iter().filter(|state| !state.is_final()) {
        let jobs = counts.live.iter().filter(|job| job.state == *state).count();
        live.get_or_create(&OfState { state: state.to_string() }).set(gauge(jobs as u64));
    }

    let mut registry = Registry::with_prefix("nightjar");
    registry.register(
        "last_success_timestamp_seconds",
        "When the source's newest snapshot was complete",
        last_success,
    );
    registry.register("snapshot_entities", "Entities in the source's newest snapshot", entities);
    registry.register("snapshot_bytes", "Bytes that the service sent for it", bytes);
    registry.register(
        "source_healthy",
        "0 while the source is overdue or its last job failed, otherwise 1",
        healthy,
    );
    registry.register("jobs", "Jobs that have ended", ended);
    registry.register("jobs_live", "Jobs that are under way", live);
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = encode(&mut text, &registry);
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}
