//! What to try by hand while the demo keeps serving.

use std::path::PathBuf;

use sandbox::authorization_server::AuthorizationServer;
use sandbox::lenient_authorization_server::LenientAuthorizationServer as Guarded;
use sandbox::now;
use sandbox::tokens::KeyKind;

use super::{CERTIFICATE_CLIENT, REDIRECT_URI, Stage};

/// RFC 7636 appendix B.
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

impl Stage {
    /// Lines to paste into another terminal while the demo runs.
    pub(in super::super) fn invitation(&self) -> Result<String, String> {
        let exe = self.write_tokens().map_err(|error| format!("{}: {error}", self.folder.path.display()))?;
        let exe = quoted(&exe.display().to_string());
        let (folder, origin, admin) = (quoted(&self.folder.path.display().to_string()), &self.origin, self.admin);
        let certificate = "--cacert ca.pem --cert client.pem --key client-key.pem";
        let token = "-H \"Authorization: Bearer $(cat token)\"";
        let dpop_token = "-H \"Authorization: DPoP $(cat dpop-token)\"";
        let call = |path: &str, more: &str, nonce: &str| {
            let proof = format!("{exe} proof --key dpop-key.pem --method GET --url {origin}{path} --token @dpop-token");
            format!("curl -i{more} --cacert ca.pem {dpop_token} -H \"DPoP: $({proof}{nonce})\" {origin}{path}")
        };
        let nonce = r" --nonce $(sed -n 's/^[Dd][Pp]o[Pp]-[Nn]once: *\([A-Za-z0-9_-]*\).*/\1/p' answer)";
        let (proven, first, second) =
            (call("/accounts", "", ""), call("/accounts/1002", " -D answer", ""), call("/accounts/1002", "", nonce));
        let opaque = "-H \"Authorization: Bearer $(cat opaque-token)\"";
        let opaque = format!("curl -i {certificate} {opaque} {origin}/accounts/1001");
        let push = |silent: &str, method: &str| {
            let asked =
                format!("-d client_id={CERTIFICATE_CLIENT} -d response_type=code -d redirect_uri={REDIRECT_URI}");
            let challenge = format!("-d code_challenge={CHALLENGE} -d code_challenge_method={method}");
            format!(
                "curl -{silent}i {certificate} {asked} {challenge} {origin}{}",
                Guarded::PUSHED_AUTHORIZATION_REQUEST
            )
        };
        let (plain, pushed) = (push("", "plain"), push("s", "S256"));
        let request_uri = r#""request_uri=$(sed -n 's/.*"request_uri":"\([^"]*\)".*/\1/p' pushed)""#;
        let (metadata, authorize) = (AuthorizationServer::METADATA, Guarded::AUTHORIZATION);
        let revocation = self.servers.issuer.url(AuthorizationServer::REVOCATION);
        Ok(format!(
            "\nThe gateway keeps serving {origin} with {folder}/gateway.yaml. In another terminal:\n
cd {folder}
curl -i {certificate} {token} {origin}/accounts
curl -i --cacert ca.pem {token} {origin}/accounts
curl -i {certificate} {origin}/accounts
curl -i --cacert ca.pem {origin}/health

With a token that is bound to the key in dpop-key.pem, and a proof for each call:

{proven}
curl -i --cacert ca.pem {dpop_token} {origin}/accounts
{first}
{second}

With an opaque token, before and after it is revoked at its issuer:

{opaque}
curl -i {certificate} --data-urlencode token@opaque-token {revocation}
{opaque}

At the authorization server behind the gateway, as the client with the certificate; a browser brings what was pushed last:

curl -i --cacert ca.pem {origin}{metadata}
{plain}
{pushed} | tee pushed
curl -i --cacert ca.pem -G -d client_id={CERTIFICATE_CLIENT} --data-urlencode {request_uri} {origin}{authorize}

What the gateway counts:

curl -i http://{admin}/metrics

Ctrl-C stops the demo. Until then, every call that comes has a row here:
"
        ))
    }

    /// Writes one token of each kind for the `curl` lines, and returns the path of the program that makes their proofs.
    fn write_tokens(&self) -> std::io::Result<PathBuf> {
        let token = || self.servers.issuer.token(now()).expires_at(now() + 8 * 3600);
        let key = self.servers.issuer.key(KeyKind::Ps256);
        self.folder.write("token", &token().bound_to_certificate(&self.client).sign(key))?;
        self.folder.write("dpop-token", &token().bound_to_key(self.dpop_key.thumbprint()).sign(key))?;
        self.folder.write("opaque-token", &self.servers.issuer.issue(&token().bound_to_certificate(&self.client)))?;
        std::env::current_exe()
    }
}

/// The text quoted as one word for the shell.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_' | b'-');
    if text.bytes().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
