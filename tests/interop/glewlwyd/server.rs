//! Glewlwyd itself, and the script that configures it over its administration API.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::mpsc;

use sandbox::pki::{Authority, Credential};
use serde_json::{Value, json};

use crate::support::node::Script;
use crate::support::tools::tool;
use crate::support::{DEADLINE, Folder};

/// What Debian's package fills a new database with, the administrator included.
const DATABASE: &str = "/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3";
const PASSWORD: &str = "password";

/// A new glewlwyd. It is stopped when the value is dropped, whatever the test did.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub own_origin: String,
    pub credential: Credential,
    /// Where it is told that the world finds it.
    origin: String,
    folder: Folder,
}

impl Server {
    /// Returns once it listens at this port.
    pub fn start(authority: &Authority, port: u16, origin: &str) -> Self {
        let folder = Folder::new();
        let write = |name: &str, text: &str| folder.write(name, text).display().to_string();
        let credential = authority.server(&["localhost", "127.0.0.1"]);
        let ca = write("ca.pem", &authority.pem());
        let chain = write("server.pem", &credential.certificate_pem());
        let key = write("key.pem", &credential.key_pem());
        let configuration = format!(
            r#"port={port}
bind_address="127.0.0.1"
external_url="{origin}"
api_prefix="api"
login_url="login.html"
static_files_path="{pages}/"
static_files_mime_types=(
  {{ extension=".html"; mime_type="text/html"; compress=0 }},
  {{ extension=".css"; mime_type="text/css"; compress=0 }},
  {{ extension=".js"; mime_type="application/javascript"; compress=0 }},
  {{ extension=".json"; mime_type="application/json"; compress=0 }}
)
log_mode="console"
log_level="INFO"
cookie_secure=1
admin_scope="g_admin"
profile_scope="g_profile"
user_module_path="/usr/lib/glewlwyd/user"
client_module_path="/usr/lib/glewlwyd/client"
user_auth_scheme_module_path="/usr/lib/glewlwyd/scheme"
plugin_module_path="/usr/lib/glewlwyd/plugin"
use_secure_connection=true
secure_connection_key_file="{key}"
secure_connection_pem_file="{chain}"
secure_connection_ca_file="{ca}"
hash_algorithm="SHA512"
database={{ type="sqlite3"; path="{database}"; }};
"#,
            pages = pages(&folder).display(),
            database = folder.path().join("glewlwyd.db").display()
        );
        let tables = std::fs::File::open(DATABASE).unwrap_or_else(|error| panic!("{DATABASE}: {error}"));
        let filled = tool("sqlite3").arg(folder.path().join("glewlwyd.db")).stdin(tables).status();
        assert!(filled.expect("sqlite3 runs").success());
        let path = folder.write("glewlwyd.conf", &configuration);
        let mut glewlwyd = tool("glewlwyd");
        glewlwyd.arg(format!("--config-file={}", path.display())).stdin(Stdio::null());
        let mut child = glewlwyd.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("glewlwyd runs");
        let log = BufReader::new(child.stdout.take().expect("piped"));
        let (started, listens) = mpsc::channel();
        // Reads the log to its end, so that the server never waits for a reader.
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                if line.contains("Glewlwyd started on port") {
                    let _ = started.send(());
                }
            }
        });
        let own_origin = format!("https://localhost:{port}");
        let server = Self { child, own_origin, credential, origin: origin.to_owned(), folder };
        listens.recv_timeout(DEADLINE).expect("glewlwyd listens");
        server
    }

    /// The script that configures it; `more` is what it is told beside where the server is.
    pub fn script(&self, more: Value) -> Script {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/glewlwyd/client.mjs");
        std::fs::copy(source, self.folder.path().join("client.mjs")).expect("the script");
        let mut configuration = json!({ "at": self.own_origin, "origin": self.origin, "password": PASSWORD });
        let (Value::Object(all), Value::Object(more)) = (&mut configuration, more) else { panic!("two objects") };
        all.extend(more);
        Script::start(&self.folder, "client.mjs", &[&configuration.to_string()], &self.folder.path().join("ca.pem"))
    }
}

/// Its pages as files. As Debian has them, most are links, which glewlwyd does not follow out of its folder, and the configuration is
/// in a folder of its own name.
fn pages(folder: &Folder) -> PathBuf {
    let pages = folder.path().join("pages");
    let copied = tool("cp").args(["-rL", "/usr/share/glewlwyd/webapp"]).arg(&pages).status();
    assert!(copied.expect("cp runs").success());
    let configuration = pages.join("config.json");
    std::fs::remove_dir_all(&configuration).expect("a folder");
    std::fs::copy("/usr/share/glewlwyd/templates/config.json", configuration).expect("a configuration");
    pages
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
