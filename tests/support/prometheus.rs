//! A Prometheus server that scrapes a gateway.

use std::net::SocketAddr;
use std::process::{Child, Stdio};

use serde_json::Value;
use tokio::time::timeout;

use super::tools::tool;
use super::{DEADLINE, Folder, free_ports, http_client};

/// A Prometheus server, which ends with the test.
pub struct Prometheus {
    child: Child,
    port: u16,
    _folder: Folder,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    /// Scrapes `target` every second, and evaluates the rules of a file.
    pub fn start(target: SocketAddr, rules: Option<&str>) -> Self {
        let folder = Folder::new();
        let rules = rules.map(|file| format!("rule_files: [\"{file}\"]\n")).unwrap_or_default();
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n{rules}\
             scrape_configs: [{{ job_name: gateway, static_configs: [{{ targets: [\"{target}\"] }}] }}]\n"
        );
        let config = folder.write("prometheus.yml", &config);
        // Somebody else may take the port in between.
        for port in free_ports(20) {
            let mut child = tool("prometheus")
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("prometheus runs");
            let began = super::client::now();
            while super::client::now() - began < DEADLINE.as_secs() {
                if matches!(child.try_wait(), Ok(Some(_))) {
                    break;
                }
                if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Self { child, port, _folder: folder };
                }
                std::thread::yield_now();
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("prometheus does not start");
    }

    /// The answer to one question.
    pub async fn ask(&self, path: &str) -> Value {
        let url = format!("http://127.0.0.1:{}/api/v1/{path}", self.port);
        let answer = http_client().get(url).send().await.expect("prometheus answers").bytes().await.expect("a body");
        serde_json::from_slice(&answer).unwrap_or(Value::Null)
    }

    /// Asks until the answer is as it should be.
    pub async fn until(&self, path: &str, good: impl Fn(&Value) -> bool) -> Value {
        let asked = async {
            loop {
                let answer = self.ask(path).await;
                if good(&answer["data"]) {
                    return answer["data"].clone();
                }
            }
        };
        timeout(DEADLINE, asked).await.unwrap_or_else(|_| panic!("{path} is never as it should be"))
    }
}
