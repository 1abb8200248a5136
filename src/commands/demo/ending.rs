//! What ends the demo from outside: a signal, or a reader that goes away.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end the demo, which do nothing else from now on.
pub(super) struct Signals([Signal; 3]);

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self([signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?]))
    }

    /// Waits for one of them.
    pub(super) async fn come(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// Waits until nobody reads standard output any more; forever if it is a file.
pub(super) async fn unread() {
    let (sender, gone) = tokio::sync::oneshot::channel();
    // In a thread of its own, which waits as long as the process lives.
    std::thread::spawn(move || {
        let stdout = std::io::stdout();
        let mut reader = [PollFd::new(&stdout, PollFlags::empty())];
        loop {
            match poll(&mut reader, -1) {
                Err(Errno::INTR) => {}
                Ok(1..) => return sender.send(()),
                Ok(0) | Err(_) => return Ok(()),
            }
        }
    });
    if gone.await.is_err() {
        std::future::pending::<()>().await;
    }
}
