//! One step of many buckets at once, which the server of a store carries out between those of other replicas.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use redis::{Cmd, Value, cmd};

use super::uses::Use;

/// How the server is told which script to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// By its digest, which is enough once it has run.
    ByDigest,
    /// As it is.
    InFull,
}

/// Asks to add these uses to their buckets; `key` makes the key of a bucket from its name in the store.
pub(super) fn question(named: Named, key: impl Fn(&str) -> String, uses: &[Use]) -> Cmd {
    let mut question = match named {
        Named::ByDigest => cmd("EVALSHA"),
        Named::InFull => cmd("EVAL"),
    };
    question.arg(match named {
        Named::ByDigest => &**DIGEST,
        Named::InFull => SCRIPT,
    });
    question.arg(uses.len());
    for of_key in uses {
        question.arg(key(&format!("r:{}", BASE64URL_NOPAD.encode(&of_key.name))));
    }
    for of_key in uses {
        question.arg(micros(of_key.time)).arg(of_key.pace.most / MICRO);
    }
    question
}

/// How long each bucket takes until it is full, in nanoseconds; `None` if that is not what the server says.
pub(super) fn read(answer: &Value, uses: &[Use]) -> Option<Vec<u64>> {
    let Value::Array(answers) = answer else { return None };
    let within = |(answer, of_key): (&Value, &Use)| {
        let Value::Int(time) = answer else { return None };
        u64::try_from(*time)
            .ok()
            .filter(|time| *time <= of_key.pace.most / MICRO)
            .map(|time| time.saturating_mul(MICRO))
    };
    if answers.len() != uses.len() {
        return None;
    }
    answers.iter().zip(uses).map(within).collect()
}

/// Rounded to the nearest.
const fn micros(nanos: i64) -> i64 {
    nanos.saturating_add(MICRO as i64 / 2).div_euclid(MICRO as i64)
}

const SCRIPT: &str = include_str!("bucket.lua");

/// What the server calls the script.
static DIGEST: LazyLock<String> =
    LazyLock::new(|| HEXLOWER.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, SCRIPT.as_bytes()).as_ref()));

/// In nanoseconds.
const MICRO: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rate_limits::table::Pace;

    fn used(requests: i64) -> Use {
        let pace = Pace { interval: 333_333_333, burst: 1_000_000_000, most: 5_000_000_000 };
        Use { name: [7; 16], pace, time: requests * 333_333_333 }
    }

    #[test]
    fn a_question_has_a_key_and_two_numbers_for_each_bucket() {
        let text = |question: Cmd| String::from_utf8(question.get_packed_command()).unwrap();
        let asked = text(question(Named::ByDigest, |name| format!("fapi:{name}"), &[used(1), used(-3)]));
        let words: Vec<&str> = asked.split("\r\n").filter(|line| !line.starts_with(['*', '$'])).collect();
        let key = "fapi:r:BwcHBwcHBwcHBwcHBwcHBw";
        assert_eq!(words[0], "EVALSHA");
        assert_eq!(words[2..], ["2", key, key, "333333", "5000000", "-1000000", "5000000", ""]);
        assert!(
            text(question(Named::InFull, |name| format!("fapi:{name}"), &[used(1)])).contains("redis.call('TIME')")
        );
    }

    #[test]
    fn an_answer_has_one_number_within_bounds_for_each_bucket() {
        let read_of = |answers: &[Value]| read(&Value::Array(answers.to_vec()), &[used(1), used(1)]);
        let int = |number| Value::Int(number);
        assert_eq!(read_of(&[int(0), int(5_000_000)]), Some(vec![0, 5_000_000_000]), "control");
        for answers in [
            vec![],
            vec![int(1)],
            vec![int(1), int(1), int(1)],
            vec![int(-1), int(1)],
            vec![int(1), int(5_000_001)],
            vec![int(i64::MIN), int(i64::MAX)],
            vec![int(1), Value::Nil],
            vec![int(1), Value::Double(f64::NAN)],
            vec![int(1), Value::Double(1.0)],
            vec![int(1), Value::BulkString(b"1".to_vec())],
            vec![int(1), Value::Array(vec![int(1)])],
        ] {
            assert_eq!(read_of(&answers), None, "{answers:?}");
        }
        for answer in [Value::Nil, Value::Okay, int(1), Value::Set(vec![int(1), int(1)])] {
            assert_eq!(read(&answer, &[used(1), used(1)]), None, "{answer:?}");
        }
    }
}
