//! The client's certificate in fields for the upstream (RFC 9440).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

use crate::UnixTime;
use crate::peer::{ClientCertificate, Peer};
use crate::token::Confirmation;

/// A valid client certificate that a trust anchor, or the token bound to it, vouches for.
///
/// Possession of its key does not prove that the names in a certificate are true, so one without a voucher is not
/// forwarded.
#[derive(Clone, Copy, Debug)]
pub struct VouchedCertificate<'p>(&'p ClientCertificate);

impl<'p> VouchedCertificate<'p> {
    /// The certificate of `peer`, if it may be forwarded.
    ///
    /// | chain verified | token | forwarded |
    /// | --- | --- | --- |
    /// | yes | any, or none | while it is valid |
    /// | no | bound to this certificate | while it is valid |
    /// | no | bound to a key or to another certificate, or none | never |
    ///
    /// `chain_verified` says whether the listener accepts only certificates whose chain leads to a trust anchor;
    /// `bound_to` is what the token of the request is bound to, if there is a token.
    pub fn of(peer: &'p Peer, chain_verified: bool, bound_to: Option<&Confirmation>, now: UnixTime) -> Option<Self> {
        let certificate = peer.certificate().filter(|certificate| certificate.valid_at(now))?;
        let bound = bound_to.and_then(Confirmation::certificate) == Some(certificate.thumbprint());
        (chain_verified || bound).then_some(Self(certificate))
    }

    /// The value of `Client-Cert` (RFC 9440 §2.1).
    pub(super) const fn header_value(&self) -> &HeaderValue {
        self.0.header_value()
    }
}

/// The value of `Client-Cert-Chain` (RFC 9440 §2.3): a list of byte sequences with the authorities above a certificate,
/// in DER. `None` if there are none.
pub fn client_cert_chain(authorities: &[impl AsRef<[u8]>]) -> Option<HeaderValue> {
    if authorities.is_empty() {
        return None;
    }
    let items: Vec<String> = authorities.iter().map(|der| format!(":{}:", STANDARD.encode(der))).collect();
    HeaderValue::try_from(items.join(", ")).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::jose::thumbprint::{CertificateThumbprint, KeyThumbprint};
    use crate::peer::NoCertificate;
    use crate::testing::certificate;

    const NOW: UnixTime = UnixTime(1_800_000_000);
    const KEY: KeyThumbprint = KeyThumbprint::from_bytes([7; 32]);
    const OTHER: CertificateThumbprint = CertificateThumbprint::from_bytes([7; 32]);

    #[test]
    fn a_certificate_is_named_if_a_trust_anchor_or_the_token_vouches_for_it() {
        let own = Arc::new(certificate());
        let thumbprint = *own.thumbprint();
        let bindings = [
            (None, false),
            (Some(Confirmation::Key(KEY)), false),
            (Some(Confirmation::Certificate(OTHER)), false),
            (Some(Confirmation::Both(OTHER, KEY)), false),
            (Some(Confirmation::Certificate(thumbprint)), true),
            (Some(Confirmation::Both(thumbprint, KEY)), true),
        ];
        for peer in [Peer::Certificate(own.clone()), Peer::Forwarded(own.clone())] {
            for (bound_to, named) in &bindings {
                let named_with =
                    |chain_verified| VouchedCertificate::of(&peer, chain_verified, bound_to.as_ref(), NOW).is_some();
                assert!(named_with(true), "{bound_to:?}"); // control
                assert_eq!(named_with(false), *named, "{bound_to:?}");
            }
        }
    }

    #[test]
    fn a_certificate_out_of_its_time_is_not_named_whoever_vouches() {
        let own = Arc::new(certificate());
        let bound = Confirmation::Certificate(*own.thumbprint());
        let not_after = own.not_after();
        let peer = Peer::Certificate(own);
        for (chain_verified, bound_to) in [(true, None), (false, Some(&bound)), (true, Some(&bound))] {
            let named_at = |now| VouchedCertificate::of(&peer, chain_verified, bound_to, now).is_some();
            assert!(named_at(NOW) && named_at(not_after), "{chain_verified} {bound_to:?}"); // control
            assert!(!named_at(not_after.plus(1)) && !named_at(UnixTime(0)), "{chain_verified} {bound_to:?}");
        }
    }

    #[test]
    fn a_client_without_a_certificate_has_none_to_name() {
        let own = Arc::new(certificate());
        let bound = Confirmation::Certificate(*own.thumbprint());
        assert!(VouchedCertificate::of(&Peer::Certificate(own), true, Some(&bound), NOW).is_some()); // control
        for reason in [
            NoCertificate::NotRequested,
            NoCertificate::NotPresented,
            NoCertificate::NoLongerTrusted,
            NoCertificate::NotForwarded,
            NoCertificate::ForwardedUntrusted { why: "it was revoked" },
        ] {
            assert!(VouchedCertificate::of(&Peer::Anonymous(reason), true, Some(&bound), NOW).is_none(), "{reason}");
        }
    }
}
