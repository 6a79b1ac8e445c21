//! Logs and traces: what the process says about itself while it runs.
//!
//! Logs go to stderr, filtered by `RUST_LOG`, as text or JSON lines. When
//! `OTEL_EXPORTER_OTLP_ENDPOINT` (or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`) is
//! set, spans also go to that collector by OTLP over HTTP; the other `OTEL_*`
//! variables (service name, headers, sampler) mean what OpenTelemetry says.

use std::env;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use thiserror::Error;
use tokio::runtime::Handle;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// What is logged unless `RUST_LOG` says otherwise.
pub const DEFAULT_FILTER: &str = "info";

/// s3s logs refused requests as errors, and they are ordinary; below that it
/// logs whole requests, signatures included. So it speaks only when `RUST_LOG`
/// names it.
const QUIET: &str = "s3s";

const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why logging could not be set up.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// `RUST_LOG` is not a filter.
    #[error("RUST_LOG is not a filter ({0}): write it like RUST_LOG=info,gateway=debug")]
    Filter(String),
    /// The collector's address cannot be used.
    #[error("{variable}={value} cannot be used: write it as http://HOST:4318")]
    Endpoint {
        /// The environment variable.
        variable: &'static str,
        /// Its value.
        value: String,
    },
    /// The exporter could not be made.
    #[error("cannot export traces: {0}")]
    Exporter(String),
    /// Something else in the process logs already.
    #[error("logging was set up twice in one process")]
    Twice,
}

/// Keeps the exporter. Call [`Telemetry::shutdown`] at the end, or the last
/// spans are lost.
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

/// Sets up logs, and traces if a collector is named. Must be called inside the
/// runtime that will send the spans. `role` is part of the service's name.
pub fn init(format: LogFormat, role: &str) -> Result<Telemetry, TelemetryError> {
    let provider = match collector_from(|name| env::var(name).ok())? {
        Some(url) => Some(provider(&url, role, Handle::current())?),
        None => None,
    };
    let traces = provider.as_ref().map(trace_layer);
    tracing_subscriber::registry()
        .with(traces)
        .with(log_layer(format))
        .with(filter()?)
        .try_init()
        .map_err(|_| TelemetryError::Twice)?;
    Ok(Telemetry { provider })
}

impl Telemetry {
    /// Sends the spans that wait. Blocks for at most a few seconds, so call it
    /// outside of async code, while the runtime is still there.
    pub fn shutdown(self) {
        let Some(provider) = self.provider else { return };
        if let Err(error) = provider.shutdown_with_timeout(EXPORT_TIMEOUT) {
            tracing::warn!(%error, "the last spans were not exported");
        }
    }
}

fn filter() -> Result<EnvFilter, TelemetryError> {
    let text = env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let text = directives(text.as_deref());
    EnvFilter::try_new(text).map_err(|error| TelemetryError::Filter(error.to_string()))
}

/// The filter for this `RUST_LOG`.
fn directives(asked: Option<&str>) -> String {
    let asked = asked.unwrap_or(DEFAULT_FILTER);
    let target = |directive: &str| directive.split(['=', '[']).next() == Some(QUIET);
    if asked.split(',').any(target) { asked.to_owned() } else { format!("{asked},{QUIET}=off") }
}

fn log_layer<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Text => {
            layer.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).boxed()
        }
        LogFormat::Json => layer.json().boxed(),
    }
}

fn trace_layer(provider: &SdkTracerProvider) -> impl Layer<Registry> + use<> {
    tracing_opentelemetry::layer().with_tracer(provider.tracer("stratos"))
}

/// The address that spans are posted to, from the environment.
fn collector_from(
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<Option<String>, TelemetryError> {
    // The first names the address itself, the second its root.
    const VARIABLES: [(&str, &str); 2] =
        [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", ""), ("OTEL_EXPORTER_OTLP_ENDPOINT", "/v1/traces")];
    for (variable, path) in VARIABLES {
        let Some(value) = lookup(variable).filter(|value| !value.is_empty()) else { continue };
        let plain = value
            .parse::<http::Uri>()
            .is_ok_and(|uri| uri.scheme_str() == Some("http") && uri.host().is_some());
        if !plain {
            return Err(TelemetryError::Endpoint { variable, value });
        }
        return Ok(Some(format!("{}{path}", value.trim_end_matches('/'))));
    }
    Ok(None)
}

fn provider(url: &str, role: &str, runtime: Handle) -> Result<SdkTracerProvider, TelemetryError> {
    let client = OnRuntime {
        runtime,
        inner: Arc::new(HyperClient::with_default_connector(EXPORT_TIMEOUT, None)),
    };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_endpoint(url)
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .map_err(|error| TelemetryError::Exporter(error.to_string()))?;
    Ok(SdkTracerProvider::builder()
        .with_resource(resource(role))
        .with_batch_exporter(exporter)
        .build())
}

fn resource(role: &str) -> Resource {
    let builder = Resource::builder();
    // A name from the environment wins over ours.
    if env::var_os("OTEL_SERVICE_NAME").is_some() {
        return builder.build();
    }
    builder.with_service_name(format!("stratos-{role}")).build()
}

/// The batch processor polls its exporter on a plain thread, where hyper finds
/// no reactor; so each request becomes a task of the runtime.
#[derive(Debug)]
struct OnRuntime {
    runtime: Handle,
    inner: Arc<HyperClient>,
}

#[async_trait]
impl HttpClient for OnRuntime {
    async fn send_bytes(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, HttpError> {
        let inner = self.inner.clone();
        self.runtime.spawn(async move { inner.send_bytes(request).await }).await?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::{Recorder, answer};

    #[track_caller]
    fn check(environment: &[(&str, &str)], want: Result<Option<&str>, &str>) {
        let got = collector_from(|name| {
            let found = environment.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        });
        assert_eq!(
            got.map_err(|error| error.to_string()),
            want.map(|url| url.map(str::to_owned)).map_err(str::to_owned)
        );
    }

    #[test]
    fn the_collector_comes_from_the_environment() {
        const BASE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
        const TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
        check(&[], Ok(None));
        check(&[(BASE, "")], Ok(None));
        check(&[(BASE, "http://c:4318/")], Ok(Some("http://c:4318/v1/traces")));
        check(&[(BASE, "http://c:4318"), (TRACES, "http://t/x")], Ok(Some("http://t/x")));
        let refused = "OTEL_EXPORTER_OTLP_ENDPOINT=https://c cannot be used: \
                       write it as http://HOST:4318";
        check(&[(BASE, "https://c")], Err(refused));
        assert!(collector_from(|_| Some("c:4318".into())).is_err());
    }

    #[test]
    fn s3s_speaks_only_when_it_is_asked_to() {
        let filter = |asked| EnvFilter::try_new(directives(asked)).expect("a filter").to_string();
        assert_eq!(filter(None), "s3s=off,info");
        assert_eq!(filter(Some("debug")), "s3s=off,debug");
        assert_eq!(filter(Some("warn,gateway=trace")), "gateway=trace,s3s=off,warn");
        assert_eq!(filter(Some("info,s3s=debug")), "s3s=debug,info");
        assert_eq!(filter(Some("s3s")), "s3s=trace");
        // A part of it is not the whole.
        assert_eq!(filter(Some("s3s::ops=debug")), "s3s::ops=debug,s3s=off");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn spans_arrive_at_the_collector_before_the_end() {
        let recorder = Recorder::start(|_| answer(200, "")).await;
        let url = format!("{}/v1/traces", recorder.url());
        let provider = provider(&url, "test", Handle::current()).expect("a provider");
        let subscriber = tracing_subscriber::registry().with(trace_layer(&provider));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info_span!("stored_a_cat").in_scope(|| {});
        });
        let telemetry = Telemetry { provider: Some(provider) };
        tokio::task::spawn_blocking(|| telemetry.shutdown()).await.expect("no panic");

        let [request] = &recorder.seen()[..] else { panic!("one export") };
        assert_eq!(request.target, "/v1/traces");
        assert_eq!(request.header("content-type"), "application/x-protobuf");
        let has = |text: &[u8]| request.body.windows(text.len()).any(|part| part == text);
        assert!(has(b"stored_a_cat"));
        assert!(has(b"stratos-test"));
    }
}
