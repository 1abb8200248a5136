//! Panics that no test would see: a runtime catches those of its tasks, and the client only notices that its connection
//! was closed.

use std::panic;
use std::sync::{Mutex, Once};
use std::thread;

/// Starts recording panics on threads that are not the tests' own.
pub fn watch() {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let panic = info.to_string();
            if let Some(name) = thread::current().name().filter(|name| !is_the_tests(name)) {
                let mut noted = NOTED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                noted.push(format!("{name}: {panic}"));
            }
            if !panic.contains(PLANTED) {
                before(info);
            }
        }));
    });
}

/// The panics so far on any gateway's threads, except planted ones.
pub fn noted() -> Vec<String> {
    all().into_iter().filter(|panic| !panic.contains(PLANTED)).collect()
}

fn all() -> Vec<String> {
    NOTED.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
}

/// The harness names a thread after its test, or uses `main`; tokio names the threads of the tests' runtimes, and
/// threads that a test starts have no name. The gateway's threads have the names of its listeners, its services, its
/// audit, the connections that they serve, and the thread that it runs on.
fn is_the_tests(name: &str) -> bool {
    name.contains("::") || ["main", "tokio-rt-worker"].contains(&name)
}

static NOTED: Mutex<Vec<String>> = Mutex::new(Vec::new());

const PLANTED: &str = "planted by a test";

mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use fapi_gateway::clock::Clock;

    use super::*;
    use crate::support::client::Client;
    use crate::support::{ORIGIN, Running, Scene, World};

    /// A gateway whose clock panics when told to, on whichever thread reads the time.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_panic_of_a_gateways_task_is_noted_and_the_gateway_goes_on() {
        let world = World::start().await;
        let (broken, time) = (Arc::new(AtomicBool::new(false)), world.clock.clone());
        let breaks = broken.clone();
        let clock = Clock::from_fn(move || {
            assert!(!breaks.swap(false, Ordering::SeqCst), "{}", PLANTED);
            Duration::from_secs(time.now())
        });
        let scene = Scene::new(&world.authority, world.issuer.issuer(), world.accounts.address());
        let second = Running::start_by(scene, clock);
        second.ready().await;
        let client = Client::new(second.address(), &world.authority).origin(ORIGIN).certificate(&world.c1);
        assert_eq!(client.send(world.request()).await.unwrap().status(), 200, "control");
        assert!(!all().iter().any(|panic| panic.contains(PLANTED)), "control: {:?}", all());
        broken.store(true, Ordering::SeqCst);
        assert!(client.send(world.request()).await.is_err(), "the request that causes the panic gets no response");
        assert_eq!(client.send(world.request()).await.unwrap().status(), 200, "the next request is served");
        let noted: Vec<String> = all().into_iter().filter(|panic| panic.contains(PLANTED)).collect();
        assert!(noted.len() == 1 && noted[0].starts_with("connections-"), "{noted:?}");
    }
}
