//! What the dashboard asks, in the order in which somebody who is woken up asks it.

/// A question, and the panels that answer it.
pub struct Row {
    pub title: &'static str,
    pub panels: &'static [Panel],
}

/// A part of the dashboard.
pub struct Panel {
    pub title: &'static str,
    pub form: Form,
    /// The unit, as Grafana names it.
    pub unit: &'static str,
    /// Of 24 columns.
    pub width: u64,
    /// PromQL, with the legend of each series. `$of` stands for the replicas that are chosen.
    pub queries: &'static [(&'static str, &'static str)],
    /// What the metrics do not say of themselves.
    pub says: &'static str,
    /// Whether a gateway has it that has served, and refused, some requests; other panels need a store, a waiver, a route in
    /// shadow, or something that fails.
    pub usual: bool,
}

/// How a panel looks.
#[derive(Clone, Copy, PartialEq)]
pub enum Form {
    /// One number, coloured by these steps: good below or from the first, and what it is from the second and the third on.
    Number(&'static [(&'static str, Option<f64>)]),
    /// Lines over time.
    Lines,
    /// A row for each series, the highest value first.
    Highest,
    /// A row for each series, the lowest value first.
    Lowest,
    /// A text in Markdown instead of queries.
    Text,
}

const BLUE: &[(&str, Option<f64>)] = &[("blue", None)];
const RED_BELOW_ONE: &[(&str, Option<f64>)] = &[("red", None), ("green", Some(1.0))];
const RED_ABOVE_ZERO: &[(&str, Option<f64>)] = &[("green", None), ("red", Some(1.0))];
const SHARE_OF_FAULTS: &[(&str, Option<f64>)] = &[("green", None), ("orange", Some(0.001)), ("red", Some(0.01))];

const fn lines(title: &'static str, unit: &'static str, queries: &'static [(&'static str, &'static str)]) -> Panel {
    Panel { title, form: Form::Lines, unit, width: 8, queries, says: "", usual: true }
}

const fn number(
    title: &'static str,
    steps: &'static [(&'static str, Option<f64>)],
    unit: &'static str,
    queries: &'static [(&'static str, &'static str)],
) -> Panel {
    Panel { title, form: Form::Number(steps), unit, width: 4, queries, says: "", usual: true }
}

const fn rows(
    title: &'static str,
    form: Form,
    unit: &'static str,
    queries: &'static [(&'static str, &'static str)],
) -> Panel {
    Panel { title, form, unit, width: 12, queries, says: "", usual: true }
}

impl Panel {
    const fn wide(self, width: u64) -> Self {
        Self { width, ..self }
    }

    const fn says(self, says: &'static str) -> Self {
        Self { says, ..self }
    }

    /// One that most gateways have nothing to show in.
    const fn unusual(self) -> Self {
        Self { usual: false, ..self }
    }
}

/// The whole dashboard.
pub const ROWS: &[Row] = &[
    Row {
        title: "Is it up?",
        panels: &[
            number("Replicas that answer", RED_BELOW_ONE, "short", &[("sum(up{$of})", "")])
                .says("How many replicas Prometheus could scrape."),
            number(
                "Configuration",
                RED_BELOW_ONE,
                "short",
                &[("min(fapi_gateway_config_last_reload_success{$of})", "")],
            ),
            number("Requests", BLUE, "reqps", &[("sum(rate(fapi_gateway_requests_total{$of}[$__rate_interval]))", "")]),
            number(
                "Share of faults",
                SHARE_OF_FAULTS,
                "percentunit",
                &[(
                    "sum(rate(fapi_gateway_requests_total{$of,decision=\"error\"}[$__rate_interval])) / \
                        sum(rate(fapi_gateway_requests_total{$of}[$__rate_interval]))",
                    "",
                )],
            )
            .says("Requests that failed through no fault of their clients. Alerts begin at 0.6 %."),
            number(
                "Audit lines lost",
                RED_ABOVE_ZERO,
                "short",
                &[("sum(increase(fapi_gateway_audit_lines_lost_total{$of}[$__range]))", "")],
            ),
            number(
                "Log lines lost",
                RED_ABOVE_ZERO,
                "short",
                &[("sum(increase(fapi_gateway_log_lines_lost_total{$of}[$__range]))", "")],
            ),
            lines(
                "Responses by status",
                "reqps",
                &[(
                    "sum by (status_class) (rate(fapi_gateway_responses_total{$of,\
                        route=~\"$route\"}[$__rate_interval]))",
                    "{{status_class}}",
                )],
            ),
            lines(
                "In progress",
                "short",
                &[
                    ("sum(fapi_gateway_exchanges_in_flight{$of})", "exchanges"),
                    ("sum(fapi_gateway_connections{$of})", "connections"),
                    ("sum(fapi_gateway_tls_handshakes_in_progress{$of})", "handshakes"),
                ],
            ),
            lines(
                "Bytes of bodies",
                "Bps",
                &[("sum by (direction) (rate(fapi_gateway_bytes_total{$of}[$__rate_interval]))", "{{direction}}")],
            ),
            lines(
                "Processors",
                "short",
                &[("sum by (instance) (rate(process_cpu_seconds_total{$of}[$__rate_interval]))", "{{instance}}")],
            ),
            lines("Memory", "bytes", &[("process_resident_memory_bytes{$of}", "{{instance}}")]),
            lines(
                "Reloads and versions",
                "short",
                &[
                    (
                        "sum by (outcome) (increase(fapi_gateway_config_reloads_total{$of}[$__rate_interval]))",
                        "reload: {{outcome}}",
                    ),
                    (
                        "count by (version, commit) (fapi_gateway_build_info{$of})",
                        "replicas with {{version}} ({{commit}})",
                    ),
                ],
            ),
        ],
    },
    Row {
        title: "What is refused, and why?",
        panels: &[
            lines(
                "Refusals by code",
                "reqps",
                &[(
                    "sum by (code) (rate(fapi_gateway_requests_total{$of,route=~\"$route\",decision=~\"reject|\
                        error\"}[$__rate_interval])) > 0",
                    "{{code}}",
                )],
            )
            .wide(12),
            rows(
                "The most frequent refusals",
                Form::Highest,
                "short",
                &[(
                    "topk(20, sum by (code, decision, route) (increase(fapi_gateway_requests_total{$of,\
                        route=~\"$route\",decision=~\"reject|error\"}[$__range])) > 0)",
                    "",
                )],
            )
            .says("What each code means: docs/reference/codes.md; what to do: docs/operate/troubleshooting.md."),
            lines(
                "Failed TLS handshakes by reason",
                "reqps",
                &[(
                    "sum by (outcome, reason) (rate(fapi_gateway_tls_handshakes_total{$of,\
                        outcome!=\"success\"}[$__rate_interval]))",
                    "{{outcome}} {{reason}}",
                )],
            ),
            lines(
                "Connections refused by limits",
                "reqps",
                &[("sum by (what) (rate(fapi_gateway_overload_total{$of}[$__rate_interval]))", "{{what}}")],
            ),
            lines(
                "Requests refused by rate limits",
                "reqps",
                &[(
                    "sum by (route, by) (rate(fapi_gateway_rate_limited_total{$of,\
                        route=~\"$route\"}[$__rate_interval]))",
                    "{{route}} by {{by}}",
                )],
            )
            .unusual(),
            lines(
                "Signatures of messages",
                "reqps",
                &[(
                    "sum by (route, outcome) (rate(fapi_gateway_signatures_total{$of,\
                        route=~\"$route\"}[$__rate_interval]))",
                    "{{route}} {{outcome}}",
                )],
            )
            .unusual(),
            lines(
                "What routes in shadow would refuse",
                "reqps",
                &[(
                    "sum by (route, code) (rate(fapi_gateway_shadow_denials_total{$of,\
                        route=~\"$route\"}[$__rate_interval])) > 0",
                    "{{route}} {{code}}",
                )],
            )
            .unusual(),
            lines(
                "Headers of the PROXY protocol",
                "reqps",
                &[(
                    "sum by (listener, outcome) (rate(fapi_gateway_proxy_protocol_total{$of}[$__rate_interval]))",
                    "{{listener}} {{outcome}}",
                )],
            )
            .unusual(),
            lines(
                "Revocations that were sent",
                "reqps",
                &[(
                    "sum by (kind, outcome) (rate(fapi_gateway_revocations_total{$of}[$__rate_interval]))",
                    "{{kind}} {{outcome}}",
                )],
            ),
        ],
    },
    Row {
        title: "How long does it take?",
        panels: &[
            lines(
                "Decisions",
                "s",
                &[
                    (
                        "histogram_quantile(0.5, sum by (le) \
                            (rate(fapi_gateway_decision_duration_seconds_bucket{$of,\
                            route=~\"$route\"}[$__rate_interval])))",
                        "half are faster",
                    ),
                    (
                        "histogram_quantile(0.99, sum by (le) \
                            (rate(fapi_gateway_decision_duration_seconds_bucket{$of,\
                            route=~\"$route\"}[$__rate_interval])))",
                        "1 of 100 is slower",
                    ),
                    (
                        "histogram_quantile(0.999, sum by (le) \
                            (rate(fapi_gateway_decision_duration_seconds_bucket{$of,\
                            route=~\"$route\"}[$__rate_interval])))",
                        "1 of 1000 is slower",
                    ),
                ],
            )
            .says("Quantiles are estimated within the buckets of the histogram."),
            lines(
                "Whole exchanges: 1 of 100 is slower",
                "s",
                &[(
                    "histogram_quantile(0.99, sum by (le, route) \
                        (rate(fapi_gateway_request_duration_seconds_bucket{$of,\
                        route=~\"$route\"}[$__rate_interval])))",
                    "{{route}}",
                )],
            ),
            lines(
                "Upstreams: 1 of 100 is slower",
                "s",
                &[(
                    "histogram_quantile(0.99, sum by (le, upstream) \
                        (rate(fapi_gateway_upstream_duration_seconds_bucket{$of}[$__rate_interval])))",
                    "{{upstream}}",
                )],
            ),
            lines(
                "Introspection: 1 of 100 is slower",
                "s",
                &[(
                    "histogram_quantile(0.99, sum by (le, issuer) \
                        (rate(fapi_gateway_introspection_duration_seconds_bucket{$of}[$__rate_interval])))",
                    "{{issuer}}",
                )],
            )
            .unusual(),
            lines(
                "Stores: 1 of 100 is slower",
                "s",
                &[(
                    "histogram_quantile(0.99, sum by (le, store) \
                        (rate(fapi_gateway_store_request_duration_seconds_bucket{$of}[$__rate_interval])))",
                    "{{store}}",
                )],
            )
            .unusual(),
            lines(
                "Failures and retries of upstreams",
                "reqps",
                &[
                    (
                        "sum by (upstream, kind) (rate(fapi_gateway_upstream_errors_total{$of}[$__rate_interval]))",
                        "{{upstream}}: {{kind}}",
                    ),
                    (
                        "sum by (upstream) (rate(fapi_gateway_upstream_retries_total{$of}[$__rate_interval]))",
                        "{{upstream}}: retries",
                    ),
                ],
            ),
        ],
    },
    Row {
        title: "Are keys, caches, servers and stores healthy?",
        panels: &[
            lines(
                "Age of the issuers' keys",
                "s",
                &[("max by (issuer) (fapi_gateway_jwks_age_seconds{$of})", "{{issuer}}")],
            ),
            lines(
                "Reads of keys",
                "reqps",
                &[(
                    "sum by (issuer, outcome) (rate(fapi_gateway_jwks_refreshes_total{$of}[$__rate_interval]))",
                    "{{issuer}} {{outcome}}",
                )],
            ),
            lines(
                "Age of directories of participants",
                "s",
                &[("max by (directory) (fapi_gateway_directory_age_seconds{$of})", "{{directory}}")],
            )
            .unusual(),
            lines(
                "Reads of directories",
                "reqps",
                &[(
                    "sum by (directory, outcome) \
                        (rate(fapi_gateway_directory_refreshes_total{$of}[$__rate_interval]))",
                    "{{directory}} {{outcome}}",
                )],
            )
            .unusual(),
            lines(
                "Answers about consents by outcome",
                "reqps",
                &[(
                    "sum by (service, outcome) (rate(fapi_gateway_consent_answers_total{$of}[$__rate_interval]))",
                    "{{service}} {{outcome}}",
                )],
            )
            .unusual(),
            lines(
                "Consents: 1 of 100 is slower",
                "s",
                &[(
                    "histogram_quantile(0.99, sum by (service, le) \
                        (rate(fapi_gateway_consent_answer_duration_seconds_bucket{$of}[$__rate_interval])))",
                    "{{service}}",
                )],
            )
            .unusual(),
            lines(
                "Introspection by outcome",
                "reqps",
                &[(
                    "sum by (issuer, outcome) \
                        (rate(fapi_gateway_introspection_requests_total{$of}[$__rate_interval]))",
                    "{{issuer}} {{outcome}}",
                )],
            )
            .unusual(),
            lines(
                "Tokens that were known already",
                "percentunit",
                &[(
                    "sum by (issuer) (rate(fapi_gateway_token_cache_requests_total{$of,\
                        outcome=\"hit\"}[$__rate_interval])) / sum by (issuer) \
                        (rate(fapi_gateway_token_cache_requests_total{$of}[$__rate_interval]))",
                    "{{issuer}}",
                )],
            ),
            lines(
                "What is remembered",
                "short",
                &[
                    ("sum(fapi_gateway_token_cache_entries{$of})", "tokens"),
                    ("sum(fapi_gateway_replay_entries{$of})", "used proofs"),
                    ("max(fapi_gateway_revocations_entries{$of})", "revocations"),
                ],
            ),
            lines(
                "Proofs in the replay log",
                "reqps",
                &[(
                    "sum by (store, outcome) (rate(fapi_gateway_replay_requests_total{$of}[$__rate_interval]))",
                    "{{store}} {{outcome}}",
                )],
            ),
            lines(
                "Servers of upstreams",
                "short",
                &[("sum by (upstream, state) (fapi_gateway_upstream_servers{$of}) > 0", "{{upstream}} {{state}}")],
            ),
            lines(
                "Guarantees: how many replicas at each level",
                "short",
                &[("sum by (name, level) (fapi_gateway_guarantee{$of}) > 0", "{{name}} {{level}}")],
            ),
            lines(
                "Stores that are connected to",
                "short",
                &[("sum by (store) (fapi_gateway_store_connected{$of})", "{{store}}")],
            )
            .unusual(),
            lines(
                "Questions to stores",
                "reqps",
                &[(
                    "sum by (store, outcome) (rate(fapi_gateway_store_requests_total{$of}[$__rate_interval]))",
                    "{{store}} {{outcome}}",
                )],
            )
            .unusual(),
            lines(
                "Introspection answers that replicas share",
                "reqps",
                &[
                    (
                        "sum by (issuer, outcome) \
                            (rate(fapi_gateway_introspection_store_lookups_total{$of}[$__rate_interval]))",
                        "{{issuer}} look-up: {{outcome}}",
                    ),
                    (
                        "sum by (issuer, outcome) \
                            (rate(fapi_gateway_introspection_store_writes_total{$of}[$__rate_interval]))",
                        "{{issuer}} write: {{outcome}}",
                    ),
                ],
            )
            .unusual(),
            lines(
                "Rate limits: uses that a store may not know",
                "reqps",
                &[(
                    "sum by (store) (rate(fapi_gateway_rate_limit_uses_untold_total{$of}[$__rate_interval]))",
                    "{{store}}",
                )],
            )
            .unusual(),
            lines(
                "Spans by what became of them",
                "ops",
                &[("sum by (outcome) (rate(fapi_gateway_spans_total{$of}[$__rate_interval]))", "{{outcome}}")],
            )
            .unusual(),
            rows(
                "What could not be read last time",
                Form::Highest,
                "s",
                &[(
                    "time() - max by (kind, name, instance) \
                        (fapi_gateway_resource_last_success_timestamp_seconds{$of} < \
                        fapi_gateway_resource_last_error_timestamp_seconds{$of})",
                    "",
                )],
            )
            .says("For how long it has not been read. The admin listener has the reason at /status.")
            .unusual(),
            lines(
                "Clock set back",
                "s",
                &[("max by (instance) (fapi_gateway_clock_step_seconds{$of})", "{{instance}}")],
            )
            .wide(12),
        ],
    },
    Row {
        title: "What ends next?",
        panels: &[
            rows(
                "Certificates",
                Form::Lowest,
                "s",
                &[("sort(min by (file) (fapi_gateway_certificate_not_after_timestamp_seconds{$of}) - time())", "")],
            )
            .says("For how long each file is good."),
            rows(
                "Certificates with problems",
                Form::Highest,
                "short",
                &[("sum by (file, problem) (fapi_gateway_certificate_problems{$of})", "")],
            )
            .says("At how many replicas.")
            .unusual(),
            rows(
                "Revocation lists",
                Form::Lowest,
                "s",
                &[(
                    "sort(min by (file) (fapi_gateway_revocation_list_next_update_timestamp_seconds{$of}) - time())",
                    "",
                )],
            )
            .says("For how long each file is good.")
            .unusual(),
            rows(
                "Waivers",
                Form::Lowest,
                "s",
                &[(
                    "sort(min by (rule, issuer, route) (fapi_gateway_waiver_expiry_timestamp_seconds{$of}) - time())",
                    "",
                )],
            )
            .says("For how long each rule is still waived.")
            .unusual(),
        ],
    },
    Row {
        title: "Who is being onboarded, and fails?",
        panels: &[
            Panel {
                title: "How to find the client",
                form: Form::Text,
                unit: "",
                width: 8,
                queries: &[],
                says: "Metrics name no client, so that their number is bounded. Whose requests these are is on \
                    the page of the admin listener: search `/` by code, or ask `/decisions?code=…&limit=20`. The \
                    audit has every line, and one for each handshake that failed, with the certificate that was \
                    shown.\n\n* **Handshakes**: the certificate is missing, of an unknown authority, or no \
                    client's.\n* **Tokens and binding**: the authorization server issues something else than the \
                    route wants, or the client binds it to another key.\n* **Rights**: all that is cryptography \
                    works, and a scope, claim or detail is missing.",
                usual: false,
            },
            lines(
                "Handshakes: certificates that are not accepted",
                "reqps",
                &[(
                    "sum by (listener, reason) (rate(fapi_gateway_tls_handshakes_total{$of,\
                        reason=~\"no_certificate|unknown_ca|expired|not_yet_valid|revoked|wrong_usage|\
                        policy\"}[$__rate_interval]))",
                    "{{listener}} {{reason}}",
                )],
            ),
            lines(
                "Tokens and binding",
                "reqps",
                &[(
                    "sum by (route, code) (rate(fapi_gateway_requests_total{$of,route=~\"$route\",\
                        code=~\"token_.*|confirmation_.*|certificate_.*|dpop_.*|\
                        scheme_unsupported\"}[$__rate_interval])) > 0",
                    "{{route}} {{code}}",
                )],
            ),
            rows(
                "Rights: refusals after the client was known",
                Form::Highest,
                "short",
                &[(
                    "sum by (route, code) (increase(fapi_gateway_requests_total{$of,route=~\"$route\",\
                        code=~\"scope_insufficient|client_refused|participant_unknown|participant_inactive|\
                        participant_role_missing|subject_missing|claim_refused|acr_insufficient|\
                        authentication_too_old|authorization_details_insufficient|rate_limited|\
                        share_exceeded\"}[$__range])) > 0",
                    "",
                )],
            )
            .wide(24)
            .unusual(),
        ],
    },
];
