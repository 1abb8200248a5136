#![no_main]

use fapi::peer::forwarded::Dialect;
use http::{HeaderMap, HeaderName, HeaderValue};

libfuzzer_sys::fuzz_target!(|lines: (u8, Vec<u8>, Option<Vec<u8>>)| {
    let dialect = match lines.0 % 5 {
        0 => Dialect::ClientCert,
        1 => Dialect::XForwardedClientCert,
        2 => Dialect::NginxEscapedPem(HeaderName::from_static("x-ssl-client-cert")),
        3 => Dialect::AwsAlbVerify,
        _ => Dialect::AwsAlbPassthrough,
    };
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(&lines.1) {
        headers.append(dialect.header(), value);
    }
    if let Some(Ok(value)) = lines.2.as_deref().map(HeaderValue::from_bytes) {
        headers.append("client-cert-chain", value);
    }
    if let Ok(Some(sent)) = dialect.find(&headers) {
        let _ = (sent.digest(), sent.read());
    }
});
