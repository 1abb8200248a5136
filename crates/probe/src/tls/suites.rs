//! The cipher suites that are worth asking a server for, each with what is said against it.

/// A cipher suite of IANA's registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suite {
    /// The two bytes that stand for it, as one number.
    pub number: u16,
    /// Its name in the registry.
    pub name: &'static str,
    /// What is said of it.
    pub class: Class,
}

impl Suite {
    /// The key exchange, which decides what a ServerKeyExchange looks like.
    pub(super) fn key_exchange(&self) -> Exchange {
        let (exchange, _) = self.name.split_once("_WITH_").unwrap_or_default();
        if exchange.starts_with("TLS_ECDHE_") || exchange.starts_with("TLS_ECDH_anon") {
            Exchange::Curve
        } else if exchange.starts_with("TLS_DHE_") || exchange.starts_with("TLS_DH_anon") {
            Exchange::Prime
        } else {
            Exchange::Other
        }
    }
}

/// What the parameters of a key exchange are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exchange {
    /// An elliptic curve (RFC 8422 §5.4).
    Curve,
    /// A prime and a generator (RFC 5246 §7.4.3).
    Prime,
    /// Those of neither, or none.
    Other,
}

/// What is said of a suite. One that belongs to several classes is in the one that stands last here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// A suite of TLS 1.3 (RFC 8446 §B.4), which has no weak ones.
    Tls13,
    /// One of the four that BCP 195 recommends for TLS 1.2 (RFC 9325 §4.2).
    Recommended,
    /// Authenticated encryption and ephemeral keys, and not recommended by BCP 195, which advises against those with ephemeral keys of
    /// finite fields (RFC 9325 §4.1).
    OtherAead,
    /// Ephemeral keys, and a block cipher whose MAC covers the plaintext, which is what padding oracles need, unless the server also
    /// agrees to `encrypt_then_mac` (RFC 9325 §4.2).
    Cbc,
    /// Keys of the certificate for Diffie-Hellman: no forward secrecy (RFC 9325 §4.1).
    StaticDh,
    /// Key transport by RSA: no forward secrecy (RFC 9325 §4.1).
    StaticRsa,
    /// DES, triple DES, IDEA: blocks of 64 bits, of which too many are equal. The first has 56 bits of security, and the second 112
    /// (RFC 9325 §4.1).
    SmallBlocks,
    /// RC4 (RFC 7465; RFC 9325 §4.1).
    Rc4,
    /// The server has no certificate (RFC 5246 §A.5).
    Anonymous,
    /// 40 bits, made for export from the United States (RFC 9325 §4.1 on less than 112 bits of security).
    Export,
    /// Nothing is encrypted (RFC 9325 §4.1).
    Null,
}

/// The suites of the `classes`, in the order of [`SUITES`].
pub fn numbers(classes: &[Class]) -> Vec<u16> {
    SUITES.iter().filter(|suite| classes.contains(&suite.class)).map(|suite| suite.number).collect()
}

/// Every suite of the table.
pub fn all() -> Vec<u16> {
    SUITES.iter().map(|suite| suite.number).collect()
}

/// Every suite that TLS 1.2 and earlier versions can have.
pub fn before_tls13() -> Vec<u16> {
    SUITES.iter().filter(|suite| suite.class != Class::Tls13).map(|suite| suite.number).collect()
}

/// The suite with this number, if it is in the table.
pub fn find(number: u16) -> Option<&'static Suite> {
    SUITES.iter().find(|suite| suite.number == number)
}

const fn suite(number: u16, name: &'static str, class: Class) -> Suite {
    Suite { number, name, class }
}

/// The suites worth asking for, the better ones first. Those with pre-shared keys, Kerberos or SRP are missing: a server on the web
/// has none.
pub static SUITES: &[Suite] = &[
    suite(0x1301, "TLS_AES_128_GCM_SHA256", Class::Tls13),
    suite(0x1302, "TLS_AES_256_GCM_SHA384", Class::Tls13),
    suite(0x1303, "TLS_CHACHA20_POLY1305_SHA256", Class::Tls13),
    suite(0x1304, "TLS_AES_128_CCM_SHA256", Class::Tls13),
    suite(0x1305, "TLS_AES_128_CCM_8_SHA256", Class::Tls13),
    suite(0xc02b, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", Class::Recommended),
    suite(0xc02c, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", Class::Recommended),
    suite(0xc02f, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", Class::Recommended),
    suite(0xc030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", Class::Recommended),
    suite(0xcca9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", Class::OtherAead),
    suite(0xcca8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", Class::OtherAead),
    suite(0xccaa, "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256", Class::OtherAead),
    suite(0xc0ac, "TLS_ECDHE_ECDSA_WITH_AES_128_CCM", Class::OtherAead),
    suite(0xc0ad, "TLS_ECDHE_ECDSA_WITH_AES_256_CCM", Class::OtherAead),
    suite(0xc0ae, "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8", Class::OtherAead),
    suite(0xc0af, "TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8", Class::OtherAead),
    suite(0xc05c, "TLS_ECDHE_ECDSA_WITH_ARIA_128_GCM_SHA256", Class::OtherAead),
    suite(0xc05d, "TLS_ECDHE_ECDSA_WITH_ARIA_256_GCM_SHA384", Class::OtherAead),
    suite(0xc060, "TLS_ECDHE_RSA_WITH_ARIA_128_GCM_SHA256", Class::OtherAead),
    suite(0xc061, "TLS_ECDHE_RSA_WITH_ARIA_256_GCM_SHA384", Class::OtherAead),
    suite(0x009e, "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256", Class::OtherAead),
    suite(0x009f, "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384", Class::OtherAead),
    suite(0xc09e, "TLS_DHE_RSA_WITH_AES_128_CCM", Class::OtherAead),
    suite(0xc09f, "TLS_DHE_RSA_WITH_AES_256_CCM", Class::OtherAead),
    suite(0xc023, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", Class::Cbc),
    suite(0xc024, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384", Class::Cbc),
    suite(0xc027, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", Class::Cbc),
    suite(0xc028, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384", Class::Cbc),
    suite(0xc009, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", Class::Cbc),
    suite(0xc00a, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", Class::Cbc),
    suite(0xc013, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", Class::Cbc),
    suite(0xc014, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", Class::Cbc),
    suite(0xc072, "TLS_ECDHE_ECDSA_WITH_CAMELLIA_128_CBC_SHA256", Class::Cbc),
    suite(0xc076, "TLS_ECDHE_RSA_WITH_CAMELLIA_128_CBC_SHA256", Class::Cbc),
    suite(0x0067, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256", Class::Cbc),
    suite(0x006b, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256", Class::Cbc),
    suite(0x0033, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA", Class::Cbc),
    suite(0x0039, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA", Class::Cbc),
    suite(0x0045, "TLS_DHE_RSA_WITH_CAMELLIA_128_CBC_SHA", Class::Cbc),
    suite(0x0088, "TLS_DHE_RSA_WITH_CAMELLIA_256_CBC_SHA", Class::Cbc),
    suite(0x009a, "TLS_DHE_RSA_WITH_SEED_CBC_SHA", Class::Cbc),
    suite(0x0032, "TLS_DHE_DSS_WITH_AES_128_CBC_SHA", Class::Cbc),
    suite(0xc02d, "TLS_ECDH_ECDSA_WITH_AES_128_GCM_SHA256", Class::StaticDh),
    suite(0xc031, "TLS_ECDH_RSA_WITH_AES_128_GCM_SHA256", Class::StaticDh),
    suite(0xc004, "TLS_ECDH_ECDSA_WITH_AES_128_CBC_SHA", Class::StaticDh),
    suite(0xc00e, "TLS_ECDH_RSA_WITH_AES_128_CBC_SHA", Class::StaticDh),
    suite(0x009c, "TLS_RSA_WITH_AES_128_GCM_SHA256", Class::StaticRsa),
    suite(0x009d, "TLS_RSA_WITH_AES_256_GCM_SHA384", Class::StaticRsa),
    suite(0xc09c, "TLS_RSA_WITH_AES_128_CCM", Class::StaticRsa),
    suite(0xc09d, "TLS_RSA_WITH_AES_256_CCM", Class::StaticRsa),
    suite(0x003c, "TLS_RSA_WITH_AES_128_CBC_SHA256", Class::StaticRsa),
    suite(0x003d, "TLS_RSA_WITH_AES_256_CBC_SHA256", Class::StaticRsa),
    suite(0x002f, "TLS_RSA_WITH_AES_128_CBC_SHA", Class::StaticRsa),
    suite(0x0035, "TLS_RSA_WITH_AES_256_CBC_SHA", Class::StaticRsa),
    suite(0x0041, "TLS_RSA_WITH_CAMELLIA_128_CBC_SHA", Class::StaticRsa),
    suite(0x0084, "TLS_RSA_WITH_CAMELLIA_256_CBC_SHA", Class::StaticRsa),
    suite(0x0096, "TLS_RSA_WITH_SEED_CBC_SHA", Class::StaticRsa),
    suite(0xc008, "TLS_ECDHE_ECDSA_WITH_3DES_EDE_CBC_SHA", Class::SmallBlocks),
    suite(0xc012, "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA", Class::SmallBlocks),
    suite(0x0016, "TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA", Class::SmallBlocks),
    suite(0x000a, "TLS_RSA_WITH_3DES_EDE_CBC_SHA", Class::SmallBlocks),
    suite(0x0007, "TLS_RSA_WITH_IDEA_CBC_SHA", Class::SmallBlocks),
    suite(0x0015, "TLS_DHE_RSA_WITH_DES_CBC_SHA", Class::SmallBlocks),
    suite(0x0009, "TLS_RSA_WITH_DES_CBC_SHA", Class::SmallBlocks),
    suite(0xc007, "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA", Class::Rc4),
    suite(0xc011, "TLS_ECDHE_RSA_WITH_RC4_128_SHA", Class::Rc4),
    suite(0x0005, "TLS_RSA_WITH_RC4_128_SHA", Class::Rc4),
    suite(0x0004, "TLS_RSA_WITH_RC4_128_MD5", Class::Rc4),
    suite(0x00a6, "TLS_DH_anon_WITH_AES_128_GCM_SHA256", Class::Anonymous),
    suite(0x00a7, "TLS_DH_anon_WITH_AES_256_GCM_SHA384", Class::Anonymous),
    suite(0x006c, "TLS_DH_anon_WITH_AES_128_CBC_SHA256", Class::Anonymous),
    suite(0x0034, "TLS_DH_anon_WITH_AES_128_CBC_SHA", Class::Anonymous),
    suite(0x003a, "TLS_DH_anon_WITH_AES_256_CBC_SHA", Class::Anonymous),
    suite(0x001b, "TLS_DH_anon_WITH_3DES_EDE_CBC_SHA", Class::Anonymous),
    suite(0x0018, "TLS_DH_anon_WITH_RC4_128_MD5", Class::Anonymous),
    suite(0xc018, "TLS_ECDH_anon_WITH_AES_128_CBC_SHA", Class::Anonymous),
    suite(0xc019, "TLS_ECDH_anon_WITH_AES_256_CBC_SHA", Class::Anonymous),
    suite(0xc017, "TLS_ECDH_anon_WITH_3DES_EDE_CBC_SHA", Class::Anonymous),
    suite(0xc016, "TLS_ECDH_anon_WITH_RC4_128_SHA", Class::Anonymous),
    suite(0x0014, "TLS_DHE_RSA_EXPORT_WITH_DES40_CBC_SHA", Class::Export),
    suite(0x0008, "TLS_RSA_EXPORT_WITH_DES40_CBC_SHA", Class::Export),
    suite(0x0006, "TLS_RSA_EXPORT_WITH_RC2_CBC_40_MD5", Class::Export),
    suite(0x0003, "TLS_RSA_EXPORT_WITH_RC4_40_MD5", Class::Export),
    suite(0x0017, "TLS_DH_anon_EXPORT_WITH_RC4_40_MD5", Class::Export),
    suite(0xc006, "TLS_ECDHE_ECDSA_WITH_NULL_SHA", Class::Null),
    suite(0xc010, "TLS_ECDHE_RSA_WITH_NULL_SHA", Class::Null),
    suite(0xc015, "TLS_ECDH_anon_WITH_NULL_SHA", Class::Null),
    suite(0x003b, "TLS_RSA_WITH_NULL_SHA256", Class::Null),
    suite(0x0002, "TLS_RSA_WITH_NULL_SHA", Class::Null),
    suite(0x0001, "TLS_RSA_WITH_NULL_MD5", Class::Null),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The class that a name gives away.
    fn class(name: &str) -> Class {
        let has = |part: &str| name.contains(part);
        let aead = has("_GCM_") || has("_CCM") || has("_POLY1305_");
        let recommended = name.starts_with("TLS_ECDHE_") && has("_AES_") && has("_GCM_");
        let marks = [
            (has("_NULL_"), Class::Null),
            (has("_EXPORT_"), Class::Export),
            (has("_anon_"), Class::Anonymous),
            (has("_RC4_"), Class::Rc4),
            (has("_DES_") || has("_3DES_") || has("_IDEA_"), Class::SmallBlocks),
            (name.starts_with("TLS_RSA_"), Class::StaticRsa),
            (name.starts_with("TLS_ECDH_"), Class::StaticDh),
            (!has("_WITH_"), Class::Tls13),
            (recommended, Class::Recommended),
            (aead, Class::OtherAead),
        ];
        marks.iter().find(|(marked, _)| *marked).map_or(Class::Cbc, |(_, class)| *class)
    }

    #[test]
    fn every_suite_is_there_once_and_in_the_class_that_its_name_says() {
        let (mut seen, mut names) = (BTreeSet::new(), BTreeSet::new());
        for suite in SUITES {
            assert!(seen.insert(suite.number) && names.insert(suite.name), "{suite:?}");
            assert_eq!(suite.class, class(suite.name), "{suite:?}");
            assert_eq!(find(suite.number), Some(suite));
        }
        assert!(SUITES.iter().is_sorted_by_key(|suite| suite.class), "the better ones first");
        assert_eq!(find(0x5600), None, "the signal of a fallback is no suite");
        assert_eq!(numbers(&[Class::Recommended]), [0xc02b, 0xc02c, 0xc02f, 0xc030]);
        assert_eq!(before_tls13().len() + numbers(&[Class::Tls13]).len(), SUITES.len());
    }

    #[test]
    fn key_exchange_is_read_from_the_name() {
        let exchange = |number| find(number).unwrap().key_exchange();
        assert_eq!([0xc02f, 0xc018].map(exchange), [Exchange::Curve; 2]);
        assert_eq!([0x009e, 0x0034, 0x0017].map(exchange), [Exchange::Prime; 3]);
        assert_eq!([0x002f, 0xc004, 0x1301].map(exchange), [Exchange::Other; 3]);
    }
}
