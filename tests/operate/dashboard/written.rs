//! The dashboard as Grafana reads it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::content::{Form, Panel, ROWS};
use super::queries::metrics_in;
use crate::operate::docs::reference::Family;

/// The whole file.
pub fn dashboard(families: &BTreeMap<String, Family>) -> String {
    let (mut panels, mut top, mut id) = (Vec::new(), 0, 0);
    let mut next = || {
        id += 1;
        id
    };
    for row in ROWS {
        let place = json!({ "x": 0, "y": top, "w": COLUMNS, "h": 1 });
        panels.push(
            json!({ "id": next(), "type": "row", "title": row.title, "collapsed": false, "gridPos": place, "panels": [] }),
        );
        top += 1;
        let (mut left, mut tallest) = (0, 0);
        for panel in row.panels {
            if left + panel.width > COLUMNS {
                (left, top, tallest) = (0, top + tallest, 0);
            }
            let place = json!({ "x": left, "y": top, "w": panel.width, "h": height(panel.form) });
            panels.push(self::panel(next(), panel, place, families));
            left += panel.width;
            tallest = tallest.max(height(panel.form));
        }
        top += tallest;
    }
    let dashboard = json!({
        "title": "fapi-gateway",
        "uid": "fapi-gateway",
        "description": "What docs/operate/dashboard.md explains. Made by tests/operate/dashboard from the metrics of the program.",
        "tags": ["fapi-gateway"],
        "schemaVersion": 39,
        "version": 1,
        "editable": true,
        "graphTooltip": 1,
        "timezone": "browser",
        "time": { "from": "now-3h", "to": "now" },
        "refresh": "30s",
        "templating": { "list": [
            { "name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "current": {} },
            variable("job", "Job", "label_values(fapi_gateway_build_info, job)"),
            variable("instance", "Replica", "label_values(fapi_gateway_build_info{job=~\"$job\"}, instance)"),
            variable("route", "Route", "label_values(fapi_gateway_requests_total{job=~\"$job\"}, route)"),
        ] },
        "panels": panels,
    });
    let text = serde_json::to_string_pretty(&dashboard).expect("JSON");
    format!("{text}\n")
}

/// A choice among the values of a label, of which all are chosen at first.
fn variable(name: &str, label: &str, query: &str) -> Value {
    json!({
        "name": name, "label": label, "type": "query", "datasource": datasource(), "definition": query,
        "query": { "query": query, "refId": name }, "refresh": 2, "sort": 1, "multi": true, "includeAll": true, "allValue": ".*",
        "current": { "text": ["All"], "value": ["$__all"] },
    })
}

fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

fn panel(id: u64, panel: &Panel, place: Value, families: &BTreeMap<String, Family>) -> Value {
    let Panel { title, form, unit, .. } = panel;
    if *form == Form::Text {
        let options = json!({ "mode": "markdown", "content": panel.says });
        return json!({ "id": id, "type": "text", "title": title, "gridPos": place, "options": options });
    }
    let is_table = matches!(form, Form::Highest | Form::Lowest);
    let targets = panel.queries.iter().enumerate().map(|(index, (query, legend))| {
        json!({
            "refId": char::from(b'A' + u8::try_from(index).expect("few")).to_string(),
            "datasource": datasource(), "editorMode": "code", "expr": chosen(query), "legendFormat": legend,
            "instant": is_table, "range": !is_table, "format": if is_table { "table" } else { "time_series" },
        })
    });
    let targets: Vec<Value> = targets.collect();
    let mut made = json!({
        "id": id, "title": title, "description": description(panel, families), "gridPos": place, "datasource": datasource(),
        "targets": targets,
    });
    let steps = |steps: &[(&str, Option<f64>)]| {
        let steps: Vec<Value> = steps.iter().map(|(color, from)| json!({ "color": color, "value": from })).collect();
        json!({ "mode": "absolute", "steps": steps })
    };
    let own = match form {
        Form::Number(colors) => json!({
            "type": "stat",
            "fieldConfig": {
                "defaults": { "unit": unit, "thresholds": steps(colors), "color": { "mode": "thresholds" }, "noValue": "0" },
                "overrides": [],
            },
            "options": {
                "colorMode": "value", "graphMode": "area", "textMode": "value",
                "reduceOptions": { "calcs": ["lastNotNull"], "values": false },
            },
        }),
        Form::Lines | Form::Text => json!({
            "type": "timeseries",
            "fieldConfig": {
                "defaults": { "unit": unit, "min": 0, "custom": { "lineWidth": 1, "fillOpacity": 10, "showPoints": "never" } },
                "overrides": [],
            },
            "options": {
                "legend": { "displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"] },
                "tooltip": { "mode": "multi", "sort": "desc" },
            },
        }),
        Form::Highest | Form::Lowest => json!({
            "type": "table",
            "fieldConfig": { "defaults": { "unit": unit }, "overrides": [] },
            "options": { "showHeader": true, "sortBy": [{ "displayName": "Value", "desc": *form == Form::Highest }] },
            "transformations": [{ "id": "organize", "options": { "excludeByName": { "Time": true } } }],
        }),
    };
    let members = made.as_object_mut().expect("an object");
    members.extend(own.as_object().expect("an object").clone());
    made
}

/// What the panel says of itself, and what the metrics in it mean, as `/metrics` has it.
fn description(panel: &Panel, families: &BTreeMap<String, Family>) -> String {
    let mut names: Vec<String> = panel.queries.iter().flat_map(|(query, _)| metrics_in(query)).collect();
    names.dedup();
    let mut parts: Vec<String> = Vec::from_iter((!panel.says.is_empty()).then(|| panel.says.to_owned()));
    for name in names {
        if let Some(family) = families.get(&name)
            && !parts.iter().any(|part| part.starts_with(&format!("{name}:")))
        {
            parts.push(format!("{name}: {}", family.help));
        }
    }
    parts.join("\n\n")
}

/// A query of the replicas that are chosen.
pub fn chosen(query: &str) -> String {
    query.replace("$of", "job=~\"$job\",instance=~\"$instance\"")
}

const COLUMNS: u64 = 24;

const fn height(form: Form) -> u64 {
    match form {
        Form::Number(_) => 4,
        Form::Lines | Form::Highest | Form::Lowest | Form::Text => 8,
    }
}
