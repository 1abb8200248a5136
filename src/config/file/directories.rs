//! `directories`: where it is published who takes part in an ecosystem.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::scalar::{Duration, FilePath};

/// A directory of participants, which is read again and again.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Directory {
    /// The form of its document.
    #[schemars(required)]
    pub(in crate::config) kind: Option<DirectoryKind>,
    /// Where the document is; an https URL. The whole directory has to be in it.
    #[schemars(required)]
    pub(in crate::config) url: Option<String>,
    /// Header fields of a request for it, by name. None of them is a secret. Default: none, but `x-v: 3` with `kind: cdr`.
    pub(in crate::config) headers: Option<BTreeMap<String, String>>,
    /// File with the value of the `Authorization` field of a request for it, such as `Bearer` and a token. Default: it has none.
    pub(in crate::config) authorization_file: Option<FilePath>,
    /// PEM files with the authorities of its server's certificate. Default: the system's.
    #[schemars(length(min = 1))]
    pub(in crate::config) trust_anchors: Option<Vec<FilePath>>,
    /// How often it is read: how long a participant is served after the directory says that it is not active; from 60s to 1h. It is
    /// also read at each reload.
    #[schemars(extend("default" = "5m"))]
    pub(in crate::config) refresh: Option<Duration>,
    /// How long what was read is used while it cannot be read again; from twice `refresh` to 7days. After that, requests that
    /// need it are answered with 503.
    #[schemars(extend("default" = "24h"))]
    pub(in crate::config) keep: Option<Duration>,
    /// How long one read may take; from 1s to 60s.
    #[schemars(extend("default" = "30s"))]
    pub(in crate::config) timeout: Option<Duration>,
}

/// The form of a directory's document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum DirectoryKind {
    /// Open Banking in the UK: SCIM resources with `urn:openbanking:organisation:1.0` and its siblings, or a list as with `brazil`.
    Uk,
    /// Open Finance Brasil: a list of organisations with `OrgDomainRoleClaims`, which other ecosystems have too. It has no software.
    Brazil,
    /// The register of the Consumer Data Right: data recipients, their brands and software products. It has no roles.
    Cdr,
}
