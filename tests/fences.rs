//! The rules that a compiler does not hold: what each room may name, and what stands nowhere. Every scan has a control: it
//! finds an offender that was planted, and leaves alone what only looks like one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What each room of `src` names of the others, in code that is not for tests. A room that is not listed here, an edge
/// that is not, and an edge that is no longer there, fail.
const ROOMS: &[(&str, &[&str])] = &[
    ("admin", &["audit", "drain", "issuer", "metrics", "proxy", "tls"]),
    ("audit", &["gateway"]),
    ("commands", &["config", "proxy", "server", "tls"]),
    ("config", &["audit", "drain", "hop", "issuer", "limits", "tls", "upstream", "watch"]),
    ("connection", &["hop", "stream", "tls"]),
    ("drain", &[]),
    ("gateway", &["issuer", "replay"]),
    ("hop", &["tls"]),
    // `tls` for the suites alone: both ends of the process have the same.
    ("issuer", &["tls"]),
    ("lib", &[]),
    ("limits", &[]),
    ("logging", &[]),
    ("main", &["commands", "logging", "tls"]),
    ("metrics", &["issuer", "replay"]),
    ("proxy", &["audit", "connection", "drain", "gateway", "limits", "metrics", "stream", "tls", "upstream"]),
    ("replay", &[]),
    (
        "server",
        &[
            "admin",
            "audit",
            "config",
            "connection",
            "drain",
            "gateway",
            "hop",
            "issuer",
            "limits",
            "metrics",
            "proxy",
            "replay",
            "stream",
            "tls",
            "upstream",
            "watch",
        ],
    ),
    ("stream", &[]),
    ("tls", &[]),
    ("upstream", &[]),
    ("watch", &[]),
];

/// The rooms where Pingora is.
const EDGE: &[&str] = &["admin", "proxy", "server", "stream", "upstream"];

#[test]
fn rooms_name_only_the_rooms_they_are_allowed() {
    let mut found: BTreeSet<(String, String)> = BTreeSet::new();
    let mut rooms = BTreeSet::new();
    for file in sources("src") {
        let room = file.room();
        let others = crate_paths(&file.program()).into_iter().filter(|other| *other != room);
        found.extend(others.map(|other| (room.clone(), other)));
        rooms.insert(room);
    }
    let edge = |room: &str, other: &str| (room.to_owned(), other.to_owned());
    let allowed: BTreeSet<(String, String)> =
        ROOMS.iter().flat_map(|(room, others)| others.iter().map(|other| edge(room, other))).collect();
    let known: BTreeSet<String> = ROOMS.iter().map(|(room, _)| (*room).to_owned()).collect();
    assert_eq!(rooms, known, "the rooms of src, and those of the table");
    assert_eq!(found.difference(&allowed).collect::<Vec<_>>(), Vec::<&(String, String)>::new(), "edges not allowed");
    assert_eq!(
        allowed.difference(&found).collect::<Vec<_>>(),
        Vec::<&(String, String)>::new(),
        "edges no longer there"
    );
    // control
    let names = |source: &str| crate_paths(&program(source)).into_iter().collect::<Vec<_>>();
    assert_eq!(
        names("use crate::fapi::{route::Origin, UnixTime};\nuse crate::{audit, tls};"),
        ["audit", "fapi", "tls"]
    );
    assert_eq!(names("fn f() { let p = crate::tls::provider(); }"), ["tls"]);
    assert_eq!(names("use fapi_gateway::{commands, config::Config};"), ["commands", "config"]);
    assert!(names("/// [`Permit`](crate::fapi::policy::Permit)\nfn f() { \"crate::audit\"; }").is_empty());
}

#[test]
fn no_room_is_reached_around_the_table() {
    for file in sources("src") {
        // A lone `super` is a visibility.
        let climbing = |path: &String| path.contains("::") && climbs(path) >= file.depth();
        let escapes: Vec<String> = paths(&file.program()).into_iter().filter(climbing).collect();
        assert_eq!(escapes, Vec::<String>::new(), "{}: write `crate::`", file.name);
    }
    // control
    assert_eq!((climbs("super::super::gateway"), climbs("super::route"), climbs("self::http")), (2, 1, 0));
    let depth = |name: &str| File { name: name.to_owned(), text: String::new() }.depth();
    assert_eq!((depth("src/proxy.rs"), depth("src/fapi/mod.rs"), depth("src/fapi/route.rs")), (1, 1, 2));
    assert_eq!((depth("src/commands/demo/mod.rs"), depth("src/commands/demo/pki.rs")), (2, 3));
}

#[test]
fn only_the_edge_names_pingora() {
    let mut found = BTreeSet::new();
    for file in sources("src") {
        if names_pingora(&file.program()) {
            found.insert(file.room());
        }
    }
    assert_eq!(found, EDGE.iter().map(|room| (*room).to_owned()).collect());
    // control
    assert!(
        names_pingora(&program("use pingora_core::Result;")) && names_pingora(&program("fn f(_: pingora::Error) {}"))
    );
    assert!(!names_pingora(&program("//! Pingora\nfn f() { \"pingora::Error\"; } // pingora::Error")));
}

#[test]
fn no_unsafe_code_and_nothing_left_to_do() {
    let roots = ["src", "crates", "tests", "benches", "fuzz"];
    for file in roots.iter().flat_map(|root| sources(root)) {
        // The soak says itself why it is not part of a usual run.
        let allowed: &[&str] = if file.name == "tests/soak.rs" { &["#[ignore]"] } else { &[] };
        assert_eq!(forbidden_tokens(&tokens(&file.text)), allowed, "{}", file.name);
        assert_eq!(open_ends(&file.text), Vec::<String>::new(), "{}", file.name);
    }
    // control
    let found = |source: &str| forbidden_tokens(&tokens(source));
    assert_eq!(found("fn f() { unsafe { g() } }"), ["unsafe"]);
    assert_eq!(found("fn f() { todo!() }\nfn g() { unimplemented!(\"x\") }"), ["todo!", "unimplemented!"]);
    assert_eq!(found("#[test]\n#[ignore = \"slow\"]\nfn f() {}"), ["#[ignore]"]);
    assert!(found("/// unsafe, todo!\nfn f() { ignore(\"unsafe\") }").is_empty());
    let mark = concat!("TO", "DO");
    assert_eq!(open_ends(&format!("fn f() {{}} // {mark}: g")), [format!("fn f() {{}} // {mark}: g")]);
    assert!(open_ends("fn f() { mastodon() } // METHODOLOGY, fixmehard").is_empty());
}

#[test]
fn no_file_names_somebodys_home() {
    for file in text_files() {
        assert_eq!(homes(&file.text), Vec::<String>::new(), "{}", file.name);
    }
    // control
    let planted = format!("include = \"{}somebody/key.pem\"", HOMES[0]);
    assert_eq!(homes(&planted), [planted.as_str()]);
    assert!(homes("https://bank.example/homepage, /homes, /rooted").is_empty());
}

#[test]
fn every_file_of_src_says_what_it_is() {
    for file in sources("src") {
        assert!(has_module_doc(&file.text), "{} does not begin with `//!`", file.name);
    }
    // control
    assert!(has_module_doc("//! What it is.\nuse x;"));
    assert!(!has_module_doc("// What it is.\nuse x;") && !has_module_doc("use x;\n//! Late.") && !has_module_doc(""));
}

#[test]
fn a_permit_cannot_be_forged_and_the_compiler_is_asked() {
    let policy = std::fs::read_to_string(root().join("crates/fapi/src/policy.rs")).unwrap();
    let examples = forgeries(&policy);
    assert!(examples.iter().any(|example| example.contains("Permit { route, token: None }")), "{examples:?}");
    assert!(examples.iter().any(|example| example.contains("Permit::public(route)")), "{examples:?}");
    // control
    assert_eq!(forgeries("//! ```\n//! Permit { route }\n//! ```\n"), Vec::<String>::new());
}

// --- the scans: program in, offenders out

/// The rooms of this crate that a program names.
fn crate_paths(program: &[Token]) -> BTreeSet<String> {
    let room = |path: String| {
        let mut segments = path.split("::");
        let ours = matches!(segments.next(), Some("crate" | "fapi_gateway"));
        segments.next().filter(|_| ours).map(str::to_owned)
    };
    paths(program).into_iter().filter_map(room).collect()
}

fn names_pingora(program: &[Token]) -> bool {
    paths(program).iter().any(|path| path.starts_with("pingora::") || path.starts_with("pingora_"))
}

fn forbidden_tokens(tokens: &[Token]) -> Vec<String> {
    let mut found = Vec::new();
    for (place, token) in tokens.iter().enumerate() {
        let next = |ahead: usize| tokens.get(place + ahead).map_or("", |token| token.0.as_str());
        match token.0.as_str() {
            "unsafe" => found.push("unsafe".to_owned()),
            "todo" | "unimplemented" if next(1) == "!" => found.push(format!("{}!", token.0)),
            "#" if next(1) == "[" && next(2) == "ignore" => found.push("#[ignore]".to_owned()),
            _ => {}
        }
    }
    found
}

/// Lines with a mark that something is left to do, in comments and texts too.
fn open_ends(text: &str) -> Vec<String> {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];
    let words = |line: &str| line.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| marks.contains(&word));
    text.lines().filter(|line| words(line)).map(str::to_owned).collect()
}

/// Where people live.
const HOMES: [&str; 3] = [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/")];

fn homes(text: &str) -> Vec<&str> {
    text.lines().filter(|line| HOMES.iter().any(|home| line.contains(home))).collect()
}

fn has_module_doc(text: &str) -> bool {
    text.starts_with("//! ")
}

/// The examples in a file's own documentation that must not compile.
fn forgeries(text: &str) -> Vec<String> {
    let doc: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("//!")).map(str::trim).collect();
    let mut examples = Vec::new();
    let mut lines = doc.into_iter();
    while let Some(line) = lines.next() {
        if line == "```compile_fail" {
            examples.push(lines.by_ref().take_while(|line| *line != "```").collect::<Vec<_>>().join("\n"));
        } else if line.starts_with("```") {
            lines.by_ref().take_while(|line| *line != "```").for_each(drop);
        }
    }
    examples
}

fn climbs(path: &str) -> usize {
    path.split("::").take_while(|segment| *segment == "super").count()
}

// --- the files

struct File {
    name: String,
    text: String,
}

impl File {
    /// The tokens of its program, without what is for tests.
    fn program(&self) -> Vec<Token> {
        // A file that is a test module as a whole is declared so by its parent.
        if self.name.ends_with("/tests.rs") { Vec::new() } else { program(&self.text) }
    }

    /// The module of the crate that it belongs to.
    fn room(&self) -> String {
        let path = self.name.strip_prefix("src/").unwrap_or(&self.name);
        path.split('/').next().unwrap_or(path).trim_end_matches(".rs").to_owned()
    }

    /// How many `super` lead from it to the root of the crate.
    fn depth(&self) -> usize {
        let path = self.name.strip_prefix("src/").unwrap_or(&self.name);
        path.split('/').count() - usize::from(path.ends_with("/mod.rs"))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a folder of the repository; at least one.
fn sources(folder: &str) -> Vec<File> {
    let mut files = walk(&root().join(folder));
    files.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    assert!(!files.is_empty(), "{folder} has no Rust file");
    files.iter().map(|path| file(path).unwrap_or_else(|| panic!("{} is not text", path.display()))).collect()
}

/// Every file of the repository that is text.
fn text_files() -> Vec<File> {
    let files: Vec<File> = walk(root()).iter().filter_map(|path| file(path)).collect();
    assert!(
        files.iter().any(|file| file.name == "Cargo.toml") && files.iter().any(|file| file.name == "tests/fences.rs")
    );
    files
}

fn file(path: &Path) -> Option<File> {
    let text = String::from_utf8(std::fs::read(path).ok()?).ok()?;
    let name = path.strip_prefix(root()).unwrap_or(path).to_string_lossy().replace('\\', "/");
    Some(File { name, text })
}

/// The files below a folder, in order, without what is built or belongs to git.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !path.is_symlink() {
            if !matches!(name.as_str(), ".git" | "target" | "corpus" | "artifacts") {
                files.extend(walk(&path));
            }
        } else if path.is_file() {
            files.push(path);
        }
    }
    files
}

// --- a small reading of Rust: enough to tell code from comments, texts and tests

/// A word, `::`, or one sign; an empty text for each literal.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Token(String);

impl Token {
    fn is(&self, text: &str) -> bool {
        self.0 == text
    }

    fn is_word(&self) -> bool {
        self.0.starts_with(|first: char| first.is_alphabetic() || first == '_')
    }
}

/// The tokens that are compiled into the program: without what follows `#[cfg(test)]`.
fn program(text: &str) -> Vec<Token> {
    let tokens = tokens(text);
    let starts_test = |rest: &[Token]| {
        rest.len() >= 7 && rest.iter().zip(["#", "[", "cfg", "(", "test", ")", "]"]).all(|(token, text)| token.is(text))
    };
    let mut program = Vec::new();
    let mut place = 0;
    while place < tokens.len() {
        if starts_test(&tokens[place..]) {
            place = end_of_item(&tokens, place + 7);
        } else {
            program.push(tokens[place].clone());
            place += 1;
        }
    }
    program
}

/// The place after the item that begins at `place`: after its `;`, or after the `}` that closes it.
fn end_of_item(tokens: &[Token], mut place: usize) -> usize {
    let mut depth = 0_usize;
    while let Some(token) = tokens.get(place) {
        place += 1;
        match token.0.as_str() {
            "{" | "(" | "[" => depth += 1,
            ")" | "]" => depth = depth.saturating_sub(1),
            "}" => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return place;
                }
            }
            ";" if depth == 0 => return place,
            _ => {}
        }
    }
    place
}

/// Every path, with groups written out: `a::{b, c::d}` is `a::b` and `a::c::d`. A lone word is a path too.
fn paths(tokens: &[Token]) -> Vec<String> {
    let mut found = Vec::new();
    let mut place = 0;
    while place < tokens.len() {
        let after_colons = place > 0 && tokens[place - 1].is("::");
        let absolute = after_colons && (place < 2 || !(tokens[place - 2].is_word() || tokens[place - 2].is(">")));
        if tokens[place].is_word() && (!after_colons || absolute) {
            place = follow(tokens, place, "", &mut found);
        } else {
            place += 1;
        }
    }
    found
}

/// Follows one path from its word at `place`; gives the place after it.
fn follow(tokens: &[Token], mut place: usize, before: &str, found: &mut Vec<String>) -> usize {
    let mut path = format!("{before}{}", tokens[place].0);
    place += 1;
    while tokens.get(place).is_some_and(|token| token.is("::")) {
        match tokens.get(place + 1) {
            Some(token) if token.is_word() => {
                path = format!("{path}::{}", token.0);
                place += 2;
            }
            Some(token) if token.is("{") => {
                let prefix = format!("{path}::");
                place += 2;
                while let Some(token) = tokens.get(place).filter(|token| !token.is("}")) {
                    place = if token.is_word() { follow(tokens, place, &prefix, found) } else { place + 1 };
                }
                return place + 1;
            }
            Some(_) | None => break,
        }
    }
    found.push(path);
    place
}

fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut place = 0;
    while let Some(&char) = chars.get(place) {
        let next = chars.get(place + 1).copied();
        if char.is_whitespace() {
            place += 1;
        } else if char == '/' && next == Some('/') {
            place = chars[place..].iter().position(|c| *c == '\n').map_or(chars.len(), |end| place + end);
        } else if char == '/' && next == Some('*') {
            place = end_of_comment(&chars, place);
        } else if let Some(end) = end_of_literal(&chars, place) {
            tokens.push(Token(String::new()));
            place = end;
        } else if char.is_alphanumeric() || char == '_' {
            let end = chars[place..]
                .iter()
                .position(|c| !(c.is_alphanumeric() || *c == '_'))
                .map_or(chars.len(), |e| place + e);
            tokens.push(Token(chars[place..end].iter().collect()));
            place = end;
        } else if char == ':' && next == Some(':') {
            tokens.push(Token("::".to_owned()));
            place += 2;
        } else {
            tokens.push(Token(char.to_string()));
            place += 1;
        }
    }
    tokens
}

fn end_of_comment(chars: &[char], mut place: usize) -> usize {
    let mut depth = 0_usize;
    while place < chars.len() {
        match (chars[place], chars.get(place + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                place += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                place += 2;
                if depth == 0 {
                    return place;
                }
            }
            _ => place += 1,
        }
    }
    place
}

/// The place after the text or character literal that begins here, with its prefix, if one does.
fn end_of_literal(chars: &[char], place: usize) -> Option<usize> {
    let prefix = chars[place..].iter().take_while(|c| matches!(c, 'b' | 'c' | 'r')).count().min(2);
    let mut at = place + prefix;
    let raw = chars[place..at].contains(&'r');
    let hashes = if raw { chars[at..].iter().take_while(|c| **c == '#').count() } else { 0 };
    at += hashes;
    match chars.get(at)? {
        '"' if raw => {
            let closes =
                |end: usize| chars[end] == '"' && chars[end + 1..].iter().take_while(|c| **c == '#').count() >= hashes;
            (at + 1..chars.len()).find(|end| closes(*end)).map(|end| end + 1 + hashes)
        }
        '"' => end_of_quoted(chars, at + 1, '"'),
        '\'' if !raw => {
            let character = chars.get(at + 1) == Some(&'\\') || chars.get(at + 2) == Some(&'\'');
            character.then(|| end_of_quoted(chars, at + 1, '\'')).flatten()
        }
        _ => None,
    }
}

fn end_of_quoted(chars: &[char], mut place: usize, quote: char) -> Option<usize> {
    loop {
        match chars.get(place)? {
            '\\' => place += 2,
            char if *char == quote => return Some(place + 1),
            _ => place += 1,
        }
    }
}

#[test]
fn the_reading_of_rust_tells_code_from_texts() {
    let words = |text: &str| tokens(text).into_iter().map(|token| token.0).collect::<Vec<_>>().join(" ");
    assert_eq!(words("a::b /* c /* d */ e */ f // g\nh"), "a :: b f h");
    assert_eq!(words(r##"x("q \" // r", r#"s " t"#, b"u", br"v\")"##), "x (  ,  ,  ,  )");
    assert_eq!(words(r"f::<'a>('\'', '{', b'}', '\u{7d}', 'static)"), "f :: < ' a > (  ,  ,  ,  , ' static )");
    assert_eq!(words("crate_b rb cr r#type"), "crate_b rb cr r # type");
    let path_names = |text: &str| paths(&tokens(text));
    assert_eq!(path_names("a::{self, b::{c, d}, e} f"), ["a::self", "a::b::c", "a::b::d", "a::e", "f"]);
    assert_eq!(path_names("::a::b::<c::d>::e()"), ["a::b", "c::d"]);
}
