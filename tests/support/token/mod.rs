//! A token of PKCS#11: that of SoftHSM, in a folder, and a module before it that fails when it is told to.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Folder;
use super::tools::tool;

/// SoftHSM's module, where Debian has it.
pub const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
/// The PIN of the token's user.
pub const PIN: &str = "314159";

/// A token with the label `bank` whose files are in a folder; its PIN is in `keys/pin`.
pub struct Token(PathBuf);

impl Token {
    /// Makes a token in the folder.
    pub fn new(folder: &Folder) -> Self {
        let tokens = folder.path().join("tokens");
        fs::create_dir_all(&tokens).expect("a folder");
        let settings =
            format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", tokens.display());
        folder.write("softhsm2.conf", &settings);
        folder.write("keys/pin", &format!("{PIN}\n"));
        let token = Self(folder.path().to_owned());
        token.add("bank");
        token
    }

    /// Makes another token beside it.
    pub fn add(&self, label: &str) {
        self.util(&["--init-token", "--free", "--label", label, "--so-pin", "12345678", "--pin", PIN]);
    }

    /// Makes another token beside it, with a key, in a folder that is not where tokens are looked for; returns where it is, and where
    /// it would be looked for.
    pub fn add_elsewhere(&self, token: &str, pem: &str, label: &str) -> [PathBuf; 2] {
        let tokens = self.0.join("tokens");
        let folders = || -> BTreeSet<PathBuf> {
            fs::read_dir(&tokens).expect("a folder").map(|entry| entry.expect("an entry").path()).collect()
        };
        let before = folders();
        self.add(token);
        self.import_into(token, pem, label, "e1");
        let place = folders().difference(&before).next().expect("it has a folder").clone();
        let elsewhere = self.0.join("elsewhere");
        fs::rename(&place, &elsewhere).expect("it is ours");
        [elsewhere, place]
    }

    /// Puts the key of a PEM text there.
    pub fn import(&self, pem: &str, label: &str, id: &str) {
        self.import_into("bank", pem, label, id);
    }

    fn import_into(&self, token: &str, pem: &str, label: &str, id: &str) {
        let file = self.0.join("imported-key.pem");
        fs::write(&file, pem).expect("a temporary file");
        let name = file.to_str().expect("text");
        self.util(&["--import", name, "--token", token, "--label", label, "--id", id, "--pin", PIN]);
        fs::remove_file(file).expect("it is ours");
    }

    fn util(&self, arguments: &[&str]) {
        let mut command = tool("softhsm2-util");
        let output = command.args(arguments).envs(self.variables()).output().expect("it runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// What a program that uses it has in its environment.
    pub fn variables(&self) -> [(&'static str, PathBuf); 2] {
        [("SOFTHSM2_CONF", self.0.join("softhsm2.conf")), ("BETWEEN", self.0.clone())]
    }

    /// The module before SoftHSM's.
    pub fn between(&self) -> String {
        let library = self.0.join("between.so");
        if !library.exists() {
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/token/between.c");
            let mut command = tool("cc");
            let output = command.args(["-shared", "-fPIC", "-o"]).args([&library, &source]).output().expect("it runs");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        library.to_str().expect("text").to_owned()
    }

    /// How often somebody has logged in through that module.
    pub fn logins(&self) -> usize {
        self.noted("logins", b'1')
    }

    /// How often the token has refused a PIN.
    pub fn refusals(&self) -> usize {
        self.noted("logins", b'0')
    }

    /// How often a login has failed without a word of why.
    pub fn unclear_logins(&self) -> usize {
        self.noted("logins", b'?')
    }

    /// How often that module has been ended, with all of its sessions.
    pub fn ends(&self) -> usize {
        self.noted("ends", b'1')
    }

    fn noted(&self, name: &str, kind: u8) -> usize {
        let noted = fs::read(self.0.join(name)).unwrap_or_default();
        noted.into_iter().filter(|byte| *byte == kind).count()
    }

    /// Has the module report that the token is gone, or not any more.
    pub fn is_gone(&self, gone: bool) {
        self.tell("gone", gone);
    }

    /// Has the module not begin, or begin again.
    pub fn is_away(&self, away: bool) {
        self.tell("away", away);
    }

    /// Has logins fail without a word of why, or not any more.
    pub fn is_unclear(&self, unclear: bool) {
        self.tell("unclear", unclear);
    }

    /// Has the token say that one more wrong PIN locks it, or not any more.
    pub fn has_last_try(&self, last: bool) {
        self.tell("last", last);
    }

    fn tell(&self, name: &str, there: bool) {
        let file = self.0.join(name);
        match there {
            true => fs::write(file, "").expect("a temporary file"),
            false => fs::remove_file(file).expect("it is there"),
        }
    }

    /// Has signatures hang until the result is dropped.
    pub fn hangs(&self) -> Hanging {
        let pipe = self.0.join("hang");
        assert!(Command::new("mkfifo").arg(&pipe).status().expect("it runs").success());
        Hanging(pipe)
    }
}

/// Signatures hang.
pub struct Hanging(PathBuf);

impl Hanging {
    /// Lets the one that hangs go on, and those that come.
    pub fn ends(self) {
        // Whoever waits for a writer gets one; nobody else will.
        let writer = fs::OpenOptions::new().write(true).open(&self.0).expect("somebody hangs");
        fs::remove_file(&self.0).expect("it is ours");
        drop(writer);
    }
}

/// A key in the token `bank`, as gateway.yaml names it.
pub fn in_token(module: &str, object: &str) -> String {
    format!("{{ pkcs11: {{ module: {module}, token: bank, object: {object}, pin_file: keys/pin }} }}")
}
