//! Records one exchange: its own span, and those of the work that it waits for.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fapi::code::Code;
use fapi::headers::{SpanId, TraceContext, TraceId};

use super::fresh_id;
use super::names::{CODE, ERROR_TYPE};
use super::queue::Queue;
use super::span::{Kind, Record, Span, Value};
use crate::clock::Moment;

/// Records one exchange.
pub struct Recorder {
    trace: TraceId,
    /// The client's span.
    parent: Option<SpanId>,
    span: SpanId,
    began: Moment,
    began_at: Duration,
    children: Mutex<Vec<Span>>,
    queue: Arc<Queue>,
}

tokio::task_local! {
    /// That of the exchange which the current task serves.
    static CURRENT: Arc<Recorder>;
}

impl Recorder {
    pub(super) fn new(trace: &TraceContext, began: Moment, began_at: Duration, queue: Arc<Queue>) -> Self {
        let (parent, children) = (trace.parent(), Mutex::new(Vec::with_capacity(USUAL)));
        Self { trace: trace.id(), parent, span: fresh_id(), began, began_at, children, queue }
    }

    /// Has [`child`] record into this while `work` is polled.
    pub async fn watch<F: Future>(self: Arc<Self>, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }

    /// Ends the exchange, and sends all of its spans.
    pub fn end(&self, name: Cow<'static, str>, attributes: Vec<(&'static str, Value)>, failed: bool) {
        let mut spans = std::mem::take(&mut *self.children());
        spans.push(Span {
            id: self.span,
            parent: self.parent,
            parent_is_remote: self.parent.is_some(),
            name,
            kind: Kind::Server,
            began: self.began_at,
            ended: self.now(),
            attributes,
            failed,
        });
        self.queue.send(Record { trace: self.trace, spans });
    }

    /// The time since 1970, measured from the beginning of the exchange: setting the clock moves no span against another.
    fn now(&self) -> Duration {
        self.began_at.saturating_add(self.began.elapsed())
    }

    fn children(&self) -> MutexGuard<'_, Vec<Span>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part of an exchange that is recorded; it ends when it is dropped. Nothing at all if the exchange is not recorded.
#[derive(Default)]
#[must_use = "it ends when it is dropped"]
pub struct Child(Option<Box<Open>>);

struct Open {
    recorder: Arc<Recorder>,
    span: Span,
}

/// Begins a part of the exchange that the current task serves.
pub fn child(name: &'static str, kind: Kind) -> Child {
    CURRENT.try_with(|recorder| Child::of(recorder, name.into(), kind)).unwrap_or_default()
}

impl Child {
    /// Begins a part of this exchange.
    pub fn of(recorder: &Arc<Recorder>, name: Cow<'static, str>, kind: Kind) -> Self {
        let now = recorder.now();
        let span = Span {
            id: fresh_id(),
            parent: Some(recorder.span),
            parent_is_remote: false,
            name,
            kind,
            began: now,
            ended: now,
            attributes: Vec::with_capacity(USUAL),
            failed: false,
        };
        Self(Some(Box::new(Open { recorder: recorder.clone(), span })))
    }

    /// Its id, if it is recorded.
    pub fn id(&self) -> Option<SpanId> {
        self.0.as_ref().map(|open| open.span.id)
    }

    /// Adds an attribute that it does not have yet; the value is made only if it is recorded.
    pub fn set<V: Into<Value>>(&mut self, name: &'static str, value: impl FnOnce() -> V) {
        if let Some(open) = &mut self.0 {
            open.span.attributes.push((name, value().into()));
        }
    }

    /// Marks it as failed for the first time; what that is called is made only if it is recorded.
    pub fn fail<V: Into<Value>>(&mut self, kind: impl FnOnce() -> V) {
        if let Some(open) = self.0.as_mut().filter(|open| !open.span.failed) {
            open.span.failed = true;
            open.span.attributes.push((ERROR_TYPE, kind().into()));
        }
    }

    /// Notes with which code the request was refused because of it. That is a failure unless the client is at fault.
    pub fn refused(&mut self, code: Code) {
        if code.status().is_server_error() {
            self.fail(|| code.as_str());
        } else {
            self.set(CODE, || code.as_str());
        }
    }

    /// Ends it now.
    pub fn end(&mut self) {
        if let Some(Open { recorder, mut span }) = self.0.take().map(|open| *open) {
            span.ended = recorder.now();
            let mut children = recorder.children();
            if children.len() < MOST {
                children.push(span);
            }
        }
    }

    /// Forgets it: nothing had to be done.
    pub fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.end();
    }
}

/// How many spans an exchange has, and attributes a span, for which room is made at once.
const USUAL: usize = 8;
/// How many parts of an exchange are recorded: more than it can have, unless something is wrong.
const MOST: usize = 32;

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::trace) fn span(name: &'static str) -> Span {
        Span {
            id: fresh_id(),
            parent: None,
            parent_is_remote: false,
            name: name.into(),
            kind: Kind::Internal,
            began: Duration::ZERO,
            ended: Duration::ZERO,
            attributes: Vec::new(),
            failed: false,
        }
    }

    fn recorder() -> (Arc<Recorder>, Arc<Queue>) {
        let queue = Arc::new(Queue::new(Arc::new(())));
        let trace = TraceContext::start([7; 24]);
        (Arc::new(Recorder::new(&trace, Moment::now(), Duration::from_secs(1_800_000_000), queue.clone())), queue)
    }

    fn ended(recorder: &Recorder, queue: &Queue) -> Record {
        recorder.end("all".into(), vec![("a", Value::Number(1))], false);
        queue.take().pop().unwrap()
    }

    #[tokio::test]
    async fn what_the_task_of_an_exchange_does_is_a_part_of_it() {
        let (recorder, queue) = recorder();
        recorder
            .clone()
            .watch(async {
                let mut first = child("first", Kind::Client);
                first.set("n", || 7_usize);
                first.fail(|| "broken");
                first.fail(|| "again");
                tokio::task::yield_now().await;
                drop(first);
                child("nothing", Kind::Internal).forget();
                child("last", Kind::Internal).refused(Code::TokenExpired);
                child("end", Kind::Internal).refused(Code::ReplayLogUnavailable);
            })
            .await;
        let Record { trace, spans } = ended(&recorder, &queue);
        assert_eq!(trace.as_bytes(), &[7; 16]);
        let [first, last, end, all] = spans.as_slice() else { panic!("{spans:?}") };
        assert_eq!((&*first.name, &*last.name, &*all.name), ("first", "last", "all"));
        assert_eq!((last.failed, &last.attributes[0]), (false, &(CODE, Value::Word("token_expired"))));
        assert_eq!((end.failed, &end.attributes[0]), (true, &(ERROR_TYPE, Value::Word("replay_log_unavailable"))));
        assert_eq!((first.parent, last.parent, all.parent), (Some(all.id), Some(all.id), None));
        assert_eq!(first.attributes, [("n", Value::Number(7)), (ERROR_TYPE, Value::Word("broken"))]);
        assert!(first.failed && !last.failed && first.kind == Kind::Client && all.kind == Kind::Server);
        assert!(all.began <= first.began && first.ended <= last.began && last.ended <= all.ended);
    }

    #[tokio::test]
    async fn a_task_that_serves_no_recorded_exchange_records_nothing() {
        let (recorder, queue) = recorder();
        let mut nothing = child("first", Kind::Client);
        nothing.set("n", || -> &'static str { panic!("not needed") });
        assert_eq!(nothing.id(), None);
        drop(nothing);
        let other = tokio::spawn(async { child("other", Kind::Client).id() });
        let inside = recorder.clone().watch(async { (child("a", Kind::Client).id(), other.await.unwrap()) }).await;
        assert!(inside.0.is_some() && inside.1.is_none(), "{inside:?}");
        assert_eq!(ended(&recorder, &queue).spans.len(), 2);
    }

    #[test]
    fn no_exchange_has_more_than_a_number_of_parts() {
        let (recorder, queue) = recorder();
        (0..3 * MOST).for_each(|_| drop(Child::of(&recorder, "a".into(), Kind::Internal)));
        assert_eq!(ended(&recorder, &queue).spans.len(), MOST + 1);
    }
}
