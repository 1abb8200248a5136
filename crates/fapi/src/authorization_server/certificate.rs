//! Clients that authenticate with a certificate (RFC 8705 §2): one that an authority has issued to the subject that is
//! registered, or one that is registered itself.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::X509Name;

use crate::UnixTime;
use crate::jose::json::{elements_of, parse_object};
use crate::jose::thumbprint::CertificateThumbprint;
use crate::path_validation::{DistinguishedNameError, Name};
use crate::peer::{self, ClientCertificate, NoCertificate};
use crate::text::{Names, is_uri, shown_text};

pub use crate::peer::PeerCertificate;

/// Why a client is not authenticated by a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateRefused {
    /// It is registered to authenticate with something else.
    #[error("the client is registered with private_key_jwt, and no certificate takes the place of that")]
    OtherMethod,
    /// There is no certificate.
    #[error("the client authenticates with a certificate, and there is none: {0}")]
    NotPresented(NoCertificate),
    /// It has expired, or is not valid yet (RFC 5280 §4.1.2.5).
    #[error("the certificate of the client is not valid now, {now}; the last second of its validity is {not_after}")]
    NotValid {
        /// The last second of its validity.
        not_after: UnixTime,
        /// The time of the judgement.
        now: UnixTime,
    },
    /// No authority that is trusted has issued it, or nobody checked that (RFC 8705 §2.1).
    #[error("the chain of the client's certificate is not verified, and the client is registered with tls_client_auth")]
    Unverified,
    /// It was issued to somebody else (RFC 8705 §2.1).
    #[error("the certificate of the client has {found}, expected the {member} {expected}")]
    SubjectDiffers {
        /// The member with which the subject is registered.
        member: &'static str,
        /// What the certificate has, truncated and made printable.
        found: Box<str>,
        /// What is registered, truncated and made printable.
        expected: Box<str>,
    },
    /// It is none of those that are registered (RFC 8705 §2.2).
    #[error(
        "the certificate of the client, with the thumbprint {thumbprint}, is none of the {registered} in its key set"
    )]
    NotRegistered {
        /// Its thumbprint.
        thumbprint: CertificateThumbprint,
        /// How many are registered.
        registered: usize,
    },
    /// Which certificates are registered is not known.
    #[error("the key set at the client's jwks_uri, with its certificates, is not known")]
    KeysUnknown,
}

/// What of a certificate tells the subject of a client (RFC 8705 §2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectForm {
    /// The distinguished name of the subject.
    DistinguishedName,
    /// A subject alternative name that is a name in DNS.
    Dns,
    /// One that is a URI.
    Uri,
    /// One that is an address.
    Ip,
    /// One that is an email address.
    Email,
}

impl SubjectForm {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::DistinguishedName, Self::Dns, Self::Uri, Self::Ip, Self::Email];

    /// The member of the client's metadata.
    pub const fn member(self) -> &'static str {
        match self {
            Self::DistinguishedName => "tls_client_auth_subject_dn",
            Self::Dns => "tls_client_auth_san_dns",
            Self::Uri => "tls_client_auth_san_uri",
            Self::Ip => "tls_client_auth_san_ip",
            Self::Email => "tls_client_auth_san_email",
        }
    }
}

/// The subject that a client has registered, one of the five forms of RFC 8705 §2.1.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateSubject {
    form: SubjectForm,
    text: Box<str>,
    expected: Expected,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Expected {
    DistinguishedName(Name),
    Dns,
    Uri,
    Ip(IpAddr),
    Email,
}

/// Why a text cannot be the subject of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateSubjectError {
    /// It is not a distinguished name.
    #[error("the distinguished name cannot be read: {0}")]
    DistinguishedName(#[from] DistinguishedNameError),
    /// It is not a name, URI or address of its form.
    #[error("{found} is not {expected}")]
    Malformed {
        /// The text, truncated and made printable.
        found: Box<str>,
        /// What it has to be.
        expected: &'static str,
    },
}

impl CertificateSubject {
    /// Reads the value of a member.
    ///
    /// # Errors
    /// [`CertificateSubjectError`], for a text that no certificate has in this form.
    pub fn parse(form: SubjectForm, text: &str) -> Result<Self, CertificateSubjectError> {
        let malformed = |expected| CertificateSubjectError::Malformed { found: shown_text(text), expected };
        let expected = match form {
            SubjectForm::DistinguishedName => Expected::DistinguishedName(Name::from_text(text)?),
            SubjectForm::Dns if is_host_name(text) => Expected::Dns,
            SubjectForm::Dns => {
                return Err(malformed("a name in DNS as certificates have it; write it without wildcard and port"));
            }
            SubjectForm::Uri if text.len() <= MAX_URI && is_uri(text) => Expected::Uri,
            SubjectForm::Uri => return Err(malformed("an absolute URI; write it exactly as the certificate has it")),
            SubjectForm::Ip => {
                let address =
                    text.parse().map_err(|_| malformed("an IP address; write it without brackets, port and prefix"))?;
                Expected::Ip(address)
            }
            SubjectForm::Email if email(text).is_some() => Expected::Email,
            SubjectForm::Email => return Err(malformed("an email address; write it as `local@domain`")),
        };
        Ok(Self { form, text: text.into(), expected })
    }

    /// Its form.
    pub const fn form(&self) -> SubjectForm {
        self.form
    }

    /// Its text as registered.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a certificate was issued to this subject.
    ///
    /// Distinguished names are compared as RFC 5280 §7.1 says; of alternative names, one has to be the same: names in DNS
    /// regardless of case and without wildcards, addresses as octets, email addresses with the case of their local part,
    /// URIs exactly.
    ///
    /// Does not check who issued it and when, which only [`authenticate_by_certificate`] does.
    ///
    /// [`authenticate_by_certificate`]: super::client::RegisteredClient::authenticate_by_certificate
    ///
    /// # Errors
    /// [`CertificateRefused::SubjectDiffers`].
    pub fn names(&self, certificate: &ClientCertificate) -> Result<(), CertificateRefused> {
        let der = certificate.der();
        let found = match X509Certificate::from_der(&der) {
            Ok((_, certificate)) => self.check(&certificate),
            Err(_) => Err("nothing that can be read".into()),
        };
        let (member, expected) = (self.form.member(), shown_text(&self.text));
        found.map_err(|found| CertificateRefused::SubjectDiffers { member, found, expected })
    }

    /// Fails with what the certificate has instead.
    fn check(&self, certificate: &X509Certificate<'_>) -> Result<(), Box<str>> {
        if let Expected::DistinguishedName(expected) = &self.expected {
            let same = Name::of(certificate.subject()) == *expected;
            return if same {
                Ok(())
            } else {
                Err(format!("the subject {}", shown_subject(certificate.subject())).into())
            };
        }
        // One that is there twice, or cannot be read, names nobody.
        let extension = certificate.subject_alternative_name().ok().flatten();
        let names = extension.iter().flat_map(|extension| &extension.value.general_names);
        let mut others = Vec::new();
        for name in names {
            let (shown, same) = match (name, &self.expected) {
                (GeneralName::DNSName(name), Expected::Dns) => {
                    ((*name).to_owned(), name.eq_ignore_ascii_case(&self.text))
                }
                (GeneralName::URI(name), Expected::Uri) => ((*name).to_owned(), **name == *self.text),
                (GeneralName::IPAddress(octets), Expected::Ip(expected)) => match address(octets) {
                    Some(address) => (address.to_string(), address == *expected),
                    None => continue,
                },
                (GeneralName::RFC822Name(name), Expected::Email) => {
                    let parts = (email(name), email(&self.text));
                    let same = matches!(parts, (Some((local, domain)), Some((expected_local, expected_domain)))
                        if local == expected_local && domain.eq_ignore_ascii_case(expected_domain));
                    ((*name).to_owned(), same)
                }
                _ => continue,
            };
            if same {
                return Ok(());
            }
            others.push(shown);
        }
        Err(format!("the alternative names of this form {}", Names::of(others)).into())
    }
}

/// The subject as RFC 4514 writes it, the last part first, so that it can be registered as shown.
fn shown_subject(subject: &X509Name<'_>) -> Box<str> {
    let mut parts: Vec<_> = subject.iter_rdn().cloned().collect();
    parts.reverse();
    shown_text(&peer::distinguished_name(&parts.into_iter().collect()))
}

/// RFC 5280 §4.2.1.6: four octets, or sixteen.
fn address(octets: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}

/// The local part and the domain of an email address (RFC 5321 §4.1.2).
fn email(text: &str) -> Option<(&str, &str)> {
    let (local, domain) = text.rsplit_once('@')?;
    let is_local = !local.is_empty() && local.len() <= 64 && local.bytes().all(|b| b.is_ascii_graphic());
    (is_local && is_host_name(domain)).then_some((local, domain))
}

/// RFC 1035 §2.3.4: names of at most 253 characters, in labels of at most 63.
fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(plain)
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

/// The certificates that a client has registered as those of its keys (RFC 8705 §2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelfSigned {
    certificates: Vec<CertificateThumbprint>,
    skipped: usize,
}

/// Why a key set has no certificates.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelfSignedError {
    /// Not a JSON object with an array `keys`.
    #[error("the document is not a JWK Set")]
    Malformed,
    /// More than 100 keys.
    #[error("the JWK Set has more than 100 keys")]
    TooMany,
    /// No key has a certificate.
    #[error("no key of the JWK Set has an x5c that begins with a certificate")]
    NoCertificate,
}

impl SelfSigned {
    /// Reads the first certificate in the `x5c` of each key (RFC 7517 §4.7), whatever the key is for. One that cannot be read is
    /// skipped and counted.
    ///
    /// Does not check that a certificate is of the key that has it: it is the certificate that is registered.
    ///
    /// # Errors
    /// [`SelfSignedError`].
    pub fn parse(jwks: &[u8]) -> Result<Self, SelfSignedError> {
        let entries = elements_of(jwks, "keys").map_err(|_| SelfSignedError::Malformed)?;
        if entries.len() > MAX_KEYS {
            return Err(SelfSignedError::TooMany);
        }
        let (mut certificates, mut skipped) = (Vec::new(), 0_usize);
        for entry in entries {
            match parse_object(entry.as_bytes()).map(|jwk| first_certificate(&jwk)) {
                Ok(Certificate::Read(thumbprint)) => certificates.push(thumbprint),
                Ok(Certificate::Absent) => {}
                Ok(Certificate::Unreadable) | Err(_) => skipped = skipped.saturating_add(1),
            }
        }
        if certificates.is_empty() { Err(SelfSignedError::NoCertificate) } else { Ok(Self { certificates, skipped }) }
    }

    /// The thumbprints of the certificates.
    pub fn certificates(&self) -> &[CertificateThumbprint] {
        &self.certificates
    }

    /// How many keys have an `x5c` that cannot be read, or cannot be read themselves.
    pub const fn skipped(&self) -> usize {
        self.skipped
    }

    /// Whether a certificate is one of them.
    ///
    /// # Errors
    /// [`CertificateRefused::NotRegistered`].
    pub fn names(&self, certificate: &ClientCertificate) -> Result<(), CertificateRefused> {
        let thumbprint = *certificate.thumbprint();
        // RFC 8705 §2.2: "The client is successfully authenticated if the certificate that it presented during the handshake
        // matches one of the certificates configured or registered for that particular client."
        if self.certificates.contains(&thumbprint) {
            Ok(())
        } else {
            Err(CertificateRefused::NotRegistered { thumbprint, registered: self.certificates.len() })
        }
    }
}

enum Certificate {
    Read(CertificateThumbprint),
    Absent,
    Unreadable,
}

/// RFC 7517 §4.7: "The PKIX certificate containing the key value MUST be the first certificate", each in base64, not base64url.
fn first_certificate(jwk: &Map<String, Value>) -> Certificate {
    let Some(chain) = jwk.get("x5c").filter(|chain| !chain.is_null()) else { return Certificate::Absent };
    let first = chain.as_array().and_then(|chain| chain.first()).and_then(Value::as_str);
    let certificate =
        first.and_then(|text| STANDARD.decode(text).ok()).and_then(|der| ClientCertificate::from_der(&der).ok());
    certificate.map_or(Certificate::Unreadable, |certificate| Certificate::Read(*certificate.thumbprint()))
}

/// The longest URI, in bytes.
const MAX_URI: usize = 2048;
/// As many as a key set may have ([`KeySet::parse`](crate::jose::keys::KeySet::parse)).
const MAX_KEYS: usize = 100;

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue, KeyPair, SanType};
    use serde_json::json;

    use super::*;
    use crate::testing;

    fn params() -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CountryName, DnValue::PrintableString("NL".try_into().unwrap()));
        params.distinguished_name.push(DnType::OrganizationName, "Bank, N.V.");
        params.distinguished_name.push(DnType::CommonName, "client 1");
        params.subject_alt_names = vec![
            SanType::DnsName("a.client.example".try_into().unwrap()),
            SanType::DnsName("*.client.example".try_into().unwrap()),
            SanType::URI("https://client.example/Id".try_into().unwrap()),
            SanType::IpAddress("192.0.2.1".parse().unwrap()),
            SanType::IpAddress("2001:db8::1".parse().unwrap()),
            SanType::Rfc822Name("Admin@client.example".try_into().unwrap()),
        ];
        params
    }

    fn signed(params: CertificateParams) -> ClientCertificate {
        let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        ClientCertificate::from_der(der.der()).unwrap()
    }

    fn subject(form: SubjectForm, text: &str) -> CertificateSubject {
        CertificateSubject::parse(form, text).unwrap()
    }

    #[test]
    fn fapi2_as_35_a_certificate_has_the_registered_subject_or_another() {
        use SubjectForm::{DistinguishedName as Dn, Dns, Email, Ip, Uri};
        let certificate = signed(params());
        for (form, text, same) in [
            (Dn, r"CN=client 1,O=Bank\, N.V.,C=NL", true), // control
            (Dn, r"cn=Client  1, o=bank\2c n.v., 2.5.4.6=#0c024e4c", true),
            (Dn, r"CN=client 2,O=Bank\, N.V.,C=NL", false),
            (Dn, r"C=NL,O=Bank\, N.V.,CN=client 1", false),
            (Dn, r"CN=client 1,O=Bank\, N.V.", false),
            (Dns, "a.client.example", true), // control
            (Dns, "A.CLIENT.example", true),
            (Dns, "b.client.example", false),
            (Dns, "client.example", false),
            (Dns, "192.0.2.1", false),
            (Uri, "https://client.example/Id", true), // control
            (Uri, "https://client.example/id", false),
            (Uri, "https://CLIENT.example/Id", false),
            (Uri, "https://client.example/Id/", false),
            (Ip, "192.0.2.1", true),            // control
            (Ip, "2001:DB8:0:0:0:0:0:1", true), // control
            (Ip, "192.0.2.2", false),
            (Ip, "::ffff:192.0.2.1", false),
            (Ip, "2001:db8::2", false),
            (Email, "Admin@client.example", true), // control
            (Email, "Admin@CLIENT.EXAMPLE", true),
            (Email, "admin@client.example", false),
            (Email, "Admin@other.example", false),
        ] {
            let judged = subject(form, text).names(&certificate);
            assert_eq!(judged.is_ok(), same, "{text}: {judged:?}");
            if let Err(error) = judged {
                let CertificateRefused::SubjectDiffers { member, expected, .. } = error else { panic!("{error}") };
                assert_eq!((member, expected), (form.member(), shown_text(text)));
            }
        }
    }

    #[test]
    fn what_a_certificate_has_instead_is_shown_as_it_can_be_registered() {
        let certificate = signed(params());
        let found = |form, text| match subject(form, text).names(&certificate) {
            Err(CertificateRefused::SubjectDiffers { found, .. }) => found.into_string(),
            other => panic!("{other:?}"),
        };
        let shown = found(SubjectForm::DistinguishedName, "CN=other");
        assert_eq!(shown, r#"the subject "CN=client 1, O=Bank\\, N.V., C=NL""#);
        assert_eq!(
            subject(SubjectForm::DistinguishedName, r"CN=client 1, O=Bank\, N.V., C=NL").names(&certificate),
            Ok(())
        );
        let names = |list: &str| format!("the alternative names of this form {list}");
        assert_eq!(found(SubjectForm::Dns, "b.example"), names(r#"["a.client.example", "*.client.example"]"#));
        assert_eq!(found(SubjectForm::Ip, "192.0.2.9"), names(r#"["192.0.2.1", "2001:db8::1"]"#));
        assert_eq!(found(SubjectForm::Uri, "a:b"), names(r#"["https://client.example/Id"]"#));
        assert_eq!(found(SubjectForm::Email, "a@b"), names(r#"["Admin@client.example"]"#));
    }

    #[test]
    fn rfc5280_4_2_alternative_names_that_are_there_twice_or_unreadable_name_nobody() {
        let dns = subject(SubjectForm::Dns, "a.client.example");
        let also = |extension: Option<&[u8]>, own: bool| {
            let mut params = params();
            if !own {
                params.subject_alt_names.clear();
            }
            let extension = extension.map(|value| CustomExtension::from_oid_content(&[2, 5, 29, 17], value.to_vec()));
            params.custom_extensions.extend(extension);
            dns.names(&signed(params))
        };
        let list = [&[0x30, 18, 0x82, 16], &b"a.client.example"[..]].concat();
        assert_eq!((also(None, true), also(Some(&list), false)), (Ok(()), Ok(()))); // controls
        assert!(also(Some(&list), true).is_err());
        assert!(also(Some(&list[..10]), false).is_err());
        assert!(also(None, false).is_err());
        let mut nul = list.clone();
        nul[5] = 0;
        assert!(also(Some(&nul), false).is_err());
    }

    #[test]
    fn what_no_certificate_has_cannot_be_registered() {
        use SubjectForm::{DistinguishedName as Dn, Dns, Email, Ip, Uri};
        for (form, good, bad) in [
            (Dn, "CN=a", &["", "client", "CN=a,", "X=a"][..]),
            (
                Dns,
                "client.example",
                &["", "*.client.example", "client.example.", "client.example:443", "a..b", "a b", "é.example"],
            ),
            (Uri, "urn:client:1", &["", "client", "client.example/a", "urn:", "1a:b", "a:b c", "a:é"]),
            (
                Ip,
                "2001:db8::1",
                &["", "[2001:db8::1]", "192.0.2.1:443", "192.0.2.0/24", "192.0.2", "fe80::1%1", "client.example"],
            ),
            (
                Email,
                "a@client.example",
                &["", "a", "a@", "@client.example", "a@*", "a b@client.example", "é@client.example"],
            ),
        ] {
            assert!(CertificateSubject::parse(form, good).is_ok(), "{good}"); // control
            for text in bad {
                let parsed = CertificateSubject::parse(form, text);
                let expected = match form {
                    Dn => matches!(parsed, Err(CertificateSubjectError::DistinguishedName(_))),
                    Dns | Uri | Ip | Email => matches!(parsed, Err(CertificateSubjectError::Malformed { .. })),
                };
                assert!(expected, "{text:?}: {parsed:?}");
            }
        }
        let long = |labels: usize| format!("a{}", ".a".repeat(labels));
        assert!(CertificateSubject::parse(Dns, &long(126)).is_ok()); // control
        assert!(CertificateSubject::parse(Dns, &long(127)).is_err());
        let label = |length: usize| CertificateSubject::parse(Dns, &"a".repeat(length)).is_ok();
        assert_eq!((label(63), label(64)), (true, false));
        let local = |length: usize| CertificateSubject::parse(Email, &format!("{}@a", "a".repeat(length))).is_ok();
        assert_eq!((local(64), local(65)), (true, false));
        let uri = |length: usize| CertificateSubject::parse(Uri, &format!("a:{}", "a".repeat(length - 2))).is_ok();
        assert_eq!((uri(MAX_URI), uri(MAX_URI + 1)), (true, false));
    }

    #[test]
    fn fapi2_as_36_a_certificate_is_one_of_the_key_set() {
        let (own, second, other) = (testing::certificate(), testing::certificate(), testing::certificate());
        let x5c = |certificates: &[&ClientCertificate]| {
            certificates.iter().map(|certificate| STANDARD.encode(certificate.der())).collect::<Vec<_>>()
        };
        let jwks = json!({ "keys": [
            { "kty": "EC", "x5c": x5c(&[&own, &other]) },
            { "kty": "RSA" },
            { "kty": "unknown", "use": "enc", "x5c": x5c(&[&second]) },
        ] });
        let registered = SelfSigned::parse(jwks.to_string().as_bytes()).unwrap();
        assert_eq!(registered.certificates(), [*own.thumbprint(), *second.thumbprint()]);
        assert_eq!(registered.skipped(), 0);
        assert_eq!((registered.names(&own), registered.names(&second)), (Ok(()), Ok(()))); // control
        // The issuer in a chain is not the client.
        let refused = CertificateRefused::NotRegistered { thumbprint: *other.thumbprint(), registered: 2 };
        assert_eq!(registered.names(&other), Err(refused));
    }

    #[test]
    fn a_chain_that_cannot_be_read_is_skipped_and_counted() {
        let own = testing::certificate();
        let good = STANDARD.encode(own.der());
        let with = |x5c: Value| {
            let jwks = json!({ "keys": [{ "kty": "EC", "x5c": x5c }, { "kty": "EC", "x5c": [good] }] });
            SelfSigned::parse(jwks.to_string().as_bytes()).unwrap()
        };
        assert_eq!((with(json!([good])).certificates().len(), with(json!([good])).skipped()), (2, 0)); // control
        assert_eq!((with(Value::Null).certificates().len(), with(Value::Null).skipped()), (1, 0));
        let trailing = STANDARD.encode([own.der(), vec![0]].concat());
        for x5c in
            [json!([]), json!({}), json!(good), json!([1]), json!([""]), json!(["MA=="]), json!([trailing, good])]
        {
            let read = with(x5c.clone());
            assert_eq!((read.certificates(), read.skipped()), (&[*own.thumbprint()][..], 1), "{x5c}");
        }
        let twice = format!(r#"{{"keys":[{{"x5c":["{good}"],"x5c":[]}},{{"x5c":["{good}"]}}]}}"#);
        assert_eq!(SelfSigned::parse(twice.as_bytes()).unwrap().skipped(), 1);
        for (jwks, error) in [
            ("", SelfSignedError::Malformed),
            ("[]", SelfSignedError::Malformed),
            (r#"{"keys":{}}"#, SelfSignedError::Malformed),
            (r#"{"keys":[]}"#, SelfSignedError::NoCertificate),
            (r#"{"keys":[{"kty":"EC"}]}"#, SelfSignedError::NoCertificate),
            (r#"{"keys":[{"x5c":["a"]}]}"#, SelfSignedError::NoCertificate),
        ] {
            assert_eq!(SelfSigned::parse(jwks.as_bytes()), Err(error), "{jwks}");
        }
        let many = |count: usize| {
            let mut keys = vec![json!({ "kty": "EC" }); count - 1];
            keys.push(json!({ "x5c": [good] }));
            SelfSigned::parse(json!({ "keys": keys }).to_string().as_bytes())
        };
        assert!(many(100).is_ok()); // control
        assert_eq!(many(101), Err(SelfSignedError::TooMany));
    }
}
