//! The log: lines on stderr, filtered by `RUST_LOG`, that never contain a secret.

use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The filter if `RUST_LOG` is not set.
pub const DEFAULT: &str = "info,pingora_core=warn,pingora_core::apps=off,pingora_proxy=off";

/// Starts the log of this process with a filter in the syntax of `RUST_LOG`; a second call has no effect.
///
/// Libraries print whole requests, including tokens, at `debug` and `trace`, so their targets are limited to `info`,
/// whatever the filter says.
pub fn start(filter: &str, output: impl for<'w> MakeWriter<'w> + Send + Sync + 'static) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let ours = filter_fn(|event| *event.level() <= Level::INFO || event.target().starts_with("fapi_gateway"));
    let lines = tracing_subscriber::fmt::layer().with_writer(output).with_ansi(false);
    let _ = tracing_subscriber::registry().with(filter).with(ours).with(lines).try_init();
}
