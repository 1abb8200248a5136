//! What was refused since the start and in the last hour: requests by code, handshakes by reason, connections by limit.

use std::collections::BTreeMap;

use fapi::code::Code;
use maud::{Markup, html};
use serde_json::Value;

use super::decisions::members;
use super::{COUNTS, Cut, prose, section, table};
use crate::admin::Admin;
use crate::generation::Generation;
use crate::telemetry::history::{MINUTES, Refused};

/// Counts by reason.
struct Counts<'c> {
    now: &'c BTreeMap<String, u64>,
    /// Some minutes ago.
    minutes: &'c BTreeMap<String, u64>,
    /// An hour ago, or at the start.
    hour: &'c BTreeMap<String, u64>,
}

impl Counts<'_> {
    /// Each reason, the most frequent first, with its count in the last minutes, in the last hour and since the start.
    fn rows(&self) -> Vec<(&str, [u64; 3])> {
        let mut rows = Vec::new();
        for (name, count) in self.now {
            let since =
                |before: &BTreeMap<String, u64>| count.saturating_sub(before.get(name).copied().unwrap_or_default());
            rows.push((name.as_str(), [since(self.minutes), since(self.hour), *count]));
        }
        rows.sort_by_key(|(_, counts)| std::cmp::Reverse(*counts));
        rows
    }
}

impl Admin {
    /// Requests by code, and what happened before there was a request.
    pub(super) fn refusal_section(&self, generation: &Generation, lines: &[Value]) -> Markup {
        let (now, minutes) = (self.metrics.refused(), self.metrics.history.minutes());
        let none = Refused::default();
        let hour = minutes.first().unwrap_or(&none);
        let few = minutes.get(minutes.len().saturating_sub(FEW)).unwrap_or(&none);
        let of = |counts: fn(&Refused) -> &BTreeMap<String, u64>| Counts {
            now: counts(&now),
            minutes: counts(few),
            hour: counts(hour),
        };
        let requests = of(|refused| &refused.requests);
        let requests = Cut::of(requests.rows()).map(|(code, counts)| row(code, Some(meaning(code)), counts));
        let handshakes = of(|refused| &refused.handshakes);
        let handshakes = Cut::of(handshakes.rows()).map(|(reason, counts)| row(reason, None, counts));
        let connections = of(|refused| &refused.connections);
        let connections = Cut::of(connections.rows()).map(|(limit, counts)| row(limit, None, counts));
        let refusals = html! {
            (chart(&minutes, &now))
            (table("Requests that were refused or failed, by code", &["Code", "Meaning", COUNTS[0], COUNTS[1], COUNTS[2]], &requests))
            p.note { "All codes: " code { "docs/reference/codes.md" } }
        };
        let headings = ["Reason", COUNTS[0], COUNTS[1], COUNTS[2]];
        let handshakes = html! {
            (table("TLS handshakes that failed, by reason", &headings, &handshakes))
            (table("Connections that a limit refused, by limit", &headings, &connections))
            (last_handshakes(generation, lines))
            p.note { "What each reason means: " code { "docs/operate/audit.md" } ", limits: " code { "docs/operate/overload.md" } }
        };
        html! {
            (section("refusals", &refusals))
            (section("handshakes", &handshakes))
        }
    }
}

/// The lines of the audit that are about handshakes, as long as decisions are kept.
fn last_handshakes(generation: &Generation, lines: &[Value]) -> Markup {
    if generation.decisions == 0 {
        return html! {};
    }
    let last = Cut::to(LAST, lines.iter().filter(|line| line["event"] == "handshake"));
    html! {
        h3 { "The last that failed" }
        @if last.all == 0 { p { "None is kept." } }
        ol.lines {
            @for line in &last.shown {
                li {
                    details {
                        summary {
                            span.when { (text(line, "time")) } " " code { (text(line, "reason")) } " "
                            span { (text(line, "client_address")) } " " span { (text(line, "server_name")) }
                        }
                        (members(line))
                    }
                }
            }
        }
        (last.note())
    }
}

fn row(name: &str, meaning: Option<Markup>, counts: [u64; 3]) -> Vec<Markup> {
    let mut row = vec![html! { code { (name) } }];
    row.extend(meaning);
    row.extend(counts.map(|count| html! { (count) }));
    row
}

/// What a code means, by the table of codes.
pub(super) fn meaning(code: &str) -> Markup {
    let known = Code::ALL.iter().find(|known| known.as_str() == code);
    known.map_or_else(|| html! {}, |code| prose(code.meaning()))
}

/// A member that is text, or nothing.
fn text<'l>(line: &'l Value, member: &str) -> &'l str {
    line[member].as_str().unwrap_or_default()
}

/// A bar for each minute of the last hour, of which the part below is that of the clients.
fn chart(minutes: &[Refused], now: &Refused) -> Markup {
    let ends = minutes.iter().skip(1).chain([now]);
    let bars: Vec<[u64; 2]> = minutes.iter().zip(ends).map(|(begin, end)| by_fault(begin, end)).collect();
    let all = |[theirs, ours]: &[u64; 2]| theirs.saturating_add(*ours);
    let most = bars.iter().map(all).max().unwrap_or_default();
    let sum = bars.iter().map(all).fold(0, u64::saturating_add);
    let heights = |[theirs, ours]: &[u64; 2]| [height(*theirs, most), height(*ours, most)];
    // The last minute is at the right edge.
    let first = (MINUTES + 1).saturating_sub(bars.len());
    html! {
        figure {
            svg role="img" viewBox={ "0 0 " ((MINUTES + 1) * WIDTH) " " (HEIGHT) } preserveAspectRatio="none" aria-labelledby="chart" {
                @for (place, bar) in bars.iter().enumerate() {
                    @let ([theirs, ours], left) = (heights(bar), (first + place) * WIDTH);
                    rect.theirs x=(left) y=(HEIGHT - theirs) width=(WIDTH - 1) height=(theirs) {}
                    rect.ours x=(left) y=(HEIGHT.saturating_sub(theirs + ours)) width=(WIDTH - 1) height=(ours) {}
                }
            }
            figcaption id="chart" {
                "Refusals in each minute of the last hour: " (sum) " in all, at most " (most) " in one. "
                span.theirs { "■" } " errors of clients, " span.ours { "■" } " faults of the gateway, an issuer or an upstream."
            }
        }
    }
}

/// How many refusals between two moments were the clients' fault, and how many were not.
fn by_fault(begin: &Refused, end: &Refused) -> [u64; 2] {
    let mut sums = [0_u64; 2];
    for code in Code::ALL {
        let count = |refused: &Refused| refused.requests.get(code.as_str()).copied().unwrap_or_default();
        let [theirs, ours] = &mut sums;
        let sum = if code.status().is_server_error() { ours } else { theirs };
        *sum = sum.saturating_add(count(end).saturating_sub(count(begin)));
    }
    sums
}

/// The height of a part of a bar: at least 1 for what is there, however small its part is.
fn height(count: u64, most: u64) -> usize {
    let part = count.saturating_mul(HEIGHT as u64 - 1).checked_div(most).unwrap_or_default();
    usize::try_from(part).unwrap_or(HEIGHT).max(usize::from(count > 0))
}

/// How many minutes "the last minutes" are.
const FEW: usize = 5;

/// How many failed handshakes are shown.
const LAST: usize = 10;

/// The size of the chart, in units of its own.
const HEIGHT: usize = 60;
const WIDTH: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(counts: &[(&str, u64)]) -> Refused {
        let requests = counts.iter().map(|(code, count)| ((*code).to_owned(), *count)).collect();
        Refused { requests, ..Refused::default() }
    }

    #[test]
    fn counts_are_those_of_the_last_minutes_of_the_hour_and_since_the_start() {
        let (hour, minutes) = (refused(&[("token_expired", 2)]), refused(&[("token_expired", 5)]));
        let now = refused(&[("token_expired", 9), ("dpop_stale", 1)]);
        let counts = Counts { now: &now.requests, minutes: &minutes.requests, hour: &hour.requests };
        assert_eq!(counts.rows(), [("token_expired", [4, 7, 9]), ("dpop_stale", [1, 1, 1])]);
    }

    #[test]
    fn faults_of_clients_and_others_are_told_apart() {
        let begin = refused(&[("token_expired", 2)]);
        let end = refused(&[("token_expired", 5), ("upstream_timeout", 1)]);
        assert_eq!(by_fault(&begin, &end), [3, 1]);
        assert_eq!(by_fault(&end, &end), [0, 0]);
    }

    #[test]
    fn what_is_there_can_be_seen() {
        assert_eq!([height(0, 0), height(0, 9), height(9, 9)], [0, 0, HEIGHT - 1]);
        assert_eq!(height(1, u64::MAX), 1);
    }

    #[test]
    fn the_last_minute_is_at_the_right_edge() {
        let chart = chart(&[refused(&[])], &refused(&[("token_expired", 3)])).into_string();
        assert!(chart.contains(&format!("x=\"{}\"", MINUTES * WIDTH)), "{chart}");
        assert!(chart.contains("of the last hour: 3 in all, at most 3 in one"), "{chart}");
    }
}
