//! The source rules that neither the compiler nor a lint nor Cargo enforces. Every scan has a control: it finds a
//! planted violation, and ignores what only resembles one.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};

use crate::support::source::{read, sources};

#[test]
fn no_two_files_of_the_pure_crate_need_each_other() {
    assert_eq!(circles(&imports("crates/fapi/src")), Vec::<String>::new());
    // control
    let graph = |edges: &[(&str, &str)]| {
        let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in edges {
            graph.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        graph
    };
    assert_eq!(circles(&graph(&[("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")])), ["a b c"]);
    assert_eq!(circles(&graph(&[("a", "b"), ("a", "c"), ("b", "c"), ("d", "a")])), Vec::<String>::new());
}

#[test]
fn no_two_folders_of_the_gateway_need_each_other() {
    let folder = |module: &String| module.split("::").next().unwrap_or_default().to_owned();
    let mut folders: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (from, to) in imports("src") {
        let others = to.iter().map(folder).filter(|to| *to != folder(&from));
        folders.entry(folder(&from)).or_default().extend(others);
    }
    assert!(folders["proxy"].contains("gateway"), "the scan sees existing imports: {folders:?}");
    assert_eq!(circles(&folders), Vec::<String>::new());
}

#[test]
fn imports_are_found_wherever_they_stand() {
    let modules: BTreeSet<String> = ["a", "a::b", "c", ""].map(str::to_owned).into();
    let found = |module: &str, text: &str| {
        let mut paths = Paths::default();
        paths.visit_file(&syn::parse_file(text).unwrap());
        let found = paths.0.iter().filter_map(|path| resolve(path, module, &modules)).filter(|to| to != module);
        found.collect::<BTreeSet<String>>().into_iter().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(found("c", "use crate::{a::{self, b::X}, Y};"), " a a::b");
    assert_eq!(found("a::b", "use super::X; fn f() -> crate::c::Y { super::super::c::g() }"), "a c");
    assert_eq!(found("a", "pub use self::b::X;"), "a::b");
    assert_eq!(found("a", "fn f() { b::g(); log!(crate::c::X) }"), "a::b c");
    assert_eq!(
        found("a", "/// [`X`](crate::c::X)\nfn f() { \"crate::c\"; }\n#[cfg(test)]\nmod tests { use crate::c::X; }"),
        ""
    );
}

#[test]
fn only_the_edge_names_pingora() {
    let named = |name: &str| syn_paths(name).iter().any(|path| path.starts_with("pingora"));
    let edge: BTreeSet<String> = sources("src").iter().filter(|name| named(name)).map(|name| room(name)).collect();
    assert_eq!(edge.into_iter().collect::<Vec<_>>(), ["admin", "connection", "proxy", "server", "upstream"]);
}

/// The modules below a folder, each with the others that its non-test code names; a module is written `a::b`, the root
/// is empty.
fn imports(folder: &str) -> BTreeMap<String, BTreeSet<String>> {
    let files: BTreeMap<String, String> = sources(folder)
        .into_iter()
        .filter(|name| !name.ends_with("/tests.rs") && !name.ends_with("/testing.rs"))
        .map(|name| (module(&name), name))
        .collect();
    let modules: BTreeSet<String> = files.keys().cloned().collect();
    let named = |module: &String, name: &str| {
        let found = syn_paths(name).into_iter().filter_map(|path| resolve(&path, module, &modules));
        found.filter(|to| to != module).collect()
    };
    files.iter().map(|(module, name)| (module.clone(), named(module, name))).collect()
}

fn module(name: &str) -> String {
    let path = name.split_once("src/").map_or(name, |(_, path)| path).trim_end_matches(".rs");
    let path = path.trim_end_matches("/mod");
    if matches!(path, "lib" | "main") { String::new() } else { path.replace('/', "::") }
}

fn room(name: &str) -> String {
    module(name).split("::").next().unwrap_or_default().to_owned()
}

/// The module that a path written in `module` leads to; `None` if it leads to another crate.
fn resolve(path: &str, module: &str, modules: &BTreeSet<String>) -> Option<String> {
    let mut place: Vec<&str> = module.split("::").filter(|segment| !segment.is_empty()).collect();
    let mut segments = path.split("::").peekable();
    match segments.peek().copied()? {
        "crate" => place.clear(),
        "super" | "self" => {}
        first => drop(modules.get(&[&place[..], &[first]].concat().join("::"))?),
    }
    for segment in segments {
        match segment {
            "crate" | "self" => {}
            "super" => drop(place.pop()),
            name => place.push(name),
        }
    }
    while !modules.contains(&place.join("::")) {
        place.pop()?;
    }
    Some(place.join("::"))
}

/// The groups of modules that all reach each other.
fn circles(graph: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let reach = |from: &String| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(to) = next.pop().and_then(|node| graph.get(node)) {
            next.extend(to.iter().filter(|node| seen.insert((*node).clone())));
        }
        seen
    };
    let reached: BTreeMap<&String, BTreeSet<String>> = graph.keys().map(|node| (node, reach(node))).collect();
    let mutual = |from: &String| {
        let others = reached[from].iter().filter(|to| reached.get(to).is_some_and(|back| back.contains(from)));
        others.cloned().collect::<Vec<_>>().join(" ")
    };
    let found: BTreeSet<String> = graph.keys().map(mutual).filter(|circle| !circle.is_empty()).collect();
    found.into_iter().collect()
}

fn syn_paths(name: &str) -> Vec<String> {
    let mut paths = Paths::default();
    paths.visit_file(&syn::parse_file(&read(name)).unwrap_or_else(|error| panic!("{name}: {error}")));
    paths.0
}

/// Collects every path in a file, with the groups of `use` expanded, and without items under `#[cfg(test)]`.
#[derive(Default)]
struct Paths(Vec<String>);

impl Paths {
    fn of_tree(&mut self, tree: &syn::UseTree, before: &str) {
        match tree {
            syn::UseTree::Path(path) => self.of_tree(&path.tree, &format!("{before}{}::", path.ident)),
            syn::UseTree::Name(name) => self.0.push(format!("{before}{}", name.ident)),
            syn::UseTree::Rename(name) => self.0.push(format!("{before}{}", name.ident)),
            syn::UseTree::Glob(_) => self.0.push(before.trim_end_matches("::").to_owned()),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.of_tree(tree, before)),
        }
    }
}

fn for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|cfg| cfg == "test")
    })
}

impl Visit<'_> for Paths {
    fn visit_item_mod(&mut self, item: &syn::ItemMod) {
        if !for_tests(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &syn::ItemFn) {
        if !for_tests(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    /// Leaves out `pub(super)`, which is no import.
    fn visit_visibility(&mut self, _: &syn::Visibility) {}

    fn visit_item_use(&mut self, item: &syn::ItemUse) {
        if !for_tests(&item.attrs) {
            self.of_tree(&item.tree, "");
        }
    }

    fn visit_path(&mut self, path: &syn::Path) {
        self.0.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect::<Vec<_>>().join("::"));
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &syn::Macro) {
        let text = called.tokens.to_string().replace(" :: ", "::");
        self.0.extend(text.split([' ', '(', '&', '<']).filter(|word| word.starts_with("crate::")).map(str::to_owned));
        visit::visit_macro(self, called);
    }
}
