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

const SUBJECTS: &[Subject] = &[
    Subject {
        name: "replay",
        files: &["replay/memory.rs"],
        modules: r#"
        #[path = "{src}/replay/memory.rs"]
        pub mod memory;
        #[path = "{models}/replay.rs"]
        pub mod model;
        #[path = "{models}/reload.rs"]
        pub mod reload;
    "#,
    },
    Subject {
        name: "revocations",
        files: &["issuer/revocations/table.rs"],
        modules: r#"
        #[path = "{models}/revocations.rs"]
        pub mod model;
        #[path = "{src}/issuer/revocations/table.rs"]
        pub mod table;
    "#,
    },
    Subject {
        name: "issuer",
        files: &[
            "issuer/assertion.rs",
            "issuer/error.rs",
            "issuer/introspection/endpoint.rs",
            "issuer/introspection/fault.rs",
            "issuer/introspection/flight.rs",
            "issuer/introspection/mod.rs",
            "issuer/introspection/places.rs",
            "issuer/introspection/settings.rs",
            "issuer/introspection/shared.rs",
            "issuer/memory.rs",
            "issuer/metadata.rs",
            "issuer/observer.rs",
            "issuer/revocations/table.rs",
            "issuer/schedule.rs",
            "issuer/settings.rs",
        ],
        modules: r#"
        #[path = "{src}/issuer/assertion.rs"]
        pub mod assertion;
        #[path = "{src}/issuer/error.rs"]
        mod error;
        #[path = "{models}/../standins/http.rs"]
        pub mod http;
        #[path = "{src}/issuer/introspection/mod.rs"]
        pub mod introspection;
        #[path = "{models}/../standins/jwks.rs"]
        pub mod jwks;
        #[path = "{src}/issuer/memory.rs"]
        mod memory;
        #[path = "{src}/issuer/metadata.rs"]
        pub mod metadata;
        #[path = "{models}/issuer.rs"]
        pub mod model;
        #[path = "{src}/issuer/observer.rs"]
        mod observer;
        pub mod revocations {
            #[path = "{src}/issuer/revocations/table.rs"]
            mod table;
            pub use self::table::Revocations;
        }
        #[path = "{src}/issuer/schedule.rs"]
        mod schedule;
        #[path = "{src}/issuer/settings.rs"]
        mod settings;

        pub use self::error::ValidateError;
        pub use self::observer::{CacheOutcome, IntrospectionOutcome, Observer, RefreshOutcome, SharedOutcome, SharedWrite};
        pub use self::settings::{CacheSettings, IssuerError, JwksSettings, Settings, Timing};

        pub struct Shared {
            pub timing: Timing,
            pub observer: std::sync::Arc<dyn Observer>,
            pub revocations: std::sync::Arc<revocations::Revocations>,
        }
    "#,
    },
    Subject {
        name: "lines",
        files: &[
            "telemetry/lines/carrier.rs",
            "telemetry/lines/mod.rs",
            "telemetry/lines/output.rs",
            "telemetry/lines/recent.rs",
            "telemetry/lines/rotation.rs",
            "telemetry/lines/stamp.rs",
            "telemetry/lines/writer.rs",
        ],
        modules: r#"
        #[path = "{src}/telemetry/lines/mod.rs"]
        pub mod lines;
        #[path = "{models}/lines.rs"]
        pub mod model;
    "#,
    },
];

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
