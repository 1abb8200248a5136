//! What is in `deploy/`: manifests and chart as kubectl and Helm render them, the image, the packages, and the example at work. No
//! cluster is needed. `.ci/run` checks each rendered object against the schema of its kind.

mod chart;
mod custom;
mod example;
mod image;
mod kustomize;
mod package;
mod pods;
mod redis;
mod rendered;

use std::fs;
use std::path::{Path, PathBuf};

use serde_yaml::Value;

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_yaml::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The value at a path such as `spec/ports/0/port`.
fn find<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('/').try_fold(value, |value, step| match step.parse::<usize>() {
        Ok(index) => value.get(index),
        Err(_) => value.get(step),
    })
}

#[track_caller]
fn at<'v>(value: &'v Value, path: &str) -> &'v Value {
    find(value, path).unwrap_or_else(|| panic!("{path} is missing in {value:?}"))
}

#[track_caller]
fn text<'v>(value: &'v Value, path: &str) -> &'v str {
    at(value, path).as_str().unwrap_or_else(|| panic!("{path} is not a string"))
}

#[track_caller]
fn number(value: &Value, path: &str) -> u64 {
    at(value, path).as_u64().unwrap_or_else(|| panic!("{path} is not a whole number"))
}

#[track_caller]
fn flag(value: &Value, path: &str) -> bool {
    at(value, path).as_bool().unwrap_or_else(|| panic!("{path} is neither true nor false"))
}

#[track_caller]
fn list<'v>(value: &'v Value, path: &str) -> &'v Vec<Value> {
    at(value, path).as_sequence().unwrap_or_else(|| panic!("{path} is not a list"))
}

/// The items of a list that may be missing.
fn items<'v>(value: &'v Value, path: &str) -> &'v [Value] {
    find(value, path).and_then(Value::as_sequence).map_or(&[], Vec::as_slice)
}

#[track_caller]
fn strings(value: &Value, path: &str) -> Vec<String> {
    list(value, path)
        .iter()
        .map(|item| item.as_str().unwrap_or_else(|| panic!("{path}: {item:?}")).to_owned())
        .collect()
}

#[track_caller]
fn named(value: &Value, path: &str, name: &str) -> Value {
    let found = items(value, path).iter().find(|item| text(item, "name") == name);
    found.unwrap_or_else(|| panic!("{path} has no {name}")).clone()
}
