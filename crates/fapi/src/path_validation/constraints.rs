//! Name constraints (RFC 5280 §4.2.1.10).

use x509_parser::der_parser::asn1_rs::{Any, Class, FromDer};
use x509_parser::extensions::GeneralName;

use super::fault::{Extension, Fault};
use super::name::Name;

/// The subtrees of one extension.
#[derive(Clone, Debug, Default)]
pub(super) struct Constraints {
    permitted: Vec<Base>,
    excluded: Vec<Base>,
}

/// The names of a certificate.
pub(super) struct Names<'c> {
    pub(super) subject: Name,
    /// The email addresses in the subject; `None` for one that is not text.
    pub(super) emails: Vec<Option<String>>,
    pub(super) alternative: Vec<GeneralName<'c>>,
}

/// A subtree, or the form of names for which it cannot be decided.
#[derive(Clone, Debug, PartialEq)]
enum Base {
    Dns(Box<str>),
    Email(Box<str>),
    Uri(Box<str>),
    Directory(Name),
    Address { network: Box<[u8]>, mask: Box<[u8]> },
    Undecided(Form),
}

/// The alternatives of GeneralName.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Other,
    Email,
    Dns,
    X400,
    Directory,
    EdiParty,
    Uri,
    Address,
    Registered,
}

/// What the names of a certificate are compared with.
enum Presented<'c> {
    Text(&'c str),
    Directory(&'c Name),
    Address(&'c [u8]),
    Opaque,
}

/// How many comparisons of names are left.
pub(super) struct Comparisons(pub(super) usize);

impl Constraints {
    /// Reads the value of the extension; `None` if it is malformed.
    pub(super) fn from_der(value: &[u8]) -> Option<Self> {
        let (mut rest, mut constraints) = (sequence(value)?, Self::default());
        let mut last = None;
        while !rest.is_empty() {
            let (after, subtrees) = Any::from_der(rest).ok()?;
            rest = after;
            let tag = subtrees.tag().0;
            if subtrees.class() != Class::ContextSpecific || last.is_some_and(|last| tag <= last) {
                return None;
            }
            last = Some(tag);
            let bases = Base::all(subtrees.data)?;
            match tag {
                0 => constraints.permitted = bases,
                1 => constraints.excluded = bases,
                _ => return None,
            }
        }
        // RFC 5280 §4.2.1.10: "Conforming CAs MUST NOT issue certificates where name constraints is an empty sequence."
        last.map(|_| constraints)
    }

    /// Whether there are subtrees in a form, or with a minimum or maximum, that is not supported.
    pub(super) fn has_undecided(&self) -> bool {
        self.permitted.iter().chain(&self.excluded).any(|base| matches!(base, Base::Undecided(_)))
    }

    /// Checks every name of a certificate: the subject, its email addresses, and the subject alternative names.
    pub(super) fn check(&self, names: &Names<'_>, left: &mut Comparisons) -> Result<(), Fault> {
        if !names.subject.is_empty() && self.concerns(Form::Directory, left)? {
            self.check_name(Form::Directory, &Presented::Directory(&names.subject), left)?;
        }
        if self.concerns(Form::Email, left)? {
            for address in &names.emails {
                self.check_name(Form::Email, &Presented::Text(address.as_deref().ok_or(UNDECIDED)?), left)?;
            }
        }
        for name in &names.alternative {
            match name {
                // RFC 9598 §6: constraints on email addresses hold for SmtpUTF8Mailbox as well.
                GeneralName::OtherName(kind, _) => {
                    if kind.as_bytes() == SMTP_UTF8_MAILBOX && self.concerns(Form::Email, left)? {
                        return Err(UNDECIDED);
                    }
                    self.check_name(Form::Other, &Presented::Opaque, left)?;
                }
                GeneralName::RFC822Name(text) => self.check_name(Form::Email, &Presented::Text(text), left)?,
                GeneralName::DNSName(text) => self.check_name(Form::Dns, &Presented::Text(text), left)?,
                GeneralName::X400Address(_) => self.check_name(Form::X400, &Presented::Opaque, left)?,
                GeneralName::DirectoryName(name) if self.concerns(Form::Directory, left)? => {
                    self.check_name(Form::Directory, &Presented::Directory(&Name::of(name)), left)?;
                }
                GeneralName::DirectoryName(_) => {}
                GeneralName::EDIPartyName(_) => self.check_name(Form::EdiParty, &Presented::Opaque, left)?,
                GeneralName::URI(text) => self.check_name(Form::Uri, &Presented::Text(text), left)?,
                GeneralName::IPAddress(octets) => {
                    self.check_name(Form::Address, &Presented::Address(octets), left)?;
                }
                GeneralName::RegisteredID(_) => self.check_name(Form::Registered, &Presented::Opaque, left)?,
            }
        }
        Ok(())
    }

    /// Counts a look at every base, also at those that have another form than a name.
    fn count(&self, left: &mut Comparisons) -> Result<(), Fault> {
        let looks = self.permitted.len().saturating_add(self.excluded.len());
        left.0 = left.0.checked_sub(looks).ok_or(Fault::TooMuchWork)?;
        Ok(())
    }

    fn concerns(&self, form: Form, left: &mut Comparisons) -> Result<bool, Fault> {
        self.count(left)?;
        Ok(self.permitted.iter().chain(&self.excluded).any(|base| base.form() == form))
    }

    fn check_name(&self, form: Form, name: &Presented<'_>, left: &mut Comparisons) -> Result<(), Fault> {
        self.count(left)?;
        for base in self.excluded.iter().filter(|base| base.form() == form) {
            if base.matches(name, Role::Excluded)? {
                return Err(Fault::NameNotPermitted);
            }
        }
        let (mut restricted, mut permitted) = (false, false);
        for base in self.permitted.iter().filter(|base| base.form() == form) {
            restricted = true;
            permitted |= base.matches(name, Role::Permitted)?;
        }
        if restricted && !permitted { Err(Fault::NameNotPermitted) } else { Ok(()) }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Permitted,
    Excluded,
}

impl Base {
    fn all(mut subtrees: &[u8]) -> Option<Vec<Self>> {
        let mut bases = Vec::new();
        while !subtrees.is_empty() {
            let (after, subtree) = Any::from_der(subtrees).ok()?;
            subtrees = after;
            if subtree.class() != Class::Universal || subtree.tag().0 != SEQUENCE {
                return None;
            }
            let (bounds, base) = Any::from_der(subtree.data).ok()?;
            let base = Self::of(&GeneralName::try_from(base).ok()?)?;
            // "the minimum MUST be zero, and maximum MUST be absent"; zero is the default, and not encoded.
            bases.push(if bounds.is_empty() { base } else { Self::Undecided(base.form()) });
        }
        // GeneralSubtrees ::= SEQUENCE SIZE (1..MAX)
        (!bases.is_empty()).then_some(bases)
    }

    fn of(name: &GeneralName<'_>) -> Option<Self> {
        Some(match name {
            GeneralName::DNSName(name) if name.is_empty() || is_dns_name(name, Role::Permitted) => {
                Self::Dns((*name).into())
            }
            GeneralName::RFC822Name(name) if mailbox(name).is_some() || is_host(name) => Self::Email((*name).into()),
            GeneralName::URI(name) if is_host(name) => Self::Uri((*name).into()),
            GeneralName::DNSName(_) | GeneralName::RFC822Name(_) | GeneralName::URI(_) => return None,
            GeneralName::DirectoryName(name) => Self::Directory(Name::of(name)),
            GeneralName::IPAddress(octets) => {
                let (network, mask) = octets.split_at_checked(octets.len().checked_div(2)?)?;
                if !matches!(octets.len(), 8 | 32) || !is_contiguous(mask) {
                    return None;
                }
                Self::Address { network: network.into(), mask: mask.into() }
            }
            GeneralName::OtherName(..) => Self::Undecided(Form::Other),
            GeneralName::X400Address(_) => Self::Undecided(Form::X400),
            GeneralName::EDIPartyName(_) => Self::Undecided(Form::EdiParty),
            GeneralName::RegisteredID(_) => Self::Undecided(Form::Registered),
        })
    }

    const fn form(&self) -> Form {
        match self {
            Self::Dns(_) => Form::Dns,
            Self::Email(_) => Form::Email,
            Self::Uri(_) => Form::Uri,
            Self::Directory(_) => Form::Directory,
            Self::Address { .. } => Form::Address,
            Self::Undecided(form) => *form,
        }
    }

    /// Whether a name of the same form is in this subtree.
    fn matches(&self, name: &Presented<'_>, role: Role) -> Result<bool, Fault> {
        match (self, name) {
            (Self::Dns(base), Presented::Text(name)) => {
                if !is_dns_name(name, Role::Excluded) {
                    return Err(Fault::Malformed);
                }
                Ok(match name.strip_prefix("*.") {
                    None => is_below(name, base),
                    // What the wildcard could stand for has to be permitted as a whole, and must not be excluded in
                    // part.
                    Some(parent) => is_below(parent, base) || role == Role::Excluded && is_below(base, parent),
                })
            }
            (Self::Email(base), Presented::Text(name)) => {
                let (local, domain) = mailbox(name).ok_or(UNDECIDED)?;
                Ok(match mailbox(base) {
                    // RFC 5280 §7.5: the local part is compared as it is, the host without regard to case.
                    Some((base_local, base_domain)) => local == base_local && domain.eq_ignore_ascii_case(base_domain),
                    None => is_host_within(domain, base),
                })
            }
            (Self::Uri(base), Presented::Text(name)) => Ok(is_host_within(uri_host(name).ok_or(UNDECIDED)?, base)),
            (Self::Directory(base), Presented::Directory(name)) => {
                // A value that can only be compared octet by octet could be an excluded one in another spelling.
                if role == Role::Excluded && !(base.is_text() && name.is_text()) {
                    return Err(UNDECIDED);
                }
                Ok(name.is_within(base))
            }
            (Self::Address { network, mask }, Presented::Address(octets)) => {
                if !matches!(octets.len(), 4 | 16) {
                    return Err(Fault::Malformed);
                }
                let mut bits = network.iter().zip(mask).zip(octets.iter());
                Ok(octets.len() == network.len() && bits.all(|((network, mask), octet)| (network ^ octet) & mask == 0))
            }
            // "the application MUST either process the constraint or reject the certificate"
            (
                Self::Undecided(_)
                | Self::Dns(_)
                | Self::Email(_)
                | Self::Uri(_)
                | Self::Directory(_)
                | Self::Address { .. },
                _,
            ) => Err(UNDECIDED),
        }
    }
}

fn sequence(der: &[u8]) -> Option<&[u8]> {
    match Any::from_der(der) {
        Ok(([], any)) if any.class() == Class::Universal && any.tag().0 == SEQUENCE => Some(any.data),
        Ok(_) | Err(_) => None,
    }
}

/// Whether `name` is `base`, or has more labels to its left; every name is below the empty one.
fn is_below(name: &str, base: &str) -> bool {
    base.is_empty() || name.eq_ignore_ascii_case(base) || is_subdomain(name, base)
}

fn is_subdomain(name: &str, base: &str) -> bool {
    let start = name.len().checked_sub(base.len()).and_then(|at| name.split_at_checked(at));
    start.is_some_and(|(labels, tail)| labels.ends_with('.') && tail.eq_ignore_ascii_case(base))
}

/// A host that is `base`, or below it if `base` begins with a dot: the rule for email addresses and URIs.
fn is_host_within(host: &str, base: &str) -> bool {
    match base.strip_prefix('.') {
        Some(domain) => is_subdomain(host, domain),
        None => host.eq_ignore_ascii_case(base),
    }
}

/// Whether this is a host name as RFC 5280 §4.2.1.6 describes it, with underscores; a wildcard may come first in a
/// certificate, but not in a constraint.
fn is_dns_name(name: &str, role: Role) -> bool {
    let name = if role == Role::Excluded { name.strip_prefix("*.").unwrap_or(name) } else { name };
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// A host of a constraint on email addresses or URIs, perhaps with a dot before it.
fn is_host(name: &str) -> bool {
    is_dns_name(name.strip_prefix('.').unwrap_or(name), Role::Permitted)
}

/// Splits a mailbox into local part and host; `None` for quoted local parts, address literals and source routes.
fn mailbox(text: &str) -> Option<(&str, &str)> {
    let (local, domain) = text.split_once('@')?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte);
    (!local.is_empty() && local.bytes().all(is_plain) && is_dns_name(domain, Role::Permitted))
        .then_some((local, domain))
}

/// Returns the host of a URI; `None` without an authority, with user information, and for IP addresses.
///
/// "If the URI does not include an authority component that includes a host name specified as a fully qualified domain
/// name [...], then the application MUST reject the certificate."
fn uri_host(uri: &str) -> Option<&str> {
    let (scheme, rest) = uri.split_once("://")?;
    if !scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = match authority.split_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        Some(_) => return None,
        None => authority,
    };
    let is_number = host.rsplit('.').next().is_some_and(|label| label.starts_with(|c: char| c.is_ascii_digit()));
    (is_dns_name(host, Role::Permitted) && !is_number).then_some(host)
}

fn is_contiguous(mask: &[u8]) -> bool {
    let mut rest = mask.iter().skip_while(|octet| **octet == 0xff);
    let edge = rest.next().copied().unwrap_or(0);
    edge.leading_ones().saturating_add(edge.trailing_zeros()) >= 8 && rest.all(|octet| *octet == 0)
}

const UNDECIDED: Fault = Fault::Unsupported(Extension::NAME_CONSTRAINTS);
const SEQUENCE: u32 = 16;
/// 1.3.6.1.5.5.7.8.9
const SMTP_UTF8_MAILBOX: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 8, 9];
