//! The folder of the demo's files.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sandbox::pki::{Authority, Credential};

/// The folder of the demo's files; dropping it removes them, unless they are to be kept.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    keep: bool,
}

impl Folder {
    /// Makes the folder, which must not be there yet.
    pub(super) fn make(keep: Option<&Path>) -> Result<Self, String> {
        let path = match keep {
            Some(path) => path.to_owned(),
            None => std::env::temp_dir().join(format!("fapi-gateway-demo-{}", std::process::id())),
        };
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| {
            if error.kind() == std::io::ErrorKind::AlreadyExists {
                return format!("{} is there already; name another folder", path.display());
            }
            format!("{}: {error}", path.display())
        })?;
        // The `curl` lines begin with `cd`, from wherever they are pasted.
        let path = std::path::absolute(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { path, keep: keep.is_some() })
    }

    /// Makes a folder in it.
    pub(super) fn make_within(&self, name: &str) -> std::io::Result<()> {
        std::fs::DirBuilder::new().mode(0o700).create(self.path.join(name))
    }

    pub(super) fn write(&self, name: &str, text: &str) -> std::io::Result<PathBuf> {
        let path = self.path.join(name);
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?.write_all(text.as_bytes())?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

pub(super) fn write_credentials(
    folder: &Folder,
    authority: &Authority,
    server: &Credential,
    client: &Credential,
) -> std::io::Result<()> {
    folder.write("ca.pem", &authority.pem())?;
    folder.write("server.pem", &server.certificate_pem())?;
    folder.write("server-key.pem", &server.key_pem())?;
    folder.write("client.pem", &client.certificate_pem())?;
    folder.write("client-key.pem", &client.key_pem())?;
    Ok(())
}
