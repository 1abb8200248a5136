//! The limits of routes with a clock that the test moves; tests/line/rate_limits.rs has them over sockets.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::*;

/// A clock that stands still until it is moved, in nanoseconds.
#[derive(Clone, Default)]
struct Time(Arc<AtomicU64>);

impl Time {
    fn clock(&self) -> Clock {
        let time = self.0.clone();
        Clock::from_fn(|| Duration::ZERO).with_monotonic(move || Duration::from_nanos(time.load(Ordering::SeqCst)))
    }

    fn set(&self, time: Duration) {
        self.0.store(time.as_nanos().try_into().unwrap(), Ordering::SeqCst);
    }
}

fn limit(by: By, requests: u32, per: Unit, burst: u32) -> Limit {
    let number = |number| NonZeroU32::new(number).unwrap();
    Limit { by, rate: Rate { requests: number(requests), per }, burst: number(burst) }
}

fn settings(limits: &[Limit]) -> Settings {
    Settings { max_keys: 1000, routes: vec![("r".into(), limits.to_vec())] }
}

fn limits_after(before: Option<&RateLimits>, settings: &Settings, time: &Time) -> RateLimits {
    let refused = |_: &str, _: By| IntCounter::new("refused", "refused").unwrap();
    RateLimits::new(settings, before, None, &time.clock(), refused).expect("a route has limits")
}

/// What becomes of a request from an address: what it is told is left, or in how many seconds the next may come.
fn from(limits: &RateLimits, address: Option<&str>) -> Result<String, u64> {
    let mut fields = None;
    let address = address.map(|address| address.parse::<IpAddr>().unwrap());
    let route = limits.of_route("r").unwrap();
    match route.take_by_address(address, &mut fields) {
        Ok(()) => Ok(field(&fields, "ratelimit")),
        Err(limited) => Err(limited.retry_after),
    }
}

fn field(fields: &Option<Box<RateLimitFields>>, name: &str) -> String {
    let mut fields = fields.iter().flat_map(|fields| fields.fields());
    fields.find(|(found, _)| found == name).map_or_else(String::new, |(_, value)| value.to_str().unwrap().to_owned())
}

#[test]
fn an_ipv6_customer_has_one_limit_whatever_address_it_takes() {
    let time = Time::default();
    let limits = limits_after(None, &settings(&[limit(By::Address, 1, Unit::Second, 2)]), &time);
    assert!(from(&limits, Some("2001:db8:0:1::1")).is_ok());
    assert!(from(&limits, Some("2001:db8:0:1:ffff::2")).is_ok());
    assert_eq!(from(&limits, Some("2001:db8:0:1:1:2:3:4")), Err(1));
    assert!(from(&limits, Some("2001:db8:0:2::1")).is_ok(), "control: another customer");
    assert!(from(&limits, Some("192.0.2.1")).is_ok());
    assert!(from(&limits, Some("::ffff:192.0.2.1")).is_ok());
    assert_eq!(from(&limits, Some("192.0.2.1")), Err(1), "one address in two spellings");
    // Those that hide behind somebody count as one.
    assert_eq!([0; 3].map(|_| from(&limits, None).is_ok()), [true, true, false]);
}

#[test]
fn a_client_is_told_to_wait_until_its_next_request_can_pass() {
    let time = Time::default();
    for (rate, unit, wait) in [(3, Unit::Second, 1), (1, Unit::Minute, 60), (1, Unit::Hour, 3600), (7, Unit::Minute, 9)]
    {
        time.set(Duration::from_secs(1_800_000_000));
        let limits = limits_after(None, &settings(&[limit(By::Address, rate, unit, 1)]), &time);
        assert!(from(&limits, Some("192.0.2.1")).is_ok());
        assert_eq!(from(&limits, Some("192.0.2.1")), Err(wait), "{rate} {unit:?}");
        if wait > 1 {
            time.set(Duration::from_secs(1_800_000_000 + wait - 1) - Duration::from_nanos(wait));
            assert!(from(&limits, Some("192.0.2.1")).is_err_and(|wait| wait <= 2), "{rate} {unit:?}");
        }
        time.set(Duration::from_secs(1_800_000_000 + wait));
        assert!(from(&limits, Some("192.0.2.1")).is_ok(), "{rate} {unit:?}");
    }
}

#[test]
fn clients_are_told_of_a_limit_that_they_can_keep() {
    let told = |limit: Limit| {
        let (policy, left) = (limit.policy(), [limit.left(limit.burst.get().into()), limit.left(1), limit.left(0)]);
        (policy.quota, policy.window, left.map(|left| (left.available, left.window)))
    };
    assert_eq!(told(limit(By::Client, 50, Unit::Second, 100)), (100, 2, [(100, 2), (1, 1), (0, 1)]));
    assert_eq!(told(limit(By::Client, 50, Unit::Second, 1)), (50, 1, [(1, 1), (1, 1), (0, 1)]));
    assert_eq!(told(limit(By::Client, 600, Unit::Minute, 600)), (600, 60, [(600, 60), (1, 1), (0, 1)]));
    assert_eq!(told(limit(By::Client, 10, Unit::Hour, 15)), (15, 5400, [(15, 5400), (1, 360), (0, 360)]));
    assert_eq!(told(limit(By::Client, 3, Unit::Second, 10)), (10, 4, [(10, 4), (1, 1), (0, 1)]));
    let most = told(limit(By::Client, 1_000_000, Unit::Second, 1_000_000));
    assert_eq!(most, (1_000_000, 1, [(1_000_000, 1), (1, 1), (0, 1)]));
    assert_eq!(limit(By::Client, 600, Unit::Minute, 50).to_string(), "600/min, burst 50");
}

#[test]
fn what_one_limit_refuses_counts_for_no_other() {
    let time = Time::default();
    let all =
        [limit(By::Issuer, 1, Unit::Hour, 3), limit(By::Client, 1, Unit::Hour, 2), limit(By::Sender, 1, Unit::Hour, 9)];
    let limits = limits_after(None, &settings(&all), &time);
    let route = limits.of_route("r").unwrap();
    let ask = |client: &'static str, sender: u8| {
        let mut fields = None;
        let key = |by| match by {
            By::Address => unreachable!("no limit is by address"),
            By::Sender => Key::Sender(Holder::Key([sender; 32])),
            By::Client => Key::Client("bank", Some(client)),
            By::Issuer => Key::Issuer("bank"),
        };
        let refused_by = route.take(&route.by_token, key, &mut fields).err().map(|limited| limited.by);
        (refused_by, field(&fields, "ratelimit"))
    };
    let left = |sender: u64, client: u64, issuer: u64| {
        let window = |left: u64| left.max(1) * 3600;
        format!(
            "\"sender\";r={sender};t={}, \"client\";r={client};t={}, \"issuer\";r={issuer};t={}",
            window(sender),
            window(client),
            window(issuer)
        )
    };
    assert_eq!(ask("a", 1), (None, left(8, 1, 2)));
    assert_eq!(ask("a", 1), (None, left(7, 0, 1)));
    for _ in 0..5 {
        let (refused_by, told) = ask("a", 1);
        assert_eq!(refused_by, Some(By::Client));
        assert!(told.ends_with(", \"client\";r=0;t=3600"), "{told}");
    }
    // The sender has what it had, and so has the issuer.
    assert_eq!(ask("b", 1), (None, left(6, 1, 0)));
    for _ in 0..5 {
        assert_eq!(ask("b", 1).0, Some(By::Issuer));
    }
    time.set(Duration::from_secs(3600));
    assert_eq!(ask("b", 1), (None, left(6, 1, 0)));
}

#[test]
fn clients_of_two_issuers_and_two_routes_share_nothing() {
    let time = Time::default();
    let one = vec![limit(By::Client, 1, Unit::Hour, 1)];
    let settings = Settings { max_keys: 1000, routes: vec![("r".into(), one.clone()), ("s".into(), one)] };
    let limits = limits_after(None, &settings, &time);
    let ask = |route: &str, issuer: &'static str, client: Option<&'static str>| {
        let route = limits.of_route(route).unwrap();
        route.take(&route.by_token, |_| Key::Client(issuer, client), &mut None).is_ok()
    };
    assert!(ask("r", "bank", Some("a")));
    assert!(!ask("r", "bank", Some("a")));
    assert!(ask("s", "bank", Some("a")) && ask("r", "wallet", Some("a")) && ask("r", "bank", Some("b")));
    assert!(ask("r", "bank", None) && !ask("r", "bank", None), "tokens that name no client share one limit");
    assert!(limits.of_route("another").is_none());
}

#[test]
fn a_reload_keeps_what_was_used_of_limits_that_stay_the_same() {
    let time = Time::default();
    let same = settings(&[limit(By::Address, 1, Unit::Hour, 1)]);
    let before = limits_after(None, &same, &time);
    assert!(from(&before, Some("192.0.2.1")).is_ok());
    assert!(from(&limits_after(Some(&before), &same, &time), Some("192.0.2.1")).is_err());
    let more = settings(&[limit(By::Address, 1, Unit::Hour, 2), limit(By::Client, 1, Unit::Hour, 1)]);
    let changed = limits_after(Some(&before), &more, &time);
    assert!(from(&changed, Some("192.0.2.1")).is_ok(), "another limit begins anew");
    let back = limits_after(Some(&changed), &same, &time);
    assert!(from(&back, Some("192.0.2.1")).is_err(), "one that comes back in time is the same");
    let resized = Settings { max_keys: 2000, ..same };
    assert!(from(&limits_after(Some(&before), &resized, &time), Some("192.0.2.1")).is_ok());
    let nobody = Settings { max_keys: 1000, routes: Vec::new() };
    let refused = |_: &str, _: By| IntCounter::new("refused", "refused").unwrap();
    assert!(RateLimits::new(&nobody, Some(&before), None, &time.clock(), refused).is_none());
}
