//! Lays the gateway's own files beside each model: once as they are, and once for each fault of `faults.rs`, with that
//! fault planted. A fault whose place is not found exactly once fails the build.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

include!("faults.rs");

/// A piece of the gateway that is modelled: the folder of its files, and the modules around its model.
struct Subject {
    name: &'static str,
    /// In `src`.
    files: &'static [&'static str],
    /// The modules; `{src}` stands for the folder of the files, `{models}` for the one of the models.
    modules: &'static str,
}

const SUBJECTS: &[Subject] = &[Subject {
    name: "replay",
    files: &["replay/memory.rs"],
    modules: r#"
        #[path = "{src}/replay/memory.rs"]
        pub mod memory;
        #[path = "{models}/replay.rs"]
        pub mod model;
    "#,
}];

fn main() {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let (src, models) = (here.join("../src"), here.join("src/models"));
    for path in [&src, &models, &here.join("faults.rs"), &here.join("build.rs")] {
        println!("cargo:rerun-if-changed={}", path.display());
    }

    let mut modules = String::new();
    for subject in SUBJECTS {
        let real = subject.modules.replace("{src}", text(&src)).replace("{models}", text(&models));
        writeln!(modules, "pub mod {} {{\n{real}", subject.name).expect("a string takes everything");
        for fault in FAULTS.iter().filter(|fault| fault.subject == subject.name) {
            let folder = out.join(fault.name);
            for file in subject.files {
                let code = fs::read_to_string(src.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
                let code = if *file == fault.file { plant(fault, &code) } else { code };
                let copy = folder.join(file);
                fs::create_dir_all(copy.parent().expect("it is in a folder")).expect("the folder can be made");
                fs::write(copy, code).expect("the copy can be written");
            }
            let faulty = subject.modules.replace("{src}", text(&folder)).replace("{models}", text(&models));
            writeln!(modules, "pub mod {} {{\n{faulty}}}", fault.name).expect("a string takes everything");
        }
        modules.push_str("}\n");
    }
    fs::write(out.join("subjects.rs"), modules).expect("the modules can be written");
}

fn plant(fault: &Fault, code: &str) -> String {
    let places = code.matches(fault.instead_of).count();
    assert!(places == 1, "{}: {} has its place {places} times, expected 1", fault.name, fault.file);
    code.replace(fault.instead_of, fault.code)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the path is text")
}
