//! The demo's gateway.yaml.

use sandbox::accounts::AccountsApi;

pub(super) fn configuration(port: u16, admin_port: u16, issuer: &str, accounts: &AccountsApi) -> String {
    let accounts = accounts.address();
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
dpop: {{ proof_max_age: 60s, clock_skew: 10s, nonce: never, nonce_lifetime: 60s }}
replay: {{ store: memory, max_entries: 1000000 }}
upstreams:
  accounts: {{ servers: ["http://{accounts}"] }}
routes:
  - name: accounts
    path: /accounts/**
    methods: [GET, HEAD]
    scopes: [accounts]
    sender_constraint: [certificate, dpop]
    issuers: [demo]
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
"#
    )
}
