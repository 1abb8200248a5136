//! Every link in a page leads to a file, and to a heading where it names one; docs/index.md links to every page.

use std::collections::{BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};

use super::{page, pages, root};

#[test]
fn every_link_leads_somewhere() {
    let broken: Vec<String> = pages()
        .iter()
        .flat_map(|name| {
            let text = page(name);
            let broken = broken_links(name, &text);
            broken.into_iter().map(|link| format!("{name}: {link}")).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(broken, Vec::<String>::new());
    // control
    let text = "# A title\n[a](#a-title) [b](docs/index.md) [c](docs/index.md#begin) `[d](nowhere)`\n```sh\n[e](nowhere)\n```\n";
    assert_eq!(broken_links("README.md", text), Vec::<String>::new());
    let text = "# A title\n[a](#another) [b](nowhere.md) [c](docs/index.md#nowhere) [d](http://plain.example/)\n";
    assert_eq!(broken_links("README.md", text).len(), 4);
}

#[test]
fn every_page_is_in_the_index() {
    let index = page("docs/index.md");
    let linked: BTreeSet<PathBuf> = links(&index)
        .iter()
        .filter(|link| !link.contains("://"))
        .map(|link| resolved("docs/index.md", link.split('#').next().unwrap_or_default()))
        .collect();
    for name in pages().iter().filter(|name| name.starts_with("docs/") && *name != "docs/index.md") {
        assert!(linked.contains(Path::new(name)), "docs/index.md does not link to {name}");
    }
}

fn broken_links(name: &str, text: &str) -> Vec<String> {
    let leads_somewhere = |link: &String| {
        if let Some((scheme, _)) = link.split_once("://") {
            return scheme == "https";
        }
        let (path, anchor) = link.split_once('#').map_or((link.as_str(), None), |(path, anchor)| (path, Some(anchor)));
        let target = if path.is_empty() { PathBuf::from(name) } else { resolved(name, path) };
        let Some(anchor) = anchor else { return root().join(target).exists() };
        let there =
            if path.is_empty() { Some(text.to_owned()) } else { std::fs::read_to_string(root().join(target)).ok() };
        there.is_some_and(|there| anchors(&there).contains(anchor))
    };
    links(text).into_iter().filter(|link| !leads_somewhere(link)).collect()
}

/// The targets of all links outside code.
fn links(text: &str) -> Vec<String> {
    prose(text)
        .iter()
        .flat_map(|line| {
            // Text between backquotes is code.
            let plain: String = line.split('`').step_by(2).collect::<Vec<_>>().join("code");
            let targets = plain.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            targets.map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

/// The path of a link target in a page, relative to the root of the repository.
fn resolved(name: &str, path: &str) -> PathBuf {
    let mut whole = PathBuf::from(name);
    whole.pop();
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir => {
                whole.pop();
            }
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => whole.push(part),
        }
    }
    whole
}

/// The anchors that Markdown renderers give to headings: in lower case, without punctuation, with `-` for spaces, and
/// numbered when they repeat.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let headings = prose(text);
    let headings = headings.iter().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    headings
        .map(|heading| {
            let name: String = heading
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect();
            let count = seen.entry(name.clone()).or_default();
            let number = std::mem::replace(count, *count + 1);
            if number == 0 { name } else { format!("{name}-{number}") }
        })
        .collect()
}

/// The lines outside code blocks.
fn prose(text: &str) -> Vec<&str> {
    let mut inside = false;
    let outside = |line: &&str| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    };
    text.lines().filter(outside).collect()
}
