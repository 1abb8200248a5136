//! The text of the files that `init` makes.

use super::Ports;
use super::proposal::Proposal;

/// gateway.yaml: at most 40 lines, each setting with what it means.
pub(super) fn configuration(proposal: &Proposal, ports: Ports, upstream: &str) -> String {
    let Ports { port, admin_port, .. } = ports;
    let Proposal { name, issuer, trust_anchors, settings, scope, .. } = proposal;
    let mut text = String::from(
        "# Made by `fapi-gateway init`. `fapi-gateway check` finds mistakes; docs/reference/gateway-yaml.md has every key.\n\
         profile: fapi2-security\n\n\
         listeners:\n",
    );
    let mut add = |indent: &str, setting: &str, comment: &str| {
        // The comments stand in one column, however deep the setting.
        let width = 46_usize.saturating_sub(indent.len());
        text.push_str(indent);
        if comment.is_empty() {
            text.push_str(setting);
        } else {
            text.push_str(&format!("{setting:<width$} # {comment}"));
        }
        text.push('\n');
    };
    add("  - ", &format!("address: 127.0.0.1:{port}"), &format!("0.0.0.0:{port} lets other machines in"));
    add("    ", &format!("origins: [\"https://localhost:{port}\"]"), "what clients call, and make their proofs for");
    add("    ", "tls:", "");
    add("      ", "certificate: tls/server.pem", "");
    add("      ", "private_key: tls/server-key.pem", "");
    add("      ", "client_certificates:", "");
    add("        ", "mode: optional", "DPoP clients have none");
    add("        ", "trust_anchors: [tls/ca.pem]", "who issues the certificates of clients");
    add("", &format!("admin: {{ address: 127.0.0.1:{admin_port} }}"), "/readyz, /metrics, /status");
    add("", "dpop: { nonce_key: keys/nonce.key }", "shared by all replicas");
    add("", "issuers:", "");
    add("  - ", &format!("name: {name}"), "in routes, metrics and the audit");
    add("    ", &format!("issuer: \"{issuer}\""), "the exact iss of its tokens");
    add("    ", &format!("audiences: [\"https://localhost:{port}\"]"), "the aud that means this API");
    if let Some(file) = trust_anchors {
        add("    ", &format!("trust_anchors: [{file}]"), "who issued its own certificate");
    }
    for setting in settings {
        add("    ", setting, "");
    }
    add("", "upstreams:", "");
    add("  ", &format!("api: {{ servers: [\"{upstream}\"] }}"), "");
    add("", "routes:", "what no route names is refused");
    add("  - ", "name: api", "");
    add("    ", "path: /**", "`*` is one segment, `**` the rest");
    add("    ", "methods: [GET, HEAD]", "");
    add("    ", &format!("scopes: [{scope}]"), "what the token must cover");
    add("    ", "upstream: api", "");
    add("    ", "forward:", "");
    add("      ", "claims: { client_id: X-Token-Client-Id }", "tells the API who calls");
    text
}

/// gateway.tests.yaml: what the one route permits, and what it refuses.
pub(super) fn tests(proposal: &Proposal) -> String {
    let scope = &proposal.scope;
    format!(
        "# `fapi-gateway check --tests gateway.tests.yaml` runs them; docs/operate/policy-tests.md has every key.\n\
         - name: a call with the certificate that the token is bound to\n  \
           given:\n    \
             claims: {{ scope: {scope} }}\n    \
             request: {{ method: GET, path: /accounts }}\n  \
           expect: permit\n\
         - name: a call with a proof of possession\n  \
           like: a call with the certificate that the token is bound to\n  \
           given: {{ binding: dpop }}\n  \
           expect: permit\n\
         - name: a stolen token\n  \
           like: a call with the certificate that the token is bound to\n  \
           given: {{ binding: another_certificate }}\n  \
           expect: certificate_mismatch\n\
         - name: a token for something else\n  \
           like: a call with the certificate that the token is bound to\n  \
           given: {{ claims: {{ scope: something-else }} }}\n  \
           expect: scope_insufficient\n"
    )
}

/// probe.yaml: the gateway of this folder, called by two clients.
pub(super) fn probe(proposal: &Proposal, ports: Ports) -> String {
    let port = ports.port;
    let Proposal { issuer, scope, .. } = proposal;
    let path = if proposal.api { "/accounts" } else { "/" };
    let source = if proposal.sandbox {
        format!(
            "issuer: # its key is here, so that the probe can make tokens with a fault\n  \
               issuer: \"{issuer}\"\n  \
               audience: \"https://localhost:{port}\"\n  \
               key: sandbox/issuer-key.pem\n"
        )
    } else {
        let ca = proposal.trust_anchors.map(|file| format!("  ca: {file}\n")).unwrap_or_default();
        format!(
            "authorization_server: # both clients have to be known there\n  \
               issuer: \"{issuer}\"\n  \
               client_authentication: tls_client_auth # or private_key_jwt, with `signing_key` of each client\n  \
               resource: \"https://localhost:{port}\"\n{ca}"
        )
    };
    format!(
        "# `fapi-gateway probe` calls the gateway of this folder and says what it enforces; docs/probe.md has every key.\n\
         contact: you@example.com # tells the operator of a target who calls\n\
         targets: [\"https://localhost:{port}\"] # nothing else is called\n\
         target: \"https://localhost:{port}{path}\" # a GET of it does no harm\n\
         ca: tls/ca.pem\n\
         plans: [fapi2-rs-security]\n\
         resource: {{ scope: {scope} }}\n\
         claims: {{ bindings: [certificate, dpop], interaction_id: true, private_authorities: true }}\n\
         clients:\n  \
           - {{ client_id: client, certificate: tls/client.pem, key: tls/client-key.pem, proof_key: keys/dpop.pem }}\n  \
           - {{ client_id: client-2, certificate: tls/client-2.pem, key: tls/client-2-key.pem, proof_key: keys/dpop-2.pem }}\n\
         {source}\
         limits: {{ rate: 100 }}\n"
    )
}

/// compose.yaml, for the image of the gateway's own Dockerfile.
pub(super) fn compose() -> String {
    let (user, group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    format!(
        "# `docker build --tag fapi-gateway .` in the gateway's repository makes the image.\n\
         services:\n  \
           gateway:\n    \
             image: fapi-gateway\n    \
             network_mode: host # 127.0.0.1 in gateway.yaml is this machine\n    \
             user: \"{user}:{group}\" # who may read the keys\n    \
             volumes: [\".:/etc/fapi-gateway:ro\"]\n    \
             read_only: true\n    \
             cap_drop: [ALL]\n    \
             security_opt: [\"no-new-privileges:true\"]\n    \
             stop_grace_period: 60s # longer than drain.delay and drain.timeout together\n    \
             restart: unless-stopped\n"
    )
}

/// README.md with five commands.
pub(super) fn readme(proposal: &Proposal, ports: Ports) -> String {
    let Ports { port, admin_port, api_port, .. } = ports;
    let start = if !proposal.sandbox {
        "fapi-gateway check".to_owned()
    } else if proposal.api {
        format!("fapi-gateway sandbox --api 127.0.0.1:{api_port} > sandbox.log 2>&1 &")
    } else {
        "fapi-gateway sandbox > sandbox.log 2>&1 &".to_owned()
    };
    let token = match (&proposal.token_endpoint, proposal.sandbox) {
        (_, true) => "fapi-gateway token --certificate tls/client.pem > token".to_owned(),
        (endpoint, false) => {
            let endpoint = endpoint.as_deref().unwrap_or("https://YOUR-TOKEN-ENDPOINT");
            let ca = proposal.trust_anchors.map(|file| format!(" --cacert {file}")).unwrap_or_default();
            format!(
                "curl --silent --show-error --fail{ca} --cert tls/client.pem --key tls/client-key.pem '{endpoint}' \\\n  \
                   -d grant_type=client_credentials -d client_id=client -d scope={} -d resource=https://localhost:{port} |\n  \
                   sed 's/.*\"access_token\" *: *\"\\([^\"]*\\)\".*/\\1/' > token",
                proposal.scope
            )
        }
    };
    let path = if proposal.api { "/accounts" } else { "/" };
    let about = if proposal.sandbox {
        "The authorization server is the sandbox's: `fapi-gateway token` makes its tokens, good ones and faulty ones."
    } else {
        "The fourth command is for a client that authenticates with its certificate; if yours does it in another way, get the\n\
         token as it does, and save it as `token`. The authorization server has to know the client and its certificate:\n\
         register `tls/client.pem` there, or use the certificate that it knows, in the fourth command and the fifth, and put\n\
         its authority into `client_certificates.trust_anchors`. An empty `token` means that it gave none; curl says why."
    };
    let own_path =
        if proposal.api { "" } else { "Write a path of your API for the `/` at the end of the last command.\n\n" };
    format!(
        "# A gateway for development\n\n\
         Made by `fapi-gateway init`. The certificates are valid for 30 days and their authority's key lies beside them: fit for\n\
         development only. Five commands lead to a first call:\n\n\
         ```sh\n\
         {start}\n\
         fapi-gateway run > audit.log 2> gateway.log &\n\
         curl --silent --fail --retry 20 --retry-connrefused --retry-delay 1 http://127.0.0.1:{admin_port}/readyz\n\
         {token}\n\
         curl --silent -i --cacert tls/ca.pem --cert tls/client.pem --key tls/client-key.pem -H \"Authorization: Bearer $(cat token)\" https://localhost:{port}{path}\n\
         ```\n\n\
         {own_path}{about}\n\n\
         If a call is refused, this says why:\n\n\
         ```sh\n\
         fapi-gateway explain --token token --certificate tls/client.pem --request \"GET https://localhost:{port}{path}\" --fetch\n\
         ```\n\n\
         And this calls the gateway as clients and as thieves would, and says clause by clause what it enforces:\n\n\
         ```sh\n\
         fapi-gateway probe\n\
         ```\n"
    )
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::super::proposal::line;
    use super::*;

    #[test]
    fn the_configuration_is_short_and_every_comment_stands_in_its_column() {
        let [port, admin_port, issuer_port, api_port] =
            [65_532, 65_533, 65_534, 65_535].map(|port| NonZeroU16::new(port).unwrap());
        let ports = Ports { port, admin_port, issuer_port, api_port };
        let mut proposal = Proposal::sandbox(true, issuer_port);
        proposal.settings.push(line("# jwks_uri: \"https://as.example/jwks\"", "x"));
        let text = configuration(&proposal, ports, "http://127.0.0.1:8080");
        assert!(text.lines().count() <= 40, "{text}");
        let columns: Vec<usize> = text.lines().skip(1).filter_map(|line| line.rfind(" # ")).collect();
        assert!(columns.len() > 12 && columns.iter().all(|column| *column == columns[0]), "{text}");
    }
}
