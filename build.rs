//! Tells the program which commit it is built from: the variable `FAPI_GATEWAY_COMMIT` or, in a release build, the HEAD of
//! the repository. A debug build does not look, since it would have to be compiled again after each commit.

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=FAPI_GATEWAY_COMMIT");
    let named = std::env::var("FAPI_GATEWAY_COMMIT").ok().filter(|commit| !commit.is_empty());
    let release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit = named.or_else(|| if release { head(Path::new(".git")) } else { None });
    println!("cargo::rustc-env=FAPI_GATEWAY_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
}

/// The commit of HEAD, read from the files of the repository, so that git need not be installed.
pub(crate) fn head(git: &Path) -> Option<String> {
    let read = |name: &str| {
        let path = git.join(name);
        let text = std::fs::read_to_string(&path).ok()?;
        println!("cargo::rerun-if-changed={}", path.display());
        Some(text)
    };
    // Git adds to it at each commit and checkout, which may leave the other files as they are.
    let _ = read("logs/HEAD");
    let head = read("HEAD")?;
    let Some(branch) = head.trim().strip_prefix("ref: ") else { return Some(head.trim().to_owned()) };
    if let Some(commit) = read(branch) {
        return Some(commit.trim().to_owned());
    }
    let packed = read("packed-refs")?;
    let commit = packed.lines().find_map(|line| line.strip_suffix(branch)?.strip_suffix(' '))?;
    Some(commit.to_owned())
}
