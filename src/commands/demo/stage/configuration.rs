//! The demo's gateway.yaml.

use sandbox::lenient_authorization_server::LenientAuthorizationServer;

use super::Servers;
use super::registered::{CLIENTS, RESOURCE_SERVERS};

/// The file for a gateway at this port.
pub(super) fn configuration(port: u16, admin_port: u16, servers: &Servers) -> String {
    let (issuer, accounts) = (servers.issuer.issuer(), servers.accounts.address());
    let (guarded, jwks_uri) = (servers.guarded.address(), servers.guarded.url(LenientAuthorizationServer::JWKS));
    format!(
        r#"profile: fapi2-security
listeners:
  - address: 127.0.0.1:{port}
    origins: ["https://localhost:{port}"]
    tls:
      certificate: server.pem
      private_key: server-key.pem
      client_certificates: {{ mode: optional, trust: chain, trust_anchors: [ca.pem] }}
admin: {{ address: "127.0.0.1:{admin_port}" }}
drain: {{ delay: 0s, timeout: 2s }}
issuers:
  - name: demo
    issuer: {issuer}
    audiences: ["https://api.bank.example"]
    tokens: jwt
    trust_anchors: [ca.pem]
  - name: demo-opaque
    issuer: {issuer}
    audiences: ["https://api.bank.example"]
    tokens: introspection
    trust_anchors: [ca.pem]
    introspection:
      client_id: gateway
      authentication: {{ method: private_key_jwt, private_key: gateway-key.pem }}
      response: jwt
  - name: demo-guarded
    issuer: https://localhost:{port}
    audiences: ["https://api.bank.example"]
    tokens: jwt
    jwks_uri: {jwks_uri}
    trust_anchors: [ca.pem]
dpop: {{ proof_max_age: 60s, clock_skew: 10s, nonce: never, nonce_lifetime: 60s }}
replay: {{ store: memory, max_entries: 1000000 }}
upstreams:
  accounts: {{ servers: ["http://{accounts}"] }}
  authorization-server: {{ servers: ["https://{guarded}"], tls: {{ trust_anchors: [ca.pem] }} }}
authorization_servers:
  - name: guarded
    issuer: https://localhost:{port}
    upstream: authorization-server
    endpoints:
      pushed_authorization_request: {push}
      authorization: {authorize}
      token: {token}
      introspection: {introspect}
      jwks: {jwks}
    clients: {{ directory: {CLIENTS} }}
    resource_servers: {{ directory: {RESOURCE_SERVERS} }}
    grant_types: [authorization_code]
routes:
  - name: accounts
    path: /accounts/**
    methods: [GET, HEAD]
    scopes: [accounts]
    sender_constraint: [certificate, dpop]
    issuers: [demo, demo-guarded]
    upstream: accounts
    forward:
      client_certificate: true
      claims: {{ client_id: X-Token-Client-Id, sub: X-Token-Subject, scope: X-Token-Scope }}
  - name: current-account
    path: /accounts/1001
    methods: [GET, HEAD]
    scopes: [accounts]
    issuers: [demo-opaque]
    introspection_max_age: 0s
    upstream: accounts
  - name: savings-account
    path: /accounts/1002
    methods: [GET, HEAD]
    scopes: [accounts]
    issuers: [demo]
    dpop: {{ nonce: always }}
    upstream: accounts
  - name: payments
    path: /payments
    methods: [POST]
    scopes: [payments]
    issuers: [demo]
    upstream: accounts
  - name: health
    path: /health
    methods: [GET]
    public: true
    upstream: accounts
"#,
        push = LenientAuthorizationServer::PUSHED_AUTHORIZATION_REQUEST,
        authorize = LenientAuthorizationServer::AUTHORIZATION,
        token = LenientAuthorizationServer::TOKEN,
        introspect = LenientAuthorizationServer::INTROSPECTION,
        jwks = LenientAuthorizationServer::JWKS,
    )
}
