//! The log: lines on stderr, as text or JSON, that never contain a secret.
//!
//! A thread of its own writes them, so that a reader of stderr that stalls stops nothing else. Lines beyond 1 MiB
//! are lost; they are counted, and the log says how many when it moves again.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use super::filter::{Filter, is_for_operators};
use super::lines::{Event, LineSender, Lines, Output};

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object: `timestamp`, `level`, `target`, and `message` among the fields of the event.
    Json,
}

/// The section `log` of gateway.yaml.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// How a line is written.
    pub format: Format,
    /// Which lines there are, unless `RUST_LOG` decides.
    pub filter: Filter,
}

/// Starts the log of this process; a second call has no effect.
pub fn start(filter: &Filter, format: Format, output: impl for<'w> MakeWriter<'w> + Send + Sync + 'static) {
    let (chosen, handle) = reload::Layer::new(filter.to_env_filter());
    let lines = tracing_subscriber::fmt::layer().with_writer(output).with_ansi(false);
    let lines = match format {
        Format::Text => lines.boxed(),
        Format::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
    };
    let log = tracing_subscriber::registry().with(chosen).with(filter_fn(is_for_operators)).with(lines);
    if log.try_init().is_ok() {
        let _ = CHOSEN.set(Chosen { handle, filter: Mutex::new(filter.clone()) });
    }
}

/// Lets the log have other lines from now on. Nothing happens if it was not started.
pub fn choose(filter: &Filter) {
    if let Some(chosen) = CHOSEN.get() {
        let mut current = chosen.filter.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = chosen.handle.reload(filter.to_env_filter());
        *current = filter.clone();
    }
}

/// Lets the log have the lines that a new configuration asks for, unless the environment decides.
pub fn follow(filter: &Filter) {
    if !DECIDED.load(Ordering::Relaxed) {
        choose(filter);
    }
}

/// The filter of the log; `None` if it was not started.
pub fn chosen() -> Option<Filter> {
    Some(CHOSEN.get()?.filter.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

struct Chosen {
    handle: reload::Handle<EnvFilter, Registry>,
    filter: Mutex<Filter>,
}

static CHOSEN: OnceLock<Chosen> = OnceLock::new();
/// Whether `RUST_LOG` was set.
static DECIDED: AtomicBool = AtomicBool::new(false);

/// The log on stderr; when it is dropped, the last lines are written, within a second.
pub struct StderrLog(Lines);

impl StderrLog {
    /// Starts the log of this process on stderr, with the filter of the environment if there is one. What a panic says goes
    /// the same way.
    ///
    /// # Errors
    /// When stderr cannot be duplicated or the thread cannot be created.
    pub fn start(settings: &Settings, environment: Option<&Filter>) -> io::Result<Self> {
        let log = Self(Lines::start("log", Output::duplicate(io::stderr())?, BUFFER, report)?);
        let sender = STDERR.get_or_init(|| log.0.sender());
        DECIDED.store(environment.is_some(), Ordering::Relaxed);
        let filter = environment.unwrap_or(&settings.filter);
        start(filter, settings.format, || LogWriter(sender.clone()));
        std::panic::set_hook(Box::new(|panic| say_panic(sender, panic)));
        Ok(log)
    }
}

impl Drop for StderrLog {
    fn drop(&mut self) {
        // Nobody reads stderr if this fails.
        let _ = self.0.close(LAST_WAIT);
    }
}

/// Prints a line for the operator on stderr, whatever the filter says, and after the lines of the log so far.
pub fn print(line: &str) {
    match STDERR.get() {
        Some(sender) => sender.send(format!("{line}\n").as_bytes()),
        None => eprintln!("{line}"),
    }
}

/// How many lines of the log were lost since the start.
pub fn lines_lost() -> u64 {
    STDERR.get().map_or(0, |sender| sender.health().lost())
}

/// Sends each event as one line.
struct LogWriter(LineSender);

impl io::Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.send(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Says what happened as soon as the log can be written again; before that, the line would be lost like the others.
fn report(event: Event<'_>, lost: u64) {
    let unsaid = UNSAID.fetch_add(lost, Ordering::Relaxed).saturating_add(lost);
    if matches!(event, Event::Again) && unsaid > 0 {
        UNSAID.store(0, Ordering::Relaxed);
        tracing::warn!(lost = unsaid, "lines of the log were lost, since stderr was not read or could not be written");
    }
}

/// Says what the default hook would, but waits only a moment for a reader: the process may not live to write it later.
fn say_panic(sender: &LineSender, panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let mut text = format!("thread '{}' {panic}\n", thread.name().unwrap_or("<unnamed>"));
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        text.push_str(&format!("{trace}\n"));
    }
    sender.send(text.as_bytes());
    sender.wait_until_written(MOMENT);
}

static STDERR: OnceLock<LineSender> = OnceLock::new();
/// Lines that were lost and not yet mentioned.
static UNSAID: AtomicU64 = AtomicU64::new(0);

/// How many bytes of lines wait at most.
const BUFFER: usize = 1024 * 1024;
/// How long the process waits for the last lines before it exits.
const LAST_WAIT: Duration = Duration::from_secs(1);
/// How long a thread that panics waits until that is written.
const MOMENT: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, Read, Write, pipe};

    use super::*;

    /// A destination like stderr, and its reader.
    fn stream() -> (Lines, PipeReader) {
        let (reader, writer) = pipe().unwrap();
        (Lines::start("t", Output::duplicate(writer).unwrap(), BUFFER, |_, _| {}).unwrap(), reader)
    }

    #[test]
    fn what_a_panic_says_is_written_before_the_thread_goes_on() {
        let (lines, mut reader) = stream();
        let sender = lines.sender();
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().name() == Some("unlucky") {
                say_panic(&sender, panic);
            } else {
                others(panic);
            }
        }));
        let unlucky = std::thread::Builder::new().name("unlucky".into()).spawn(|| panic!("the reason")).unwrap();
        assert!(unlucky.join().is_err());
        let mut said = [0; 4096];
        let count = reader.read(&mut said).unwrap();
        let said = String::from_utf8_lossy(&said[..count]);
        assert!(said.starts_with("thread 'unlucky' panicked at src/telemetry/logging.rs:"), "{said}");
        assert!(said.contains("the reason\n"), "{said}");
    }

    #[test]
    fn a_full_pipe_stops_neither_who_logs_nor_the_end() {
        let (lines, mut reader) = stream();
        let mut log = LogWriter(lines.sender());
        let line = [&[b'x'; 999][..], b"\n"].concat();
        for _ in 0..2000 {
            log.write_all(&line).unwrap();
        }
        let lost = lines.health().lost();
        // What the pipe holds, what was taken to be written to it, and what waits: 64 KiB and 1 MiB.
        assert!((800..1000).contains(&lost), "{lost} lines lost");
        assert!(!lines.close(Duration::from_millis(200)), "the end is not waited for");
        drop((log, lines));
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert!(text.lines().all(|line| line.len() == 999), "every line is whole");
        assert_eq!(text.lines().count() as u64 + lost, 2000);
    }
}
