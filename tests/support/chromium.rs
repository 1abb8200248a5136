//! A real browser without a window, told what to do by the Chrome DevTools Protocol over a pair of pipes.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Folder;
use super::tools::tool;

/// One page in a Chromium, which ends with the test. Its calls block.
pub struct Page {
    child: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    next: u64,
    session: Option<String>,
    /// What the browser told since the last navigation began.
    events: Vec<Value>,
    _folder: Folder,
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Page {
    pub fn open() -> Self {
        Self::open_with(&[])
    }

    /// The same with more arguments for Chromium.
    pub fn open_with(arguments: &[String]) -> Self {
        let folder = Folder::new();
        let _ = tool("chromium");
        // The protocol is spoken at the descriptors 3 and 4. As root, Chromium has no sandbox.
        let mut child = tool("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null", "sh", "chromium"])
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-extensions"])
            .args(["--no-proxy-server", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", folder.path().display()))
            .args(arguments)
            .env("HOME", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh runs");
        let (commands, answers) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        let (send, messages) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(answers).split(0) {
                let Ok(message) = message else { return };
                let message = serde_json::from_slice(&message).expect("JSON");
                if send.send(message).is_err() {
                    return;
                }
            }
        });
        let mut page = Self { child, commands, messages, next: 0, session: None, events: Vec::new(), _folder: folder };
        let target = page.call("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let session = page.call("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        page.session = Some(session["sessionId"].as_str().expect("a session").to_owned());
        for domain in ["Page", "Runtime", "Log", "Network", "Audits"] {
            page.call(&format!("{domain}.enable"), json!({}));
        }
        page
    }

    /// Sends a command and returns its result.
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.next += 1;
        let mut command = json!({ "id": self.next, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        self.commands.write_all(format!("{command}\0").as_bytes()).expect("chromium reads");
        loop {
            let message = self.message();
            if message["id"] == self.next {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
        }
    }

    /// Loads a page, and waits until it is there with all that belongs to it.
    pub fn load(&mut self, url: &str) {
        self.follow(|page| {
            let loaded = page.call("Page.navigate", json!({ "url": url }));
            assert!(loaded["errorText"].is_null(), "{url}: {loaded}");
        });
    }

    /// Does what leads to another page, and waits in the same way.
    pub fn follow<T>(&mut self, step: impl FnOnce(&mut Self) -> T) {
        self.events.clear();
        step(self);
        // A page that was kept for the way back is there at once.
        let is_there = |event: &Value| {
            event["method"] == "Page.loadEventFired" || event["params"]["type"] == "BackForwardCacheRestore"
        };
        while !self.events.iter().any(is_there) {
            self.message();
        }
    }

    /// The value of an expression in the page, or what it promises.
    pub fn value(&mut self, expression: &str) -> Value {
        self.evaluate(json!({ "expression": expression }))
    }

    /// The value of an expression in the only frame of the page, where a script of the page cannot look.
    pub fn value_in_frame(&mut self, expression: &str) -> Value {
        let tree = self.call("Page.getFrameTree", json!({}));
        let frame = &tree["frameTree"]["childFrames"][0]["frame"]["id"];
        let world = self.call("Page.createIsolatedWorld", json!({ "frameId": frame }));
        self.evaluate(json!({ "expression": expression, "contextId": world["executionContextId"] }))
    }

    fn evaluate(&mut self, mut parameters: Value) -> Value {
        for option in ["returnByValue", "awaitPromise"] {
            parameters[option] = json!(true);
        }
        let result = self.call("Runtime.evaluate", parameters.clone());
        assert!(result["exceptionDetails"].is_null(), "{parameters}: {result}");
        result["result"]["value"].clone()
    }

    /// Looks at the page with this width, and in dark or light colours.
    pub fn look(&mut self, width: u64, scheme: &str) {
        let size = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size);
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", features);
    }

    /// Types a text where the cursor is.
    pub fn write(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// Presses and releases a key.
    pub fn press(&mut self, key: &str, code: u64) {
        for kind in ["rawKeyDown", "char", "keyUp"] {
            let text = if key == "Enter" { "\r" } else { "" };
            if kind == "char" && text.is_empty() {
                continue;
            }
            let event = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text });
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// The page as a PNG, down to so many pixels.
    pub fn picture(&mut self, width: u64, height: u64) -> Vec<u8> {
        let clip = json!({ "x": 0, "y": 0, "width": width, "height": height, "scale": 1 });
        let options = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let picture = self.call("Page.captureScreenshot", options);
        STANDARD.decode(picture["data"].as_str().expect("a picture")).expect("base64")
    }

    /// The addresses that were asked since the last navigation began.
    pub fn requests(&mut self) -> Vec<String> {
        self.settle();
        let sent = self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        sent.filter_map(|event| Some(event["params"]["request"]["url"].as_str()?.to_owned())).collect()
    }

    /// The status of each redirect since the last navigation began, and of the page that they led to.
    pub fn statuses(&mut self) -> Vec<u64> {
        self.settle();
        let answers = self.events.iter().filter(|event| event["params"]["type"] == "Document");
        let answers = answers.filter_map(|event| match event["method"].as_str()? {
            "Network.requestWillBeSent" => event["params"]["redirectResponse"]["status"].as_u64(),
            "Network.responseReceived" => event["params"]["response"]["status"].as_u64(),
            _ => None,
        });
        answers.collect()
    }

    /// What went wrong in the page since the last navigation began: errors, warnings, and what a policy kept from it.
    pub fn complaints(&mut self) -> Vec<String> {
        self.settle();
        const COMPLAINTS: [&str; 4] =
            ["Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Audits.issueAdded"];
        let told = self.events.iter().filter(|event| COMPLAINTS.iter().any(|method| event["method"] == *method));
        told.map(|event| event["params"].to_string()).collect()
    }

    /// Has the browser tell all that it has to: it answers in order.
    fn settle(&mut self) {
        let expression = "new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)))";
        self.call("Runtime.evaluate", json!({ "expression": expression, "awaitPromise": true }));
    }

    fn message(&mut self) -> Value {
        let message = self.messages.recv_timeout(PATIENCE).expect("chromium answers");
        if message.get("method").is_some() {
            self.events.push(message.clone());
        }
        message
    }
}

/// A browser may take long to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
