//! `/metrics`, for Prometheus.

use super::State;
use crate::discovery::{self, AccountLook};
use crate::engine::Engine;
use crate::files;
use crate::job;
use crate::report::{Counts, Quota, ReportError, SourceStatus};
use crate::settings::Settings;
use crate::store::DURATIONS;
use axum::extract::State as Extract;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet, prometheus_text,
    text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use std::collections::BTreeMap;
use std::fmt;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// In the requested format: OpenMetrics, or else Prometheus' own.
pub(super) async fn show(
    Extract(state): Extract<State>,
    headers: HeaderMap,
) -> Result<Response, ReportError> {
    let mut registry = Registry::with_prefix("nightjar");
    registry.register_collector(Box::new(Scrape::new(&state).await?));
    let mut body = String::new();
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    // Writing to a string cannot fail.
    let content_type = if accepts.is_some_and(|it| it.contains("application/openmetrics-text")) {
        let _ = text::encode(&mut body, &registry);
        OPEN_METRICS
    } else {
        let _ = prometheus_text::encode(&mut body, &registry);
        prometheus_text::CONTENT_TYPE
    };
    Ok(([(header::CONTENT_TYPE, content_type)], body).into_response())
}

/// The values at the moment of a scrape. Nearly all are read from stored data, so nothing is lost
/// or counted twice across restarts.
#[derive(Debug)]
struct Scrape {
    now: DateTime<Utc>,
    started: DateTime<Utc>,
    engine: Engine,
    settings: Settings,
    sources: Vec<SourceStatus>,
    counts: Counts,
    quotas: Vec<Quota>,
    looks: Vec<AccountLook>,
}

impl Scrape {
    async fn new(state: &State) -> Result<Scrape, ReportError> {
        let (settings, now) = (state.settings(), state.clock.now());
        Ok(Scrape {
            now,
            started: state.started,
            engine: state.engine.clone(),
            sources: state.reporter.sources(&settings, now).await?,
            counts: state.reporter.counts().await?,
            quotas: state.reporter.quotas(&settings, now).await?,
            looks: discovery::looks(&settings),
            settings,
        })
    }
}

/// The labels of one series.
type Labels = Vec<(&'static str, String)>;

fn of_source(name: &str) -> Labels {
    vec![("source", name.to_owned())]
}

fn seconds(at: DateTime<Utc>) -> f64 {
    at.timestamp_millis() as f64 / 1000.0
}

/// Writes one metric family after the other.
struct Writer<'e>(DescriptorEncoder<'e>);

impl Writer<'_> {
    fn family<L: EncodeLabelSet, M: EncodeMetric>(
        &mut self,
        (name, help, unit): (&str, &str, Option<&Unit>),
        kind: MetricType,
        series: impl IntoIterator<Item = (L, M)>,
    ) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, unit, kind)?;
        for (labels, metric) in series {
            metric.encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn gauges(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels, f64)>,
    ) -> fmt::Result {
        let series = series.into_iter().map(|(labels, value)| (labels, Number(value)));
        self.family((name, help, None), MetricType::Gauge, series)
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.gauges(name, help, [(Labels::new(), value)])
    }

    fn counters(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels, u64)>,
    ) -> fmt::Result {
        let series = series.into_iter().map(|(labels, value)| (labels, ConstCounter::new(value)));
        self.family((name, help, None), MetricType::Counter, series)
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Writer(encoder);
        self.write_sources(&mut out)?;
        self.write_jobs(&mut out)?;
        self.write_limits(&mut out)?;
        self.write_process(&mut out)
    }
}

impl Scrape {
    fn each<'s>(
        &'s self,
        value: impl Fn(&'s SourceStatus) -> Option<f64> + 's,
    ) -> impl Iterator<Item = (Labels, f64)> + 's {
        let labelled = move |it: &'s SourceStatus| Some((of_source(&it.source), value(it)?));
        self.sources.iter().filter_map(labelled)
    }

    fn write_sources(&self, out: &mut Writer<'_>) -> fmt::Result {
        out.gauges(
            "last_success_timestamp_seconds",
            "When the source's newest good snapshot was complete",
            self.each(|source| source.last_success.map(seconds)),
        )?;
        out.gauges(
            "next_run_timestamp_seconds",
            "When the source's schedule comes next",
            self.each(|source| source.next_run.map(seconds)),
        )?;
        out.gauges(
            "snapshot_entities",
            "Entities in the source's newest snapshot",
            self.each(|source| source.entities.map(|count| count as f64)),
        )?;
        out.gauges(
            "snapshot_bytes",
            "Bytes that the service sent for the source's newest snapshot",
            self.each(|source| source.bytes.map(|count| count as f64)),
        )?;
        out.gauges(
            "snapshot_changes",
            "Entities that the source's newest snapshot added, removed and changed since the one before",
            self.sources.iter().flat_map(|source| {
                let changes = source.changes.into_iter();
                let kinds = changes.flat_map(|it| {
                    [("added", it.added), ("removed", it.removed), ("changed", it.changed)]
                });
                kinds.map(|(kind, count)| {
                    let mut labels = of_source(&source.source);
                    labels.push(("kind", kind.to_owned()));
                    (labels, count as f64)
                })
            }),
        )?;
        out.gauges(
            "source_healthy",
            "0 while the source is overdue or its last job failed, otherwise 1",
            self.each(|source| Some(f64::from(!source.health.needs_attention()))),
        )?;
        out.gauges(
            "source_suspicious",
            "1 while the source's newest snapshot is suspicious, otherwise 0",
            self.each(|source| Some(f64::from(!source.suspicious.is_empty()))),
        )?;
        out.gauges(
            "source_vanished",
            "1 while the account's last listing lacks the source's data source, otherwise 0",
            self.each(|source| source.look.map(|look| f64::from(!look.is_listed))),
        )?;
        let unprotected = |look: &AccountLook| {
            (vec![("account", look.account.clone())], look.unprotected.len() as f64)
        };
        out.gauges(
            "sources_unprotected",
            "Data sources that the account listed at its last look and nothing backs up",
            self.looks.iter().map(unprotected),
        )
    }

    fn write_jobs(&self, out: &mut Writer<'_>) -> fmt::Result {
        let count = |number: i64| number.unsigned_abs();
        out.counters(
            "jobs",
            "Jobs that have ended",
            self.counts.ended.iter().map(|(source, state, jobs)| {
                let mut labels = of_source(source);
                labels.push(("state", state.clone()));
                (labels, count(*jobs))
            }),
        )?;
        let live = job::State::ALL.iter().filter(|state| !state.is_final()).map(|state| {
            let jobs = self.counts.live.iter().filter(|job| job.state == *state).count();
            (vec![("state", state.to_string())], jobs as f64)
        });
        out.gauges("jobs_live", "Jobs that are under way", live)?;
        let late = |due: DateTime<Utc>| (self.now - due).num_milliseconds().max(0) as f64 / 1000.0;
        out.gauge(
            "queue_lag_seconds",
            "How long the longest due job has waited for a worker",
            self.counts.live.iter().map(|job| late(job.due_at)).fold(0.0, f64::max),
        )?;
        out.counters(
            "job_events",
            "Lines of the jobs' timelines, by their kind: submitted, retry, quota, storage and others",
            self.counts.events.iter().map(|(source, kind, events)| {
                let mut labels = of_source(source);
                labels.push(("kind", kind.clone()));
                (labels, count(*events))
            }),
        )?;
        let mut durations: BTreeMap<&str, Spread> = BTreeMap::new();
        for took in &self.counts.durations {
            let spread = durations.entry(took.source.as_str()).or_default();
            spread.jobs += took.jobs;
            spread.seconds += took.seconds;
            spread.below.insert(took.bound, took.jobs);
        }
        out.family(
            ("job_duration", "From a job's creation to its archived end", Some(&Unit::Seconds)),
            MetricType::Histogram,
            durations.into_iter().map(|(source, spread)| (of_source(source), spread)),
        )
    }

    fn write_limits(&self, out: &mut Writer<'_>) -> fmt::Result {
        let mut left = Vec::new();
        let mut limits = Vec::new();
        for quota in &self.quotas {
            for (limit, used, most) in [
                ("in_process", quota.in_process, quota.max_in_process),
                ("day", quota.started, quota.max_jobs_per_day),
            ] {
                let labels = vec![("account", quota.account.clone()), ("limit", limit.to_owned())];
                left.push((labels.clone(), f64::from(most.saturating_sub(used))));
                limits.push((labels, f64::from(most)));
            }
        }
        out.gauges("quota_left", "Remote jobs that the account may still start", left)?;
        out.gauges("quota_limit", "Remote jobs that the account may have", limits)?;
        let folders =
            [("archive", &self.settings.archive_dir), ("state", &self.settings.state_dir)];
        out.gauges(
            "disk_free_bytes",
            "Bytes that can still be written to the disk of the folder",
            folders.into_iter().filter_map(|(name, folder)| {
                let free = files::free_bytes(folder).ok()?;
                Some((vec![("folder", name.to_owned())], free as f64))
            }),
        )
    }

    fn write_process(&self, out: &mut Writer<'_>) -> fmt::Result {
        out.counters(
            "received_bytes",
            "Bytes of results that this process has received, decoded",
            [(Labels::new(), self.engine.received_bytes())],
        )?;
        let last_tick = self.now - self.engine.since_last_tick();
        out.gauge(
            "last_turn_timestamp_seconds",
            "When the main loop last ran: a few seconds ago, unless it hangs",
            seconds(last_tick),
        )?;
        out.gauge("start_timestamp_seconds", "When this process began", seconds(self.started))?;
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        out.gauges("build_info", "1, with the program's version", [(version, 1.0)])
    }
}

/// A gauge's value; a whole number is written as an integer.
#[derive(Debug, Clone, Copy)]
struct Number(f64);

impl EncodeMetric for Number {
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        if self.0.fract() == 0.0 && self.0.abs() < 9e15 {
            ConstGauge::new(self.0 as i64).encode(encoder)
        } else {
            ConstGauge::new(self.0).encode(encoder)
        }
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

/// A histogram whose buckets were counted elsewhere.
#[derive(Debug, Default)]
struct Spread {
    seconds: f64,
    jobs: u64,
    below: BTreeMap<i64, u64>,
}

impl EncodeMetric for Spread {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let jobs = |bound: u32| self.below.get(&i64::from(bound)).copied().unwrap_or(0);
        let mut buckets: Vec<_> =
            DURATIONS.iter().map(|bound| (f64::from(*bound), jobs(*bound))).collect();
        let counted: u64 = buckets.iter().map(|(_, jobs)| jobs).sum();
        buckets.push((f64::INFINITY, self.jobs.saturating_sub(counted)));
        encoder.encode_histogram::<NoLabelSet>(self.seconds, self.jobs, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}
