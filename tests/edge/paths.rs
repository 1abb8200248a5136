//! Chains as RFC 5280 has them, judged by the rule that handshakes and forwarded certificates share: each that is
//! accepted stands beside a hostile twin that differs in one thing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fapi::UnixTime;
use fapi_gateway::connection::tls::{ExtendedKeyUsage, ForwardedRule, OnExpired, RevocationList, Trust, trust_anchor};
use rcgen::{
    BasicConstraints, CertificateParams, CrlDistributionPoint, CrlIssuingDistributionPoint, CustomExtension,
    DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyUsagePurpose,
    NameConstraints, SanType,
};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use sandbox::der::tlv;
use sandbox::pki::{self, Authority, Credential};

/// What decides, with anchors and lists that a test chooses.
struct Rule {
    anchors: Vec<CertificateDer<'static>>,
    lists: Vec<CertificateRevocationListDer<'static>>,
    on_expired: OnExpired,
}

impl Rule {
    fn of(anchor: &Authority) -> Self {
        Self { anchors: vec![anchor.der().clone()], lists: Vec::new(), on_expired: OnExpired::Refuse }
    }

    fn lists(mut self, lists: &[&CertificateRevocationListDer<'static>]) -> Self {
        self.lists = lists.iter().map(|list| (*list).clone()).collect();
        self
    }

    fn judge_at(&self, chain: &[CertificateDer<'static>], now: u64) -> Result<usize, &'static str> {
        let mut anchors = RootCertStore::empty();
        anchors.roots.extend(self.anchors.iter().map(|anchor| trust_anchor(anchor).expect("an anchor")));
        let lists = self.lists.iter().map(|list| RevocationList::from_der(list, &self.anchors).expect("a list"));
        let rule = ForwardedRule::new(&Trust::Chain {
            anchors: Arc::new(anchors),
            extended_key_usage: ExtendedKeyUsage::ClientAuthOrAbsent,
            revocation_lists: lists.collect(),
            on_expired: self.on_expired,
        });
        rule.judge(chain, UnixTime(now)).map(|(path, _)| path.len())
    }

    /// The reason to refuse it; "ok" if there is none.
    fn judge(&self, credential: &Credential) -> &'static str {
        self.judge_at(&credential.chain_der, sandbox::now()).err().unwrap_or("ok")
    }
}

/// What `judge` returns, in far less time than unbounded work takes.
#[expect(clippy::disallowed_methods, reason = "the time that the work takes is what is measured")]
fn soon<T>(judge: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let result = judge();
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    result
}

/// An extension of id-ce (2.5.29).
fn extension(number: u64, content: Vec<u8>) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, number], content);
    extension.set_criticality(true);
    extension
}

fn policy(number: u8) -> Vec<u8> {
    tlv(6, &[0x2b, 6, 1, 4, 1, 0x86, 0x8d, 0x1f, number])
}

fn any_policy() -> Vec<u8> {
    tlv(6, &[0x55, 0x1d, 0x20, 0])
}

/// Critical certificate policies.
fn policies(policies: &[Vec<u8>]) -> CustomExtension {
    let each: Vec<Vec<u8>> = policies.iter().map(|policy| tlv(0x30, policy)).collect();
    extension(32, tlv(0x30, &each.concat()))
}

/// Critical policy constraints.
fn policy_constraints(require_explicit: Option<u8>, inhibit_mapping: Option<u8>) -> CustomExtension {
    let fields = [(0x80, require_explicit), (0x81, inhibit_mapping)];
    let fields: Vec<Vec<u8>> = fields.iter().filter_map(|(tag, skip)| skip.map(|skip| tlv(*tag, &[skip]))).collect();
    extension(36, tlv(0x30, &fields.concat()))
}

fn mapping(from: u8, to: u8) -> CustomExtension {
    extension(33, tlv(0x30, &tlv(0x30, &[policy(from), policy(to)].concat())))
}

fn inhibit_any() -> CustomExtension {
    extension(54, tlv(2, &[0]))
}

fn with(extensions: Vec<CustomExtension>) -> impl FnOnce(&mut CertificateParams) {
    move |params| params.custom_extensions = extensions
}

/// A name with a country, an organization and a common name.
fn named(country: &str, organization: DnValue) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CountryName, DnValue::PrintableString(country.try_into().unwrap()));
    name.push(DnType::OrganizationName, organization);
    name.push(DnType::CommonName, "client");
    name
}

fn country(country: &str) -> GeneralSubtree {
    let mut name = DistinguishedName::new();
    name.push(DnType::CountryName, country);
    GeneralSubtree::DirectoryName(name)
}

/// An authority whose certificates may only have names in some subtrees.
fn limited(ca: &Authority, permitted: Vec<GeneralSubtree>, excluded: Vec<GeneralSubtree>) -> Authority {
    ca.intermediate_with("limited", |params| {
        params.name_constraints = Some(NameConstraints { permitted_subtrees: permitted, excluded_subtrees: excluded });
    })
}

#[test]
fn critical_policies_and_their_constraints_are_evaluated() {
    let ca = Authority::new("CA");
    let below = |extensions: Vec<CustomExtension>| ca.intermediate_with("below", with(extensions));
    let client = |authority: &Authority, extensions: Vec<CustomExtension>| authority.client_with("c", with(extensions));
    let explicit = || below(vec![policies(&[policy(1)]), policy_constraints(Some(0), None)]);
    let mapped = |extra: Vec<CustomExtension>| {
        let first = [policies(&[policy(1)]), policy_constraints(Some(0), None)].into_iter().chain(extra);
        below(first.collect()).intermediate_with("lower", with(vec![policies(&[policy(1)]), mapping(1, 2)]))
    };
    let any = |extra: Vec<CustomExtension>| {
        below([policies(&[any_policy()]), policy_constraints(Some(0), None)].into_iter().chain(extra).collect())
    };
    let qualified = |number: u8| {
        let kind = tlv(6, &[0x2b, 6, 1, 5, 5, 7, 2, number]);
        let qualifier = tlv(0x30, &[kind, tlv(22, b"https://ca.example/cps")].concat());
        let information = tlv(0x30, &[policy(1), tlv(0x30, &qualifier)].concat());
        extension(32, tlv(0x30, &information))
    };
    let not_valid = "no certificate policy is valid for its whole chain";
    let unsupported = "its extension certificatePolicies has something that is not supported";
    for (what, good, bad, why) in [
        ("policies", client(&ca, vec![qualified(1)]), client(&ca, vec![qualified(9)]), unsupported),
        (
            "an explicit policy",
            client(&explicit(), vec![policies(&[policy(1)])]),
            client(&explicit(), vec![policies(&[policy(2)])]),
            not_valid,
        ),
        ("none at all", client(&below(vec![policies(&[policy(1)])]), vec![]), client(&explicit(), vec![]), not_valid),
        (
            "mapping",
            client(&mapped(vec![]), vec![policies(&[policy(2)])]),
            client(&mapped(vec![]), vec![policies(&[policy(1)])]),
            not_valid,
        ),
        (
            "mapping inhibited",
            client(&mapped(vec![]), vec![policies(&[policy(2)])]),
            {
                let above = below(vec![policies(&[policy(1)]), policy_constraints(Some(0), Some(0))]);
                let lower = above.intermediate_with("lower", with(vec![policies(&[policy(1)]), mapping(1, 2)]));
                client(&lower, vec![policies(&[policy(2)])])
            },
            not_valid,
        ),
        (
            "any policy inhibited",
            client(&any(vec![]), vec![policies(&[any_policy()])]),
            client(&any(vec![inhibit_any()]), vec![policies(&[any_policy()])]),
            not_valid,
        ),
        (
            "any policy inhibited, another one named",
            client(&any(vec![inhibit_any()]), vec![policies(&[policy(1)])]),
            client(&any(vec![inhibit_any()]), vec![]),
            not_valid,
        ),
    ] {
        assert_eq!(Rule::of(&ca).judge(&good), "ok", "control of {what}");
        assert_eq!(Rule::of(&ca).judge(&bad), why, "{what}");
    }
}

#[test]
fn names_outside_the_subtrees_of_an_authority_are_refused() {
    let ca = Authority::new("CA");
    let of = |authority: &Authority, nation: &str, names: Vec<SanType>| {
        authority.client_with("c", |params| {
            params.distinguished_name = named(nation, "Bank".into());
            params.subject_alt_names = names;
        })
    };
    let directory = || limited(&ca, vec![country("NL")], vec![]);
    let without = || limited(&ca, vec![], vec![country("DE")]);
    // Forms that only the second validator decides; the constraint on the directory name makes it decide.
    let email = |base: &str| limited(&ca, vec![country("NL"), GeneralSubtree::Rfc822Name(base.into())], vec![]);
    let mailbox = |name: &str| vec![SanType::Rfc822Name(name.try_into().unwrap())];
    let dns = |base: &str| limited(&ca, vec![country("NL")], vec![GeneralSubtree::DnsName(base.into())]);
    let host = |name: &str| vec![SanType::DnsName(name.try_into().unwrap())];
    let address = || {
        let net = rcgen::CidrSubnet::from_v4_prefix([192, 0, 2, 0], 24);
        limited(&ca, vec![country("NL"), GeneralSubtree::IpAddress(net)], vec![])
    };
    let ip = |last: u8, third: u8| vec![SanType::IpAddress([192, 0, third, last].into())];
    let uri = |name: &str| vec![SanType::URI(name.try_into().unwrap())];
    let uris = |base: &[u8]| {
        let permitted = tlv(0xa0, &tlv(0x30, &tlv(0x86, base)));
        ca.intermediate_with("uris", with(vec![extension(30, tlv(0x30, &permitted))]))
    };
    let outside = "it has a name that its issuer may not certify";
    let unsupported = "its extension nameConstraints has something that is not supported";
    for (what, good, bad, why) in [
        ("country", of(&directory(), "NL", vec![]), of(&directory(), "DE", vec![]), outside),
        ("excluded country", of(&without(), "NL", vec![]), of(&without(), "DE", vec![]), outside),
        (
            "two authorities, one subtree each",
            of(&limited(&directory(), vec![country("NL")], vec![]), "NL", vec![]),
            of(&limited(&directory(), vec![country("DE")], vec![]), "NL", vec![]),
            outside,
        ),
        (
            "email",
            of(&email("bank.example"), "NL", mailbox("a@bank.example")),
            of(&email("bank.example"), "NL", mailbox("a@evil.example")),
            outside,
        ),
        (
            "email below",
            of(&email(".bank.example"), "NL", mailbox("a@mail.bank.example")),
            of(&email(".bank.example"), "NL", mailbox("a@bank.example")),
            outside,
        ),
        (
            "quoted email",
            of(&email("bank.example"), "NL", mailbox("a@bank.example")),
            of(&email("bank.example"), "NL", mailbox("\"a@evil.example\"@bank.example")),
            unsupported,
        ),
        (
            "host",
            of(&dns("evil.example"), "NL", host("bank.example")),
            of(&dns("evil.example"), "NL", host("a.evil.example")),
            outside,
        ),
        (
            "wildcard",
            of(&dns("a.evil.example"), "NL", host("*.bank.example")),
            of(&dns("a.evil.example"), "NL", host("*.evil.example")),
            outside,
        ),
        ("address", of(&address(), "NL", ip(7, 2)), of(&address(), "NL", ip(7, 3)), outside),
        (
            "uri",
            of(&uris(b"bank.example"), "NL", uri("https://bank.example:444/x?a@b")),
            of(&uris(b"bank.example"), "NL", uri("https://a.bank.example/")),
            outside,
        ),
        (
            "uri with user information",
            of(&uris(b".bank.example"), "NL", uri("https://a.bank.example/")),
            of(&uris(b".bank.example"), "NL", uri("https://a.evil.example@a.bank.example/")),
            unsupported,
        ),
    ] {
        assert_eq!(Rule::of(&ca).judge(&good), "ok", "control of {what}");
        assert_eq!(Rule::of(&ca).judge(&bad), why, "{what}");
    }
    // A limit on a form that is not supported counts where such a name is; the value is [0] minimum, otherName, ...
    let registered = |name: Vec<u8>| {
        let permitted = tlv(0xa0, &tlv(0x30, &tlv(0x88, &[0x2a, 3])));
        let authority = ca.intermediate_with("registered", with(vec![extension(30, tlv(0x30, &permitted))]));
        authority.client_with("c", with(vec![policies(&[policy(1)]), extension(17, tlv(0x30, &name))]))
    };
    assert_eq!(Rule::of(&ca).judge(&registered(tlv(0x82, b"bank.example"))), "ok", "control");
    assert_eq!(Rule::of(&ca).judge(&registered(tlv(0x88, &[0x2a, 3]))), unsupported);
    // RFC 5280 §4.2.1.10: "the minimum MUST be zero, and maximum MUST be absent".
    let bounded = |bounds: Vec<u8>| {
        let base = tlv(0xa4, &tlv(0x30, &tlv(0x31, &tlv(0x30, &[tlv(6, &[0x55, 4, 6]), tlv(19, b"NL")].concat()))));
        let permitted = tlv(0xa0, &tlv(0x30, &[base, bounds].concat()));
        of(&ca.intermediate_with("bounded", with(vec![extension(30, tlv(0x30, &permitted))])), "NL", vec![])
    };
    assert_eq!(Rule::of(&ca).judge(&bounded(vec![])), "ok", "control");
    assert_eq!(Rule::of(&ca).judge(&bounded(tlv(0x81, &[3]))), unsupported);
}

#[test]
fn a_name_in_another_string_type_is_the_same_name_and_another_key_is_not() {
    let ca = Authority::new("Example CA");
    let spelled = |name: &str| ca.spelled(DnValue::PrintableString(name.try_into().unwrap()));
    let rule = Rule::of(&ca);
    for same in ["Example CA", "EXAMPLE  ca", " example CA"] {
        assert_eq!(rule.judge(&spelled(same).client("c")), "ok", "{same:?}");
        assert_eq!(rule.judge(&spelled(same).intermediate("below").client("c")), "ok", "{same:?}");
    }
    assert_eq!(rule.judge(&spelled("ExampleCA").client("c")), "no chain leads to a trust anchor");
    let stranger = Authority::new("Example CA").spelled(DnValue::PrintableString("Example CA".try_into().unwrap()));
    assert_eq!(rule.judge(&stranger.client("c")), "its issuer did not sign it");
}

#[test]
fn a_certificate_with_unique_identifiers_is_judged_like_any_other() {
    let ca = Authority::new("CA");
    let between = ca.intermediate("between");
    let identified = |credential: Credential, signer: &Authority| {
        // RFC 5280 §4.1: issuerUniqueID and subjectUniqueID stand before the extensions.
        signer.reissued(&credential, |fields| {
            let extensions = fields.pop().unwrap();
            fields.extend([tlv(0x81, &[0, 1, 2]), tlv(0x82, &[0, 3, 4]), extensions]);
        })
    };
    let rule = Rule::of(&ca);
    assert_eq!(rule.judge(&identified(ca.client("c"), &ca)), "ok");
    assert_eq!(rule.judge(&identified(between.client("c"), &between)), "ok");
    let stranger = Authority::new("CA");
    assert_eq!(rule.judge(&identified(ca.client("c"), &stranger)), "its issuer did not sign it");
    assert_eq!(rule.judge(&identified(ca.client_with("c", pki::expired), &ca)), "it or one of its issuers has expired");
    let limited = limited(&ca, vec![country("NL")], vec![]);
    let outside = limited.client_with("c", |params| params.distinguished_name = named("DE", "Bank".into()));
    assert_eq!(rule.judge(&identified(outside, &limited)), "it has a name that its issuer may not certify");
}

/// The second validator takes none of the checks of the first for granted: every chain here has something that makes
/// it decide.
#[test]
fn what_the_first_validator_would_refuse_the_second_refuses_too() {
    let ca = Authority::new("CA");
    let forced = |adjust: &dyn Fn(&mut CertificateParams)| {
        ca.intermediate_with("forced", |params| {
            params.custom_extensions = vec![policies(&[policy(1)])];
            adjust(params);
        })
    };
    let plain = || forced(&|_| {});
    let rule = Rule::of(&ca);
    assert_eq!(rule.judge(&plain().client("c")), "ok", "control");
    assert_eq!(rule.judge(&plain().intermediate("lower").client("c")), "ok", "control");

    let expired = "it or one of its issuers has expired";
    assert_eq!(rule.judge(&plain().client_with("c", pki::expired)), expired);
    assert_eq!(rule.judge(&forced(&|params| pki::expired(params)).client("c")), expired);
    assert_eq!(rule.judge(&plain().client_with("c", pki::not_yet_valid)), "it is not valid yet");
    let purpose = "it is not valid for client authentication";
    let server =
        |params: &mut CertificateParams| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    assert_eq!(rule.judge(&plain().client_with("c", server)), purpose);
    assert_eq!(rule.judge(&forced(&server).client("c")), purpose);
    let signing_only = |params: &mut CertificateParams| params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    assert_eq!(rule.judge(&plain().client_with("c", signing_only)), purpose);

    let authority = |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let not_authority = |params: &mut CertificateParams| params.is_ca = IsCa::ExplicitNoCa;
    let no_signing = |params: &mut CertificateParams| params.key_usages = vec![KeyUsagePurpose::CrlSign];
    let none_below = |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let empty_purposes = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![];
        params.custom_extensions = vec![extension(37, tlv(0x30, &[]))];
    };
    let critical = |params: &mut CertificateParams| params.custom_extensions.push(extension(99, vec![5, 0]));
    for (what, bad) in [
        ("a client that is an authority", plain().client_with("c", authority)),
        ("an issuer that is none", forced(&not_authority).client("c")),
        ("an issuer that may not sign", forced(&no_signing).client("c")),
        ("a path that is too long", forced(&none_below).intermediate("lower").client("c")),
        ("an empty extended key usage", plain().client_with("c", empty_purposes)),
        ("an unknown critical extension", plain().client_with("c", critical)),
    ] {
        assert_ne!(rule.judge(&bad), "ok", "{what}");
    }
    assert_eq!(rule.judge(&forced(&none_below).client("c")), "ok", "control");
    let issuer = plain();
    let unchanged = issuer.reissued(&issuer.client("c"), |_| {});
    assert_eq!(rule.judge(&unchanged), "ok", "control");
    // Version and extensions come first and last.
    let version_one = issuer.reissued(&issuer.client("c"), |fields| {
        fields.remove(0);
        fields.pop();
    });
    assert_ne!(rule.judge(&version_one), "ok", "version 1");
    let twice = {
        let credential = issuer.client("c");
        issuer.reissued(&credential, |fields| {
            let explicit = sandbox::der::content(fields.last().unwrap()).to_vec();
            let extensions = sandbox::der::content(&explicit).to_vec();
            let first = sandbox::der::values(&extensions).remove(0);
            *fields.last_mut().unwrap() = tlv(0xa3, &tlv(0x30, &[extensions, first].concat()));
        })
    };
    assert_ne!(rule.judge(&twice), "ok", "an extension that is there twice");
}

#[test]
fn a_hostile_chain_costs_a_bounded_amount_of_work() {
    let now = sandbox::now();
    let force = || with(vec![policies(&[policy(1)])]);
    let ca = Authority::new("Same");
    let good = ca.intermediate_with("Same", force()).client("c");
    // Many authorities of one name, none of which is the issuer, and every order of them would be a path.
    let crowd: Vec<CertificateDer<'static>> =
        (0..8).map(|_| Authority::new("Same").intermediate_with("Same", force()).der().clone()).collect();
    let mut lost: Vec<_> = good.chain_der[..1].to_vec();
    lost.extend(crowd.iter().cloned());
    // Two that certify each other.
    let loops: Vec<_> = {
        let (first, second) = (Authority::new("First"), Authority::new("Second"));
        let (over, under) = (first.intermediate_with("Second", force()), second.intermediate_with("First", force()));
        let leaf = over.client("c").chain_der.remove(0);
        vec![leaf, over.der().clone(), under.der().clone(), first.der().clone(), second.der().clone()]
    };
    let many_anchors = Rule {
        anchors: (0..100).map(|_| Authority::new("Same").der().clone()).chain([ca.der().clone()]).collect(),
        ..Rule::of(&ca)
    };
    for (what, chain) in [("crowd", &lost), ("loop", &loops)] {
        for rule in [&Rule::of(&ca), &many_anchors] {
            assert!(soon(|| rule.judge_at(chain, now)).is_err(), "{what}");
        }
    }
    // What does not belong to the path changes nothing, in any order.
    let mut crowded = good.chain_der.clone();
    crowded.extend(crowd[..3].iter().cloned());
    assert_eq!(Rule::of(&ca).judge_at(&crowded, now), Ok(1), "control");
    crowded[1..].reverse();
    assert_eq!(Rule::of(&ca).judge_at(&crowded, now), Ok(1), "control");
    // The longest chain, and one that is longer.
    let deep = |depth: usize| {
        let mut authority = ca.clone();
        for level in 0..depth {
            authority = authority.intermediate_with(&format!("level {level}"), force());
        }
        authority.client("c")
    };
    assert_eq!(Rule::of(&ca).judge(&deep(9)), "ok", "control");
    assert_eq!(Rule::of(&ca).judge(&deep(10)), "no chain leads to a trust anchor");
    let plain = |depth: usize| {
        let authority = (0..depth).fold(ca.clone(), |above, level| above.intermediate(&format!("level {level}")));
        authority.client("c")
    };
    assert_eq!(Rule::of(&ca).judge(&plain(9)), "ok");
    assert_eq!(Rule::of(&ca).judge(&plain(10)), "no chain leads to a trust anchor");
}

#[test]
fn policies_that_map_to_each_other_do_not_multiply() {
    let ca = Authority::new("CA");
    let all: Vec<Vec<u8>> = (1..=60).map(policy).collect();
    let mappings = || {
        let pairs =
            all.iter().flat_map(|from| all.iter().map(move |to| tlv(0x30, &[from.clone(), to.clone()].concat())));
        // Of all pairs, those that fit into a certificate of ordinary size.
        extension(33, tlv(0x30, &pairs.take(200).collect::<Vec<_>>().concat()))
    };
    let mut authority = ca.clone();
    for level in 0..8 {
        authority = authority.intermediate_with(&format!("level {level}"), with(vec![policies(&all), mappings()]));
    }
    let client = authority.client_with("c", with(vec![policies(&all)]));
    assert_eq!(soon(|| Rule::of(&ca).judge(&client)), "ok");
}

#[test]
fn names_are_compared_with_so_many_subtrees_and_no_more() {
    let ca = Authority::new("CA");
    let subtrees = (0..400).map(|number| GeneralSubtree::Rfc822Name(format!("{number}.example"))).collect();
    let issuer = ca.intermediate_with("issuer", |params| {
        params.custom_extensions = vec![policies(&[policy(1)])];
        params.name_constraints = Some(NameConstraints { permitted_subtrees: subtrees, excluded_subtrees: Vec::new() });
    });
    let client = |names: usize| {
        issuer.client_with("c", |params| {
            let names = (0..names).map(|number| SanType::DnsName(format!("{number}.example").try_into().unwrap()));
            params.subject_alt_names = names.collect();
        })
    };
    assert_eq!(Rule::of(&ca).judge(&client(200)), "ok");
    assert_ne!(soon(|| Rule::of(&ca).judge(&client(300))), "ok");
}

#[test]
fn a_list_of_version_1_decides_like_any_other() {
    let ca = Authority::new("CA");
    let between = ca.intermediate("between");
    let (kept, revoked, below) = (ca.client("kept"), ca.client("revoked"), between.client("below"));
    let list = ca.version_one_list(&[&revoked], |_| {});
    let rule = || Rule::of(&ca).lists(&[&list]);
    assert_eq!(rule().judge(&kept), "ok");
    assert_eq!(rule().judge(&revoked), "it was revoked");
    // Every certificate needs a list of its issuer; lists of both versions can stand beside each other.
    assert_eq!(rule().judge(&below), "no revocation list covers it");
    let of_both = [
        (between.version_one_list(&[], |_| {}), "ok"),
        (between.version_one_list(&[&below], |_| {}), "it was revoked"),
        (between.revocation_list(&[]), "ok"),
        (between.revocation_list(&[&below]), "it was revoked"),
        (ca.intermediate("between").version_one_list(&[], |_| {}), "no revocation list covers it"),
        (ca.intermediate("between").revocation_list(&[]), "no revocation list covers it"),
    ];
    for (number, (other, expected)) in of_both.iter().enumerate() {
        for lists in [[&list, other], [other, &list]] {
            assert_eq!(Rule::of(&ca).lists(&lists).judge(&below), *expected, "{number}");
            assert_eq!(Rule::of(&ca).lists(&lists).judge(&kept), "ok", "{number}: control");
            assert_eq!(Rule::of(&ca).lists(&lists).judge(&revoked), "it was revoked", "{number}");
        }
    }
    // RFC 5280 §5.1.2.6: extensions of an entry need version 2.
    let read = |reason: Option<rcgen::RevocationReason>| {
        let list = ca.version_one_list(&[&revoked], |list| {
            list.revoked_certs.iter_mut().for_each(|entry| entry.reason_code = reason);
        });
        RevocationList::from_der(&list, &rule().anchors).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(read(None), Ok(()), "control");
    let malformed = "it is not a certificate revocation list in PEM or DER";
    assert_eq!(read(Some(rcgen::RevocationReason::KeyCompromise)), Err(malformed.to_owned()));
    // The newest list of an authority counts, whatever its version.
    let newer = ca.revocation_list_with(&[], |list| list.this_update += time::Duration::minutes(30));
    assert_eq!(Rule::of(&ca).lists(&[&list, &newer]).judge(&revoked), "ok");
    let older = ca.revocation_list_with(&[], |list| list.this_update -= time::Duration::minutes(30));
    assert_eq!(Rule::of(&ca).lists(&[&list, &older]).judge(&revoked), "it was revoked");
    // After its nextUpdate it is like any other, too.
    let late = sandbox::now() + 31 * 24 * 60 * 60;
    let lasting = |params: &mut CertificateParams| params.not_after += time::Duration::days(90);
    let (kept, revoked) = (ca.client_with("kept", lasting), ca.client_with("revoked", lasting));
    let list = ca.version_one_list(&[&revoked], |_| {});
    let mut rule = Rule::of(&ca).lists(&[&list]);
    assert_eq!(rule.judge_at(&kept.chain_der, late), Err("its revocation list is past its nextUpdate"));
    rule.on_expired = OnExpired::Accept;
    assert_eq!(rule.judge_at(&kept.chain_der, late), Ok(0));
    assert_eq!(rule.judge_at(&revoked.chain_der, late), Err("it was revoked"));
}

#[test]
fn a_list_whose_issuer_is_spelled_differently_decides_like_any_other() {
    let ca = Authority::new("Example CA");
    let spelled = ca.spelled(DnValue::PrintableString("EXAMPLE CA".try_into().unwrap()));
    let (kept, revoked) = (ca.client("kept"), ca.client("revoked"));
    let plain = ca.revocation_list_with(&[], |list| list.this_update -= time::Duration::minutes(30));
    for list in [spelled.revocation_list(&[&revoked]), spelled.version_one_list(&[&revoked], |_| {})] {
        // Alone, and after webpki's yes by an older list with the other spelling.
        for lists in [vec![&list], vec![&list, &plain], vec![&plain, &list]] {
            assert_eq!(Rule::of(&ca).lists(&lists).judge(&kept), "ok", "control");
            assert_eq!(Rule::of(&ca).lists(&lists).judge(&revoked), "it was revoked");
        }
    }
    assert_eq!(Rule::of(&ca).lists(&[&plain]).judge(&revoked), "ok", "control: the older list does not name it");
    let other = ca.spelled(DnValue::PrintableString("ExampleCA".try_into().unwrap()));
    let list = other.revocation_list(&[&revoked]);
    assert_eq!(Rule::of(&ca).lists(&[&list]).judge(&kept), "no revocation list covers it");
    // A stranger's list with the anchor's name is an error of the configuration, in every spelling and version.
    let stranger = Authority::new("x").spelled(DnValue::PrintableString("example ca".try_into().unwrap()));
    for list in [stranger.revocation_list(&[]), stranger.version_one_list(&[], |_| {})] {
        let read = RevocationList::from_der(&list, &[ca.der().clone()]);
        assert!(read.is_err_and(|error| error.to_string().contains("did not sign it")));
    }
}

/// A list for the certificates that name this distribution point, or for all of them, made so many minutes later.
fn list_of(
    ca: &Authority,
    point: Option<&str>,
    later: i64,
    revoked: &[&Credential],
) -> CertificateRevocationListDer<'static> {
    ca.revocation_list_with(revoked, |list| {
        list.this_update += time::Duration::minutes(later);
        list.issuing_distribution_point = point.map(|uri| CrlIssuingDistributionPoint {
            distribution_point: CrlDistributionPoint { uris: vec![uri.to_owned()] },
            scope: None,
        });
    })
}

#[test]
fn of_all_lists_that_cover_a_certificate_none_may_name_it_in_whatever_order_they_stand() {
    let ca = Authority::new("CA");
    let at = |uris: &'static [&'static str]| {
        move |params: &mut CertificateParams| {
            let points = uris.iter().map(|uri| CrlDistributionPoint { uris: vec![(*uri).to_owned()] });
            params.crl_distribution_points = points.collect();
        }
    };
    let client = |uris| [ca.client_with("kept", at(uris)), ca.client_with("revoked", at(uris))];
    let (in_one, in_both, in_none) =
        (client(&["http://crl/1"]), client(&["http://crl/1", "http://crl/2"]), client(&[]));
    let revoked = [&in_one[1], &in_both[1], &in_none[1]];
    let (one, two) = (Some("http://crl/1"), Some("http://crl/2"));
    for (what, lists) in [
        ("all: the newer", vec![list_of(&ca, None, 0, &[]), list_of(&ca, None, 30, &revoked)]),
        ("all, newer than a part", vec![list_of(&ca, one, 0, &[]), list_of(&ca, None, 30, &revoked)]),
        ("all, newer than another part", vec![list_of(&ca, two, 0, &[]), list_of(&ca, None, 30, &revoked)]),
        (
            "a part, newer than all",
            vec![list_of(&ca, None, 0, &[&in_none[1]]), list_of(&ca, one, 30, &[&in_one[1], &in_both[1]])],
        ),
        ("all, older than a part", vec![list_of(&ca, one, 30, &[]), list_of(&ca, None, 0, &revoked)]),
    ] {
        let orders = [[&lists[0], &lists[1]], [&lists[1], &lists[0]]];
        for order in orders {
            for [kept, revoked] in [&in_one, &in_both, &in_none] {
                assert_eq!(Rule::of(&ca).lists(&order).judge(revoked), "it was revoked", "{what}");
                assert_eq!(Rule::of(&ca).lists(&order).judge(kept), "ok", "{what}: control");
            }
        }
    }
    // A certificate that names no point is in no part: the part that it is in is not known.
    let parts = [list_of(&ca, one, 0, &[]), list_of(&ca, two, 0, &[&in_none[1], &in_both[1]])];
    for order in [[&parts[0], &parts[1]], [&parts[1], &parts[0]]] {
        assert_eq!(Rule::of(&ca).lists(&order).judge(&in_one[0]), "ok", "control");
        assert_eq!(Rule::of(&ca).lists(&order).judge(&in_both[0]), "ok", "control");
        assert_eq!(Rule::of(&ca).lists(&order).judge(&in_both[1]), "it was revoked");
        assert_eq!(Rule::of(&ca).lists(&order).judge(&in_none[0]), "no revocation list covers it");
        assert_ne!(Rule::of(&ca).lists(&order).judge(&in_none[1]), "ok");
    }
    assert_eq!(Rule::of(&ca).lists(&[&parts[0]]).judge(&in_none[0]), "no revocation list covers it");
    assert_eq!(Rule::of(&ca).lists(&[&parts[1]]).judge(&in_one[0]), "no revocation list covers it");
}

#[test]
fn two_intermediate_authorities_with_one_name_have_a_list_each() {
    let ca = Authority::new("CA");
    let (old, new) = (ca.intermediate("between"), ca.intermediate("between"));
    let clients = [old.client("kept"), new.client("kept"), old.client("revoked"), new.client("revoked")];
    let of_new = new.revocation_list_with(&[&clients[3]], |list| list.this_update += time::Duration::minutes(30));
    let (of_ca, of_old) = (ca.revocation_list(&[]), old.revocation_list(&[&clients[2]]));
    for lists in [[&of_ca, &of_old, &of_new], [&of_new, &of_old, &of_ca]] {
        let rule = Rule::of(&ca).lists(&lists);
        for (client, expected) in clients.iter().zip(["ok", "ok", "it was revoked", "it was revoked"]) {
            assert_eq!(rule.judge(client), expected);
        }
    }
    assert_eq!(Rule::of(&ca).lists(&[&of_ca, &of_new]).judge(&clients[1]), "ok", "control");
    assert_eq!(Rule::of(&ca).lists(&[&of_ca, &of_new]).judge(&clients[0]), "no revocation list covers it");
}

#[test]
fn a_trust_anchor_without_a_list_covers_nothing_although_another_has_its_name() {
    let (old, new) = (Authority::new("CA"), Authority::new("CA"));
    let (of_old, of_new) = (old.revocation_list(&[]), new.revocation_list(&[]));
    let rule = |lists: &[&CertificateRevocationListDer<'static>]| {
        let anchors = vec![old.der().clone(), new.der().clone()];
        Rule { anchors, ..Rule::of(&old) }.lists(lists)
    };
    assert_eq!(rule(&[&of_old]).judge(&old.client("c")), "ok", "control");
    assert_eq!(rule(&[&of_old, &of_new]).judge(&new.client("c")), "ok", "control");
    assert_eq!(rule(&[]).judge(&new.client("c")), "ok", "control: revocation is not checked");
    assert_eq!(rule(&[&of_old]).judge(&new.client("c")), "no revocation list covers it");
}

#[test]
fn an_authority_that_may_not_sign_lists_covers_nothing() {
    let ca = Authority::new("CA");
    let with_usages = |usages: Vec<KeyUsagePurpose>| ca.intermediate_with("below", |params| params.key_usages = usages);
    for (usages, expected) in [
        (vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign], "ok"),
        (vec![KeyUsagePurpose::KeyCertSign], "no revocation list covers it"),
    ] {
        // rcgen does not sign lists for an authority that may not, so the key signs as an authority of another kind.
        let below = with_usages(usages);
        let signer = below.spelled("below".into());
        let lists = [ca.version_one_list(&[], |_| {}), signer.version_one_list(&[], |_| {})];
        let rule = Rule::of(&ca).lists(&lists.iter().collect::<Vec<_>>());
        assert_eq!(rule.judge(&below.client("c")), expected);
    }
}
