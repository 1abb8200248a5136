//! One HTTP/2 stream: it ends a while after its response, even if its client never ends the request.
//!
//! Pingora would go on reading the body for as long as the connection lives.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

/// The exchange on an HTTP/2 stream.
#[derive(Debug, Default)]
pub struct Stream {
    answered: Notify,
}

tokio::task_local! {
    static CURRENT: Arc<Stream>;
}

impl Stream {
    /// The stream that the current task serves; `None` outside of [`serve`].
    pub fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Records that the response is complete.
    pub fn answered(&self) {
        self.answered.notify_one();
    }
}

/// Serves a stream, for at most `patience` after its response is complete; returns `None` if that was not enough.
///
/// What is dropped then resets the stream. RFC 9113 §8.1: a server that has sent a complete response "MAY request that the
/// client abort transmission of a request without error by sending a RST_STREAM with an error code of NO_ERROR".
pub async fn serve<F: Future>(exchange: F, patience: Duration) -> Option<F::Output> {
    let stream = Arc::new(Stream::default());
    let given_up = async {
        stream.answered.notified().await;
        tokio::time::sleep(patience).await;
    };
    tokio::select! {
        biased;
        outcome = CURRENT.scope(stream.clone(), exchange) => Some(outcome),
        () = given_up => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_a_while_after_its_response() {
        let patience = Duration::from_secs(5);
        let exchange = |answered: bool, takes: u64| async move {
            if answered {
                Stream::current().unwrap().answered();
            }
            tokio::time::sleep(Duration::from_secs(takes)).await;
            takes
        };
        assert_eq!(serve(exchange(true, 6), patience).await, None);
        assert_eq!(serve(exchange(true, 4), patience).await, Some(4), "control: in time");
        assert_eq!(serve(exchange(false, 600), patience).await, Some(600), "control: not answered yet");
        assert!(Stream::current().is_none());
    }
}
